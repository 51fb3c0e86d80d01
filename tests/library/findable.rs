//! From the last byte of an upload to the first answer that has it, and what a kill in the middle of indexing leaves behind.
//!
//! `TONGKE_UPLOADS=20 cargo test --test library findable -- --nocapture` prints how long each kind of file took. Documents are read by
//! `tongke-doc`, which has to be built: `cargo build -p tongke-doc`.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::Value;

use crate::server::Server;
use crate::tus::Tus;
use crate::{chance, kills};

/// Uploads of each kind unless the environment asks for more.
const UPLOADS: usize = 1;
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// A debug build on a machine that does ten other things; the figure that counts is printed.
const PATIENCE: Duration = Duration::from_secs(60);

const WORD_NAMESPACE: &str = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";
const CONTENT_TYPES: &str = r#"<?xml version="1.0"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/word/document.xml"
  ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>"#;
const RELATIONS: &str = r#"<?xml version="1.0"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1"
  Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>"#;

/// A file whose text has the word, by the end of its name.
fn file(kind: &str, word: &str) -> Vec<u8> {
    let sentence = format!("这份材料讲的是{word}，请同学们认真阅读。");
    match kind {
        "docx" => docx(&sentence),
        "html" => format!("<!doctype html><meta charset=utf-8><title>材料</title><p>{sentence}").into_bytes(),
        _ => sentence.into_bytes(),
    }
}

fn docx(sentence: &str) -> Vec<u8> {
    let document = format!(
        r#"<?xml version="1.0"?><w:document xmlns:w="{WORD_NAMESPACE}"><w:body><w:p><w:r><w:t>{sentence}</w:t></w:r></w:p></w:body></w:document>"#
    );
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in
        [("[Content_Types].xml", CONTENT_TYPES), ("_rels/.rels", RELATIONS), ("word/document.xml", document.as_str())]
    {
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file(name, options).expect("a name");
        archive.write_all(text.as_bytes()).expect("memory");
    }
    archive.finish().expect("memory").into_inner()
}

/// A word that nothing else has: characters that no text of the demonstration uses.
fn word(random: &mut impl Rng) -> String {
    (0..4).filter_map(|_| char::from_u32(random.random_range(0x9300..0x9F00))).collect()
}

async fn upload(tus: &Tus, name: &str, bytes: &[u8]) -> String {
    let at = tus.announce(bytes.len(), name).await;
    let answer = tus.patch(&at, 0, bytes, Duration::ZERO).await.expect("answers");
    assert_eq!(answer.status, 204, "{answer:?}");
    answer.resource.expect("a whole file is a resource")
}

/// How long it took until the resource was found; what is found only because nothing has the word does not count.
async fn found_after(tus: &Tus, line: &str, resource: &str) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = tus.search(line).await;
        let hits = answer["hits"].as_array().expect("hits");
        if answer["approximate"] == Value::Bool(false) && hits.iter().any(|hit| hit["id"] == resource) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE, "{line} does not find {resource}: {answer}");
        tokio::time::sleep(ASK_EVERY).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn findable_seconds_after_the_last_byte() {
    let mut chance = chance();
    let uploads = std::env::var("TONGKE_UPLOADS").ok().and_then(|text| text.parse().ok()).unwrap_or(UPLOADS);
    let server = Server::start().await;
    let tus = server.tus();
    let mut times: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for n in 0..uploads {
        for kind in ["txt", "md", "html", "docx"] {
            let (title, body) = (word(&mut chance), word(&mut chance));
            let resource = upload(&tus, &format!("{title}{n}.{kind}"), &file(kind, &body)).await;
            let begun = Instant::now();
            let by_title = found_after(&tus, &title, &resource).await;
            found_after(&tus, &body, &resource).await;
            times.entry(kind).or_default().push((by_title.as_secs_f64(), begun.elapsed().as_secs_f64()));
        }
    }
    for (kind, times) in times {
        let in_order = |of: fn(&(f64, f64)) -> f64| {
            let mut seconds: Vec<f64> = times.iter().map(of).collect();
            seconds.sort_by(f64::total_cmp);
            format!(
                "min {:.2} median {:.2} max {:.2} s",
                seconds[0],
                seconds[seconds.len() / 2],
                seconds[seconds.len() - 1]
            )
        };
        println!("{kind:<5} {} uploads: by title {}; by text {}", times.len(), in_order(|t| t.0), in_order(|t| t.1));
    }
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
    println!("{} kills while indexing, {} resources, all found", kills(), shelf.len());
}
