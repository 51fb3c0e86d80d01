//! Names, kinds and help texts of all metrics. The server's own are listed here, those of a shard
//! in [`tongke_plane::stats`].
//!
//! Names follow the Prometheus naming conventions: they end in their unit, and in `_total` if they
//! are counters. Metrics of the media plane have the label `shard`.

use tongke_plane::{Stats, stats};

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric as Prometheus shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    pub kind: Kind,
    pub name: &'static str,
    pub help: &'static str,
}

impl From<stats::Metric> for Metric {
    fn from(metric: stats::Metric) -> Metric {
        let kind = match metric.kind {
            stats::MetricKind::Counter => Kind::Counter,
            stats::MetricKind::Gauge => Kind::Gauge,
        };
        Metric {
            kind,
            name: metric.name,
            help: metric.help,
        }
    }
}

/// Lists each metric as `CONSTANT: Kind "name" "help";`. The constant is the name.
macro_rules! server_metrics {
    ($($constant:ident: $kind:ident $name:literal $help:literal;)+) => {
        $(#[doc = $help] pub const $constant: &str = $name;)+

        /// The metrics of the server itself.
        const SERVER: &[Metric] = &[$(Metric {
            kind: Kind::$kind,
            name: $name,
            help: $help,
        },)+];
    };
}

server_metrics! {
    HTTP_REQUESTS: Counter "tongke_http_requests_total"
        "HTTP requests answered, by method, route and status.";
    HTTP_REQUEST_DURATION: Histogram "tongke_http_request_duration_seconds"
        "Time until the response began, by method and route.";
    HTTP_CONNECTIONS_REFUSED: Counter "tongke_http_connections_refused_total"
        "Connections refused because of [limits] connections.";
    SIGN_INS_LIMITED: Counter "tongke_sign_ins_limited_total"
        "Sign-in attempts rejected by the rate limit.";
    AUDIT_ENTRIES_DROPPED: Counter "tongke_audit_entries_dropped_total"
        "Refused requests without a session that exceeded the bound of the audit log.";
    AUDIT_WRITE_FAILURES: Counter "tongke_audit_write_failures_total"
        "Audit entries that the database did not accept.";
    LESSONS: Gauge "tongke_lessons"
        "Live lessons.";
    CLIENTS: Gauge "tongke_pages"
        "Clients connected to a live lesson.";
    SLOW_CLIENTS: Counter "tongke_slow_pages_total"
        "Clients disconnected because they did not read their messages in time.";
    FLOODING_CLIENTS: Counter "tongke_flooding_pages_total"
        "Clients disconnected because they exceeded the rate limit.";
    REFUSED_MESSAGES: Counter "tongke_refused_messages_total"
        "Client messages refused, by error code.";
    LESSON_EVENTS_DROPPED: Counter "tongke_lesson_events_dropped_total"
        "Events of the media plane dropped because their lesson had ended or its queue was full.";
    RECORDING_OVERRUN_PACKETS: Counter "tongke_recording_overrun_packets_total"
        "Packets that the recorder did not read in time; each is a gap in a recording.";
    RECORDING_WRITE_FAILURES: Counter "tongke_recording_write_failures_total"
        "Recording segments that could not be written to the spool.";
    RECORDING_UPLOAD_FAILURES: Counter "tongke_recording_upload_failures_total"
        "Failed uploads of recording files to the object store; they are retried.";
    RECORDING_SPOOL_BYTES: Gauge "tongke_recording_spool_bytes"
        "Recording data in the spool, waiting for the object store.";
}

/// All metrics of the process.
pub fn all() -> impl Iterator<Item = Metric> {
    let plane = Stats::METRICS.iter().copied();
    let plane = plane.chain([stats::CPU_TIME, stats::DROPPED]);
    SERVER.iter().copied().chain(plane.map(Metric::from))
}

/// Registers the help texts with the recorder, except for [`stats::CPU_TIME`], which the exporter
/// writes itself.
pub fn describe() {
    for Metric { kind, name, help } in all().filter(|metric| metric.name != stats::CPU_TIME.name) {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, help),
            Kind::Gauge => metrics::describe_gauge!(name, help),
            Kind::Histogram => metrics::describe_histogram!(name, help),
        }
    }
}
