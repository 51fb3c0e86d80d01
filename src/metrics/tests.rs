use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tongke_plane::drop_reason::DropReason;

use super::*;

const DASHBOARD: &str = include_str!("../../deploy/grafana.json");

fn kinds() -> BTreeMap<&'static str, Kind> {
    all().map(|metric| (metric.name, metric.kind)).collect()
}

/// Returns the metric of a series name in a query or in the exposition. A histogram has three
/// series.
fn metric_of<'w>(word: &'w str, kinds: &BTreeMap<&str, Kind>) -> Option<(&'w str, Kind)> {
    let of = |name: &'w str| kinds.get(name).map(|kind| (name, *kind));
    let series = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| word.strip_suffix(suffix));
    of(word).or_else(|| {
        series
            .and_then(of)
            .filter(|(_, kind)| *kind == Kind::Histogram)
    })
}

/// Yields the names of our series in a text.
fn series_names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("tongke_"))
}

/// Collects all strings with a given key, at any depth of the document.
fn strings<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| strings(value, key, found)),
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str));
            fields.values().for_each(|value| strings(value, key, found));
        }
        _ => {}
    }
}

fn dashboard(key: &str) -> Vec<&'static str> {
    let parsed: &'static Value = Box::leak(Box::new(
        serde_json::from_str(DASHBOARD).expect("the dashboard is JSON"),
    ));
    let mut found = Vec::new();
    strings(parsed, key, &mut found);
    found
}

#[test]
fn the_dashboard_queries_only_existing_metrics_and_shows_all_of_them() {
    let (kinds, queries) = (kinds(), dashboard("expr"));
    let mut shown = BTreeSet::new();
    for query in queries.iter().copied().chain(dashboard("definition")) {
        for word in series_names(query) {
            let (name, kind) =
                metric_of(word, &kinds).unwrap_or_else(|| panic!("{word} does not exist: {query}"));
            let is_rated = query.contains(&format!("rate({word}"));
            assert_eq!(
                is_rated,
                kind != Kind::Gauge,
                "exactly the counters and histograms have a rate: {query}"
            );
            shown.insert(name);
        }
    }
    let hidden: Vec<_> = kinds.keys().filter(|name| !shown.contains(*name)).collect();
    assert!(hidden.is_empty(), "not on the dashboard: {hidden:?}");
}

#[test]
fn every_title_on_the_dashboard_is_chinese_and_english() {
    let titles = dashboard("title");
    assert!(titles.len() > 20);
    for title in titles {
        let has = |of: fn(char) -> bool| title.chars().any(of);
        assert!(
            has(|c| c.is_ascii_alphabetic()) && has(|c| ('一'..='鿿').contains(&c)),
            "{title}"
        );
    }
}

#[test]
fn the_exposed_names_are_those_that_dashboards_and_alerts_know() {
    let names: Vec<&str> = all().map(|metric| metric.name).collect();
    assert_eq!(names, EXPOSED);
    for Metric { kind, name, help } in all() {
        assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
        assert!(help.ends_with('.'), "{name}: {help}");
    }
}

/// Renaming a metric breaks the dashboards and alerts of every installation.
const EXPOSED: &[&str] = &[
    "tongke_http_requests_total",
    "tongke_http_request_duration_seconds",
    "tongke_http_connections_refused_total",
    "tongke_sign_ins_limited_total",
    "tongke_audit_entries_dropped_total",
    "tongke_audit_write_failures_total",
    "tongke_lessons",
    "tongke_pages",
    "tongke_slow_pages_total",
    "tongke_flooding_pages_total",
    "tongke_refused_messages_total",
    "tongke_lesson_events_dropped_total",
    "tongke_recording_overrun_packets_total",
    "tongke_recording_write_failures_total",
    "tongke_recording_upload_failures_total",
    "tongke_recording_spool_bytes",
    "tongke_media_received_datagrams_total",
    "tongke_media_received_bytes_total",
    "tongke_media_received_batches_total",
    "tongke_media_sent_datagrams_total",
    "tongke_media_sent_bytes_total",
    "tongke_media_sent_messages_total",
    "tongke_media_forwarded_packets_total",
    "tongke_media_resent_packets_total",
    "tongke_media_send_failures_total",
    "tongke_media_keyframe_requests_total",
    "tongke_media_relay_overruns_total",
    "tongke_media_lost_events_total",
    "tongke_media_peers",
    "tongke_media_tracks",
    "tongke_media_ring_bytes",
    "tongke_media_queued_commands",
    "tongke_media_queued_control_datagrams",
    "tongke_media_queued_resends",
    "tongke_media_queued_events",
    "tongke_media_cpu_seconds_total",
    "tongke_media_dropped_packets_total",
];

/// A name in the catalogue that nothing uses is a compiler warning; a name outside of it is found
/// here.
#[test]
fn every_recorded_metric_is_in_the_catalogue() {
    let mut uncatalogued = BTreeSet::new();
    read_literals(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
        &mut uncatalogued,
    );
    assert!(
        uncatalogued.is_empty(),
        "add to src/metrics/catalogue.rs and deploy/grafana.json: {uncatalogued:?}"
    );
}

/// Collects metric names that are written as literals where they are recorded.
fn read_literals(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in folder.read_dir().expect("the sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_literals(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("metrics/tests.rs")
        {
            let source = std::fs::read_to_string(&path).expect("a source file");
            for recording in ["counter!(", "gauge!(", "histogram!("] {
                let arguments = source.split(recording).skip(1).map(str::trim_start);
                let literals =
                    arguments.filter_map(|rest| rest.strip_prefix('"')?.split('"').next());
                names.extend(literals.map(str::to_owned));
            }
        }
    }
}

#[test]
fn each_shard_exposes_every_drop_reason_and_metric_under_its_own_label() {
    let handle = install();
    let dropped = DropReason::ALL.iter().map(|reason| (*reason, 7)).collect();
    let busy = Stats {
        datagrams_received: 41,
        ring_bytes: 1 << 20,
        subscribers: 3,
        commands_queued: 2,
        cpu: Duration::from_millis(1250),
        dropped,
        ..Stats::default()
    };
    // Shard 90: the tests of this process share one recorder, and no other test records so many
    // shards.
    let shards: Vec<Stats> = std::iter::repeat_n(Stats::default(), 90)
        .chain([busy])
        .collect();
    let text = render(&handle, &shards);
    for (name, labels, value) in [
        ("tongke_media_received_datagrams_total", "", "41"),
        ("tongke_media_ring_bytes", "", "1048576"),
        ("tongke_media_queued_commands", "", "2"),
        ("tongke_media_peers", ",kind=\"subscriber\"", "3"),
        ("tongke_media_cpu_seconds_total", "", "1.25"),
    ] {
        let line = format!("{name}{{shard=\"90\"{labels}}} {value}\n");
        assert!(text.contains(&line), "{line}");
    }
    for reason in DropReason::ALL {
        let line = format!(
            "tongke_media_dropped_packets_total{{shard=\"90\",reason=\"{}\"}} 7\n",
            reason.label()
        );
        assert!(text.contains(&line), "{line}");
    }
    let kinds = kinds();
    let media: BTreeSet<_> = kinds
        .keys()
        .filter(|name| name.starts_with("tongke_media_"))
        .copied()
        .collect();
    let exposed: BTreeSet<_> = series_names(&text)
        .filter_map(|word| metric_of(word, &kinds))
        .map(|(name, _)| name)
        .collect();
    assert!(
        media.is_subset(&exposed),
        "{:?}",
        media.difference(&exposed)
    );
}
