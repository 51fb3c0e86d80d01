//! From RTP time to lesson time.
//!
//! A sender's reports tie the RTP time of each of its tracks to one clock of the sender (RFC 3550 §6.4.1). [`PeerClock`] ties that clock to
//! the lesson by the reports that travelled fastest, once for all tracks of the sender, so that voice and lips shift together or not at
//! all. Without reports a layer goes by its arrivals, again by the fastest ones.
//!
//! Corrections are slewed: a viewer notices a jump, and sound must stay continuous. All arithmetic is in signed nanoseconds.

use std::collections::VecDeque;

use crate::Duration;

/// Reports kept to find the fastest: about a minute at one every few seconds.
const REPORTS: usize = 16;

/// Two samples further apart than this mean that the sender's clock was set, not that the line was slow.
const CLOCK_STEP_NS: i64 = 1_000_000_000;

/// 2 % faster or slower is the most that speech bears unnoticed; it removes the usual 50–100 ms error of the start within seconds.
const SLEW_DIVISOR: i64 = 50;

/// If RTP time and arrival disagree by more than this from one frame to the next, the sender restarted its RTP clock (an encoder does on reconnect).
const RTP_JUMP_NS: i64 = 10_000_000_000;

/// A report that puts a frame further than this from its arrival is not believed.
const REPORT_SANITY_NS: i64 = 5_000_000_000;

/// Window in which the fastest arrival is looked for.
const WINDOW_NS: i64 = 5_000_000_000;

/// The clock of one sender against the lesson's.
#[derive(Default)]
pub(crate) struct PeerClock {
    /// Arrival minus sending time of recent reports: clock difference plus transit.
    offsets: VecDeque<i64>,
}

impl PeerClock {
    pub(crate) fn observe(&mut self, ntp_ns: i64, arrival: Duration) {
        let offset = nanos(arrival) - ntp_ns;
        if self
            .offset()
            .is_some_and(|known| (known - offset).abs() > CLOCK_STEP_NS)
        {
            self.offsets.clear();
        }
        self.offsets.push_back(offset);
        if self.offsets.len() > REPORTS {
            self.offsets.pop_front();
        }
    }

    /// The smallest is the one with the least queueing in it.
    fn offset(&self) -> Option<i64> {
        self.offsets.iter().min().copied()
    }
}

/// Nanoseconds of an NTP timestamp (32.32 seconds, RFC 3550 §4).
pub(crate) fn ntp_nanos(ntp: u64) -> i64 {
    ((ntp >> 32) * 1_000_000_000 + (((ntp & 0xffff_ffff) * 1_000_000_000) >> 32)) as i64
}

/// The RTP clock of one layer against the lesson's.
pub(crate) struct LayerClock {
    rate: i64,
    last: Option<Last>,
    /// RTP time and sender's time of the newest report.
    report: Option<(u32, i64)>,
    fastest: Fastest,
}

/// The last frame that was given a time.
#[derive(Clone, Copy)]
struct Last {
    rtp_time: u32,
    arrival_ns: i64,
    lesson_ns: i64,
}

impl LayerClock {
    pub(crate) fn new(rate: u32) -> LayerClock {
        LayerClock {
            rate: rate.into(),
            last: None,
            report: None,
            fastest: Fastest::default(),
        }
    }

    pub(crate) fn report(&mut self, rtp_time: u32, ntp_ns: i64) {
        self.report = Some((rtp_time, ntp_ns));
    }

    /// Lesson time of a frame.
    pub(crate) fn time(&mut self, rtp_time: u32, arrival: Duration, peer: &PeerClock) -> Duration {
        let arrival_ns = nanos(arrival);
        let lesson_ns = match self.last {
            None => self
                .reported(rtp_time, arrival_ns, peer)
                .unwrap_or(arrival_ns),
            Some(last) => self
                .continued(last, rtp_time, arrival_ns, peer)
                .unwrap_or_else(|| self.jump(arrival_ns)),
        };
        self.last = Some(Last {
            rtp_time,
            arrival_ns,
            lesson_ns,
        });
        Duration::from_nanos(lesson_ns.max(0) as u64)
    }

    /// Where the frame falls when RTP time runs on from the last one; `None` after a jump.
    fn continued(
        &mut self,
        last: Last,
        rtp_time: u32,
        arrival_ns: i64,
        peer: &PeerClock,
    ) -> Option<i64> {
        let step = self.span(last.rtp_time, rtp_time);
        if (step - (arrival_ns - last.arrival_ns)).abs() > RTP_JUMP_NS {
            return None;
        }
        let expected = last.lesson_ns + step;
        let excess = self.fastest.observe(arrival_ns - expected, arrival_ns);
        let error = self
            .reported(rtp_time, arrival_ns, peer)
            .map_or(excess, |wanted| wanted - expected);
        let limit = step.abs() / SLEW_DIVISOR;
        self.fastest.shift(error.clamp(-limit, limit));
        Some(expected + error.clamp(-limit, limit))
    }

    /// The sender's RTP clock begins anew; the next frame counts from its arrival.
    pub(crate) fn restart(&mut self) {
        self.fastest = Fastest::default();
        self.report = None;
        self.last = None;
    }

    fn jump(&mut self, arrival_ns: i64) -> i64 {
        self.restart();
        arrival_ns
    }

    /// Lesson time by the sender's report.
    fn reported(&self, rtp_time: u32, arrival_ns: i64, peer: &PeerClock) -> Option<i64> {
        let (report_rtp, report_ntp) = self.report?;
        let wanted = report_ntp + self.span(report_rtp, rtp_time) + peer.offset()?;
        ((wanted - arrival_ns).abs() < REPORT_SANITY_NS).then_some(wanted)
    }

    /// Nanoseconds from one RTP time to another, backwards included; RTP time wraps.
    fn span(&self, from: u32, to: u32) -> i64 {
        i64::from(to.wrapping_sub(from) as i32) * 1_000_000_000 / self.rate
    }
}

/// The least delay beyond the expected, over the last one to two windows.
#[derive(Default)]
struct Fastest {
    previous: Option<i64>,
    current: Option<i64>,
    window_began_ns: i64,
}

impl Fastest {
    fn observe(&mut self, excess: i64, now_ns: i64) -> i64 {
        if now_ns - self.window_began_ns > WINDOW_NS {
            self.previous = self.current.take();
            self.window_began_ns = now_ns;
        }
        let current = *self
            .current
            .insert(self.current.map_or(excess, |least| least.min(excess)));
        self.previous
            .map_or(current, |previous| previous.min(current))
    }

    /// Expectations moved by this much.
    fn shift(&mut self, by: i64) {
        self.previous = self.previous.map(|least| least - by);
        self.current = self.current.map(|least| least - by);
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn jitter_on_the_line_does_not_move_the_picture() {
        let mut clock = LayerClock::new(90_000);
        let peer = PeerClock::default();
        for frame in 0..300u32 {
            let jitter = if frame % 7 == 3 { 80 } else { 0 };
            let time = clock.time(
                frame * 3000,
                ms(1000 + u64::from(frame) * 1000 / 30 + jitter),
                &peer,
            );
            let ideal = 1000 + u64::from(frame) * 1000 / 30;
            assert!(
                time.as_millis().abs_diff(ideal.into()) < 5,
                "{frame}: {time:?}"
            );
        }
    }

    #[test]
    fn reports_bring_voice_and_lips_together() {
        let mut peer = PeerClock::default();
        let (mut voice, mut lips) = (LayerClock::new(48_000), LayerClock::new(90_000));
        // The picture takes 90 ms longer than the voice to arrive.
        let (mut heard, mut seen) = (ms(0), ms(0));
        for tick in 0..1000u32 {
            let sent = u64::from(tick) * 20;
            if tick % 100 == 50 {
                let ntp = 5_000_000_000_000 + sent as i64 * 1_000_000;
                peer.observe(ntp, ms(sent + 40));
                voice.report(7 + tick * 960, ntp);
                lips.report(99 + tick * 1800, ntp);
            }
            heard = voice.time(7 + tick * 960, ms(sent + 40), &peer);
            seen = lips.time(99 + tick * 1800, ms(sent + 130), &peer);
        }
        assert!(heard.abs_diff(seen) < ms(3), "{heard:?} {seen:?}");
    }

    #[test]
    fn a_restarted_encoder_goes_on_at_its_arrival() {
        let mut clock = LayerClock::new(90_000);
        let peer = PeerClock::default();
        clock.time(1_000, ms(0), &peer);
        clock.time(4_000, ms(33), &peer);
        assert_eq!(clock.time(4_000_000_000, ms(66), &peer), ms(66));
    }

    #[test]
    fn rtp_time_wraps_without_a_jump() {
        let mut clock = LayerClock::new(90_000);
        let peer = PeerClock::default();
        clock.time(u32::MAX - 1499, ms(100), &peer);
        assert_eq!(clock.time(1500, ms(133), &peer).as_millis(), 133);
    }

    #[test]
    fn a_camera_whose_crystal_runs_fast_is_held_to_the_lesson() {
        let mut clock = LayerClock::new(90_000);
        let peer = PeerClock::default();
        let mut time = ms(0);
        for frame in 0..90_000u64 {
            // 200 ppm fast, for 50 minutes.
            let rtp = (frame * 3000 + frame * 3000 / 5000) as u32;
            time = clock.time(rtp, Duration::from_micros(frame * 33_333), &peer);
        }
        let real = Duration::from_micros(89_999 * 33_333);
        assert!(time.abs_diff(real) < ms(10), "{time:?} {real:?}");
    }

    #[test]
    fn ntp_fractions_become_nanoseconds() {
        assert_eq!(ntp_nanos(1 << 32 | 1 << 31), 1_500_000_000);
    }
}
