//! Wall-clock time of sender and receiver reports (RFC 3550 §4).

use std::time::{Duration, Instant};

/// Seconds from 1900-01-01, where NTP counts from, to 1970-01-01 (RFC 868 names the number).
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;

/// NTP time as Q32.32: seconds since 1900 in the high word, their fraction in the low one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// From a duration since the Unix epoch. The seconds wrap in 2036, as the wire format does.
    pub fn from_unix(since_epoch: Duration) -> NtpTime {
        let seconds = since_epoch.as_secs().wrapping_add(UNIX_EPOCH_IN_NTP) & 0xffff_ffff;
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
        NtpTime(seconds << 32 | fraction)
    }

    /// The middle 32 bits, in units of 1/65536 s: what LSR and DLSR count in (RFC 3550 §6.4.1).
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// Ties the monotonic clock, which the plane is told, to the wall clock that reports carry. Read once when the plane starts, so that
/// a clock that is set in mid-lesson does not tear sound from picture.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    base: Instant,
    unix_at_base: Duration,
}

impl WallClock {
    /// `unix_at_base` is the time since the Unix epoch at the moment `base`.
    pub fn new(base: Instant, unix_at_base: Duration) -> WallClock {
        WallClock { base, unix_at_base }
    }

    /// The wall-clock time at `now`; a moment before `base` counts as `base`.
    pub fn ntp(&self, now: Instant) -> NtpTime {
        NtpTime::from_unix(self.unix_at_base + now.saturating_duration_since(self.base))
    }
}

/// A duration in units of 1/65536 s, as DLSR has it; saturates after 18 hours.
pub fn short(duration: Duration) -> u32 {
    u32::try_from((duration.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// The duration that `units` of 1/65536 s stand for.
pub fn from_short(units: u32) -> Duration {
    Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16)
}

/// Round-trip time from a report block that answers our sender report (RFC 3550 §6.4.1): arrival − LSR − DLSR.
///
/// `None` when the peer has not seen a report of ours yet (LSR zero), or its figures are impossible.
pub fn round_trip(arrival: NtpTime, last_sr: u32, delay_since_last_sr: u32) -> Option<Duration> {
    if last_sr == 0 {
        return None;
    }
    let units = arrival
        .middle()
        .wrapping_sub(last_sr)
        .wrapping_sub(delay_since_last_sr);
    // A peer whose clock runs a little fast may claim to have waited longer than we did: that wraps to nearly 2³².
    (units < 1 << 31).then(|| from_short(units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unix_epoch_is_seventy_years_into_ntp_time() {
        assert_eq!(NtpTime::from_unix(Duration::ZERO).0 >> 32, 2_208_988_800);
        assert_eq!(
            NtpTime::from_unix(Duration::from_millis(500)).0 as u32,
            1 << 31
        );
    }

    #[test]
    fn a_report_that_comes_back_tells_the_round_trip() {
        let sent = NtpTime::from_unix(Duration::from_secs(1_800_000_000));
        let arrival = NtpTime::from_unix(Duration::from_millis(1_800_000_000_350));
        let rtt = round_trip(arrival, sent.middle(), short(Duration::from_millis(250))).unwrap();
        assert!(
            rtt.abs_diff(Duration::from_millis(100)) < Duration::from_millis(1),
            "{rtt:?}"
        );
        assert_eq!(round_trip(arrival, 0, 0), None);
        assert_eq!(
            round_trip(arrival, sent.middle(), short(Duration::from_secs(2))),
            None
        );
    }
}
