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
            allocations,
            estimator,
            path_epoch,
            plain_audio,
            pacer,
            ..
        } = subscriber;
        if std::mem::replace(path_epoch, estimator.path_epoch()) != estimator.path_epoch() {
            allocations.iter_mut().for_each(TrackAllocation::reset_hold);
        }
        for (slot, item) in slots.iter().zip(allocations.iter_mut()) {
            (item.layers, item.peaks) = Default::default();
            let (Some(assigned), Some(track)) = (
                slot.assigned,
                slot.track.and_then(|track| tracks.get_mut(track)),
            ) else {
                continue;
            };
            (item.priority, item.max_layer) = (assigned.priority, assigned.max_layer);
            let demand = track
                .media
                .layer_rates(now, assigned.priority == Priority::Screen);
            (item.layers, item.peaks) = (demand.rates, demand.peaks);
        }
        let estimate = estimator.estimate().max(floor_without_audio(allocations));
        *plain_audio = redundancy::exceeds_bandwidth(allocations, estimate, *plain_audio);
        if *plain_audio {
            redundancy::strip_redundancy(allocations);
        }
        let total = allocator::allocate(estimate, now, allocations);
        estimator.set_wanted(total.wanted);
        pacer.update(estimate, allocations);
        let paced = pacer.is_active();
        for (position, (slot, item)) in slots.iter_mut().zip(allocations).enumerate() {
            let Some(track) = slot.track.and_then(|track| tracks.get_mut(track)) else {
                continue;
            };
            let Some(forwarder) = track.fanout.get_mut(peer_ix, SlotIx::new(position)) else {
                continue;
            };
            forwarder.set_strip_red(*plain_audio);
            forwarder.set_paced(paced && item.priority != Priority::Audio);
            if forwarder.target() != item.layer() {
                forwarder.set_target(item.layer());
                if let Some(layer) = item.layer() {
                    track.media.request_keyframe(layer);
                }
            }
            let state = (track.media.id, forwarder.current());
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
        if paced {
            self.begin_pacing(peer_ix);
        }
    }
}

/// Returns the minimum bandwidth of a subscriber without audio: that of the lowest layer of its
/// most important video. There is no audio to protect, and without any traffic the estimate could
/// not recover. Zero for a subscriber with audio.
fn floor_without_audio(allocations: &[TrackAllocation<SlotIx>]) -> Bitrate {
    let lowest = |item: &TrackAllocation<SlotIx>| {
        item.layers
            .iter()
            .copied()
            .find(|rate| *rate > Bitrate::ZERO)
    };
    let flowing = allocations.iter().filter(|item| lowest(item).is_some());
    let Some(first) = flowing
        .min_by_key(|item| item.priority)
        .filter(|item| item.priority != Priority::Audio)
    else {
        return Bitrate::ZERO;
    };
    // A quarter above it: more than the headroom that the allocator requires to start a layer.
    lowest(first).unwrap_or_default().scale(1.25)
}
