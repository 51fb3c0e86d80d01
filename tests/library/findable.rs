//! From the last byte of an upload to the first answer that has it, and what a kill in the middle of indexing leaves behind.
//!
//! `TONGKE_UPLOADS=20 cargo test --test library findable -- --nocapture` prints how long each kind of file took. Documents are read by
//! `tongke-doc`, which has to be built, and as new as the server: `cargo build --workspace`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::Value;

use crate::server::Server;
use crate::tus::Tus;
use crate::{chance, files, kills};

/// Uploads of each kind unless the environment asks for more.
const UPLOADS: usize = 1;
/// What is promised of every upload.
const GOAL_SECONDS: f64 = 5.0;
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// A debug build on a machine that does ten other things; the figure that counts is printed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file whose text has the word, by the end of its name.
fn file(kind: &str, word: &str) -> Vec<u8> {
    files::file(kind, &format!("这份材料讲的是{word}，请同学们认真阅读。"))
}

/// A word that nothing else has: characters that no text of the demonstration uses.
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

/// How long it took until the resource was found; what is found only because nothing has the word does not count.
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
async fn findable_seconds_after_the_last_byte() {
    let mut chance = chance();
    let uploads = std::env::var("TONGKE_UPLOADS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(UPLOADS);
    let server = Server::start().await;
    let tus = server.tus();
    let mut times: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for n in 0..uploads {
        for kind in ["txt", "html", "docx", "pptx", "pdf"] {
            let (title, body) = (word(&mut chance), word(&mut chance));
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
async fn a_server_that_is_killed_while_it_indexes_finds_everything_when_it_comes_back() {
    let mut chance = chance();
    let mut server = Server::start().await;
    let mut shelf = Vec::new();
    for _ in 0..kills() {
        for _ in 0..8 {
            let word = word(&mut chance);
            let resource = upload(&server.tus(), "材料.txt", &file("txt", &word)).await;
            shelf.push((word, resource));
        }
        // Any moment: before the row is taken up, while a segment is written, between the commit and the row's end.
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..900))).await;
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
