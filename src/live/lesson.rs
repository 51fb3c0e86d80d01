//! The lesson as a pure state machine: who is here, who is on stage, whose hand is up, what was said.
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
#[cfg(test)]
mod storm;
#[cfg(test)]
pub(crate) mod story;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tongke_plane::ids::TrackId;

use crate::bus::TimelineKind;

use super::protocol::{
    ByeReason, ChatLine, Kind, Lesson as Document, MediaKind, Participant, ParticipantId, Phase, Purpose,
    RecordingState, Role, Source, Tile, ToPage, VERSION,
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
    pub kind: Kind,
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
    TellAll { message: Box<ToPage>, except: Option<Conn> },
    /// Say goodbye and close the socket.
    Dismiss { conn: Conn, reason: ByeReason },
    /// End all media connections of a participant, publishing and receiving.
    DropMedia { participant: ParticipantId },
    /// The lesson began or ended, for the timetable and the recorder.
    PhaseChanged { phase: Phase },
    /// A line of the timeline.
    Note { kind: TimelineKind, body: Value },
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
    /// A lesson as the timetable has it; `started` is set when it is on already and lost its task, which only a bug of ours can do.
    pub fn new(id: String, title: String, started: Option<Timestamp>, limits: Limits) -> Lesson {
        Lesson {
            id,
            title,
            limits,
            phase: if started.is_some() { Phase::Live } else { Phase::Planned },
            started,
            recording: RecordingState::Off,
            members: Vec::new(),
            on_stage: Vec::new(),
            chat: VecDeque::new(),
            revision: 0,
            effects: VecDeque::new(),
        }
    }

    /// A page opens the lesson. `token` becomes its resume token; `resume` is what it brought along from an earlier welcome.
    pub fn join(
        &mut self,
        who: Identity,
        conn: Conn,
        token: String,
        resume: Option<&str>,
        now: Now,
    ) -> Result<Entry, Refusal> {
        self.check_entry(&who.id)?;
        let entry = match self.position(&who.id) {
            Some(at) => self.come_back(at, who, conn, resume),
            None => self.come_in(who, Some(conn)),
        };
        let welcome = ToPage::Welcome {
            version: VERSION,
            you: self.newest(conn).public.id.clone(),
            resume: token.clone(),
            revision: self.revision,
            lesson: self.document(now),
        };
        self.newest_mut(conn).resume = token;
        self.effects.push_back(Effect::Tell { conn, message: Box::new(welcome) });
        Ok(entry)
    }

    /// A foreign encoder publishes by WHIP. It has no page: it is present while its connection lives.
    pub fn join_encoder(&mut self, who: Identity) -> Result<(), Refusal> {
        self.check_entry(&who.id)?;
        if let Some(at) = self.position(&who.id) {
            self.remove(at);
        }
        self.come_in(who, None);
        Ok(())
    }

    fn check_entry(&self, id: &str) -> Result<(), Refusal> {
        if self.phase == Phase::Ended {
            return Err(Refusal::Ended);
        }
        let known = self.position(id).is_some();
        if !known && self.members.len() >= self.limits.participants {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    fn come_in(&mut self, who: Identity, conn: Option<Conn>) -> Entry {
        let publishes = who.role != Role::Observer;
        let public = Participant {
            id: who.id,
            name: who.name,
            school: who.school,
            role: who.role,
            kind: who.kind,
            present: true,
            hand: false,
            hand_at_ms: None,
            microphone: publishes,
            camera: publishes,
            sources: Vec::new(),
        };
        self.note(
            TimelineKind::Joined,
            json!({ "id": public.id, "name": public.name, "school": public.school, "role": public.role }),
        );
        self.members.push(Member {
            public: public.clone(),
            conn,
            tracks: Vec::new(),
            view: HashMap::new(),
            resume: String::new(),
            lost_since: None,
        });
        self.announce(conn, |revision| ToPage::Joined { revision, participant: public });
        Entry::Fresh
    }

    fn come_back(&mut self, at: usize, who: Identity, conn: Conn, resume: Option<&str>) -> Entry {
        let member = &mut self.members[at];
        let resumed = resume.is_some_and(|token| token == member.resume);
        let old = member.conn.replace(conn);
        member.lost_since = None;
        member.public.present = true;
        if !resumed {
            // A new page starts with both switches on and its own layout; only the participant's place is kept.
            let publishes = who.role != Role::Observer;
            member.view.clear();
            member.tracks.clear();
            member.public.sources.clear();
            (member.public.microphone, member.public.camera) = (publishes, publishes);
            (member.public.name, member.public.school, member.public.role) = (who.name, who.school, who.role);
            self.effects.push_back(Effect::DropMedia { participant: who.id });
        }
        if let Some(old) = old {
            self.effects.push_back(Effect::Dismiss { conn: old, reason: ByeReason::Replaced });
        }
        self.announce_changed(at, Some(conn));
        if resumed { Entry::Resumed } else { Entry::Fresh }
    }

    /// A socket is gone. `heard` is when it last gave a sign of life: the grace runs from there.
    pub fn lost(&mut self, conn: Conn, heard: Instant) {
        let Some(at) = self.members.iter().position(|m| m.conn == Some(conn)) else { return };
        let member = &mut self.members[at];
        member.conn = None;
        member.lost_since = Some(heard);
        member.public.present = false;
        self.announce_changed(at, None);
    }

    /// Lets go of those whose grace has run out. Called every tick of the host.
    pub fn handle_timeout(&mut self, now: Instant) {
        let over = |m: &Member| m.lost_since.is_some_and(|since| now >= since + GRACE);
        while let Some(at) = self.members.iter().position(over) {
            self.remove(at);
        }
    }

    /// Takes a participant out at once: its pass was taken away, or its encoder's connection is gone.
    pub fn leave(&mut self, id: &str) {
        if let Some(at) = self.position(id) {
            self.remove(at);
        }
    }

    fn remove(&mut self, at: usize) {
        let member = self.members.remove(at);
        let id = member.public.id;
        self.effects.push_back(Effect::DropMedia { participant: id.clone() });
        self.leave_stage(&id);
        self.note(TimelineKind::Left, json!({ "id": id }));
        self.announce(None, |revision| ToPage::Left { revision, participant: id });
    }

    /// What a participant publishes for one purpose, replacing what it published before; empty when it stopped.
    pub fn set_tracks(&mut self, id: &str, purpose: Purpose, tracks: &[(MediaKind, TrackId)]) {
        let Some(at) = self.position(id) else { return };
        let member = &mut self.members[at];
        let shared_before = member.shares_screen();
        member.tracks.retain(|t| t.purpose != purpose);
        member.tracks.extend(tracks.iter().map(|&(kind, track)| MemberTrack { purpose, kind, track }));
        let sources = member.sources();
        if sources == member.public.sources {
            return;
        }
        member.public.sources = sources;
        let shares = member.shares_screen();
        if shares != shared_before {
            self.note(TimelineKind::Screen, json!({ "id": id, "on": shares }));
        }
        self.announce_changed(at, None);
    }

    /// The page's layout, for the subscription policy. Not part of the document.
    pub fn view(&mut self, id: &str, tiles: Vec<Tile>) -> Result<(), Refusal> {
        // Twice the largest lesson: every participant's camera and screen.
        if tiles.len() > 2 * self.limits.participants {
            return Err(Refusal::TooManyTiles);
        }
        let at = self.position(id).ok_or(Refusal::NoSuchParticipant)?;
        self.members[at].view = tiles.into_iter().map(|t| ((t.participant, t.purpose), t.height)).collect();
        Ok(())
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
        self.started.map_or(0, |start| (now.wall.as_millisecond() - start.as_millisecond()).max(0) as u64)
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.members.iter().position(|m| m.public.id == id)
    }

    fn newest(&self, conn: Conn) -> &Member {
        self.by_conn(conn).expect("join has just given this socket to a member")
    }

    fn newest_mut(&mut self, conn: Conn) -> &mut Member {
        self.members.iter_mut().find(|m| m.conn == Some(conn)).expect("join has just given this socket to a member")
    }

    /// One change of the document, told to all.
    fn announce(&mut self, except: Option<Conn>, message: impl FnOnce(u64) -> ToPage) {
        self.revision += 1;
        let message = Box::new(message(self.revision));
        self.effects.push_back(Effect::TellAll { message, except });
    }

    fn announce_changed(&mut self, at: usize, except: Option<Conn>) {
        let participant = self.members[at].public.clone();
        self.announce(except, |revision| ToPage::Changed { revision, participant });
    }

    /// The timeline is the recording's: before the lesson begins there is none.
    fn note(&mut self, kind: TimelineKind, body: Value) {
        if self.phase == Phase::Live {
            self.effects.push_back(Effect::Note { kind, body });
        }
    }
}

impl Member {
    fn sources(&self) -> Vec<Source> {
        self.tracks
            .iter()
            .map(|t| Source { participant: self.public.id.clone(), purpose: t.purpose, kind: t.kind })
            .collect()
    }

    fn shares_screen(&self) -> bool {
        self.tracks.iter().any(|t| t.purpose == Purpose::Screen && t.kind == MediaKind::Video)
    }
}
