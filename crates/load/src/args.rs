//! The command line of `tongke load`.

use super::Failure;

/// Text at the end of `--help`.
const AFTER_HELP: &str = "\
A fair comparison of two servers:
  1. One machine, nothing else on it; both servers in release builds, with as many media threads as each other.
  2. Pin the server to its cores and the generator to others (taskset): a generator on the server's core measures itself.
  3. The same publishers, layers, bitrate and subscribers; one run warm before those that count; then several in policy, A B A B.
  4. The same cipher: AES-CM costs three to six times what AES-GCM costs. `srtp` says which one a server chose.
  5. Compare only runs with loss_ratio 0 and delivered_ratio 1: a server that holds back packets spends less.
  6. generator_was_bottleneck must be false; generator_evidence says what was in the way. Take --threads, or fewer subscribers.
  7. server_cpu_ns_per_packet counts all of the process, recording and logging too: switch on or off the same things on both.
  8. forward_ms ends when the kernel has a frame's first packet in the subscriber's socket: the generator's own delays are not in it.
     forward_first_ms and forward_last_ms are of the luckiest and the unluckiest subscriber of each frame, skew_ms is between them.
  9. Loopback hides the network card: say so, or run the generator on a machine of its own. With --gro or without, both the same.
 10. Give the distributions of several runs, not the best one.

Ctrl-C ends the run; the figures up to then are printed. Each step of --subscribers is one line of JSON on standard output.";

/// Maximum number of simulcast layers: full, half and quarter width and height.
pub(crate) const MAX_LAYERS: usize = 3;

/// Options of `tongke load`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// WHIP endpoint. `{number}` becomes the number of the publisher, for servers with one URL per stream.
    #[arg(long)]
    pub whip: Option<String>,
    /// WHEP endpoint. `{number}` becomes the number of the subscribed publisher.
    #[arg(long)]
    pub whep: String,
    /// Bearer token for WHIP; several are assigned to the publishers in turn.
    #[arg(long)]
    pub token: Vec<String>,
    /// Bearer token for WHEP.
    #[arg(long)]
    pub whep_token: Option<String>,
    /// Number of publishers. With 0, subscribers receive other publishers, without latencies.
    #[arg(long, default_value_t = 1)]
    pub publishers: usize,
    /// Number of subscribers. Several numbers, as in 50,100,200, are steps, measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "100")]
    pub subscribers: Vec<usize>,
    /// Joins per second. Default: eight concurrent joins, as fast as they complete.
    #[arg(long, value_name = "PER_SECOND")]
    pub ramp: Option<f64>,
    /// Bitrate of each publisher in kbit/s; with simulcast, of its best layer.
    #[arg(long, default_value_t = 1500)]
    pub bitrate: u32,
    /// Simulcast layers (RFC 8853). Each has a quarter of the next higher layer's bitrate.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=MAX_LAYERS as i64))]
    pub layers: u8,
    /// Seconds to measure each step, after all subscribers have joined.
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    /// Threads that read the subscribers' sockets.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Additional subscribers that join while the last step is measured, as when a lesson starts.
    #[arg(long, default_value_t = 0)]
    pub storm: usize,
    /// Seconds over which the additional subscribers join.
    #[arg(long, default_value_t = 5)]
    pub storm_seconds: u64,
    /// Percentage of packets dropped by each subscriber before processing: simulated packet loss.
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub drop: f64,
    /// Do not send NACKs.
    #[arg(long)]
    pub no_nack: bool,
    /// Receive merged datagrams (UDP GRO). Over loopback the server itself delivers each datagram to
    /// its receiver; with this it pays once per message, as with a network card that segments them.
    #[arg(long)]
    pub gro: bool,
    /// Process id of the server, to measure its resource usage (Linux); several are added up.
    #[arg(long)]
    pub server_pid: Vec<u32>,
    /// Accept any TLS certificate, for servers with a self-signed one.
    #[arg(long)]
    pub insecure: bool,
    /// Print only the lines of JSON, no progress on standard error.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Checks conditions between several options.
    pub fn check(&self) -> Result<(), Failure> {
        if self.publishers > 0 && self.whip.is_none() {
            return Err("name a WHIP endpoint with --whip, or take --publishers 0 to watch what others publish".into());
        }
        if self.subscribers.is_empty() || !self.subscribers.is_sorted_by(|one, next| one < next) {
            return Err("the steps of --subscribers must rise, as in 50,100,200".into());
        }
        if self.ramp.is_some_and(|joins| joins <= 0.0) || !(0.0..=100.0).contains(&self.drop) {
            return Err("--ramp must be above 0, and --drop between 0 and 100".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_help_shows_the_number_placeholder() {
        assert!(
            Cli::command()
                .render_long_help()
                .to_string()
                .contains("`{number}`")
        );
    }

    fn check(words: &str) -> bool {
        let words = ["load"].into_iter().chain(words.split(' '));
        Cli::try_parse_from(words).is_ok_and(|cli| cli.args.check().is_ok())
    }

    #[test]
    fn invalid_options_are_rejected_before_joining() {
        assert!(check(
            "--whip http://a --whep http://b --subscribers 1,2,30 --layers 3 --drop 2.5"
        ));
        assert!(check("--whep http://b --publishers 0"));
        assert!(!check("--whep http://b"), "nobody publishes");
        assert!(
            !check("--whip http://a --whep http://b --subscribers 20,10"),
            "steps that fall"
        );
        assert!(!check("--whip http://a --whep http://b --ramp 0"));
        assert!(!check("--whip http://a --whep http://b --layers 4"));
    }
}
