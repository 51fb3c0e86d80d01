//! Media thread: waits for input, feeds it to its shard, and performs the shard's outputs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver as Commands, Sender as Queue};
use std::time::Duration;

use tokio::sync::mpsc;

use super::handshakes::Task;
use super::receive::Receiver;
use super::send::Sender;
use super::socket::MediaSocket;
use super::waker::Waker;
use super::{ShardInbox, now};
use crate::command::{Command, Event};
use crate::shard::Shard;
use crate::stats::Counters;
use crate::subscribe::arena::SendArena;
use crate::transport::Path;

/// Maximum number of commands between two socket reads.
const COMMAND_BATCH: usize = 64;

/// Maximum wait without peers. It bounds the delay of a lost wake-up.
const IDLE: Duration = Duration::from_millis(500);

/// Scheduling priority of media threads (nice(2) value).
const NICE: libc::c_int = -10;

/// One media thread.
pub(super) struct ShardThread {
    pub(super) shard: Shard,
    pub(super) socket: MediaSocket,
    pub(super) commands: Commands<Command>,
    pub(super) waker: Arc<Waker>,
    pub(super) inboxes: Vec<ShardInbox>,
    pub(super) handshakes: Queue<Task>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: Arc<AtomicBool>,
}

/// Result of a wait. Half of the waits end with a timer, and then the socket need not be read.
struct Ready {
    socket: bool,
    waker: bool,
}

impl ShardThread {
    /// Runs until `stop` is set.
    pub(super) fn run(mut self) {
        set_timer_slack();
        raise_priority();
        let (mut receiver, mut sender, mut arena) =
            (Receiver::new(), Sender::new(), SendArena::new());
        let mut more = false;
        while !self.stop.load(Ordering::Relaxed) {
            let ready = if more {
                Ready {
                    socket: true,
                    waker: true,
                }
            } else {
                self.wait()
            };
            if ready.waker {
                self.waker.reset();
            }
            more = self.execute_commands();
            more |= ready.socket && self.receive(&mut receiver);
            self.shard.handle_imports();
            // Forward received packets before running timers.
            self.flush(&mut sender, &mut arena);
            if self.shard.handle_timeout(now()) {
                self.flush(&mut sender, &mut arena);
            }
            self.dispatch_outputs();
        }
    }

    fn wait(&self) -> Ready {
        let due = self
            .shard
            .poll_timeout()
            .map_or(IDLE, |due| due.saturating_duration_since(now()));
        let timeout = libc::timespec {
            tv_sec: due.as_secs() as _,
            tv_nsec: due.subsec_nanos() as _,
        };
        let mut polls = [self.socket.fd(), self.waker.fd()].map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        // SAFETY: two valid pollfds and a valid timeout; no signal mask.
        unsafe {
            libc::ppoll(
                polls.as_mut_ptr(),
                polls.len() as libc::nfds_t,
                &raw const timeout,
                std::ptr::null(),
            )
        };
        let [socket, waker] = polls.map(|poll| poll.revents != 0);
        Ready { socket, waker }
    }

    /// Executes a batch of commands. Returns true if more may be queued.
    fn execute_commands(&mut self) -> bool {
        for _ in 0..COMMAND_BATCH {
            let Ok(command) = self.commands.try_recv() else {
                return false;
            };
            self.counters
                .commands_queued
                .fetch_sub(1, Ordering::Relaxed);
            self.shard.handle_command(now(), command);
        }
        true
    }

    /// Receives a batch of datagrams. Returns true if more may be pending.
    fn receive(&mut self, receiver: &mut Receiver) -> bool {
        let more = match receiver.receive(&self.socket) {
            Ok(more) => more,
            Err(error) => {
                tracing::error!(%error, "receiving from the media socket");
                return false;
            }
        };
        let at = now();
        let (mut datagrams, mut bytes) = (0, 0);
        receiver.for_each(|from, datagram| {
            (datagrams, bytes) = (datagrams + 1, bytes + datagram.len() as u64);
            self.shard.handle_datagram(at, Path::udp(from), datagram);
        });
        Counters::add(&self.counters.datagrams_received, datagrams);
        Counters::add(&self.counters.bytes_received, bytes);
        Counters::add(&self.counters.batches_received, u64::from(datagrams > 0));
        more
    }

    fn flush(&mut self, sender: &mut Sender, arena: &mut SendArena) {
        loop {
            let more = self.shard.poll_output(now(), arena);
            let report = sender.flush(&self.socket, arena);
            Counters::add(&self.counters.messages_sent, arena.messages().len() as u64);
            arena.clear();
            Counters::add(&self.counters.datagrams_sent, report.datagrams);
            Counters::add(&self.counters.bytes_sent, report.bytes);
            Counters::add(&self.counters.send_failures, report.failures);
            if !more {
                return;
            }
        }
    }

    /// Passes on events to the server, commands and wake-ups to other shards, and handshake steps
    /// to their thread.
    fn dispatch_outputs(&mut self) {
        // While the server's queue is full, events stay in the shard, which drops transient ones
        // beyond its bound.
        if self.shard.has_due_events() {
            while let Ok(permit) = self.events.try_reserve() {
                let Some(event) = self.shard.poll_event() else {
                    break;
                };
                permit.send(event);
            }
        }
        while let Some((shard, request)) = self.shard.poll_request() {
            if let Some(inbox) = self.inboxes.get(shard.position())
                && inbox.send(request).is_err()
            {
                Counters::add(&self.counters.relay_overruns, 1);
            }
        }
        while let Some((peer, step)) = self.shard.poll_handshake() {
            let shard = self.shard.index();
            // A dead handshake thread shows in [`super::ShardHandle::is_running`]; the peer's
            // handshake times out.
            let _ = self.handshakes.send(Task { shard, peer, step });
        }
        for shard in self.shard.take_wakes() {
            if let Some(inbox) = self.inboxes.get(shard.position()) {
                inbox.wake();
            }
        }
    }
}

/// Sets the timer slack to 1 ns instead of 50 µs (prctl(2), PR_SET_TIMERSLACK): frame coalescing
/// uses shorter delays.
fn set_timer_slack() {
    // SAFETY: the call takes integers only. If it fails, waits end slightly late.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// Raises the priority of this thread: a packet must be forwarded at once while another thread
/// hashes a password or indexes text, not at the end of that thread's time slice.
fn raise_priority() {
    // SAFETY: the call takes integers only; 0 is the calling thread on Linux.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0 {
        tracing::info!(
            "media threads run at normal priority: the system does not permit a higher one (RLIMIT_NICE)"
        );
    }
}
