//! Readers of the fixtures: a stream is a list of frames, a frame a list of RTP payloads. An
//! invalid fixture panics.
//!
//! The fixtures are output of ffmpeg: 6 s of `testsrc2` at 192x108 and 15 fps with a keyframe every
//! 2 s (libx264 baseline with two slices and High with B-frames, libvpx, libvpx-vp9, libaom), and 6
//! s of a 440 Hz tone by libopus.

use super::*;

/// Number of frames in each video fixture.
pub const FRAMES: usize = 90;

/// H264 Baseline: two slices a frame, no B-frames.
pub fn h264_baseline() -> Vec<Vec<Vec<u8>>> {
    h264(include_bytes!("fixtures/baseline.h264"))
}

/// H264 High with B-frames, in decode order.
pub fn h264_high() -> Vec<Vec<Vec<u8>>> {
    h264(include_bytes!("fixtures/high.h264"))
}

fn h264(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut units: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut has_slice = true;
    for nal in split_start_codes(bytes) {
        let kind = nal[0] & 0x1f;
        // Start of an access unit: a slice at macroblock 0 (first_mb_in_slice, one bit), or a
        // non-VCL unit after slices (H.264 §7.4.1.2.3).
        let first_slice = matches!(kind, 1 | 5) && nal[1] & 0x80 != 0;
        if has_slice && (first_slice || matches!(kind, 6..=9)) {
            units.push(Vec::new());
            has_slice = false;
        }
        has_slice |= matches!(kind, 1 | 5);
        units.last_mut().unwrap().push(nal.to_vec());
    }
    units.iter().map(|unit| h264_payloads(unit)).collect()
}

fn split_start_codes(bytes: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..bytes.len() - 2)
        .filter(|at| bytes[*at..*at + 3] == [0, 0, 1])
        .collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let trimmed =
        |nal: &'_ [u8]| nal.len() - nal.iter().rev().take_while(|byte| **byte == 0).count();
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &bytes[start + 3..][..trimmed(&bytes[start + 3..end])])
        .collect()
}

/// Frames of an IVF file: a 32-byte header, then frames with a 12-byte header.
fn ivf(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &bytes[32..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        frames.push(rest[12..12 + size].to_vec());
        rest = &rest[12 + size..];
    }
    frames
}

/// VP8 frames.
pub fn vp8() -> Vec<Vec<Vec<u8>>> {
    ivf(include_bytes!("fixtures/vp8.ivf"))
        .iter()
        .enumerate()
        .map(|(id, frame)| vp8_payloads(frame, id as u16))
        .collect()
}

/// VP9 frames.
pub fn vp9() -> Vec<Vec<Vec<u8>>> {
    ivf(include_bytes!("fixtures/vp9.ivf"))
        .iter()
        .enumerate()
        .map(|(id, frame)| vp9_payloads(frame, id as u16))
        .collect()
}

/// AV1 temporal units.
pub fn av1() -> Vec<Vec<Vec<u8>>> {
    ivf(include_bytes!("fixtures/av1.ivf"))
        .iter()
        .map(|unit| av1_payloads(&split_obus(unit)))
        .collect()
}

/// Splits a temporal unit into OBUs without size fields and temporal delimiters, as sent by RTP.
fn split_obus(mut unit: &[u8]) -> Vec<Vec<u8>> {
    let mut obus = Vec::new();
    while !unit.is_empty() {
        let (mut size, mut at) = (0usize, 1);
        loop {
            size |= usize::from(unit[at] & 0x7f) << (7 * (at - 1));
            at += 1;
            if unit[at - 1] & 0x80 == 0 {
                break;
            }
        }
        if unit[0] >> 3 & 0xf != 2 {
            obus.push([&[unit[0] & !0x02], &unit[at..at + size]].concat());
        }
        unit = &unit[at + size..];
    }
    obus
}

/// Opus packets of 20 ms.
pub fn opus() -> Vec<Vec<Vec<u8>>> {
    let bytes = include_bytes!("fixtures/opus.ogg");
    // Ogg pages: 27 bytes and a table of segment lengths; the first two packets are headers.
    let (mut rest, mut packets, mut open) = (&bytes[..], Vec::new(), Vec::new());
    while !rest.is_empty() {
        let table = rest[27..27 + usize::from(rest[26])].to_vec();
        rest = &rest[27 + table.len()..];
        for length in table {
            open.extend_from_slice(&rest[..length.into()]);
            rest = &rest[length.into()..];
            if length < 255 {
                packets.push(std::mem::take(&mut open));
            }
        }
    }
    packets.drain(2..).map(|packet| vec![packet]).collect()
}
