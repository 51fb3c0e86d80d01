//! Receivers that read every datagram, so that the kernel delivers them.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Maximum number of datagrams read from one socket before the next.
const MAX_BATCH: usize = 8;

/// One socket per subscriber; a separate thread reads them all.
pub(crate) struct Drain {
    pub(crate) addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Drain {
    pub(crate) fn start(subscribers: usize) -> Drain {
        let sockets: Vec<UdpSocket> = (0..subscribers)
            .map(|_| UdpSocket::bind("127.0.0.1:0").expect("UDP socket"))
            .collect();
        let addresses = sockets
            .iter()
            .map(|socket| socket.local_addr().expect("bound"))
            .collect();
        let (stop, count) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let thread = {
            let (stop, count) = (stop.clone(), count.clone());
            std::thread::spawn(move || drain(&sockets, &stop, &count))
        };
        Drain {
            addresses,
            stop,
            count,
            thread,
        }
    }

    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("the drain does not panic");
        self.count.load(Relaxed)
    }
}

fn drain(sockets: &[UdpSocket], stop: &AtomicBool, count: &AtomicU64) {
    let mut polls: Vec<libc::pollfd> = sockets
        .iter()
        .map(|s| libc::pollfd {
            fd: s.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let mut buffer = [0; 2048];
    while !stop.load(Relaxed) {
        // SAFETY: the pointer and length are those of a vector of valid pollfds.
        unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 20) };
        for (socket, _) in sockets
            .iter()
            .zip(&polls)
            .filter(|(_, poll)| poll.revents != 0)
        {
            for _ in 0..MAX_BATCH {
                // SAFETY: the buffer is writable for its length.
                let got = unsafe {
                    libc::recv(
                        socket.as_raw_fd(),
                        buffer.as_mut_ptr().cast(),
                        buffer.len(),
                        libc::MSG_DONTWAIT,
                    )
                };
                if got < 0 {
                    break;
                }
                count.fetch_add(1, Relaxed);
            }
        }
    }
}
