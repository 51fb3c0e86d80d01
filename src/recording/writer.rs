//! One lesson's recorder output into the spool and, once it is on disk, into the ledger.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tongke_record::{Event, Fragment, Gap, Init, Output, SegmentEnd};

use super::ledger::{InitNote, Note, SegmentNote, TrackNote};
use super::spool::{Part, Piece, Place, Spool};
use super::upload::Uploads;
use crate::ids::LessonId;

/// Hears how the recording of a lesson goes, each time it changes.
pub type Tell = Arc<dyn Fn(LessonId, Health) + Send + Sync>;

/// How a recording goes while the lesson is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    On,
    /// The spool is full or the disk fails: the lesson goes on, the recording has a gap.
    Failing,
}

/// Writes one lesson. All calls block on the disk.
pub struct Writer {
    lesson: LessonId,
    spool: Spool,
    notes: mpsc::UnboundedSender<Note>,
    uploads: Uploads,
    tracks: HashMap<u64, OpenTrack>,
    tell: Tell,
    health: Health,
}

struct OpenTrack {
    note: TrackNote,
    /// Its row is made with its first media, when its beginning is known; notes that refer to the row wait until then.
    begun: bool,
    held: Vec<Note>,
    end_ms: i64,
    layers: HashMap<u8, OpenSegment>,
}

/// The segment being written, as far as it is on disk.
struct OpenSegment {
    part: Part,
    note: SegmentNote,
    /// A fragment could not be written: the rest of the segment is not recorded.
    broken: bool,
}

impl Writer {
    pub fn new(
        lesson: LessonId,
        spool: Spool,
        notes: mpsc::UnboundedSender<Note>,
        uploads: Uploads,
        tell: Tell,
    ) -> Writer {
        tell(lesson, Health::On);
        Writer {
            lesson,
            spool,
            notes,
            uploads,
            tracks: HashMap::new(),
            tell,
            health: Health::On,
        }
    }

    /// Announces a track, by the recorder's number for it.
    pub fn add_track(&mut self, number: u64, note: TrackNote) {
        self.tracks.insert(
            number,
            OpenTrack {
                note,
                begun: false,
                held: Vec::new(),
                end_ms: 0,
                layers: HashMap::new(),
            },
        );
    }

    /// The recorder has passed on all that there was of a track.
    pub fn end_track(&mut self, number: u64) {
        let Some(track) = self.tracks.remove(&number) else {
            return;
        };
        if track.begun {
            let _ = self.notes.send(Note::TrackEnd {
                track: track.note.id,
                to_ms: track.end_ms,
            });
        }
    }

    /// Writes one output down. A disk that refuses costs what it refused; the lesson's other tracks go on.
    pub fn write(&mut self, output: Output) {
        let (number, layer) = (output.track, output.layer);
        let Some(track) = self.tracks.get(&number) else {
            return;
        };
        let place = Place {
            lesson: self.lesson,
            track: track.note.id,
            layer,
        };
        let is_media = matches!(output.event, Event::Fragment(_));
        let written = match output.event {
            Event::Init(init) => self.write_init(number, place, init),
            Event::Fragment(fragment) => self.write_fragment(number, place, fragment),
            Event::SegmentEnd(end) => self.end_segment(number, place, end),
            // Where nothing was sent nothing is missing; the hole shows in the segments' times.
            Event::Gap(gap) if !gap.lost => Ok(()),
            Event::Gap(gap) => {
                self.note_gap(number, place, gap);
                Ok(())
            }
            Event::KeyframeRequest => Ok(()),
        };
        match &written {
            Ok(()) if is_media => self.set_health(Health::On),
            Ok(()) => {}
            Err(_) => self.set_health(Health::Failing),
        }
        if let Err(error) = written {
            metrics::counter!(crate::metrics::RECORDING_WRITE_FAILURES).increment(1);
            tracing::error!(%error, lesson.id = %self.lesson, track = %place.track, "a piece of the recording could not be written");
        }
    }

    fn set_health(&mut self, health: Health) {
        if self.health != health {
            self.health = health;
            (self.tell)(self.lesson, health);
        }
    }

    fn write_init(&mut self, number: u64, place: Place, init: Init) -> io::Result<()> {
        let (width, height) = init.size.unwrap_or_default();
        let note = InitNote {
            number: init.index,
            codec: init.codec_string,
            width,
            height,
            playable: init.playable,
        };
        let json = serde_json::to_vec(&note).expect("plain data");
        self.begin_track(number, place)?;
        self.spool
            .write_init(place, init.index, &init.bytes, &json)?;
        self.note(number, Note::Init { place, init: note });
        self.uploads.add(place, Piece::Init(init.index));
        Ok(())
    }

    fn begin_track(&mut self, number: u64, place: Place) -> io::Result<()> {
        let Some(track) = self.tracks.get(&number).filter(|track| !track.begun) else {
            return Ok(());
        };
        let json = serde_json::to_vec(&track.note).expect("plain data");
        self.spool.write_track(place, &json)
    }

    fn write_fragment(&mut self, number: u64, place: Place, fragment: Fragment) -> io::Result<()> {
        let Some(track) = self.tracks.get_mut(&number) else {
            return Ok(());
        };
        let (start_us, end_us) = (
            micros(fragment.start),
            micros(fragment.start + fragment.duration),
        );
        if !track.begun {
            track.begun = true;
            track.note.from_ms = start_us / 1000;
            // The spool has it again with its real beginning, for a recovery.
            self.spool
                .write_track(place, &serde_json::to_vec(&track.note).expect("plain data"))?;
            let first = Note::Track(track.note.clone());
            std::iter::once(first)
                .chain(track.held.drain(..))
                .for_each(|note| drop(self.notes.send(note)));
        }
        if let std::collections::hash_map::Entry::Vacant(free) = track.layers.entry(place.layer) {
            let part = self.spool.begin(place, fragment.segment, fragment.init)?;
            let (number, init, keyframe) = (fragment.segment, fragment.init, fragment.keyframe);
            let note = SegmentNote {
                number,
                init,
                start_us,
                duration_us: 0,
                size_bytes: 0,
                keyframe,
            };
            free.insert(OpenSegment {
                part,
                note,
                broken: false,
            });
        }
        let Some(open) = track
            .layers
            .get_mut(&place.layer)
            .filter(|open| !open.broken)
        else {
            return Ok(());
        };
        if let Err(error) = self.spool.append(&mut open.part, &fragment.bytes) {
            open.broken = true;
            return Err(error);
        }
        open.note.size_bytes += fragment.bytes.len() as i64;
        open.note.duration_us = end_us - open.note.start_us;
        track.end_ms = track.end_ms.max(end_us / 1000);
        Ok(())
    }

    fn end_segment(&mut self, number: u64, place: Place, end: SegmentEnd) -> io::Result<()> {
        let Some(open) = self
            .tracks
            .get_mut(&number)
            .and_then(|track| track.layers.remove(&place.layer))
        else {
            self.note_gap(
                number,
                place,
                Gap {
                    from: end.start,
                    to: end.start + end.duration,
                    lost: true,
                },
            );
            return Ok(());
        };
        let end_us = micros(end.start + end.duration);
        let written_us = open.note.start_us + open.note.duration_us;
        if open.broken {
            self.note(
                number,
                Note::Gap {
                    place,
                    from_ms: written_us / 1000,
                    to_ms: end_us / 1000,
                },
            );
        }
        if open.note.size_bytes == 0 {
            return self.spool.discard(open.part);
        }
        self.spool.seal(open.part, open.note.size_bytes as u64)?;
        self.note(
            number,
            Note::Segment {
                place,
                segment: open.note,
            },
        );
        self.uploads.add(
            place,
            Piece::Segment {
                number: end.segment,
                init: end.init,
            },
        );
        Ok(())
    }

    fn note_gap(&mut self, number: u64, place: Place, gap: Gap) {
        self.note(
            number,
            Note::Gap {
                place,
                from_ms: micros(gap.from) / 1000,
                to_ms: micros(gap.to) / 1000,
            },
        );
    }

    fn note(&mut self, number: u64, note: Note) {
        match self.tracks.get_mut(&number) {
            Some(track) if !track.begun => track.held.push(note),
            // The ledger ends after every writer; without it the spool still has all.
            _ => drop(self.notes.send(note)),
        }
    }
}

fn micros(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4)
}
