//! Forwarding of fresh packets to the subscribers of their tracks.
//!
//! The outer loop runs over subscribers and the inner loop over packets. Thereby the packets of one
//! frame to one subscriber are adjacent in the arena and are sent as one GSO message, and the
//! subscriber's key and numbering are loaded into the cache once per frame.

use std::time::Instant;

use super::peer::{Peer, Role};
use super::{Pass, Shard};
use crate::index::TrackIx;
use crate::publish::track::Track;
use crate::stats::Counters;
use crate::subscribe::arena::SendArena;
use crate::subscribe::forwarder::Forwarder;
use crate::units::SeqNo;

/// Maximum number of packets that one subscriber gets between two checks of the arena's free space:
/// the largest replay to a late joiner.
const STEP: usize = 256;

impl Shard {
    /// Continues the pass over fresh packets. Returns true if the arena should be sent before the
    /// pass is complete.
    pub(super) fn forward_fresh(&mut self, now: Instant, arena: &mut SendArena) -> bool {
        if self.pass == Pass::default() {
            self.frame_due = None;
            arena.begin_pass();
        }
        while let Some(track_ix) = self.fresh.get(self.pass.track).copied() {
            if self.pass.stream == 0 && self.is_coalescing(now, track_ix) {
                self.pass.track += 1;
                continue;
            }
            if !self.forward_track(now, track_ix, arena) {
                return true;
            }
            self.fresh.remove(self.pass.track);
            self.pass.stream = 0;
        }
        self.pass = Pass::default();
        false
    }

    /// Returns true if the track's packets should wait for the end of their frame. Otherwise
    /// prepares them for sending.
    fn is_coalescing(&mut self, now: Instant, track_ix: TrackIx) -> bool {
        let Some(track) = self.tracks.get_mut(track_ix) else {
            return false;
        };
        if let Some(until) = track.coalescer.poll(&track.media, track.fanout.len(), now) {
            self.frame_due = Some(self.frame_due.map_or(until, |due| due.min(until)));
            return true;
        }
        track.media.pad_for_gso();
        false
    }

    /// Continues the fan-out of one track. Returns false if the arena should be sent before all
    /// subscribers are served.
    fn forward_track(&mut self, now: Instant, track_ix: TrackIx, arena: &mut SendArena) -> bool {
        let Some(track) = self.tracks.get_mut(track_ix) else {
            return true;
        };
        while let Some(forwarder) = track.fanout.nth_mut(self.pass.stream) {
            if arena.is_batch_full() || !arena.has_room(STEP) {
                return false;
            }
            if let Some(peer) = self.peers.get_mut(forwarder.peer) {
                let written = write_fresh(&track.media, forwarder, peer, now, arena);
                Counters::add(&self.counters.packets_forwarded, written);
            }
            if let Some(layer) = forwarder.target().filter(|_| forwarder.needs_keyframe()) {
                track.media.request_keyframe(layer);
            }
            self.pass.stream += 1;
        }
        track.media.clear_fresh();
        true
    }
}

/// Writes the packets of this pass for one slot. Returns their number.
fn write_fresh(
    track: &Track,
    forwarder: &mut Forwarder,
    peer: &mut Peer,
    now: Instant,
    arena: &mut SendArena,
) -> u64 {
    if let Some((layer, first)) = forwarder.try_switch(track) {
        let (held, newest) = (
            forwarder.first_held(),
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
            .map(|seq| write_one(track, forwarder, peer, layer, seq, now, arena))
            .sum();
    }
    let (Some(layer), held) = (forwarder.current(), forwarder.first_held()) else {
        return 0;
    };
    let fresh = track.layers[usize::from(layer)]
        .fresh
        .iter()
        .filter(|seq| **seq < held);
    fresh
        .map(|seq| write_one(track, forwarder, peer, layer, *seq, now, arena))
        .sum()
}

/// Writes one packet for one slot. Returns the number of packets written: 1, or 0 if the packet is
/// not for this slot.
fn write_one(
    track: &Track,
    forwarder: &mut Forwarder,
    peer: &mut Peer,
    layer: u8,
    seq: SeqNo,
    now: Instant,
    arena: &mut SendArena,
) -> u64 {
    let Some(send) = peer.send.as_mut().filter(|_| arena.has_room(1)) else {
        return 0;
    };
    let Some(len) = forwarder.write(
        track,
        layer,
        seq,
        send.twcc,
        &mut send.sealer,
        arena.space(),
    ) else {
        return 0;
    };
    arena.commit(send.path, len);
    if send.record(forwarder.has_twcc(), len, now)
        && let Role::Subscriber(subscriber) = &mut peer.role
    {
        send.flush_records(&mut subscriber.estimator);
    }
    1
}
