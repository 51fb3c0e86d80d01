//! What was freed goes back to the system, so that a server that has been busy is as small as one that has not. glibc keeps it otherwise: between
//! what a thousand handshakes leave behind lie the holes that they needed (10 kB each), and a few sign-ins, uploads and merges of the search index
//! leave ten megabytes in the heap of every thread that ran them.

use std::time::Duration;

/// Blocks of this size and larger never enter a heap: the 19 MB of a sign-in's Argon2, the dictionary. The parts of an upload (8 MB) do, because a
/// page that is used again at once is cheaper than a new one.
const LARGE_BLOCK: i32 = 16 << 20;

/// How often the heaps are looked through: some tenths of a millisecond, more after a burst. A heap is locked meanwhile, and no packet that is
/// forwarded asks for memory.
const PERIOD: Duration = Duration::from_secs(10);

/// To be called before anything large is allocated: glibc would learn from the first large block that is freed to keep those that follow.
pub fn keep_large_blocks_apart() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes numbers only. It cannot fail for this option; if it did, only memory would be lost.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BLOCK);
    }
}

/// Goes on until the process ends.
pub fn keep_giving_back() -> std::io::Result<()> {
    #[cfg(target_env = "gnu")]
    std::thread::Builder::new()
        .name("memory".into())
        .spawn(|| {
            loop {
                std::thread::sleep(PERIOD);
                // SAFETY: the call takes a number, and locks each heap that it works on (malloc_trim(3)).
                unsafe { libc::malloc_trim(0) };
            }
        })?;
    Ok(())
}
