//! Readers of the fixtures: each stream as a list of frames, each frame as a list of payloads. A bad fixture panics.
//!
//! The fixtures were made by ffmpeg: 6 s of `testsrc2` at 192x108 and 15 fps with a keyframe every 2 s (libx264 baseline with two slices and
//! High with B-frames, libvpx, libvpx-vp9, libaom), and 6 s of a 440 Hz tone by libopus.

use super::*;

pub const FRAMES: usize = 90;

fn fixture(name: &str) -> &'static [u8] {
    match name {
        "picture.h264" => include_bytes!("fixtures/picture.h264"),
        "high.h264" => include_bytes!("fixtures/high.h264"),
        "picture-vp8.ivf" => include_bytes!("fixtures/picture-vp8.ivf"),
        "picture-vp9.ivf" => include_bytes!("fixtures/picture-vp9.ivf"),
        "picture-av1.ivf" => include_bytes!("fixtures/picture-av1.ivf"),
        "voice.ogg" => include_bytes!("fixtures/voice.ogg"),
        other => panic!("there is no fixture {other}"),
    }
}

pub fn h264(name: &str) -> Vec<Vec<Vec<u8>>> {
    let bytes = fixture(name);
    let mut units: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut has_slice = true;
    for nal in split_start_codes(bytes) {
        let kind = nal[0] & 0x1f;
        // A new picture: its first slice starts at macroblock 0 (one bit), or a header comes after slices.
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

fn ivf(name: &str) -> Vec<Vec<u8>> {
    let bytes = fixture(name);
    let mut rest = &bytes[32..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        frames.push(rest[12..12 + size].to_vec());
        rest = &rest[12 + size..];
    }
    frames
}

pub fn vp8() -> Vec<Vec<Vec<u8>>> {
    ivf("picture-vp8.ivf")
        .iter()
        .enumerate()
        .map(|(id, frame)| vp8_payloads(frame, id as u16))
        .collect()
}

pub fn vp9() -> Vec<Vec<Vec<u8>>> {
    ivf("picture-vp9.ivf")
        .iter()
        .enumerate()
        .map(|(id, frame)| vp9_payloads(frame, id as u16))
        .collect()
}

pub fn av1() -> Vec<Vec<Vec<u8>>> {
    ivf("picture-av1.ivf")
        .iter()
        .map(|unit| av1_payloads(&split_obus(unit)))
        .collect()
}

/// OBUs without their size fields, temporal delimiters left out, as RTP carries them.
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

/// Ogg pages: 27 bytes and a table of segment lengths; the first two packets are headers.
pub fn opus() -> Vec<Vec<Vec<u8>>> {
    let bytes = fixture("voice.ogg");
    let (mut rest, mut packets, mut open) = (bytes, Vec::new(), Vec::new());
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
