//! Measurements, for Prometheus. Names end in their unit; labels have few values.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

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
        .set_buckets_for_metric(Matcher::Full("http_request_duration_seconds".into()), &REQUEST_SECONDS)
        .expect("the list of buckets is not empty")
        .install_recorder()
        .expect("this is the only place that installs a recorder");
    describe();
    handle
}

fn describe() {
    metrics::describe_counter!("http_requests_total", "Requests answered, by method, route and status.");
    metrics::describe_histogram!("http_request_duration_seconds", "Time until an answer began, by method and route.");
}

/// Keeps histograms small while nobody reads them.
pub async fn keep_tidy(handle: PrometheusHandle) {
    let mut interval = tokio::time::interval(TIDY_EVERY);
    loop {
        interval.tick().await;
        handle.run_upkeep();
    }
}
