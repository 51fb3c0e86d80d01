//! Measurements, for Prometheus. Names end in their unit; labels have few values.

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
        .set_buckets_for_metric(Matcher::Full("tongke_http_request_duration_seconds".into()), &REQUEST_SECONDS)
        .expect("the list of buckets is not empty")
        .install_recorder()
        .expect("this is the only place that installs a recorder");
    describe();
    handle
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!("tongke_http_requests_total", "Requests answered, by method, route and status.");
    describe_histogram!("tongke_http_request_duration_seconds", "Time until an answer began, by method and route.");
    describe_counter!("tongke_http_connections_refused_total", "Connections beyond [limits] connections.");
    describe_counter!("tongke_media_received_bytes_total", "Bytes received by a media thread.");
    describe_counter!("tongke_media_sent_bytes_total", "Bytes sent by a media thread.");
    describe_counter!(
        "tongke_media_forwarded_packets_total",
        "RTP packets written for subscribers, resent ones not counted."
    );
    describe_counter!("tongke_media_resent_packets_total", "RTP packets sent again because a subscriber missed them.");
    describe_counter!("tongke_media_dropped_packets_total", "Packets that went nowhere, by reason.");
    describe_gauge!("tongke_media_peers", "Connections now, by kind.");
    describe_gauge!("tongke_media_tracks", "Tracks held now, those of other threads included.");
}

/// Puts the media threads' own counters among the measurements.
pub fn media(shards: &[Stats]) {
    for (shard, stats) in shards.iter().enumerate() {
        let shard = shard.to_string();
        let total = |name: &'static str, value| metrics::counter!(name, "shard" => shard.clone()).absolute(value);
        total("tongke_media_received_datagrams_total", stats.datagrams_received);
        total("tongke_media_received_bytes_total", stats.bytes_received);
        total("tongke_media_sent_datagrams_total", stats.datagrams_sent);
        total("tongke_media_sent_bytes_total", stats.bytes_sent);
        total("tongke_media_forwarded_packets_total", stats.packets_forwarded);
        total("tongke_media_resent_packets_total", stats.packets_resent);
        total("tongke_media_send_failures_total", stats.send_failures);
        total("tongke_media_keyframe_requests_total", stats.keyframes_requested);
        total("tongke_media_relay_overruns_total", stats.relay_overruns);
        total("tongke_media_lost_events_total", stats.events_lost);
        for (kind, peers) in [("publisher", stats.publishers), ("subscriber", stats.subscribers)] {
            metrics::gauge!("tongke_media_peers", "shard" => shard.clone(), "kind" => kind).set(peers as f64);
        }
        metrics::gauge!("tongke_media_tracks", "shard" => shard.clone()).set(stats.tracks as f64);
        for (reason, count) in &stats.dropped {
            let labels = [("shard", shard.clone()), ("reason", reason.name().to_owned())];
            metrics::counter!("tongke_media_dropped_packets_total", &labels).absolute(*count);
        }
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
