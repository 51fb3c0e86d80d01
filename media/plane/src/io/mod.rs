//! I/O shell of the shards: the only code of this crate that uses sockets, threads, the clock and
//! randomness.

#![expect(
    clippy::disallowed_methods,
    reason = "the shell is where clock, sockets and randomness belong"
)]

mod address;
mod handshakes;
mod receive;
mod send;
mod shard_thread;
mod socket;
mod waker;

use std::net::SocketAddr;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::Rng;
use tokio::sync::mpsc;

use crate::command::{Command, Event};
use crate::ids::Ssrc;
use crate::index::ShardIx;
use crate::rtp::WallClock;
use crate::shard::Shard;
use crate::stats::{Counters, Stats};
use crate::transport::TransportError;

pub use receive::Receiver;
pub use send::{SendReport, Sender};
pub use socket::MediaSocket;
pub use waker::Waker;

/// Capacity of a shard's command queue. A join takes three commands; a thousand classrooms that
/// join at the bell fit.
const COMMAND_QUEUE: usize = 8_192;

/// Error of starting the plane ([`crate::start`]).
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The list of addresses is empty.
    #[error("at least one media address is needed")]
    NoShards,
    /// The port is in use, or the address does not belong to this machine.
    #[error("binding the media socket to {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The system provided no thread or event descriptor.
    #[error("starting a media thread: {0}")]
    Thread(#[from] std::io::Error),
    /// Generating the DTLS certificate failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Reads the monotonic clock, for the code outside of the core.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns the generator of credentials, SSRCs and initial sequence numbers.
pub(crate) fn rng() -> impl rand::CryptoRng {
    rand::rng()
}

/// Handle of one shard. Dropping it stops the thread.
pub(crate) struct ShardHandle {
    inbox: ShardInbox,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// The handshake thread, shared by all shards.
    handshakes: Arc<JoinHandle<()>>,
}

/// Command queue of a shard, for the plane and for the other shards.
#[derive(Clone)]
struct ShardInbox {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
    counters: Arc<Counters>,
}

/// The command queue is full, or the thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// Binds each address and starts a thread for it.
pub(crate) fn start(
    addresses: &[SocketAddr],
    events: &mpsc::Sender<Event>,
) -> Result<Vec<ShardHandle>, StartError> {
    if addresses.is_empty() {
        return Err(StartError::NoShards);
    }
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let wall = WallClock::new(now(), unix);
    let mut sockets = Vec::new();
    let mut queues = Vec::new();
    let mut inboxes = Vec::new();
    for address in addresses {
        let socket = MediaSocket::bind(*address).map_err(|source| StartError::Bind {
            address: *address,
            source,
        })?;
        let (commands, queue) = sync_channel(COMMAND_QUEUE);
        inboxes.push(ShardInbox {
            commands,
            waker: Arc::new(Waker::new()?),
            counters: Arc::default(),
        });
        sockets.push(socket);
        queues.push(queue);
    }
    let (handshakes, handshakes_thread) = handshakes::start(inboxes.clone())?;
    let mut handles = Vec::new();
    for (index, (socket, queue)) in sockets.into_iter().zip(queues).enumerate() {
        let inbox = inboxes[index].clone();
        let stop = Arc::new(AtomicBool::new(false));
        let address = socket.address();
        let shard = Shard::new(
            ShardIx::new(index),
            inbox.counters.clone(),
            wall,
            Ssrc(rng().random()),
        );
        let thread = shard_thread::ShardThread {
            shard,
            socket,
            commands: queue,
            waker: inbox.waker.clone(),
            inboxes: inboxes.clone(),
            handshakes: handshakes.clone(),
            events: events.clone(),
            counters: inbox.counters.clone(),
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("media-{index}"))
            .spawn(move || thread.run())?;
        let handshakes = handshakes_thread.clone();
        handles.push(ShardHandle {
            inbox,
            address,
            stop,
            thread: Some(thread),
            handshakes,
        });
    }
    Ok(handles)
}

impl ShardHandle {
    /// Returns the address of the socket.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Queues a command.
    pub(crate) fn send(&self, command: Command) -> Result<(), QueueFull> {
        self.inbox.send(command)
    }

    /// Queues a command that must not be lost. Blocks while the queue is full; a shard drains it
    /// within a batch.
    pub(crate) fn send_blocking(&self, command: Command) {
        self.inbox.send_blocking(command);
    }

    /// Returns true if the shard's thread and the handshake thread are running.
    pub(crate) fn is_running(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
            && !self.handshakes.is_finished()
    }

    /// Returns the counters and the CPU time.
    pub(crate) fn stats(&self) -> Stats {
        let cpu = self.thread.as_ref().map_or(Duration::ZERO, cpu_time);
        Stats {
            cpu,
            ..self.inbox.counters.snapshot()
        }
    }
}

/// Returns the CPU time of a thread; zero once it has ended.
fn cpu_time(thread: &JoinHandle<()>) -> Duration {
    let (mut clock, mut time) = (
        0,
        libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
    );
    // SAFETY: the thread was not joined, so its id is valid; both pointers point to locals that
    // outlive the calls.
    unsafe {
        if libc::pthread_getcpuclockid(thread.as_pthread_t(), &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut time) != 0
        {
            return Duration::ZERO;
        }
    }
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Drop for ShardHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.inbox.waker.wake();
        if let Some(thread) = self.thread.take() {
            // The panic hook has already reported a panic of the thread.
            let _ = thread.join();
        }
    }
}

impl ShardInbox {
    /// Queues a command without blocking: two shards that block on each other would deadlock.
    fn send(&self, command: Command) -> Result<(), QueueFull> {
        // Counted first: the thread may pop the command before this function returns.
        self.counters
            .commands_queued
            .fetch_add(1, Ordering::Relaxed);
        match self.commands.try_send(command) {
            Ok(()) => {
                self.waker.wake();
                Ok(())
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counters
                    .commands_queued
                    .fetch_sub(1, Ordering::Relaxed);
                Err(QueueFull)
            }
        }
    }

    /// Queues a command that must not be lost, and blocks while the queue is full. Not for media
    /// threads.
    fn send_blocking(&self, command: Command) {
        self.counters
            .commands_queued
            .fetch_add(1, Ordering::Relaxed);
        // The result does not matter if the thread has ended.
        let _ = self.commands.send(command);
        self.waker.wake();
    }

    fn wake(&self) {
        self.waker.wake();
    }
}
