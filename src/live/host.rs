//! The task of one lesson: it alone owns the state machine and the media connections, so nothing here is locked.
//!
//! It takes one [`Command`] after another, lets the state machine decide, and performs what comes out: messages to pages, calls of the
//! plane, events for the recorder, the phase for the timetable. It waits for nothing but its queue and, twice in a lesson, the
//! database; what else it has to look up comes back by its queue. A page that does not take its messages is dropped; it never slows the others.

mod meters;
mod requests;
mod telling;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tongke_plane::ids::{PeerId, TrackId};
use tongke_plane::{Event, Track};

use super::lesson::{Conn, Effect, Identity, Lesson, Now};
use super::media::{Media, Owner};
use super::protocol::{
    ByeReason, Envelope, ParticipantId, Phase, Purpose, RecordingState, ShownDeck, ToPage,
};
use super::refused::Refused;
use crate::bus::{self, Bus, LessonEvent, ParticipantRef, TimelineEntry};
use crate::db::Db;
use crate::error::Language;
use crate::ids::LessonId;
use crate::timetable::{self};
use meters::Meters;

/// Levels go out five times a second at most (protocol), and nothing else here is in more haste.
const TICK: Duration = Duration::from_millis(200);

/// Commands handled before subscriptions are worked out again: a school's morning storm of joins costs one round, not one each.
const BATCH: usize = 64;

/// A lesson that is on and that everybody has left ends by itself after this long, as of when they left: a power cut at the core school
/// is over sooner, and a recording must not run all night.
pub const ABANDONED_AFTER: Duration = Duration::from_secs(15 * 60);

/// The timetable is told this often that somebody is here: all that is left to tell when a lesson was over if the server dies.
const ATTENDANCE: Duration = Duration::from_secs(60);

/// The task of a lesson that has not begun goes when nobody has been there for this long; the next page starts another.
const IDLE_AFTER: Duration = Duration::from_secs(30);

/// What the rest of the server says to a lesson.
pub enum Command {
    Join {
        who: Identity,
        resume: Option<String>,
        page: Page,
        reply: oneshot::Sender<Result<Conn, Refused>>,
    },
    Said {
        conn: Conn,
        envelope: Envelope,
    },
    /// The deck that a page wants to show was looked up.
    DeckFound {
        conn: Conn,
        reference: u32,
        found: Result<ShownDeck, Refused>,
    },
    /// A socket is gone; `heard` is its last sign of life.
    Lost {
        conn: Conn,
        heard: Instant,
    },
    /// A WHIP offer.
    Encode {
        who: Identity,
        sdp: String,
        reply: oneshot::Sender<Result<(PeerId, String), Refused>>,
    },
    /// A WHEP offer; `name` is what its token is called.
    Play {
        name: String,
        sdp: String,
        reply: oneshot::Sender<Result<(PeerId, String), Refused>>,
    },
    Plane(Event),
    Recording(RecordingState),
    /// A person or device has lost its right to be here.
    Revoke {
        participant: ParticipantId,
    },
    /// The server stops.
    Stop,
}

/// A page's end of its socket.
pub struct Page {
    /// Messages as JSON, shared between the pages they go to.
    pub outbox: mpsc::Sender<Arc<str>>,
    /// Says why the socket is closed; what is queued is sent first, unless the page is slow.
    pub bye: oneshot::Sender<ByeReason>,
    pub language: Language,
}

/// What a lesson's task needs of the server.
pub struct Surroundings {
    pub id: LessonId,
    pub db: Db,
    pub bus: Bus,
    /// The lesson's own queue, for what it looks up without waiting.
    pub queue: mpsc::WeakSender<Command>,
}

pub struct Host {
    around: Surroundings,
    lesson: Lesson,
    media: Media,
    meters: Meters,
    pages: HashMap<Conn, Page>,
    /// What is published, as the recorder wants to know it.
    published: HashMap<TrackId, (Track, ParticipantId, bus::Purpose)>,
    last_conn: u64,
    /// Subscriptions may be out of date.
    stale: bool,
    /// When the last one left, while nobody is here.
    empty_since: Option<Now>,
    attendance_told: Option<Instant>,
    stopping: bool,
}

impl Host {
    pub fn new(around: Surroundings, lesson: Lesson, media: Media) -> Host {
        Host {
            around,
            lesson,
            media,
            meters: Meters::default(),
            pages: HashMap::new(),
            published: HashMap::new(),
            last_conn: 0,
            stale: false,
            empty_since: None,
            attendance_told: None,
            stopping: false,
        }
    }

    /// A lesson whose server died. Its pages have until [`ABANDONED_AFTER`] from now to come back; if none does, it was over when somebody
    /// was last known to be in it.
    pub fn going_on(
        around: Surroundings,
        lesson: Lesson,
        media: Media,
        attended_at: Timestamp,
    ) -> Host {
        let empty_since = Some(Now {
            wall: attended_at,
            ..now()
        });
        Host {
            empty_since,
            ..Host::new(around, lesson, media)
        }
    }

    /// Runs the lesson until it is over and everybody has gone.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_over() {
            tokio::select! {
                Some(command) = commands.recv() => {
                    self.handle(command).await;
                    for _ in 1..BATCH {
                        let Ok(command) = commands.try_recv() else { break };
                        self.handle(command).await;
                    }
                }
                _ = tick.tick() => self.handle_tick(now()),
            }
            self.settle().await;
        }
        self.media.close_all();
    }

    async fn handle(&mut self, command: Command) {
        let now = now();
        match command {
            Command::Join {
                who,
                resume,
                page,
                reply,
            } => self.join(who, resume, page, reply, now).await,
            Command::Said { conn, envelope } => self.said(conn, envelope, now),
            Command::DeckFound {
                conn,
                reference,
                found,
            } => self.deck_found(conn, reference, found),
            Command::Lost { conn, heard } => self.lost(conn, heard),
            Command::Encode { who, sdp, reply } => drop(reply.send(self.encode(who, &sdp))),
            Command::Play { name, sdp, reply } => drop(reply.send(self.play(name, &sdp))),
            Command::Plane(event) => self.plane_event(event, now),
            Command::Recording(state) => self.lesson.set_recording(state),
            Command::Revoke { participant } => self.revoke(&participant),
            Command::Stop => self.stop(now),
        }
        self.perform_effects().await;
    }

    fn handle_tick(&mut self, now: Now) {
        self.lesson.handle_timeout(now.instant);
        let levels = self.meters.take_levels();
        if !levels.is_empty() {
            self.tell_all(&ToPage::Levels { levels }, None);
        }
        for (participant, quality) in self.meters.take_qualities(now.instant) {
            self.tell_participant(&participant, &ToPage::Quality { quality });
        }
        self.keep_attendance(now);
    }

    /// After each batch: effects of timeouts, then everybody's subscriptions as the policy has them now.
    async fn settle(&mut self) {
        self.perform_effects().await;
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let (messages, all_done) = self.media.refresh(&self.lesson);
        for (participant, message) in messages {
            self.tell_participant(&participant, &message);
        }
        // A shard that was too busy is asked again with the next tick.
        self.stale = !all_done;
        self.perform_effects().await;
    }

    fn is_over(&self) -> bool {
        let gone = self.pages.is_empty() && self.lesson.members().is_empty();
        match self.lesson.phase() {
            Phase::Ended => gone,
            Phase::Live => gone && self.stopping,
            Phase::Planned => {
                let idle = self
                    .empty_since
                    .is_some_and(|since| since.instant.elapsed() >= IDLE_AFTER);
                gone && self.media.is_idle() && (self.stopping || idle)
            }
        }
    }

    fn keep_attendance(&mut self, now: Now) {
        if !self.lesson.members().is_empty() || !self.media.is_idle() {
            self.empty_since = None;
            self.tell_attendance(now);
            return;
        }
        let left = *self.empty_since.get_or_insert(now);
        if now.instant >= left.instant + ABANDONED_AFTER && self.lesson.phase() == Phase::Live {
            tracing::warn!(lesson.id = %self.around.id, "nobody has been in this lesson for a long time: ended");
            self.lesson.finish(left);
        }
    }

    fn tell_attendance(&mut self, now: Now) {
        let told = self
            .attendance_told
            .is_some_and(|told| now.instant < told + ATTENDANCE);
        if told || self.lesson.phase() != Phase::Live {
            return;
        }
        self.attendance_told = Some(now.instant);
        let (db, lesson) = (self.around.db.clone(), self.around.id);
        // The lesson does not wait for it: it is told again in a minute.
        tokio::spawn(async move {
            if let Err(error) = timetable::mark_attended(&db, lesson, now.wall).await {
                tracing::warn!(lesson.id = %lesson, %error, "the timetable could not be told that somebody is here");
            }
        });
    }

    /// A lesson that is on ends cleanly, so that its recording is finished; one that has not begun is told to come back.
    fn stop(&mut self, now: Now) {
        self.stopping = true;
        match self.lesson.phase() {
            Phase::Live => self.lesson.finish(now),
            Phase::Planned | Phase::Ended => self.lesson.dismiss_all(ByeReason::Restarting),
        }
    }

    async fn perform_effects(&mut self) {
        while let Some(effect) = self.lesson.poll_effect() {
            self.stale = true;
            match effect {
                Effect::Tell { conn, message } => self.tell(conn, &message),
                Effect::TellAll { message, except } => self.tell_all(&message, except),
                Effect::Dismiss { conn, reason } => self.dismiss(conn, reason),
                Effect::DropMedia { participant } => self.drop_media(&participant),
                Effect::PhaseChanged { phase, at } => self.phase_changed(phase, at).await,
                Effect::AppendTimeline(entry) => self.append_timeline(Timestamp::now(), entry),
            }
        }
    }

    async fn phase_changed(&mut self, phase: Phase, at: Timestamp) {
        let lesson = self.around.id;
        let (written, event) = match phase {
            Phase::Live => (
                timetable::mark_live(&self.around.db, lesson, at).await,
                LessonEvent::Started { lesson, at },
            ),
            Phase::Ended => {
                self.append_timeline(at, TimelineEntry::Ended {});
                (
                    timetable::mark_ended(&self.around.db, lesson, at).await,
                    LessonEvent::Ended { lesson, at },
                )
            }
            Phase::Planned => return,
        };
        if let Err(error) = written {
            // The lesson matters more than its row: it goes on, and what it is shows in the recording and the log.
            tracing::error!(lesson.id = %lesson, %error, ?phase, "the timetable could not be told");
        }
        self.around.bus.publish(event);
        if phase == Phase::Live {
            self.published
                .values()
                .for_each(|(track, who, purpose)| self.publish_track(track, who, *purpose));
        } else {
            self.media.close_all();
        }
    }

    fn append_timeline(&self, at: Timestamp, entry: TimelineEntry) {
        self.around.bus.publish(LessonEvent::Timeline {
            lesson: self.around.id,
            at,
            entry,
        });
    }

    /// The recorder hears of tracks only while the lesson is on.
    fn publish_track(&self, track: &Track, who: &str, purpose: bus::Purpose) {
        let Some(member) = self.lesson.member(who) else {
            return;
        };
        let Ok(id) = who.parse() else { return };
        let participant = ParticipantRef {
            id,
            name: member.public.name.clone(),
            kind: member.public.kind,
        };
        let lesson = self.around.id;
        self.around.bus.publish(LessonEvent::TrackPublished {
            lesson,
            track: track.clone(),
            participant,
            purpose,
        });
    }

    fn tracks_gone(&mut self, tracks: Vec<TrackId>) {
        for track in tracks {
            self.published.remove(&track);
            self.meters.forget_track(track);
            if self.lesson.phase() != Phase::Planned {
                self.around.bus.publish(LessonEvent::TrackGone {
                    lesson: self.around.id,
                    track,
                });
            }
        }
    }

    fn drop_media(&mut self, participant: &str) {
        let gone = self.media.drop_participant(participant);
        self.tracks_gone(gone);
        self.meters.forget_participant(participant);
    }

    fn owner_name(&self, peer: PeerId) -> Option<(ParticipantId, Option<Purpose>)> {
        match self.media.owner(peer)? {
            Owner::Publisher(who, purpose) => Some((who.clone(), Some(*purpose))),
            Owner::Receiver(who) => Some((who.clone(), None)),
            Owner::Player => None,
        }
    }
}

/// The shell's one look at the clocks.
pub fn now() -> Now {
    Now {
        instant: Instant::now(),
        wall: Timestamp::now(),
    }
}
