//! Returns freed memory to the system, so that a server shrinks again after a peak.
//!
//! glibc keeps freed pages because of fragmentation: a thousand DTLS handshakes leave holes of 10
//! kB each, and a few sign-ins, uploads and merges of the search index leave 10 MB in the heap of
//! every thread that ran them. We call malloc_trim(3) every 10 s.

use std::time::Duration;

/// Allocation size from which glibc uses mmap instead of a heap: the 19 MB of Argon2 at sign-in,
/// the dictionary. Upload parts (8 MB) stay in the heap, because a page that is reused at once is
/// cheaper than a new one.
const MMAP_THRESHOLD: i32 = 16 << 20;

/// Interval of malloc_trim(3), which takes some tenths of a millisecond, more after a burst. It
/// locks each heap meanwhile; forwarding a packet allocates nothing and does not wait for it.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);

/// Fixes the mmap threshold. Must precede large allocations: glibc raises its dynamic threshold
/// when the first large block is freed (mallopt(3)).
pub fn set_mmap_threshold() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes plain numbers; a failure would only leave the default threshold.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    }
}

/// Starts the thread that trims the heaps until the process ends.
pub fn start_trimming() -> std::io::Result<()> {
    #[cfg(target_env = "gnu")]
    std::thread::Builder::new()
        .name("memory".into())
        .spawn(|| {
            loop {
                std::thread::sleep(TRIM_INTERVAL);
                // SAFETY: the call takes a plain number and locks each heap it works on
                // (malloc_trim(3)).
                unsafe { libc::malloc_trim(0) };
            }
        })?;
    Ok(())
}
