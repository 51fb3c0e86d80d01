//! One media thread: waits, feeds its shard, performs what the shard wants.

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
use super::{Neighbour, now};
use crate::command::{Command, Event};
use crate::shard::Shard;
use crate::stats::Counters;
use crate::subscribe::arena::SendArena;
use crate::transport::Path;

/// Commands carried out between two looks at the socket.
const COMMAND_BATCH: usize = 64;

/// Nobody is here: the thread still looks this often, so that a lost wake costs a moment and not the lesson.
const IDLE: Duration = Duration::from_millis(500);

/// How far media threads go before others, as in nice(1).
const NICE: libc::c_int = -10;

/// One media thread.
pub struct ShardThread {
    pub shard: Shard,
    pub socket: MediaSocket,
    pub commands: Commands<Command>,
    pub waker: Arc<Waker>,
    pub neighbours: Vec<Neighbour>,
    pub handshakes: Queue<Task>,
    pub events: mpsc::Sender<Event>,
    pub counters: Arc<Counters>,
    pub stop: Arc<AtomicBool>,
}

/// What ended a wait. Half of them end for the shard's tick, and the kernel need not be asked what has come.
struct Ready {
    socket: bool,
    waker: bool,
}

impl ShardThread {
    /// Runs until it is told to stop.
    pub fn run(mut self) {
        exact_timers();
        before_others();
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
            more = self.carry_out_commands();
            more |= ready.socket && self.receive(&mut receiver);
            self.shard.handle_imports();
            // What came goes on before anything else is looked after.
            self.flush(&mut sender, &mut arena);
            if self.shard.handle_timeout(now()) {
                self.flush(&mut sender, &mut arena);
            }
            self.pass_on();
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

    /// True when more commands may wait.
    fn carry_out_commands(&mut self) -> bool {
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

    /// True when more datagrams may wait.
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

    /// Events for the server, requests and packets for other shards, handshakes for their thread.
    fn pass_on(&mut self) {
        // While the server does not take events they wait in the shard, which drops those that a later one replaces.
        if self.shard.has_due_events() {
            while let Ok(place) = self.events.try_reserve() {
                let Some(event) = self.shard.poll_event() else {
                    break;
                };
                place.send(event);
            }
        }
        while let Some((shard, request)) = self.shard.poll_request() {
            if let Some(neighbour) = self.neighbours.get(shard.position())
                && neighbour.send(request).is_err()
            {
                Counters::add(&self.counters.relay_overruns, 1);
            }
        }
        while let Some((peer, step)) = self.shard.poll_handshake() {
            let shard = self.shard.index();
            // A thread that has died shows in [`super::ShardHandle::is_running`]; the peer is given up in time.
            let _ = self.handshakes.send(Task { shard, peer, step });
        }
        for shard in self.shard.take_wakes() {
            if let Some(neighbour) = self.neighbours.get(shard.position()) {
                neighbour.wake();
            }
        }
    }
}

/// Waits of this thread end when they are due, not up to 50 µs later (prctl(2), PR_SET_TIMERSLACK): part of a frame waits less than that.
fn exact_timers() {
    // SAFETY: the call takes plain numbers. Where it is refused, waits end a little later.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// A packet that comes while this processor signs somebody in or indexes a text is forwarded at once, not when that thread's time slice ends.
fn before_others() {
    // SAFETY: the call takes plain numbers; 0 is the calling thread on Linux.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0 {
        tracing::info!(
            "media threads wait their turn among all others: the system grants them no priority (RLIMIT_NICE)"
        );
    }
}
