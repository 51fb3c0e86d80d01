//! `tongke load`: a load generator for any server that speaks WHIP (RFC 9725) and WHEP.
//!
//! One or more publishers send a synthetic but valid H.264 stream to many subscribers. Each step
//! prints one line of JSON: join times, packet loss, latencies, and the server's CPU time per
//! packet.
//!
//! - [`args`]: the command line, and how to compare two servers · [`run`]: the phases of a run
//! - [`h264`]: the synthetic stream with send timestamps · [`send_stream`]: RTP · [`publisher`]: a
//!   sending client
//! - [`receive_stream`], [`subscriber`]: a receiving client · [`endpoint`]: ICE, DTLS and SRTP of
//!   one client
//! - [`client`], [`reactor`], [`socket`]: sockets and their threads · [`signalling`], [`sdp`]: WHIP
//!   and WHEP
//! - [`latency`], [`process`], [`saturation`]: latencies, the server's cost, our own · [`stats`],
//!   [`progress`], [`report`]: output
//!
//! ```text
//! tongke load --whip http://127.0.0.1:8080/whip/LESSON --token T1 --whep
//! http://127.0.0.1:8080/whep/LESSON --whep-token T2 \
//!     --subscribers 100 --bitrate 1500 --seconds 20 --server-pid $(pgrep -x tongke)
//! ```
//!
//! The lead of a lesson or an administrator creates the two tokens, with the session cookie:
//!
//! ```text
//! curl -c jar -H 'Content-Type: application/json' -d '{"login":"zhoumin","password":"…"}'
//! http://127.0.0.1:8080/api/session
//! curl -b jar -H 'Content-Type: application/json' -d '{"kind":"whip","label":"load"}'
//! http://127.0.0.1:8080/api/lessons/LESSON/tokens
//! ```
//!
//! Each subscriber has its own socket, as real clients have. The first packet of each frame is
//! authenticated and decrypted, of the others one in 64. Subscribers send transport-wide feedback,
//! receiver reports and NACKs. `loss_ratio` counts packets lost on the way,
//! `loss_after_repair_ratio` those that no retransmission replaced.

mod args;
mod client;
mod clock;
mod endpoint;
mod h264;
mod latency;
mod percentiles;
mod process;
mod progress;
mod publisher;
mod reactor;
mod receive_stream;
mod report;
mod run;
mod saturation;
mod sdp;
mod send_stream;
mod signalling;
mod socket;
mod stats;
mod subscriber;

use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use args::Args;
use process::Server;
use progress::Progress;
use run::Run;
use stats::Stats;

/// Exit code of a program that SIGINT ended, as shells report it.
const INTERRUPTED: i32 = 130;

/// Runs the load test. Fails when no client could join.
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
    let (stats, stop) = (Arc::new(Stats::default()), CancellationToken::new());
    tokio::spawn(end_on_ctrl_c(stop.clone()));
    let mut progress = Progress::new(stats.clone(), Server::of(&args.server_pid), args.json);
    let mut run = Run::new(args, stats, stop.clone())?;
    let outcome = run_steps(args, &mut run, &mut progress, &stop).await;
    run.leave().await;
    progress.finish();
    outcome
}

async fn run_steps(
    args: &Args,
    run: &mut Run<'_>,
    progress: &mut Progress,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    progress.show_during(run.start_publishers()).await?;
    for (index, subscribers) in args.subscribers.iter().enumerate() {
        let last = index + 1 == args.subscribers.len();
        let report = progress
            .show_during(run.run_step(*subscribers, last))
            .await?;
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

/// The first Ctrl-C ends the measurement and prints it, a second one exits at once.
async fn end_on_ctrl_c(stop: CancellationToken) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if stop.is_cancelled() {
            std::process::exit(INTERRUPTED);
        }
        stop.cancel();
    }
}
