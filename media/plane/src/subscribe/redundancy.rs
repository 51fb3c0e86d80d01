//! Redundant audio (RED, RFC 2198) per subscriber, enabled by bandwidth.
//!
//! A copy of the previous frame repairs a loss without a round trip, but doubles the bitrate. On a
//! congested link it increases the queue, and the next packets are lost. There the in-band FEC of
//! Opus must suffice.

use super::allocator::{Priority, TrackAllocation};
use crate::units::Bitrate;

/// Share of the estimate up to which audio with redundancy stays enabled.
const DISABLE_ABOVE: f64 = 0.7;
/// Share of the estimate below which redundancy is enabled again: the estimate of a slow link
/// varies by a third.
const ENABLE_BELOW: f64 = 0.45;
/// Rate without redundancy relative to the rate with it: browsers send one copy.
const PLAIN_RATE: f64 = 0.5;

/// Returns true if redundancy must be disabled. The audio rates in `tracks` include redundancy;
/// `disabled` is the current state.
pub fn exceeds_bandwidth<K>(
    tracks: &[TrackAllocation<K>],
    estimate: Bitrate,
    disabled: bool,
) -> bool {
    let audio = tracks
        .iter()
        .filter(|track| track.priority == Priority::Audio);
    let all = audio.fold(Bitrate::ZERO, |sum, track| sum + track.layers[0]);
    all > estimate.scale(if disabled {
        ENABLE_BELOW
    } else {
        DISABLE_ABOVE
    })
}

/// Replaces the audio rates by those without redundancy.
pub fn strip_redundancy<K>(tracks: &mut [TrackAllocation<K>]) {
    for track in tracks
        .iter_mut()
        .filter(|track| track.priority == Priority::Audio)
    {
        (track.layers, track.peaks) = (
            track.layers.map(|rate| rate.scale(PLAIN_RATE)),
            Default::default(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson(audio_kbps: &[u64]) -> Vec<TrackAllocation<usize>> {
        let mut tracks = vec![TrackAllocation::new(0, Priority::LeadVideo)];
        tracks[0].layers[0] = Bitrate::kbps(900);
        for (nth, kbps) in audio_kbps.iter().enumerate() {
            let mut audio = TrackAllocation::new(nth + 1, Priority::Audio);
            audio.layers[0] = Bitrate::kbps(*kbps);
            tracks.push(audio);
        }
        tracks
    }

    #[test]
    fn a_village_school_at_100_kbit_gets_plain_audio_and_one_at_400_redundant_audio() {
        assert!(exceeds_bandwidth(&lesson(&[80]), Bitrate::kbps(100), false));
        assert!(!exceeds_bandwidth(
            &lesson(&[80]),
            Bitrate::kbps(400),
            false
        ));
        assert!(
            exceeds_bandwidth(&lesson(&[80; 4]), Bitrate::kbps(400), false),
            "four audio tracks"
        );
    }

    #[test]
    fn a_varying_estimate_does_not_toggle_redundancy() {
        assert!(exceeds_bandwidth(&lesson(&[80]), Bitrate::kbps(150), true));
        assert!(!exceeds_bandwidth(
            &lesson(&[80]),
            Bitrate::kbps(150),
            false
        ));
        assert!(!exceeds_bandwidth(&lesson(&[80]), Bitrate::kbps(200), true));
    }

    #[test]
    fn only_audio_rates_change() {
        let mut tracks = lesson(&[80]);
        strip_redundancy(&mut tracks);
        assert_eq!(
            [tracks[0].layers[0], tracks[1].layers[0]],
            [Bitrate::kbps(900), Bitrate::kbps(40)]
        );
    }
}
