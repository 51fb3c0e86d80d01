//! Queue of datagrams for single subscribers: retransmissions after a NACK, and probe padding.

use std::collections::VecDeque;
use std::time::Instant;

use super::Shard;
use super::peer::{Peer, Role};
use crate::drop_reason::DropReason;
use crate::index::{PeerIx, SlotIx};
use crate::stats::Counters;
use crate::subscribe::arena::SendArena;

/// Queue bound: every subscriber of a large lesson misses a frame at the same time.
const CAPACITY: usize = 8_192;

/// One datagram for one slot.
#[derive(Clone, Copy, Debug)]
struct Entry {
    peer: PeerIx,
    slot: SlotIx,
    resend: Resend,
}

/// The content of a queued datagram. Both go to the slot's retransmission stream (RFC 4588).
#[derive(Clone, Copy, Debug)]
pub(super) enum Resend {
    /// A retransmission of the packet that was sent with this RTP sequence number.
    Rtx(u16),
    /// A packet of padding only.
    Padding,
}

/// A bounded FIFO of retransmissions and padding. It never grows beyond its initial allocation.
pub(super) struct ResendQueue(VecDeque<Entry>);

impl ResendQueue {
    pub(super) fn new() -> ResendQueue {
        ResendQueue(VecDeque::with_capacity(CAPACITY))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Shard {
    /// Queues a datagram. If the queue is full, the datagram is dropped and counted.
    pub(super) fn queue_resend(&mut self, peer: PeerIx, slot: SlotIx, resend: Resend) {
        match self.resends.len() < CAPACITY {
            true => self.resends.0.push_back(Entry { peer, slot, resend }),
            false => self.counters.count_drop(DropReason::ResendOverflow),
        }
        self.depths.resends = self.depths.resends.max(self.resends.len());
    }

    /// Writes the queued datagrams. Returns true if the arena is full before the queue is empty.
    pub(super) fn write_resends(&mut self, now: Instant, arena: &mut SendArena) -> bool {
        while !self.resends.0.is_empty() {
            if !arena.has_room(1) {
                return true;
            }
            if let Some(entry) = self.resends.0.pop_front() {
                self.write_resend(now, entry, arena);
            }
        }
        false
    }

    /// Writes one datagram, unless its subscriber has left, its budget is used up, or the ring has
    /// overwritten the packet.
    fn write_resend(&mut self, now: Instant, entry: Entry, arena: &mut SendArena) {
        let Entry { peer, slot, resend } = entry;
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
        }) = peers.get_mut(peer)
        else {
            return;
        };
        send.flush_records(&mut subscriber.estimator);
        let Some(track) = subscriber
            .slots
            .get(slot.position())
            .and_then(|slot| slot.track)
        else {
            return;
        };
        let Some(shard_track) = tracks.get_mut(track) else {
            return;
        };
        let Some(forwarder) = shard_track.fanout.get_mut(peer, slot) else {
            return;
        };
        let (twcc, space) = (send.twcc, arena.space());
        let media = &shard_track.media;
        let written = match resend {
            Resend::Padding => forwarder.write_probe(media.codec, twcc, &mut send.sealer, space),
            Resend::Rtx(wire) => {
                if !subscriber
                    .resend_budget
                    .has_tokens(now, subscriber.estimator.estimate())
                {
                    return counters.count_drop(DropReason::ResendBudget);
                }
                forwarder.write_rtx(media, wire, now, twcc, &mut send.sealer, space)
            }
        };
        let Some(len) = written else { return };
        if send.record(forwarder.has_twcc(), len, now) {
            send.flush_records(&mut subscriber.estimator);
        }
        arena.commit(send.path, len);
        if let Resend::Rtx(_) = resend {
            subscriber.resend_budget.consume(len);
            subscriber.pacer.consume(len);
            Counters::add(&counters.packets_resent, 1);
        }
    }
}
