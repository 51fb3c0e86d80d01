//! The line of JSON, and the same for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Args;
use super::args::MAX_LAYERS;
use super::percentiles::{Percentiles, round};
use super::process::Usage;
use super::publisher::Sent;
use super::reactor::Window;
use super::sdp::RIDS;
use super::strain::{self, Strain};
use super::subscriber::Seen;

/// One step, measured.
#[derive(Debug, Serialize)]
pub struct Report {
    pub publishers: usize,
    /// Asked for.
    pub subscribers: usize,
    /// Had their keys, and had a whole keyframe.
    pub subscribers_connected: usize,
    pub subscribers_showing: usize,
    /// Joins that the server answered with anything but a session, up to now.
    pub joins_refused: usize,
    pub bitrate_kbps: u32,
    /// Datagrams sent as one message were taken as one: `--gro`.
    pub gro: bool,
    pub seconds: f64,
    /// It ended before its time: Ctrl-C.
    pub interrupted: bool,
    /// Ciphers in use, by their names in RFC 5764 and RFC 7714.
    pub srtp: BTreeSet<&'static str>,
    /// Media packets, sent by the publishers in the whole run and received by the subscribers while it was measured.
    pub packets_sent: u64,
    pub packets_received: u64,
    pub packets_per_second: f64,
    pub received_mbps: f64,
    /// Sequence numbers that passed and did not come by themselves, of those that passed.
    pub loss_ratio: f64,
    /// The same after what was asked for again has come.
    pub loss_after_repair_ratio: f64,
    /// What came, of what the publishers sent to those that watched them; of simulcast, on the best layer. Below 1 without loss: the server
    /// held back what it believed the line could not carry.
    pub delivered_ratio: f64,
    /// Packets that came out of order by themselves.
    pub reordered: u64,
    /// Retransmissions that came; lost packets that came with them; packets that came and were not missing.
    pub retransmitted: u64,
    pub repaired: u64,
    pub in_vain: u64,
    /// Numbers in NACKs, and those that never came.
    pub asked_again: u64,
    pub given_up: u64,
    /// Packets that subscribers threw away: `--drop`.
    pub discarded: u64,
    pub refused: u64,
    pub keyframes_sent: u64,
    pub resent_by_publishers: u64,
    /// From the POST of the offer to the keys.
    pub join_ms: Option<Percentiles>,
    /// From the POST of the offer to a whole keyframe.
    pub first_frame_ms: Option<Percentiles>,
    /// From just before a frame was sent until the kernel had its first packet in the subscriber's socket.
    pub forward_ms: Option<Percentiles>,
    /// The same, to the first and to the last subscriber that a frame came to.
    pub forward_first_ms: Option<Percentiles>,
    pub forward_last_ms: Option<Percentiles>,
    /// From the first to the last subscriber that a frame came to.
    pub skew_ms: Option<Percentiles>,
    /// Of simulcast, lowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerReport>,
    /// How often a subscriber's frame was of another layer than the one before.
    pub layer_changes: u64,
    /// Of those who joined while the others were measured: how many had a whole keyframe, and after how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
    /// The share of its core that the generator's busiest thread used.
    pub generator_busy: f64,
    /// The largest share of the time for which one of its threads could have run and had no CPU; null where the kernel does not tell.
    pub generator_waiting: Option<f64>,
    /// What it used in all, for each packet received.
    pub generator_cpu_ns_per_packet: Option<f64>,
    /// Datagrams that the kernel dropped at its sockets.
    pub generator_socket_drops: u64,
    /// How late frames left after they were due.
    pub generator_late_ms: Option<Percentiles>,
    /// Latencies and losses are its own, and why.
    pub generator_was_bottleneck: bool,
    pub generator_evidence: Vec<String>,
    #[serde(flatten)]
    pub server: Option<ServerReport>,
}

/// What the server's processes used, for each packet that it sent to a subscriber for the first time.
#[derive(Debug, Serialize)]
pub struct ServerReport {
    pub server_cpu_ns_per_packet: Option<f64>,
    /// Cores in use.
    pub server_cpu_share: f64,
    /// The same by name of thread, those that live.
    pub server_cpu_share_by_thread: BTreeMap<String, f64>,
    pub server_rss_bytes: u64,
    pub server_peak_rss_bytes: u64,
    /// What it grew by since the publishers were there, for each subscriber.
    pub server_rss_bytes_per_subscriber: f64,
}

/// One simulcast layer.
#[derive(Debug, Serialize)]
pub struct LayerReport {
    pub rid: &'static str,
    pub packets_sent: u64,
    /// Frames that subscribers got, and their share of all that they got.
    pub frames_received: u64,
    pub frames_share: f64,
}

/// What became of those who joined while the others were measured.
#[derive(Debug, Serialize)]
pub struct Storm {
    pub joined: usize,
    pub showing: usize,
    pub join_ms: Option<Percentiles>,
    pub first_frame_ms: Option<Percentiles>,
}

/// All that a report is made of.
pub struct Measured {
    pub subscribers: usize,
    pub joins_refused: usize,
    pub elapsed: Duration,
    pub interrupted: bool,
    pub window: Window,
    /// CPU time of the generator.
    pub cpu: Duration,
    /// Of the server, and what it held before the first subscriber.
    pub usage: Option<(Usage, u64)>,
}

pub fn of(args: &Args, measured: Measured) -> Report {
    let Measured {
        subscribers,
        joins_refused,
        elapsed,
        interrupted,
        window,
        cpu,
        usage,
    } = measured;
    let spread = window.sightings.spread();
    let (late, seen): (Vec<Seen>, Vec<Seen>) = window.seen.into_iter().partition(|seen| seen.late);
    let sum = |count: fn(&Seen) -> u64| seen.iter().map(count).sum::<u64>();
    let sent_sum = |count: fn(&Sent) -> u64| window.sent.iter().map(count).sum::<u64>();
    let (packets, expected, repaired) =
        (sum(|s| s.packets), sum(|s| s.expected), sum(|s| s.repaired));
    let seconds = elapsed.as_secs_f64();
    let forwarded = packets + sum(|s| s.discarded);
    let generator_late_ms = window.lateness.as_ref().and_then(Percentiles::of_ns);
    let evidence = strain::evidence(
        &window.strain,
        window.socket_drops,
        generator_late_ms.map(|late| late.p99),
    );
    let most = |share: fn(&Strain) -> Option<f64>| {
        window
            .strain
            .iter()
            .filter_map(share)
            .reduce(f64::max)
            .map(round)
    };
    Report {
        publishers: args.publishers,
        subscribers,
        subscribers_connected: seen.iter().filter(|s| s.joined_after.is_some()).count(),
        subscribers_showing: seen.iter().filter(|s| s.showed_after.is_some()).count(),
        joins_refused,
        bitrate_kbps: args.bitrate,
        gro: args.gro,
        seconds: round(seconds),
        interrupted,
        srtp: window.ciphers,
        packets_sent: sent_sum(|s| s.packets),
        packets_received: packets,
        packets_per_second: round(ratio(packets as f64, seconds)),
        received_mbps: round(ratio(sum(|s| s.bytes) as f64 * 8.0 / 1e6, seconds)),
        loss_ratio: ratio(expected.saturating_sub(packets) as f64, expected as f64),
        loss_after_repair_ratio: ratio(
            expected.saturating_sub(packets + repaired) as f64,
            expected as f64,
        ),
        delivered_ratio: round(ratio(
            packets as f64,
            due(args, subscribers, &window.sent) as f64,
        )),
        reordered: sum(|s| s.reordered),
        retransmitted: sum(|s| s.retransmitted),
        repaired,
        in_vain: sum(|s| s.in_vain),
        asked_again: sum(|s| s.asked_again),
        given_up: sum(|s| s.given_up),
        discarded: sum(|s| s.discarded),
        refused: sum(|s| s.refused),
        keyframes_sent: sent_sum(|s| s.keyframes),
        resent_by_publishers: sent_sum(|s| s.resent),
        join_ms: millis(&seen, |s| s.joined_after),
        first_frame_ms: millis(&seen, |s| s.showed_after),
        forward_ms: Percentiles::of_ns(window.sightings.latencies()),
        forward_first_ms: spread.first,
        forward_last_ms: spread.last,
        skew_ms: spread.skew,
        layers: if args.layers > 1 {
            layers(&seen, &window.sent)
        } else {
            Vec::new()
        },
        layer_changes: sum(|s| s.layer_changes),
        storm: (!late.is_empty()).then(|| Storm::of(&late)),
        generator_busy: most(|thread| Some(thread.busy)).unwrap_or(0.0),
        generator_waiting: most(|thread| thread.waiting),
        generator_cpu_ns_per_packet: per_packet(cpu.as_nanos() as u64, forwarded),
        generator_socket_drops: window.socket_drops,
        generator_late_ms,
        generator_was_bottleneck: !evidence.is_empty(),
        generator_evidence: evidence,
        server: usage.map(|(usage, before)| {
            ServerReport::of(&usage, before, seconds, forwarded, seen.len() + late.len())
        }),
    }
}

impl ServerReport {
    fn of(
        usage: &Usage,
        rss_before: u64,
        seconds: f64,
        packets: u64,
        subscribers: usize,
    ) -> ServerReport {
        let share = |ns: u64| round(ratio(ns as f64 / 1e9, seconds));
        let grown = usage.rss_bytes.saturating_sub(rss_before);
        ServerReport {
            server_cpu_ns_per_packet: per_packet(usage.cpu_ns, packets),
            server_cpu_share: share(usage.cpu_ns),
            server_cpu_share_by_thread: usage
                .threads
                .iter()
                .map(|(name, ns)| (name.clone(), share(*ns)))
                .collect(),
            server_rss_bytes: usage.rss_bytes,
            server_peak_rss_bytes: usage.peak_bytes,
            server_rss_bytes_per_subscriber: ratio(grown as f64, subscribers as f64).round(),
        }
    }
}

/// Zero where there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn per_packet(ns: u64, packets: u64) -> Option<f64> {
    (packets > 0).then(|| round(ns as f64 / packets as f64))
}

/// Packets that would have come had everything been passed on: subscribers are dealt out to the publishers in turn.
fn due(args: &Args, subscribers: usize, sent: &[Sent]) -> u64 {
    let watchers = |publisher| {
        (0..subscribers)
            .filter(|n| n % args.publishers.max(1) == publisher)
            .count() as u64
    };
    let best = sent.iter().filter(|sent| sent.layer == MAX_LAYERS - 1);
    best.map(|sent| sent.in_window * watchers(sent.publisher))
        .sum()
}

fn layers(seen: &[Seen], sent: &[Sent]) -> Vec<LayerReport> {
    let frames = |layer: usize| seen.iter().map(|s| s.frames[layer]).sum::<u64>();
    let all: u64 = (0..MAX_LAYERS).map(frames).sum();
    let is_sent = |layer: &usize| sent.iter().any(|sent| sent.layer == *layer);
    let report = |layer: usize| LayerReport {
        rid: RIDS[layer],
        packets_sent: sent
            .iter()
            .filter(|sent| sent.layer == layer)
            .map(|sent| sent.packets)
            .sum(),
        frames_received: frames(layer),
        frames_share: round(ratio(frames(layer) as f64, all as f64)),
    };
    (0..MAX_LAYERS).filter(is_sent).map(report).collect()
}

fn millis(seen: &[Seen], time: fn(&Seen) -> Option<Duration>) -> Option<Percentiles> {
    Percentiles::of(
        seen.iter()
            .filter_map(time)
            .map(|span| span.as_secs_f64() * 1000.0)
            .collect(),
    )
}

impl Storm {
    fn of(late: &[Seen]) -> Storm {
        Storm {
            joined: late.iter().filter(|s| s.joined_after.is_some()).count(),
            showing: late.iter().filter(|s| s.showed_after.is_some()).count(),
            join_ms: millis(late, |s| s.joined_after),
            first_frame_ms: millis(late, |s| s.showed_after),
        }
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |of: &Option<Percentiles>| {
            of.map_or("–".to_owned(), |ms| {
                format!(
                    "p50 {:.2}  p99 {:.2}  p99.9 {:.2} ms",
                    ms.p50, ms.p99, ms.p999
                )
            })
        };
        let Report {
            subscribers_showing: showing,
            subscribers,
            seconds,
            packets_per_second,
            ..
        } = self;
        writeln!(
            f,
            "{showing} of {subscribers} subscribers showing; {seconds:.1} s, {packets_per_second:.0} packets/s"
        )?;
        writeln!(
            f,
            "  loss     {:.4} %, after repair {:.4} %",
            self.loss_ratio * 100.0,
            self.loss_after_repair_ratio * 100.0
        )?;
        writeln!(f, "  forward  {}", ms(&self.forward_ms))?;
        writeln!(f, "  first    {}", ms(&self.forward_first_ms))?;
        writeln!(f, "  last     {}", ms(&self.forward_last_ms))?;
        writeln!(
            f,
            "  join     {}; to the first frame {}",
            ms(&self.join_ms),
            ms(&self.first_frame_ms)
        )?;
        let own = self.generator_cpu_ns_per_packet.unwrap_or(0.0);
        if let Some(server) = &self.server {
            let ns = server.server_cpu_ns_per_packet.unwrap_or(0.0);
            writeln!(
                f,
                "  server   {ns:.0} ns of CPU a packet, {:.0} MB",
                server.server_rss_bytes as f64 / 1e6
            )?;
            if own > ns {
                writeln!(
                    f,
                    "  The generator used more CPU than the server: {own:.0} ns a packet."
                )?;
            }
        }
        match self.generator_was_bottleneck {
            true => write!(
                f,
                "  The generator was itself the bottleneck: {}.",
                self.generator_evidence.join("; ")
            ),
            false => write!(f, "  The generator kept up: {own:.0} ns of CPU a packet."),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &str) -> Args {
        Cli::parse_from(
            ["load", "--whip", "http://a", "--whep", "http://b"]
                .into_iter()
                .chain(words.split(' ')),
        )
        .args
    }

    fn measured(window: Window, subscribers: usize) -> Measured {
        let elapsed = Duration::from_secs(2);
        Measured {
            subscribers,
            joins_refused: 0,
            elapsed,
            interrupted: false,
            window,
            cpu: elapsed,
            usage: None,
        }
    }

    #[test]
    fn keys_that_others_read_keep_their_names() {
        let usage = Usage {
            cpu_ns: 0,
            rss_bytes: 5,
            peak_bytes: 6,
            threads: BTreeMap::new(),
        };
        let nothing = Measured {
            usage: Some((usage, 1)),
            ..measured(Window::default(), 100)
        };
        let json = serde_json::to_value(of(&args("--publishers 1"), nothing)).expect("JSON");
        for key in [
            "publishers",
            "subscribers",
            "subscribers_connected",
            "subscribers_showing",
            "bitrate_kbps",
            "gro",
            "seconds",
            "packets_sent",
            "packets_received",
            "packets_per_second",
            "received_mbps",
            "loss_ratio",
            "delivered_ratio",
            "reordered",
            "retransmitted",
            "refused",
            "keyframes_sent",
            "resent_by_publishers",
            "join_ms",
            "first_frame_ms",
            "forward_ms",
            "forward_first_ms",
            "forward_last_ms",
            "skew_ms",
            "generator_busy",
            "generator_was_bottleneck",
            "server_cpu_ns_per_packet",
            "server_cpu_share",
            "server_rss_bytes",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!(
            json["loss_ratio"],
            Value::from(0.0),
            "nothing came, and nothing is divided by zero"
        );
    }

    #[test]
    fn loss_repair_and_delivery_are_of_what_passed() {
        let seen = |packets, repaired| Seen {
            expected: 1000,
            packets,
            repaired,
            ..Seen::default()
        };
        let sent = |publisher, layer, in_window| Sent {
            publisher,
            layer,
            in_window,
            packets: in_window,
            ..Sent::default()
        };
        let window = Window {
            seen: vec![seen(1000, 0), seen(980, 15), seen(990, 5)],
            sent: vec![
                sent(0, 0, 60),
                sent(0, 2, 1000),
                sent(1, 0, 60),
                sent(1, 2, 1000),
            ],
            ..Window::default()
        };
        let report = of(&args("--publishers 2 --layers 2"), measured(window, 3));
        assert_eq!(report.loss_ratio, 0.01);
        assert!((report.loss_after_repair_ratio - 10.0 / 3000.0).abs() < 1e-9);
        assert_eq!(
            report.delivered_ratio, 0.99,
            "two watch the first publisher's best layer, one the second's"
        );
        assert_eq!(
            report
                .layers
                .iter()
                .map(|layer| layer.rid)
                .collect::<Vec<_>>(),
            ["q", "f"]
        );
        assert_eq!(
            report.generator_cpu_ns_per_packet,
            Some(round(2e9 / 2970.0))
        );
    }
}
