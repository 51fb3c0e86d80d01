//! Clock mapping: RTP timestamps → lesson time.
//!
//! Sender reports map the RTP timestamps of all tracks of a sender to its one wall clock (RFC 3550
//! §6.4.1). [`PeerClock`] maps that clock to lesson time by the reports with the least delay. All
//! tracks of the sender share the mapping, so a correction never breaks lip sync. A layer without
//! reports is mapped by its packet arrivals, again by those with the least delay.
//!
//! Corrections are slewed: a viewer notices a jump, and audio must stay continuous. All arithmetic
//! is in signed nanoseconds.

use std::collections::VecDeque;

use crate::Duration;

/// Reports kept to find the least delay: about a minute at one every few seconds.
const REPORT_HISTORY: usize = 16;

/// Offset change that means a step of the sender's wall clock, not queuing delay.
const CLOCK_STEP_NS: i64 = 1_000_000_000;

/// Limits slewing to 2 %, the most that is inaudible in speech. It removes the usual initial error
/// of 50–100 ms within seconds.
const SLEW_DIVISOR: i64 = 50;

/// Disagreement of RTP time and arrival between two frames that means a restarted RTP clock, as
/// after an encoder reconnects.
const RTP_JUMP_NS: i64 = 10_000_000_000;

/// A report that maps a frame further than this from its arrival is ignored.
const MAX_REPORT_ERROR_NS: i64 = 5_000_000_000;

/// Window of the minimum delay filter.
const MIN_DELAY_WINDOW_NS: i64 = 5_000_000_000;

/// Mapping of one sender's wall clock to lesson time.
#[derive(Default)]
pub(crate) struct PeerClock {
    /// Arrival minus NTP time of recent reports, in nanoseconds: clock offset plus path delay.
    offsets: VecDeque<i64>,
}

impl PeerClock {
    /// Adds a sender report.
    pub(crate) fn observe(&mut self, ntp_ns: i64, arrival: Duration) {
        let offset = nanos(arrival) - ntp_ns;
        if self
            .offset()
            .is_some_and(|known| (known - offset).abs() > CLOCK_STEP_NS)
        {
            self.offsets.clear();
        }
        self.offsets.push_back(offset);
        if self.offsets.len() > REPORT_HISTORY {
            self.offsets.pop_front();
        }
    }

    /// Smallest offset: the report with the least queuing delay.
    fn offset(&self) -> Option<i64> {
        self.offsets.iter().min().copied()
    }
}

/// Converts an NTP timestamp (32.32 seconds, RFC 3550 §4) to nanoseconds.
pub(crate) fn ntp_nanos(ntp: u64) -> i64 {
    ((ntp >> 32) * 1_000_000_000 + (((ntp & 0xffff_ffff) * 1_000_000_000) >> 32)) as i64
}

/// Mapping of one layer's RTP clock to lesson time.
pub(crate) struct LayerClock {
    clock_rate: i64,
    last: Option<LastFrame>,
    /// RTP timestamp and NTP time in nanoseconds of the newest sender report.
    sender_report: Option<(u32, i64)>,
    min_delay: MinDelay,
}

/// Last frame that was mapped.
#[derive(Clone, Copy)]
struct LastFrame {
    rtp_time: u32,
    arrival_ns: i64,
    lesson_ns: i64,
}

impl LayerClock {
    pub(crate) fn new(clock_rate: u32) -> LayerClock {
        LayerClock {
            clock_rate: clock_rate.into(),
            last: None,
            sender_report: None,
            min_delay: MinDelay::default(),
        }
    }

    pub(crate) fn set_sender_report(&mut self, rtp_time: u32, ntp_ns: i64) {
        self.sender_report = Some((rtp_time, ntp_ns));
    }

    /// Returns the lesson time of a frame.
    pub(crate) fn lesson_time(
        &mut self,
        rtp_time: u32,
        arrival: Duration,
        peer: &PeerClock,
    ) -> Duration {
        let arrival_ns = nanos(arrival);
        let lesson_ns = match self.last {
            None => self
                .map_by_report(rtp_time, arrival_ns, peer)
                .unwrap_or(arrival_ns),
            Some(last) => self
                .extrapolate(last, rtp_time, arrival_ns, peer)
                .unwrap_or_else(|| self.restart_at(arrival_ns)),
        };
        self.last = Some(LastFrame {
            rtp_time,
            arrival_ns,
            lesson_ns,
        });
        Duration::from_nanos(lesson_ns.max(0) as u64)
    }

    /// Extrapolates the RTP time from the last frame and slews it; `None` after a jump.
    fn extrapolate(
        &mut self,
        last: LastFrame,
        rtp_time: u32,
        arrival_ns: i64,
        peer: &PeerClock,
    ) -> Option<i64> {
        let step = self.elapsed_ns(last.rtp_time, rtp_time);
        if (step - (arrival_ns - last.arrival_ns)).abs() > RTP_JUMP_NS {
            return None;
        }
        let expected = last.lesson_ns + step;
        let excess = self.min_delay.observe(arrival_ns - expected, arrival_ns);
        let error = self
            .map_by_report(rtp_time, arrival_ns, peer)
            .map_or(excess, |wanted| wanted - expected);
        let limit = step.abs() / SLEW_DIVISOR;
        self.min_delay.shift(error.clamp(-limit, limit));
        Some(expected + error.clamp(-limit, limit))
    }

    /// Resets the mapping after a restart of the RTP clock; the next frame is mapped by its
    /// arrival.
    pub(crate) fn restart(&mut self) {
        self.min_delay = MinDelay::default();
        self.sender_report = None;
        self.last = None;
    }

    fn restart_at(&mut self, arrival_ns: i64) -> i64 {
        self.restart();
        arrival_ns
    }

    /// Maps a frame by the newest sender report, if that is plausible.
    fn map_by_report(&self, rtp_time: u32, arrival_ns: i64, peer: &PeerClock) -> Option<i64> {
        let (report_rtp, report_ntp) = self.sender_report?;
        let wanted = report_ntp + self.elapsed_ns(report_rtp, rtp_time) + peer.offset()?;
        ((wanted - arrival_ns).abs() < MAX_REPORT_ERROR_NS).then_some(wanted)
    }

    /// Nanoseconds from one RTP timestamp to another, wraparound included; negative if backwards.
    fn elapsed_ns(&self, from: u32, to: u32) -> i64 {
        i64::from(to.wrapping_sub(from) as i32) * 1_000_000_000 / self.clock_rate
    }
}

/// Minimum filter: least excess delay over the last one to two windows, in nanoseconds.
#[derive(Default)]
struct MinDelay {
    previous: Option<i64>,
    current: Option<i64>,
    window_start_ns: i64,
}

impl MinDelay {
    fn observe(&mut self, excess: i64, now_ns: i64) -> i64 {
        if now_ns - self.window_start_ns > MIN_DELAY_WINDOW_NS {
            self.previous = self.current.take();
            self.window_start_ns = now_ns;
        }
        let current = *self
            .current
            .insert(self.current.map_or(excess, |least| least.min(excess)));
        self.previous
            .map_or(current, |previous| previous.min(current))
    }

    /// Moves the stored delays after the expected times moved by `by`.
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
    fn network_jitter_does_not_move_video_frames() {
        let mut clock = LayerClock::new(90_000);
        let peer = PeerClock::default();
        for frame in 0..300u32 {
            let jitter = if frame % 7 == 3 { 80 } else { 0 };
            let time = clock.lesson_time(
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
    fn sender_reports_restore_lip_sync() {
        let mut peer = PeerClock::default();
        let (mut audio, mut video) = (LayerClock::new(48_000), LayerClock::new(90_000));
        // Video takes 90 ms longer than audio to arrive.
        let (mut audio_time, mut video_time) = (ms(0), ms(0));
        for tick in 0..1000u32 {
            let sent = u64::from(tick) * 20;
            if tick % 100 == 50 {
                let ntp = 5_000_000_000_000 + sent as i64 * 1_000_000;
                peer.observe(ntp, ms(sent + 40));
                audio.set_sender_report(7 + tick * 960, ntp);
                video.set_sender_report(99 + tick * 1800, ntp);
            }
            audio_time = audio.lesson_time(7 + tick * 960, ms(sent + 40), &peer);
            video_time = video.lesson_time(99 + tick * 1800, ms(sent + 130), &peer);
        }
        assert!(
            audio_time.abs_diff(video_time) < ms(3),
            "{audio_time:?} {video_time:?}"
        );
    }

    #[test]
    fn a_restarted_encoder_continues_at_its_arrival_time() {
        let mut clock = LayerClock::new(90_000);
        let peer = PeerClock::default();
        clock.lesson_time(1_000, ms(0), &peer);
        clock.lesson_time(4_000, ms(33), &peer);
        assert_eq!(clock.lesson_time(4_000_000_000, ms(66), &peer), ms(66));
    }

    #[test]
    fn rtp_timestamp_wraparound_causes_no_jump() {
        let mut clock = LayerClock::new(90_000);
        let peer = PeerClock::default();
        clock.lesson_time(u32::MAX - 1499, ms(100), &peer);
        assert_eq!(clock.lesson_time(1500, ms(133), &peer).as_millis(), 133);
    }

    #[test]
    fn a_camera_clock_200_ppm_fast_stays_within_10_ms_of_the_lesson() {
        let mut clock = LayerClock::new(90_000);
        let peer = PeerClock::default();
        let mut time = ms(0);
        for frame in 0..90_000u64 {
            // 200 ppm fast, for 50 minutes.
            let rtp = (frame * 3000 + frame * 3000 / 5000) as u32;
            time = clock.lesson_time(rtp, Duration::from_micros(frame * 33_333), &peer);
        }
        let real = Duration::from_micros(89_999 * 33_333);
        assert!(time.abs_diff(real) < ms(10), "{time:?} {real:?}");
    }

    #[test]
    fn ntp_timestamp_converts_to_nanoseconds() {
        assert_eq!(ntp_nanos(1 << 32 | 1 << 31), 1_500_000_000);
    }
}
