//! Test publisher (feature `testing`): output of real encoders as RTP packets, and a lossy link.

use std::time::Duration;

pub mod streams;

/// One RTP packet on the link.
#[derive(Clone, Debug)]
pub struct SentPacket {
    /// Extended sequence number.
    pub seq: u64,
    /// RTP timestamp.
    pub rtp_time: u32,
    /// Marker bit.
    pub marker: bool,
    /// Arrival since the start of the lesson.
    pub at: Duration,
    /// RTP payload.
    pub payload: Vec<u8>,
}

/// Largest payload fragment in bytes: small enough that every keyframe takes several packets.
const MAX_PAYLOAD: usize = 400;

/// Packetizes frames, given as payloads, at `interval` from `begin` on. Sequence numbers and
/// timestamps start near their wraparound.
pub fn packets(
    frames: &[Vec<Vec<u8>>],
    clock_rate: u32,
    interval: Duration,
    begin: Duration,
) -> Vec<SentPacket> {
    let mut sent = Vec::new();
    let mut seq = 65_530;
    for (index, frame) in frames.iter().enumerate() {
        let media = interval * index as u32;
        let ticks = (media.as_micros() * u128::from(clock_rate) / 1_000_000) as u32;
        for (part, payload) in frame.iter().enumerate() {
            let marker = part + 1 == frame.len();
            let rtp_time = ticks.wrapping_sub(5000);
            sent.push(SentPacket {
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

/// H264 payloads (RFC 6184): parameter sets in a STAP-A, large NAL units in FU-A, others single.
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
        if nal.len() <= MAX_PAYLOAD {
            out.push(nal.clone());
            continue;
        }
        let chunks: Vec<&[u8]> = nal[1..].chunks(MAX_PAYLOAD).collect();
        for (index, chunk) in chunks.iter().enumerate() {
            let start = if index == 0 { 0x80 } else { 0 };
            let end = if index + 1 == chunks.len() { 0x40 } else { 0 };
            out.push([&[nal[0] & 0xe0 | 28, start | end | (nal[0] & 0x1f)], *chunk].concat());
        }
    }
    out
}

/// VP8 payloads (RFC 7741) with a 15-bit picture id.
pub fn vp8_payloads(frame: &[u8], picture_id: u16) -> Vec<Vec<u8>> {
    let [high, low] = (picture_id | 0x8000).to_be_bytes();
    let start = |index| if index == 0 { 0x90 } else { 0x80 };
    frame
        .chunks(MAX_PAYLOAD)
        .enumerate()
        .map(|(index, chunk)| [&[start(index), 0x80, high, low], chunk].concat())
        .collect()
}

/// VP9 payloads (RFC 9628) with a 15-bit picture id.
pub fn vp9_payloads(frame: &[u8], picture_id: u16) -> Vec<Vec<u8>> {
    let [high, low] = (picture_id | 0x8000).to_be_bytes();
    let last = frame.chunks(MAX_PAYLOAD).count() - 1;
    let flags = |index| 0x80 | if index == 0 { 8 } else { 0 } | if index == last { 4 } else { 0 };
    frame
        .chunks(MAX_PAYLOAD)
        .enumerate()
        .map(|(index, chunk)| [&[flags(index), high, low], chunk].concat())
        .collect()
}

/// AV1 payloads: small OBUs of a temporal unit share a packet (W = 0); a large OBU is fragmented
/// (W = 1, Z and Y).
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
        let chunks: Vec<&[u8]> = obu.chunks(MAX_PAYLOAD).collect();
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

/// Deterministic random number generator; the value is the seed.
pub struct Rng(pub u64);

impl Rng {
    /// Returns true with a probability of `percent` / 100.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % 100 < percent
    }
}

/// Link that delays one packet in ten by 60 ms and retransmits lost packets after 200 ms.
pub fn lossy_link(sent: &[SentPacket], rng: &mut Rng, loss_percent: u64) -> Vec<SentPacket> {
    let mut arriving: Vec<SentPacket> = Vec::new();
    for packet in sent {
        let mut late = packet.clone();
        if rng.chance(loss_percent) {
            late.at += Duration::from_millis(200);
        } else if rng.chance(10) {
            late.at += Duration::from_millis(60);
        }
        arriving.push(late);
    }
    arriving.sort_by_key(|packet| packet.at);
    arriving
}
