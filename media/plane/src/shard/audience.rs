//! Everybody who gets a track's packets.

use crate::index::{PeerIx, SlotIx};
use crate::subscribe::forward::Forward;

/// The outgoing streams of one track, ordered by subscriber and slot: a pass walks them, and upkeep finds one among a thousand.
#[derive(Default)]
pub struct Audience {
    streams: Vec<Forward>,
}

impl Audience {
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// The stream of a subscriber's slot.
    pub fn get(&self, peer: PeerIx, slot: SlotIx) -> Option<&Forward> {
        self.find(peer, slot).ok().map(|at| &self.streams[at])
    }

    pub fn get_mut(&mut self, peer: PeerIx, slot: SlotIx) -> Option<&mut Forward> {
        self.find(peer, slot).ok().map(|at| &mut self.streams[at])
    }

    /// The `nth` stream of a pass.
    pub fn nth_mut(&mut self, nth: usize) -> Option<&mut Forward> {
        self.streams.get_mut(nth)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Forward> {
        self.streams.iter_mut()
    }

    /// Takes a stream in. A slot has one stream, which stands in one place at a time.
    pub fn insert(&mut self, forward: Forward) {
        let at = self
            .find(forward.peer, forward.slot)
            .unwrap_or_else(|at| at);
        self.streams.insert(at, forward);
    }

    pub fn remove(&mut self, peer: PeerIx, slot: SlotIx) -> Option<Forward> {
        self.find(peer, slot).ok().map(|at| self.streams.remove(at))
    }

    /// Lets go of a subscriber that is gone.
    pub fn remove_peer(&mut self, peer: PeerIx) {
        self.streams.retain(|forward| forward.peer != peer);
    }

    /// Lets go of everybody.
    pub fn drain(&mut self) -> impl Iterator<Item = Forward> {
        self.streams.drain(..)
    }

    fn find(&self, peer: PeerIx, slot: SlotIx) -> Result<usize, usize> {
        self.streams
            .binary_search_by_key(&(peer, slot), |forward| (forward.peer, forward.slot))
    }
}
