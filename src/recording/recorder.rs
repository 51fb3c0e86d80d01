//! Recorder thread of one lesson; a thread, because it blocks on the disk.
//!
//! It reads the bounded queues of the taps and cannot slow the lesson: if the disk stalls, the
//! queues overflow, and the lost packets become a gap in the recording.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tongke_plane::ids::TrackId;
use tongke_record::{Event, Recorder};

use super::catalogue_writer::NewTrack;
use super::packet_source::{PacketSource, PacketTap, PublishedTrack};
use super::spool_writer::SpoolWriter;

/// Interval of draining the taps, which buffer seconds. A crash loses this much beyond a fragment.
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);
/// Interval of the recorder's timeouts.
const TIMEOUT_INTERVAL: Duration = Duration::from_millis(100);
/// Minimum interval of keyframe requests to a publisher, whose layers request them independently.
const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);

enum Command {
    Add {
        published: PublishedTrack,
        row: NewTrack,
    },
    Remove(TrackId),
    /// Ends the recording; answered once everything is on disk.
    End(oneshot::Sender<()>),
}

/// Handle of the recorder thread of one lesson. Dropping it also ends the recording.
pub struct LessonRecorder {
    commands: Sender<Command>,
}

impl LessonRecorder {
    /// Starts the thread. `begin` is the start of the lesson, `segment` the target segment
    /// duration.
    pub fn start(
        source: Arc<dyn PacketSource>,
        writer: SpoolWriter,
        begin: Instant,
        segment: Duration,
    ) -> std::io::Result<LessonRecorder> {
        let (commands, inbox) = channel();
        let (recorder, tracks) = (Recorder::with_segment_duration(segment), HashMap::new());
        let mut recorder_thread = RecorderThread {
            source,
            writer,
            recorder,
            tracks,
            begin,
        };
        thread::Builder::new()
            .name("recorder".into())
            .spawn(move || recorder_thread.run(&inbox))?;
        Ok(LessonRecorder { commands })
    }

    pub fn add_track(&self, published: PublishedTrack, row: NewTrack) {
        self.send(Command::Add { published, row });
    }

    pub fn remove_track(&self, track: TrackId) {
        self.send(Command::Remove(track));
    }

    /// Ends the recording and waits until everything is on disk.
    pub async fn end(self) {
        let (done, finished) = oneshot::channel();
        self.send(Command::End(done));
        let _ = finished.await;
    }

    fn send(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::error!("a recorder thread has died; the rest of its lesson is not recorded");
        }
    }
}

struct RecorderThread {
    source: Arc<dyn PacketSource>,
    writer: SpoolWriter,
    recorder: Recorder,
    tracks: HashMap<u64, TappedTrack>,
    begin: Instant,
}

struct TappedTrack {
    id: TrackId,
    tap: Box<dyn PacketTap>,
    overrun: u64,
    keyframe_requested: Option<Instant>,
}

impl RecorderThread {
    fn run(&mut self, inbox: &Receiver<Command>) {
        let mut last_timeout = Instant::now();
        loop {
            match inbox.recv_timeout(DRAIN_INTERVAL) {
                Ok(Command::Add { published, row }) => self.add(published, row),
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
            if last_timeout.elapsed() >= TIMEOUT_INTERVAL {
                last_timeout = Instant::now();
                self.recorder.handle_timeout(self.begin.elapsed());
            }
            self.write();
        }
    }

    fn add(&mut self, published: PublishedTrack, row: NewTrack) {
        let Some(tap) = self.source.tap(published.track) else {
            return;
        };
        let number = published.track.0;
        self.recorder
            .add_track(number, published.peer.0, published.codec.into());
        self.writer.add_track(number, row);
        self.tracks.insert(
            number,
            TappedTrack {
                id: published.track,
                tap,
                overrun: 0,
                keyframe_requested: None,
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
                    "the recorder was too slow; the recording has a gap"
                );
            }
        }
    }

    fn write(&mut self) {
        while let Some(output) = self.recorder.poll_output() {
            if output.event == Event::KeyframeRequest {
                self.request_keyframe(output.track);
            } else {
                self.writer.write(output);
            }
        }
    }

    fn request_keyframe(&mut self, number: u64) {
        let Some(track) = self.tracks.get_mut(&number) else {
            return;
        };
        if track
            .keyframe_requested
            .is_none_or(|at| at.elapsed() >= KEYFRAME_REQUEST_INTERVAL)
        {
            track.keyframe_requested = Some(Instant::now());
            self.source.request_keyframe(track.id);
        }
    }
}
