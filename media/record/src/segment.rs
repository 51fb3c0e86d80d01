//! Frames → fragments and segments.
//!
//! A frame's duration is known when the next one comes, so one frame is always waiting. A silence longer than the hold time ends the
//! segment and is reported as a [`Gap`]; nothing is invented for it. Shorter holes in sound are filled with packets that ask the decoder
//! to conceal them (RFC 7845 §4.1), because players stall on holes in sound; shorter holes in a picture hold the picture.

use std::mem;

use crate::Duration;
use crate::cmaf::{self, Sample};
use crate::frame::{Codec, Format, Frame};
use crate::ivf;
use crate::made::{Fragment, Gap, Init, Made, SegmentEnd};
use crate::payload::{opus_packet_duration, plc_packet};
use crate::reorder::HOLE_WAIT;

/// A segment of pictures ends at the first keyframe from here on: a little early, so that an encoder with a keyframe at its end is met.
const EARLY: u32 = 20;
/// Here a segment ends without one: playlists promise a longest duration (EXT-X-TARGETDURATION).
const SEGMENT_LIMIT: Duration = Duration::from_secs(6);
/// What a crash may cost, together with one frame.
const FRAGMENT: Duration = Duration::from_millis(500);
/// A slow sender's fragment is passed on after this, though it is not full.
const FRAGMENT_PATIENCE: Duration = Duration::from_millis(700);
const FRAGMENT_SAMPLES: usize = 512;
const FRAGMENT_BYTES: usize = 8 << 20;
/// A still screen is sent once a second; three missed ones are a silence.
const PICTURE_HOLD: Duration = Duration::from_secs(3);
/// Opus in discontinuous transmission sends every 400 ms (RFC 6716 §2.1.9).
const SOUND_HOLD: Duration = Duration::from_secs(1);
/// Losses shorter than this are not worth a line in the catalogue.
const NOTABLE_LOSS: Duration = Duration::from_millis(100);
/// Keyframes are asked for again after this: the first request may be lost as well.
const KEYFRAME_RETRY: Duration = Duration::from_secs(1);

/// A frame whose duration is not known yet.
struct Waiting {
    frame: Frame,
    at: Duration,
    decode_time: u64,
}

struct OpenSegment {
    index: u32,
    start: u64,
    keyframe_start: bool,
}

pub(crate) struct Segmenter {
    codec: Codec,
    /// About how long a segment is.
    length: Duration,
    timescale: u32,
    format: Option<Format>,
    inits: u32,
    waiting: Option<Waiting>,
    samples: Vec<Sample>,
    samples_start: u64,
    samples_arrival: Duration,
    samples_bytes: usize,
    segment: Option<OpenSegment>,
    /// Where the last stored frame ends.
    end: u64,
    next_segment: u32,
    fragments: u32,
    /// The last plausible distance between frames, in ticks.
    nominal: u32,
    asked_keyframe: Option<Duration>,
}

impl Segmenter {
    pub(crate) fn new(codec: Codec, length: Duration) -> Segmenter {
        let timescale = codec.clock_rate();
        Segmenter {
            codec,
            length,
            timescale,
            format: None,
            inits: 0,
            waiting: None,
            samples: Vec::new(),
            samples_start: 0,
            samples_arrival: Duration::ZERO,
            samples_bytes: 0,
            segment: None,
            end: 0,
            next_segment: 0,
            fragments: 0,
            nominal: timescale / 30,
            asked_keyframe: None,
        }
    }

    /// Takes the next frame and its lesson time.
    pub(crate) fn push(&mut self, frame: Frame, at: Duration, out: &mut Vec<Made>) {
        let mut decode_time = cmaf::ticks(at, self.timescale);
        if let Some(waiting) = &self.waiting {
            // Decoding times must rise; B-frames come with earlier presentation times and keep them as a composition offset.
            decode_time = decode_time.max(waiting.decode_time + 1);
        }
        decode_time = decode_time.max(self.end);
        self.settle(decode_time, frame.after_loss, out);
        self.cut(&frame, decode_time, out);
        self.ask_keyframe(&frame, decode_time, out);
        self.waiting = Some(Waiting {
            frame,
            at,
            decode_time,
        });
    }

    /// Passes on what has waited too long.
    pub(crate) fn handle_timeout(&mut self, now: Duration, out: &mut Vec<Made>) {
        if self.waiting.as_ref().is_some_and(|waiting| {
            now.saturating_sub(waiting.frame.arrival) > self.hold() + HOLE_WAIT
        }) {
            return self.finish(out);
        }
        if !self.samples.is_empty() && now.saturating_sub(self.samples_arrival) > FRAGMENT_PATIENCE
        {
            self.end_fragment(out);
        }
    }

    /// Ends the open segment: nothing more comes, for now or for ever.
    pub(crate) fn finish(&mut self, out: &mut Vec<Made>) {
        if let Some(waiting) = self.waiting.take() {
            let duration = self.nominal_of(&waiting);
            self.store(waiting, duration);
        }
        self.end_segment(out);
    }

    /// Gives the waiting frame its duration, now that the next one has a time.
    fn settle(&mut self, next: u64, after_loss: bool, out: &mut Vec<Made>) {
        let Some(waiting) = self.waiting.take() else {
            return self.note_silence(next, after_loss, out);
        };
        let begin = waiting.decode_time;
        let (interval, nominal) = (next - begin, self.nominal_of(&waiting));
        let missing = interval.saturating_sub(nominal.into());
        let gap = Gap {
            from: self.time(begin + u64::from(nominal)),
            to: self.time(next),
            lost: after_loss,
        };
        if interval > cmaf::ticks(self.hold(), self.timescale) {
            self.store(waiting, nominal);
            self.end_segment(out);
            return out.push(Made::Gap(gap));
        }
        if after_loss && missing > cmaf::ticks(NOTABLE_LOSS, self.timescale) {
            out.push(Made::Gap(gap));
        }
        if self.codec.is_audio() && missing > u64::from(nominal / 2) {
            return self.conceal(waiting, nominal, next);
        }
        if interval <= u64::from(self.timescale / 5) {
            self.nominal = interval as u32;
        }
        self.store(waiting, interval as u32);
    }

    /// The frame before was given up waiting for this one.
    fn note_silence(&self, next: u64, lost: bool, out: &mut Vec<Made>) {
        let gap = Gap {
            from: self.time(self.end),
            to: self.time(next),
            lost,
        };
        if self.inits > 0 && gap.to - gap.from > NOTABLE_LOSS {
            out.push(Made::Gap(gap));
        }
    }

    /// Fills a hole in sound up to `next`.
    fn conceal(&mut self, waiting: Waiting, duration: u32, next: u64) {
        let begin = waiting.decode_time;
        let Some((packet, each)) = plc_packet(&waiting.frame.data) else {
            return self.store(waiting, (next - begin) as u32);
        };
        let arrival = waiting.frame.arrival;
        let mut at = begin + u64::from(duration);
        self.store(waiting, duration);
        let each = cmaf::ticks(each, self.timescale);
        while at < next {
            // What is left over goes to the last one.
            let length = if next - at < 2 * each {
                next - at
            } else {
                each
            };
            let frame = Frame {
                data: packet.clone(),
                keyframe: true,
                rtp_time: 0,
                arrival,
                after_loss: true,
                format: None,
            };
            self.store(
                Waiting {
                    frame,
                    at: self.time(at),
                    decode_time: at,
                },
                length as u32,
            );
            at += length;
        }
    }

    fn store(&mut self, waiting: Waiting, duration: u32) {
        let Waiting {
            frame,
            at,
            decode_time,
        } = waiting;
        if self.samples.is_empty() {
            self.samples_start = decode_time;
            self.samples_arrival = frame.arrival;
        }
        let next = &mut self.next_segment;
        self.segment.get_or_insert_with(|| {
            *next += 1;
            OpenSegment {
                index: *next - 1,
                start: decode_time,
                keyframe_start: frame.keyframe,
            }
        });
        self.end = decode_time + u64::from(duration);
        self.samples_bytes += frame.data.len();
        let composition = cmaf::ticks(at, self.timescale) as i64 - decode_time as i64;
        self.samples.push(Sample {
            at,
            duration,
            composition,
            keyframe: frame.keyframe,
            data: frame.data,
        });
    }

    /// Decides what ends before `frame`: the segment, a fragment, or nothing.
    fn cut(&mut self, frame: &Frame, decode_time: u64, out: &mut Vec<Made>) {
        if let Some(format) = frame
            .format
            .as_ref()
            .filter(|format| self.format.as_ref() != Some(*format))
        {
            self.end_segment(out);
            return self.begin_format(format.clone(), out);
        }
        let elapsed = self.elapsed(decode_time);
        if elapsed >= SEGMENT_LIMIT || (elapsed >= self.target() && frame.keyframe) {
            return self.end_segment(out);
        }
        let open = Duration::from_micros(
            (decode_time - self.samples_start.min(decode_time)) * 1_000_000
                / u64::from(self.timescale),
        );
        let full = self.samples.len() >= FRAGMENT_SAMPLES || self.samples_bytes >= FRAGMENT_BYTES;
        if full || open >= FRAGMENT {
            self.end_fragment(out);
        }
    }

    fn begin_format(&mut self, format: Format, out: &mut Vec<Made>) {
        let mp4 = cmaf::init(&format, self.timescale);
        let (width, height) = format.size().unwrap_or_default();
        out.push(Made::Init(Init {
            index: self.inits,
            codec: self.codec,
            codec_string: format.codec_string(),
            size: format.size(),
            playable: mp4.is_some(),
            bytes: mp4.unwrap_or_else(|| ivf::header(width, height)),
        }));
        self.inits += 1;
        self.format = Some(format);
    }

    fn end_fragment(&mut self, out: &mut Vec<Made>) {
        let samples = mem::take(&mut self.samples);
        let (Some(first), Some(segment)) = (samples.first(), &self.segment) else {
            return;
        };
        let bytes = if self.codec == Codec::Vp8 {
            let mut bytes =
                Vec::with_capacity(self.samples_bytes + samples.len() * ivf::FRAME_HEADER);
            samples
                .iter()
                .for_each(|sample| ivf::put_frame(sample.at, &sample.data, &mut bytes));
            bytes
        } else {
            cmaf::fragment(self.fragments + 1, self.samples_start, &samples)
        };
        self.fragments += 1;
        self.samples_bytes = 0;
        let start = self.time(self.samples_start);
        let duration = self.time(self.end) - start;
        let (segment, init) = (segment.index, self.inits - 1);
        out.push(Made::Fragment(Fragment {
            segment,
            init,
            start,
            duration,
            keyframe: first.keyframe,
            bytes,
        }));
    }

    fn end_segment(&mut self, out: &mut Vec<Made>) {
        self.end_fragment(out);
        let Some(segment) = self.segment.take() else {
            return;
        };
        let start = self.time(segment.start);
        out.push(Made::SegmentEnd(SegmentEnd {
            segment: segment.index,
            init: self.inits - 1,
            start,
            duration: self.time(self.end) - start,
            keyframe_start: segment.keyframe_start,
        }));
    }

    /// A picture's segment that is due, or that began without a keyframe, wants one.
    fn ask_keyframe(&mut self, frame: &Frame, decode_time: u64, out: &mut Vec<Made>) {
        if self.codec.is_audio() || frame.keyframe {
            self.asked_keyframe = None;
            return;
        }
        let due = self
            .segment
            .as_ref()
            .is_none_or(|segment| !segment.keyframe_start)
            || self.elapsed(decode_time) >= self.target();
        let asked = self
            .asked_keyframe
            .is_some_and(|at| frame.arrival.saturating_sub(at) < KEYFRAME_RETRY);
        if due && !asked {
            self.asked_keyframe = Some(frame.arrival);
            out.push(Made::WantKeyframe);
        }
    }

    fn elapsed(&self, decode_time: u64) -> Duration {
        self.segment.as_ref().map_or(Duration::ZERO, |segment| {
            self.time(decode_time) - self.time(segment.start)
        })
    }

    fn target(&self) -> Duration {
        if self.codec.is_audio() {
            self.length
        } else {
            self.length - self.length / EARLY
        }
    }

    fn hold(&self) -> Duration {
        if self.codec.is_audio() {
            SOUND_HOLD
        } else {
            PICTURE_HOLD
        }
    }

    fn nominal_of(&self, waiting: &Waiting) -> u32 {
        let sound = self
            .codec
            .is_audio()
            .then(|| opus_packet_duration(&waiting.frame.data))
            .flatten();
        sound.map_or(self.nominal, |duration| {
            cmaf::ticks(duration, self.timescale) as u32
        })
    }

    fn time(&self, ticks: u64) -> Duration {
        Duration::from_micros((u128::from(ticks) * 1_000_000 / u128::from(self.timescale)) as u64)
    }
}
