use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tongke_plane::drop_reason::DropReason;

use super::catalogue::{ALL, Kind};
use super::*;

const DASHBOARD: &str = include_str!("../../deploy/grafana.json");

fn known() -> BTreeMap<&'static str, Kind> {
    ALL.iter().map(|(kind, name, _)| (*name, *kind)).collect()
}

/// The measurement that a word in a query or in the exposition stands for: a histogram has three series.
fn measurement<'w>(word: &'w str, known: &BTreeMap<&str, Kind>) -> Option<(&'w str, Kind)> {
    let of = |name: &'w str| known.get(name).map(|kind| (name, *kind));
    let series = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| word.strip_suffix(suffix));
    of(word).or_else(|| {
        series
            .and_then(of)
            .filter(|(_, kind)| *kind == Kind::Histogram)
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("tongke_"))
}

/// Every string under a key, wherever it is in the document.
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
fn the_dashboard_asks_only_for_what_is_measured_and_shows_all_of_it() {
    let (known, queries) = (known(), dashboard("expr"));
    let mut shown = BTreeSet::new();
    for query in queries.iter().copied().chain(dashboard("definition")) {
        for word in words(query) {
            let (name, kind) = measurement(word, &known)
                .unwrap_or_else(|| panic!("{word} is measured nowhere: {query}"));
            let is_rated = query.contains(&format!("rate({word}"));
            assert_eq!(
                is_rated,
                kind != Kind::Gauge,
                "only what grows has a rate: {query}"
            );
            shown.insert(name);
        }
    }
    let hidden: Vec<_> = known.keys().filter(|name| !shown.contains(*name)).collect();
    assert!(hidden.is_empty(), "measured and shown nowhere: {hidden:?}");
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

/// Names stand as literals where they are measured, and this reads them there.
#[test]
fn what_the_code_measures_is_explained_and_what_is_explained_is_measured() {
    let known = known();
    let mut measured = BTreeSet::new();
    read_names(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
        &mut measured,
    );
    let unexplained: Vec<_> = measured
        .iter()
        .filter(|name| !known.contains_key(name.as_str()))
        .collect();
    assert!(
        unexplained.is_empty(),
        "add to src/metrics/catalogue.rs and deploy/grafana.json: {unexplained:?}"
    );
    let unmeasured: Vec<_> = known
        .keys()
        .filter(|name| !measured.contains(**name))
        .collect();
    assert!(
        unmeasured.is_empty(),
        "explained and measured nowhere: {unmeasured:?}"
    );
    for (kind, name, help) in ALL {
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(help.ends_with('.'), "{name}: {help}");
    }
}

fn read_names(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in folder.read_dir().expect("a folder of ours").flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_names(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("metrics/tests.rs")
        {
            let source = std::fs::read_to_string(&path).expect("a file of ours");
            let literals = source
                .split("(\"tongke_")
                .skip(1)
                .filter_map(|rest| rest.split('"').next());
            names.extend(literals.map(|rest| format!("tongke_{rest}")));
        }
    }
}

#[test]
fn each_media_thread_tells_every_reason_and_every_gauge_under_its_own_label() {
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
    // A thread that no other test of this process measures: the recorder is one for all.
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
            reason.name()
        );
        assert!(text.contains(&line), "{line}");
    }
    let known = known();
    let media: BTreeSet<_> = known
        .keys()
        .filter(|name| name.starts_with("tongke_media_"))
        .copied()
        .collect();
    let told: BTreeSet<_> = words(&text)
        .filter_map(|word| measurement(word, &known))
        .map(|(name, _)| name)
        .collect();
    assert!(media.is_subset(&told), "{:?}", media.difference(&told));
}
