//! The threads that own the clients' sockets. Publishers and subscribers have threads of their own, so that neither waits for the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tongke_plane::io::Waker;

use super::Failure;
use super::client::{Client, Outcome, Waits};
use super::datagrams::{Batch, Epoll};
use super::live::Live;
use super::percentiles::latencies;
use super::publisher::Sent;
use super::sightings::Sightings;
use super::strain::{Mark, Strain};
use super::subscriber::Seen;

/// When a thread turns to its clients.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// When something comes, and when a timer is due: a frame leaves on time, and what is asked of a publisher is answered at once.
    AtOnce,
    /// Every few milliseconds, and not whenever something comes, as behind a network card that moderates its interrupts: over loopback it is
    /// the server that would pay for each waking of ours, in the middle of its sending. Nothing is measured by when we look: the kernel tells
    /// when a datagram came. A turn costs mostly its waking, for which a virtual machine counts 25 to 50 µs.
    Moderated,
}

/// So often where nobody waits for anything: reports to the server, due ten times a second, bear it.
const MODERATED: Duration = Duration::from_millis(10);
/// So often while somebody does: each step of joining waits for the one before, and what that takes is measured, as is a repair.
const EAGER: Duration = Duration::from_millis(2);

/// A thread without clients waits for commands.
const IDLE: Duration = Duration::from_secs(1);

/// What the view shows is handed over this often.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// What was seen between the opening of a window and its closing.
#[derive(Default)]
pub struct Window {
    pub sent: Vec<Sent>,
    pub seen: Vec<Seen>,
    pub sightings: Sightings,
    /// How late frames left after they were due, in nanoseconds.
    pub lateness: Option<Histogram<u64>>,
    pub strain: Vec<Strain>,
    /// Datagrams that the kernel dropped at our sockets.
    pub socket_drops: u64,
    /// Names of the ciphers in use.
    pub ciphers: BTreeSet<&'static str>,
}

enum Command {
    Add(Box<Client>),
    OpenWindow,
    CloseWindow(Sender<Window>),
    Finish,
}

/// One or several threads.
pub struct Reactor {
    threads: Vec<Thread>,
}

struct Thread {
    commands: Sender<Command>,
    waker: Arc<Waker>,
    handle: JoinHandle<()>,
}

impl Reactor {
    pub fn start(
        name: &str,
        threads: usize,
        turns: Turns,
        live: &Arc<Live>,
    ) -> Result<Reactor, Failure> {
        let start = |n: usize| -> Result<_, Failure> {
            let (commands, receiver) = channel();
            let waker = Arc::new(Waker::new()?);
            let (epoll, live, woken) = (Epoll::new()?, live.clone(), waker.clone());
            let work = move || Worker::new(epoll, woken, turns, live).run(&receiver);
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

    /// Gives a client to the thread of its number.
    pub fn add(&self, number: usize, client: Client) {
        self.tell(number % self.threads.len(), Command::Add(Box::new(client)));
    }

    pub fn open_window(&self) {
        (0..self.threads.len()).for_each(|thread| self.tell(thread, Command::OpenWindow));
    }

    /// What each thread saw since [`Reactor::open_window`].
    pub fn close_window(&self) -> Result<Vec<Window>, Failure> {
        let (reply, windows) = channel();
        (0..self.threads.len())
            .for_each(|thread| self.tell(thread, Command::CloseWindow(reply.clone())));
        drop(reply);
        let windows: Vec<Window> = windows.iter().collect();
        if windows.len() < self.threads.len() {
            return Err("a media thread of the load generator panicked".into());
        }
        Ok(windows)
    }

    /// Ends the threads; every client says goodbye.
    pub fn finish(self) {
        (0..self.threads.len()).for_each(|thread| self.tell(thread, Command::Finish));
        for thread in self.threads {
            // The panic hook has told of one that panicked.
            let _ = thread.handle.join();
        }
    }

    fn tell(&self, thread: usize, command: Command) {
        let thread = &self.threads[thread];
        // A thread that is gone has panicked, which `close_window` reports.
        let _ = thread.commands.send(command);
        thread.waker.wake();
    }
}

struct Worker {
    epoll: Epoll,
    waker: Arc<Waker>,
    turns: Turns,
    clients: Vec<Client>,
    /// What each of them waits for.
    waits: Vec<Waits>,
    batch: Batch,
    live: Arc<Live>,
    sightings: Sightings,
    /// While a window is open.
    mark: Option<Mark>,
    drops_before: u64,
}

impl Worker {
    fn new(epoll: Epoll, waker: Arc<Waker>, turns: Turns, live: Arc<Live>) -> Worker {
        Worker {
            epoll,
            waker,
            turns,
            clients: Vec::new(),
            waits: Vec::new(),
            batch: Batch::new(),
            live,
            sightings: Sightings::default(),
            mark: None,
            drops_before: 0,
        }
    }

    fn run(&mut self, commands: &Receiver<Command>) {
        let (mut ready, mut next_telling) = (Vec::new(), Instant::now());
        loop {
            let turn = Instant::now();
            while let Ok(command) = commands.try_recv() {
                match command {
                    Command::Add(client) => self.add(*client),
                    Command::OpenWindow => self.open_window(),
                    // Whoever asked may have given up.
                    Command::CloseWindow(reply) => drop(reply.send(self.close_window())),
                    Command::Finish => return self.finish(),
                }
            }
            let more = self.epoll.poll(&mut ready);
            for &key in &ready {
                self.clients[key].drain(&mut self.batch, &self.live, &mut self.sightings);
                self.waits[key] = self.clients[key].waits();
            }
            self.handle_timeouts(Instant::now());
            if turn >= next_telling {
                next_telling = turn + TELL_EVERY;
                self.live.add_latencies(self.sightings.take_recent());
            }
            if !more {
                self.epoll.wait(
                    &self.waker,
                    self.turns == Turns::AtOnce,
                    self.next_turn(turn),
                );
            }
        }
    }

    fn handle_timeouts(&mut self, now: Instant) {
        for (client, waits) in self
            .clients
            .iter_mut()
            .zip(&mut self.waits)
            .filter(|(_, waits)| waits.until <= now)
        {
            client.handle_timeout(&self.live, now);
            *waits = client.waits();
        }
    }

    fn next_turn(&self, turn: Instant) -> Instant {
        let eager = || self.waits.iter().any(|waits| waits.eagerly);
        let due = || self.waits.iter().map(|waits| waits.until).min();
        match self.turns {
            Turns::AtOnce => due().unwrap_or(turn + IDLE),
            Turns::Moderated => turn + if eager() { EAGER } else { MODERATED },
        }
    }

    fn add(&mut self, mut client: Client) {
        if self.mark.is_some() {
            client.comes_late();
        }
        match self.epoll.add(&client.socket, self.clients.len()) {
            Ok(()) => {
                client.handle_timeout(&self.live, Instant::now());
                self.waits.push(client.waits());
                self.clients.push(client);
            }
            Err(error) => self
                .live
                .note(format!("a socket could not be watched: {error}")),
        }
    }

    fn open_window(&mut self) {
        self.clients.iter_mut().for_each(Client::open_window);
        self.sightings = Sightings::default();
        self.drops_before = self.drops();
        self.mark = Some(Mark::now());
    }

    fn close_window(&mut self) -> Window {
        let strain = self.mark.take().map(|mark| mark.strain());
        let socket_drops = self.drops() - self.drops_before;
        self.live.add_latencies(self.sightings.take_recent());
        let sightings = std::mem::take(&mut self.sightings);
        let mut window = Window {
            strain: strain.into_iter().collect(),
            socket_drops,
            sightings,
            ..Window::default()
        };
        for client in &mut self.clients {
            window.ciphers.extend(client.cipher());
            match client.close_window() {
                Outcome::Seen(seen) => window.seen.push(seen),
                Outcome::Sent(sent, lateness) => {
                    window.sent.extend(sent);
                    window
                        .lateness
                        .get_or_insert_with(latencies)
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
    /// What another thread saw.
    pub fn add(&mut self, other: Window) {
        self.sent.extend(other.sent);
        self.seen.extend(other.seen);
        self.sightings.add(&other.sightings);
        if let Some(lateness) = &other.lateness {
            self.lateness
                .get_or_insert_with(latencies)
                .add(lateness)
                .expect("all have the same bounds");
        }
        self.strain.extend(other.strain);
        self.socket_drops += other.socket_drops;
        self.ciphers.extend(other.ciphers);
    }
}
