//! `tongke load`: a load generator for any server that speaks WHIP (RFC 9725) and WHEP.
//!
//! One or more publishers send a synthetic but valid H264 picture, many subscribers receive it, and what came of it is one line of
//! JSON: how long joining took, what was lost, how late it came, and what a packet cost the server.
//!
//! - [`picture`]: the stream, with the time of sending inside · [`endpoint`]: ICE, DTLS and SRTP of one client
//! - [`publisher`], [`subscriber`]: what a client does with its media · [`reactor`]: the sockets, drained by their own threads
//! - [`http`]: WHIP and WHEP · [`measure`]: percentiles, and what the server's process has used
//!
//! ```text
//! tongke load --whip http://127.0.0.1:8080/whip/LESSON --token T1 --whep http://127.0.0.1:8080/whep/LESSON --whep-token T2 \
//!     --subscribers 100 --bitrate 1500 --seconds 20 --server-pid $(pgrep -x tongke)
//! ```
//!
//! The two tokens of a Tongke server are made by the lesson's lead or an administrator, with the cookie of a signed-in page:
//!
//! ```text
//! curl -c jar -H 'Content-Type: application/json' -d '{"login":"zhoumin","password":"…"}' http://127.0.0.1:8080/api/session
//! curl -b jar -H 'Content-Type: application/json' -d '{"kind":"whip","label":"load"}' http://127.0.0.1:8080/api/lessons/LESSON/tokens
//! ```
//!
//! Each subscriber has a socket of its own, as in life. Every frame's first packet is authenticated and decrypted, of the others one in 64;
//! arrival is reported by transport-wide feedback and receiver reports, and nothing is asked for again: what the loss figure says was lost
//! on the way.

mod datagrams;
mod endpoint;
mod http;
mod measure;
mod picture;
mod publisher;
mod reactor;
mod report;
mod subscriber;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use endpoint::{Credentials, Keyring};
use http::{Exchange, Signalling};
use measure::{Process, Usage};
use reactor::{Reactor, Shared};
use report::Report;

/// Joins under way at once: a bell that brings a school in, not a denial of service.
const JOINING: usize = 8;

/// A client that has no picture after this long is counted as one that never had.
const SETTLE: Duration = Duration::from_secs(20);

/// What `--help` ends with.
const FAIR: &str = "\
A fair comparison of two servers:
  1. One machine, nothing else on it; both servers in release builds, with as many media threads as each other.
  2. Pin the server to its cores and the generator to others (taskset): a generator on the server's core measures itself.
  3. The same publishers, bitrate and subscribers, one run warm before those that count; several runs in turns, not one after the other.
  4. The same cipher: a server that picks AES-CM pays three to six times what AES-GCM costs. The answer's DTLS decides; say which it was.
  5. Compare only runs with loss_ratio 0 and delivered_ratio 1: a server that holds back packets spends less.
  6. generator_was_bottleneck must be false: take --threads or fewer subscribers.
  7. server_cpu_ns_per_packet counts all of the process, recording and logging too: switch on or off the same things on both.
  8. forward_ms is of a frame's first packet, from before it was sent; forward_last_ms is what the unluckiest subscriber saw.
  9. Loopback hides the network card; say so, or put generator and server on two machines with synchronised clocks.
 10. Give the distributions, not the best run.";

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = FAIR)]
pub struct Args {
    /// WHIP endpoint. `{n}` becomes the publisher's number, for servers with one address per stream.
    #[arg(long)]
    pub whip: String,
    /// WHEP endpoint. `{n}` becomes the number of the publisher that is watched.
    #[arg(long)]
    pub whep: String,
    /// Bearer token for WHIP; several are dealt out to the publishers in turn.
    #[arg(long)]
    pub token: Vec<String>,
    /// Bearer token for WHEP.
    #[arg(long)]
    pub whep_token: Option<String>,
    #[arg(long, default_value_t = 1)]
    pub publishers: usize,
    #[arg(long, default_value_t = 100)]
    pub subscribers: usize,
    /// Kilobits a second that each publisher sends.
    #[arg(long, default_value_t = 1500)]
    pub bitrate: u32,
    /// How long to measure, once everybody is there.
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    /// Threads that drain the subscribers' sockets.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// So many more subscribers join while the others are measured, as at the bell.
    #[arg(long, default_value_t = 0)]
    pub storm: usize,
    /// Seconds over which they join.
    #[arg(long, default_value_t = 5)]
    pub storm_seconds: u64,
    /// Process id of the server, to measure what it uses (Linux).
    #[arg(long)]
    pub server_pid: Option<u32>,
    /// Takes any TLS certificate, for servers that signed their own.
    #[arg(long)]
    pub insecure: bool,
    /// Only the line of JSON: no progress on standard error.
    #[arg(long)]
    pub json: bool,
}

/// Runs the whole measurement. Fails when nobody could join.
pub fn run(args: Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(measure(&args)) {
        Ok(report) => {
            println!("{}", serde_json::to_string(&report).expect("a report has only string keys and finite numbers"));
            ExitCode::SUCCESS
        }
        Err(error) => fail(error.as_ref()),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("tongke load: {error}");
    ExitCode::FAILURE
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn measure(args: &Args) -> Result<Report, Failure> {
    let shared = Arc::new(Shared::default());
    let keyring = Arc::new(Keyring::generate()?);
    let signalling = Signalling::new(args)?;
    let senders = Reactor::start("publishers", 1, &shared)?;
    let receivers = Reactor::start("subscribers", args.threads.max(1), &shared)?;
    let progress = (!args.json).then(|| tokio::spawn(progress(shared.clone())));

    let mut sessions = Vec::new();
    for number in 0..args.publishers {
        let (session, client) = publish(args, number, &signalling, &keyring).await?;
        sessions.push(session);
        senders.add(number, client);
    }
    wait_until(|| shared.connected.load(Ordering::Relaxed) >= args.publishers).await;
    if shared.connected.load(Ordering::Relaxed) == 0 {
        return Err("no publisher could connect: does the server's media port reach this machine?".into());
    }

    let joins = (0..args.subscribers).map(|number| {
        let (signalling, keyring, receivers) = (&signalling, &keyring, &receivers);
        async move {
            let joined = subscribe(args, number, signalling, keyring).await;
            joined.map(|(session, client)| {
                receivers.add(number, client);
                session
            })
        }
    });
    let mut refused = 0;
    for joined in stream::iter(joins).buffer_unordered(JOINING).collect::<Vec<_>>().await {
        match joined {
            Ok(session) => sessions.push(session),
            Err(error) => {
                refused += 1;
                eprintln!("tongke load: a subscriber could not join: {error}");
            }
        }
    }
    let here = args.subscribers - refused;
    wait_until(|| shared.showing.load(Ordering::Relaxed) >= here).await;

    let server = args.server_pid.map(Process::of);
    let before = server.as_ref().map(Process::usage).transpose()?;
    senders.open_window();
    receivers.open_window();
    let began = Instant::now();
    let storm = storm(args, &signalling, &keyring, &receivers);
    let ((), stormed) = tokio::join!(tokio::time::sleep(Duration::from_secs(args.seconds)), storm);
    sessions.extend(stormed);
    let usage = match (&server, before) {
        (Some(process), Some(before)) => Some(Usage::between(before, process.usage()?)),
        _ => None,
    };
    let measured = began.elapsed();
    senders.close_window();
    receivers.close_window();
    shared.leaving.store(true, Ordering::Relaxed);
    signalling.leave(sessions).await;
    if let Some(progress) = progress {
        progress.abort();
    }
    let (sent, received) = (senders.finish()?, receivers.finish()?);
    let busy = shared.busiest.load(Ordering::Relaxed) as f64 / 1000.0;
    Ok(report::of(args, measured, &sent, received, usage, busy))
}

/// More subscribers join, evenly over their seconds. Returns the sessions of those who could.
async fn storm(args: &Args, signalling: &Signalling, keyring: &Arc<Keyring>, receivers: &Reactor) -> Vec<Exchange> {
    let pause = Duration::from_secs(args.storm_seconds) / args.storm.max(1) as u32;
    let joins = (0..args.storm).map(|nth| async move {
        tokio::time::sleep(pause * nth as u32).await;
        let number = args.subscribers + nth;
        let (session, client) = subscribe(args, number, signalling, keyring).await?;
        receivers.add(number, client);
        Ok::<_, Failure>(session)
    });
    let mut sessions = Vec::new();
    for joined in futures_util::future::join_all(joins).await {
        match joined {
            Ok(session) => sessions.push(session),
            Err(error) => eprintln!("tongke load: a subscriber could not join: {error}"),
        }
    }
    sessions
}

async fn publish(
    args: &Args,
    number: usize,
    signalling: &Signalling,
    keyring: &Arc<Keyring>,
) -> Result<(Exchange, reactor::Client), Failure> {
    let token = args.token.get(number % args.token.len().max(1)).map(String::as_str);
    let socket = datagrams::Socket::open()?;
    let local = Credentials::random();
    let ssrc = rand::random::<u32>();
    let offer = http::offer_publisher(&local, keyring.fingerprint(), &socket.candidate(&args.whip)?, ssrc);
    let begun = Instant::now();
    let (session, answer) = signalling.begin(&args.whip.replace("{n}", &number.to_string()), token, offer).await?;
    let endpoint = endpoint::Endpoint::new(keyring.clone(), local, &answer, Instant::now())?;
    socket.connect(answer.candidate)?;
    let publisher = publisher::Publisher::new(&answer, ssrc, args.bitrate);
    Ok((session, reactor::Client::publisher(socket, endpoint, publisher, begun)))
}

async fn subscribe(
    args: &Args,
    number: usize,
    signalling: &Signalling,
    keyring: &Arc<Keyring>,
) -> Result<(Exchange, reactor::Client), Failure> {
    let socket = datagrams::Socket::open()?;
    let local = Credentials::random();
    let offer = http::offer_subscriber(&local, keyring.fingerprint(), &socket.candidate(&args.whep)?);
    let watched = number % args.publishers.max(1);
    let begun = Instant::now();
    let url = args.whep.replace("{n}", &watched.to_string());
    let (session, answer) = signalling.begin(&url, args.whep_token.as_deref(), offer).await?;
    let endpoint = endpoint::Endpoint::new(keyring.clone(), local, &answer, Instant::now())?;
    socket.connect(answer.candidate)?;
    let subscriber = subscriber::Subscriber::new(&answer, begun);
    Ok((session, reactor::Client::subscriber(socket, endpoint, subscriber, begun)))
}

/// Waits for the media threads; gives up after [`SETTLE`], and what is missing shows in the report.
async fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + SETTLE;
    while !done() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One line a second on standard error.
async fn progress(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let (mut last_packets, mut last_bytes) = (0, 0);
    loop {
        tick.tick().await;
        let (packets, bytes) = (shared.packets.load(Ordering::Relaxed), shared.bytes.load(Ordering::Relaxed));
        eprintln!(
            "connected {:>4}  showing {:>4}  {:>8} packets/s  {:>8.1} Mbit/s",
            shared.connected.load(Ordering::Relaxed),
            shared.showing.load(Ordering::Relaxed),
            packets - last_packets,
            (bytes - last_bytes) as f64 * 8.0 / 1e6,
        );
        (last_packets, last_bytes) = (packets, bytes);
    }
}
