//! The threads that own the clients' sockets. Publishers and subscribers have threads of their own, so that neither waits for the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Failure;
use super::client::{Client, Outcome};
use super::datagrams::{Batch, Epoll};
use super::live::Live;
use super::percentiles::latencies;
use super::publisher::Sent;
use super::sightings::Sightings;
use super::strain::{Mark, Strain};
use super::subscriber::Seen;

/// Sockets are looked at this often, and not whenever something comes, as behind a network card that moderates its interrupts: over loopback
/// it is the server that would pay for each waking of ours, in the middle of its sending. Nothing is measured by when we look: the kernel
/// tells when a datagram came. A look costs mostly its waking, for which a virtual machine counts 25 to 50 µs.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// So often while somebody joins: there every answer waits for the one before, and how long it takes is measured.
const LOOK_JOINING: Duration = Duration::from_millis(2);

/// A frame leaves when it is due: those who send look at their timers whenever they wake.
pub const PUBLISHING: Duration = Duration::ZERO;
/// What a subscriber has to do by the clock bears this: a NACK waits twice as long for packets that changed places.
pub const SUBSCRIBING: Duration = Duration::from_millis(5);

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
    threads: Vec<(Sender<Command>, JoinHandle<()>)>,
}

impl Reactor {
    /// `pace`: how often clients look at their timers.
    pub fn start(name: &str, threads: usize, pace: Duration, live: &Arc<Live>) -> Result<Reactor, Failure> {
        let start = |n: usize| -> Result<_, Failure> {
            let (sender, commands) = channel();
            let (epoll, live) = (Epoll::new()?, live.clone());
            let work = move || Worker::new(epoll, pace, live).run(&commands);
            Ok((sender, std::thread::Builder::new().name(format!("{name}-{n}")).spawn(work)?))
        };
        Ok(Reactor { threads: (0..threads).map(start).collect::<Result<_, _>>()? })
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
        (0..self.threads.len()).for_each(|thread| self.tell(thread, Command::CloseWindow(reply.clone())));
        drop(reply);
        let windows: Vec<Window> = windows.iter().collect();
        if windows.len() < self.threads.len() {
            return Err("a media thread of the load generator panicked".into());
        }
        Ok(windows)
    }

    /// Ends the threads; every client says goodbye.
    pub fn finish(self) {
        for (sender, thread) in self.threads {
            let _ = sender.send(Command::Finish);
            // The panic hook has told of one that panicked.
            let _ = thread.join();
        }
    }

    fn tell(&self, thread: usize, command: Command) {
        // A thread that is gone has panicked, which `close_window` reports.
        let _ = self.threads[thread].0.send(command);
    }
}

struct Worker {
    epoll: Epoll,
    pace: Duration,
    clients: Vec<Client>,
    batch: Batch,
    live: Arc<Live>,
    sightings: Sightings,
    /// While a window is open.
    mark: Option<Mark>,
    drops_before: u64,
}

impl Worker {
    fn new(epoll: Epoll, pace: Duration, live: Arc<Live>) -> Worker {
        Worker {
            epoll,
            pace,
            clients: Vec::new(),
            batch: Batch::new(),
            live,
            sightings: Sightings::default(),
            mark: None,
            drops_before: 0,
        }
    }

    fn run(&mut self, commands: &Receiver<Command>) {
        let (mut ready, mut next_frame, mut look_every) = (Vec::new(), None, LOOK_JOINING);
        let [mut next_look, mut next_timers, mut next_telling] = [Instant::now(); 3];
        loop {
            while let Ok(command) = commands.try_recv() {
                match command {
                    Command::Add(client) => self.add(*client),
                    Command::OpenWindow => self.open_window(),
                    // Whoever asked may have given up.
                    Command::CloseWindow(reply) => drop(reply.send(self.close_window())),
                    Command::Finish => return self.finish(),
                }
            }
            if ready.is_empty() {
                let until = next_frame.map_or(next_look, |due| next_look.min(due));
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                next_look = Instant::now() + look_every;
            }
            self.epoll.poll(&mut ready);
            for &key in &ready {
                self.clients[key].drain(&mut self.batch, &self.live, &mut self.sightings);
            }
            let now = Instant::now();
            if now >= next_timers {
                next_timers = now + self.pace;
                self.clients.iter_mut().for_each(|client| client.handle_timeout(&self.live, now));
                next_frame = self.clients.iter().filter_map(Client::next_frame).min();
                let joining = self.clients.iter().any(Client::is_joining);
                look_every = if joining { LOOK_JOINING } else { LOOK_EVERY };
            }
            if now >= next_telling {
                next_telling = now + TELL_EVERY;
                self.live.add_latencies(self.sightings.take_recent());
            }
        }
    }

    fn add(&mut self, mut client: Client) {
        if self.mark.is_some() {
            client.comes_late();
        }
        match self.epoll.add(&client.socket, self.clients.len()) {
            Ok(()) => {
                client.handle_timeout(&self.live, Instant::now());
                self.clients.push(client);
            }
            Err(error) => self.live.note(format!("a socket could not be watched: {error}")),
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
        let mut window = Window { strain: strain.into_iter().collect(), socket_drops, sightings, ..Window::default() };
        for client in &mut self.clients {
            window.ciphers.extend(client.cipher());
            match client.close_window() {
                Outcome::Seen(seen) => window.seen.push(seen),
                Outcome::Sent(sent, lateness) => {
                    window.sent.extend(sent);
                    window.lateness.get_or_insert_with(latencies).add(lateness).expect("all have the same bounds");
                }
            }
        }
        window
    }

    fn drops(&self) -> u64 {
        self.clients.iter().filter_map(|client| client.socket.dropped()).sum()
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
            self.lateness.get_or_insert_with(latencies).add(lateness).expect("all have the same bounds");
        }
        self.strain.extend(other.strain);
        self.socket_drops += other.socket_drops;
        self.ciphers.extend(other.ciphers);
    }
}
