//! Segmenter: frames → fragments and segments.
//!
//! The next frame determines the duration of a frame, so one frame is always pending. A pause
//! longer than the hold time ends the segment and is reported as a [`Gap`] without filler. A
//! shorter pause in audio is filled with packets that make the decoder conceal it (RFC 7845 §4.1),
//! because players stall on audio gaps. A shorter pause in video extends the last frame.

use std::mem;

use crate::Duration;
use crate::cmaf::{self, Sample};
use crate::event::{Event, Fragment, Gap, Init, SegmentEnd};
use crate::frame::{Codec, Format, Frame};
use crate::ivf;
use crate::payload::{opus_packet_duration, plc_packet};
use crate::reorder_buffer::REORDER_TIMEOUT;

/// A video segment ends at the first keyframe after 19/20 of its target duration. The margin
/// catches the keyframe of an encoder whose interval equals the target.
const EARLY_DIVISOR: u32 = 20;
/// Limit at which a segment ends without a keyframe: EXT-X-TARGETDURATION is an upper bound
/// (RFC 8216 §4.3.3.1).
const MAX_SEGMENT: Duration = Duration::from_secs(6);
/// Duration of a fragment: a crash loses at most this much and one frame.
const FRAGMENT_TARGET: Duration = Duration::from_millis(500);
/// Age at which an incomplete fragment of a slow sender is emitted.
const FRAGMENT_TIMEOUT: Duration = Duration::from_millis(700);
/// Bounds memory: 0.5 s of audio in packets of 2.5 ms are 200 samples.
const MAX_FRAGMENT_SAMPLES: usize = 512;
/// Bounds memory: one frame of the largest accepted size.
const MAX_FRAGMENT_BYTES: usize = 8 << 20;
/// An unchanged screen is sent once a second; three missing frames are a gap.
const VIDEO_HOLD: Duration = Duration::from_secs(3);
/// Opus in discontinuous transmission sends every 400 ms (RFC 6716 §2.1.9).
const AUDIO_HOLD: Duration = Duration::from_secs(1);
/// A gap shorter than this is not worth a row in the catalogue.
const MIN_REPORTED_GAP: Duration = Duration::from_millis(100);
/// Interval of keyframe requests: the first one may be lost as well.
pub(crate) const KEYFRAME_RETRY: Duration = Duration::from_secs(1);

/// Frame of unknown duration: the next frame has not arrived.
struct PendingFrame {
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
    /// Target duration of a segment.
    target: Duration,
    timescale: u32,
    format: Option<Format>,
    init_count: u32,
    pending: Option<PendingFrame>,
    samples: Vec<Sample>,
    samples_start: u64,
    samples_arrival: Duration,
    samples_bytes: usize,
    segment: Option<OpenSegment>,
    /// Decode time at which the last stored frame ends, in ticks.
    end: u64,
    next_segment: u32,
    fragment_count: u32,
    /// Last plausible interval between frames, in ticks.
    frame_interval: u32,
    keyframe_requested: Option<Duration>,
}

impl Segmenter {
    pub(crate) fn new(codec: Codec, target: Duration) -> Segmenter {
        let timescale = codec.clock_rate();
        Segmenter {
            codec,
            target,
            timescale,
            format: None,
            init_count: 0,
            pending: None,
            samples: Vec::new(),
            samples_start: 0,
            samples_arrival: Duration::ZERO,
            samples_bytes: 0,
            segment: None,
            end: 0,
            next_segment: 0,
            fragment_count: 0,
            frame_interval: timescale / 30,
            keyframe_requested: None,
        }
    }

    /// Adds the next frame with its lesson time.
    pub(crate) fn push(&mut self, frame: Frame, at: Duration, out: &mut Vec<Event>) {
        let mut decode_time = cmaf::ticks(at, self.timescale);
        if let Some(pending) = &self.pending {
            // Decode times must increase. A B-frame has an earlier presentation time and keeps it
            // as a composition offset.
            decode_time = decode_time.max(pending.decode_time + 1);
        }
        decode_time = decode_time.max(self.end);
        self.complete_pending(decode_time, frame.after_loss, out);
        self.cut_before(&frame, decode_time, out);
        self.request_keyframe(&frame, decode_time, out);
        self.pending = Some(PendingFrame {
            frame,
            at,
            decode_time,
        });
    }

    /// Emits a pending frame or an incomplete fragment that has timed out.
    pub(crate) fn handle_timeout(&mut self, now: Duration, out: &mut Vec<Event>) {
        if self.pending.as_ref().is_some_and(|pending| {
            now.saturating_sub(pending.frame.arrival) > self.hold() + REORDER_TIMEOUT
        }) {
            return self.finish(out);
        }
        if !self.samples.is_empty() && now.saturating_sub(self.samples_arrival) > FRAGMENT_TIMEOUT {
            self.end_fragment(out);
        }
    }

    /// Stores the pending frame and ends the open segment.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        if let Some(pending) = self.pending.take() {
            let duration = self.nominal_duration(&pending);
            self.store(pending, duration);
        }
        self.end_segment(out);
    }

    /// Stores the pending frame, whose duration is known from the decode time of the next one.
    fn complete_pending(&mut self, next: u64, after_loss: bool, out: &mut Vec<Event>) {
        let Some(pending) = self.pending.take() else {
            return self.report_gap_before(next, after_loss, out);
        };
        let begin = pending.decode_time;
        let (interval, nominal) = (next - begin, self.nominal_duration(&pending));
        let missing = interval.saturating_sub(nominal.into());
        let gap = Gap {
            from: self.time(begin + u64::from(nominal)),
            to: self.time(next),
            lost: after_loss,
        };
        if interval > cmaf::ticks(self.hold(), self.timescale) {
            self.store(pending, nominal);
            self.end_segment(out);
            return out.push(Event::Gap(gap));
        }
        if after_loss && missing > cmaf::ticks(MIN_REPORTED_GAP, self.timescale) {
            out.push(Event::Gap(gap));
        }
        if self.codec.is_audio() && missing > u64::from(nominal / 2) {
            return self.conceal(pending, nominal, next);
        }
        if interval <= u64::from(self.timescale / 5) {
            self.frame_interval = interval as u32;
        }
        self.store(pending, interval as u32);
    }

    /// Reports the gap before the first frame after a timeout.
    fn report_gap_before(&self, next: u64, lost: bool, out: &mut Vec<Event>) {
        let gap = Gap {
            from: self.time(self.end),
            to: self.time(next),
            lost,
        };
        if self.init_count > 0 && gap.to - gap.from > MIN_REPORTED_GAP {
            out.push(Event::Gap(gap));
        }
    }

    /// Stores the pending frame and fills the audio gap up to `next` with concealment packets.
    fn conceal(&mut self, pending: PendingFrame, duration: u32, next: u64) {
        let begin = pending.decode_time;
        let Some((packet, each)) = plc_packet(&pending.frame.data) else {
            return self.store(pending, (next - begin) as u32);
        };
        let arrival = pending.frame.arrival;
        let mut at = begin + u64::from(duration);
        self.store(pending, duration);
        let each = cmaf::ticks(each, self.timescale);
        while at < next {
            // The last packet covers the remainder.
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
                PendingFrame {
                    frame,
                    at: self.time(at),
                    decode_time: at,
                },
                length as u32,
            );
            at += length;
        }
    }

    fn store(&mut self, pending: PendingFrame, duration: u32) {
        let PendingFrame {
            frame,
            at,
            decode_time,
        } = pending;
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
        let composition_offset = cmaf::ticks(at, self.timescale) as i64 - decode_time as i64;
        self.samples.push(Sample {
            at,
            duration,
            composition_offset,
            keyframe: frame.keyframe,
            data: frame.data,
        });
    }

    /// Ends the segment or the fragment before `frame` if it is due.
    fn cut_before(&mut self, frame: &Frame, decode_time: u64, out: &mut Vec<Event>) {
        if let Some(format) = frame
            .format
            .as_ref()
            .filter(|format| self.format.as_ref() != Some(*format))
        {
            self.end_segment(out);
            return self.begin_format(format.clone(), out);
        }
        let elapsed = self.elapsed(decode_time);
        if elapsed >= MAX_SEGMENT || (elapsed >= self.due_after() && frame.keyframe) {
            return self.end_segment(out);
        }
        let open = Duration::from_micros(
            (decode_time - self.samples_start.min(decode_time)) * 1_000_000
                / u64::from(self.timescale),
        );
        let full =
            self.samples.len() >= MAX_FRAGMENT_SAMPLES || self.samples_bytes >= MAX_FRAGMENT_BYTES;
        if full || open >= FRAGMENT_TARGET {
            self.end_fragment(out);
        }
    }

    fn begin_format(&mut self, format: Format, out: &mut Vec<Event>) {
        let mp4 = cmaf::init(&format, self.timescale);
        let (width, height) = format.size().unwrap_or_default();
        out.push(Event::Init(Init {
            index: self.init_count,
            codec: self.codec,
            codec_string: format.codec_string(),
            size: format.size(),
            playable: mp4.is_some(),
            bytes: mp4.unwrap_or_else(|| ivf::header(width, height)),
        }));
        self.init_count += 1;
        self.format = Some(format);
    }

    fn end_fragment(&mut self, out: &mut Vec<Event>) {
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
            cmaf::fragment(self.fragment_count + 1, self.samples_start, &samples)
        };
        self.fragment_count += 1;
        self.samples_bytes = 0;
        let start = self.time(self.samples_start);
        let duration = self.time(self.end) - start;
        let (segment, init) = (segment.index, self.init_count - 1);
        out.push(Event::Fragment(Fragment {
            segment,
            init,
            start,
            duration,
            keyframe: first.keyframe,
            bytes,
        }));
    }

    fn end_segment(&mut self, out: &mut Vec<Event>) {
        self.end_fragment(out);
        let Some(segment) = self.segment.take() else {
            return;
        };
        let start = self.time(segment.start);
        out.push(Event::SegmentEnd(SegmentEnd {
            segment: segment.index,
            init: self.init_count - 1,
            start,
            duration: self.time(self.end) - start,
            keyframe_start: segment.keyframe_start,
        }));
    }

    /// Requests a keyframe for a video segment that is due or that began without one.
    fn request_keyframe(&mut self, frame: &Frame, decode_time: u64, out: &mut Vec<Event>) {
        if self.codec.is_audio() || frame.keyframe {
            self.keyframe_requested = None;
            return;
        }
        let due = self
            .segment
            .as_ref()
            .is_none_or(|segment| !segment.keyframe_start)
            || self.elapsed(decode_time) >= self.due_after();
        let requested = self
            .keyframe_requested
            .is_some_and(|at| frame.arrival.saturating_sub(at) < KEYFRAME_RETRY);
        if due && !requested {
            self.keyframe_requested = Some(frame.arrival);
            out.push(Event::KeyframeRequest);
        }
    }

    fn elapsed(&self, decode_time: u64) -> Duration {
        self.segment.as_ref().map_or(Duration::ZERO, |segment| {
            self.time(decode_time) - self.time(segment.start)
        })
    }

    /// Age from which the segment ends at the next keyframe.
    fn due_after(&self) -> Duration {
        if self.codec.is_audio() {
            self.target
        } else {
            self.target - self.target / EARLY_DIVISOR
        }
    }

    /// Longest pause that does not end the segment.
    fn hold(&self) -> Duration {
        if self.codec.is_audio() {
            AUDIO_HOLD
        } else {
            VIDEO_HOLD
        }
    }

    /// Duration of a frame without a successor: from the Opus packet, else the last frame interval.
    fn nominal_duration(&self, pending: &PendingFrame) -> u32 {
        let audio = self
            .codec
            .is_audio()
            .then(|| opus_packet_duration(&pending.frame.data))
            .flatten();
        audio.map_or(self.frame_interval, |duration| {
            cmaf::ticks(duration, self.timescale) as u32
        })
    }

    fn time(&self, ticks: u64) -> Duration {
        Duration::from_micros((u128::from(ticks) * 1_000_000 / u128::from(self.timescale)) as u64)
    }
}
