//! In-process event bus between features: events of lessons, published to the recorder.
//!
//! Queues of subscribers are unbounded by design: a lesson publishes a few events per second, each
//! must reach the recorder, and the recorder only enqueues work. Media never travels here.

use crate::db::DbError;
use crate::ids::{LessonId, SchoolId};
pub use crate::lesson_types::ParticipantKind;
use crate::lesson_types::Role;
use std::sync::{Arc, Mutex, RwLock};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use tokio::sync::mpsc;
use tongke_plane::ids::TrackId;
use utoipa::ToSchema;
use utoipa::openapi::{Object, Type};
use uuid::Uuid;

/// Event of a lesson.
#[derive(Clone, Debug)]
pub enum LessonEvent {
    Started {
        lesson: LessonId,
        at: Timestamp,
    },
    TrackPublished {
        lesson: LessonId,
        track: tongke_plane::Track,
        participant: ParticipantRef,
        purpose: Purpose,
    },
    TrackGone {
        lesson: LessonId,
        track: TrackId,
    },
    Timeline {
        lesson: LessonId,
        at: Timestamp,
        entry: TimelineEntry,
    },
    Ended {
        lesson: LessonId,
        at: Timestamp,
    },
}

/// Publisher of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantRef {
    /// Id of a person, of a classroom or of a WHIP encoder's token.
    pub id: Uuid,
    pub name: String,
    pub kind: ParticipantKind,
}

crate::string_enum! {
    /// Purpose of a recorded track: the purpose of its publisher connection, or `whip` for encoders.
    Purpose { Camera = "camera", Screen = "screen", Whip = "whip" }
}

/// Entry of a lesson's timeline, tagged by its kind.
///
/// The tag and the content are the columns `kind` and `body` of `timeline_events`, and the same two
/// fields in `GET /api/lessons/{id}/recording`. Fields stand in alphabetical order, the order in
/// which `serde_json::Value` wrote them before this type existed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum TimelineEntry {
    /// The lesson began, with these participants present.
    Started {
        on_stage: Vec<String>,
        participants: Vec<TimelineParticipant>,
    },
    Ended {},
    Joined(TimelineParticipant),
    Left {
        id: String,
    },
    /// The participants on stage from now on, in order of being called.
    Stage {
        on_stage: Vec<String>,
    },
    Hand {
        id: String,
        raised: bool,
    },
    Chat(TimelineChat),
    /// A participant started or stopped sharing its screen.
    Screen {
        id: String,
        on: bool,
    },
    Deck(TimelineDeck),
    /// The shown deck was turned to this page, counted from 1.
    Page {
        page: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineParticipant {
    pub id: String,
    pub name: String,
    pub role: Role,
    pub school: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineChat {
    /// Milliseconds since the lesson's start as broadcast to clients, which identify a message by it
    /// after a server restart. Absent in rows written before 2026-11-27.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub at_ms: Option<u64>,
    pub id: String,
    pub name: String,
    pub text: String,
}

/// Change of the shown deck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum TimelineDeck {
    Shown {
        deck: String,
        /// Counted from 1.
        page: u32,
        /// Number of pages of the deck.
        pages: u32,
        title: String,
    },
    /// No deck is shown from now on; `deck` is null.
    Hidden {
        #[schema(schema_with = null_schema)]
        deck: (),
    },
}

fn null_schema() -> Object {
    Object::with_type(Type::Null)
}

impl TimelineEntry {
    /// Returns the `kind` and `body` columns of this entry.
    pub fn to_columns(&self) -> (String, String) {
        let tagged = serde_json::to_value(self).expect("strings, numbers and lists are JSON");
        let kind = tagged["kind"].as_str().unwrap_or_default().to_owned();
        (kind, tagged["body"].to_string())
    }

    /// Parses an entry from its `kind` and `body` columns; fails on an unknown kind or damaged body.
    pub fn from_columns(kind: &str, body: &str) -> Result<TimelineEntry, serde_json::Error> {
        let body: serde_json::Value = serde_json::from_str(body)?;
        serde_json::from_value(serde_json::json!({ "kind": kind, "body": body }))
    }
}

/// Recorded timeline entry with its media time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TimelineEvent {
    /// Milliseconds since the lesson began.
    pub at_ms: i64,
    #[serde(flatten)]
    pub entry: TimelineEntry,
}

/// Receives changes of schools inside the transaction that makes them, so that both or neither are
/// committed.
pub trait SchoolSubscriber: Send + Sync {
    /// A school left its community or joined another.
    fn school_moved<'c>(
        &'c self,
        connection: &'c mut AnyConnection,
        school: SchoolId,
    ) -> BoxFuture<'c, Result<(), DbError>>;
}

/// In-process event bus. Clones share it.
#[derive(Clone, Default)]
pub struct Bus {
    subscribers: Arc<Mutex<Vec<mpsc::UnboundedSender<LessonEvent>>>>,
    school_subscribers: Arc<RwLock<Vec<Arc<dyn SchoolSubscriber>>>>,
}

impl Bus {
    /// Returns a queue of all events published from now on, in order.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<LessonEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.subscribers
            .lock()
            .expect("no holder of this lock can panic")
            .push(sender);
        receiver
    }

    /// Sends an event to every subscriber and removes closed subscriptions.
    pub fn publish(&self, event: LessonEvent) {
        let mut subscribers = self
            .subscribers
            .lock()
            .expect("no holder of this lock can panic");
        subscribers.retain(|subscriber| subscriber.send(event.clone()).is_ok());
    }

    /// Adds a subscriber to changes of schools. Called during startup.
    pub fn subscribe_to_schools(&self, subscriber: Arc<dyn SchoolSubscriber>) {
        let mut subscribers = self
            .school_subscribers
            .write()
            .expect("no holder of this lock can panic");
        subscribers.push(subscriber);
    }

    /// Calls every subscriber in the publisher's transaction; the first error aborts it.
    pub async fn school_moved(
        &self,
        connection: &mut AnyConnection,
        school: SchoolId,
    ) -> Result<(), DbError> {
        let subscribers = self
            .school_subscribers
            .read()
            .expect("no holder of this lock can panic")
            .clone();
        for subscriber in subscribers {
            subscriber.school_moved(connection, school).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// One stored row of each kind, as the server has written them since the first release.
    const ROWS: [(&str, &str); 12] = [
        (
            "started",
            r#"{"on_stage":["c1"],"participants":[{"id":"p1","name":"王老师","role":"lead","school":null}]}"#,
        ),
        ("ended", "{}"),
        (
            "joined",
            r#"{"id":"c1","name":"柳林村小学","role":"listening","school":"柳林村小学"}"#,
        ),
        ("left", r#"{"id":"c1"}"#),
        ("stage", r#"{"on_stage":["c1","c2"]}"#),
        ("hand", r#"{"id":"c1","raised":true}"#),
        ("chat", r#"{"id":"p1","name":"王老师","text":"听得到吗"}"#),
        (
            "chat",
            r#"{"at_ms":3000,"id":"p1","name":"王老师","text":"听得到吗"}"#,
        ),
        ("screen", r#"{"id":"p1","on":false}"#),
        (
            "deck",
            r#"{"deck":"d7","page":1,"pages":3,"title":"分数的意义"}"#,
        ),
        ("deck", r#"{"deck":null}"#),
        ("page", r#"{"page":2}"#),
    ];

    #[test]
    fn every_stored_row_is_read_and_written_byte_for_byte() {
        for (kind, body) in ROWS {
            let entry = TimelineEntry::from_columns(kind, body).expect(body);
            assert_eq!(entry.to_columns(), (kind.to_owned(), body.to_owned()));
            let event = TimelineEvent {
                at_ms: 1_500,
                entry,
            };
            assert_eq!(
                serde_json::to_string(&event).expect("a wire form"),
                format!(r#"{{"at_ms":1500,"kind":"{kind}","body":{body}}}"#)
            );
        }
    }

    #[test]
    fn an_unknown_or_damaged_row_is_an_error() {
        for (kind, body) in [
            ("quiz", "{}"),
            ("page", "{"),
            ("page", "null"),
            ("page", r#"{"page":-1}"#),
            ("deck", r#"{"deck":7}"#),
        ] {
            assert!(
                TimelineEntry::from_columns(kind, body).is_err(),
                "{kind} {body}"
            );
        }
    }

    #[test]
    fn the_schema_shows_the_body_of_each_kind() {
        let mut schemas = Vec::new();
        TimelineEvent::schemas(&mut schemas);
        let entry = schemas.iter().find(|(name, _)| name == "TimelineEntry");
        let schema = serde_json::to_value(&entry.expect("a schema").1).expect("JSON");
        let variants = schema["oneOf"].as_array().expect("one variant a kind");
        let kinds: std::collections::BTreeSet<_> = ROWS.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(variants.len(), kinds.len());
        for variant in variants {
            assert_eq!(variant["required"], json!(["body", "kind"]), "{variant}");
            let kind = variant["properties"]["kind"]["enum"][0].as_str();
            assert!(kind.is_some_and(|kind| kinds.contains(kind)), "{variant}");
        }
        let deck = schemas.iter().find(|(name, _)| name == "TimelineDeck");
        let deck = serde_json::to_value(&deck.expect("a schema").1).expect("JSON");
        let hidden = &deck["oneOf"][1];
        assert_eq!(hidden["properties"]["deck"]["type"], "null", "{hidden}");
        assert_eq!(hidden["required"], json!(["deck"]), "{hidden}");
    }
}
