//! Lower bound of the forwarding cost: copy, protect and send the same datagrams.

use std::net::SocketAddr;
use std::time::Duration;

use tongke_plane::io::{MediaSocket, Sender};
use tongke_plane::subscribe::arena::SendArena;
use tongke_plane::transport::Path;
use tongke_plane::transport::srtp::{Profile, Role, RtpSealer, SrtpSession};

use crate::common::timed;
use crate::pace::Pace;
use crate::{FRAMES_PER_BLOCK, Scenario, TWCC_ID};

/// RTP header with one extension of four bytes.
const HEADER: [u8; 20] = [
    0x90,
    102,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    1,
    0xBE,
    0xDE,
    0,
    1,
    TWCC_ID << 4 | 1,
    0,
    0,
    0,
];

/// Senders without ring, parser and layer selection.
pub(crate) struct Floor {
    scenario: Scenario,
    subscribers: Vec<(SocketAddr, RtpSealer)>,
    seq: u64,
    sender: Sender,
    arena: SendArena,
}

impl Floor {
    pub(crate) fn new(scenario: Scenario, addresses: &[SocketAddr]) -> Floor {
        let profile = Profile::AeadAes128Gcm;
        let sealer = |n: usize| {
            let material = vec![n as u8 ^ 0x5A; profile.keying_material_len()];
            SrtpSession::from_keying_material(profile, &material, Role::Server)
                .expect("valid key material")
                .outbound
                .rtp
        };
        let subscribers = addresses
            .iter()
            .enumerate()
            .map(|(n, address)| (*address, sealer(n)))
            .collect();
        Floor {
            scenario,
            subscribers,
            seq: 1,
            sender: Sender::new(),
            arena: SendArena::new(),
        }
    }

    /// Sends a block of frames; returns nanoseconds of CPU per packet.
    pub(crate) fn block(&mut self, socket: &MediaSocket, pace: &mut Pace) -> f64 {
        let packets = self.scenario.packets();
        let mut packet = HEADER.to_vec();
        packet.resize(HEADER.len() + self.scenario.payload(), 0x55);
        let mut spent = Duration::ZERO;
        for _ in 0..FRAMES_PER_BLOCK {
            pace.wait();
            timed(&mut spent, || self.frame(socket, &packet));
        }
        let sent = FRAMES_PER_BLOCK * packets * self.subscribers.len();
        spent.as_nanos() as f64 / sent as f64
    }

    fn frame(&mut self, socket: &MediaSocket, packet: &[u8]) {
        let packets = self.scenario.packets();
        for (to, sealer) in &mut self.subscribers {
            if self.arena.is_batch_full() || !self.arena.has_room(packets) {
                self.sender.flush(socket, &self.arena);
                self.arena.clear();
            }
            for n in 0..packets as u64 {
                let seq = self.seq + n;
                let space = self.arena.space();
                space[..packet.len()].copy_from_slice(packet);
                space[2..4].copy_from_slice(&(seq as u16).to_be_bytes());
                let len = sealer.protect(space, HEADER.len(), packet.len(), (seq >> 16) as u32);
                self.arena.commit(Path::udp(*to), len);
            }
        }
        self.seq += packets as u64;
        self.sender.flush(socket, &self.arena);
        self.arena.clear();
    }
}
