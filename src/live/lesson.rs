//! The lesson as a pure state machine: who is here, who is on stage, whose hand is up, what was said, which page is shown.
//!
//! It owns no socket, no clock and no media. The host (`host.rs`) tells it what happened and the time ([`Now`]), then performs the
//! [`Effect`]s it leaves behind, in order. Every change of the document is broadcast as one message with the next `revision`, so a
//! page that applies them in order holds exactly what [`Lesson::document`] says.
//!
//! A participant is a person, a device or an encoder — never a page. A page comes and goes:
//! - it resumes with its token: participant, stage and media stay;
//! - another page of the same participant replaces it: stage and hand stay, the media of the old page goes;
//! - it is lost: the participant stays, not `present`, until [`GRACE`] after it was last heard; then it leaves.

mod classroom;
mod deck;
mod members;
mod resumed;
#[cfg(test)]
mod storm;
#[cfg(test)]
pub(crate) mod story;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tongke_plane::ids::{PeerId, TrackId};

use crate::bus::{TimelineEntry, TimelineParticipant};

use super::protocol::{
    ByeReason, ChatLine, Lesson as Document, MediaKind, Participant, ParticipantId,
    ParticipantKind, Phase, Purpose, RecordingState, Role, ShownDeck, Source, ToPage,
};

/// How long a participant that was lost keeps its place, counted from when it was last heard.
/// The promise is that no ghost stays on the wall for longer.
pub const GRACE: Duration = Duration::from_secs(10);

/// Lines of chat that a page joining late is given (protocol: "the newest 100").
const CHAT_KEPT: usize = 100;

/// The time, as the shell reads it: the monotonic clock rules deadlines, the wall clock dates what is written down.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub instant: Instant,
    pub wall: Timestamp,
}

/// What a lesson will bear.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Participants on stage at once.
    pub stage: usize,
    /// Participants in the lesson; also bounds what one lesson can cost the server.
    pub participants: usize,
}

/// Who comes, as identity and timetable know it. `id` is stable across pages: the person's or the device's id.
#[derive(Clone, Debug)]
pub struct Identity {
    pub id: ParticipantId,
    pub name: String,
    pub school: Option<String>,
    pub role: Role,
    pub kind: ParticipantKind,
}

/// One socket of a page. Never reused within a lesson.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conn(pub u64);

/// Whether a page took up its old place with its media, or begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Fresh,
    Resumed,
}

/// What the host has to do after an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// To one page.
    Tell { conn: Conn, message: Box<ToPage> },
    /// To every page but one (which learns it from its welcome).
    TellAll {
        message: Box<ToPage>,
        except: Option<Conn>,
    },
    /// Say goodbye and close the socket.
    Dismiss { conn: Conn, reason: ByeReason },
    /// End all media connections of a participant, publishing and receiving.
    DropMedia { participant: ParticipantId },
    /// The lesson began or ended, for the timetable and the recorder.
    PhaseChanged { phase: Phase, at: Timestamp },
    /// Appends an entry to the recorded timeline.
    AppendTimeline(TimelineEntry),
}

/// Why an input was refused; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the role does not allow this")]
    NotAllowed,
    #[error("no such participant")]
    NoSuchParticipant,
    #[error("the stage is full")]
    StageFull,
    #[error("this participant cannot go on stage")]
    NotForTheStage,
    #[error("the line is empty or too long")]
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

/// A lesson that is on, or about to be.
pub struct Lesson {
    id: String,
    title: String,
    limits: Limits,
    phase: Phase,
    started: Option<Timestamp>,
    recording: RecordingState,
    /// In order of joining, which is the document's order.
    members: Vec<Member>,
    on_stage: Vec<ParticipantId>,
    chat: VecDeque<ChatLine>,
    deck: Option<ShownDeck>,
    /// Programs that watch, by connection and name.
    players: Vec<(PeerId, String)>,
    /// Whose place on the stage is kept after a restart of the server, and until when.
    awaited: Option<(Vec<ParticipantId>, Instant)>,
    revision: u64,
    effects: VecDeque<Effect>,
}

/// A participant with what only the server knows of it.
pub struct Member {
    pub public: Participant,
    /// The page's socket; `None` while it is lost, and always for an encoder.
    pub conn: Option<Conn>,
    pub tracks: Vec<MemberTrack>,
    /// Asked heights by what the page shows; what is not listed has the policy's default.
    pub view: HashMap<(ParticipantId, Purpose), u16>,
    resume: String,
    /// When it was last heard, while it is lost.
    lost_since: Option<Instant>,
}

/// A published source and the plane's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberTrack {
    pub purpose: Purpose,
    pub kind: MediaKind,
    pub track: TrackId,
}

impl Lesson {
    /// A lesson as the timetable has it; `started` is set when it is on already. After a restart of the server, see [`Lesson::take_up`].
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
            recording: RecordingState::Off,
            members: Vec::new(),
            on_stage: Vec::new(),
            chat: VecDeque::new(),
            deck: None,
            players: Vec::new(),
            awaited: None,
            revision: 0,
            effects: VecDeque::new(),
        }
    }

    /// The whole document, as a page joining now is given it.
    pub fn document(&self, now: Now) -> Document {
        Document {
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

    /// The next thing to do; drain after every input.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Milliseconds since the lesson began; 0 before, so that what is said early sorts first.
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

    /// One change of the document, told to all.
    fn announce(&mut self, except: Option<Conn>, message: impl FnOnce(u64) -> ToPage) {
        self.revision += 1;
        let message = Box::new(message(self.revision));
        self.effects.push_back(Effect::TellAll { message, except });
    }

    fn announce_changed(&mut self, at: usize, except: Option<Conn>) {
        let participant = self.members[at].public.clone();
        self.announce(except, |revision| ToPage::Changed {
            revision,
            participant,
        });
    }

    /// Appends to the timeline, which belongs to the recording: it is empty before the lesson begins.
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

    fn sources(&self) -> Vec<Source> {
        self.tracks
            .iter()
            .map(|t| Source {
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
