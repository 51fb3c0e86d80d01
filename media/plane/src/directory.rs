//! What the handle knows of peers and tracks: descriptions, slots, and which shard owns what.

use std::collections::{HashMap, HashSet};

use crate::ids::{PeerId, Ssrc, TrackId};
use crate::index::ShardIx;
use crate::plane::Wanted;
use crate::sdp::{Codec, OfferedSlot, PublishedMedia};
use crate::subscribe::forwarder::PayloadTypes;
use crate::transport::IceCredentials;

/// All peers and tracks of the process.
#[derive(Default)]
pub struct Directory {
    pub peers: HashMap<PeerId, PeerEntry>,
    pub tracks: HashMap<TrackId, TrackEntry>,
    last_id: u64,
}

/// A peer as its descriptions tell it.
pub struct PeerEntry {
    pub shard: ShardIx,
    pub local: IceCredentials,
    pub role: Role,
}

pub enum Role {
    Publisher {
        media: Vec<(TrackId, PublishedMedia)>,
    },
    Subscriber {
        slots: Vec<SlotEntry>,
        /// Version of our newest offer; 0 for a player that made the offer itself.
        version: u64,
    },
}

/// One m-line on which a subscriber receives.
pub struct SlotEntry {
    pub mid: String,
    pub offered: OfferedSlot,
    /// What it takes; none until its answer is there, and then everything of its kind may be planned for it.
    pub types: Option<PayloadTypes>,
    pub shows: Option<TrackId>,
}

/// A published track.
pub struct TrackEntry {
    pub peer: PeerId,
    pub shard: ShardIx,
    pub codec: Codec,
    pub layers: usize,
    /// Shards that import it.
    pub imported: HashSet<ShardIx>,
}

impl Directory {
    /// A number that names a peer or a track and is never used again.
    pub fn fresh_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Forgets a peer; returns the tracks that went with it and the shards that had imported them.
    pub fn remove_peer(&mut self, peer: PeerId) -> Option<(PeerEntry, Vec<(TrackId, TrackEntry)>)> {
        let entry = self.peers.remove(&peer)?;
        let ids: Vec<TrackId> = self
            .tracks
            .iter()
            .filter(|(_, t)| t.peer == peer)
            .map(|(id, _)| *id)
            .collect();
        let tracks: Vec<_> = ids
            .into_iter()
            .filter_map(|id| Some((id, self.tracks.remove(&id)?)))
            .collect();
        for other in self.peers.values_mut() {
            let Role::Subscriber { slots, .. } = &mut other.role else {
                continue;
            };
            for slot in slots
                .iter_mut()
                .filter(|s| tracks.iter().any(|(id, _)| s.shows == Some(*id)))
            {
                slot.shows = None;
            }
        }
        Some((entry, tracks))
    }

    /// How many peers each shard has, to place the next one.
    pub fn load(&self, shards: usize) -> Vec<usize> {
        let mut load = vec![0; shards];
        for peer in self.peers.values() {
            load[peer.shard.position()] += 1;
        }
        load
    }

    /// SSRCs that no slot of the peer uses yet: a media and a retransmission source.
    pub fn unused_ssrcs(slots: &[SlotEntry], mut random: impl FnMut() -> u32) -> (Ssrc, Ssrc) {
        let taken = |ssrc: u32| {
            slots
                .iter()
                .any(|s| s.offered.outgoing.ssrc.0 == ssrc || s.offered.outgoing.rtx_ssrc.0 == ssrc)
        };
        let mut draw = || loop {
            let ssrc = random();
            if ssrc != 0 && !taken(ssrc) {
                return ssrc;
            }
        };
        let media = draw();
        let rtx = loop {
            let rtx = draw();
            if rtx != media {
                break rtx;
            }
        };
        (Ssrc(media), Ssrc(rtx))
    }
}

/// Places wanted tracks into slots: a track keeps the slot that it has, voice and picture of one publisher meet in slots of one
/// stream where that is possible (the receiver plays those in step), and what finds no slot is returned for new ones.
pub fn place(
    slots: &mut [SlotEntry],
    wanted: &[Wanted],
    tracks: &HashMap<TrackId, TrackEntry>,
) -> Vec<TrackId> {
    for slot in slots.iter_mut() {
        slot.shows = slot
            .shows
            .filter(|shown| wanted.iter().any(|w| w.track == *shown));
    }
    let mut unplaced = Vec::new();
    for want in wanted {
        if slots.iter().any(|slot| slot.shows == Some(want.track)) {
            continue;
        }
        let Some(track) = tracks.get(&want.track) else {
            continue;
        };
        match best_slot(slots, track, tracks) {
            Some(at) => slots[at].shows = Some(want.track),
            None => unplaced.push(want.track),
        }
    }
    unplaced
}

fn best_slot(
    slots: &[SlotEntry],
    track: &TrackEntry,
    tracks: &HashMap<TrackId, TrackEntry>,
) -> Option<usize> {
    let publisher_of = |slot: &SlotEntry| slot.shows.and_then(|id| tracks.get(&id)).map(|t| t.peer);
    let stream_publisher = |stream: &str| {
        slots
            .iter()
            .filter(|s| s.offered.outgoing.stream == stream)
            .find_map(&publisher_of)
    };
    let free = |slot: &&SlotEntry| {
        slot.shows.is_none()
            && slot.offered.kind == track.codec.kind()
            && slot.types.is_none_or(|t| t.supports(track.codec))
    };
    let rank = |slot: &SlotEntry| match stream_publisher(&slot.offered.outgoing.stream) {
        Some(peer) if peer == track.peer => 0,
        None => 1,
        Some(_) => 2,
    };
    let (at, _) = slots
        .iter()
        .enumerate()
        .filter(|(_, s)| free(s))
        .min_by_key(|(at, s)| (rank(s), *at))?;
    Some(at)
}
