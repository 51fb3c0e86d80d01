//! Search tests: access, changes, rebuilds and crash recovery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Kind, Search, Source};
use crate::error::{Error, Result};
use crate::identity::{self, Role};
use crate::ids::{ClassroomId, LessonId, PersonId};
use crate::index_queue::{enqueue, enqueue_hidden};
use crate::schools;
use crate::testing::{TestClient, TestServer, sqlite_server, test_servers};
use crate::timetable::{NewLesson, RecordingState, Roster, add_lesson, set_recording};
use tongke_search::{AclGroup, Document};

fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

async fn ask(page: &mut TestClient, line: &str) -> Value {
    let (status, body) = page.get(&format!("/api/search?q={}", encoded(line))).await;
    assert_eq!(status, StatusCode::OK, "{line:?}: {body}");
    body
}

async fn titles(page: &mut TestClient, line: &str) -> Vec<String> {
    let body = ask(page, line).await;
    let hits = body["hits"].as_array().expect("hits");
    assert_eq!(body["total"], hits.len(), "{body}");
    hits.iter()
        .map(|hit| hit["title"]["text"].as_str().expect("a title").to_owned())
        .collect()
}

async fn recorded(
    server: &TestServer,
    title: &str,
    lead: PersonId,
    listening: Vec<ClassroomId>,
) -> LessonId {
    let starts_at = Timestamp::now();
    let ends_at = starts_at + SignedDuration::from_mins(40);
    let (series, period) = (None, None);
    let roster = Roster {
        lead,
        assistants: Vec::new(),
        lead_room: None,
        listening,
    };
    let (subject, grade) = ("数学".into(), "五年级".into());
    let lesson = add_lesson(
        &server.services.db,
        NewLesson {
            title: title.into(),
            subject,
            grade,
            series,
            period,
            starts_at,
            ends_at,
            roster,
        },
    );
    let lesson = lesson.await.expect("planned");
    set_recording(&server.services.db, lesson, RecordingState::Ready)
        .await
        .expect("noted");
    lesson
}

#[tokio::test]
async fn people_schools_and_recorded_lessons_are_found_only_with_access() {
    for server in test_servers().await {
        let (mut lead, lead_id) = server.signed_in("zengqinghong", Role::Teacher).await;
        let (mut colleague, _) = server.signed_in("li", Role::Teacher).await;
        let (mut observer, _) = server.signed_in("observer", Role::Observer).await;
        let (mut room, room_id) = server.device("三年级教室").await;
        let (mut other_room, _) = server.device("四年级教室").await;
        let lesson = recorded(&server, "分数的意义", lead_id, vec![room_id]).await;
        server.services.search.catch_up().await;

        assert_eq!(
            titles(&mut colleague, "shiyanxx").await,
            Vec::<String>::new()
        );
        assert_eq!(
            titles(&mut colleague, "shiyan").await[0],
            "实验小学",
            "a school by its sound"
        );
        assert!(
            titles(&mut colleague, "zengqinghong")
                .await
                .contains(&"zengqinghong".to_owned())
        );
        assert!(
            titles(&mut room, "zengqinghong")
                .await
                .iter()
                .all(|title| title == "分数的意义"),
            "devices list no people"
        );
        for (page, finds) in [
            (&mut lead, true),
            (&mut observer, true),
            (&mut room, true),
            (&mut colleague, false),
            (&mut other_room, false),
        ] {
            assert_eq!(titles(page, "分數").await.len(), usize::from(finds));
            let (_, suggested) = page.get("/api/search/suggest?q=fenshu").await;
            assert_eq!(
                suggested["items"].as_array().map(Vec::len),
                Some(usize::from(finds))
            );
            let (_, everything) = page.get("/api/search?kind=recording").await;
            assert_eq!(everything["total"], usize::from(finds));
            assert_eq!(
                everything["facets"]["subject"],
                if finds {
                    json!([{ "value": "数学", "count": 1 }])
                } else {
                    json!([])
                }
            );
            let (status, _) = page
                .get(&format!("/api/search/similar/recording/{lesson}"))
                .await;
            assert_eq!(
                status,
                if finds {
                    StatusCode::OK
                } else {
                    StatusCode::NOT_FOUND
                }
            );
        }
        assert_eq!(
            ask(&mut server.client(), "").await["total"],
            0,
            "nothing here is public"
        );
        let hit = &ask(&mut lead, "分数 五年级").await["hits"][0];
        assert_eq!(
            (&hit["kind"], &hit["id"], &hit["author"]),
            (&json!("recording"), &json!(lesson), &json!("zengqinghong"))
        );
        assert_eq!(hit["title"]["marks"], json!([[0, 2]]));
    }
}

#[tokio::test]
async fn a_new_name_reaches_everything_that_shows_it() {
    for server in test_servers().await {
        let (mut admin, _) = server.signed_in("admin", Role::Administrator).await;
        let lead = server.person("wang", Role::Teacher).await;
        recorded(&server, "圆的面积", lead, Vec::new()).await;
        server.services.search.catch_up().await;
        let (status, _) = admin
            .patch(
                &format!("/api/schools/{}", server.school),
                json!({ "name": "柳林村小学" }),
            )
            .await;
        assert_eq!(status, StatusCode::OK);
        server.services.search.catch_up().await;
        assert_eq!(
            ask(&mut admin, "圆").await["hits"][0]["school"],
            "柳林村小学"
        );
        assert_eq!(titles(&mut admin, "“实验小学”").await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_removed_person_disappears_from_results_at_once() {
    let server = sqlite_server().await;
    let (mut admin, _) = server.signed_in("admin", Role::Administrator).await;
    let gone = server.person("wangxiaoming", Role::Teacher).await;
    server.services.search.catch_up().await;
    assert_eq!(titles(&mut admin, "wangxiaoming").await, ["wangxiaoming"]);
    assert_eq!(
        admin.delete(&format!("/api/people/{gone}")).await.0,
        StatusCode::NO_CONTENT
    );
    assert!(
        titles(&mut admin, "wangxiaoming").await.is_empty(),
        "before the index has caught up"
    );
    server.services.search.catch_up().await;
    assert!(titles(&mut admin, "wangxiaoming").await.is_empty());
}

#[tokio::test]
async fn no_typed_query_is_an_error() {
    let server = sqlite_server().await;
    let (mut page, _) = server.signed_in("wang", Role::Teacher).await;
    server.services.search.catch_up().await;
    let lines = [
        "",
        "\"",
        "“未完",
        "title:(",
        "AND",
        "a OR",
        "*",
        "\\",
        "[* TO *]",
        "-x",
        "\u{0}",
        "💡",
        "𠀀",
        "～",
        "' OR 1=1 --",
        &"长".repeat(1500),
    ];
    for line in lines {
        for path in ["/api/search", "/api/search/suggest"] {
            let (status, body) = page.get(&format!("{path}?q={}", encoded(line))).await;
            assert_eq!(status, StatusCode::OK, "{line:?}: {body}");
        }
    }
    for odd in [
        "page=x",
        "page=99999999999999999999",
        "size=0",
        "unknown=1",
        "subject=&subject=",
        "%FF=%FE",
        "q=%FF",
    ] {
        let (status, body) = page.get(&format!("/api/search?{odd}")).await;
        assert_eq!(status, StatusCode::OK, "{odd}: {body}");
    }
    page.language = "en";
    let (status, body) = page.get("/api/search?sort=loudest").await;
    assert_eq!(
        (status, &body["field"], &body["message"]),
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!("sort"),
            &json!("There is no such order.")
        )
    );
}

/// Source with one document; tests make it fail.
struct TestSource {
    fails: AtomicBool,
    everybody: AtomicBool,
}

const BOOK: Uuid = Uuid::from_u128(7);

impl Source for TestSource {
    fn document(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>>> {
        Box::pin(async move {
            if self.fails.load(Ordering::Relaxed) {
                return Err(Error::internal("the source fails"));
            }
            let everybody = self.everybody.load(Ordering::Relaxed);
            let acl = if everybody {
                vec![AclGroup::County]
            } else {
                vec![AclGroup::Individual(Uuid::from_u128(1))]
            };
            let pages = vec!["封面".into(), "第二页讲蒸发".into()];
            let document = Document {
                title: "水的循环教学设计".into(),
                pages,
                acl,
                ..Document::default()
            };
            Ok((id == BOOK).then_some(document))
        })
    }

    fn ids(&self, after: Option<Uuid>, _: u32) -> BoxFuture<'_, Result<Vec<Uuid>>> {
        Box::pin(async move {
            Ok(if after.is_none() {
                vec![BOOK]
            } else {
                Vec::new()
            })
        })
    }
}

async fn server_with_source() -> (TestServer, Arc<TestSource>, TestClient) {
    let server = sqlite_server().await;
    let source = Arc::new(TestSource {
        fails: false.into(),
        everybody: true.into(),
    });
    server
        .services
        .search
        .register(Kind::Resource, source.clone());
    let (page, _) = server.signed_in("admin", Role::Administrator).await;
    (server, source, page)
}

async fn changed(server: &TestServer, kind: Kind, id: Uuid, hidden: bool) {
    let mut tx = server.services.db.begin().await.expect("begun");
    if hidden {
        enqueue_hidden(&mut tx, kind, id).await
    } else {
        enqueue(&mut tx, kind, id).await
    }
    .expect("marked");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn a_restricted_document_is_hidden_before_it_is_indexed_again() {
    let (server, source, mut page) = server_with_source().await;
    server.services.search.catch_up().await;
    let hit = &ask(&mut page, "蒸发").await["hits"][0];
    assert_eq!(
        (&hit["page"], &hit["snippets"][0]["page"]),
        (&json!(2), &json!(2))
    );
    source.everybody.store(false, Ordering::Relaxed);
    changed(&server, Kind::Resource, BOOK, true).await;
    for line in ["", "蒸发", "水的循环"] {
        let body = ask(&mut page, &format!("{line} ")).await;
        assert!(!body.to_string().contains("水的循环"), "{body}");
    }
    let (_, suggested) = page
        .get(&format!("/api/search/suggest?q={}", encoded("水")))
        .await;
    assert_eq!(suggested["items"], json!([]));
    changed(&server, Kind::Resource, BOOK, false).await;
    assert!(
        titles(&mut page, "蒸发").await.is_empty(),
        "another change does not show it again"
    );
    server.services.search.catch_up().await;
    assert!(titles(&mut page, "蒸发").await.is_empty());
}

#[tokio::test]
async fn a_failing_document_is_retried_and_does_not_block_others() {
    let (server, source, mut page) = server_with_source().await;
    server.services.search.catch_up().await;
    source.fails.store(true, Ordering::Relaxed);
    changed(&server, Kind::Resource, BOOK, false).await;
    server.person("lihua", Role::Teacher).await;
    server.services.search.catch_up().await;
    assert_eq!(titles(&mut page, "lihua").await, ["lihua"]);
    assert_eq!(
        titles(&mut page, "蒸发").await.len(),
        1,
        "the old state stays"
    );
    let (_, state) = page.get("/api/search/index").await;
    assert_eq!(
        (&state["pending"], &state["failing"]),
        (&json!(1), &json!(1))
    );
    source.fails.store(false, Ordering::Relaxed);
    changed(&server, Kind::Resource, BOOK, false).await;
    server.services.search.catch_up().await;
    let (_, state) = page.get("/api/search/index").await;
    assert_eq!(
        (&state["pending"], &state["failing"]),
        (&json!(0), &json!(0))
    );
}

#[tokio::test]
async fn the_index_is_rebuilt_while_the_old_one_serves_queries() {
    for server in test_servers().await {
        let (mut page, _) = server.signed_in("admin", Role::Administrator).await;
        server.services.search.catch_up().await;
        assert_eq!(
            page.post("/api/search/rebuild", json!({})).await.0,
            StatusCode::ACCEPTED
        );
        assert!(
            server.services.search.run_once().await.expect("a turn"),
            "it has begun"
        );
        let (_, state) = page.get("/api/search/index").await;
        assert!(state["rebuild"]["done"].is_number(), "{state}");
        server.person("duringtherebuild", Role::Teacher).await;
        server.services.search.run_once().await.expect("a turn");
        assert_eq!(
            titles(&mut page, "duringtherebuild").await.len(),
            1,
            "changes are found meanwhile"
        );
        server.services.search.catch_up().await;
        let (_, state) = page.get("/api/search/index").await;
        assert_eq!(
            (&state["rebuild"], &state["documents"]),
            (&Value::Null, &json!(3))
        );
        assert_eq!(
            titles(&mut page, "duringtherebuild").await.len(),
            1,
            "and after"
        );
    }
}

#[tokio::test]
async fn the_index_recovers_from_a_crash() {
    let server = sqlite_server().await;
    let (_, _) = server.signed_in("admin", Role::Administrator).await;
    server.services.search.catch_up().await;
    let before = server.services.search.active_index().document_count();
    // A crash after the commit of the index, before the row was deleted.
    changed(&server, Kind::School, server.school.0, false).await;
    server.services.search.catch_up().await;
    assert_eq!(
        server.services.search.active_index().document_count(),
        before
    );
    // A corrupt pointer to the active index.
    std::fs::write(server.folder().join("search/current"), "1-of nowhere").expect("written");
    let reopened = Search::open(&server.services.config, server.services.db.clone())
        .await
        .expect("opens all the same");
    assert_eq!(reopened.active_index().document_count(), 0);
    let db = &server.services.db;
    for (kind, source) in [identity::index_source(db), schools::index_source(db)] {
        reopened.register(kind, source);
    }
    reopened.catch_up().await;
    assert_eq!(reopened.active_index().document_count(), before);
}

#[tokio::test]
async fn the_countys_synonyms_apply_as_soon_as_the_file_is_saved() {
    let (server, _, mut page) = server_with_source().await;
    server.services.search.catch_up().await;
    assert_eq!(titles(&mut page, "水的循环 教案").await.len(), 1, "ours");
    assert!(titles(&mut page, "水汽之旅").await.is_empty());
    std::fs::write(server.folder().join("synonyms.txt"), "水汽之旅, 水的循环\n").expect("saved");
    server.services.search.catch_up().await;
    assert_eq!(titles(&mut page, "水汽之旅").await.len(), 1);
}

/// Checks no latency, which depends on the load of the machine; a bench measures it.
#[tokio::test]
async fn a_change_is_indexed_in_the_background() {
    let (server, _, mut page) = server_with_source().await;
    server.services.search.start();
    server.person("zhangsan", Role::Teacher).await;
    let found = async {
        while titles(&mut page, "zhangsan").await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), found)
        .await
        .expect("it is found");
    server
        .services
        .search
        .stop(std::time::Duration::from_secs(5))
        .await;
}
