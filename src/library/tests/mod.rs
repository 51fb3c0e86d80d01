//! The library as teachers of two schools use it, on both databases.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::http::Services;
use crate::identity::{NewPerson, Role, add_person};
use crate::ids::SchoolId;
use crate::schools::{self, Membership, NewCommunity, NewSchool, SchoolRole};
use crate::testing::{PASSWORD, TestClient, TestServer, test_servers};
use crate::worker::Worker;

mod analysis;
mod lesson_decks;
mod sharing;
mod uploads;
mod usage;

const PLAN: &str = "三年级语文上册第六单元\n《富饶的西沙群岛》第1课时教学设计\n教学目标：……";

/// Sends a request as tus-js-client does and returns the complete response.
async fn tus(
    page: &TestClient,
    server: &TestServer,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: Vec<u8>,
) -> (StatusCode, HeaderMap, Value) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("tus-resumable", "1.0.0");
    if let Some(cookie) = &page.cookie {
        request = request.header(header::COOKIE, cookie);
    }
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Body::from(body)).expect("a request");
    let response = server
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("infallible");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 4 << 20).await.expect("a body");
    (
        parts.status,
        parts.headers,
        serde_json::from_slice(&body).unwrap_or(Value::Null),
    )
}

fn metadata(pairs: &[(&str, &str)]) -> (&'static str, String) {
    let pairs = pairs
        .iter()
        .map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value)));
    ("upload-metadata", pairs.collect::<Vec<_>>().join(","))
}

const CHUNK_TYPE: &str = "application/offset+octet-stream";

fn chunk(offset: usize) -> [(&'static str, String); 2] {
    [
        ("content-type", CHUNK_TYPE.into()),
        ("upload-offset", offset.to_string()),
    ]
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(HeaderName::try_from(name).expect("a name"))
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

async fn create_upload(
    page: &TestClient,
    server: &TestServer,
    size: usize,
    pairs: &[(&str, &str)],
) -> (StatusCode, String, Value) {
    let headers = [("upload-length", size.to_string()), metadata(pairs)];
    let (status, headers, body) =
        tus(page, server, "POST", "/api/uploads", &headers, Vec::new()).await;
    (status, text(&headers, "location").to_owned(), body)
}

/// Uploads a file in one request and returns the resource's id.
async fn upload(
    page: &TestClient,
    server: &TestServer,
    content: &[u8],
    pairs: &[(&str, &str)],
) -> String {
    let headers = [
        ("upload-length", content.len().to_string()),
        metadata(pairs),
        ("content-type", CHUNK_TYPE.to_owned()),
    ];
    let (status, headers, body) = tus(
        page,
        server,
        "POST",
        "/api/uploads",
        &headers,
        content.to_vec(),
    )
    .await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let id = text(&headers, "tongke-resource").to_owned();
    assert!(!id.is_empty(), "the last byte completes the upload");
    id
}

async fn school(
    server: &TestServer,
    name: &str,
    community: Option<crate::ids::CommunityId>,
) -> SchoolId {
    let role = SchoolRole::Member;
    let new = NewSchool {
        community_id: community,
        name: name.into(),
        role,
        membership: Some(Membership::Close),
    };
    schools::add_school(&server.services.db, new)
        .await
        .expect("added")
        .id
}

async fn teacher_of(server: &TestServer, school: SchoolId, login: &str) -> TestClient {
    let new = NewPerson {
        school: Some(school),
        name: login.into(),
        login: login.into(),
        role: Role::Teacher,
    };
    add_person(&server.services.identity, new, PASSWORD.into())
        .await
        .expect("added");
    server.sign_in(login).await
}

/// Starts the jobs with a shell script that speaks the protocol of `tongke-doc` and `tongke-av`.
async fn run_analysis_with(server: &TestServer, script: &str) -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("program");
    std::fs::write(&program, format!("#!/bin/sh\nout=$3\n{script}\n")).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
    let Services {
        config,
        library,
        jobs,
        storage,
        db,
        ..
    } = &server.services;
    let mut config = (**config).clone();
    config.documents.program = program.to_str().expect("plain").into();
    config.worker.program = config.documents.program.clone();
    library.register_jobs(&config, Worker::media(&config.worker), jobs, storage, db);
    jobs.start().await.expect("starts");
    folder
}

async fn analyzed(page: &mut TestClient, id: &str) -> Value {
    for _ in 0..500 {
        let (_, resource) = page.get(&format!("/api/resources/{id}")).await;
        if resource["preview"]["state"] != "waiting" {
            return resource;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the analysis did not finish");
}

/// Downloads a file and returns its Content-Disposition and bytes.
async fn download(page: &TestClient, server: &TestServer, path: &str) -> (String, Vec<u8>) {
    let request = Request::builder()
        .uri(path)
        .header(header::COOKIE, page.cookie.as_deref().expect("signed in"));
    let answer = server
        .router
        .clone()
        .oneshot(request.body(Body::empty()).expect("a request"))
        .await;
    let answer = answer.expect("infallible");
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let name = text(answer.headers(), "content-disposition").to_owned();
    (
        name,
        axum::body::to_bytes(answer.into_body(), 1 << 20)
            .await
            .expect("a body")
            .to_vec(),
    )
}

/// Returns the titles of the search results.
async fn search(server: &TestServer, page: &mut TestClient, query: &str) -> Vec<String> {
    server.services.search.catch_up().await;
    let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let (status, body) = page.get(&format!("/api/search?q={query}")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let hits = body["hits"].as_array().expect("hits");
    hits.iter()
        .map(|hit| hit["title"]["text"].as_str().expect("a title").to_owned())
        .collect()
}
