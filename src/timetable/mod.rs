//! Terms, periods, series and their lessons: who teaches whom, when and where.
//!
//! Planning makes rows with phase `planned`; only [`mark_live`], [`mark_ended`] and [`set_recording`] move a lesson on.

mod calendar;
mod card;
mod cast;
mod lessons;
mod phase;
mod planned;
mod role;
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
pub use card::{LessonCard, Which, card, cards, count_recorded, recorded, recorded_after};
pub use cast::Cast;
pub use phase::{
    Interrupted, brief, mark_attended, mark_ended, mark_live, set_recording, take_up_interrupted,
};
pub use planned::{NewLesson, add_lesson};
pub use role::{LessonRole, role_in};
pub use series::{AddSeries, insert_series};
pub use terms::{PeriodForm, TermForm, insert_period, insert_term};

crate::string_enum! {
    /// How a lesson's recording stands.
    RecordingState { None = "none", Recording = "recording", Finishing = "finishing", Ready = "ready", Failed = "failed" }
}

impl RecordingState {
    /// As people are told it: when the lesson is over nothing more is recorded, though the last of it may still be on its way to the disk.
    pub fn told(self, phase: Phase) -> RecordingState {
        match (self, phase) {
            (RecordingState::Recording, Phase::Ended) => RecordingState::Finishing,
            (state, _) => state,
        }
    }
}

impl LessonId {
    /// The same lesson as the media plane names it.
    pub fn plane(self) -> tongke_plane::ids::LessonId {
        tongke_plane::ids::LessonId(self.0.as_u128())
    }
}

/// State of this feature. Cloning shares it.
#[derive(Clone)]
pub struct Timetable {
    pub config: Arc<Config>,
    pub db: Db,
}

/// The timetable's routes.
pub fn routes() -> OpenApiRouter<Timetable> {
    OpenApiRouter::new()
        .merge(lessons::routes())
        .merge(terms::routes())
        .merge(series::routes())
}
