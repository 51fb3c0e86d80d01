//! The shell around the shards: the only code of this crate that has sockets, threads, a clock and randomness.

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

/// Commands that may wait for a shard. A join takes three; a thousand rooms that open at the bell fit.
const COMMAND_QUEUE: usize = 8_192;

/// The plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No shard was asked for.
    #[error("at least one media address is needed")]
    NoShards,
    /// The port is taken, or the address is not this machine's.
    #[error("binding the media socket to {address}: {source}")]
    Bind {
        address: SocketAddr,
        source: std::io::Error,
    },
    /// The system gave no thread or no event descriptor.
    #[error("starting a media thread: {0}")]
    Thread(#[from] std::io::Error),
    /// There is no DTLS certificate.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// The clock of everything outside the core.
pub fn now() -> Instant {
    Instant::now()
}

/// Randomness for credentials, SSRCs and first numbers.
pub fn rng() -> impl rand::CryptoRng {
    rand::rng()
}

/// The server's end of one shard.
pub struct ShardHandle {
    inbox: Neighbour,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// The one that all shards share.
    handshakes: Arc<JoinHandle<()>>,
}

/// How others reach a shard: the server, and its neighbours.
#[derive(Clone)]
pub(crate) struct Neighbour {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
    counters: Arc<Counters>,
}

/// The shard's queue is full, or its thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken;

/// Binds every address and starts one thread for each.
pub fn start(
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
    let mut neighbours = Vec::new();
    for address in addresses {
        let socket = MediaSocket::bind(*address).map_err(|source| StartError::Bind {
            address: *address,
            source,
        })?;
        let (commands, queue) = sync_channel(COMMAND_QUEUE);
        neighbours.push(Neighbour {
            commands,
            waker: Arc::new(Waker::new()?),
            counters: Arc::default(),
        });
        sockets.push(socket);
        queues.push(queue);
    }
    let (handshakes, handshakes_thread) = handshakes::start(neighbours.clone())?;
    let mut handles = Vec::new();
    for (index, (socket, queue)) in sockets.into_iter().zip(queues).enumerate() {
        let inbox = neighbours[index].clone();
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
            neighbours: neighbours.clone(),
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
    /// The address its socket is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Queues a command.
    pub fn send(&self, command: Command) -> Result<(), NotTaken> {
        self.inbox.send(command)
    }

    /// Queues a command that must not be lost; waits for room in the queue, which a shard makes within a batch.
    pub fn send_always(&self, command: Command) {
        self.inbox.send_always(command);
    }

    /// Whether the threads run that it needs.
    pub fn is_running(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
            && !self.handshakes.is_finished()
    }

    pub fn stats(&self) -> Stats {
        let cpu = self.thread.as_ref().map_or(Duration::ZERO, cpu_time);
        Stats {
            cpu,
            ..self.inbox.counters.snapshot()
        }
    }
}

/// CPU time that a thread has used so far; zero once it has ended.
fn cpu_time(thread: &JoinHandle<()>) -> Duration {
    let (mut clock, mut time) = (
        0,
        libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
    );
    // SAFETY: the thread was not joined, so its id is valid; both pointers are to locals that outlive the calls.
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
            // A panic of the thread was reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl Neighbour {
    /// Queues a command without ever waiting: two shards that wait for each other would stop both.
    fn send(&self, command: Command) -> Result<(), NotTaken> {
        // Counted first: the thread may take it before we are back.
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
                Err(NotTaken)
            }
        }
    }

    /// Queues a command that must not be lost, and waits for room; not for media threads.
    fn send_always(&self, command: Command) {
        self.counters
            .commands_queued
            .fetch_add(1, Ordering::Relaxed);
        // A thread that has ended has nobody left to whom it matters.
        let _ = self.commands.send(command);
        self.waker.wake();
    }

    fn wake(&self) {
        self.waker.wake();
    }
}
