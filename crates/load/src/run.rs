//! The course of a run: publishers come, subscribers join step by step, each step is measured, everybody leaves.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Part};
use super::datagrams::Socket;
use super::endpoint::{Credentials, Endpoint, Keyring};
use super::http::{Exchange, Signalling};
use super::live::Live;
use super::process::{Reading, Server, Usage};
use super::publisher::Publisher;
use super::reactor::{Reactor, Turns, Window};
use super::report::{self, Measured, Report};
use super::sdp::Offer;
use super::subscriber::{Manner, Subscriber};
use super::{Args, Failure, clock};

/// Joins under way at once when no pace is asked for: a bell that brings a school in, not a denial of service.
const JOINING: usize = 8;

/// A client that has no picture after this long is counted as one that never had.
const SETTLE: Duration = Duration::from_secs(20);

pub struct Run<'a> {
    args: &'a Args,
    live: Arc<Live>,
    /// Set when the run is to end early.
    stop: CancellationToken,
    keyring: Arc<Keyring>,
    signalling: Signalling,
    senders: Reactor,
    receivers: Reactor,
    server: Option<Server>,
    /// The server with publishers and without subscribers.
    at_rest: Reading,
    sessions: Vec<Exchange>,
    /// Subscribers that were asked to join, and how many of them could not.
    asked: usize,
    refused: usize,
}

impl<'a> Run<'a> {
    pub fn new(
        args: &'a Args,
        live: Arc<Live>,
        stop: CancellationToken,
    ) -> Result<Run<'a>, Failure> {
        Ok(Run {
            args,
            keyring: Arc::new(Keyring::generate()?),
            signalling: Signalling::new(args)?,
            senders: Reactor::start("publishers", 1, Turns::AtOnce, &live)?,
            receivers: Reactor::start("subscribers", args.threads.max(1), Turns::Moderated, &live)?,
            server: Server::of(&args.server_pid),
            at_rest: Reading::default(),
            sessions: Vec::new(),
            asked: 0,
            refused: 0,
            live,
            stop,
        })
    }

    /// The publishers come.
    pub async fn begin(&mut self) -> Result<(), Failure> {
        self.live.set_doing("publishers join");
        for number in 0..self.args.publishers {
            let (session, client) = self.publisher(number).await?;
            self.sessions.push(session);
            self.senders.add(number, client);
        }
        self.wait_until(|live| live.publishing.load(Relaxed) >= self.args.publishers)
            .await;
        if self.args.publishers > 0 && self.live.publishing.load(Relaxed) == 0 {
            return Err(
                "no publisher could connect: does the server's media port reach this machine?"
                    .into(),
            );
        }
        self.at_rest = self.read_server()?.unwrap_or_default();
        Ok(())
    }

    /// Subscribers join until there are so many, and then it is measured. `last`: the storm comes as well.
    pub async fn step(&mut self, subscribers: usize, last: bool) -> Result<Report, Failure> {
        self.live.set_doing(format!(
            "{subscribers} subscribers join (Ctrl-C ends with the figures up to then)"
        ));
        let pace = self
            .args
            .ramp
            .map(|joins| Duration::from_secs_f64(1.0 / joins));
        let numbers = self.asked..subscribers;
        self.asked = subscribers;
        let (sessions, refused) = self.bring_in(numbers, pace).await;
        self.sessions.extend(sessions);
        self.refused += refused;
        let here = subscribers.saturating_sub(self.refused);
        self.wait_until(|live| live.showing.load(Relaxed) >= here)
            .await;
        let seconds = self.args.seconds;
        self.live.set_doing(format!(
            "measuring {subscribers} subscribers for {seconds} s (Ctrl-C ends it now)"
        ));
        self.measure(subscribers, if last { self.args.storm } else { 0 })
            .await
    }

    async fn measure(&mut self, subscribers: usize, storm: usize) -> Result<Report, Failure> {
        let (before, cpu) = (self.read_server()?, clock::process_cpu());
        self.senders.open_window();
        self.receivers.open_window();
        let began = Instant::now();
        let pace = Duration::from_secs(self.args.storm_seconds) / storm.max(1) as u32;
        let whole = async {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(self.args.seconds)) => {}
                () = self.stop.cancelled() => {}
            }
        };
        let ((), (sessions, refused)) = tokio::join!(
            whole,
            self.bring_in(subscribers..subscribers + storm, Some(pace))
        );
        let (after, elapsed) = (self.read_server()?, began.elapsed());
        let usage = after
            .zip(before)
            .map(|(after, before)| Usage::between(&before, &after));
        let mut window = Window::default();
        for part in self
            .senders
            .close_window()?
            .into_iter()
            .chain(self.receivers.close_window()?)
        {
            window.add(part);
        }
        self.sessions.extend(sessions);
        self.refused += refused;
        let measured = Measured {
            subscribers,
            joins_refused: self.refused,
            elapsed,
            interrupted: self.stop.is_cancelled(),
            window,
            cpu: clock::process_cpu() - cpu,
            usage: usage.map(|usage| (usage, self.at_rest.rss_bytes)),
        };
        Ok(report::of(self.args, measured))
    }

    /// Everybody leaves.
    pub async fn leave(self) {
        self.live.leaving.store(true, Relaxed);
        self.signalling.leave(self.sessions).await;
        self.senders.finish();
        self.receivers.finish();
    }

    /// Subscribers join, one each `pace`, or some at once as fast as they can. Returns the sessions of those who could, and how many could not.
    async fn bring_in(
        &self,
        numbers: Range<usize>,
        pace: Option<Duration>,
    ) -> (Vec<Exchange>, usize) {
        let begun = tokio::time::Instant::now();
        let at_once = if pace.is_some() {
            numbers.len().max(1)
        } else {
            JOINING
        };
        let joins = numbers.enumerate().map(|(nth, number)| async move {
            tokio::time::sleep_until(begun + pace.unwrap_or_default() * nth as u32).await;
            let (session, client) = self.subscriber(number).await?;
            self.receivers.add(number, client);
            Ok::<_, Failure>(session)
        });
        let joins = stream::iter(joins)
            .buffer_unordered(at_once)
            .take_until(self.stop.cancelled());
        let (mut sessions, mut refused) = (Vec::new(), 0);
        tokio::pin!(joins);
        while let Some(joined) = joins.next().await {
            match joined {
                Ok(session) => sessions.push(session),
                Err(error) => {
                    refused += 1;
                    self.live
                        .note(format!("a subscriber could not join: {error}"));
                }
            }
        }
        (sessions, refused)
    }

    async fn publisher(&self, number: usize) -> Result<(Exchange, Client), Failure> {
        let args = self.args;
        let url = args
            .whip
            .as_deref()
            .ok_or("publishers need a WHIP endpoint")?
            .replace("{number}", &number.to_string());
        let token = args
            .token
            .get(number % args.token.len().max(1))
            .map(String::as_str);
        // Neighbours are the sources of retransmissions.
        let ssrcs: Vec<u32> = (0..args.layers)
            .map(|_| rand::random::<u32>() & !1)
            .collect();
        let (session, begun, answer, socket, endpoint) = self
            .connect(&url, token, |offer| offer.publisher(&ssrcs))
            .await?;
        if args.layers > 1 && answer.layers.is_empty() {
            self.live
                .note("the server takes no simulcast: publishers send their best layer alone");
        }
        let publisher = Publisher::new(number, &answer, &ssrcs, args.bitrate);
        Ok((
            session,
            Client::new(
                socket,
                endpoint,
                Part::Publisher(Box::new(publisher)),
                begun,
            )?,
        ))
    }

    async fn subscriber(&self, number: usize) -> Result<(Exchange, Client), Failure> {
        let args = self.args;
        let url = args
            .whep
            .replace("{number}", &(number % args.publishers.max(1)).to_string());
        let (session, begun, answer, socket, endpoint) = self
            .connect(&url, args.whep_token.as_deref(), |offer| offer.subscriber())
            .await?;
        let manner = Manner {
            loss: args.drop / 100.0,
            asks_again: !args.no_nack,
        };
        let subscriber = Subscriber::new(&answer, manner, begun);
        Ok((
            session,
            Client::new(
                socket,
                endpoint,
                Part::Subscriber(Box::new(subscriber)),
                begun,
            )?,
        ))
    }

    /// Offers and is answered.
    async fn connect(
        &self,
        url: &str,
        token: Option<&str>,
        describe: impl FnOnce(&Offer<'_>) -> String,
    ) -> Result<(Exchange, Instant, super::sdp::Answer, Socket, Endpoint), Failure> {
        let socket = Socket::open(self.args.gro)?;
        let local = Credentials::random();
        let offer = Offer {
            local: &local,
            fingerprint: self.keyring.fingerprint(),
            candidate: socket.candidate(url)?,
        };
        let offer = describe(&offer);
        let begun = Instant::now();
        let (session, answer) = self.signalling.begin(url, token, offer).await?;
        let endpoint = Endpoint::new(self.keyring.clone(), local, &answer, Instant::now())?;
        Ok((session, begun, answer, socket, endpoint))
    }

    /// Waits for the media threads; gives up after [`SETTLE`], and what is missing shows in the report.
    async fn wait_until(&self, done: impl Fn(&Live) -> bool) {
        let deadline = Instant::now() + SETTLE;
        while !done(&self.live) && Instant::now() < deadline && !self.stop.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn read_server(&self) -> Result<Option<Reading>, Failure> {
        self.server.as_ref().map(Server::read).transpose()
    }
}
