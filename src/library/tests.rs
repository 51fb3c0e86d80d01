//! The shelf as teachers of two schools use it, on both databases.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::app::App;
use crate::identity::{NewPerson, Role, add_person};
use crate::schools::{self, Membership, NewCommunity, NewSchool, SchoolId, SchoolRole};
use crate::testing::{House, PASSWORD, Page, houses};
use crate::worker::Worker;

mod decks;

const PLAN: &str = "三年级语文上册第六单元\n《富饶的西沙群岛》第1课时教学设计\n教学目标：……";

/// A request as tus-js-client makes it, and its whole answer.
async fn tus(
    page: &Page,
    house: &House,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: Vec<u8>,
) -> (StatusCode, HeaderMap, Value) {
    let mut request = Request::builder().method(method).uri(path).header("tus-resumable", "1.0.0");
    if let Some(cookie) = &page.cookie {
        request = request.header(header::COOKIE, cookie);
    }
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Body::from(body)).expect("a request");
    let response = house.router.clone().oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 4 << 20).await.expect("a body");
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn metadata(pairs: &[(&str, &str)]) -> (&'static str, String) {
    let pairs = pairs.iter().map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value)));
    ("upload-metadata", pairs.collect::<Vec<_>>().join(","))
}

const PIECE: &str = "application/offset+octet-stream";

fn piece(offset: usize) -> [(&'static str, String); 2] {
    [("content-type", PIECE.into()), ("upload-offset", offset.to_string())]
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(HeaderName::try_from(name).expect("a name")).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn announce(page: &Page, house: &House, size: usize, pairs: &[(&str, &str)]) -> (StatusCode, String, Value) {
    let headers = [("upload-length", size.to_string()), metadata(pairs)];
    let (status, headers, body) = tus(page, house, "POST", "/api/uploads", &headers, Vec::new()).await;
    (status, text(&headers, "location").to_owned(), body)
}

/// A whole file in one request; the resource's id.
async fn upload(page: &Page, house: &House, content: &[u8], pairs: &[(&str, &str)]) -> String {
    let headers = [("upload-length", content.len().to_string()), metadata(pairs), ("content-type", PIECE.to_owned())];
    let (status, headers, body) = tus(page, house, "POST", "/api/uploads", &headers, content.to_vec()).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let id = text(&headers, "tongke-resource").to_owned();
    assert!(!id.is_empty(), "the last byte makes it a resource");
    id
}

async fn school(house: &House, name: &str, community: Option<schools::CommunityId>) -> SchoolId {
    let role = SchoolRole::Member;
    let new = NewSchool { community_id: community, name: name.into(), role, membership: Some(Membership::Close) };
    schools::add_school(&house.app.db, new).await.expect("added").id
}

async fn teacher_of(house: &House, school: SchoolId, login: &str) -> Page {
    let new = NewPerson { school: Some(school), name: login.into(), login: login.into(), role: Role::Teacher };
    add_person(&house.app, new, PASSWORD.into()).await.expect("added");
    house.sign_in(login).await
}

#[tokio::test]
async fn a_lesson_plan_is_sent_in_two_pieces_and_becomes_a_resource_that_describes_itself() {
    for house in houses().await {
        let (mut wang, _) = house.signed_in("wang", Role::Teacher).await;
        let name = "部编版 富饶的西沙群岛 教学设计.txt";
        let (status, at, _) = announce(&wang, &house, PLAN.len(), &[("filename", name)]).await;
        assert_eq!(status, StatusCode::CREATED);
        let (first, rest) = PLAN.as_bytes().split_at(40);
        let (status, headers, _) = tus(&wang, &house, "PATCH", &at, &piece(0), first.to_vec()).await;
        assert_eq!((status, text(&headers, "upload-offset")), (StatusCode::NO_CONTENT, "40"));
        // The browser was closed; another one asks where the upload stands.
        let (status, headers, _) = tus(&wang, &house, "HEAD", &at, &[], Vec::new()).await;
        assert_eq!((status, text(&headers, "upload-offset")), (StatusCode::OK, "40"));
        assert_eq!(text(&headers, "cache-control"), "no-store");
        let (status, _, body) = tus(&wang, &house, "PATCH", &at, &piece(0), first.to_vec()).await;
        assert_eq!((status, body["code"].as_str()), (StatusCode::CONFLICT, Some("wrong_offset")));
        let (_, unfinished) = wang.get("/api/uploads").await;
        assert_eq!(unfinished["items"][0]["offset"], 40);
        let (status, headers, _) = tus(&wang, &house, "PATCH", &at, &piece(40), rest.to_vec()).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        let id = text(&headers, "tongke-resource").to_owned();
        let (status, resource) = wang.get(&format!("/api/resources/{id}")).await;
        assert_eq!(status, StatusCode::OK, "{resource}");
        assert_eq!(resource["title"], "部编版 富饶的西沙群岛 教学设计");
        assert_eq!((&resource["type"], &resource["edition"]), (&json!("lesson_plan"), &json!("统编版")));
        assert_eq!(resource["suggested"], json!(["type", "edition"]));
        assert_eq!(resource["file"]["sha256"], hex::encode(Sha256::digest(PLAN)));
        assert_eq!((&resource["file"]["type"], &resource["preview"]["state"]), (&json!("txt"), &json!("waiting")));
        // The lost answer is asked for again: the same resource, not a second one.
        let (_, headers, state) = tus(&wang, &house, "GET", &at, &[], Vec::new()).await;
        assert_eq!((text(&headers, "tongke-resource"), &state["resource_id"]), (id.as_str(), &json!(id)));
        let (_, all) = wang.get("/api/resources?mine=true").await;
        assert_eq!(all["total"], 1);
    }
}

#[tokio::test]
async fn the_server_says_what_it_speaks_and_refuses_what_it_does_not() {
    for house in houses().await {
        let (wang, _) = house.signed_in("wang", Role::Teacher).await;
        let (status, headers, _) = tus(&wang, &house, "OPTIONS", "/api/uploads", &[], Vec::new()).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(text(&headers, "tus-version"), "1.0.0");
        assert_eq!(text(&headers, "tus-extension"), "creation,creation-with-upload,termination,checksum,expiration");
        let old = [("tus-resumable", "0.2.0".to_owned()), ("upload-length", "5".to_owned())];
        let mut request = Request::builder().method("POST").uri("/api/uploads").header("upload-length", "5");
        request = request.header(header::COOKIE, wang.cookie.as_deref().expect("signed in"));
        let answer = house.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await;
        let answer = answer.expect("infallible");
        assert_eq!(answer.status(), StatusCode::PRECONDITION_FAILED, "{old:?}");
        assert_eq!(answer.headers()["tus-version"], "1.0.0");

        let (status, _, body) = announce(&wang, &house, 0, &[("filename", "a.txt")]).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let (status, _, body) = announce(&wang, &house, 5_000_000_000, &[("filename", "a.mp4")]).await;
        assert_eq!((status, body["code"].as_str()), (StatusCode::PAYLOAD_TOO_LARGE, Some("file_too_large")));
        assert_eq!(body["message"], "文件有 5 GB，单个文件最大 4 GB。");

        let (_, at, _) = announce(&wang, &house, 4, &[("filename", "a.txt")]).await;
        let (status, _, body) = tus(&wang, &house, "PATCH", &at, &piece(0), b"12345".to_vec()).await;
        assert_eq!((status, body["code"].as_str()), (StatusCode::PAYLOAD_TOO_LARGE, Some("beyond_the_end")));
        let mut plain = piece(0).to_vec();
        plain[0].1 = "text/plain".into();
        let (status, ..) = tus(&wang, &house, "PATCH", &at, &plain, b"1234".to_vec()).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        // Somebody else's upload is nobody's business.
        let (li, _) = house.signed_in("li", Role::Teacher).await;
        let (status, ..) = tus(&li, &house, "PATCH", &at, &piece(0), b"1234".to_vec()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        let (status, ..) = tus(&wang, &house, "DELETE", &at, &[], Vec::new()).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        let (status, ..) = tus(&wang, &house, "HEAD", &at, &[], Vec::new()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(files_in(&house), 0, "the bytes are gone with it");
    }
}

fn files_in(house: &House) -> usize {
    std::fs::read_dir(house.app.config.server.data_dir.join("uploads")).expect("there").count()
}

#[tokio::test]
async fn a_piece_that_was_damaged_on_its_way_does_not_count() {
    for house in houses().await {
        let (wang, _) = house.signed_in("wang", Role::Teacher).await;
        let (_, at, _) = announce(&wang, &house, 8, &[("filename", "a.txt")]).await;
        let checksum =
            |bytes: &[u8]| ("upload-checksum", format!("sha256 {}", BASE64_STANDARD.encode(Sha256::digest(bytes))));
        let mut headers = piece(0).to_vec();
        headers.push(checksum(b"abcd"));
        let (status, _, body) = tus(&wang, &house, "PATCH", &at, &headers, b"abXd".to_vec()).await;
        assert_eq!((status.as_u16(), body["code"].as_str()), (460, Some("checksum_mismatch")));
        let (_, told, _) = tus(&wang, &house, "HEAD", &at, &[], Vec::new()).await;
        assert_eq!(text(&told, "upload-offset"), "0");
        let (status, ..) = tus(&wang, &house, "PATCH", &at, &headers, b"abcd".to_vec()).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        let mut headers = piece(4).to_vec();
        headers.push(checksum(b"efgh"));
        let (_, told, _) = tus(&wang, &house, "PATCH", &at, &headers, b"efgh".to_vec()).await;
        let id = text(&told, "tongke-resource").to_owned();
        let (_, resource) = wang.clone().get(&format!("/api/resources/{id}")).await;
        assert_eq!(resource["file"]["sha256"], hex::encode(Sha256::digest(b"abcdefgh")));
    }
}

#[tokio::test]
async fn programs_are_refused_and_full_shelves_say_so() {
    for house in houses().await {
        let (wang, _) = house.signed_in("wang", Role::Teacher).await;
        let (_, at, _) = announce(&wang, &house, 1000, &[("filename", "课件.pptx")]).await;
        let (status, _, body) = tus(&wang, &house, "PATCH", &at, &piece(0), b"MZ\x90\0 not a deck".to_vec()).await;
        assert_eq!((status, body["code"].as_str()), (StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("program")));
        // 49 GB are promised to uploads that are not finished: the quota is 50.
        for _ in 0..13 {
            let (status, _, body) = announce(&wang, &house, 3_800_000_000, &[("filename", "录像.mp4")]).await;
            if status != StatusCode::CREATED {
                assert!(matches!(body["code"].as_str(), Some("quota_exceeded" | "disk_full")), "{body}");
            }
        }
        let (status, _, body) = announce(&wang, &house, 3_800_000_000, &[("filename", "录像.mp4")]).await;
        assert!(status == StatusCode::PAYLOAD_TOO_LARGE || status == StatusCode::INSUFFICIENT_STORAGE, "{body}");
    }
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_expires() {
    for house in houses().await {
        let (wang, _) = house.signed_in("wang", Role::Teacher).await;
        let (_, at, _) = announce(&wang, &house, 100, &[("filename", "a.txt")]).await;
        tus(&wang, &house, "PATCH", &at, &piece(0), b"some of it".to_vec()).await;
        let uploads = &house.app.library.uploads;
        uploads.sweep_once(Timestamp::now()).await.expect("swept");
        let (status, ..) = tus(&wang, &house, "HEAD", &at, &[], Vec::new()).await;
        assert_eq!(status, StatusCode::OK, "not yet");
        uploads.sweep_once(Timestamp::now() + SignedDuration::from_hours(73)).await.expect("swept");
        let (status, ..) = tus(&wang, &house, "HEAD", &at, &[], Vec::new()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(files_in(&house), 0);
    }
}

#[tokio::test]
async fn what_is_here_already_is_not_sent_again() {
    for house in houses().await {
        let (wang, _) = house.signed_in("wang", Role::Teacher).await;
        let (mut li, _) = house.signed_in("li", Role::Teacher).await;
        let id = upload(&wang, &house, PLAN.as_bytes(), &[("filename", "教案.txt")]).await;
        let hash = hex::encode(Sha256::digest(PLAN));
        let ask = json!({ "sha256s": [hash, "00".repeat(32)] });
        let (_, known) = li.post("/api/uploads/known", ask.clone()).await;
        assert_eq!(known["items"].as_array().expect("a list").len(), 1);
        assert_eq!(known["items"][0]["resource"]["id"], id.as_str());
        let form = json!({ "sha256": hash, "file_name": "我的教案.txt" });
        let (status, placed) = li.post("/api/resources", form.clone()).await;
        assert_eq!(status, StatusCode::CREATED, "{placed}");
        assert_ne!(placed["id"], id.as_str());
        // What one may not see is not known, and cannot be had by its hash.
        let other = school(&house, "石桥村小学", None).await;
        let mut zhao = teacher_of(&house, other, "zhao").await;
        assert_eq!(zhao.post("/api/uploads/known", ask).await.1["items"], json!([]));
        assert_eq!(zhao.post("/api/resources", form).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn everybody_sees_what_its_visibility_names_and_nothing_else() {
    for house in houses().await {
        let new = NewCommunity { name: "教育共同体".into(), county: "清河县".into() };
        let community = schools::add_community(&house.app.db, new).await.expect("added").id;
        let core = school(&house, "第一实验小学", Some(community)).await;
        let member = school(&house, "柳林村小学", Some(community)).await;
        let stranger = school(&house, "外县小学", None).await;
        let mut owner = teacher_of(&house, core, "wang").await;
        let readers = [
            ("colleague", teacher_of(&house, core, "chen").await, 1),
            ("member", teacher_of(&house, member, "li").await, 2),
            ("county", teacher_of(&house, stranger, "zhao").await, 3),
            ("anybody", house.page(), 4),
        ];
        let id = upload(&owner, &house, PLAN.as_bytes(), &[("filename", "教案.txt"), ("visibility", "private")]).await;
        let parts = ["", "/file", "/text", "/pages", "/comments", "/links"];
        for (level, visibility) in ["private", "school", "community", "county", "public"].iter().enumerate() {
            let change = json!({ "visibility": visibility });
            let (status, body) = owner.patch(&format!("/api/resources/{id}"), change).await;
            assert_eq!((status, &body["visibility"]), (StatusCode::OK, &json!(visibility)), "{body}");
            for (who, page, needs) in &readers {
                let sees = level >= *needs;
                for part in parts {
                    let (status, _) = page.clone().get(&format!("/api/resources/{id}{part}")).await;
                    let expected = if sees { StatusCode::OK } else { StatusCode::NOT_FOUND };
                    assert_eq!(status, expected, "{who}: {part} of what is {visibility}");
                }
                let (_, list) = page.clone().get("/api/resources").await;
                assert_eq!(list["total"], i64::from(sees), "{who}: the list with what is {visibility}");
            }
        }
        let (status, _) = readers[0].1.clone().patch(&format!("/api/resources/{id}"), json!({ "title": "我的" })).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "seeing is not changing");
        assert_eq!(owner.delete(&format!("/api/resources/{id}")).await.0, StatusCode::NO_CONTENT);
        assert_eq!(owner.get(&format!("/api/resources/{id}")).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_school_that_wants_it_reviews_before_others_see() {
    for house in houses().await {
        let (mut admin, _) = house.signed_in("admin", Role::Administrator).await;
        let (mut wang, _) = house.signed_in("wang", Role::Teacher).await;
        let (mut chen, reviewer) = house.signed_in("chen", Role::Teacher).await;
        let (mut li, _) = house.signed_in("li", Role::Teacher).await;
        let setting = format!("/api/schools/{}/library", house.school);
        let form = json!({ "reviews": true, "reviewer_ids": [reviewer] });
        assert_eq!(admin.send("PUT", &setting, Some(form)).await.0, StatusCode::NO_CONTENT);
        let id = upload(&wang, &house, b"first", &[("filename", "a.txt"), ("visibility", "county")]).await;
        let path = format!("/api/resources/{id}");
        let (_, mine) = wang.get(&path).await;
        assert_eq!(
            (&mine["review"], &mine["visibility"], &mine["asked_visibility"]),
            (&json!("pending"), &json!("private"), &json!("county"))
        );
        assert_eq!(li.get(&path).await.0, StatusCode::NOT_FOUND);
        let (_, waiting) = chen.get("/api/resources?to_review=true").await;
        assert_eq!(waiting["items"][0]["id"], id.as_str());
        let decide = |action: &str| json!({ "action": action, "note": "请补充教学目标" });
        assert_eq!(li.post(&format!("{path}/review"), decide("approve")).await.0, StatusCode::NOT_FOUND);
        assert_eq!(chen.post(&format!("{path}/review"), decide("return")).await.0, StatusCode::NO_CONTENT);
        let (_, mine) = wang.get(&path).await;
        assert_eq!((&mine["review"], &mine["review_note"]), (&json!("returned"), &json!("请补充教学目标")));
        assert_eq!(wang.post(&format!("{path}/review"), decide("submit")).await.0, StatusCode::NO_CONTENT);
        assert_eq!(chen.post(&format!("{path}/review"), decide("approve")).await.0, StatusCode::NO_CONTENT);
        let (status, seen) = li.get(&path).await;
        assert_eq!((status, &seen["visibility"]), (StatusCode::OK, &json!("county")));
        // A new version waits; others still have the approved one.
        upload(&wang, &house, b"second", &[("filename", "a.txt"), ("resource", &id), ("changes", "补充了目标")]).await;
        assert_eq!(li.get(&path).await.1["version"], 1);
        assert_eq!(li.get(&format!("{path}/file?version=2")).await.0, StatusCode::NOT_FOUND);
        let (_, mine) = wang.get(&path).await;
        assert_eq!(
            (&mine["version"], &mine["published"], &mine["versions"][0]["changes"]),
            (&json!(2), &json!(1), &json!("补充了目标"))
        );
        chen.post(&format!("{path}/review"), decide("approve")).await;
        assert_eq!(li.get(&path).await.1["version"], 2);
        // What is to be seen by fewer is so at once.
        let (_, mine) = wang.patch(&path, json!({ "visibility": "private" })).await;
        assert_eq!((&mine["visibility"], &mine["review"]), (&json!("private"), &json!("approved")));
        assert_eq!(li.get(&path).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn many_resources_are_described_at_once_and_suggestions_are_confirmed() {
    for house in houses().await {
        let (mut wang, _) = house.signed_in("wang", Role::Teacher).await;
        let mut ids = Vec::new();
        for n in 1..=3 {
            let name = format!("三年级语文 第{n}课时.txt");
            ids.push(upload(&wang, &house, name.as_bytes(), &[("filename", &name)]).await);
        }
        let set = json!({ "edition": "统编版", "keywords": ["西沙", "写景"], "confirm": ["grade"] });
        let (status, changed) = wang.post("/api/resources/batch", json!({ "ids": ids, "set": set })).await;
        assert_eq!(status, StatusCode::OK, "{changed}");
        for card in changed["items"].as_array().expect("a list") {
            assert_eq!((&card["edition"], &card["keywords"]), (&json!("统编版"), &json!(["西沙", "写景"])));
            let suggested: Vec<&str> =
                card["suggested"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
            assert!(!suggested.contains(&"grade") && suggested.contains(&"subject"), "{suggested:?}");
        }
        let (_, found) = wang.get("/api/resources?edition=%E7%BB%9F%E7%BC%96%E7%89%88&sort=title").await;
        assert_eq!(found["total"], 3);
        // One that is not theirs, and none is changed.
        let (chen, _) = house.signed_in("chen", Role::Teacher).await;
        let foreign = upload(&chen, &house, b"other", &[("filename", "b.txt")]).await;
        let all = json!({ "ids": [ids[0], foreign], "set": { "subject": "数学" } });
        assert_eq!(wang.post("/api/resources/batch", all).await.0, StatusCode::FORBIDDEN);
        assert_eq!(wang.get(&format!("/api/resources/{}", ids[0])).await.1["subject"], "语文");
    }
}

#[tokio::test]
async fn stars_comments_and_uses_are_counted_once_each() {
    for house in houses().await {
        let (wang, _) = house.signed_in("wang", Role::Teacher).await;
        let (mut li, _) = house.signed_in("li", Role::Teacher).await;
        let id = upload(&wang, &house, PLAN.as_bytes(), &[("filename", "教案.txt")]).await;
        let path = format!("/api/resources/{id}");
        for stars in [3, 5] {
            let (status, rated) = li.send("PUT", &format!("{path}/rating"), Some(json!({ "stars": stars }))).await;
            assert_eq!((status, &rated["ratings"]), (StatusCode::OK, &json!(1)));
        }
        let own = wang.clone().send("PUT", &format!("{path}/rating"), Some(json!({ "stars": 5 }))).await;
        assert_eq!(own.0, StatusCode::CONFLICT);
        let (status, comment) =
            li.post(&format!("{path}/comments"), json!({ "text": "导入很好\n谢谢", "page": 2 })).await;
        assert_eq!(status, StatusCode::CREATED, "{comment}");
        li.get(&format!("{path}/file")).await;
        li.get(&format!("{path}/file")).await;
        wang.clone().get(&format!("{path}/file")).await;
        let (_, seen) = li.get(&path).await;
        assert_eq!(
            (&seen["rating"], &seen["my_rating"], &seen["comments"], &seen["uses"]),
            (&json!(5.0), &json!(5), &json!(1), &json!(1))
        );
        let remove = format!("{path}/comments/{}", comment["id"].as_str().expect("an id"));
        let (mut zhou, _) = house.signed_in("zhou", Role::Teacher).await;
        assert_eq!(zhou.delete(&remove).await.0, StatusCode::FORBIDDEN);
        assert_eq!(wang.clone().delete(&remove).await.0, StatusCode::NO_CONTENT);
        assert_eq!(li.get(&path).await.1["comments"], 0);
    }
}

#[tokio::test]
async fn a_download_has_its_chinese_name_and_may_be_taken_in_parts() {
    for house in houses().await {
        let (wang, _) = house.signed_in("wang", Role::Teacher).await;
        let id = upload(&wang, &house, PLAN.as_bytes(), &[("filename", "西沙群岛 教案.txt")]).await;
        let ask = |range: Option<&str>| {
            let mut request = Request::builder().uri(format!("/api/resources/{id}/file?version=1"));
            request = request.header(header::COOKIE, wang.cookie.as_deref().expect("signed in"));
            if let Some(range) = range {
                request = request.header(header::RANGE, range);
            }
            house.router.clone().oneshot(request.body(Body::empty()).expect("a request"))
        };
        let whole = ask(None).await.expect("infallible");
        let name = whole.headers()[header::CONTENT_DISPOSITION].to_str().expect("ASCII").to_owned();
        assert!(
            name.contains("filename*=UTF-8''%E8%A5%BF%E6%B2%99%E7%BE%A4%E5%B2%9B%20%E6%95%99%E6%A1%88.txt"),
            "{name}"
        );
        let bytes = axum::body::to_bytes(whole.into_body(), 1 << 20).await.expect("a body");
        assert_eq!(bytes, PLAN.as_bytes());
        let part = ask(Some("bytes=9-11")).await.expect("infallible");
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        let bytes = axum::body::to_bytes(part.into_body(), 1 << 20).await.expect("a body");
        assert_eq!(bytes, &PLAN.as_bytes()[9..12]);
    }
}

#[tokio::test]
async fn a_collection_keeps_its_order_and_downloads_as_one_zip() {
    for house in houses().await {
        let (mut wang, _) = house.signed_in("wang", Role::Teacher).await;
        let (status, made) =
            wang.post("/api/collections", json!({ "title": "第六单元", "visibility": "county" })).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let collection = made["id"].as_str().expect("an id").to_owned();
        let contents: [&[u8]; 2] = ["教案的内容".as_bytes(), "习题的内容".as_bytes()];
        let mut ids = Vec::new();
        for content in contents {
            ids.push(upload(&wang, &house, content, &[("filename", "同名.txt"), ("collection", &collection)]).await);
        }
        let path = format!("/api/collections/{collection}");
        ids.reverse();
        let (status, set) = wang.send("PUT", &format!("{path}/items"), Some(json!({ "resource_ids": ids }))).await;
        assert_eq!((status, &set["items"][0]["id"]), (StatusCode::OK, &json!(ids[0])), "{set}");
        let mut request = Request::builder().uri(format!("{path}/zip"));
        request = request.header(header::COOKIE, wang.cookie.as_deref().expect("signed in"));
        let answer = house.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await;
        let answer = answer.expect("infallible");
        assert!(answer.headers()[header::CONTENT_DISPOSITION].to_str().expect("ASCII").ends_with("%E5%85%83.zip"));
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).expect("a zip");
        let names: Vec<String> = archive.file_names().map(|name| name.expect("UTF-8").into_owned()).collect();
        assert_eq!(names, ["同名.txt", "同名 (2).txt"]);
        let mut first = String::new();
        std::io::Read::read_to_string(&mut archive.by_name("同名.txt").expect("there"), &mut first).expect("read");
        assert_eq!(first, "习题的内容", "in the collection's order");
        // A stranger sees the collection, and of its contents what is theirs to see.
        let other = school(&house, "石桥村小学", None).await;
        let mut zhao = teacher_of(&house, other, "zhao").await;
        let (status, seen) = zhao.get(&path).await;
        assert_eq!((status, &seen["items"], &seen["count"]), (StatusCode::OK, &json!([]), &json!(0)));
        assert_eq!(zhao.delete(&path).await.0, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_plan_and_its_deck_know_each_other_and_the_lesson_they_are_for() {
    for house in houses().await {
        let (mut wang, lead) = house.signed_in("wang", Role::Teacher).await;
        let plan = upload(&wang, &house, b"plan", &[("filename", "教案.txt")]).await;
        let deck = upload(&wang, &house, b"deck", &[("filename", "课件.txt")]).await;
        let now = Timestamp::now();
        let lesson = json!({ "title": "富饶的西沙群岛", "subject": "语文", "grade": "三年级", "lead_id": lead,
            "starts_at": now, "ends_at": now + SignedDuration::from_mins(40), "assistant_ids": [], "classroom_ids": [] });
        let (status, lesson) = wang.post("/api/lessons", lesson).await;
        assert_eq!(status, StatusCode::CREATED, "{lesson}");
        let lesson = lesson["id"].as_str().expect("an id").to_owned();
        let links = |id: &str| format!("/api/resources/{id}/links");
        assert_eq!(wang.post(&links(&plan), json!({ "resource_id": deck })).await.0, StatusCode::NO_CONTENT);
        assert_eq!(wang.post(&links(&deck), json!({ "lesson_id": lesson })).await.0, StatusCode::NO_CONTENT);
        assert_eq!(wang.get(&links(&plan)).await.1["resources"][0]["id"], deck.as_str());
        let (_, of_deck) = wang.get(&links(&deck)).await;
        assert_eq!((&of_deck["resources"][0]["id"], &of_deck["lessons"][0]["id"]), (&json!(plan), &json!(lesson)));
        let (_, of_lesson) = wang.get(&format!("/api/lessons/{lesson}/resources")).await;
        assert_eq!(of_lesson["items"][0]["id"], deck.as_str());
        let (mut li, _) = house.signed_in("li", Role::Teacher).await;
        assert_eq!(li.post(&links(&plan), json!({ "lesson_id": lesson })).await.0, StatusCode::NOT_FOUND);
        assert_eq!(li.post(&links(&plan), json!({ "resource_id": deck })).await.0, StatusCode::FORBIDDEN);
        assert_eq!(li.get(&links(&deck)).await.1["lessons"], json!([]), "a lesson that is not theirs is not told");
        assert_eq!(
            wang.send("DELETE", &links(&plan), Some(json!({ "resource_id": deck }))).await.0,
            StatusCode::NO_CONTENT
        );
        assert_eq!(wang.get(&links(&deck)).await.1["resources"], json!([]));
    }
}

/// Jobs run with a program of the test's in the place of `tongke-doc`, which speaks as that one does.
async fn understand_with(house: &House, script: &str) -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("program");
    std::fs::write(&program, format!("#!/bin/sh\nout=$3\n{script}\n")).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
    let App { config, library, jobs, storage, db, .. } = &house.app;
    let mut config = (**config).clone();
    config.documents.program = program.to_str().expect("plain").into();
    library.register_jobs(&config, Worker::media(&config.worker), jobs, storage, db);
    jobs.start().await.expect("starts");
    folder
}

async fn understood(page: &mut Page, id: &str) -> Value {
    for _ in 0..500 {
        let (_, resource) = page.get(&format!("/api/resources/{id}")).await;
        if resource["preview"]["state"] != "waiting" {
            return resource;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it was never understood");
}

#[tokio::test]
async fn a_deck_becomes_pages_and_its_text_says_what_it_is_about() {
    for house in houses().await {
        let (mut wang, _) = house.signed_in("wang", Role::Teacher).await;
        let script = r#"
echo '{"progress":0.5}'
for n in 1 2; do printf large$n > "$out/p$n-l.webp"; printf small$n > "$out/p$n-s.webp"; done
printf '四年级数学下册 第二单元\n观察物体' > "$out/text.txt"
cat > "$out/result.json" <<'END'
{"type":"pptx","mime":"application/vnd.openxmlformats-officedocument.presentationml.presentation","title":"观察物体","author":"王老师",
 "outline":[{"level":1,"text":"导入","page":1}],"text":"text.txt","page_count":3,
 "pages":[{"n":1,"width":1600,"height":900,"large":"p1-l.webp","small":"p1-s.webp","text":"观察物体"},
          {"n":2,"width":1600,"height":900,"large":"p2-l.webp","small":"p2-s.webp","text":"从上面看"},
          {"n":3,"width":1600,"height":900,"large":null,"small":null,"text":"画不出来的一页"}],
 "image":null,"entries":[],"notes":["page_failed"]}
END
echo '{"done":{"type":"pptx","mime":"x","result":"result.json","pages":3}}'"#;
        let _program = understand_with(&house, script).await;
        let id = upload(&wang, &house, b"PK\x03\x04 deck", &[("filename", "新建文稿.pptx"), ("stage", "小学")]).await;
        let deck = understood(&mut wang, &id).await;
        assert_eq!((&deck["preview"]["state"], &deck["preview"]["pages"]), (&json!("ready"), &json!(3)), "{deck}");
        assert_eq!((&deck["file"]["type"], &deck["type"]), (&json!("pptx"), &json!("courseware")));
        assert_eq!(
            (&deck["grade"], &deck["subject"], &deck["unit"]),
            (&json!("四年级"), &json!("数学"), &json!("第二单元"))
        );
        assert_eq!(deck["suggested"], json!(["type", "grade", "subject", "volume", "unit"]), "the stage was said");
        assert_eq!((&deck["file_author"], &deck["facts"]["outline"][0]["text"]), (&json!("王老师"), &json!("导入")));
        let (_, pages) = wang.get(&format!("/api/resources/{id}/pages")).await;
        assert_eq!((&pages["items"][1]["text"], &pages["items"][2]["large_url"]), (&json!("从上面看"), &Value::Null));
        for (path, content) in
            [(&pages["items"][0]["large_url"], "large1"), (&deck["preview"]["thumbnail_url"], "small1")]
        {
            let mut request = Request::builder().uri(path.as_str().expect("a path"));
            request = request.header(header::COOKIE, wang.cookie.as_deref().expect("signed in"));
            let answer = house.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await;
            let answer = answer.expect("infallible");
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "image/webp");
            assert_eq!(axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body"), content);
        }
        assert!(
            wang.get(&format!("/api/resources/{id}/text")).await.1["text"].as_str().expect("text").contains("观察物体")
        );
        // The same deck again is understood from the start.
        let again = upload(&wang, &house, b"PK\x03\x04 deck", &[("filename", "另一份.pptx")]).await;
        assert_eq!(wang.get(&format!("/api/resources/{again}")).await.1["preview"]["pages"], 3);
    }
}

/// A file as its reader gets it: what it is called, and its bytes.
async fn saved(page: &Page, house: &House, path: &str) -> (String, Vec<u8>) {
    let request = Request::builder().uri(path).header(header::COOKIE, page.cookie.as_deref().expect("signed in"));
    let answer = house.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await;
    let answer = answer.expect("infallible");
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let name = text(answer.headers(), "content-disposition").to_owned();
    (name, axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body").to_vec())
}

#[tokio::test]
async fn others_get_a_photo_without_the_place_where_it_was_taken() {
    const PHOTO: &[u8] = b"BM a bitmap with its place";
    for house in houses().await {
        let (mut wang, _) = house.signed_in("wang", Role::Teacher).await;
        let mut li = house.signed_in("li", Role::Teacher).await.0;
        let public = [("filename", "板书.bmp"), ("visibility", "county")];
        let id = upload(&wang, &house, PHOTO, &public).await;
        let path = format!("/api/resources/{id}/file");
        assert_eq!(li.get(&path).await.1["code"], "being_prepared", "nobody has read it yet");
        let script = r#"
printf clean > "$out/image.png"; printf x > "$out/p1-l.webp"; printf x > "$out/p1-s.webp"
echo '{"type":"bmp","mime":"image/bmp","image":{"width":2,"height":2,"stripped":"image.png","mime":"image/png"}}' > "$out/result.json"
echo '{"done":{"result":"result.json"}}'"#;
        let _program = understand_with(&house, script).await;
        understood(&mut wang, &id).await;
        let (name, bytes) = saved(&wang, &house, &path).await;
        assert!(name.ends_with(".bmp") && bytes == PHOTO, "its owner gets the original: {name}");
        let (name, bytes) = saved(&li, &house, &path).await;
        assert_eq!(bytes, b"clean");
        assert!(name.ends_with("%E6%9D%BF%E4%B9%A6.png"), "{name}");
        let (_, made) = li.post("/api/collections", json!({ "title": "板书", "resource_ids": [id] })).await;
        let zip = format!("/api/collections/{}/zip", made["id"].as_str().expect("an id"));
        let (_, packed) = saved(&li, &house, &zip).await;
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(packed)).expect("a zip");
        let mut inside = String::new();
        std::io::Read::read_to_string(&mut archive.by_name("板书.png").expect("there"), &mut inside).expect("read");
        assert_eq!(inside, "clean", "nor does a collection tell it");
    }
}

#[tokio::test]
async fn a_web_page_is_shown_in_a_place_where_it_can_do_nothing() {
    for house in houses().await {
        let (wang, _) = house.signed_in("wang", Role::Teacher).await;
        let page = upload(&wang, &house, b"<!doctype html><script>alert(1)</script>", &[("filename", "a.html")]).await;
        let plan = upload(&wang, &house, PLAN.as_bytes(), &[("filename", "a.txt")]).await;
        let (status, headers, _) =
            tus(&wang, &house, "GET", &format!("/api/resources/{page}/html"), &[], Vec::new()).await;
        assert_eq!((status, text(&headers, "content-type")), (StatusCode::OK, "text/html"));
        let policy = text(&headers, "content-security-policy");
        assert!(policy.starts_with("sandbox; default-src 'none';") && !policy.contains("allow-"), "{policy}");
        let (status, ..) = tus(&wang, &house, "GET", &format!("/api/resources/{plan}/html"), &[], Vec::new()).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "text is no page");
    }
}

#[tokio::test]
async fn a_file_with_a_password_says_so_on_its_card_and_is_tried_again_when_asked() {
    for house in houses().await {
        let (mut wang, _) = house.signed_in("wang", Role::Teacher).await;
        let script = r#"[ -e "$0.open" ] || { echo '{"error":{"code":"encrypted","message":"a password"}}'; exit 2; }
echo '{"type":"txt","mime":"text/plain"}' > "$out/result.json"; echo '{"done":{"result":"result.json"}}'"#;
        let program = understand_with(&house, script).await;
        let id = upload(&wang, &house, b"secret", &[("filename", "期末试卷.docx")]).await;
        let card = understood(&mut wang, &id).await;
        assert_eq!((&card["preview"]["state"], &card["preview"]["problem"]), (&json!("failed"), &json!("encrypted")));
        assert!(card["problem_text"].as_str().expect("words").starts_with("文件有密码保护"), "{card}");
        wang.language = "en";
        let (_, card) = wang.get(&format!("/api/resources/{id}")).await;
        assert!(card["problem_text"].as_str().expect("words").starts_with("The file is protected"), "{card}");
        assert_eq!(wang.get(&format!("/api/resources/{id}/file")).await.0, StatusCode::OK, "the original is there");
        let (mut li, _) = house.signed_in("li", Role::Teacher).await;
        let again = format!("/api/resources/{id}/understand");
        assert_eq!(li.post(&again, json!({})).await.0, StatusCode::FORBIDDEN);
        std::fs::write(program.path().join("program.open"), "").expect("written");
        let (status, job) = wang.post(&again, json!({})).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        let job = format!("/api/jobs/{}", job["id"].as_str().expect("an id"));
        assert_eq!(li.get(&job).await.0, StatusCode::NOT_FOUND, "a job is its person's");
        assert_eq!(wang.get(&job).await.0, StatusCode::OK);
        assert_eq!(understood(&mut wang, &id).await["preview"]["state"], "ready");
        assert_eq!(wang.post(&again, json!({})).await.1["code"], "understood");
    }
}

#[tokio::test]
async fn a_program_that_hangs_on_a_hostile_file_is_cancelled_from_its_card() {
    for house in houses().await {
        let (mut wang, _) = house.signed_in("wang", Role::Teacher).await;
        let _program = understand_with(&house, "sleep 300").await;
        let id = upload(&wang, &house, b"loops", &[("filename", "a.doc")]).await;
        let mut job = Value::Null;
        for _ in 0..500 {
            let (_, card) = wang.get(&format!("/api/resources/{id}")).await;
            job = card["preview"]["job_id"].clone();
            let (_, found) = wang.get(&format!("/api/jobs/{}", job.as_str().unwrap_or("none"))).await;
            if found["state"] == "running" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let job = format!("/api/jobs/{}", job.as_str().expect("it runs"));
        assert_eq!(wang.delete(&job).await.0, StatusCode::NO_CONTENT);
        let card = understood(&mut wang, &id).await;
        assert_eq!((&card["preview"]["problem"], &card["preview"]["job_id"]), (&json!("cancelled"), &Value::Null));
    }
}

/// Titles that a search finds.
async fn found(house: &House, page: &mut Page, line: &str) -> Vec<String> {
    house.app.search.catch_up().await;
    let line: String = line.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let (status, body) = page.get(&format!("/api/search?q={line}")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let hits = body["hits"].as_array().expect("hits");
    hits.iter().map(|hit| hit["title"]["text"].as_str().expect("a title").to_owned()).collect()
}

#[tokio::test]
async fn what_a_file_says_is_found_while_the_deck_before_it_is_still_being_drawn() {
    for house in houses().await {
        let (mut wang, _) = house.signed_in("wang", Role::Teacher).await;
        let script = r#"
[ "$1" = words ] || until [ -e "$0.drawn" ]; do sleep 0.05; done
cp "$2" "$out/text.txt"
echo '{"type":"txt","mime":"text/plain","text":"text.txt"}' > "$out/result.json"; echo '{"done":{"result":"result.json"}}'"#;
        let program = understand_with(&house, script).await;
        let deck = upload(&wang, &house, "蒸发与凝结".as_bytes(), &[("filename", "课件.txt")]).await;
        let plan = upload(&wang, &house, "观察一片云".as_bytes(), &[("filename", "教案.txt")]).await;
        for (line, title) in [("凝结", "课件"), ("一片云", "教案")] {
            let begun = std::time::Instant::now();
            while found(&house, &mut wang, line).await != [title] {
                assert!(begun.elapsed().as_secs() < 30, "{line} is not found before all is drawn");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        for id in [&deck, &plan] {
            assert_eq!(wang.get(&format!("/api/resources/{id}")).await.1["preview"]["state"], "waiting");
        }
        std::fs::write(program.path().join("program.drawn"), "").expect("written");
        for id in [&deck, &plan] {
            assert_eq!(understood(&mut wang, id).await["preview"]["state"], "ready");
        }
        assert_eq!(found(&house, &mut wang, "凝结").await, ["课件"]);
    }
}

#[tokio::test]
async fn what_is_shared_is_found_by_those_who_may_see_it_and_lost_when_they_may_not() {
    for house in houses().await {
        let (mut wang, _) = house.signed_in("wang", Role::Teacher).await;
        let (mut li, _) = house.signed_in("li", Role::Teacher).await;
        let other = school(&house, "石桥村小学", None).await;
        let mut zhao = teacher_of(&house, other, "zhao").await;
        let id =
            upload(&wang, &house, b"content", &[("filename", "富饶的西沙群岛.txt"), ("visibility", "school")]).await;
        let collection = json!({ "title": "西沙资料合集", "visibility": "county" });
        assert_eq!(wang.post("/api/collections", collection).await.0, StatusCode::CREATED);
        assert_eq!(found(&house, &mut li, "富饶").await, ["富饶的西沙群岛"]);
        assert_eq!(found(&house, &mut zhao, "富饶").await, [""; 0]);
        assert_eq!(found(&house, &mut zhao, "西沙").await, ["西沙资料合集"]);
        let path = format!("/api/resources/{id}");
        wang.patch(&path, json!({ "visibility": "county", "title": "美丽的西沙" })).await;
        assert_eq!(found(&house, &mut zhao, "美丽").await, ["美丽的西沙"]);
        wang.patch(&path, json!({ "visibility": "private" })).await;
        assert_eq!(found(&house, &mut li, "美丽").await, [""; 0]);
        assert_eq!(found(&house, &mut wang, "美丽").await, ["美丽的西沙"]);
        wang.delete(&path).await;
        assert_eq!(found(&house, &mut wang, "美丽").await, [""; 0]);
    }
}

#[tokio::test]
async fn content_goes_when_nothing_has_it_any_more_and_not_before() {
    for house in houses().await {
        let (mut wang, _) = house.signed_in("wang", Role::Teacher).await;
        let one = upload(&wang, &house, b"shared", &[("filename", "a.txt")]).await;
        let two = upload(&wang, &house, b"shared", &[("filename", "b.txt")]).await;
        let object = {
            let hash = hex::encode(Sha256::digest(b"shared"));
            house.app.config.objects_dir().join("blobs").join(&hash[..2]).join(&hash)
        };
        let later = |days: i64| Timestamp::now() + SignedDuration::from_hours(24 * days);
        let shelf = &house.app.library.shelf;
        assert_eq!(wang.delete(&format!("/api/resources/{one}")).await.0, StatusCode::NO_CONTENT);
        shelf.sweep(later(31), 30).await.expect("swept");
        shelf.sweep(later(40), 30).await.expect("swept");
        assert!(object.exists(), "the other one still has it");
        assert_eq!(wang.delete(&format!("/api/resources/{two}")).await.0, StatusCode::NO_CONTENT);
        shelf.sweep(later(31), 30).await.expect("swept");
        assert!(object.exists(), "a day of grace");
        shelf.sweep(later(33), 30).await.expect("swept");
        assert!(!object.exists());
        // The same file may come again.
        let again = upload(&wang, &house, b"shared", &[("filename", "c.txt")]).await;
        assert_eq!(wang.get(&format!("/api/resources/{again}/file")).await.0, StatusCode::OK);
    }
}
