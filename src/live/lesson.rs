//! Lesson as a pure state machine: participants, stage, hands, chat and the shown deck.
//!
//! It owns no socket, clock or media. The task (`task.rs`) passes inputs with the time ([`Now`])
//! and performs the resulting [`Effect`]s in order. Every change of the document is broadcast as
//! one message with the next `revision`, so a client that applies them in order holds exactly
//! [`Lesson::document`].
//!
//! A participant is a person, a device or an encoder. Its clients change:
//! - a client resumes with its token: participant, stage and media stay;
//! - another client of the same participant replaces it: stage and hand stay, the old client's
//!   media ends;
//! - a client disconnects: the participant stays, not `present`, until [`GRACE`] after it was last
//!   seen.

mod actions;
mod deck;
mod members;
#[cfg(test)]
mod property_tests;
mod restore;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tongke_plane::ids::{PeerId, TrackId};

use crate::bus::{TimelineEntry, TimelineParticipant};

use super::protocol::{
    ChatMessage, CloseReason, LessonDocument, MediaKind, Participant, ParticipantId,
    ParticipantKind, Phase, Purpose, RecorderStatus, Role, ServerMessage, ShownDeck, TrackRef,
};

/// Grace period of a disconnected participant, counted from when it was last seen. Also the longest
/// time that a vanished room stays on the wall.
pub const GRACE: Duration = Duration::from_secs(10);

/// Chat messages in the document (protocol: "the newest 100").
const CHAT_CAPACITY: usize = 100;

/// Current time: the monotonic clock for deadlines, the wall clock for stored times.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub instant: Instant,
    pub wall: Timestamp,
}

/// Limits of a lesson.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Participants on stage at once.
    pub stage: usize,
    /// Participants in the lesson; bounds the cost of one lesson for the server.
    pub participants: usize,
}

/// Identity of a joining participant. `id` is the person's, device's or encoder token's id, stable
/// across clients.
#[derive(Clone, Debug)]
pub struct Identity {
    pub id: ParticipantId,
    pub name: String,
    pub school: Option<String>,
    pub role: Role,
    pub kind: ParticipantKind,
}

/// Id of one client socket. Never reused within a lesson.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conn(pub u64);

/// Outcome of a join: media connections continue, or start from nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinOutcome {
    Fresh,
    Resumed,
}

/// Action that the task performs after an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Sends to one client.
    Send {
        conn: Conn,
        message: Box<ServerMessage>,
    },
    /// Sends to every client but one, whose welcome already contains the change.
    Broadcast {
        message: Box<ServerMessage>,
        except: Option<Conn>,
    },
    /// Sends the close message and closes the socket.
    Close { conn: Conn, reason: CloseReason },
    /// Closes all media connections of a participant.
    DropMedia { participant: ParticipantId },
    /// Stores the new phase in the timetable and publishes it to the recorder.
    PhaseChanged { phase: Phase, at: Timestamp },
    /// Appends an entry to the recorded timeline.
    AppendTimeline(TimelineEntry),
}

/// Rejection of an input; the state is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LessonError {
    #[error("the role does not allow this")]
    NotAllowed,
    #[error("no such participant")]
    NoSuchParticipant,
    #[error("the stage is full")]
    StageFull,
    #[error("this participant cannot go on stage")]
    NotForTheStage,
    #[error("the message is empty or too long")]
    ChatLength,
    #[error("the lesson has already begun")]
    AlreadyStarted,
    #[error("the lesson has not begun")]
    NotStarted,
    #[error("the lesson is over")]
    Ended,
    #[error("the lesson is full")]
    Full,
    #[error("too many tiles")]
    TooManyTiles,
    #[error("no deck is shown")]
    NoDeck,
    #[error("the lesson has no such deck")]
    NoSuchDeck,
    #[error("the deck has no such page")]
    NoSuchPage,
}

/// Lesson that is live or about to begin.
pub struct Lesson {
    id: String,
    title: String,
    limits: Limits,
    phase: Phase,
    started: Option<Timestamp>,
    recording: RecorderStatus,
    /// In order of joining, like the document.
    members: Vec<Member>,
    on_stage: Vec<ParticipantId>,
    chat: VecDeque<ChatMessage>,
    deck: Option<ShownDeck>,
    /// WHEP players by connection, with their names.
    players: Vec<(PeerId, String)>,
    /// Participants whose stage place is reserved after a server restart, and the deadline.
    stage_reservations: Option<(Vec<ParticipantId>, Instant)>,
    revision: u64,
    effects: VecDeque<Effect>,
}

/// Participant with its server-side state.
pub struct Member {
    pub public: Participant,
    /// Socket of its client; `None` while disconnected, and always for an encoder.
    pub conn: Option<Conn>,
    pub tracks: Vec<MemberTrack>,
    /// Requested heights by tile; others have the policy's default.
    pub view: HashMap<(ParticipantId, Purpose), u16>,
    resume: String,
    /// Last time it was seen, while disconnected.
    disconnected_at: Option<Instant>,
}

/// Published track with its id in the plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberTrack {
    pub purpose: Purpose,
    pub kind: MediaKind,
    pub track: TrackId,
}

impl Lesson {
    /// Creates a lesson; `started` is set if it is live. See [`Lesson::restore`] for a server
    /// restart.
    pub fn new(id: String, title: String, started: Option<Timestamp>, limits: Limits) -> Lesson {
        Lesson {
            id,
            title,
            limits,
            phase: if started.is_some() {
                Phase::Live
            } else {
                Phase::Planned
            },
            started,
            recording: RecorderStatus::Off,
            members: Vec::new(),
            on_stage: Vec::new(),
            chat: VecDeque::new(),
            deck: None,
            players: Vec::new(),
            stage_reservations: None,
            revision: 0,
            effects: VecDeque::new(),
        }
    }

    /// Returns the document for a joining client.
    pub fn document(&self, now: Now) -> LessonDocument {
        LessonDocument {
            id: self.id.clone(),
            title: self.title.clone(),
            phase: self.phase,
            started_at: self.started.map(|t| t.to_string()),
            at_ms: self.started.map(|_| self.at_ms(now)),
            recording: self.recording,
            participants: self.members.iter().map(|m| m.public.clone()).collect(),
            on_stage: self.on_stage.clone(),
            chat: self.chat.iter().cloned().collect(),
            deck: self.deck.clone(),
            players: self.player_names(),
        }
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub fn member(&self, id: &str) -> Option<&Member> {
        self.position(id).map(|at| &self.members[at])
    }

    pub fn by_conn(&self, conn: Conn) -> Option<&Member> {
        self.members.iter().find(|m| m.conn == Some(conn))
    }

    pub fn on_stage(&self) -> &[ParticipantId] {
        &self.on_stage
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the next effect; drain after every input.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Returns the milliseconds since the lesson began; 0 before, so that early entries sort first.
    fn at_ms(&self, now: Now) -> u64 {
        self.started.map_or(0, |start| {
            (now.wall.as_millisecond() - start.as_millisecond()).max(0) as u64
        })
    }

    fn player_names(&self) -> Vec<String> {
        self.players.iter().map(|(_, name)| name.clone()).collect()
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.members.iter().position(|m| m.public.id == id)
    }

    /// Broadcasts one change of the document with the next revision.
    fn announce(&mut self, except: Option<Conn>, message: impl FnOnce(u64) -> ServerMessage) {
        self.revision += 1;
        let message = Box::new(message(self.revision));
        self.effects
            .push_back(Effect::Broadcast { message, except });
    }

    fn announce_changed(&mut self, at: usize, except: Option<Conn>) {
        let participant = self.members[at].public.clone();
        self.announce(except, |revision| ServerMessage::Changed {
            revision,
            participant,
        });
    }

    /// Appends to the recorded timeline; ignored unless the lesson is live.
    fn append_timeline(&mut self, entry: TimelineEntry) {
        if self.phase == Phase::Live {
            self.effects.push_back(Effect::AppendTimeline(entry));
        }
    }
}

impl Member {
    fn timeline_participant(&self) -> TimelineParticipant {
        let Participant {
            id,
            name,
            role,
            school,
            ..
        } = self.public.clone();
        TimelineParticipant {
            id,
            name,
            role,
            school,
        }
    }

    fn sources(&self) -> Vec<TrackRef> {
        self.tracks
            .iter()
            .map(|t| TrackRef {
                participant: self.public.id.clone(),
                purpose: t.purpose,
                kind: t.kind,
            })
            .collect()
    }

    fn shares_screen(&self) -> bool {
        self.tracks
            .iter()
            .any(|t| t.purpose == Purpose::Screen && t.kind == MediaKind::Video)
    }
}
