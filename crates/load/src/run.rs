//! Phases of a run: publishers join, subscribers join step by step, each step is measured, all
//! leave.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Role};
use super::endpoint::{Credentials, Endpoint, Identity};
use super::process::{Server, ServerSample, Usage};
use super::publisher::Publisher;
use super::reactor::{Reactor, WakePolicy, Window};
use super::report::{self, Measured, Report};
use super::sdp::Offer;
use super::signalling::{Session, SignallingClient};
use super::socket::Socket;
use super::stats::Stats;
use super::subscriber::{Behaviour, Subscriber};
use super::{Args, Failure, clock};

/// Concurrent joins without `--ramp`: a bell that brings a school in, not a denial of service.
const CONCURRENT_JOINS: usize = 8;

/// Timeout for first keyframes; clients without one are reported.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Run<'a> {
    args: &'a Args,
    stats: Arc<Stats>,
    /// Cancelled when the run is to end early.
    stop: CancellationToken,
    identity: Arc<Identity>,
    signalling: SignallingClient,
    senders: Reactor,
    receivers: Reactor,
    server: Option<Server>,
    /// Usage of the server with publishers and without subscribers.
    baseline: ServerSample,
    sessions: Vec<Session>,
    /// Subscribers that tried to join, and those that failed.
    attempted: usize,
    failed: usize,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        args: &'a Args,
        stats: Arc<Stats>,
        stop: CancellationToken,
    ) -> Result<Run<'a>, Failure> {
        Ok(Run {
            args,
            identity: Arc::new(Identity::generate()?),
            signalling: SignallingClient::new(args)?,
            senders: Reactor::start("publishers", 1, WakePolicy::Immediate, &stats)?,
            receivers: Reactor::start(
                "subscribers",
                args.threads.max(1),
                WakePolicy::Moderated,
                &stats,
            )?,
            server: Server::of(&args.server_pid),
            baseline: ServerSample::default(),
            sessions: Vec::new(),
            attempted: 0,
            failed: 0,
            stats,
            stop,
        })
    }

    /// Connects the publishers.
    pub(crate) async fn start_publishers(&mut self) -> Result<(), Failure> {
        self.stats.set_phase("publishers join");
        for number in 0..self.args.publishers {
            let (session, client) = self.connect_publisher(number).await?;
            self.sessions.push(session);
            self.senders.add(number, client);
        }
        self.wait_until(|stats| stats.publishing.load(Relaxed) >= self.args.publishers)
            .await;
        if self.args.publishers > 0 && self.stats.publishing.load(Relaxed) == 0 {
            return Err(
                "no publisher could connect: does the server's media port reach this machine?"
                    .into(),
            );
        }
        self.baseline = self.read_server()?.unwrap_or_default();
        Ok(())
    }

    /// Adds subscribers up to the given number and measures; in the last step with `--storm`.
    pub(crate) async fn run_step(
        &mut self,
        subscribers: usize,
        last: bool,
    ) -> Result<Report, Failure> {
        self.stats.set_phase(format!(
            "{subscribers} subscribers join (Ctrl-C ends with the figures up to then)"
        ));
        let pace = self
            .args
            .ramp
            .map(|joins| Duration::from_secs_f64(1.0 / joins));
        let numbers = self.attempted..subscribers;
        self.attempted = subscribers;
        let (sessions, failed) = self.join_subscribers(numbers, pace).await;
        self.sessions.extend(sessions);
        self.failed += failed;
        let expected = subscribers.saturating_sub(self.failed);
        self.wait_until(|stats| stats.showing.load(Relaxed) >= expected)
            .await;
        let seconds = self.args.seconds;
        self.stats.set_phase(format!(
            "measuring {subscribers} subscribers for {seconds} s (Ctrl-C ends it now)"
        ));
        self.measure(subscribers, if last { self.args.storm } else { 0 })
            .await
    }

    async fn measure(&mut self, subscribers: usize, storm: usize) -> Result<Report, Failure> {
        let (before, cpu) = (self.read_server()?, clock::process_cpu());
        self.senders.open_window();
        self.receivers.open_window();
        let started = Instant::now();
        let pace = Duration::from_secs(self.args.storm_seconds) / storm.max(1) as u32;
        let wait = async {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(self.args.seconds)) => {}
                () = self.stop.cancelled() => {}
            }
        };
        let ((), (sessions, failed)) = tokio::join!(
            wait,
            self.join_subscribers(subscribers..subscribers + storm, Some(pace))
        );
        let (after, elapsed) = (self.read_server()?, started.elapsed());
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
        self.failed += failed;
        let measured = Measured {
            subscribers,
            joins_refused: self.failed,
            elapsed,
            interrupted: self.stop.is_cancelled(),
            window,
            cpu: clock::process_cpu() - cpu,
            usage: usage.map(|usage| (usage, self.baseline.rss_bytes)),
        };
        Ok(report::build(self.args, measured))
    }

    /// Ends all sessions and threads.
    pub(crate) async fn leave(self) {
        self.stats.leaving.store(true, Relaxed);
        self.signalling.delete_sessions(self.sessions).await;
        self.senders.finish();
        self.receivers.finish();
    }

    /// Connects subscribers, one per `pace` or several concurrently. Returns the sessions and the
    /// number of failures.
    async fn join_subscribers(
        &self,
        numbers: Range<usize>,
        pace: Option<Duration>,
    ) -> (Vec<Session>, usize) {
        let started = tokio::time::Instant::now();
        let concurrency = if pace.is_some() {
            numbers.len().max(1)
        } else {
            CONCURRENT_JOINS
        };
        let joins = numbers.enumerate().map(|(nth, number)| async move {
            tokio::time::sleep_until(started + pace.unwrap_or_default() * nth as u32).await;
            let (session, client) = self.connect_subscriber(number).await?;
            self.receivers.add(number, client);
            Ok::<_, Failure>(session)
        });
        let joins = stream::iter(joins)
            .buffer_unordered(concurrency)
            .take_until(self.stop.cancelled());
        let (mut sessions, mut failed) = (Vec::new(), 0);
        tokio::pin!(joins);
        while let Some(joined) = joins.next().await {
            match joined {
                Ok(session) => sessions.push(session),
                Err(error) => {
                    failed += 1;
                    self.stats
                        .note(format!("a subscriber could not join: {error}"));
                }
            }
        }
        (sessions, failed)
    }

    async fn connect_publisher(&self, number: usize) -> Result<(Session, Client), Failure> {
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
        // Even numbers; the odd ones are the RTX streams.
        let ssrcs: Vec<u32> = (0..args.layers)
            .map(|_| rand::random::<u32>() & !1)
            .collect();
        let (session, begun, answer, socket, endpoint) = self
            .connect(&url, token, |offer| offer.publisher(&ssrcs))
            .await?;
        if args.layers > 1 && answer.layers.is_empty() {
            self.stats
                .note("the server takes no simulcast: publishers send their best layer alone");
        }
        let publisher = Publisher::new(number, &answer, &ssrcs, args.bitrate);
        Ok((
            session,
            Client::new(
                socket,
                endpoint,
                Role::Publisher(Box::new(publisher)),
                begun,
            )?,
        ))
    }

    async fn connect_subscriber(&self, number: usize) -> Result<(Session, Client), Failure> {
        let args = self.args;
        let url = args
            .whep
            .replace("{number}", &(number % args.publishers.max(1)).to_string());
        let (session, begun, answer, socket, endpoint) = self
            .connect(&url, args.whep_token.as_deref(), |offer| offer.subscriber())
            .await?;
        let behaviour = Behaviour {
            loss: args.drop / 100.0,
            sends_nacks: !args.no_nack,
        };
        let subscriber = Subscriber::new(&answer, behaviour, begun);
        Ok((
            session,
            Client::new(
                socket,
                endpoint,
                Role::Subscriber(Box::new(subscriber)),
                begun,
            )?,
        ))
    }

    /// Exchanges offer and answer.
    async fn connect(
        &self,
        url: &str,
        token: Option<&str>,
        describe: impl FnOnce(&Offer<'_>) -> String,
    ) -> Result<(Session, Instant, super::sdp::Answer, Socket, Endpoint), Failure> {
        let socket = Socket::open(self.args.gro)?;
        let local = Credentials::random();
        let offer = Offer {
            local: &local,
            fingerprint: self.identity.fingerprint(),
            candidate: socket.candidate(url)?,
        };
        let offer = describe(&offer);
        let begun = Instant::now();
        let (session, answer) = self.signalling.post_offer(url, token, offer).await?;
        let endpoint = Endpoint::new(self.identity.clone(), local, &answer, Instant::now())?;
        Ok((session, begun, answer, socket, endpoint))
    }

    /// Waits for the media threads, at most [`SETTLE_TIMEOUT`]; the report shows what is missing.
    async fn wait_until(&self, done: impl Fn(&Stats) -> bool) {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        while !done(&self.stats) && Instant::now() < deadline && !self.stop.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn read_server(&self) -> Result<Option<ServerSample>, Failure> {
        self.server.as_ref().map(Server::read).transpose()
    }
}
