//! Which lesson a plane event belongs to. The plane has one stream of events; each lesson wants its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tongke_plane::ids::{PeerId, TrackId};
use tongke_plane::{Event, Events};

use super::host::Command;

/// One lesson's entry to the table of routes. Cloning shares it.
#[derive(Clone)]
pub struct Routes {
    table: Table,
    lesson: mpsc::Sender<Command>,
}

/// The table of all lessons. Held only for a look-up: never across a wait, never by a media thread.
#[derive(Clone, Default)]
pub struct Table {
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

impl Routes {
    pub fn new(table: Table, lesson: mpsc::Sender<Command>) -> Routes {
        Routes { table, lesson }
    }

    /// Events of this peer and these tracks come to this lesson from now on.
    pub fn add(&self, peer: PeerId, tracks: &[TrackId]) {
        let mut inner = self.table.lock();
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

impl Table {
    /// Whether a peer is still there.
    pub fn knows(&self, peer: PeerId) -> bool {
        self.lock().peers.contains_key(&peer)
    }

    /// Hands every event of the plane to its lesson until the plane stops.
    pub async fn run(self, mut events: Events) {
        while let Some(event) = events.recv().await {
            let Some(lesson) = self.lesson_of(&event) else {
                continue;
            };
            if must_arrive(&event) {
                // A lesson never waits for anything but its queue, so this ends; one that has ended has dropped its queue.
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

/// A level or a line's state is said again soon; the end of a peer is said once.
fn must_arrive(event: &Event) -> bool {
    !matches!(event, Event::AudioLevel { .. } | Event::Link { .. })
}
