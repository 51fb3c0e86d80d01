//! Events between features, in this process: what happens in a lesson, told to whoever listens (the recorder).
//!
//! A subscriber's queue is unbounded on purpose: a lesson makes a few events a second, each of them must reach the recorder,
//! and the recorder only enqueues work. Media never travels here.

use crate::db::DbError;
use crate::ids::{LessonId, SchoolId};
use std::sync::{Arc, Mutex, RwLock};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::AnyConnection;
use tokio::sync::mpsc;
use tongke_plane::ids::TrackId;
use utoipa::ToSchema;
use uuid::Uuid;

/// Something that happened in a lesson.
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
    /// One entry of the lesson's timeline: joined, left, stage, hand, chat, screen, deck, page.
    Timeline {
        lesson: LessonId,
        at: Timestamp,
        kind: TimelineKind,
        body: serde_json::Value,
    },
    Ended {
        lesson: LessonId,
        at: Timestamp,
    },
}

/// Who published a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantRef {
    /// A person's, a classroom's or a foreign program's id.
    pub id: Uuid,
    pub name: String,
    pub kind: ParticipantKind,
}

crate::string_enum! {
    /// What takes part in a lesson.
    ParticipantKind { Person = "person", Classroom = "classroom", Encoder = "encoder" }
}

crate::string_enum! {
    /// What a published source is for.
    Purpose { Camera = "camera", Screen = "screen", Whip = "whip" }
}

crate::string_enum! {
    /// The entries of a lesson's timeline.
    TimelineKind {
        Started = "started", Ended = "ended", Joined = "joined", Left = "left", Stage = "stage", Hand = "hand", Chat = "chat",
        Screen = "screen", Deck = "deck", Page = "page",
    }
}

/// One thing that happened in a lesson, as it was written down.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TimelineEvent {
    /// Since the lesson began.
    pub at_ms: i64,
    pub kind: TimelineKind,
    /// What it says depends on the kind.
    #[schema(value_type = Object)]
    pub body: serde_json::Value,
}

/// Receives changes of schools inside the transaction that makes them: both happen or neither.
pub trait SchoolSubscriber: Send + Sync {
    /// A school left its community or joined another.
    fn school_moved<'c>(
        &'c self,
        connection: &'c mut AnyConnection,
        school: SchoolId,
    ) -> BoxFuture<'c, Result<(), DbError>>;
}

/// The in-process event bus. Cloning shares it.
#[derive(Clone, Default)]
pub struct Bus {
    subscribers: Arc<Mutex<Vec<mpsc::UnboundedSender<LessonEvent>>>>,
    school_subscribers: Arc<RwLock<Vec<Arc<dyn SchoolSubscriber>>>>,
}

impl Bus {
    /// Every event published from now on, in order.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<LessonEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.subscribers
            .lock()
            .expect("no holder of this lock can panic")
            .push(sender);
        receiver
    }

    /// Tells every subscriber; those that are gone are forgotten.
    pub fn publish(&self, event: LessonEvent) {
        let mut subscribers = self
            .subscribers
            .lock()
            .expect("no holder of this lock can panic");
        subscribers.retain(|subscriber| subscriber.send(event.clone()).is_ok());
    }

    /// Adds a subscriber to changes of schools. Called while the server starts.
    pub fn subscribe_to_schools(&self, subscriber: Arc<dyn SchoolSubscriber>) {
        let mut subscribers = self
            .school_subscribers
            .write()
            .expect("no holder of this lock can panic");
        subscribers.push(subscriber);
    }

    /// Calls every subscriber in the publisher's transaction; the first error ends it.
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
