//! Uploads to the real server, which is killed at random moments: acknowledged bytes are there
//! after a restart, and a file becomes exactly one resource.
//!
//! `TONGKE_KILLS=40 cargo test --test library -- --nocapture` kills forty times and prints the
//! losses.

mod files;
mod findable;
mod server;
mod tus;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use sha2::{Digest, Sha256};

use server::Server;
use tus::{Answer, Tus};

/// Kills per test, unless the environment sets another number: a restart of a debug build takes a
/// second or two.
const KILLS: usize = 4;
/// Limit above any test's duration.
const FOREVER: Duration = Duration::from_secs(3600);

fn kills() -> usize {
    std::env::var("TONGKE_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(KILLS)
}

/// Random generator; a failed run prints its seed.
fn rng() -> StdRng {
    let seed = std::env::var("TONGKE_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random);
    println!("TONGKE_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn content(rng: &mut StdRng, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    rng.fill_bytes(&mut content);
    // Never starts like a known file type.
    content[..4].copy_from_slice(b"\0\0\0\0");
    content
}

/// Sends chunks from the acknowledged offset until the file is complete or the server is gone.
/// Returns the highest acknowledged offset.
async fn send(tus: &Tus, at: &str, content: &[u8], mut offset: usize, rng: &mut StdRng) -> usize {
    while offset < content.len() {
        let most = (content.len() - offset).min(rng.random_range(1..1_500_000));
        let pause = Duration::from_micros(rng.random_range(0..2_000));
        match tus
            .patch(at, offset, &content[offset..offset + most], pause)
            .await
        {
            Ok(Answer {
                status: 204,
                offset: Some(acknowledged),
                ..
            }) => offset = acknowledged,
            Ok(answer) => panic!("a piece was refused: {answer:?}"),
            Err(_) => break,
        }
    }
    offset
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_keeps_every_acknowledged_byte() {
    let mut rng = rng();
    let mut server = Server::start().await;
    let (mut killed, mut whole, mut lost, mut kept_beyond) = (0, 0, 0, 0);
    while killed < kills() {
        let content = content(&mut rng, 24 << 20);
        let at = server.tus().announce(content.len(), "录像.bin").await;
        let mut acknowledged = 0;
        while acknowledged < content.len() {
            let tus = server.tus();
            // The last file is uploaded completely.
            let last = killed == kills();
            let until = if last {
                FOREVER
            } else {
                Duration::from_millis(rng.random_range(20..900))
            };
            let mut dice = StdRng::seed_from_u64(rng.next_u64());
            let sending = send(&tus, &at, &content, acknowledged, &mut dice);
            let told = tokio::select! {
                told = sending => told,
                () = async { tokio::time::sleep(until).await; server.kill(); std::future::pending::<()>().await } => acknowledged,
            };
            acknowledged = acknowledged.max(told);
            if acknowledged < content.len() {
                killed += 1;
                server.restart().await;
                let there = server.tus().offset(&at).await;
                lost += acknowledged.saturating_sub(there);
                kept_beyond += there.saturating_sub(acknowledged);
                assert!(
                    there >= acknowledged,
                    "acknowledged {acknowledged}, and {there} is there"
                );
                acknowledged = there;
            }
        }
        whole += 1;
        assert_eq!(
            server.tus().download(&at).await,
            hex::encode(Sha256::digest(&content))
        );
    }
    println!(
        "{killed} kills, {whole} files whole, {lost} acknowledged bytes lost, {kept_beyond} bytes kept that nobody was told of"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_finishing_an_upload_creates_one_resource() {
    let mut rng = rng();
    let mut server = Server::start().await;
    let before = server.tus().resources().await;
    let mut files = Vec::new();
    for _ in 0..kills() {
        let content = content(&mut rng, 300_000);
        let tus = server.tus();
        let at = tus.announce(content.len(), "教案.bin").await;
        // The steps are fast: the kill hits before, during and after the end of the upload.
        let until = Duration::from_millis(rng.random_range(0..60));
        let mut outcome = None;
        tokio::select! {
            answer = tus.patch(&at, 0, &content, Duration::ZERO) => {
                outcome = answer.ok().and_then(|answer| answer.resource);
                server.kill();
            }
            () = async { tokio::time::sleep(until).await; server.kill(); std::future::pending::<()>().await } => {}
        }
        server.restart().await;
        files.push((at, content, outcome));
    }
    for (at, content, outcome) in &files {
        let tus = server.tus();
        let offset = tus.offset(at).await;
        if offset < content.len() {
            let answer = tus
                .patch(at, offset, &content[offset..], Duration::ZERO)
                .await
                .expect("answers");
            assert_eq!(answer.status, 204, "{answer:?}");
        }
        let resource = tus.resource(at).await;
        if let Some(told) = outcome {
            assert_eq!(&resource, told, "what was told stays");
        }
        assert_eq!(tus.download(at).await, hex::encode(Sha256::digest(content)));
    }
    assert_eq!(
        server.tus().resources().await - before,
        files.len() as i64,
        "one resource of each file"
    );
    println!(
        "{} kills while finishing, {} files, {} resources",
        files.len(),
        files.len(),
        files.len()
    );
}
