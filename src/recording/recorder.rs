//! One lesson being recorded: a thread of its own, because it waits for the disk.
//!
//! It takes from the taps' bounded queues and can never slow the lesson: if the disk stands still, the queues run over, and what was lost
//! becomes a gap in the recording.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tongke_plane::ids::TrackId;
use tongke_record::{Event, Recorder};

use super::ledger::TrackNote;
use super::source::{Published, Source, Tap};
use super::writer::Writer;

/// Taps are emptied this often. They hold seconds; this decides how much a crash loses beyond a fragment.
const TICK: Duration = Duration::from_millis(20);
/// Time passes in the recorder this often.
const CLOCK: Duration = Duration::from_millis(100);
/// Layers ask by themselves; the publisher is asked at most this often.
const KEYFRAME_PACE: Duration = Duration::from_millis(500);

enum Command {
    Add {
        published: Published,
        note: TrackNote,
    },
    Remove(TrackId),
    /// Ends the recording; answered when all is on disk.
    End(oneshot::Sender<()>),
}

/// The recorder of one lesson. Dropping it ends the recording too.
pub struct LessonRecorder {
    commands: Sender<Command>,
}

impl LessonRecorder {
    /// `begin` is when the lesson started, `segment` about how long a segment shall be.
    pub fn start(
        source: Arc<dyn Source>,
        writer: Writer,
        begin: Instant,
        segment: Duration,
    ) -> std::io::Result<LessonRecorder> {
        let (commands, inbox) = channel();
        let (recorder, tracks) = (Recorder::with_segment_duration(segment), HashMap::new());
        let mut work = Work {
            source,
            writer,
            recorder,
            tracks,
            begin,
        };
        thread::Builder::new()
            .name("recorder".into())
            .spawn(move || work.run(&inbox))?;
        Ok(LessonRecorder { commands })
    }

    pub fn add(&self, published: Published, note: TrackNote) {
        self.send(Command::Add { published, note });
    }

    pub fn remove(&self, track: TrackId) {
        self.send(Command::Remove(track));
    }

    /// Ends the recording and waits until all of it is on disk.
    pub async fn end(self) {
        let (done, finished) = oneshot::channel();
        self.send(Command::End(done));
        let _ = finished.await;
    }

    fn send(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::error!("a recorder's thread has died; the rest of its lesson is not recorded");
        }
    }
}

struct Work {
    source: Arc<dyn Source>,
    writer: Writer,
    recorder: Recorder,
    tracks: HashMap<u64, Tapped>,
    begin: Instant,
}

struct Tapped {
    id: TrackId,
    tap: Box<dyn Tap>,
    overrun: u64,
    asked_keyframe: Option<Instant>,
}

impl Work {
    fn run(&mut self, inbox: &Receiver<Command>) {
        let mut told_time = Instant::now();
        loop {
            match inbox.recv_timeout(TICK) {
                Ok(Command::Add { published, note }) => self.add(published, note),
                Ok(Command::Remove(track)) => self.remove(track.0),
                Ok(Command::End(done)) => {
                    self.finish();
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            self.drain();
            if told_time.elapsed() >= CLOCK {
                told_time = Instant::now();
                self.recorder.handle_timeout(self.begin.elapsed());
            }
            self.write();
        }
    }

    fn add(&mut self, published: Published, note: TrackNote) {
        let Some(tap) = self.source.tap(published.track) else {
            return;
        };
        let number = published.track.0;
        self.recorder
            .add_track(number, published.peer.0, published.codec.into());
        self.writer.add_track(number, note);
        self.tracks.insert(
            number,
            Tapped {
                id: published.track,
                tap,
                overrun: 0,
                asked_keyframe: None,
            },
        );
        self.source.request_keyframe(published.track);
    }

    fn remove(&mut self, number: u64) {
        self.drain();
        if self.tracks.remove(&number).is_none() {
            return;
        }
        for (layer, stats) in self.recorder.remove_track(number) {
            tracing::info!(track = number, layer, ?stats, "a track has been recorded");
        }
        self.write();
        self.writer.end_track(number);
    }

    fn finish(&mut self) {
        let all: Vec<u64> = self.tracks.keys().copied().collect();
        all.into_iter().for_each(|number| self.remove(number));
    }

    fn drain(&mut self) {
        for (number, track) in &mut self.tracks {
            track.tap.drain(&mut self.recorder, self.begin);
            let lost = track.tap.overrun() - track.overrun;
            if lost > 0 {
                track.overrun += lost;
                metrics::counter!(crate::metrics::RECORDING_OVERRUN_PACKETS).increment(lost);
                tracing::warn!(
                    track = number,
                    lost,
                    "the recorder did not keep up; the recording has a gap"
                );
            }
        }
    }

    fn write(&mut self) {
        while let Some(output) = self.recorder.poll_output() {
            if output.event == Event::KeyframeRequest {
                self.ask_keyframe(output.track);
            } else {
                self.writer.write(output);
            }
        }
    }

    fn ask_keyframe(&mut self, number: u64) {
        let Some(track) = self.tracks.get_mut(&number) else {
            return;
        };
        if track
            .asked_keyframe
            .is_none_or(|at| at.elapsed() >= KEYFRAME_PACE)
        {
            track.asked_keyframe = Some(Instant::now());
            self.source.request_keyframe(track.id);
        }
    }
}
