//! Time from the last byte of an upload to the first search result with it, and recovery after a
//! kill during indexing.
//!
//! `TONGKE_UPLOADS=20 cargo test --test library findable -- --nocapture` prints the times by file
//! type. `tongke-doc` reads the documents; it must be built from the same sources as the server
//! (`cargo build --workspace`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::Value;

use crate::server::Server;
use crate::tus::Tus;
use crate::{files, kills, rng};

/// Uploads per type, unless the environment sets another number.
const UPLOADS: usize = 1;
/// Promised maximum.
const GOAL_SECONDS: f64 = 5.0;
/// Interval of search requests.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Limit for a debug build on a busy machine; the printed value is the measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file with the word in its text, by file name extension.
fn file(kind: &str, word: &str) -> Vec<u8> {
    files::file(kind, &format!("这份材料讲的是{word}，请同学们认真阅读。"))
}

/// A unique word of characters that no demo text uses.
fn word(random: &mut impl Rng) -> String {
    (0..4)
        .filter_map(|_| char::from_u32(random.random_range(0x9300..0x9F00)))
        .collect()
}

async fn upload(tus: &Tus, name: &str, bytes: &[u8]) -> String {
    let at = tus.announce(bytes.len(), name).await;
    let answer = tus
        .patch(&at, 0, bytes, Duration::ZERO)
        .await
        .expect("answers");
    assert_eq!(answer.status, 204, "{answer:?}");
    answer.resource.expect("a whole file is a resource")
}

/// Time until the search finds the resource. Approximate matches do not count.
async fn found_after(tus: &Tus, line: &str, resource: &str) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = tus.search(line).await;
        let hits = answer["hits"].as_array().expect("hits");
        if answer["approximate"] == Value::Bool(false)
            && hits.iter().any(|hit| hit["id"] == resource)
        {
            return begun.elapsed();
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{line} does not find {resource}: {answer}"
        );
        tokio::time::sleep(ASK_EVERY).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_are_found_seconds_after_their_last_byte() {
    let mut rng = rng();
    let uploads = std::env::var("TONGKE_UPLOADS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(UPLOADS);
    let server = Server::start().await;
    let tus = server.tus();
    let mut times: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for n in 0..uploads {
        for kind in ["txt", "html", "docx", "pptx", "pdf"] {
            let (title, body) = (word(&mut rng), word(&mut rng));
            let resource = upload(&tus, &format!("{title}{n}.{kind}"), &file(kind, &body)).await;
            let begun = Instant::now();
            let by_title = found_after(&tus, &title, &resource).await;
            found_after(&tus, &body, &resource).await;
            times
                .entry(kind)
                .or_default()
                .push((by_title.as_secs_f64(), begun.elapsed().as_secs_f64()));
        }
    }
    for (kind, times) in times {
        let (by_title, by_text): (Vec<f64>, Vec<f64>) = times.into_iter().unzip();
        println!(
            "{kind:<4} by title {}; by text {}",
            distribution(by_title),
            distribution(by_text)
        );
    }
}

fn distribution(mut seconds: Vec<f64>) -> String {
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share).round() as usize];
    let late = seconds
        .iter()
        .filter(|seconds| **seconds > GOAL_SECONDS)
        .count();
    let [least, half, most_of_it, most] = [0.0, 0.5, 0.9, 1.0].map(at);
    let count = seconds.len();
    format!(
        "min {least:.2} median {half:.2} p90 {most_of_it:.2} max {most:.2} s, {late} of {count} later than {GOAL_SECONDS} s"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_during_indexing_finds_everything_after_restart() {
    let mut rng = rng();
    let mut server = Server::start().await;
    let mut shelf = Vec::new();
    for _ in 0..kills() {
        for _ in 0..8 {
            let word = word(&mut rng);
            let resource = upload(&server.tus(), "材料.txt", &file("txt", &word)).await;
            shelf.push((word, resource));
        }
        // A random moment: before indexing, while a segment is written, or between commit and
        // deletion of the row.
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..900))).await;
        server.kill();
        server.restart().await;
    }
    let tus = server.tus();
    for (word, resource) in &shelf {
        found_after(&tus, word, resource).await;
        assert_eq!(tus.search(word).await["total"], 1, "{word} is found once");
    }
    println!(
        "{} kills while indexing, {} resources, all found",
        kills(),
        shelf.len()
    );
}
