//! Which layer of what goes to a subscriber whose line does not carry everything.
//!
//! A pure function of the estimate and of what was decided before, which travels in the items. Everything wanted first gets its lowest
//! layer, in the order of [`Priority`]; what is then left goes into better layers, in the same order. What does not fit is skipped, so a
//! shared screen too big for the line does not take the teacher's picture with it.
//!
//! A shared screen comes in bursts: nothing for a minute, then a page. What it takes on average decides whether it is shown at all, for a burst is
//! [spread out](super::pace); in which layer is decided by its busiest second, which is how long a page takes to arrive.
//!
//! Going down happens at once, as a queue would build up. Going up needs headroom and a while without trouble, which doubles each time an
//! upgrade did not last: so a layer never flaps, and a picture that had to go stays away until it can stay.

use crate::index::MAX_LAYERS;
use crate::units::Bitrate;
use std::time::{Duration, Instant};

/// An upgrade has to leave an eighth of the estimate free: measured rates and the estimate itself swing by about a tenth.
const HEADROOM: f64 = 1.125;
/// A page that is turned may take this many seconds to arrive, where the busiest second of its layer brings it in one.
const BURST: f64 = 1.5;
/// A layer that is shown stays until its bursts take this many times as long: the estimate and pages differ that much.
const TOLERANCE: f64 = 2.0;
/// After a downgrade, no upgrade for this long: the estimate has then been through one rise and fall.
const HOLD: Duration = Duration::from_secs(4);
/// An upgrade that was taken back within this did not last.
const LASTING: Duration = Duration::from_secs(12);
/// The hold doubles this often at most: 4 s · 2² is a quarter of a minute. A picture that had to go comes back while its lesson is still on the same page.
const MAX_DOUBLINGS: u32 = 2;

/// What matters most when a line gets narrow, in falling order. Pages and ink travel as pages, not here: `Slides` is a shared screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Anybody's voice; it is sent even when nothing else is.
    Voice,
    /// A shared screen.
    Slides,
    /// The lead teacher's camera.
    LeadVideo,
    /// The room that was called on.
    Stage,
    /// The small pictures of all rooms.
    Wall,
}

/// In the order in which the line is given away.
const ORDER: [Priority; 5] = [
    Priority::Voice,
    Priority::Slides,
    Priority::LeadVideo,
    Priority::Stage,
    Priority::Wall,
];

/// One track that a subscriber wants, and what it gets of it. Keep the item from one allocation to the next.
#[derive(Clone, Debug)]
pub struct Item<K> {
    /// Whatever the caller knows it by.
    pub key: K,
    /// Its place in the order.
    pub priority: Priority,
    /// Measured bitrate of each layer, lowest first; zero for a layer that is not being sent.
    pub layers: [Bitrate; MAX_LAYERS],
    /// The same of the busiest second lately; no less than the above.
    pub peaks: [Bitrate; MAX_LAYERS],
    /// The highest layer that is of use: what fits the size of the picture on the page.
    pub max_layer: u8,
    layer: Option<u8>,
    /// No upgrade before this.
    hold_until: Option<Instant>,
    upgraded_at: Option<Instant>,
    /// Upgrades in a row that did not last.
    doublings: u32,
}

/// What an allocation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    /// The rate of everything that is sent.
    pub used: Bitrate,
    /// The estimate at which everything would be sent at its best; for [`super::estimator::Estimator::set_wanted`].
    pub wanted: Bitrate,
}

impl<K> Item<K> {
    /// A new item, paused; the first allocation may give it any layer.
    pub fn new(key: K, priority: Priority) -> Item<K> {
        Item {
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

    /// What was decided last; `None`: paused.
    pub fn layer(&self) -> Option<u8> {
        self.layer
    }

    /// Forgets what went wrong before: the line was cut and may be another one now.
    pub fn forgive(&mut self) {
        (self.hold_until, self.upgraded_at, self.doublings) = (None, None, 0);
    }

    fn rate(&self, layer: Option<u8>) -> Bitrate {
        layer
            .and_then(|layer| self.layers.get(usize::from(layer)))
            .copied()
            .unwrap_or(Bitrate::ZERO)
    }

    /// What has to be free for a layer: its rate, or its bursts spread out.
    fn need(&self, layer: u8) -> Bitrate {
        self.rate(Some(layer))
            .max(self.peaks[usize::from(layer)].scale(1.0 / BURST))
    }

    /// Layers that are being sent and of use, lowest first.
    fn usable(&self) -> impl DoubleEndedIterator<Item = u8> {
        let top = self.max_layer.min(MAX_LAYERS as u8 - 1);
        (0..=top).filter(|layer| self.rate(Some(*layer)) > Bitrate::ZERO)
    }

    fn decide(&mut self, layer: Option<u8>, now: Instant) {
        if layer > self.layer {
            self.upgraded_at = Some(now);
        } else if layer < self.layer {
            let lasted = self
                .upgraded_at
                .is_none_or(|upgraded| now >= upgraded + LASTING);
            self.doublings = if lasted {
                0
            } else {
                (self.doublings + 1).min(MAX_DOUBLINGS)
            };
            self.hold_until = Some(now + HOLD * 2u32.pow(self.doublings));
        }
        self.layer = layer;
    }

    fn is_held(&self, now: Instant) -> bool {
        self.hold_until.is_some_and(|until| now < until)
    }
}

/// Decides the layer of every item; ask [`Item::layer`].
pub fn allocate<K>(estimate: Bitrate, now: Instant, items: &mut [Item<K>]) -> Allocation {
    let mut line = Line {
        estimate,
        used: Bitrate::ZERO,
        reserved: Bitrate::ZERO,
        now,
    };
    for priority in ORDER {
        for item in items.iter_mut().filter(|item| item.priority == priority) {
            line.give_lowest(item);
        }
    }
    // Every running item now counts with its lowest layer; better ones replace that.
    for priority in ORDER {
        for item in items.iter_mut().filter(|item| item.priority == priority) {
            line.give_better(item);
        }
    }
    let best = items
        .iter()
        .filter_map(|item| item.usable().next_back().map(|layer| item.need(layer)));
    let wanted = best
        .fold(Bitrate::ZERO, |sum, rate| sum + rate)
        .scale(HEADROOM);
    Allocation {
        used: line.used,
        wanted,
    }
}

/// What is given away during one allocation.
struct Line {
    estimate: Bitrate,
    used: Bitrate,
    /// Kept free for the bursts of a better item, and for one that is on hold: a lesser one must not rise only to fall when they come.
    reserved: Bitrate,
    now: Instant,
}

impl Line {
    /// The lowest layer or a pause. Running items keep what they have above it until [`Line::give_better`].
    fn give_lowest<K>(&mut self, item: &mut Item<K>) {
        let Some(lowest) = item.usable().next() else {
            // Its source rests: that says nothing about the line, and is held against nobody.
            item.layer = None;
            return;
        };
        let rate = item.rate(Some(lowest));
        let fits = match (item.priority, item.layer) {
            (Priority::Voice, _) => true,
            (_, Some(_)) => self.fits(rate),
            (_, None) => self.fits_with_headroom(rate) && !item.is_held(self.now),
        };
        if !fits {
            if item.layer.is_none() && self.fits_with_headroom(rate) {
                self.reserved = self.reserved + rate;
            }
            return item.decide(None, self.now);
        }
        self.used = self.used + rate;
        if item.layer.is_none() {
            item.decide(Some(lowest), self.now);
        }
    }

    /// The highest layer that fits instead of the lowest.
    fn give_better<K>(&mut self, item: &mut Item<K>) {
        let (Some(current), Some(lowest)) = (item.layer, item.usable().next()) else {
            return;
        };
        let without = self.used.saturating_sub(item.rate(Some(lowest)));
        self.used = without;
        let keep = item
            .usable()
            .rev()
            .find(|layer| *layer <= current && self.carries(item, *layer));
        let rise = item
            .usable()
            .rev()
            .find(|layer| *layer > current && self.fits_with_headroom(item.need(*layer)));
        // A layer that ended leaves nothing at or below `current`; then whatever is lowest goes on.
        let keep = keep.unwrap_or(lowest);
        let layer = match rise {
            Some(rise) if !item.is_held(self.now) => rise,
            Some(rise) => {
                self.reserved = self.reserved + item.need(rise).saturating_sub(item.need(keep));
                keep
            }
            None => keep,
        };
        self.used = without + item.rate(Some(layer));
        self.reserved = self.reserved + item.need(layer).saturating_sub(item.rate(Some(layer)));
        item.decide(Some(layer), self.now);
    }

    /// Whether a layer that is sent can stay: it fits, and its bursts do not take too long.
    fn carries<K>(&self, item: &Item<K>, layer: u8) -> bool {
        let left = self.estimate.saturating_sub(self.used);
        self.fits(item.rate(Some(layer))) && item.need(layer) <= left.scale(TOLERANCE)
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
