//! What all benches share: CPU time, medians, and the name by which callgrind counts (`deploy/bench instructions`).

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Whether what is timed is also to be counted: not while a bench warms up.
static COUNTING: AtomicBool = AtomicBool::new(false);

/// The words of the command line, without those of cargo.
pub fn arguments() -> Vec<String> {
    std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect()
}

/// The number at a place of the command line.
pub fn number(arguments: &[String], nth: usize, default: usize) -> usize {
    arguments
        .get(nth)
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// From here on the work is what the bench is about.
pub fn begin_counting() {
    COUNTING.store(true, Relaxed);
}

/// Does the work and adds the CPU time of this thread, kernel part included.
pub fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = cpu_time();
    let done = work();
    *total += cpu_time() - start;
    done
}

/// Does the work that a bench is about, so that callgrind can tell it from all else.
pub fn counted<T>(work: impl FnOnce() -> T) -> T {
    if COUNTING.load(Relaxed) {
        collected(work)
    } else {
        work()
    }
}

/// callgrind collects between the entry of this function and its end.
#[inline(never)]
fn collected<T>(work: impl FnOnce() -> T) -> T {
    // The result is used before the end, so that this is not left by a jump into the work.
    black_box(work())
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: time is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
