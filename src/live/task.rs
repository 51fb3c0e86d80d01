//! Task of one lesson. It alone owns the state machine and the media connections, so it needs no
//! locks.
//!
//! It handles one [`Command`] after another and performs the resulting effects: messages to
//! clients, calls of the plane, events for the recorder, the phase for the timetable. It awaits
//! only its queue and, twice per lesson, the database; other lookups return through the queue. A
//! client with a full outbox is disconnected, so it cannot slow down the others.

mod commands;
mod meters;
mod outbox;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tongke_plane::ids::{PeerId, TrackId};
use tongke_plane::{Event, Track};

use super::error::RequestError;
use super::lesson::{Conn, Effect, Identity, Lesson, Now};
use super::media::{Media, Owner};
use super::protocol::{
    CloseReason, Envelope, ParticipantId, Phase, Purpose, RecorderStatus, ServerMessage, ShownDeck,
};
use crate::bus::{self, Bus, LessonEvent, ParticipantRef, TimelineEntry};
use crate::db::Db;
use crate::error::Language;
use crate::ids::LessonId;
use crate::timetable::{self};
use meters::Meters;

/// Tick interval: audio levels are sent at most five times per second (protocol); all other timers
/// are coarser.
const TICK: Duration = Duration::from_millis(200);

/// Commands handled before subscriptions are recomputed, so that a burst of joins costs one
/// computation.
const BATCH: usize = 64;

/// Live lessons without participants end after this long, as of the last departure: long enough for
/// a power cut at the core school, short enough that no recording runs all night.
pub const ABANDONED_AFTER: Duration = Duration::from_secs(15 * 60);

/// Attendance heartbeat; after a crash the last one is taken as the lesson's end.
const ATTENDANCE: Duration = Duration::from_secs(60);

/// Tasks of lessons that have not begun exit after this long without participants; the next client
/// starts a new one.
const IDLE_AFTER: Duration = Duration::from_secs(30);

/// Command to the task of a lesson.
pub enum Command {
    Join {
        who: Identity,
        resume: Option<String>,
        client: Client,
        reply: oneshot::Sender<Result<Conn, RequestError>>,
    },
    Message {
        conn: Conn,
        envelope: Envelope,
    },
    /// Result of looking up the deck that a client wants to show.
    DeckFound {
        conn: Conn,
        reference: u32,
        found: Result<ShownDeck, RequestError>,
    },
    /// A socket closed; `last_seen` is the time of its last received frame.
    Disconnected {
        conn: Conn,
        last_seen: Instant,
    },
    /// WHIP offer of an encoder.
    PublishWhip {
        who: Identity,
        sdp: String,
        reply: oneshot::Sender<Result<(PeerId, String), RequestError>>,
    },
    /// WHEP offer of a player; `name` is the label of its token.
    PlayWhep {
        name: String,
        sdp: String,
        reply: oneshot::Sender<Result<(PeerId, String), RequestError>>,
    },
    Plane(Event),
    Recording(RecorderStatus),
    /// A person or device lost its access.
    Revoke {
        participant: ParticipantId,
    },
    /// The server shuts down.
    Stop,
}

/// Sending half of a client's socket.
pub struct Client {
    /// Messages as JSON text, shared between recipients.
    pub outbox: mpsc::Sender<Arc<str>>,
    /// Close reason; queued messages are sent first, unless the client is slow.
    pub close: oneshot::Sender<CloseReason>,
    pub language: Language,
}

/// Dependencies of a lesson's task.
pub struct Context {
    pub id: LessonId,
    pub db: Db,
    pub bus: Bus,
    /// The task's own queue, for results of spawned lookups.
    pub queue: mpsc::WeakSender<Command>,
}

pub struct LessonTask {
    context: Context,
    lesson: Lesson,
    media: Media,
    meters: Meters,
    clients: HashMap<Conn, Client>,
    /// Published tracks with the data that the recorder needs.
    published: HashMap<TrackId, (Track, ParticipantId, bus::Purpose)>,
    last_conn: u64,
    /// Subscriptions must be recomputed.
    subscriptions_stale: bool,
    /// Time of the last departure while no participant is present.
    empty_since: Option<Now>,
    attendance_marked_at: Option<Instant>,
    stopping: bool,
}

impl LessonTask {
    pub fn new(context: Context, lesson: Lesson, media: Media) -> LessonTask {
        LessonTask {
            context,
            lesson,
            media,
            meters: Meters::default(),
            clients: HashMap::new(),
            published: HashMap::new(),
            last_conn: 0,
            subscriptions_stale: false,
            empty_since: None,
            attendance_marked_at: None,
            stopping: false,
        }
    }

    /// Creates the task of a lesson that was live when the server crashed. If no client returns
    /// within [`ABANDONED_AFTER`], the lesson ends as of `attended_at`.
    pub fn resumed(
        context: Context,
        lesson: Lesson,
        media: Media,
        attended_at: Timestamp,
    ) -> LessonTask {
        let empty_since = Some(Now {
            wall: attended_at,
            ..now()
        });
        LessonTask {
            empty_since,
            ..LessonTask::new(context, lesson, media)
        }
    }

    /// Runs until the lesson is over and all participants have left.
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
            self.update_subscriptions().await;
        }
        self.media.close_all();
    }

    async fn handle(&mut self, command: Command) {
        let now = now();
        match command {
            Command::Join {
                who,
                resume,
                client,
                reply,
            } => self.join(who, resume, client, reply, now).await,
            Command::Message { conn, envelope } => self.client_message(conn, envelope, now),
            Command::DeckFound {
                conn,
                reference,
                found,
            } => self.deck_found(conn, reference, found),
            Command::Disconnected { conn, last_seen } => self.disconnected(conn, last_seen),
            Command::PublishWhip { who, sdp, reply } => {
                drop(reply.send(self.publish_whip(who, &sdp)))
            }
            Command::PlayWhep { name, sdp, reply } => drop(reply.send(self.play_whep(name, &sdp))),
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
            self.broadcast(&ServerMessage::Levels { levels }, None);
        }
        for (participant, quality) in self.meters.take_qualities(now.instant) {
            self.send_to_participant(&participant, &ServerMessage::Quality { quality });
        }
        self.check_attendance(now);
    }

    /// Performs pending effects and applies the policy to every subscription, after each batch of
    /// commands.
    async fn update_subscriptions(&mut self) {
        self.perform_effects().await;
        if !std::mem::take(&mut self.subscriptions_stale) {
            return;
        }
        let (messages, all_done) = self.media.refresh(&self.lesson);
        for (participant, message) in messages {
            self.send_to_participant(&participant, &message);
        }
        // Retry with the next tick if a shard was busy.
        self.subscriptions_stale = !all_done;
        self.perform_effects().await;
    }

    fn is_over(&self) -> bool {
        let gone = self.clients.is_empty() && self.lesson.members().is_empty();
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

    fn check_attendance(&mut self, now: Now) {
        if !self.lesson.members().is_empty() || !self.media.is_idle() {
            self.empty_since = None;
            self.mark_attendance(now);
            return;
        }
        let left = *self.empty_since.get_or_insert(now);
        if now.instant >= left.instant + ABANDONED_AFTER && self.lesson.phase() == Phase::Live {
            tracing::warn!(lesson.id = %self.context.id, "nobody has been in this lesson for a long time: ended");
            self.lesson.finish(left);
        }
    }

    fn mark_attendance(&mut self, now: Now) {
        let sent = self
            .attendance_marked_at
            .is_some_and(|sent| now.instant < sent + ATTENDANCE);
        if sent || self.lesson.phase() != Phase::Live {
            return;
        }
        self.attendance_marked_at = Some(now.instant);
        let (db, lesson) = (self.context.db.clone(), self.context.id);
        // Spawned so that the lesson does not wait; a failure is retried with the next heartbeat.
        tokio::spawn(async move {
            if let Err(error) = timetable::mark_attended(&db, lesson, now.wall).await {
                tracing::warn!(lesson.id = %lesson, %error, "attendance could not be stored");
            }
        });
    }

    /// Ends a live lesson, so that its recording is finished; clients of a planned one are asked to
    /// reconnect.
    fn stop(&mut self, now: Now) {
        self.stopping = true;
        match self.lesson.phase() {
            Phase::Live => self.lesson.finish(now),
            Phase::Planned | Phase::Ended => self.lesson.close_all(CloseReason::Restarting),
        }
    }

    async fn perform_effects(&mut self) {
        while let Some(effect) = self.lesson.poll_effect() {
            self.subscriptions_stale = true;
            match effect {
                Effect::Send { conn, message } => self.send_to(conn, &message),
                Effect::Broadcast { message, except } => self.broadcast(&message, except),
                Effect::Close { conn, reason } => self.close_client(conn, reason),
                Effect::DropMedia { participant } => self.drop_media(&participant),
                Effect::PhaseChanged { phase, at } => self.phase_changed(phase, at).await,
                Effect::AppendTimeline(entry) => self.append_timeline(Timestamp::now(), entry),
            }
        }
    }

    async fn phase_changed(&mut self, phase: Phase, at: Timestamp) {
        let lesson = self.context.id;
        let (written, event) = match phase {
            Phase::Live => (
                timetable::mark_live(&self.context.db, lesson, at).await,
                LessonEvent::Started { lesson, at },
            ),
            Phase::Ended => {
                self.append_timeline(at, TimelineEntry::Ended {});
                (
                    timetable::mark_ended(&self.context.db, lesson, at).await,
                    LessonEvent::Ended { lesson, at },
                )
            }
            Phase::Planned => return,
        };
        if let Err(error) = written {
            // The lesson continues without its row; the recording and this log line preserve the
            // phase.
            tracing::error!(lesson.id = %lesson, %error, ?phase, "the phase could not be stored");
        }
        self.context.bus.publish(event);
        if phase == Phase::Live {
            self.published
                .values()
                .for_each(|(track, who, purpose)| self.publish_track(track, who, *purpose));
        } else {
            self.media.close_all();
        }
    }

    fn append_timeline(&self, at: Timestamp, entry: TimelineEntry) {
        self.context.bus.publish(LessonEvent::Timeline {
            lesson: self.context.id,
            at,
            entry,
        });
    }

    /// Publishes a track to the recorder. Called only while the lesson is live.
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
        let lesson = self.context.id;
        self.context.bus.publish(LessonEvent::TrackPublished {
            lesson,
            track: track.clone(),
            participant,
            purpose,
        });
    }

    fn remove_tracks(&mut self, tracks: Vec<TrackId>) {
        for track in tracks {
            self.published.remove(&track);
            self.meters.forget_track(track);
            if self.lesson.phase() != Phase::Planned {
                self.context.bus.publish(LessonEvent::TrackGone {
                    lesson: self.context.id,
                    track,
                });
            }
        }
    }

    fn drop_media(&mut self, participant: &str) {
        let gone = self.media.drop_participant(participant);
        self.remove_tracks(gone);
        self.meters.forget_participant(participant);
    }

    fn owner_name(&self, peer: PeerId) -> Option<(ParticipantId, Option<Purpose>)> {
        match self.media.owner(peer)? {
            Owner::Publisher(who, purpose) => Some((who.clone(), Some(*purpose))),
            Owner::Subscriber(who) => Some((who.clone(), None)),
            Owner::Player => None,
        }
    }
}

/// Reads both clocks, once per input.
pub fn now() -> Now {
    Now {
        instant: Instant::now(),
        wall: Timestamp::now(),
    }
}
