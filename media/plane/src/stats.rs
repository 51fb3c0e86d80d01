//! Counters and gauges of one shard. Its thread writes them; the exporter reads them.
//!
//! `shard_metrics!` is the only list: it yields the atomics ([`Counters`]), their values
//! ([`Stats`]), and the name, kind and help text of each Prometheus metric ([`Stats::METRICS`]).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::drop_reason::DropReason;

/// A Prometheus metric of a shard. The exporter adds the label `shard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Counter or gauge.
    pub kind: MetricKind,
    /// The exposed name; ends in the unit, and in `_total` for a counter.
    pub name: &'static str,
    /// The exposed help text.
    pub help: &'static str,
}

/// The type of a [`Metric`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Counts from the start of the shard; never decreases.
    Counter,
    /// The current value, or the maximum of the last second.
    Gauge,
}

/// The value of one series of a [`Metric`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The metric.
    pub metric: Metric,
    /// Key and value of the label that distinguishes the series of one metric.
    pub label: Option<(&'static str, &'static str)>,
    /// The value.
    pub value: u64,
}

/// CPU time of a shard's thread ([`Stats::cpu`]).
pub const CPU_TIME: Metric = Metric {
    kind: MetricKind::Counter,
    name: "tongke_media_cpu_seconds_total",
    help: "CPU time of a media thread; its rate is the share of a core that it uses.",
};

/// Drops by [`DropReason`] ([`Stats::dropped`]), labelled `reason`.
pub const DROPPED: Metric = Metric {
    kind: MetricKind::Counter,
    name: "tongke_media_dropped_packets_total",
    help: "Packets and datagrams that were dropped, by reason.",
};

macro_rules! label {
    () => {
        None
    };
    ($key:literal = $value:literal) => {
        Some(($key, $value))
    };
}

/// Lists each metric as `kind name help => fields;`, one field for each label value.
macro_rules! shard_metrics {
    ($($kind:ident $name:literal $help:literal => $($field:ident $([$($label:tt)+])?),+;)+) => {
        /// Live counters and gauges of one shard. Only its thread writes them, except for
        /// `commands_queued`; a reader may see one counter newer than another.
        #[derive(Default)]
        pub struct Counters {
            $($(#[doc = $help] pub $field: AtomicU64,)+)+
            drops: [AtomicU64; DropReason::ALL.len()],
        }

        /// A snapshot of the [`Counters`] of one shard. Counters count from its start.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[doc = $help] pub $field: u64,)+)+
            /// CPU time of the shard's thread; zero for a shard without a thread (a simulated one).
            pub cpu: Duration,
            /// Number of drops for each reason.
            pub dropped: Vec<(DropReason, u64)>,
        }

        impl Counters {
            /// Reads all counters.
            pub fn snapshot(&self) -> Stats {
                Stats {
                    $($($field: self.$field.load(Relaxed),)+)+
                    cpu: Duration::ZERO,
                    dropped: DropReason::ALL
                        .iter()
                        .map(|reason| (*reason, self.drops[*reason as usize].load(Relaxed)))
                        .collect(),
                }
            }
        }

        impl Stats {
            /// All metrics of a shard except [`CPU_TIME`] and [`DROPPED`].
            pub const METRICS: &[Metric] = &[$(Metric {
                kind: MetricKind::$kind,
                name: $name,
                help: $help,
            },)+];

            /// Returns the value of each series of [`Stats::METRICS`].
            pub fn samples(&self) -> impl Iterator<Item = Sample> + use<> {
                [$($(Sample {
                    metric: Metric { kind: MetricKind::$kind, name: $name, help: $help },
                    label: label!($($($label)+)?),
                    value: self.$field,
                },)+)+]
                .into_iter()
            }
        }
    };
}

shard_metrics! {
    Counter "tongke_media_received_datagrams_total"
        "Datagrams received."
        => datagrams_received;
    Counter "tongke_media_received_bytes_total"
        "Bytes received, without UDP and IP headers."
        => bytes_received;
    Counter "tongke_media_received_batches_total"
        "Receive calls that returned datagrams; datagrams divided by batches is the batch size."
        => batches_received;
    Counter "tongke_media_sent_datagrams_total"
        "Datagrams sent."
        => datagrams_sent;
    Counter "tongke_media_sent_bytes_total"
        "Bytes sent, without UDP and IP headers."
        => bytes_sent;
    Counter "tongke_media_sent_messages_total"
        "Messages passed to the kernel; datagrams divided by messages is the effect of segmentation offload (GSO)."
        => messages_sent;
    Counter "tongke_media_forwarded_packets_total"
        "RTP packets written for subscribers, without retransmissions."
        => packets_forwarded;
    Counter "tongke_media_resent_packets_total"
        "RTP packets retransmitted to subscribers."
        => packets_resent;
    Counter "tongke_media_send_failures_total"
        "Datagrams that the kernel refused; they are dropped."
        => send_failures;
    Counter "tongke_media_keyframe_requests_total"
        "Keyframe requests sent to publishers."
        => keyframes_requested;
    Counter "tongke_media_relay_overruns_total"
        "Packets that did not fit the queue of a recorder or of another media thread."
        => relay_overruns;
    Counter "tongke_media_lost_events_total"
        "Events dropped because the server did not take them in time."
        => events_lost;
    Gauge "tongke_media_peers"
        "Peers by kind, publisher or subscriber, including those that are still connecting."
        => publishers ["kind" = "publisher"], subscribers ["kind" = "subscriber"];
    Gauge "tongke_media_tracks"
        "Tracks in memory, including those imported from other media threads."
        => tracks;
    Gauge "tongke_media_ring_bytes"
        "Memory of the packet rings."
        => ring_bytes;
    Gauge "tongke_media_queued_commands"
        "Commands queued for the media thread."
        => commands_queued;
    Gauge "tongke_media_queued_control_datagrams"
        "STUN, DTLS and RTCP datagrams queued for sending: the maximum of the last second."
        => control_queued;
    Gauge "tongke_media_queued_resends"
        "Retransmissions and padding queued for sending: the maximum of the last second."
        => resends_queued;
    Gauge "tongke_media_queued_events"
        "Events queued for the server: the maximum of the last second."
        => events_queued;
}

impl Counters {
    /// Adds to a counter that only this thread writes.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets a gauge.
    pub fn set(gauge: &AtomicU64, n: u64) {
        gauge.store(n, Relaxed);
    }

    /// Counts a dropped datagram or packet.
    pub fn count_drop(&self, reason: DropReason) {
        Counters::add(&self.drops[reason as usize], 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_unique_name_and_each_field_its_own_series() {
        let stats = Stats {
            datagrams_received: 1,
            publishers: 2,
            subscribers: 3,
            events_queued: 4,
            ..Stats::default()
        };
        let samples: Vec<Sample> = stats.samples().collect();
        let value_of = |name: &str, label| {
            let mut found = samples
                .iter()
                .filter(|sample| sample.metric.name == name && sample.label == label);
            let value = found.next().map(|sample| sample.value);
            assert_eq!(found.next(), None, "{name} {label:?} is listed twice");
            value
        };
        assert_eq!(
            value_of("tongke_media_received_datagrams_total", None),
            Some(1)
        );
        let kind = |kind| Some(("kind", kind));
        assert_eq!(value_of("tongke_media_peers", kind("publisher")), Some(2));
        assert_eq!(value_of("tongke_media_peers", kind("subscriber")), Some(3));
        assert_eq!(value_of("tongke_media_queued_events", None), Some(4));
        let names: std::collections::HashSet<_> =
            Stats::METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), Stats::METRICS.len());
    }

    #[test]
    fn a_drop_is_counted_under_its_reason_alone() {
        let counters = Counters::default();
        counters.count_drop(DropReason::SrtpReplay);
        let dropped: Vec<_> = counters
            .snapshot()
            .dropped
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(dropped, [(DropReason::SrtpReplay, 1)]);
    }
}
