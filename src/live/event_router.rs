//! Routing of plane events, which arrive in one stream, to the lessons they belong to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tongke_plane::ids::{PeerId, TrackId};
use tongke_plane::{Event, Events};

use super::task::Command;

/// Registration handle of one lesson. Clones share it.
#[derive(Clone)]
pub struct LessonRoutes {
    router: EventRouter,
    lesson: mpsc::Sender<Command>,
}

/// Routing table of all lessons. Its lock is held only for lookups: never across an await, never by
/// a media thread.
#[derive(Clone, Default)]
pub struct EventRouter {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    peers: HashMap<PeerId, Route>,
    tracks: HashMap<TrackId, mpsc::Sender<Command>>,
}

struct Route {
    lesson: mpsc::Sender<Command>,
    tracks: Vec<TrackId>,
}

impl LessonRoutes {
    pub fn new(router: EventRouter, lesson: mpsc::Sender<Command>) -> LessonRoutes {
        LessonRoutes { router, lesson }
    }

    /// Routes events of this peer and these tracks to this lesson.
    pub fn add(&self, peer: PeerId, tracks: &[TrackId]) {
        let mut inner = self.router.lock();
        inner
            .tracks
            .extend(tracks.iter().map(|track| (*track, self.lesson.clone())));
        inner.peers.insert(
            peer,
            Route {
                lesson: self.lesson.clone(),
                tracks: tracks.to_vec(),
            },
        );
    }
}

impl EventRouter {
    /// Returns true while a peer exists.
    pub fn has_peer(&self, peer: PeerId) -> bool {
        self.lock().peers.contains_key(&peer)
    }

    /// Forwards every event of the plane to its lesson until the plane stops.
    pub async fn run(self, mut events: Events) {
        while let Some(event) = events.recv().await {
            let Some(lesson) = self.lesson_of(&event) else {
                continue;
            };
            if must_deliver(&event) {
                // This send always completes: a lesson awaits only its queue and short database
                // writes, and an ended lesson has dropped its queue.
                let _ = lesson.send(Command::Plane(event)).await;
            } else if lesson.try_send(Command::Plane(event)).is_err() {
                metrics::counter!(crate::metrics::LESSON_EVENTS_DROPPED).increment(1);
            }
        }
    }

    fn lesson_of(&self, event: &Event) -> Option<mpsc::Sender<Command>> {
        let mut inner = self.lock();
        match event {
            Event::PeerClosed { peer, .. } => {
                let route = inner.peers.remove(peer)?;
                for track in route.tracks {
                    inner.tracks.remove(&track);
                }
                Some(route.lesson)
            }
            Event::PeerConnected { peer }
            | Event::SlotLayer { peer, .. }
            | Event::Link { peer, .. } => inner.peers.get(peer).map(|route| route.lesson.clone()),
            Event::TrackLive { track }
            | Event::TrackSilent { track }
            | Event::AudioLevel { track, .. } => inner.tracks.get(track).cloned(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock can panic")
    }
}

/// Returns true for events that are never repeated; audio levels and link states are superseded by
/// the next.
fn must_deliver(event: &Event) -> bool {
    !matches!(event, Event::AudioLevel { .. } | Event::Link { .. })
}
