//! Whether voices carry redundant copies of themselves (RED, RFC 2198) to a subscriber.
//!
//! A copy of the packet before brings a voice over a lossy line without a round trip, at twice its rate. On a line that is full it does
//! harm: it fills the queue in which the next packet is lost. There Opus' own error correction, which is part of each packet, has to do.

use super::allocator::{Item, Priority};
use crate::units::Bitrate;

/// Part of the line that voices may take with their copies.
const FIT: f64 = 0.7;
/// They get their copies back when they would take no more than this: the estimate of a narrow line swings by a third.
const FIT_AGAIN: f64 = 0.45;
/// What is left of a voice without its copies: browsers send one.
const PLAIN: f64 = 0.5;

/// Whether the voices among `shares`, whose rates are those with copies, must do without. `off`: they do already.
pub fn do_not_fit<K>(shares: &[Item<K>], estimate: Bitrate, off: bool) -> bool {
    let voices = shares
        .iter()
        .filter(|share| share.priority == Priority::Voice);
    let all = voices.fold(Bitrate::ZERO, |sum, share| sum + share.layers[0]);
    all > estimate.scale(if off { FIT_AGAIN } else { FIT })
}

/// Sets the voices' rates to those without copies.
pub fn take_off<K>(shares: &mut [Item<K>]) {
    for share in shares
        .iter_mut()
        .filter(|share| share.priority == Priority::Voice)
    {
        (share.layers, share.peaks) = (
            share.layers.map(|rate| rate.scale(PLAIN)),
            Default::default(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson(voices: &[u64]) -> Vec<Item<usize>> {
        let mut shares = vec![Item::new(0, Priority::LeadVideo)];
        shares[0].layers[0] = Bitrate::kbps(900);
        for (nth, kbps) in voices.iter().enumerate() {
            let mut voice = Item::new(nth + 1, Priority::Voice);
            voice.layers[0] = Bitrate::kbps(*kbps);
            shares.push(voice);
        }
        shares
    }

    #[test]
    fn a_village_at_100_kbit_hears_plain_voices_and_one_at_400_hears_them_twice() {
        assert!(do_not_fit(&lesson(&[80]), Bitrate::kbps(100), false));
        assert!(!do_not_fit(&lesson(&[80]), Bitrate::kbps(400), false));
        assert!(
            do_not_fit(&lesson(&[80; 4]), Bitrate::kbps(400), false),
            "four voices at once"
        );
    }

    #[test]
    fn an_estimate_that_swings_does_not_change_the_voices_each_time() {
        assert!(do_not_fit(&lesson(&[80]), Bitrate::kbps(150), true));
        assert!(!do_not_fit(&lesson(&[80]), Bitrate::kbps(150), false));
        assert!(!do_not_fit(&lesson(&[80]), Bitrate::kbps(200), true));
    }

    #[test]
    fn only_voices_shrink() {
        let mut shares = lesson(&[80]);
        take_off(&mut shares);
        assert_eq!(
            [shares[0].layers[0], shares[1].layers[0]],
            [Bitrate::kbps(900), Bitrate::kbps(40)]
        );
    }
}
