//! Clocks, percentiles, and what a process has used.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Failure;

/// Nanoseconds of the machine's monotonic clock: the same for every thread, so that a stamp can be compared where it arrives.
pub fn clock_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that outlives the call, and this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU time that this thread has used.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: as above; a thread can always read its own clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Percentiles in milliseconds; `None` when nothing was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Percentiles {
    pub fn of(mut millis: Vec<f64>) -> Option<Percentiles> {
        if millis.is_empty() {
            return None;
        }
        millis.sort_by(f64::total_cmp);
        // The nearest rank: the smallest value that at least this share of all is not above.
        let at = |share: f64| {
            let rank = (share * millis.len() as f64).ceil() as usize;
            (millis[rank.clamp(1, millis.len()) - 1] * 1000.0).round() / 1000.0
        };
        Some(Percentiles { p50: at(0.50), p95: at(0.95), p99: at(0.99), p999: at(0.999) })
    }
}

/// A process of this machine.
pub struct Process {
    pid: u32,
}

/// What a process had used up to a moment, and what it held then.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    cpu_ns: u64,
    rss_bytes: u64,
}

/// What a process used between two readings.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub cpu_ns: u64,
    pub rss_bytes: u64,
}

impl Usage {
    pub fn between(before: Reading, after: Reading) -> Usage {
        Usage { cpu_ns: after.cpu_ns.saturating_sub(before.cpu_ns), rss_bytes: after.rss_bytes }
    }
}

impl Process {
    pub fn of(pid: u32) -> Process {
        Process { pid }
    }

    pub fn usage(&self) -> Result<Reading, Failure> {
        let pid = self.pid;
        let stat =
            fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| format!("process {pid}: {error}"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let cpu_ns = cpu_ns(&stat).ok_or("/proc/PID/stat cannot be read")?;
        Ok(Reading { cpu_ns, rss_bytes: rss_bytes(&status).ok_or("/proc/PID/status cannot be read")? })
    }
}

/// User and system time of all threads, ended ones included: fields 14 and 15 of proc(5), in ticks of 10 ms.
fn cpu_ns(stat: &str) -> Option<u64> {
    const TICK_NS: u64 = 10_000_000;
    // The second field is the program's name in brackets, which may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) * TICK_NS)
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Percentiles::of(hundred), Some(Percentiles { p50: 50.0, p95: 95.0, p99: 99.0, p999: 100.0 }));
        assert_eq!(Percentiles::of(vec![7.0]), Some(Percentiles { p50: 7.0, p95: 7.0, p99: 7.0, p999: 7.0 }));
        assert_eq!(Percentiles::of(vec![]), None);
    }

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "42 (a) b) (c) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1 1";
        assert_eq!(cpu_ns(stat), Some(3_000_000_000));
        assert_eq!(rss_bytes("Name:\tx\nVmRSS:\t   2048 kB\n"), Some(2 * 1024 * 1024));
        assert!(Process::of(std::process::id()).usage().is_ok());
    }
}
