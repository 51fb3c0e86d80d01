//! Send path of one frame: rewritten and protected into the arena for each of N subscribers, but
//! not sent. The floor is the copy and AES-GCM encryption of the same bytes with as many keys.
//!
//! `cargo bench -p tongke-plane --bench seal -- [subscribers] [rounds]`
//!
//! Both sides run one block in turn. The last line is JSON: nanoseconds of CPU per packet.

#![allow(clippy::disallowed_methods)]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{arguments, begin_counting, counted, median, number, timed};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tongke_plane::TrackId;
use tongke_plane::index::{PeerIx, SlotIx};
use tongke_plane::publish::ring::PacketMeta;
use tongke_plane::publish::track::Track;
use tongke_plane::sdp::Codec;
use tongke_plane::subscribe::arena::SendArena;
use tongke_plane::subscribe::forwarder::{Forwarder, ForwarderConfig, PayloadTypes};
use tongke_plane::transport::Path;
use tongke_plane::transport::srtp::{Profile, Role, RtpSealer, SrtpSession};
use tongke_plane::units::SeqNo;

const FRAME: u64 = 5;
const FRAMES_PER_BLOCK: u64 = 30;
const HEADER: usize = 20;
/// A datagram of 1200 bytes with header and tag.
const PAYLOAD: usize = 1_164;

struct Subscriber {
    address: SocketAddr,
    forward: Forwarder,
    sealer: RtpSealer,
    twcc: u16,
}

fn main() {
    let arguments = arguments();
    let (subscribers, rounds) = (number(&arguments, 0, 100), number(&arguments, 1, 50));
    let mut track = Track::new(TrackId(1), Codec::H264, 1);
    let (now, mut arena) = (Instant::now(), SendArena::new());
    store_frame(&mut track, 0, now);
    let mut receivers: Vec<Subscriber> = (0..subscribers)
        .map(|n| Subscriber::watching(n, &track))
        .collect();
    let keys: Vec<LessSafeKey> = (0..subscribers).map(key).collect();
    let (mut seal_ns, mut floor_ns, mut frame, mut sealed) = (Vec::new(), Vec::new(), 1, 0);
    begin_counting();
    for _ in 0..rounds {
        let (mut spent, mut spent_on_floor) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..FRAMES_PER_BLOCK {
            store_frame(&mut track, frame, now);
            frame += 1;
            for subscriber in &mut receivers {
                sealed += timed(&mut spent, || {
                    counted(|| subscriber.seal(&track, &mut arena))
                });
                make_room(&mut arena);
            }
            for key in &keys {
                timed(&mut spent_on_floor, || floor(&track, key, &mut arena));
                make_room(&mut arena);
            }
        }
        let packets = (FRAME * FRAMES_PER_BLOCK) as f64 * subscribers as f64;
        seal_ns.push(spent.as_nanos() as f64 / packets);
        floor_ns.push(spent_on_floor.as_nanos() as f64 / packets);
    }
    let packets = rounds * subscribers * (FRAME * FRAMES_PER_BLOCK) as usize;
    assert_eq!(sealed, packets, "every subscriber gets every packet");
    let (seal_ns, floor_ns) = (median(&mut seal_ns), median(&mut floor_ns));
    println!(
        r#"{{"bench":"seal","subscribers":{subscribers},"packets":{packets},"seal_ns":{seal_ns:.0},"floor_ns":{floor_ns:.0},"ratio":{:.3}}}"#,
        seal_ns / floor_ns
    );
}

/// Stores a frame; the first one is a keyframe.
fn store_frame(track: &mut Track, frame: u64, now: Instant) {
    track.clear_fresh();
    for n in 0..FRAME {
        let meta = PacketMeta {
            seq: SeqNo(1 + frame * FRAME + n),
            rtp_time: frame as u32 * 3_000,
            arrival: now,
            len: PAYLOAD as u16,
            pad: 0,
            marker: n + 1 == FRAME,
            frame_start: n == 0,
            keyframe: frame == 0,
            red: false,
            picture_ids: None,
            primary_offset: 0,
        };
        assert!(
            track.insert(0, meta, &[0x55; PAYLOAD]),
            "the sequence number is new"
        );
    }
}

impl Subscriber {
    fn watching(n: usize, track: &Track) -> Subscriber {
        let mut types = PayloadTypes::default();
        types.set(Codec::H264, 102, Some(103));
        let ssrc = 100 + 2 * n as u32;
        let spec = ForwarderConfig {
            ssrc,
            rtx_ssrc: ssrc + 1,
            types,
            twcc_id: Some(3),
            first_seq: 1,
            first_rtx_seq: 1,
            first_time: 1,
        };
        let mut forward = Forwarder::new(PeerIx::new(n), SlotIx::new(0), spec);
        forward.set_target(Some(0));
        forward.try_switch(track).expect("the ring has a keyframe");
        let profile = Profile::AeadAes128Gcm;
        let material = vec![n as u8; profile.keying_material_len()];
        let session = SrtpSession::from_keying_material(profile, &material, Role::Server)
            .expect("valid key material");
        let address = SocketAddr::from(([127, 0, 0, 1], 1_000 + n as u16));
        Subscriber {
            address,
            forward,
            sealer: session.outbound.rtp,
            twcc: 0,
        }
    }

    /// Writes the fresh frame; returns its number of packets.
    fn seal(&mut self, track: &Track, arena: &mut SendArena) -> usize {
        let mut written = 0;
        for seq in &track.layers[0].fresh {
            let space = arena.space();
            let Some(len) = self
                .forward
                .write(track, 0, *seq, self.twcc, &mut self.sealer, space)
            else {
                continue;
            };
            arena.commit(Path::udp(self.address), len);
            self.twcc = self.twcc.wrapping_add(1);
            written += 1;
        }
        written
    }
}

fn key(n: usize) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[n as u8; 16]).expect("16 bytes"))
}

/// Copies as many bytes from the same ring into the same arena and encrypts them with AES-GCM only.
fn floor(track: &Track, key: &LessSafeKey, arena: &mut SendArena) {
    let layer = &track.layers[0];
    for seq in &layer.fresh {
        let (_, payload) = layer.ring.get(*seq).expect("it was just stored");
        let space = &mut arena.space()[..HEADER + PAYLOAD + 16];
        let (header, rest) = space.split_at_mut(HEADER);
        let (plain, tag) = rest.split_at_mut(PAYLOAD);
        plain.copy_from_slice(payload);
        let nonce = Nonce::assume_unique_for_key([1; 12]);
        let made = key
            .seal_in_place_separate_tag(nonce, Aad::from(&*header), plain)
            .expect("the payload is short");
        tag.copy_from_slice(made.as_ref());
        let path = Path::udp(([127, 0, 0, 1], 9).into());
        arena.commit(path, HEADER + PAYLOAD + 16);
    }
}

/// Clears a full arena, as a flush does.
fn make_room(arena: &mut SendArena) {
    if !arena.has_room(2 * FRAME as usize) {
        arena.clear();
    }
}
