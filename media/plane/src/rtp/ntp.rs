//! Wall-clock time in sender and receiver reports (RFC 3550 §4).

use std::time::{Duration, Instant};

/// Seconds from the NTP epoch, 1900-01-01, to the Unix epoch, 1970-01-01 (RFC 868).
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;

/// NTP timestamp in Q32.32: seconds since 1900 in the high word, their fraction in the low word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Converts a duration since the Unix epoch. The seconds wrap in 2036, as in the wire format.
    pub fn from_unix(since_epoch: Duration) -> NtpTime {
        let seconds = since_epoch.as_secs().wrapping_add(UNIX_EPOCH_IN_NTP) & 0xffff_ffff;
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
        NtpTime(seconds << 32 | fraction)
    }

    /// The middle 32 bits in units of 1/65536 s, the unit of LSR and DLSR (RFC 3550 §6.4.1).
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// Maps the plane's monotonic clock to the wall clock of sender reports. The wall clock is read
/// once, when the plane starts: a clock adjustment during a lesson would break lip sync.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    base: Instant,
    unix_at_base: Duration,
}

impl WallClock {
    /// Creates the mapping. `unix_at_base` is the time since the Unix epoch at `base`.
    pub fn new(base: Instant, unix_at_base: Duration) -> WallClock {
        WallClock { base, unix_at_base }
    }

    /// The wall-clock time at `now`; an instant before `base` counts as `base`.
    pub fn ntp(&self, now: Instant) -> NtpTime {
        NtpTime::from_unix(self.unix_at_base + now.saturating_duration_since(self.base))
    }
}

/// Converts a duration to units of 1/65536 s, the unit of DLSR; saturates after 18 hours.
pub fn to_short(duration: Duration) -> u32 {
    u32::try_from((duration.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// Converts units of 1/65536 s to a duration.
pub fn from_short(units: u32) -> Duration {
    Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16)
}

/// Computes the round-trip time from a report block about our stream:
/// arrival − LSR − DLSR (RFC 3550 §6.4.1).
///
/// Returns `None` if the peer has not received a sender report yet (LSR is zero), or if the result
/// is negative.
pub fn round_trip_time(
    arrival: NtpTime,
    last_sr: u32,
    delay_since_last_sr: u32,
) -> Option<Duration> {
    if last_sr == 0 {
        return None;
    }
    let units = arrival
        .middle()
        .wrapping_sub(last_sr)
        .wrapping_sub(delay_since_last_sr);
    // A peer with a fast clock can report a DLSR longer than the real delay; the result wraps to
    // almost 2³².
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
    fn the_round_trip_time_is_computed_from_a_report_block() {
        let sent = NtpTime::from_unix(Duration::from_secs(1_800_000_000));
        let arrival = NtpTime::from_unix(Duration::from_millis(1_800_000_000_350));
        let rtt =
            round_trip_time(arrival, sent.middle(), to_short(Duration::from_millis(250))).unwrap();
        assert!(
            rtt.abs_diff(Duration::from_millis(100)) < Duration::from_millis(1),
            "{rtt:?}"
        );
        assert_eq!(round_trip_time(arrival, 0, 0), None);
        assert_eq!(
            round_trip_time(arrival, sent.middle(), to_short(Duration::from_secs(2))),
            None
        );
    }
}
