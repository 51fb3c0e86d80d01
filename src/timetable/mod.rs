//! Terms, periods, series and their lessons: who teaches whom, when and where.

mod role;

pub use role::{LessonRole, role_in};

crate::id! {
    /// One lesson: one occurrence in the timetable.
    LessonId
}
crate::id! {
    /// A place in the timetable that makes lessons through a term.
    SeriesId
}
crate::id! {
    TermId
}
crate::id! {
    PeriodId
}

crate::words! {
    /// Where a lesson stands.
    Phase { Planned = "planned", Live = "live", Ended = "ended" }
}

crate::words! {
    /// How a lesson's recording stands.
    RecordingState { None = "none", Recording = "recording", Finishing = "finishing", Ready = "ready", Failed = "failed" }
}

impl LessonId {
    /// The same lesson as the media plane names it.
    pub fn plane(self) -> tongke_plane::ids::LessonId {
        tongke_plane::ids::LessonId(self.0.as_u128())
    }
}
