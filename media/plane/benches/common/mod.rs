//! Helpers of all benches: CPU time, medians, and the function that callgrind measures
//! (`deploy/bench instructions`).

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// True while measured work is also collected by callgrind; false during warm-up.
static COUNTING: AtomicBool = AtomicBool::new(false);

/// Returns the command-line arguments without the options of cargo.
pub(crate) fn arguments() -> Vec<String> {
    std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect()
}

/// Returns the numeric argument at a position.
pub(crate) fn number(arguments: &[String], nth: usize, default: usize) -> usize {
    arguments
        .get(nth)
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Ends the warm-up: [`counted`] work is collected by callgrind from now on.
pub(crate) fn begin_counting() {
    COUNTING.store(true, Relaxed);
}

/// Runs the work and adds the CPU time of this thread, kernel time included.
pub(crate) fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = cpu_time();
    let done = work();
    *total += cpu_time() - start;
    done
}

/// Runs the measured work so that callgrind can distinguish it from the setup.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> T {
    if COUNTING.load(Relaxed) {
        collected(work)
    } else {
        work()
    }
}

/// Function that callgrind toggles collection on: `deploy/bench` refers to it by name.
#[inline(never)]
fn collected<T>(work: impl FnOnce() -> T) -> T {
    // black_box prevents a tail call, so that the function returns after the work.
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

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
