//! A publisher for tests of this crate and of its users (feature `testing`): real encoders' output cut into RTP payloads, and a line that loses and reorders them.

use std::time::Duration;

pub mod streams;

/// One RTP packet on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    pub seq: u64,
    pub rtp_time: u32,
    pub marker: bool,
    pub at: Duration,
    pub payload: Vec<u8>,
}

/// Payloads of at most this size, so that every keyframe takes several.
const MTU: usize = 400;

/// Frames as payloads, sent `interval` apart from `begin` on; sequence and timestamp start near their wrap.
pub fn packets(
    frames: &[Vec<Vec<u8>>],
    clock_rate: u32,
    interval: Duration,
    begin: Duration,
) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut seq = 65_530;
    for (index, frame) in frames.iter().enumerate() {
        let media = interval * index as u32;
        let ticks = (media.as_micros() * u128::from(clock_rate) / 1_000_000) as u32;
        for (part, payload) in frame.iter().enumerate() {
            let marker = part + 1 == frame.len();
            let rtp_time = ticks.wrapping_sub(5000);
            sent.push(Sent {
                seq,
                rtp_time,
                marker,
                at: begin + media,
                payload: payload.clone(),
            });
            seq += 1;
        }
    }
    sent
}

/// RFC 6184: parameter sets in a STAP-A, large units in FU-A, the others as they are.
pub fn h264_payloads(access_unit: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (sets, units): (Vec<_>, Vec<_>) = access_unit
        .iter()
        .partition(|nal| matches!(nal[0] & 0x1f, 7 | 8));
    let mut out = Vec::new();
    if !sets.is_empty() {
        let mut stap = vec![0x78];
        for nal in sets {
            stap.extend_from_slice(&(nal.len() as u16).to_be_bytes());
            stap.extend_from_slice(nal);
        }
        out.push(stap);
    }
    for nal in units {
        if nal.len() <= MTU {
            out.push(nal.clone());
            continue;
        }
        let chunks: Vec<&[u8]> = nal[1..].chunks(MTU).collect();
        for (index, chunk) in chunks.iter().enumerate() {
            let start = if index == 0 { 0x80 } else { 0 };
            let end = if index + 1 == chunks.len() { 0x40 } else { 0 };
            out.push([&[nal[0] & 0xe0 | 28, start | end | (nal[0] & 0x1f)], *chunk].concat());
        }
    }
    out
}

/// RFC 7741 with a 15-bit picture id.
pub fn vp8_payloads(frame: &[u8], picture: u16) -> Vec<Vec<u8>> {
    let [high, low] = (picture | 0x8000).to_be_bytes();
    let start = |index| if index == 0 { 0x90 } else { 0x80 };
    frame
        .chunks(MTU)
        .enumerate()
        .map(|(index, chunk)| [&[start(index), 0x80, high, low], chunk].concat())
        .collect()
}

/// RFC 9628 with a 15-bit picture id.
pub fn vp9_payloads(frame: &[u8], picture: u16) -> Vec<Vec<u8>> {
    let [high, low] = (picture | 0x8000).to_be_bytes();
    let last = frame.chunks(MTU).count() - 1;
    let flags = |index| 0x80 | if index == 0 { 8 } else { 0 } | if index == last { 4 } else { 0 };
    frame
        .chunks(MTU)
        .enumerate()
        .map(|(index, chunk)| [&[flags(index), high, low], chunk].concat())
        .collect()
}

/// AV1: the small OBUs of a temporal unit share a packet with lengths (W = 0), a large one is cut (W = 1, Z and Y).
pub fn av1_payloads(obus: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let new_sequence = if obus.iter().any(|obu| obu[0] >> 3 & 0xf == 1) {
        0x08
    } else {
        0
    };
    let mut small = vec![new_sequence];
    for obu in obus {
        if obu.len() < 100 {
            small.push(obu.len() as u8);
            small.extend_from_slice(obu);
            continue;
        }
        if small.len() > 1 {
            out.push(std::mem::replace(&mut small, vec![0]));
        }
        let chunks: Vec<&[u8]> = obu.chunks(MTU).collect();
        for (index, chunk) in chunks.iter().enumerate() {
            let continues = if index > 0 { 0x80 } else { 0 };
            let continued = if index + 1 < chunks.len() { 0x40 } else { 0 };
            out.push([&[0x10 | continues | continued], *chunk].concat());
        }
    }
    if small.len() > 1 {
        out.push(small);
    }
    out
}

/// A small generator whose sequence is fixed by its seed.
pub struct Dice(pub u64);

impl Dice {
    /// True in `percent` of 100 throws.
    pub fn falls(&mut self, percent: u64) -> bool {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % 100 < percent
    }
}

/// Delays one packet in ten by 60 ms, and repeats lost ones after 200 ms.
pub fn bad_line(sent: &[Sent], dice: &mut Dice, loss_percent: u64) -> Vec<Sent> {
    let mut arriving: Vec<Sent> = Vec::new();
    for packet in sent {
        let mut late = packet.clone();
        if dice.falls(loss_percent) {
            late.at += Duration::from_millis(200);
        } else if dice.falls(10) {
            late.at += Duration::from_millis(60);
        }
        arriving.push(late);
    }
    arriving.sort_by_key(|packet| packet.at);
    arriving
}
