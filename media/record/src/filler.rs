//! Filler media for gaps: black video and silent audio at any lesson time.

use crate::Duration;
use crate::cmaf::{self, Sample};
use crate::frame::{Codec, Format};

/// One black frame of 640x360: SPS, PPS and an IDR slice (x264, baseline, without its SEI).
const BLACK_FRAME: &[u8] = include_bytes!("black.h264");

/// 20 ms of Opus silence: CELT, fullband, all bands empty.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
const SILENCE_TICKS: u64 = 960;

/// Init segment of the black video: H264, 640x360.
pub fn video_init() -> Vec<u8> {
    let [sps, pps, _] = nal_units();
    let format = Format::H264 {
        sps: sps.to_vec(),
        pps: vec![pps.to_vec()],
        width: 640,
        height: 360,
    };
    cmaf::init(&format, Codec::H264.clock_rate()).expect("H264 has a place in MP4")
}

/// Fragment with one black frame that is shown for `duration` from lesson time `start` on.
pub fn video_fragment(start: Duration, duration: Duration) -> Vec<u8> {
    let rate = Codec::H264.clock_rate();
    let [_, _, slice] = nal_units();
    let data = [&(slice.len() as u32).to_be_bytes(), slice].concat();
    let duration = cmaf::ticks(duration, rate) as u32;
    cmaf::fragment(
        1,
        cmaf::ticks(start, rate),
        &[Sample {
            at: start,
            duration,
            composition_offset: 0,
            keyframe: true,
            data,
        }],
    )
}

/// Init segment of the silent audio: Opus, 48 kHz, stereo.
pub fn audio_init() -> Vec<u8> {
    cmaf::init(&Format::Opus, Codec::Opus.clock_rate()).expect("Opus has a place in MP4")
}

/// Fragment of `duration` of silence from lesson time `start` on; the last packet covers the
/// remainder.
pub fn audio_fragment(start: Duration, duration: Duration) -> Vec<u8> {
    let rate = Codec::Opus.clock_rate();
    let mut remaining = cmaf::ticks(duration, rate);
    let mut samples = Vec::new();
    while remaining > 0 {
        let duration = if remaining < 2 * SILENCE_TICKS {
            remaining
        } else {
            SILENCE_TICKS
        };
        remaining -= duration;
        samples.push(Sample {
            at: start,
            duration: duration as u32,
            composition_offset: 0,
            keyframe: true,
            data: SILENCE.to_vec(),
        });
    }
    cmaf::fragment(1, cmaf::ticks(start, rate), &samples)
}

/// SPS, PPS and slice of [`BLACK_FRAME`] without start codes.
fn nal_units() -> [&'static [u8]; 3] {
    let starts: Vec<usize> = (0..BLACK_FRAME.len() - 2)
        .filter(|at| BLACK_FRAME[*at..*at + 3] == [0, 0, 1])
        .collect();
    let unit = |index: usize| {
        let end = starts
            .get(index + 1)
            .map_or(BLACK_FRAME.len(), |next| *next);
        without_trailing_zeros(&BLACK_FRAME[starts[index] + 3..end])
    };
    [unit(0), unit(1), unit(2)]
}

/// Strips the leading zero byte of the next start code, which belongs to no NAL unit (H.264 annex
/// B).
fn without_trailing_zeros(unit: &[u8]) -> &[u8] {
    let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
    &unit[..unit.len() - zeros]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan;

    #[test]
    fn filler_fragments_have_the_requested_start_and_duration() {
        let (start, length) = (Duration::from_millis(1234), Duration::from_millis(5678));
        for (bytes, rate) in [
            (video_fragment(start, length), 90_000),
            (audio_fragment(start, length), 48_000),
        ] {
            let found = scan::cmaf_segment(&bytes, rate).unwrap();
            assert!(
                found.start.abs_diff(start) < Duration::from_micros(50) && found.keyframe_start
            );
            assert!(found.duration.abs_diff(length) < Duration::from_micros(50));
        }
    }
}
