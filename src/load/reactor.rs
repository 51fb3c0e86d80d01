//! The threads that own the clients' sockets. Publishers and subscribers have threads of their own, so that neither waits for the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tongke_plane::rtp::is_rtcp;
use tongke_plane::transport::srtp::SrtpSession;

use super::Failure;
use super::datagrams::{BATCH, Batch, Epoll, Socket};
use super::endpoint::{Endpoint, Received};
use super::measure;
use super::publisher::{Publisher, Sent};
use super::subscriber::{Seen, Subscriber};

/// Timers are looked at this often: a frame is late by no more than this, and the wait costs little.
const TICK: Duration = Duration::from_millis(1);

/// A subscriber without a picture asks for a keyframe this often.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// What the threads tell while they run.
#[derive(Default)]
pub struct Shared {
    /// Clients whose keys are there, publishers included.
    pub connected: AtomicUsize,
    /// Subscribers that have had a whole keyframe.
    pub showing: AtomicUsize,
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
    /// How much of its core the busiest thread used while it was measured, in thousandths.
    pub busiest: AtomicU64,
    /// The run is over: that the server closes connections is what was asked of it.
    pub leaving: AtomicBool,
}

pub struct Client {
    socket: Socket,
    endpoint: Endpoint,
    session: Option<Box<SrtpSession>>,
    part: Part,
    begun: Instant,
    asked: Instant,
}

enum Part {
    Publisher(Box<Publisher>),
    Subscriber(Box<Subscriber>),
}

/// What a client leaves behind.
pub enum Outcome {
    Sent(Sent),
    Seen(Seen),
}

enum Command {
    Add(Box<Client>),
    OpenWindow,
    CloseWindow,
    Finish,
}

/// One or several threads.
pub struct Reactor {
    threads: Vec<(Sender<Command>, JoinHandle<Vec<Outcome>>)>,
}

impl Reactor {
    pub fn start(name: &str, threads: usize, shared: &Arc<Shared>) -> Result<Reactor, Failure> {
        let start = |n: usize| -> Result<_, Failure> {
            let (sender, commands) = channel();
            let mut worker = Worker {
                epoll: Epoll::new()?,
                clients: Vec::new(),
                batch: Batch::new(),
                shared: shared.clone(),
                window: None,
            };
            let builder = std::thread::Builder::new().name(format!("{name}-{n}"));
            Ok((sender, builder.spawn(move || worker.run(&commands))?))
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

    pub fn close_window(&self) {
        (0..self.threads.len()).for_each(|thread| self.tell(thread, Command::CloseWindow));
    }

    /// Ends the threads and gathers what they saw.
    pub fn finish(self) -> Result<Vec<Outcome>, Failure> {
        let mut outcomes = Vec::new();
        for (sender, thread) in self.threads {
            let _ = sender.send(Command::Finish);
            outcomes.extend(thread.join().map_err(|_| "a media thread of the load generator panicked")?);
        }
        Ok(outcomes)
    }

    fn tell(&self, thread: usize, command: Command) {
        // A thread that is gone has panicked, which `finish` reports.
        let _ = self.threads[thread].0.send(command);
    }
}

struct Worker {
    epoll: Epoll,
    clients: Vec<Client>,
    batch: Batch,
    shared: Arc<Shared>,
    /// When the window opened, and what CPU time the thread had used then.
    window: Option<(Instant, Duration)>,
}

impl Worker {
    fn run(&mut self, commands: &Receiver<Command>) -> Vec<Outcome> {
        let mut ready = Vec::new();
        let mut next_timers = Instant::now();
        loop {
            while let Ok(command) = commands.try_recv() {
                match command {
                    Command::Add(client) => self.add(*client),
                    Command::OpenWindow => self.open_window(),
                    Command::CloseWindow => self.close_window(),
                    Command::Finish => return self.finish(),
                }
            }
            self.epoll.wait(TICK, &mut ready);
            for &key in &ready {
                self.clients[key].drain(&mut self.batch, &self.shared);
            }
            let now = Instant::now();
            if now >= next_timers {
                next_timers = now + TICK;
                self.clients.iter_mut().for_each(|client| client.handle_timeout(now));
            }
        }
    }

    fn open_window(&mut self) {
        self.window = Some((Instant::now(), measure::thread_cpu()));
        self.clients.iter_mut().for_each(Client::open_window);
    }

    fn close_window(&mut self) {
        self.clients.iter_mut().for_each(Client::close_window);
        let Some((opened, cpu)) = self.window.take() else { return };
        let share = (measure::thread_cpu() - cpu).as_secs_f64() / opened.elapsed().as_secs_f64();
        self.shared.busiest.fetch_max((share * 1000.0) as u64, Ordering::Relaxed);
    }

    fn add(&mut self, mut client: Client) {
        if let (Part::Subscriber(subscriber), Some(_)) = (&mut client.part, &self.window) {
            subscriber.seen.late = true;
        }
        match self.epoll.add(&client.socket, self.clients.len()) {
            Ok(()) => self.clients.push(client),
            Err(error) => eprintln!("tongke load: a socket could not be watched: {error}"),
        }
    }

    fn finish(&mut self) -> Vec<Outcome> {
        let now = Instant::now();
        self.clients.iter_mut().for_each(|client| client.close(now));
        let outcome = |client: Client| match client.part {
            Part::Publisher(publisher) => Outcome::Sent(publisher.sent),
            Part::Subscriber(subscriber) => Outcome::Seen(subscriber.seen),
        };
        std::mem::take(&mut self.clients).into_iter().map(outcome).collect()
    }
}

impl Client {
    pub fn publisher(socket: Socket, endpoint: Endpoint, publisher: Publisher, begun: Instant) -> Client {
        Client { socket, endpoint, session: None, part: Part::Publisher(Box::new(publisher)), begun, asked: begun }
    }

    pub fn subscriber(socket: Socket, endpoint: Endpoint, subscriber: Subscriber, begun: Instant) -> Client {
        Client { socket, endpoint, session: None, part: Part::Subscriber(Box::new(subscriber)), begun, asked: begun }
    }

    fn open_window(&mut self) {
        match &mut self.part {
            Part::Publisher(publisher) => publisher.window = true,
            Part::Subscriber(subscriber) => subscriber.open_window(),
        }
    }

    fn close_window(&mut self) {
        match &mut self.part {
            Part::Publisher(publisher) => publisher.window = false,
            Part::Subscriber(subscriber) => subscriber.close_window(),
        }
    }

    fn drain(&mut self, batch: &mut Batch, shared: &Shared) {
        loop {
            let count = batch.receive(&self.socket);
            let now = Instant::now();
            for datagram in batch.datagrams(count) {
                self.handle(datagram, shared, now);
            }
            self.flush();
            if count < BATCH {
                return;
            }
        }
    }

    fn handle(&mut self, datagram: &mut [u8], shared: &Shared, now: Instant) {
        match self.endpoint.handle(datagram, now) {
            Received::Media => self.handle_media(datagram, shared, now),
            Received::Connected(session) => {
                self.session = Some(session);
                shared.connected.fetch_add(1, Ordering::Relaxed);
                if let Part::Subscriber(subscriber) = &mut self.part {
                    subscriber.connected(now);
                }
            }
            Received::Closed => {
                if !shared.leaving.load(Ordering::Relaxed) {
                    let seconds = (now - self.begun).as_secs_f32();
                    eprintln!("tongke load: the server closed a connection after {seconds:.1} s");
                }
                self.session = None;
            }
            Received::Nothing => {}
        }
    }

    fn handle_media(&mut self, datagram: &mut [u8], shared: &Shared, now: Instant) {
        let Some(session) = &mut self.session else { return };
        match &mut self.part {
            Part::Subscriber(subscriber) if !is_rtcp(datagram) => {
                let shown = subscriber.shows();
                subscriber.handle_rtp(datagram, session, now);
                shared.packets.fetch_add(1, Ordering::Relaxed);
                shared.bytes.fetch_add(datagram.len() as u64, Ordering::Relaxed);
                if !shown && subscriber.shows() {
                    shared.showing.fetch_add(1, Ordering::Relaxed);
                }
            }
            Part::Publisher(publisher) if is_rtcp(datagram) => {
                if let Ok(len) = session.inbound.unprotect_rtcp(datagram) {
                    publisher.handle_rtcp(&datagram[..len], &self.socket, &mut session.outbound);
                }
            }
            Part::Publisher(_) | Part::Subscriber(_) => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.flush();
        let Some(session) = &mut self.session else { return };
        match &mut self.part {
            Part::Publisher(publisher) => publisher.handle_timeout(&self.socket, session, now),
            Part::Subscriber(subscriber) => {
                subscriber.handle_timeout(&self.socket, &mut session.outbound, now);
                if !subscriber.shows() && now >= self.asked + ASK_EVERY {
                    self.asked = now;
                    subscriber.ask_for_keyframe(&self.socket, &mut session.outbound);
                }
            }
        }
    }

    fn close(&mut self, now: Instant) {
        self.endpoint.close(now);
        self.flush();
    }

    fn flush(&mut self) {
        for datagram in self.endpoint.take_outgoing() {
            self.socket.send(&datagram);
        }
    }
}
