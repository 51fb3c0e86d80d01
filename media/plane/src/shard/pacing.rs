//! Paced sending of video to subscribers with little bandwidth: each tick sends a little, the
//! highest priority first.

use std::time::Instant;

use super::Shard;
use super::peer::{Peer, Role, Subscriber};
use crate::index::{PeerIx, SlotIx};
use crate::stats::Counters;
use crate::subscribe::allocator::Priority;
use crate::subscribe::arena::SendArena;

/// Video in the order of sending. Audio is never paced.
const VIDEO: [Priority; 4] = [
    Priority::Screen,
    Priority::LeadVideo,
    Priority::Stage,
    Priority::Wall,
];

/// Result of writing the paced packets of one subscriber.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PacedWrite {
    /// The arena is full; call again after sending it.
    ArenaFull,
    /// The subscriber is served for this tick.
    DoneForTick,
    /// Pacing ends: nothing is queued and bandwidth suffices, or the subscriber has left.
    Finished,
}

impl Shard {
    /// Adds a subscriber to those that are paced.
    pub(super) fn begin_pacing(&mut self, peer_ix: PeerIx) {
        if !self.paced.contains(&peer_ix) {
            self.paced.push(peer_ix);
        }
    }

    /// Continues with the paced subscribers of this tick. Returns true if the arena is full before
    /// all are served.
    pub(super) fn write_paced(&mut self, now: Instant, arena: &mut SendArena) -> bool {
        while let Some(peer_ix) = self.paced.get(self.paced_in_tick).copied() {
            match self.write_paced_peer(now, peer_ix, arena) {
                PacedWrite::ArenaFull => return true,
                PacedWrite::DoneForTick => self.paced_in_tick += 1,
                PacedWrite::Finished => {
                    self.paced.swap_remove(self.paced_in_tick);
                }
            }
        }
        false
    }

    fn write_paced_peer(
        &mut self,
        now: Instant,
        peer_ix: PeerIx,
        arena: &mut SendArena,
    ) -> PacedWrite {
        let Shard {
            peers,
            tracks,
            counters,
            ..
        } = self;
        let Some(Peer {
            send: Some(send),
            role: Role::Subscriber(subscriber),
            ..
        }) = peers.get_mut(peer_ix)
        else {
            return PacedWrite::Finished;
        };
        let Subscriber {
            slots,
            estimator,
            pacer,
            ..
        } = &mut **subscriber;
        send.flush_records(estimator);
        let mut more = false;
        for priority in VIDEO {
            for (nth, slot) in slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| slot.has_priority(priority))
            {
                let Some(track) = slot.track.and_then(|track| tracks.get_mut(track)) else {
                    continue;
                };
                let Some(forwarder) = track.fanout.get_mut(peer_ix, SlotIx::new(nth)) else {
                    continue;
                };
                while pacer.can_send(now) {
                    if !arena.has_room(1) {
                        return PacedWrite::ArenaFull;
                    }
                    let Some((layer, seq)) = forwarder.pop_held(&track.media) else {
                        break;
                    };
                    let written = forwarder.write(
                        &track.media,
                        layer,
                        seq,
                        send.twcc,
                        &mut send.sealer,
                        arena.space(),
                    );
                    let Some(len) = written else { continue };
                    arena.commit(send.path, len);
                    pacer.consume(len);
                    if send.record(forwarder.has_twcc(), len, now) {
                        send.flush_records(estimator);
                    }
                    Counters::add(&counters.packets_forwarded, 1);
                }
                more |= forwarder.has_held();
            }
        }
        if pacer.is_active() || more {
            PacedWrite::DoneForTick
        } else {
            PacedWrite::Finished
        }
    }
}
