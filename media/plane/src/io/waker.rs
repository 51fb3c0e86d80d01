//! Wakes a media thread that waits for its socket, by an eventfd (eventfd(2)).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A thread-safe waker. Wake-ups before the thread waits are merged.
pub struct Waker(OwnedFd);

impl Waker {
    /// Opens the eventfd.
    pub fn new() -> io::Result<Waker> {
        // SAFETY: eventfd takes no pointers; the returned descriptor has no other owner.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: fd was just opened and has no other owner.
        Ok(Waker(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Wakes the thread.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight readable bytes, as eventfd requires. It fails only if the counter is at its
        // maximum: then the thread is awake.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Clears the pending wake-ups.
    pub fn reset(&self) {
        let mut count = [0u8; 8];
        // SAFETY: eight writable bytes, as eventfd requires. It fails only if no wake-up is
        // pending.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    /// Returns the file descriptor, to be polled for reading.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
