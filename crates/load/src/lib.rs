//! `tongke load`: a load generator for any server that speaks WHIP (RFC 9725) and WHEP.
//!
//! One or more publishers send a synthetic but valid H264 picture, many subscribers receive it, and what came of it is one line of
//! JSON: how long joining took, what was lost, how late it came, and what a packet cost the server.
//!
//! - [`args`]: the command line, and how two servers are compared · [`run`]: the course of a run
//! - [`picture`]: the stream, with the time of sending inside · [`stream`]: RTP · [`publisher`]: a camera
//! - [`arrivals`], [`subscriber`]: what a receiver makes of what comes · [`endpoint`]: ICE, DTLS and SRTP of one client
//! - [`client`], [`reactor`], [`datagrams`]: sockets, drained by their own threads · [`http`], [`sdp`]: WHIP and WHEP
//! - [`sightings`], [`process`], [`strain`]: latencies, the server's cost, our own · [`live`], [`view`], [`report`]: what people see
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
//! Each subscriber has a socket of its own, as in life. Every frame's first packet is authenticated and decrypted, of the others one in 64.
//! Arrival is reported by transport-wide feedback and receiver reports; what is lost is asked for again, and `loss_ratio` says what was lost
//! on the way, `loss_after_repair_ratio` what stayed lost.

mod args;
mod arrivals;
mod client;
mod clock;
mod datagrams;
mod endpoint;
mod http;
mod live;
mod percentiles;
mod picture;
mod process;
mod publisher;
mod reactor;
mod report;
mod run;
mod sdp;
mod sightings;
mod strain;
mod stream;
mod subscriber;
mod view;

use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use args::Args;
use live::Live;
use process::Server;
use run::Run;
use view::View;

/// As a shell says it of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Runs the whole measurement. Fails when nobody could join.
pub fn run(args: Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(measure(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("tongke load: {error}");
    ExitCode::FAILURE
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn measure(args: &Args) -> Result<(), Failure> {
    args.check()?;
    let (live, stop) = (Arc::new(Live::default()), CancellationToken::new());
    tokio::spawn(end_on_ctrl_c(stop.clone()));
    let mut view = View::new(live.clone(), Server::of(&args.server_pid), args.json);
    let mut run = Run::new(args, live, stop.clone())?;
    let outcome = steps(args, &mut run, &mut view, &stop).await;
    run.leave().await;
    view.finish();
    outcome
}

async fn steps(
    args: &Args,
    run: &mut Run<'_>,
    view: &mut View,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    view.while_it_lasts(run.begin()).await?;
    for (nth, subscribers) in args.subscribers.iter().enumerate() {
        let last = nth + 1 == args.subscribers.len();
        let report = view.while_it_lasts(run.step(*subscribers, last)).await?;
        if !args.json {
            eprintln!("{report}");
        } else if report.generator_was_bottleneck {
            eprintln!(
                "tongke load: the generator was itself the bottleneck: {}",
                report.generator_evidence.join("; ")
            );
        }
        println!(
            "{}",
            serde_json::to_string(&report)
                .expect("a report has only string keys and finite numbers")
        );
        if stop.is_cancelled() {
            break;
        }
    }
    Ok(())
}

/// The first Ctrl-C ends the run with the figures so far, a second one ends it at once.
async fn end_on_ctrl_c(stop: CancellationToken) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if stop.is_cancelled() {
            std::process::exit(INTERRUPTED);
        }
        stop.cancel();
    }
}
