//! Writes one lesson's recorder output to the spool and, once it is on disk, queues the catalogue
//! updates and uploads.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tongke_record::{Event, Fragment, Gap, Init, Output, SegmentEnd};

use super::catalogue_writer::{CatalogueUpdate, NewInit, NewSegment, NewTrack};
use super::spool::{LayerFile, LayerKey, SegmentFile, Spool};
use super::upload::UploadQueue;
use crate::ids::LessonId;

/// Callback for changes of a recording's health.
pub type HealthCallback = Arc<dyn Fn(LessonId, Health) + Send + Sync>;

/// Health of a recording during the lesson.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Ok,
    /// The spool is full or the disk fails: the recording has a gap, the lesson is not affected.
    Failing,
}

/// Spool writer of one lesson. All calls block on the disk.
pub struct SpoolWriter {
    lesson: LessonId,
    spool: Spool,
    updates: mpsc::UnboundedSender<CatalogueUpdate>,
    uploads: UploadQueue,
    tracks: HashMap<u64, OpenTrack>,
    on_health: HealthCallback,
    health: Health,
}

struct OpenTrack {
    row: NewTrack,
    /// The row is written with the first fragment, when its start is known; later updates are held
    /// back until then.
    begun: bool,
    held: Vec<CatalogueUpdate>,
    end_ms: i64,
    layers: HashMap<u8, OpenSegment>,
}

/// Segment being written, as far as it is on disk.
struct OpenSegment {
    file: SegmentFile,
    row: NewSegment,
    /// A fragment could not be written; the rest of the segment is dropped.
    failed: bool,
}

impl SpoolWriter {
    pub fn new(
        lesson: LessonId,
        spool: Spool,
        updates: mpsc::UnboundedSender<CatalogueUpdate>,
        uploads: UploadQueue,
        on_health: HealthCallback,
    ) -> SpoolWriter {
        on_health(lesson, Health::Ok);
        SpoolWriter {
            lesson,
            spool,
            updates,
            uploads,
            tracks: HashMap::new(),
            on_health,
            health: Health::Ok,
        }
    }

    /// Adds a track under the recorder's number for it.
    pub fn add_track(&mut self, number: u64, row: NewTrack) {
        self.tracks.insert(
            number,
            OpenTrack {
                row,
                begun: false,
                held: Vec::new(),
                end_ms: 0,
                layers: HashMap::new(),
            },
        );
    }

    /// Ends a track after the recorder's last output of it.
    pub fn end_track(&mut self, number: u64) {
        let Some(track) = self.tracks.remove(&number) else {
            return;
        };
        if track.begun {
            let _ = self.updates.send(CatalogueUpdate::TrackEnd {
                track: track.row.id,
                to_ms: track.end_ms,
            });
        }
    }

    /// Writes one output. A failed write loses only this output; other tracks are not affected.
    pub fn write(&mut self, output: Output) {
        let (number, layer) = (output.track, output.layer);
        let Some(track) = self.tracks.get(&number) else {
            return;
        };
        let layer_key = LayerKey {
            lesson: self.lesson,
            track: track.row.id,
            layer,
        };
        let is_media = matches!(output.event, Event::Fragment(_));
        let written = match output.event {
            Event::Init(init) => self.write_init(number, layer_key, init),
            Event::Fragment(fragment) => self.write_fragment(number, layer_key, fragment),
            Event::SegmentEnd(end) => self.end_segment(number, layer_key, end),
            // The publisher sent nothing, so nothing is missing; the segment times show the
            // interval.
            Event::Gap(gap) if !gap.lost => Ok(()),
            Event::Gap(gap) => {
                self.record_gap(number, layer_key, gap);
                Ok(())
            }
            Event::KeyframeRequest => Ok(()),
        };
        match &written {
            Ok(()) if is_media => self.set_health(Health::Ok),
            Ok(()) => {}
            Err(_) => self.set_health(Health::Failing),
        }
        if let Err(error) = written {
            metrics::counter!(crate::metrics::RECORDING_WRITE_FAILURES).increment(1);
            tracing::error!(%error, lesson.id = %self.lesson, track = %layer_key.track, "recorder output could not be written");
        }
    }

    fn set_health(&mut self, health: Health) {
        if self.health != health {
            self.health = health;
            (self.on_health)(self.lesson, health);
        }
    }

    fn write_init(&mut self, number: u64, layer_key: LayerKey, init: Init) -> io::Result<()> {
        let (width, height) = init.size.unwrap_or_default();
        let row = NewInit {
            number: init.index,
            codec: init.codec_string,
            width,
            height,
            playable: init.playable,
        };
        let json = serde_json::to_vec(&row).expect("plain data");
        self.begin_track(number, layer_key)?;
        self.spool
            .write_init(layer_key, init.index, &init.bytes, &json)?;
        self.send_update(
            number,
            CatalogueUpdate::Init {
                layer_key,
                init: row,
            },
        );
        self.uploads.enqueue(layer_key, LayerFile::Init(init.index));
        Ok(())
    }

    fn begin_track(&mut self, number: u64, layer_key: LayerKey) -> io::Result<()> {
        let Some(track) = self.tracks.get(&number).filter(|track| !track.begun) else {
            return Ok(());
        };
        let json = serde_json::to_vec(&track.row).expect("plain data");
        self.spool.write_track(layer_key, &json)
    }

    fn write_fragment(
        &mut self,
        number: u64,
        layer_key: LayerKey,
        fragment: Fragment,
    ) -> io::Result<()> {
        let Some(track) = self.tracks.get_mut(&number) else {
            return Ok(());
        };
        let (start_us, end_us) = (
            micros(fragment.start),
            micros(fragment.start + fragment.duration),
        );
        if !track.begun {
            track.begun = true;
            track.row.from_ms = start_us / 1000;
            // Rewrites track.json with the actual start, for recovery.
            self.spool.write_track(
                layer_key,
                &serde_json::to_vec(&track.row).expect("plain data"),
            )?;
            let first = CatalogueUpdate::Track(track.row.clone());
            std::iter::once(first)
                .chain(track.held.drain(..))
                .for_each(|update| drop(self.updates.send(update)));
        }
        if let std::collections::hash_map::Entry::Vacant(free) = track.layers.entry(layer_key.layer)
        {
            let file = self
                .spool
                .create_segment(layer_key, fragment.segment, fragment.init)?;
            let (number, init, keyframe) = (fragment.segment, fragment.init, fragment.keyframe);
            let row = NewSegment {
                number,
                init,
                start_us,
                duration_us: 0,
                size_bytes: 0,
                keyframe,
            };
            free.insert(OpenSegment {
                file,
                row,
                failed: false,
            });
        }
        let Some(open) = track
            .layers
            .get_mut(&layer_key.layer)
            .filter(|open| !open.failed)
        else {
            return Ok(());
        };
        if let Err(error) = self.spool.append(&mut open.file, &fragment.bytes) {
            open.failed = true;
            return Err(error);
        }
        open.row.size_bytes += fragment.bytes.len() as i64;
        open.row.duration_us = end_us - open.row.start_us;
        track.end_ms = track.end_ms.max(end_us / 1000);
        Ok(())
    }

    fn end_segment(&mut self, number: u64, layer_key: LayerKey, end: SegmentEnd) -> io::Result<()> {
        let Some(open) = self
            .tracks
            .get_mut(&number)
            .and_then(|track| track.layers.remove(&layer_key.layer))
        else {
            self.record_gap(
                number,
                layer_key,
                Gap {
                    from: end.start,
                    to: end.start + end.duration,
                    lost: true,
                },
            );
            return Ok(());
        };
        let end_us = micros(end.start + end.duration);
        let written_us = open.row.start_us + open.row.duration_us;
        if open.failed {
            self.send_update(
                number,
                CatalogueUpdate::Gap {
                    layer_key,
                    from_ms: written_us / 1000,
                    to_ms: end_us / 1000,
                },
            );
        }
        if open.row.size_bytes == 0 {
            return self.spool.discard(open.file);
        }
        self.spool.seal(open.file, open.row.size_bytes as u64)?;
        self.send_update(
            number,
            CatalogueUpdate::Segment {
                layer_key,
                segment: open.row,
            },
        );
        self.uploads.enqueue(
            layer_key,
            LayerFile::Segment {
                number: end.segment,
                init: end.init,
            },
        );
        Ok(())
    }

    fn record_gap(&mut self, number: u64, layer_key: LayerKey, gap: Gap) {
        self.send_update(
            number,
            CatalogueUpdate::Gap {
                layer_key,
                from_ms: micros(gap.from) / 1000,
                to_ms: micros(gap.to) / 1000,
            },
        );
    }

    fn send_update(&mut self, number: u64, update: CatalogueUpdate) {
        match self.tracks.get_mut(&number) {
            Some(track) if !track.begun => track.held.push(update),
            // The catalogue writer outlives all spool writers; otherwise recovery reads the spool.
            _ => drop(self.updates.send(update)),
        }
    }
}

fn micros(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4)
}
