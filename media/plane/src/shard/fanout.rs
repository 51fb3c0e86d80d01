//! Fan-out of one track: the output streams to its subscribers.

use crate::index::{PeerIx, SlotIx};
use crate::subscribe::forwarder::Forwarder;

/// The output streams of one track, sorted by subscriber and slot. A forwarding pass iterates over
/// them; timers look up one of a thousand by binary search.
#[derive(Default)]
pub(super) struct Fanout {
    streams: Vec<Forwarder>,
}

impl Fanout {
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Returns the stream of a subscriber's slot.
    pub(super) fn get(&self, peer: PeerIx, slot: SlotIx) -> Option<&Forwarder> {
        self.find(peer, slot).ok().map(|at| &self.streams[at])
    }

    pub(super) fn get_mut(&mut self, peer: PeerIx, slot: SlotIx) -> Option<&mut Forwarder> {
        self.find(peer, slot).ok().map(|at| &mut self.streams[at])
    }

    /// Returns the stream at a position, for a pass that is interrupted and resumed.
    pub(super) fn nth_mut(&mut self, position: usize) -> Option<&mut Forwarder> {
        self.streams.get_mut(position)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Forwarder> {
        self.streams.iter_mut()
    }

    /// Inserts a stream. A slot has exactly one, attached to at most one track.
    pub(super) fn insert(&mut self, forwarder: Forwarder) {
        let at = self
            .find(forwarder.peer, forwarder.slot)
            .unwrap_or_else(|at| at);
        self.streams.insert(at, forwarder);
    }

    pub(super) fn remove(&mut self, peer: PeerIx, slot: SlotIx) -> Option<Forwarder> {
        self.find(peer, slot).ok().map(|at| self.streams.remove(at))
    }

    /// Drops all streams of a removed subscriber.
    pub(super) fn remove_peer(&mut self, peer: PeerIx) {
        self.streams.retain(|forwarder| forwarder.peer != peer);
    }

    /// Removes all streams.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Forwarder> {
        self.streams.drain(..)
    }

    fn find(&self, peer: PeerIx, slot: SlotIx) -> Result<usize, usize> {
        self.streams
            .binary_search_by_key(&(peer, slot), |forwarder| (forwarder.peer, forwarder.slot))
    }
}
