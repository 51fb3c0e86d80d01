//! Measurements, for Prometheus. Names end in their unit; labels have few values.

mod catalogue;

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tongke_plane::Stats;

/// From a cached page to a slow sign-in.
const REQUEST_SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
/// Histograms collect samples until they are read or tidied.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// Starts measuring; the same handle however often it is called (a process has one recorder).
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(start).clone()
}

fn start() -> PrometheusHandle {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Full("tongke_http_request_duration_seconds".into()),
            &REQUEST_SECONDS,
        )
        .expect("the list of buckets is not empty")
        .install_recorder()
        .expect("this is the only place that installs a recorder");
    catalogue::describe();
    handle
}

/// Everything measured, the media threads' own counters included, in Prometheus' text format.
pub fn render(handle: &PrometheusHandle, shards: &[Stats]) -> String {
    media(shards);
    handle.render() + &cpu_time(shards)
}

/// A counter of seconds is not a whole number, which all counters of the library are.
fn cpu_time(shards: &[Stats]) -> String {
    let (name, help) = catalogue::CPU_TIME;
    let head = format!("# HELP {name} {help}\n# TYPE {name} counter\n");
    let sample = |(shard, stats): (usize, &Stats)| {
        format!("{name}{{shard=\"{shard}\"}} {}\n", stats.cpu.as_secs_f64())
    };
    head + &shards.iter().enumerate().map(sample).collect::<String>()
}

fn media(shards: &[Stats]) {
    for (shard, stats) in shards.iter().enumerate() {
        let shard = shard.to_string();
        traffic(&shard, stats);
        state(&shard, stats);
        for (reason, count) in &stats.dropped {
            let labels = [
                ("shard", shard.clone()),
                ("reason", reason.name().to_owned()),
            ];
            metrics::counter!("tongke_media_dropped_packets_total", &labels).absolute(*count);
        }
    }
}

/// What only grows.
fn traffic(shard: &str, stats: &Stats) {
    let total = |name: &'static str, value| {
        metrics::counter!(name, "shard" => shard.to_owned()).absolute(value)
    };
    total(
        "tongke_media_received_datagrams_total",
        stats.datagrams_received,
    );
    total("tongke_media_received_bytes_total", stats.bytes_received);
    total(
        "tongke_media_received_batches_total",
        stats.batches_received,
    );
    total("tongke_media_sent_datagrams_total", stats.datagrams_sent);
    total("tongke_media_sent_bytes_total", stats.bytes_sent);
    total("tongke_media_sent_messages_total", stats.messages_sent);
    total(
        "tongke_media_forwarded_packets_total",
        stats.packets_forwarded,
    );
    total("tongke_media_resent_packets_total", stats.packets_resent);
    total("tongke_media_send_failures_total", stats.send_failures);
    total(
        "tongke_media_keyframe_requests_total",
        stats.keyframes_requested,
    );
    total("tongke_media_relay_overruns_total", stats.relay_overruns);
    total("tongke_media_lost_events_total", stats.events_lost);
}

/// How it stands now.
fn state(shard: &str, stats: &Stats) {
    let now = |name: &'static str, value| {
        metrics::gauge!(name, "shard" => shard.to_owned()).set(value as f64)
    };
    now("tongke_media_tracks", stats.tracks);
    now("tongke_media_ring_bytes", stats.ring_bytes);
    now("tongke_media_queued_commands", stats.commands_queued);
    now(
        "tongke_media_queued_control_datagrams",
        stats.control_queued,
    );
    now("tongke_media_queued_resends", stats.resends_queued);
    now("tongke_media_queued_events", stats.events_queued);
    for (kind, peers) in [
        ("publisher", stats.publishers),
        ("subscriber", stats.subscribers),
    ] {
        metrics::gauge!("tongke_media_peers", "shard" => shard.to_owned(), "kind" => kind)
            .set(peers as f64);
    }
}

/// Keeps histograms small while nobody reads them.
pub async fn keep_tidy(handle: PrometheusHandle) {
    let mut interval = tokio::time::interval(TIDY_EVERY);
    loop {
        interval.tick().await;
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests;
