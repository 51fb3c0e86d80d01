//! Media for where nothing was recorded: a dark still picture and silence, at any lesson time.

use crate::Duration;
use crate::cmaf::{self, Sample};
use crate::frame::{Codec, Format};

/// One dark picture of 640x360: SPS, PPS and an IDR slice (x264, baseline, without its SEI).
const PICTURE: &[u8] = include_bytes!("black.h264");

/// 20 ms of Opus silence: CELT, fullband, all bands empty.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
const SILENCE_TICKS: u64 = 960;

pub fn picture_init() -> Vec<u8> {
    let [sps, pps, _] = picture_units();
    let format = Format::H264 {
        sps: sps.to_vec(),
        pps: vec![pps.to_vec()],
        width: 640,
        height: 360,
    };
    cmaf::init(&format, Codec::H264.clock_rate()).expect("H264 has a place in MP4")
}

/// One picture that stands for `length`.
pub fn picture(start: Duration, length: Duration) -> Vec<u8> {
    let rate = Codec::H264.clock_rate();
    let [_, _, slice] = picture_units();
    let data = [&(slice.len() as u32).to_be_bytes(), slice].concat();
    let duration = cmaf::ticks(length, rate) as u32;
    cmaf::fragment(
        1,
        cmaf::ticks(start, rate),
        &[Sample {
            at: start,
            duration,
            composition: 0,
            keyframe: true,
            data,
        }],
    )
}

pub fn silence_init() -> Vec<u8> {
    cmaf::init(&Format::Opus, Codec::Opus.clock_rate()).expect("Opus has a place in MP4")
}

/// Silence of `length`; its last packet takes what is left over.
pub fn silence(start: Duration, length: Duration) -> Vec<u8> {
    let rate = Codec::Opus.clock_rate();
    let mut left = cmaf::ticks(length, rate);
    let mut samples = Vec::new();
    while left > 0 {
        let duration = if left < 2 * SILENCE_TICKS {
            left
        } else {
            SILENCE_TICKS
        };
        left -= duration;
        samples.push(Sample {
            at: start,
            duration: duration as u32,
            composition: 0,
            keyframe: true,
            data: SILENCE.to_vec(),
        });
    }
    cmaf::fragment(1, cmaf::ticks(start, rate), &samples)
}

fn picture_units() -> [&'static [u8]; 3] {
    let starts: Vec<usize> = (0..PICTURE.len() - 2)
        .filter(|at| PICTURE[*at..*at + 3] == [0, 0, 1])
        .collect();
    let unit = |index: usize| {
        let end = starts.get(index + 1).map_or(PICTURE.len(), |next| *next);
        without_trailing_zeros(&PICTURE[starts[index] + 3..end])
    };
    [unit(0), unit(1), unit(2)]
}

/// A start code may be led by a zero byte, which belongs to no unit.
fn without_trailing_zeros(unit: &[u8]) -> &[u8] {
    let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
    &unit[..unit.len() - zeros]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan;

    #[test]
    fn fillers_lie_where_they_are_asked_to() {
        let (start, length) = (Duration::from_millis(1234), Duration::from_millis(5678));
        for (bytes, rate) in [
            (picture(start, length), 90_000),
            (silence(start, length), 48_000),
        ] {
            let found = scan::cmaf_segment(&bytes, rate).unwrap();
            assert!(
                found.start.abs_diff(start) < Duration::from_micros(50) && found.keyframe_start
            );
            assert!(found.duration.abs_diff(length) < Duration::from_micros(50));
        }
    }
}
