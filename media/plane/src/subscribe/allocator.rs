//! Simulcast layer allocation under a bandwidth limit.
//!
//! The allocation is a function of the estimate and of the previous allocation, which is part of
//! [`TrackAllocation`]. Every track first gets its lowest layer, in the order of [`Priority`]; the
//! remaining bandwidth upgrades layers in the same order. A track that does not fit is skipped, so
//! a shared screen that exceeds the bandwidth does not pause the teacher's camera.
//!
//! A shared screen is bursty: a page after a minute without packets. Its mean rate decides whether
//! it is shown, because the [pacer](super::pacer) spreads the burst. The rate of its busiest second
//! decides the layer, because it determines how long a page takes to arrive.
//!
//! Downgrades are immediate, because a queue would build up. Upgrades need headroom and a hold
//! time, which doubles after each upgrade that did not last. So layers do not flap, and a paused
//! video resumes only if it can stay.

use crate::index::MAX_LAYERS;
use crate::units::Bitrate;
use std::time::{Duration, Instant};

/// An upgrade must leave an eighth of the estimate free: measured rates and the estimate vary by
/// about a tenth.
const HEADROOM: f64 = 1.125;
/// Maximum duration of a page burst, relative to the busiest second of its layer.
const MAX_BURST: f64 = 1.5;
/// Factor on [`MAX_BURST`] for a layer that is already sent: the estimate and the pages vary that
/// much.
const BURST_TOLERANCE: f64 = 2.0;
/// Time without upgrades after a downgrade: one increase and decrease of the estimate.
const HOLD_TIME: Duration = Duration::from_secs(4);
/// Time after which an upgrade counts as lasting.
const LASTING_AFTER: Duration = Duration::from_secs(12);
/// Maximum number of doublings of the hold time: 4 s · 2² = 16 s, so that a paused video resumes
/// while the lesson is on the same page.
const MAX_DOUBLINGS: u32 = 2;

/// Allocation priority, highest first. Pages of a deck and ink are not media; `Screen` is a shared
/// screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Audio of any participant; sent even if it exceeds the estimate.
    Audio,
    /// Shared screen.
    Screen,
    /// Camera of the lead teacher.
    LeadVideo,
    /// Room on stage.
    Stage,
    /// Thumbnails of all rooms.
    Wall,
}

/// Order of the allocation.
const ALLOCATION_ORDER: [Priority; 5] = [
    Priority::Audio,
    Priority::Screen,
    Priority::LeadVideo,
    Priority::Stage,
    Priority::Wall,
];

/// Track wanted by a subscriber, with its allocated layer. The state of one allocation is input of
/// the next.
#[derive(Clone, Debug)]
pub struct TrackAllocation<K> {
    /// Key chosen by the caller.
    pub key: K,
    /// Priority of the track.
    pub priority: Priority,
    /// Measured bitrate of each layer, lowest first; zero for an inactive layer.
    pub layers: [Bitrate; MAX_LAYERS],
    /// Rate of the busiest recent second, at least that of `layers`.
    pub peaks: [Bitrate; MAX_LAYERS],
    /// Highest useful layer for the size at which the client shows the track.
    pub max_layer: u8,
    layer: Option<u8>,
    /// No upgrade before this time.
    hold_until: Option<Instant>,
    upgraded_at: Option<Instant>,
    /// Number of consecutive upgrades that did not last.
    doublings: u32,
}

/// Result of an allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    /// Total rate of the allocated layers.
    pub used: Bitrate,
    /// Estimate that would allow the best layer of every track; input of
    /// [`super::estimator::Estimator::set_wanted`].
    pub wanted: Bitrate,
}

impl<K> TrackAllocation<K> {
    /// Creates a paused track; its first allocation can select any layer.
    pub fn new(key: K, priority: Priority) -> TrackAllocation<K> {
        TrackAllocation {
            key,
            priority,
            layers: [Bitrate::ZERO; MAX_LAYERS],
            peaks: [Bitrate::ZERO; MAX_LAYERS],
            max_layer: MAX_LAYERS as u8 - 1,
            layer: None,
            hold_until: None,
            upgraded_at: None,
            doublings: 0,
        }
    }

    /// Allocated layer; `None` if paused.
    pub fn layer(&self) -> Option<u8> {
        self.layer
    }

    /// Clears hold time and doublings, because the network path may have changed.
    pub fn reset_hold(&mut self) {
        (self.hold_until, self.upgraded_at, self.doublings) = (None, None, 0);
    }

    fn rate(&self, layer: Option<u8>) -> Bitrate {
        layer
            .and_then(|layer| self.layers.get(usize::from(layer)))
            .copied()
            .unwrap_or(Bitrate::ZERO)
    }

    /// Rate that a layer requires: its mean rate, or its bursts spread over [`MAX_BURST`].
    fn required_rate(&self, layer: u8) -> Bitrate {
        self.rate(Some(layer))
            .max(self.peaks[usize::from(layer)].scale(1.0 / MAX_BURST))
    }

    /// Active layers up to `max_layer`, lowest first.
    fn usable_layers(&self) -> impl DoubleEndedIterator<Item = u8> {
        let top = self.max_layer.min(MAX_LAYERS as u8 - 1);
        (0..=top).filter(|layer| self.rate(Some(*layer)) > Bitrate::ZERO)
    }

    fn set_layer(&mut self, layer: Option<u8>, now: Instant) {
        if layer > self.layer {
            self.upgraded_at = Some(now);
        } else if layer < self.layer {
            let lasted = self
                .upgraded_at
                .is_none_or(|upgraded| now >= upgraded + LASTING_AFTER);
            self.doublings = if lasted {
                0
            } else {
                (self.doublings + 1).min(MAX_DOUBLINGS)
            };
            self.hold_until = Some(now + HOLD_TIME * 2u32.pow(self.doublings));
        }
        self.layer = layer;
    }

    fn is_on_hold(&self, now: Instant) -> bool {
        self.hold_until.is_some_and(|until| now < until)
    }
}

/// Allocates a layer to every track; see [`TrackAllocation::layer`].
pub fn allocate<K>(
    estimate: Bitrate,
    now: Instant,
    tracks: &mut [TrackAllocation<K>],
) -> Allocation {
    let mut budget = Budget {
        estimate,
        used: Bitrate::ZERO,
        reserved: Bitrate::ZERO,
        now,
    };
    for priority in ALLOCATION_ORDER {
        for track in tracks.iter_mut().filter(|track| track.priority == priority) {
            budget.allocate_base_layer(track);
        }
    }
    // Every running track now counts with its lowest layer; an upgrade replaces that.
    for priority in ALLOCATION_ORDER {
        for track in tracks.iter_mut().filter(|track| track.priority == priority) {
            budget.allocate_upgrade(track);
        }
    }
    let best = tracks.iter().filter_map(|track| {
        track
            .usable_layers()
            .next_back()
            .map(|layer| track.required_rate(layer))
    });
    let wanted = best
        .fold(Bitrate::ZERO, |sum, rate| sum + rate)
        .scale(HEADROOM);
    Allocation {
        used: budget.used,
        wanted,
    }
}

/// Bandwidth during one allocation.
struct Budget {
    estimate: Bitrate,
    used: Bitrate,
    /// Reserved for bursts of a higher-priority track and for a track on hold, so that a
    /// lower-priority track is not upgraded and downgraded again.
    reserved: Bitrate,
    now: Instant,
}

impl Budget {
    /// Allocates the lowest layer or pauses the track. A running track keeps its layer until
    /// [`Budget::allocate_upgrade`].
    fn allocate_base_layer<K>(&mut self, track: &mut TrackAllocation<K>) {
        let Some(lowest) = track.usable_layers().next() else {
            // An inactive source says nothing about the bandwidth, so it starts no hold time.
            track.layer = None;
            return;
        };
        let rate = track.rate(Some(lowest));
        let fits = match (track.priority, track.layer) {
            (Priority::Audio, _) => true,
            (_, Some(_)) => self.fits(rate),
            (_, None) => self.fits_with_headroom(rate) && !track.is_on_hold(self.now),
        };
        if !fits {
            if track.layer.is_none() && self.fits_with_headroom(rate) {
                self.reserved = self.reserved + rate;
            }
            return track.set_layer(None, self.now);
        }
        self.used = self.used + rate;
        if track.layer.is_none() {
            track.set_layer(Some(lowest), self.now);
        }
    }

    /// Allocates the highest layer that fits in place of the lowest.
    fn allocate_upgrade<K>(&mut self, track: &mut TrackAllocation<K>) {
        let (Some(current), Some(lowest)) = (track.layer, track.usable_layers().next()) else {
            return;
        };
        let without = self.used.saturating_sub(track.rate(Some(lowest)));
        self.used = without;
        let keep = track
            .usable_layers()
            .rev()
            .find(|layer| *layer <= current && self.sustains(track, *layer));
        let rise = track
            .usable_layers()
            .rev()
            .find(|layer| *layer > current && self.fits_with_headroom(track.required_rate(*layer)));
        // If the current layer ended and no layer below it fits, the lowest active one is sent.
        let keep = keep.unwrap_or(lowest);
        let layer = match rise {
            Some(rise) if !track.is_on_hold(self.now) => rise,
            Some(rise) => {
                self.reserved = self.reserved
                    + track
                        .required_rate(rise)
                        .saturating_sub(track.required_rate(keep));
                keep
            }
            None => keep,
        };
        self.used = without + track.rate(Some(layer));
        self.reserved = self.reserved
            + track
                .required_rate(layer)
                .saturating_sub(track.rate(Some(layer)));
        track.set_layer(Some(layer), self.now);
    }

    /// Returns true if a sent layer can stay: it fits, and its bursts do not take too long.
    fn sustains<K>(&self, track: &TrackAllocation<K>, layer: u8) -> bool {
        let left = self.estimate.saturating_sub(self.used);
        self.fits(track.rate(Some(layer)))
            && track.required_rate(layer) <= left.scale(BURST_TOLERANCE)
    }

    fn fits(&self, rate: Bitrate) -> bool {
        self.used + rate <= self.estimate
    }

    fn fits_with_headroom(&self, rate: Bitrate) -> bool {
        (self.used + self.reserved + rate).scale(HEADROOM) <= self.estimate
    }
}

#[cfg(test)]
mod tests;
