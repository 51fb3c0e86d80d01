//! Report of a step: one line of JSON, and a summary for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Args;
use super::args::MAX_LAYERS;
use super::percentiles::{Percentiles, round};
use super::process::Usage;
use super::publisher::LayerStats;
use super::reactor::Window;
use super::saturation::{self, ThreadUsage};
use super::sdp::RIDS;
use super::subscriber::SubscriberStats;

/// Measurements of one step.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub publishers: usize,
    /// Requested number.
    pub subscribers: usize,
    /// Subscribers with a completed handshake, and with a complete keyframe.
    pub subscribers_connected: usize,
    pub subscribers_showing: usize,
    /// Failed joins so far.
    pub joins_refused: usize,
    pub bitrate_kbps: u32,
    /// Merged reception of datagrams: `--gro`.
    pub gro: bool,
    pub seconds: f64,
    /// True if Ctrl-C ended the step early.
    pub interrupted: bool,
    /// Negotiated ciphers, by their names in RFC 5764 and RFC 7714.
    pub srtp: BTreeSet<&'static str>,
    /// Media packets sent by publishers in the whole run, and received by subscribers in this step.
    pub packets_sent: u64,
    pub packets_received: u64,
    pub packets_per_second: f64,
    pub received_mbps: f64,
    /// Share of sequence numbers not received without a NACK.
    pub loss_ratio: f64,
    /// Share of sequence numbers never received.
    pub loss_after_repair_ratio: f64,
    /// Received share of the packets sent, of simulcast of those of the best layer. Below 1 without
    /// loss: the server limited the bitrate to its bandwidth estimate.
    pub delivered_ratio: f64,
    /// Packets received out of order without a NACK.
    pub reordered: u64,
    /// Retransmissions received, lost packets recovered by them, and duplicates.
    pub retransmitted: u64,
    pub repaired: u64,
    pub in_vain: u64,
    /// Sequence numbers in NACKs, and those never received.
    pub asked_again: u64,
    pub given_up: u64,
    /// Packets dropped by `--drop`.
    pub discarded: u64,
    pub refused: u64,
    pub keyframes_sent: u64,
    pub resent_by_publishers: u64,
    /// From the POST of the offer to the completed handshake.
    pub join_ms: Option<Percentiles>,
    /// From the POST of the offer to the first complete keyframe.
    pub first_frame_ms: Option<Percentiles>,
    /// From just before a frame is sent to the kernel's arrival timestamp of its first packet at a
    /// subscriber.
    pub forward_ms: Option<Percentiles>,
    /// The same for the first and for the last subscriber of each frame.
    pub forward_first_ms: Option<Percentiles>,
    pub forward_last_ms: Option<Percentiles>,
    /// Difference between the first and the last subscriber of each frame.
    pub skew_ms: Option<Percentiles>,
    /// Simulcast layers, lowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerReport>,
    /// Frames of another layer than the frame before.
    pub layer_changes: u64,
    /// Subscribers that joined during the measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
    /// CPU share of the busiest thread of the generator.
    pub generator_busy: f64,
    /// Largest share of time that one of its threads was runnable without a CPU; null where the
    /// kernel does not report it.
    pub generator_waiting: Option<f64>,
    /// CPU time of the generator per received packet.
    pub generator_cpu_ns_per_packet: Option<f64>,
    /// Datagrams dropped by the kernel at the generator's sockets.
    pub generator_socket_drops: u64,
    /// Delay of frames behind their due time.
    pub generator_late_ms: Option<Percentiles>,
    /// True if latencies and losses are the generator's own, with the reasons.
    pub generator_was_bottleneck: bool,
    pub generator_evidence: Vec<String>,
    #[serde(flatten)]
    pub server: Option<ServerReport>,
}

/// Resource usage of the server, per packet sent to a subscriber for the first time.
#[derive(Debug, Serialize)]
pub(crate) struct ServerReport {
    pub server_cpu_ns_per_packet: Option<f64>,
    /// CPU time per second, in cores.
    pub server_cpu_share: f64,
    /// The same by thread name, for running threads.
    pub server_cpu_share_by_thread: BTreeMap<String, f64>,
    pub server_rss_bytes: u64,
    pub server_peak_rss_bytes: u64,
    /// Growth since the publishers connected, per subscriber.
    pub server_rss_bytes_per_subscriber: f64,
}

/// Measurements of one simulcast layer.
#[derive(Debug, Serialize)]
pub(crate) struct LayerReport {
    pub rid: &'static str,
    pub packets_sent: u64,
    /// Frames received by subscribers, and their share of all frames.
    pub frames_received: u64,
    pub frames_share: f64,
}

/// Subscribers that joined during the measurement: their number, those with a keyframe, and join
/// times.
#[derive(Debug, Serialize)]
pub(crate) struct Storm {
    pub joined: usize,
    pub showing: usize,
    pub join_ms: Option<Percentiles>,
    pub first_frame_ms: Option<Percentiles>,
}

/// Input of a report.
pub(crate) struct Measured {
    pub subscribers: usize,
    pub joins_refused: usize,
    pub elapsed: Duration,
    pub interrupted: bool,
    pub window: Window,
    /// CPU time used by the generator.
    pub cpu: Duration,
    /// Usage of the server, and its resident set size before the first subscriber.
    pub usage: Option<(Usage, u64)>,
}

pub(crate) fn build(args: &Args, measured: Measured) -> Report {
    let Measured {
        subscribers,
        joins_refused,
        elapsed,
        interrupted,
        window,
        cpu,
        usage,
    } = measured;
    let spread = window.latencies.spread();
    let (late, stats): (Vec<SubscriberStats>, Vec<SubscriberStats>) =
        window.received.into_iter().partition(|stats| stats.late);
    let sum = |count: fn(&SubscriberStats) -> u64| stats.iter().map(count).sum::<u64>();
    let sent_sum = |count: fn(&LayerStats) -> u64| window.sent.iter().map(count).sum::<u64>();
    let (packets, expected, repaired) =
        (sum(|s| s.packets), sum(|s| s.expected), sum(|s| s.repaired));
    let seconds = elapsed.as_secs_f64();
    let forwarded = packets + sum(|s| s.discarded);
    let generator_late_ms = window.lateness.as_ref().and_then(Percentiles::of_ns);
    let evidence = saturation::bottlenecks(
        &window.threads,
        window.socket_drops,
        generator_late_ms.map(|late| late.p99),
    );
    let max = |share: fn(&ThreadUsage) -> Option<f64>| {
        window
            .threads
            .iter()
            .filter_map(share)
            .reduce(f64::max)
            .map(round)
    };
    Report {
        publishers: args.publishers,
        subscribers,
        subscribers_connected: stats.iter().filter(|s| s.connected_after.is_some()).count(),
        subscribers_showing: stats.iter().filter(|s| s.keyframe_after.is_some()).count(),
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
            expected_packets(args, subscribers, &window.sent) as f64,
        )),
        reordered: sum(|s| s.reordered),
        retransmitted: sum(|s| s.retransmitted),
        repaired,
        in_vain: sum(|s| s.duplicates),
        asked_again: sum(|s| s.requested),
        given_up: sum(|s| s.given_up),
        discarded: sum(|s| s.discarded),
        refused: sum(|s| s.refused),
        keyframes_sent: sent_sum(|s| s.keyframes),
        resent_by_publishers: sent_sum(|s| s.resent),
        join_ms: millis(&stats, |s| s.connected_after),
        first_frame_ms: millis(&stats, |s| s.keyframe_after),
        forward_ms: Percentiles::of_ns(window.latencies.all()),
        forward_first_ms: spread.first,
        forward_last_ms: spread.last,
        skew_ms: spread.skew,
        layers: if args.layers > 1 {
            layers(&stats, &window.sent)
        } else {
            Vec::new()
        },
        layer_changes: sum(|s| s.layer_changes),
        storm: (!late.is_empty()).then(|| Storm::of(&late)),
        generator_busy: max(|thread| Some(thread.busy)).unwrap_or(0.0),
        generator_waiting: max(|thread| thread.waiting),
        generator_cpu_ns_per_packet: per_packet(cpu.as_nanos() as u64, forwarded),
        generator_socket_drops: window.socket_drops,
        generator_late_ms,
        generator_was_bottleneck: !evidence.is_empty(),
        generator_evidence: evidence,
        server: usage.map(|(usage, before)| {
            ServerReport::of(&usage, before, seconds, forwarded, stats.len() + late.len())
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

/// Returns 0 for an empty whole.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn per_packet(ns: u64, packets: u64) -> Option<f64> {
    (packets > 0).then(|| round(ns as f64 / packets as f64))
}

/// Packets that a server forwarding everything would have sent. Subscribers are assigned to
/// publishers in turn.
fn expected_packets(args: &Args, subscribers: usize, sent: &[LayerStats]) -> u64 {
    let watchers = |publisher| {
        (0..subscribers)
            .filter(|n| n % args.publishers.max(1) == publisher)
            .count() as u64
    };
    let best = sent.iter().filter(|sent| sent.layer == MAX_LAYERS - 1);
    best.map(|sent| sent.in_window * watchers(sent.publisher))
        .sum()
}

fn layers(stats: &[SubscriberStats], sent: &[LayerStats]) -> Vec<LayerReport> {
    let frames = |layer: usize| stats.iter().map(|s| s.frames[layer]).sum::<u64>();
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

fn millis(
    stats: &[SubscriberStats],
    time: fn(&SubscriberStats) -> Option<Duration>,
) -> Option<Percentiles> {
    Percentiles::of(
        stats
            .iter()
            .filter_map(time)
            .map(|span| span.as_secs_f64() * 1000.0)
            .collect(),
    )
}

impl Storm {
    fn of(late: &[SubscriberStats]) -> Storm {
        Storm {
            joined: late.iter().filter(|s| s.connected_after.is_some()).count(),
            showing: late.iter().filter(|s| s.keyframe_after.is_some()).count(),
            join_ms: millis(late, |s| s.connected_after),
            first_frame_ms: millis(late, |s| s.keyframe_after),
        }
    }
}

/// Summary for people.
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
        let json = serde_json::to_value(build(&args("--publishers 1"), nothing)).expect("JSON");
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
    fn loss_repair_and_delivery_are_ratios_of_expected_packets() {
        let stats = |packets, repaired| SubscriberStats {
            expected: 1000,
            packets,
            repaired,
            ..SubscriberStats::default()
        };
        let sent = |publisher, layer, in_window| LayerStats {
            publisher,
            layer,
            in_window,
            packets: in_window,
            ..LayerStats::default()
        };
        let window = Window {
            received: vec![stats(1000, 0), stats(980, 15), stats(990, 5)],
            sent: vec![
                sent(0, 0, 60),
                sent(0, 2, 1000),
                sent(1, 0, 60),
                sent(1, 2, 1000),
            ],
            ..Window::default()
        };
        let report = build(&args("--publishers 2 --layers 2"), measured(window, 3));
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
