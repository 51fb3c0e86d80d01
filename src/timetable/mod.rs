//! Timetable: terms, periods, series and their lessons.
//!
//! Planning creates rows with phase `planned`; only [`mark_live`], [`mark_ended`] and
//! [`set_recording`] change the phase and the recording state afterwards.

mod calendar;
mod lesson_summary;
mod lessons;
mod new_lesson;
mod phase;
mod role;
mod roster;
mod series;
mod terms;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use crate::config::Config;
use crate::db::Db;
use crate::ids::LessonId;
pub use crate::lesson_types::Phase;

pub use calendar::{day_bounds, today};
pub use lesson_summary::{
    LessonFilter, LessonSummary, count_recorded, lesson_summaries, lesson_summary,
    recorded_ids_after, recorded_lesson,
};
pub use new_lesson::{NewLesson, add_lesson};
pub use phase::{
    InterruptedLesson, lesson_status, mark_attended, mark_ended, mark_live, resume_interrupted,
    set_recording,
};
pub use role::{LessonRole, role_in};
pub use roster::Roster;
pub use series::{CreateSeries, insert_series};
pub use terms::{PeriodForm, TermForm, insert_period, insert_term};

crate::string_enum! {
    /// State of a lesson's recording as stored.
    RecordingState { None = "none", Recording = "recording", Finishing = "finishing", Ready = "ready", Failed = "failed" }
}

impl RecordingState {
    /// Returns the state shown to people: once the lesson has ended, a running recording is
    /// finishing, although its last segments may still be on their way to the disk.
    pub fn as_reported(self, phase: Phase) -> RecordingState {
        match (self, phase) {
            (RecordingState::Recording, Phase::Ended) => RecordingState::Finishing,
            (state, _) => state,
        }
    }
}

impl LessonId {
    /// Converts to the id of the media plane.
    pub fn plane(self) -> tongke_plane::ids::LessonId {
        tongke_plane::ids::LessonId(self.0.as_u128())
    }
}

/// State of this feature. Clones share it.
#[derive(Clone)]
pub struct Timetable {
    pub config: Arc<Config>,
    pub db: Db,
}

pub fn routes() -> OpenApiRouter<Timetable> {
    OpenApiRouter::new()
        .merge(lessons::routes())
        .merge(terms::routes())
        .merge(series::routes())
}
