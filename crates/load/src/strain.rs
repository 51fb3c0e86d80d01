//! Whether the generator itself was in the way, and what shows it.

use std::fs;
use std::time::{Duration, Instant};

use super::clock;

/// A thread that is busy for more than this share of the time keeps packets waiting.
const BUSY: f64 = 0.8;

/// A thread that could run, and for more than this share of the time was not given a CPU, is late through no fault of the server's.
const WAITING: f64 = 0.1;

/// Frames that leave later than this after they were due come in bursts, which no camera does: half a frame at 30 a second.
const LATE_MS: f64 = 16.0;

/// What one thread of the generator had used at a moment.
#[derive(Clone, Copy)]
pub struct Mark {
    at: Instant,
    cpu: Duration,
    waited: Option<Duration>,
}

/// What it used since.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Strain {
    pub cpu: Duration,
    /// The share of the time that it ran.
    pub busy: f64,
    /// The share of the time that it could have run and had no CPU; none where the kernel does not tell.
    pub waiting: Option<f64>,
}

impl Mark {
    /// Of the calling thread.
    pub fn now() -> Mark {
        Mark {
            at: Instant::now(),
            cpu: clock::thread_cpu(),
            waited: waited(),
        }
    }

    pub fn strain(&self) -> Strain {
        let now = Mark::now();
        let elapsed = (now.at - self.at).as_secs_f64().max(1e-9);
        let share = |span: Duration| span.as_secs_f64() / elapsed;
        let cpu = now.cpu - self.cpu;
        let waiting = now
            .waited
            .zip(self.waited)
            .map(|(now, then)| share(now.saturating_sub(then)));
        Strain {
            cpu,
            busy: share(cpu),
            waiting,
        }
    }
}

/// How long this thread has stood in a run queue: the second field of schedstat.
fn waited() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ')
        .nth(1)?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}

/// What speaks against the run: nothing if the generator kept up.
pub fn evidence(threads: &[Strain], socket_drops: u64, late_p99_ms: Option<f64>) -> Vec<String> {
    let percent = |share: f64| (share * 100.0).round();
    let busiest = threads.iter().map(|thread| thread.busy).fold(0.0, f64::max);
    let waiting = threads
        .iter()
        .filter_map(|thread| thread.waiting)
        .fold(0.0, f64::max);
    let late_ms = late_p99_ms.unwrap_or(0.0);
    let mut evidence = Vec::new();
    if busiest > BUSY {
        evidence.push(format!(
            "a thread of the generator was busy for {} % of the time",
            percent(busiest)
        ));
    }
    if waiting > WAITING {
        evidence.push(format!(
            "a thread of the generator waited for a CPU for {} % of the time",
            percent(waiting)
        ));
    }
    if socket_drops > 0 {
        evidence.push(format!(
            "the kernel dropped {socket_drops} datagrams at the generator's sockets"
        ));
    }
    if late_ms > LATE_MS {
        evidence.push(format!(
            "one frame in a hundred was sent {late_ms} ms late, or later"
        ));
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_that_keeps_up_has_nothing_said_against_it() {
        let easy = Strain {
            busy: 0.7,
            waiting: Some(0.05),
            ..Strain::default()
        };
        assert!(evidence(&[easy, easy], 0, Some(2.0)).is_empty());
        assert!(
            evidence(
                &[Strain {
                    waiting: None,
                    ..easy
                }],
                0,
                None
            )
            .is_empty()
        );
    }

    #[test]
    fn everything_that_was_in_the_way_is_said() {
        let worn = Strain {
            busy: 0.97,
            waiting: Some(0.31),
            ..Strain::default()
        };
        let said = evidence(&[Strain::default(), worn], 12, Some(40.5));
        assert_eq!(said.len(), 4, "{said:?}");
        for (word, line) in ["97 %", "31 %", "12 datagrams", "40.5 ms"]
            .iter()
            .zip(&said)
        {
            assert!(line.contains(word), "{line}");
        }
    }

    #[test]
    fn a_thread_that_works_is_seen_to_work() {
        let mark = Mark::now();
        while clock::thread_cpu() - mark.cpu < Duration::from_millis(30) {}
        let strain = mark.strain();
        assert!(
            strain.cpu >= Duration::from_millis(30) && strain.busy > 0.0 && strain.busy <= 1.05,
            "{strain:?}"
        );
    }
}
