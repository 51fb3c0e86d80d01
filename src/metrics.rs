//! Prometheus metrics of the process: registration and export.

mod catalogue;

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tongke_plane::{Stats, stats};

pub use catalogue::*;

/// Histogram buckets in seconds, from a cached file to a slow password hash.
const REQUEST_SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Upkeep interval: histograms buffer raw samples until they are rendered or drained.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Installs the recorder of the process. Later calls return the same handle.
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(start).clone()
}

fn start() -> PrometheusHandle {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Full(HTTP_REQUEST_DURATION.into()),
            &REQUEST_SECONDS,
        )
        .expect("the list of buckets is not empty")
        .install_recorder()
        .expect("this is the only place that installs a recorder");
    catalogue::describe();
    handle
}

/// Renders all metrics, including those of the shards, in the Prometheus text format.
pub fn render(handle: &PrometheusHandle, shards: &[Stats]) -> String {
    for (shard, stats) in shards.iter().enumerate() {
        record_shard(shard, stats);
    }
    handle.render() + &render_cpu_time(shards)
}

fn record_shard(shard: usize, stats: &Stats) {
    let shard = shard.to_string();
    for sample in stats.samples() {
        let labels: Vec<(&'static str, String)> = std::iter::once(("shard", shard.clone()))
            .chain(sample.label.map(|(key, value)| (key, value.to_owned())))
            .collect();
        match sample.metric.kind {
            stats::MetricKind::Counter => {
                metrics::counter!(sample.metric.name, &labels).absolute(sample.value)
            }
            stats::MetricKind::Gauge => {
                metrics::gauge!(sample.metric.name, &labels).set(sample.value as f64)
            }
        }
    }
    for (reason, count) in &stats.dropped {
        let labels = [
            ("shard", shard.clone()),
            ("reason", reason.label().to_owned()),
        ];
        metrics::counter!(stats::DROPPED.name, &labels).absolute(*count);
    }
}

/// Renders the CPU time by hand, because the recorder's counters are integers.
fn render_cpu_time(shards: &[Stats]) -> String {
    let stats::Metric { name, help, .. } = stats::CPU_TIME;
    let head = format!("# HELP {name} {help}\n# TYPE {name} counter\n");
    let sample = |(shard, stats): (usize, &Stats)| {
        format!("{name}{{shard=\"{shard}\"}} {}\n", stats.cpu.as_secs_f64())
    };
    head + &shards.iter().enumerate().map(sample).collect::<String>()
}

/// Runs the recorder's upkeep, which bounds the memory of histograms while nothing scrapes them.
pub async fn run_upkeep(handle: PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        interval.tick().await;
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests;
