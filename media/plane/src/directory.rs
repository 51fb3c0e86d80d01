//! Signalling state of all peers and tracks: descriptions, slots, and owning shards.

use std::collections::{HashMap, HashSet};

use crate::ids::{PeerId, Ssrc, TrackId};
use crate::index::ShardIx;
use crate::plane::Wanted;
use crate::sdp::{Codec, OfferedSlot, PublishedMedia};
use crate::subscribe::forwarder::PayloadTypes;
use crate::transport::IceCredentials;

/// All peers and tracks of the process.
#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) peers: HashMap<PeerId, PeerEntry>,
    pub(crate) tracks: HashMap<TrackId, TrackEntry>,
    last_id: u64,
}

/// Signalling state of a peer.
pub(crate) struct PeerEntry {
    pub(crate) shard: ShardIx,
    pub(crate) local: IceCredentials,
    pub(crate) role: Role,
}

pub(crate) enum Role {
    Publisher {
        media: Vec<(TrackId, PublishedMedia)>,
    },
    Subscriber {
        slots: Vec<SlotEntry>,
        /// Version of the server's latest offer; 0 for a player that made the offer itself.
        version: u64,
    },
}

/// An m-line on which a subscriber receives.
pub(crate) struct SlotEntry {
    pub(crate) mid: String,
    pub(crate) offered: OfferedSlot,
    /// Negotiated payload types. None until the answer arrives; until then any codec of its kind
    /// may be assigned.
    pub(crate) types: Option<PayloadTypes>,
    /// The assigned track.
    pub(crate) track: Option<TrackId>,
}

/// A published track.
pub(crate) struct TrackEntry {
    pub(crate) peer: PeerId,
    pub(crate) shard: ShardIx,
    pub(crate) codec: Codec,
    pub(crate) layers: usize,
    /// Shards that import the track.
    pub(crate) imported: HashSet<ShardIx>,
}

impl Directory {
    /// Returns a new id for a peer or track.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Removes a peer. Returns it with its tracks, which name the shards that imported them.
    pub(crate) fn remove_peer(
        &mut self,
        peer: PeerId,
    ) -> Option<(PeerEntry, Vec<(TrackId, TrackEntry)>)> {
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
                .filter(|s| tracks.iter().any(|(id, _)| s.track == Some(*id)))
            {
                slot.track = None;
            }
        }
        Some((entry, tracks))
    }

    /// Returns the number of peers of each shard, for the placement of the next one.
    pub(crate) fn load(&self, shards: usize) -> Vec<usize> {
        let mut load = vec![0; shards];
        for peer in self.peers.values() {
            load[peer.shard.position()] += 1;
        }
        load
    }

    /// Draws two unused SSRCs for a new slot of a peer: for media and for retransmissions.
    pub(crate) fn unused_ssrcs(
        slots: &[SlotEntry],
        mut random: impl FnMut() -> u32,
    ) -> (Ssrc, Ssrc) {
        let is_used = |ssrc: u32| {
            slots
                .iter()
                .any(|s| s.offered.outgoing.ssrc.0 == ssrc || s.offered.outgoing.rtx_ssrc.0 == ssrc)
        };
        let mut draw = || loop {
            let ssrc = random();
            if ssrc != 0 && !is_used(ssrc) {
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

/// Assigns wanted tracks to slots. A track keeps its slot. Audio and video of one publisher are
/// assigned to slots of one MediaStream if possible, because the receiver synchronizes those.
/// Returns the tracks without a slot.
pub(crate) fn assign_slots(
    slots: &mut [SlotEntry],
    wanted: &[Wanted],
    tracks: &HashMap<TrackId, TrackEntry>,
) -> Vec<TrackId> {
    for slot in slots.iter_mut() {
        slot.track = slot
            .track
            .filter(|assigned| wanted.iter().any(|w| w.track == *assigned));
    }
    let mut unassigned = Vec::new();
    for want in wanted {
        if slots.iter().any(|slot| slot.track == Some(want.track)) {
            continue;
        }
        let Some(track) = tracks.get(&want.track) else {
            continue;
        };
        match best_slot(slots, track, tracks) {
            Some(at) => slots[at].track = Some(want.track),
            None => unassigned.push(want.track),
        }
    }
    unassigned
}

fn best_slot(
    slots: &[SlotEntry],
    track: &TrackEntry,
    tracks: &HashMap<TrackId, TrackEntry>,
) -> Option<usize> {
    let publisher_of = |slot: &SlotEntry| slot.track.and_then(|id| tracks.get(&id)).map(|t| t.peer);
    let stream_publisher = |stream: &str| {
        slots
            .iter()
            .filter(|s| s.offered.outgoing.stream == stream)
            .find_map(&publisher_of)
    };
    let free = |slot: &&SlotEntry| {
        slot.track.is_none()
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
