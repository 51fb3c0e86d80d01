//! Send state of a connected peer: the fields that every outgoing packet touches, side by side.

use std::time::{Duration, Instant};

use crate::subscribe::estimator::Estimator;
use crate::transport::Path;
use crate::transport::srtp::RtpSealer;

/// Number of sent packets that are recorded before the estimator reads them. Its memory is cold
/// during a forwarding pass and is then loaded once for all of them.
const RECORDS: usize = 16;

/// Destination, key and transport-wide numbering of the packets to one peer.
pub(super) struct SendState {
    pub(super) path: Path,
    /// Next transport-wide sequence number.
    pub(super) twcc: u16,
    recorded: u8,
    records: [Record; RECORDS],
    /// Send time of the first record.
    since: Instant,
    pub(super) sealer: RtpSealer,
}

/// One sent packet.
#[derive(Clone, Copy, Default)]
struct Record {
    /// Send time in microseconds after the first record.
    after_us: u32,
    twcc: u16,
    /// Size in bytes, below 2¹⁵; [`NUMBERED`] marks a packet that carries its transport-wide
    /// number.
    size: u16,
}

const NUMBERED: u16 = 1 << 15;

impl SendState {
    pub(super) fn new(path: Path, sealer: RtpSealer, now: Instant) -> SendState {
        SendState {
            path,
            twcc: 0,
            recorded: 0,
            records: [Record::default(); RECORDS],
            since: now,
            sealer,
        }
    }

    /// Records a datagram of `len` bytes that was built with the next transport-wide number.
    /// Returns true if [`SendState::flush_records`] must be called before the next datagram.
    #[must_use]
    pub(super) fn record(&mut self, numbered: bool, len: usize, now: Instant) -> bool {
        if self.recorded == 0 {
            self.since = now;
        }
        let after_us = now.saturating_duration_since(self.since).as_micros() as u32;
        let size = len as u16 | if numbered { NUMBERED } else { 0 };
        self.records[usize::from(self.recorded)] = Record {
            after_us,
            twcc: self.twcc,
            size,
        };
        self.recorded += 1;
        self.twcc = self.twcc.wrapping_add(1);
        usize::from(self.recorded) == RECORDS
    }

    /// Passes the records to the estimator. Call it before reading anything from the estimator.
    pub(super) fn flush_records(&mut self, estimator: &mut Estimator) {
        for record in &self.records[..usize::from(self.recorded)] {
            let numbered = record.size & NUMBERED != 0;
            let at = self.since + Duration::from_micros(u64::from(record.after_us));
            estimator.sent(
                numbered.then_some(record.twcc),
                usize::from(record.size & !NUMBERED),
                at,
            );
        }
        self.recorded = 0;
    }
}
