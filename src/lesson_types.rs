//! Enumerations of a lesson that features, the event bus and the signalling protocol share.
//!
//! The fuzz target of the protocol compiles this file too, with a `string_enum!` that needs serde
//! and utoipa alone.

crate::string_enum! {
    /// Phase of a lesson.
    Phase { Planned = "planned", Live = "live", Ended = "ended" }
}

crate::string_enum! {
    /// Role of a participant in a lesson.
    Role {
        Lead = "lead",
        Assistant = "assistant",
        /// The classroom device in the room that the lead teaches from.
        LeadRoom = "lead_room",
        Listening = "listening",
        Observer = "observer",
    }
}

crate::string_enum! {
    /// Kind of a participant.
    ParticipantKind {
        Person = "person",
        /// A classroom's device.
        Classroom = "classroom",
        /// An encoder that publishes by WHIP.
        Encoder = "encoder",
    }
}
