//! Receive path of one packet: SRTP unprotect, parsing, and insertion into its layer's ring. The
//! floor is AES-GCM decryption of the same bytes.
//!
//! `cargo bench -p tongke-plane --bench receive -- [rounds]`
//!
//! Both sides run one block in turn. The last line is JSON: nanoseconds of CPU per packet.

#![allow(clippy::disallowed_methods)]

mod common;

use std::time::{Duration, Instant};

use common::{arguments, begin_counting, counted, median, number, timed};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tongke_plane::publish::ring::{PacketMeta, PacketRing};
use tongke_plane::rtp::payload::describe;
use tongke_plane::rtp::{Extensions, RtpPacket};
use tongke_plane::sdp::{Codec, ExtensionIds};
use tongke_plane::transport::srtp::{Profile, Role, SrtpSession};

/// Packets of one block: the capacity of a layer's ring.
const BLOCK: usize = 1_024;
const HEADER: usize = 20;
/// A datagram of 1200 bytes with header and tag.
const PAYLOAD: usize = 1_164;
const TAG: usize = 16;
const TWCC_ID: u8 = 3;

fn main() {
    let rounds = number(&arguments(), 0, 50);
    let (mut sender, mut receiver) = (session(Role::Client), session(Role::Server));
    let (mut ring, mut seq) = (PacketRing::new(BLOCK), 1u64);
    let now = Instant::now();
    let (mut receive_ns, mut floor_ns) = (Vec::new(), Vec::new());
    begin_counting();
    for _ in 0..rounds {
        let mut sealed: Vec<_> = (seq..)
            .take(BLOCK)
            .map(|seq| seal(&mut sender, seq))
            .collect();
        seq += BLOCK as u64;
        let mut spent = Duration::ZERO;
        let mut process = || {
            sealed
                .iter_mut()
                .filter_map(|bytes| receive(&mut receiver, &mut ring, bytes, now))
                .count()
        };
        let stored = timed(&mut spent, || counted(&mut process));
        assert_eq!(stored, BLOCK, "every packet is stored");
        receive_ns.push(spent.as_nanos() as f64 / BLOCK as f64);
        floor_ns.push(floor());
    }
    let (receive_ns, floor_ns) = (median(&mut receive_ns), median(&mut floor_ns));
    println!(
        r#"{{"bench":"receive","packets":{},"receive_ns":{receive_ns:.0},"floor_ns":{floor_ns:.0},"ratio":{:.3}}}"#,
        rounds * BLOCK,
        receive_ns / floor_ns
    );
}

fn session(role: Role) -> SrtpSession {
    let profile = Profile::AeadAes128Gcm;
    SrtpSession::from_keying_material(profile, &vec![7; profile.keying_material_len()], role)
        .expect("valid key material")
}

/// Protects an H264 packet as a publisher does: one packet in five starts a frame; a keyframe every
/// 500 packets.
fn seal(session: &mut SrtpSession, seq: u64) -> Vec<u8> {
    let mut packet = vec![0x55; HEADER + PAYLOAD + TAG];
    packet[..4].copy_from_slice(&[0x90, 102, (seq >> 8) as u8, seq as u8]);
    packet[4..8].copy_from_slice(&(seq as u32 / 5 * 3_000).to_be_bytes());
    packet[8..12].copy_from_slice(&[0, 0, 0, 1]);
    packet[12..20].copy_from_slice(&[
        0xBE,
        0xDE,
        0,
        1,
        TWCC_ID << 4 | 1,
        (seq >> 8) as u8,
        seq as u8,
        0,
    ]);
    let begins = seq.is_multiple_of(5);
    let slice = if seq.is_multiple_of(500) { 5 } else { 1 };
    packet[HEADER..HEADER + 3].copy_from_slice(&[0x7C, slice | u8::from(begins) << 7, 0x88]);
    let len =
        session
            .outbound
            .rtp
            .protect(&mut packet, HEADER, HEADER + PAYLOAD, (seq >> 16) as u32);
    packet.truncate(len);
    packet
}

/// Processes a packet of a known SSRC like a shard, up to the insertion; returns `None` if it was
/// not stored.
fn receive(
    session: &mut SrtpSession,
    ring: &mut PacketRing,
    datagram: &mut [u8],
    now: Instant,
) -> Option<u16> {
    let opened = session.inbound.unprotect_rtp(datagram).ok()?;
    let packet = RtpPacket::parse(&datagram[..opened.len]).ok()?;
    let ids = ExtensionIds {
        transport_cc: Some(TWCC_ID),
        ..ExtensionIds::default()
    };
    let number = Extensions::read(packet.elements(), &ids).transport_cc;
    let info = describe(Codec::H264, packet.payload())?;
    let meta = PacketMeta {
        seq: opened.seq,
        rtp_time: packet.timestamp(),
        arrival: now,
        len: packet.payload().len() as u16,
        pad: 0,
        marker: packet.marker(),
        frame_start: info.frame_start,
        keyframe: info.keyframe,
        red: false,
        picture_ids: None,
        primary_offset: 0,
    };
    number.filter(|_| ring.insert(meta, packet.payload()))
}

/// AES-GCM decryption alone, over the same number of bytes.
fn floor() -> f64 {
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("16 bytes"));
    let mut packets = vec![vec![0x55; PAYLOAD]; BLOCK];
    let seal = |bytes: &mut Vec<u8>| {
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key([1; 12]),
            Aad::from([0x90; HEADER]),
            bytes,
        )
        .expect("the payload is short");
    };
    packets.iter_mut().for_each(seal);
    let mut spent = Duration::ZERO;
    timed(&mut spent, || {
        for packet in &mut packets {
            let nonce = Nonce::assume_unique_for_key([1; 12]);
            key.open_in_place(nonce, Aad::from([0x90; HEADER]), packet)
                .expect("the packet is authentic");
        }
    });
    spent.as_nanos() as f64 / BLOCK as f64
}
