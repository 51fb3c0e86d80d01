//! How fast pictures go to a subscriber whose line is narrow.
//!
//! A keyframe or a page of a screen is a burst of up to a hundred packets. Sent at once into a narrow line it stands there as a queue, and every
//! voice that comes after waits behind it for a second. So there pictures wait in their ring, which holds them anyway, and leave as fast
//! as the estimate allows; voices and retransmissions do not wait. On a wide line a burst is over before anybody notices, and nothing is counted.

use std::time::{Duration, Instant};

use super::allocator::{Item, Priority};
use super::budget::Bucket;
use crate::units::Bitrate;

/// A line that is believed to carry less than this is paced: there a keyframe of 50 kB takes a quarter of a second.
const NARROW: Bitrate = Bitrate::kbps(1_500);
/// One that is paced stays so up to here.
const WIDE: Bitrate = Bitrate::kbps(2_000);
/// What may be put aside: three ticks of the shard, as a busy thread comes late.
const SAVED: Duration = Duration::from_millis(30);

/// The pace of one subscriber's pictures.
#[derive(Debug, Default)]
pub struct Pace {
    narrow: bool,
    rate: Bitrate,
    bucket: Bucket,
}

impl Pace {
    /// Takes the estimate, and what of it the voices among `shares` take.
    pub fn set<K>(&mut self, estimate: Bitrate, shares: &[Item<K>]) {
        let voices = shares
            .iter()
            .filter(|share| share.priority == Priority::Voice);
        let voices = voices.fold(Bitrate::ZERO, |sum, share| sum + share.layers[0]);
        self.narrow = estimate < if self.narrow { WIDE } else { NARROW };
        // A voice never leaves nothing: what waits has to leave in the end.
        self.rate = estimate.saturating_sub(voices).max(estimate.scale(0.1));
    }

    /// Whether pictures have to wait for their turn.
    pub fn is_narrow(&self) -> bool {
        self.narrow
    }

    /// Whether another packet of a picture may leave now.
    pub fn has_any(&mut self, now: Instant) -> bool {
        self.bucket.has_any(now, self.rate, SAVED)
    }

    /// Counts a packet of a picture, or one that took its place.
    pub fn spend(&mut self, bytes: usize) {
        self.bucket.spend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    fn shares() -> [Item<usize>; 2] {
        let mut voice = Item::new(0, Priority::Voice);
        voice.layers[0] = Bitrate::kbps(80);
        let mut picture = Item::new(1, Priority::Slides);
        picture.layers[0] = Bitrate::kbps(200);
        [voice, picture]
    }

    #[test]
    fn a_page_of_40_kilobytes_leaves_within_a_second_on_a_line_of_400_kilobits() {
        let (mut pace, start) = (Pace::default(), virtual_time::start());
        pace.set(Bitrate::kbps(400), &shares());
        assert!(pace.is_narrow());
        let (mut sent, mut most) = (0, 0);
        for tick in 0..100 {
            let (now, before) = (start + Duration::from_millis(10) * tick, sent);
            while pace.has_any(now) {
                pace.spend(1_100);
                sent += 1_100;
            }
            most = most.max(sent - before);
        }
        // 320 kbit/s beside the voice.
        assert!(
            (39_000..=42_000).contains(&sent),
            "{sent} bytes in a second"
        );
        assert!(most <= 3_300, "{most} bytes at once");
    }

    #[test]
    fn a_line_at_the_border_does_not_change_its_mind_with_every_estimate() {
        let mut pace = Pace::default();
        let mut narrow = |kbps| {
            pace.set(Bitrate::kbps(kbps), &shares());
            pace.is_narrow()
        };
        assert_eq!(
            [2_000, 1_600, 1_400, 1_600, 2_100, 1_600].map(&mut narrow),
            [false, false, true, true, false, false]
        );
    }
}
