//! What goes out: fresh packets to every subscriber of their track.
//!
//! Outer loop over subscribers, inner loop over packets: the packets of one frame to one subscriber lie side by side in the arena and
//! leave as one GSO message, and a subscriber's key and numbers are in the cache once per frame.

use std::time::Instant;

use super::peer::{Peer, Role};
use super::{Pass, Shard};
use crate::index::TrackIx;
use crate::publish::track::Track;
use crate::stats::Counters;
use crate::subscribe::arena::SendArena;
use crate::subscribe::forward::Forward;
use crate::units::SeqNo;

/// Packets that one subscriber may get in one step before the arena is asked for room again: the largest replay to a late joiner.
const STEP: usize = 256;

impl Shard {
    /// Goes on with the pass over fresh packets; true when the arena should be sent before the pass is over.
    pub(super) fn forward_fresh(&mut self, now: Instant, arena: &mut SendArena) -> bool {
        if self.pass == Pass::default() {
            self.frame_due = None;
            arena.begin();
        }
        while let Some(track) = self.fresh.get(self.pass.track).copied() {
            if self.pass.stream == 0 && self.waits(now, track) {
                self.pass.track += 1;
                continue;
            }
            if !self.forward_track(now, track, arena) {
                return true;
            }
            self.fresh.remove(self.pass.track);
            self.pass.stream = 0;
        }
        self.pass = Pass::default();
        false
    }

    /// Whether the track's packets stay until their frame is whole; if not, they are made ready to go.
    fn waits(&mut self, now: Instant, track: TrackIx) -> bool {
        let Some(hosted) = self.tracks.get_mut(track) else {
            return false;
        };
        if let Some(until) = hosted
            .patience
            .wait(&hosted.track, hosted.audience.len(), now)
        {
            self.frame_due = Some(self.frame_due.map_or(until, |due| due.min(until)));
            return true;
        }
        hosted.track.even_out();
        false
    }

    /// Goes on with one track's audience; false when the arena should be sent before everybody has been served.
    fn forward_track(&mut self, now: Instant, track: TrackIx, arena: &mut SendArena) -> bool {
        let Some(hosted) = self.tracks.get_mut(track) else {
            return true;
        };
        while let Some(forward) = hosted.audience.nth_mut(self.pass.stream) {
            if arena.holds_enough() || !arena.has_room(STEP) {
                return false;
            }
            if let Some(peer) = self.peers.get_mut(forward.peer) {
                let written = write_fresh(&hosted.track, forward, peer, now, arena);
                Counters::add(&self.counters.packets_forwarded, written);
            }
            if let Some(layer) = forward.target().filter(|_| forward.waits_for_keyframe()) {
                hosted.track.want_keyframe(layer);
            }
            self.pass.stream += 1;
        }
        hosted.track.clear_fresh();
        true
    }
}

/// Writes what one slot gets in this pass; returns how many packets that were.
fn write_fresh(
    track: &Track,
    forward: &mut Forward,
    peer: &mut Peer,
    now: Instant,
    arena: &mut SendArena,
) -> u64 {
    if let Some((layer, first)) = forward.try_switch(track) {
        let (held, newest) = (
            forward.held(),
            track.layers[usize::from(layer)]
                .ring
                .newest()
                .unwrap_or(first),
        );
        let replay = (first.0..=newest.0)
            .take(STEP)
            .map(SeqNo)
            .filter(|seq| *seq < held);
        return replay
            .map(|seq| write_one(track, forward, peer, layer, seq, now, arena))
            .sum();
    }
    let (Some(layer), held) = (forward.current(), forward.held()) else {
        return 0;
    };
    let fresh = track.layers[usize::from(layer)]
        .fresh
        .iter()
        .filter(|seq| **seq < held);
    fresh
        .map(|seq| write_one(track, forward, peer, layer, *seq, now, arena))
        .sum()
}

/// Writes one packet for one slot; returns 1 if it went out, 0 if it is not for this slot.
fn write_one(
    track: &Track,
    forward: &mut Forward,
    peer: &mut Peer,
    layer: u8,
    seq: SeqNo,
    now: Instant,
    arena: &mut SendArena,
) -> u64 {
    let Some(line) = peer.line.as_mut().filter(|_| arena.has_room(1)) else {
        return 0;
    };
    let Some(len) = forward.write(
        track,
        layer,
        seq,
        line.twcc,
        &mut line.sealer,
        arena.space(),
    ) else {
        return 0;
    };
    arena.commit(line.path, len);
    if line.sent(forward.is_numbered(), len, now)
        && let Role::Subscriber(subscriber) = &mut peer.role
    {
        line.settle(&mut subscriber.estimator);
    }
    1
}
