//! Rollover estimation and replay protection of one SSRC (RFC 3711 §3.3.1, §3.3.2, appendix A).

use crate::units::SeqNo;

/// Size of the replay window in packets. RFC 3711 requires at least 64; a u128 costs the same.
pub(super) const WINDOW: u64 = 128;

/// The highest authenticated index, and one bit for each of the [`WINDOW`] indices up to it.
#[derive(Clone, Copy)]
pub(super) struct Window {
    highest: u64,
    /// Bit n: index `highest - n` has been seen.
    seen: u128,
}

impl Window {
    /// Makes a window after the first packet, `index`, was authenticated.
    pub(super) fn starting_at(index: u64) -> Window {
        Window {
            highest: index,
            seen: 1,
        }
    }

    /// Estimates the index of a packet with this sequence number: the one nearest to the highest
    /// (RFC 3711 §3.3.1).
    pub(super) fn estimate(&self, wire: u16) -> SeqNo {
        SeqNo(self.highest).nearest(wire)
    }

    /// Returns true if `index` is neither a replay nor older than the window.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(age) => age < WINDOW && self.seen & (1 << age) == 0,
        }
    }

    /// Marks `index` as seen. Call it only for authenticated packets: a forged packet must not move
    /// the window.
    pub(super) fn accept(&mut self, index: u64) {
        match self.highest.checked_sub(index) {
            Some(age) if age < WINDOW => self.seen |= 1 << age,
            Some(_) => {}
            None => {
                let ahead = index - self.highest;
                self.seen = if ahead < WINDOW {
                    self.seen << ahead | 1
                } else {
                    1
                };
                self.highest = index;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_fresh_once() {
        let mut window = Window::starting_at(1000);
        assert!(!window.is_fresh(1000));
        assert!(window.is_fresh(999));
        window.accept(999);
        assert!(!window.is_fresh(999));
        assert!(window.is_fresh(1001));
    }

    #[test]
    fn a_packet_older_than_the_window_is_never_fresh() {
        let mut window = Window::starting_at(1000);
        window.accept(1000 + WINDOW);
        assert!(!window.is_fresh(1000));
        assert!(window.is_fresh(1001));
        window.accept(5000);
        assert!(!window.is_fresh(1001));
        assert!(window.is_fresh(5000 - WINDOW + 1));
        assert!(!window.is_fresh(5000 - WINDOW));
    }

    #[test]
    fn the_rollover_is_counted_through_loss_and_reordering_at_the_wrap() {
        let mut window = Window::starting_at(65_530);
        // 65535 and 0 are lost; 3 is the first after the wrap, then 65534 arrives late.
        assert_eq!(window.estimate(3), SeqNo(65_539));
        window.accept(65_539);
        assert_eq!(window.estimate(65_534), SeqNo(65_534));
        assert!(window.is_fresh(65_534));
        window.accept(65_534);
        assert_eq!(window.estimate(4).rollover(), 1);
    }
}
