//! Pacing of video to subscribers on slow links.
//!
//! A keyframe or a page of a screen is a burst of up to a hundred packets. Sent at once over a slow
//! link, it forms a queue that delays audio by a second. So below 1.5 Mbit/s video packets
//! wait in their ring and leave at the estimated rate; audio and retransmissions are not paced. On
//! a fast link a burst is short, and nothing is paced or counted.

use std::time::{Duration, Instant};

use super::allocator::{Priority, TrackAllocation};
use super::resend_budget::TokenBucket;
use crate::units::Bitrate;

/// Estimate below which pacing starts: there a keyframe of 50 kB takes a quarter of a second.
const ACTIVATE_BELOW: Bitrate = Bitrate::kbps(1_500);
/// Estimate above which pacing stops.
const DEACTIVATE_ABOVE: Bitrate = Bitrate::kbps(2_000);
/// Burst capacity: three ticks of the shard, because a busy thread can be late.
const BURST_CAPACITY: Duration = Duration::from_millis(30);

/// Pacer of one subscriber's video packets.
#[derive(Debug, Default)]
pub struct Pacer {
    active: bool,
    rate: Bitrate,
    bucket: TokenBucket,
}

impl Pacer {
    /// Sets the rate from the estimate and the audio rates in `tracks`.
    pub fn update<K>(&mut self, estimate: Bitrate, tracks: &[TrackAllocation<K>]) {
        let audio = tracks
            .iter()
            .filter(|track| track.priority == Priority::Audio);
        let audio = audio.fold(Bitrate::ZERO, |sum, track| sum + track.layers[0]);
        self.active = estimate
            < if self.active {
                DEACTIVATE_ABOVE
            } else {
                ACTIVATE_BELOW
            };
        // Keep at least 10 % for video so that queued packets drain even if audio uses the whole
        // estimate.
        self.rate = estimate.saturating_sub(audio).max(estimate.scale(0.1));
    }

    /// Returns true if video packets are paced.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Returns true if a video packet can be sent now.
    pub fn can_send(&mut self, now: Instant) -> bool {
        self.bucket.has_tokens(now, self.rate, BURST_CAPACITY)
    }

    /// Consumes the tokens of a sent video packet, retransmission or padding.
    pub fn consume(&mut self, bytes: usize) {
        self.bucket.consume(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    fn tracks() -> [TrackAllocation<usize>; 2] {
        let mut audio = TrackAllocation::new(0, Priority::Audio);
        audio.layers[0] = Bitrate::kbps(80);
        let mut screen = TrackAllocation::new(1, Priority::Screen);
        screen.layers[0] = Bitrate::kbps(200);
        [audio, screen]
    }

    #[test]
    fn a_page_of_40_kilobytes_is_sent_within_a_second_at_400_kbit() {
        let (mut pacer, start) = (Pacer::default(), virtual_time::start());
        pacer.update(Bitrate::kbps(400), &tracks());
        assert!(pacer.is_active());
        let (mut sent, mut most) = (0, 0);
        for tick in 0..100 {
            let (now, before) = (start + Duration::from_millis(10) * tick, sent);
            while pacer.can_send(now) {
                pacer.consume(1_100);
                sent += 1_100;
            }
            most = most.max(sent - before);
        }
        // 320 kbit/s, the rest is audio.
        assert!(
            (39_000..=42_000).contains(&sent),
            "{sent} bytes in a second"
        );
        assert!(most <= 3_300, "{most} bytes at once");
    }

    #[test]
    fn an_estimate_near_the_threshold_does_not_toggle_pacing() {
        let mut pacer = Pacer::default();
        let mut active = |kbps| {
            pacer.update(Bitrate::kbps(kbps), &tracks());
            pacer.is_active()
        };
        assert_eq!(
            [2_000, 1_600, 1_400, 1_600, 2_100, 1_600].map(&mut active),
            [false, false, true, true, false, false]
        );
    }
}
