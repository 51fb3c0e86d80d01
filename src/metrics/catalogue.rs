//! Every measurement that the server makes, by name: what Prometheus shows as help, and what a test holds the code and the dashboard to.
//!
//! Names end in their unit, and in `_total` where they only grow (Prometheus: metric and label naming). Those of the media plane are of one
//! media thread each, by the label `shard`.

/// How a measurement behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Name and help of the one counter that is written by hand.
pub const CPU_TIME: (&str, &str) = (
    "tongke_media_cpu_seconds_total",
    "CPU time of a media thread; its rate is the share of a core that it uses.",
);

pub const ALL: &[(Kind, &str, &str)] = &[
    (
        Counter,
        "tongke_http_requests_total",
        "Requests answered, by method, route and status.",
    ),
    (
        Histogram,
        "tongke_http_request_duration_seconds",
        "Time until an answer began, by method and route.",
    ),
    (
        Counter,
        "tongke_http_connections_refused_total",
        "Connections beyond [limits] connections.",
    ),
    (Gauge, "tongke_lessons", "Lessons that are on."),
    (
        Gauge,
        "tongke_pages",
        "Pages of lessons that are connected.",
    ),
    (
        Counter,
        "tongke_slow_pages_total",
        "Pages that were closed because they did not take what was sent to them.",
    ),
    (
        Counter,
        "tongke_flooding_pages_total",
        "Pages that were closed because they sent too much.",
    ),
    (
        Counter,
        "tongke_refused_messages_total",
        "Messages of pages that were refused, by code.",
    ),
    (
        Counter,
        "tongke_lesson_events_dropped_total",
        "Events of the media plane that came for a lesson that was over or overrun.",
    ),
    (
        Counter,
        "tongke_recording_overrun_packets_total",
        "Packets that the recorder did not take in time: a gap in a recording.",
    ),
    (
        Counter,
        "tongke_recording_write_failures_total",
        "Recorded pieces that could not be written to the spool.",
    ),
    (
        Counter,
        "tongke_recording_upload_failures_total",
        "Recorded files that the object store did not take; they are tried again.",
    ),
    (
        Gauge,
        "tongke_recording_spool_bytes",
        "Recorded bytes that wait for the object store.",
    ),
    (Counter, CPU_TIME.0, CPU_TIME.1),
    (
        Counter,
        "tongke_media_received_datagrams_total",
        "Datagrams received.",
    ),
    (
        Counter,
        "tongke_media_received_bytes_total",
        "Bytes received, without UDP and IP headers.",
    ),
    (
        Counter,
        "tongke_media_received_batches_total",
        "Times that datagrams were taken in; datagrams by batches is the size of a batch.",
    ),
    (
        Counter,
        "tongke_media_sent_datagrams_total",
        "Datagrams sent.",
    ),
    (
        Counter,
        "tongke_media_sent_bytes_total",
        "Bytes sent, without UDP and IP headers.",
    ),
    (
        Counter,
        "tongke_media_sent_messages_total",
        "Messages to the kernel; datagrams by messages is what segmentation offload (GSO) puts together.",
    ),
    (
        Counter,
        "tongke_media_forwarded_packets_total",
        "RTP packets written for subscribers, resent ones not counted.",
    ),
    (
        Counter,
        "tongke_media_resent_packets_total",
        "RTP packets sent again because a subscriber missed them.",
    ),
    (
        Counter,
        "tongke_media_dropped_packets_total",
        "Packets and datagrams that went nowhere, by reason.",
    ),
    (
        Counter,
        "tongke_media_send_failures_total",
        "Datagrams that the kernel did not take.",
    ),
    (
        Counter,
        "tongke_media_keyframe_requests_total",
        "Keyframes asked for from publishers.",
    ),
    (
        Counter,
        "tongke_media_relay_overruns_total",
        "Packets that a recorder's or another media thread's queue had no room for.",
    ),
    (
        Counter,
        "tongke_media_lost_events_total",
        "Events that the server did not take in time.",
    ),
    (
        Gauge,
        "tongke_media_peers",
        "Connections now, by kind: publisher or subscriber.",
    ),
    (
        Gauge,
        "tongke_media_tracks",
        "Tracks held now, those of other threads included.",
    ),
    (
        Gauge,
        "tongke_media_ring_bytes",
        "Memory of the packet rings.",
    ),
    (
        Gauge,
        "tongke_media_queued_commands",
        "Commands of the server that wait for the thread.",
    ),
    (
        Gauge,
        "tongke_media_queued_control_datagrams",
        "STUN, DTLS and RTCP datagrams that waited to be sent: the most in the last second.",
    ),
    (
        Gauge,
        "tongke_media_queued_resends",
        "Retransmissions and padding that waited to be sent: the most in the last second.",
    ),
    (
        Gauge,
        "tongke_media_queued_events",
        "Events that waited for the server: the most in the last second.",
    ),
];

/// Registers the help texts.
pub fn describe() {
    for (kind, name, help) in ALL {
        match kind {
            Counter if *name == CPU_TIME.0 => {}
            Counter => metrics::describe_counter!(*name, *help),
            Gauge => metrics::describe_gauge!(*name, *help),
            Histogram => metrics::describe_histogram!(*name, *help),
        }
    }
}
