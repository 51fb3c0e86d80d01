//! Layer allocation of one subscriber: applies the allocator's decisions to its output streams.

use std::time::Instant;

use super::Shard;
use super::peer::Subscriber;
use crate::command::Event;
use crate::index::{PeerIx, SlotIx};
use crate::subscribe::allocator::{self, Priority, TrackAllocation};
use crate::subscribe::redundancy;
use crate::units::Bitrate;

impl Shard {
    /// Allocates the estimated bandwidth of a subscriber to the layers of its tracks.
    pub(super) fn allocate(&mut self, now: Instant, peer_ix: PeerIx) {
        let Shard {
            peers,
            tracks,
            events,
            ticks,
            counters,
            ..
        } = self;
        let Some(peer) = peers.get_mut(peer_ix) else {
            return;
        };
        let id = peer.id;
        let Some(subscriber) = peer.subscriber() else {
            return;
        };
        subscriber.estimator.handle_timeout(now);
        let Subscriber {
            slots,
            shares,
            estimator,
            beginnings,
            plain_audio,
            pace,
            ..
        } = subscriber;
        if std::mem::replace(beginnings, estimator.path_epoch()) != estimator.path_epoch() {
            shares.iter_mut().for_each(TrackAllocation::reset_hold);
        }
        for (slot, share) in slots.iter().zip(shares.iter_mut()) {
            (share.layers, share.peaks) = Default::default();
            let (Some(assigned), Some(track)) = (
                slot.assigned,
                slot.track.and_then(|track| tracks.get_mut(track)),
            ) else {
                continue;
            };
            (share.priority, share.max_layer) = (assigned.priority, assigned.max_layer);
            let demand = track
                .media
                .layer_rates(now, assigned.priority == Priority::Screen);
            (share.layers, share.peaks) = (demand.rates, demand.peaks);
        }
        let estimate = estimator.estimate().max(floor_without_audio(shares));
        *plain_audio = redundancy::exceeds_bandwidth(shares, estimate, *plain_audio);
        if *plain_audio {
            redundancy::strip_redundancy(shares);
        }
        let allocation = allocator::allocate(estimate, now, shares);
        estimator.set_wanted(allocation.wanted);
        pace.update(estimate, shares);
        let narrow = pace.is_active();
        for (position, (slot, share)) in slots.iter_mut().zip(shares).enumerate() {
            let Some(track) = slot.track.and_then(|track| tracks.get_mut(track)) else {
                continue;
            };
            let Some(forward) = track.fanout.get_mut(peer_ix, SlotIx::new(position)) else {
                continue;
            };
            forward.set_strip_red(*plain_audio);
            forward.set_paced(narrow && share.priority != Priority::Audio);
            if forward.target() != share.layer() {
                forward.set_target(share.layer());
                if let Some(layer) = share.layer() {
                    track.media.request_keyframe(layer);
                }
            }
            let state = (track.media.id, forward.current());
            if slot.reported != Some(state) {
                let (track, layer) = state;
                let event = Event::SlotLayer {
                    peer: id,
                    mid: slot.mid.clone(),
                    track,
                    layer,
                };
                // A dropped event is queued again at the next allocation.
                slot.reported = events.push(*ticks, event, counters).then_some(state);
            }
        }
        if narrow {
            self.begin_pacing(peer_ix);
        }
    }
}

/// Returns the minimum bandwidth of a subscriber without audio: that of the lowest layer of its most
/// important video. There is no audio to protect, and without any traffic the estimate could not
/// recover. Zero for a subscriber with audio.
fn floor_without_audio(shares: &[TrackAllocation<SlotIx>]) -> Bitrate {
    let lowest = |share: &TrackAllocation<SlotIx>| {
        share
            .layers
            .iter()
            .copied()
            .find(|rate| *rate > Bitrate::ZERO)
    };
    let flowing = shares.iter().filter(|share| lowest(share).is_some());
    let Some(first) = flowing
        .min_by_key(|share| share.priority)
        .filter(|share| share.priority != Priority::Audio)
    else {
        return Bitrate::ZERO;
    };
    // A quarter above it: the allocator's headroom for starting a layer.
    lowest(first).unwrap_or_default().scale(1.25)
}
