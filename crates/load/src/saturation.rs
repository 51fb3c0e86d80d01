//! Detection of runs in which the generator itself was the bottleneck.

use std::fs;
use std::time::{Duration, Instant};

use super::clock;

/// Share of CPU time above which a thread delays packets.
const MAX_BUSY: f64 = 0.8;

/// Share of time in the run queue above which delays are the generator's own.
const MAX_WAITING: f64 = 0.1;

/// Delay of frames in milliseconds above which they leave in bursts, unlike those of a camera: half
/// a frame at 30 per second.
const MAX_LATE_MS: f64 = 16.0;

/// CPU usage of a thread at a moment.
#[derive(Clone, Copy)]
pub(crate) struct ThreadSample {
    at: Instant,
    cpu: Duration,
    waited: Option<Duration>,
}

/// CPU usage of a thread over an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ThreadUsage {
    pub cpu: Duration,
    /// Share of time spent running.
    pub busy: f64,
    /// Share of time spent runnable without a CPU; `None` where the kernel does not report it.
    pub waiting: Option<f64>,
}

impl ThreadSample {
    /// Samples the calling thread.
    pub(crate) fn now() -> ThreadSample {
        ThreadSample {
            at: Instant::now(),
            cpu: clock::thread_cpu(),
            waited: waited(),
        }
    }

    pub(crate) fn usage(&self) -> ThreadUsage {
        let now = ThreadSample::now();
        let elapsed = (now.at - self.at).as_secs_f64().max(1e-9);
        let share = |span: Duration| span.as_secs_f64() / elapsed;
        let cpu = now.cpu - self.cpu;
        let waiting = now
            .waited
            .zip(self.waited)
            .map(|(now, then)| share(now.saturating_sub(then)));
        ThreadUsage {
            cpu,
            busy: share(cpu),
            waiting,
        }
    }
}

/// Time that this thread has spent in a run queue: the second field of schedstat.
fn waited() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ')
        .nth(1)?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}

/// Reasons why the generator was the bottleneck; empty if it kept up.
pub(crate) fn bottlenecks(
    threads: &[ThreadUsage],
    socket_drops: u64,
    late_p99_ms: Option<f64>,
) -> Vec<String> {
    let percent = |share: f64| (share * 100.0).round();
    let busiest = threads.iter().map(|thread| thread.busy).fold(0.0, f64::max);
    let waiting = threads
        .iter()
        .filter_map(|thread| thread.waiting)
        .fold(0.0, f64::max);
    let late_ms = late_p99_ms.unwrap_or(0.0);
    let mut reasons = Vec::new();
    if busiest > MAX_BUSY {
        reasons.push(format!(
            "a thread of the generator was busy for {} % of the time",
            percent(busiest)
        ));
    }
    if waiting > MAX_WAITING {
        reasons.push(format!(
            "a thread of the generator waited for a CPU for {} % of the time",
            percent(waiting)
        ));
    }
    if socket_drops > 0 {
        reasons.push(format!(
            "the kernel dropped {socket_drops} datagrams at the generator's sockets"
        ));
    }
    if late_ms > MAX_LATE_MS {
        reasons.push(format!(
            "one frame in a hundred was sent {late_ms} ms late, or later"
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_that_keeps_up_is_no_bottleneck() {
        let relaxed = ThreadUsage {
            busy: 0.7,
            waiting: Some(0.05),
            ..ThreadUsage::default()
        };
        assert!(bottlenecks(&[relaxed, relaxed], 0, Some(2.0)).is_empty());
        assert!(
            bottlenecks(
                &[ThreadUsage {
                    waiting: None,
                    ..relaxed
                }],
                0,
                None
            )
            .is_empty()
        );
    }

    #[test]
    fn every_bottleneck_is_reported() {
        let overloaded = ThreadUsage {
            busy: 0.97,
            waiting: Some(0.31),
            ..ThreadUsage::default()
        };
        let reasons = bottlenecks(&[ThreadUsage::default(), overloaded], 12, Some(40.5));
        assert_eq!(reasons.len(), 4, "{reasons:?}");
        for (word, line) in ["97 %", "31 %", "12 datagrams", "40.5 ms"]
            .iter()
            .zip(&reasons)
        {
            assert!(line.contains(word), "{line}");
        }
    }

    #[test]
    fn cpu_time_of_a_busy_thread_is_measured() {
        let sample = ThreadSample::now();
        while clock::thread_cpu() - sample.cpu < Duration::from_millis(30) {}
        let usage = sample.usage();
        assert!(
            usage.cpu >= Duration::from_millis(30) && usage.busy > 0.0 && usage.busy <= 1.05,
            "{usage:?}"
        );
    }
}
