//! What single subscribers are owed beside the fresh packets: retransmissions that they asked for, padding that probes their line.

use std::time::Instant;

use super::Shard;
use super::peer::{Peer, Role};
use crate::drop_reason::DropReason;
use crate::index::{PeerIx, SlotIx};
use crate::stats::Counters;
use crate::subscribe::arena::SendArena;

/// Datagrams that may wait: every subscriber of a large lesson misses a frame at once.
pub const MAX_OWED: usize = 8_192;

/// One datagram for one slot.
#[derive(Clone, Copy, Debug)]
pub struct Owed {
    pub peer: PeerIx,
    pub slot: SlotIx,
    pub what: Debt,
}

#[derive(Clone, Copy, Debug)]
pub enum Debt {
    /// The packet that went out under this number.
    Resend(u16),
    /// A packet that is all padding.
    Padding,
}

impl Shard {
    /// Notes a datagram; one that finds no room is counted.
    pub(super) fn owe(&mut self, owed: Owed) {
        match self.owed.len() < MAX_OWED {
            true => self.owed.push_back(owed),
            false => self.counters.count_drop(DropReason::ResendOverflow),
        }
        self.depths.owed = self.depths.owed.max(self.owed.len());
    }

    /// Writes what is owed; true when the arena is full before all of it is written.
    pub(super) fn pay_owed(&mut self, now: Instant, arena: &mut SendArena) -> bool {
        while !self.owed.is_empty() {
            if !arena.has_room(1) {
                return true;
            }
            if let Some(owed) = self.owed.pop_front() {
                self.pay(now, owed, arena);
            }
        }
        false
    }

    /// Writes one datagram, unless its subscriber has left, its line is used up, or what it asks for is gone.
    fn pay(&mut self, now: Instant, Owed { peer, slot, what }: Owed, arena: &mut SendArena) {
        let Shard {
            peers,
            tracks,
            counters,
            ..
        } = self;
        let Some(Peer {
            line: Some(line),
            role: Role::Subscriber(subscriber),
            ..
        }) = peers.get_mut(peer)
        else {
            return;
        };
        line.settle(&mut subscriber.estimator);
        let Some(track) = subscriber
            .slots
            .get(slot.position())
            .and_then(|slot| slot.track)
        else {
            return;
        };
        let Some(hosted) = tracks.get_mut(track) else {
            return;
        };
        let Some(forward) = hosted.audience.get_mut(peer, slot) else {
            return;
        };
        let (twcc, space) = (line.twcc, arena.space());
        let written = match what {
            Debt::Padding => forward.write_probe(hosted.track.codec, twcc, &mut line.sealer, space),
            Debt::Resend(wire) => {
                if !subscriber
                    .resend_budget
                    .take(now, subscriber.estimator.estimate())
                {
                    return counters.count_drop(DropReason::ResendBudget);
                }
                forward.write_resend(&hosted.track, wire, now, twcc, &mut line.sealer, space)
            }
        };
        let Some(len) = written else { return };
        if line.sent(forward.is_numbered(), len, now) {
            line.settle(&mut subscriber.estimator);
        }
        arena.commit(line.path, len);
        if let Debt::Resend(_) = what {
            subscriber.resend_budget.spend(len);
            subscriber.pace.spend(len);
            Counters::add(&counters.packets_resent, 1);
        }
    }
}
