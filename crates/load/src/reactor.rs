//! Threads that own the sockets. Publishers and subscribers have separate threads, so that neither
//! delays the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tongke_plane::io::Waker;

use super::Failure;
use super::client::{Client, Deadline, Outcome};
use super::latency::Latencies;
use super::percentiles::latency_histogram;
use super::publisher::LayerStats;
use super::saturation::{ThreadSample, ThreadUsage};
use super::socket::{Batch, Epoll};
use super::stats::Stats;
use super::subscriber::SubscriberStats;

/// Wake-up policy of a thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WakePolicy {
    /// Wakes up for packets and timers: frames leave on time, and requests to a publisher are
    /// answered at once.
    Immediate,
    /// Wakes up every few milliseconds, like a network card with interrupt moderation: over
    /// loopback the server would pay for each of our wake-ups while sending. Latencies are
    /// unaffected, as the kernel timestamps arrivals. A wake-up costs 25 to 50 µs on a virtual
    /// machine.
    Moderated,
}

/// Wake-up interval without a pending wait; feedback to the server is due ten times per second.
const MODERATED_INTERVAL: Duration = Duration::from_millis(10);
/// Wake-up interval while a client connects or waits for a retransmission, as both durations are
/// measured.
const EAGER_INTERVAL: Duration = Duration::from_millis(2);

/// Wake-up interval of a thread without clients.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Interval at which latencies are published for the progress display.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(500);

/// Measurements between the opening and the closing of a window.
#[derive(Default)]
pub(crate) struct Window {
    pub sent: Vec<LayerStats>,
    pub received: Vec<SubscriberStats>,
    pub latencies: Latencies,
    /// Delay of frames behind their due time, in nanoseconds.
    pub lateness: Option<Histogram<u64>>,
    pub threads: Vec<ThreadUsage>,
    /// Datagrams dropped by the kernel at our sockets.
    pub socket_drops: u64,
    /// Names of the negotiated ciphers.
    pub ciphers: BTreeSet<&'static str>,
}

enum Command {
    Add(Box<Client>),
    OpenWindow,
    CloseWindow(Sender<Window>),
    Finish,
}

/// A group of threads.
pub(crate) struct Reactor {
    threads: Vec<Thread>,
}

struct Thread {
    commands: Sender<Command>,
    waker: Arc<Waker>,
    handle: JoinHandle<()>,
}

impl Reactor {
    pub(crate) fn start(
        name: &str,
        threads: usize,
        policy: WakePolicy,
        stats: &Arc<Stats>,
    ) -> Result<Reactor, Failure> {
        let start = |n: usize| -> Result<_, Failure> {
            let (commands, receiver) = channel();
            let waker = Arc::new(Waker::new()?);
            let (epoll, stats, worker_waker) = (Epoll::new()?, stats.clone(), waker.clone());
            let work = move || Worker::new(epoll, worker_waker, policy, stats).run(&receiver);
            let handle = std::thread::Builder::new()
                .name(format!("{name}-{n}"))
                .spawn(work)?;
            Ok(Thread {
                commands,
                waker,
                handle,
            })
        };
        Ok(Reactor {
            threads: (0..threads).map(start).collect::<Result<_, _>>()?,
        })
    }

    /// Assigns a client to a thread by its number.
    pub(crate) fn add(&self, number: usize, client: Client) {
        self.send(number % self.threads.len(), Command::Add(Box::new(client)));
    }

    pub(crate) fn open_window(&self) {
        (0..self.threads.len()).for_each(|thread| self.send(thread, Command::OpenWindow));
    }

    /// Measurements of each thread since [`Reactor::open_window`].
    pub(crate) fn close_window(&self) -> Result<Vec<Window>, Failure> {
        let (reply, windows) = channel();
        (0..self.threads.len())
            .for_each(|thread| self.send(thread, Command::CloseWindow(reply.clone())));
        drop(reply);
        let windows: Vec<Window> = windows.iter().collect();
        if windows.len() < self.threads.len() {
            return Err("a media thread of the load generator panicked".into());
        }
        Ok(windows)
    }

    /// Closes all connections and ends the threads.
    pub(crate) fn finish(self) {
        (0..self.threads.len()).for_each(|thread| self.send(thread, Command::Finish));
        for thread in self.threads {
            // The panic hook has reported it.
            let _ = thread.handle.join();
        }
    }

    fn send(&self, thread: usize, command: Command) {
        let thread = &self.threads[thread];
        // The thread has panicked, which `close_window` reports.
        let _ = thread.commands.send(command);
        thread.waker.wake();
    }
}

struct Worker {
    epoll: Epoll,
    waker: Arc<Waker>,
    policy: WakePolicy,
    clients: Vec<Client>,
    /// Deadlines by client.
    deadlines: Vec<Deadline>,
    batch: Batch,
    stats: Arc<Stats>,
    latencies: Latencies,
    /// Usage of this thread when the window opened.
    opened: Option<ThreadSample>,
    drops_before: u64,
}

impl Worker {
    fn new(epoll: Epoll, waker: Arc<Waker>, policy: WakePolicy, stats: Arc<Stats>) -> Worker {
        Worker {
            epoll,
            waker,
            policy,
            clients: Vec::new(),
            deadlines: Vec::new(),
            batch: Batch::new(),
            stats,
            latencies: Latencies::default(),
            opened: None,
            drops_before: 0,
        }
    }

    fn run(&mut self, commands: &Receiver<Command>) {
        let (mut ready, mut next_publish) = (Vec::new(), Instant::now());
        loop {
            let now = Instant::now();
            while let Ok(command) = commands.try_recv() {
                match command {
                    Command::Add(client) => self.add(*client),
                    Command::OpenWindow => self.open_window(),
                    // The caller may be gone.
                    Command::CloseWindow(reply) => drop(reply.send(self.close_window())),
                    Command::Finish => return self.finish(),
                }
            }
            let more = self.epoll.poll(&mut ready);
            for &key in &ready {
                self.clients[key].drain(&mut self.batch, &self.stats, &mut self.latencies);
                self.deadlines[key] = self.clients[key].deadline();
            }
            self.handle_timeouts(Instant::now());
            if now >= next_publish {
                next_publish = now + PUBLISH_INTERVAL;
                self.stats.add_latencies(self.latencies.take_recent());
            }
            if !more {
                self.epoll.wait(
                    &self.waker,
                    self.policy == WakePolicy::Immediate,
                    self.next_wakeup(now),
                );
            }
        }
    }

    fn handle_timeouts(&mut self, now: Instant) {
        for (client, deadline) in self
            .clients
            .iter_mut()
            .zip(&mut self.deadlines)
            .filter(|(_, deadline)| deadline.at <= now)
        {
            client.handle_timeout(&self.stats, now);
            *deadline = client.deadline();
        }
    }

    fn next_wakeup(&self, now: Instant) -> Instant {
        let eager = || self.deadlines.iter().any(|deadline| deadline.eager);
        let due = || self.deadlines.iter().map(|deadline| deadline.at).min();
        match self.policy {
            WakePolicy::Immediate => due().unwrap_or(now + IDLE_INTERVAL),
            WakePolicy::Moderated => {
                now + if eager() {
                    EAGER_INTERVAL
                } else {
                    MODERATED_INTERVAL
                }
            }
        }
    }

    fn add(&mut self, mut client: Client) {
        if self.opened.is_some() {
            client.mark_late();
        }
        match self.epoll.add(&client.socket, self.clients.len()) {
            Ok(()) => {
                client.handle_timeout(&self.stats, Instant::now());
                self.deadlines.push(client.deadline());
                self.clients.push(client);
            }
            Err(error) => self
                .stats
                .note(format!("a socket could not be watched: {error}")),
        }
    }

    fn open_window(&mut self) {
        self.clients.iter_mut().for_each(Client::open_window);
        self.latencies = Latencies::default();
        self.drops_before = self.drops();
        self.opened = Some(ThreadSample::now());
    }

    fn close_window(&mut self) -> Window {
        let thread_usage = self.opened.take().map(|opened| opened.usage());
        let socket_drops = self.drops() - self.drops_before;
        self.stats.add_latencies(self.latencies.take_recent());
        let latencies = std::mem::take(&mut self.latencies);
        let mut window = Window {
            threads: thread_usage.into_iter().collect(),
            socket_drops,
            latencies,
            ..Window::default()
        };
        for client in &mut self.clients {
            window.ciphers.extend(client.cipher());
            match client.close_window() {
                Outcome::Received(stats) => window.received.push(stats),
                Outcome::Sent(sent, lateness) => {
                    window.sent.extend(sent);
                    window
                        .lateness
                        .get_or_insert_with(latency_histogram)
                        .add(lateness)
                        .expect("all have the same bounds");
                }
            }
        }
        window
    }

    fn drops(&self) -> u64 {
        self.clients
            .iter()
            .filter_map(|client| client.socket.dropped())
            .sum()
    }

    fn finish(&mut self) {
        let now = Instant::now();
        self.clients.iter_mut().for_each(|client| client.close(now));
    }
}

impl Window {
    /// Adds the measurements of another thread.
    pub(crate) fn add(&mut self, other: Window) {
        self.sent.extend(other.sent);
        self.received.extend(other.received);
        self.latencies.add(&other.latencies);
        if let Some(lateness) = &other.lateness {
            self.lateness
                .get_or_insert_with(latency_histogram)
                .add(lateness)
                .expect("all have the same bounds");
        }
        self.threads.extend(other.threads);
        self.socket_drops += other.socket_drops;
        self.ciphers.extend(other.ciphers);
    }
}
