//! A subscriber's sending side: all that a packet on its way out touches, side by side.

use std::time::{Duration, Instant};

use crate::subscribe::estimator::Estimator;
use crate::transport::Path;
use crate::transport::srtp::RtpSealer;

/// Packets that are noted here before the estimator hears of them: its memory is cold, and is then touched once for all of them.
const NOTES: usize = 16;

/// Where media goes, and under which key.
pub struct Line {
    pub path: Path,
    /// Next transport-wide sequence number.
    pub twcc: u16,
    noted: u8,
    notes: [Note; NOTES],
    /// When the first noted packet was sent.
    since: Instant,
    pub sealer: RtpSealer,
}

/// One packet that was sent.
#[derive(Clone, Copy, Default)]
struct Note {
    /// Microseconds after the first noted one.
    after: u32,
    twcc: u16,
    /// Bytes, below 2¹⁵; the highest bit says that the packet carries its transport-wide number.
    size: u16,
}

const NUMBERED: u16 = 1 << 15;

impl Line {
    pub fn new(path: Path, sealer: RtpSealer, now: Instant) -> Line {
        Line {
            path,
            twcc: 0,
            noted: 0,
            notes: [Note::default(); NOTES],
            since: now,
            sealer,
        }
    }

    /// Counts a datagram of `len` bytes that was built with the next transport-wide number. True when the estimator must hear of it
    /// before another is sent.
    #[must_use]
    pub fn sent(&mut self, numbered: bool, len: usize, now: Instant) -> bool {
        if self.noted == 0 {
            self.since = now;
        }
        let after = now.saturating_duration_since(self.since).as_micros() as u32;
        let size = len as u16 | if numbered { NUMBERED } else { 0 };
        self.notes[usize::from(self.noted)] = Note {
            after,
            twcc: self.twcc,
            size,
        };
        self.noted += 1;
        self.twcc = self.twcc.wrapping_add(1);
        usize::from(self.noted) == NOTES
    }

    /// Tells the estimator what was sent. It must know before anything is concluded from it.
    pub fn settle(&mut self, estimator: &mut Estimator) {
        for note in &self.notes[..usize::from(self.noted)] {
            let numbered = note.size & NUMBERED != 0;
            let at = self.since + Duration::from_micros(u64::from(note.after));
            estimator.sent(
                numbered.then_some(note.twcc),
                usize::from(note.size & !NUMBERED),
                at,
            );
        }
        self.noted = 0;
    }
}
