//! Decks of lessons.

use super::*;
use crate::ids::{LessonId, PersonId};
use crate::timetable::{self};

/// Worker script that reports every file as a deck of two pages.
const DECK: &str = r#"
for n in 1 2; do printf large$n > "$out/p$n-l.webp"; printf small$n > "$out/p$n-s.webp"; done
printf '圆的认识' > "$out/text.txt"
cat > "$out/result.json" <<'END'
{"type":"pptx","mime":"x","title":"圆的认识","author":null,"outline":[],"text":"text.txt","page_count":2,
 "pages":[{"n":1,"width":1600,"height":900,"large":"p1-l.webp","small":"p1-s.webp","text":"圆的认识"},
          {"n":2,"width":1600,"height":900,"large":"p2-l.webp","small":"p2-s.webp","text":"半径和直径"}],
 "image":null,"entries":[],"notes":[]}
END
echo '{"done":{"type":"pptx","mime":"x","result":"result.json","pages":2}}'"#;

async fn lesson_of(
    page: &mut TestClient,
    lead: PersonId,
    rooms: &[crate::ids::ClassroomId],
) -> LessonId {
    let now = Timestamp::now();
    let form = json!({ "title": "圆的认识", "subject": "数学", "grade": "六年级", "lead_id": lead, "assistant_ids": [],
        "starts_at": now, "ends_at": now + SignedDuration::from_mins(40),
        "classroom_ids": rooms });
    let (status, lesson) = page.post("/api/lessons", form).await;
    assert_eq!(status, StatusCode::CREATED, "{lesson}");
    lesson["id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("an id")
}

async fn bytes_of(server: &TestServer, page: &TestClient, path: &Value) -> (StatusCode, Vec<u8>) {
    let mut request = Request::builder().uri(path.as_str().expect("a path"));
    request = request.header(header::COOKIE, page.cookie.as_deref().expect("signed in"));
    let answer = server
        .router
        .clone()
        .oneshot(request.body(Body::empty()).expect("a request"))
        .await;
    let answer = answer.expect("infallible");
    let status = answer.status();
    (
        status,
        axum::body::to_bytes(answer.into_body(), 1 << 20)
            .await
            .expect("a body")
            .to_vec(),
    )
}

#[tokio::test]
async fn a_lesson_keeps_its_deck_after_the_resource_is_removed() {
    for server in test_servers().await {
        let _program = run_analysis_with(&server, DECK).await;
        let (mut wang, lead) = server.signed_in("wang", Role::Teacher).await;
        let (mut li, _) = server.signed_in("li", Role::Teacher).await;
        let (mut room, classroom) = server.device("柳林村小学").await;
        let lesson = lesson_of(&mut wang, lead, &[classroom]).await;
        let decks = format!("/api/lessons/{lesson}/decks");
        let id = upload(
            &wang,
            &server,
            b"PK\x03\x04 deck",
            &[("filename", "圆的认识.pptx"), ("visibility", "private")],
        )
        .await;
        analyzed(&mut wang, &id).await;

        assert_eq!(
            li.post(&decks, json!({ "resource_id": id })).await.0,
            StatusCode::NOT_FOUND,
            "not their lesson"
        );
        assert_eq!(
            room.post(&decks, json!({ "resource_id": id })).await.0,
            StatusCode::FORBIDDEN
        );
        let (status, put) = wang.post(&decks, json!({ "resource_id": id })).await;
        assert_eq!(status, StatusCode::CREATED, "{put}");
        assert_eq!(
            wang.post(&decks, json!({ "resource_id": id })).await.1,
            put,
            "adding it twice returns the same deck"
        );
        let links = format!("/api/resources/{id}/links");
        let (_, of_deck) = wang.get(&links).await;
        assert_eq!(
            (&of_deck["lessons"][0]["id"], &of_deck["lessons"][0]["bond"]),
            (&json!(lesson), &json!("taught"))
        );
        wang.send("DELETE", &links, Some(json!({ "lesson_id": lesson })))
            .await;
        let (_, of_lesson) = wang.get(&format!("/api/lessons/{lesson}/resources")).await;
        assert_eq!(
            (&of_lesson["items"][0]["id"], &of_lesson["items"][0]["bond"]),
            (&json!(id), &json!("taught")),
            "a deck stays listed without a link"
        );

        let (status, list) = room.get(&decks).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        let pages = list["items"][0]["pages"].clone();
        assert_eq!(
            (&list["items"][0]["title"], &pages[1]["text"]),
            (&json!("圆的认识"), &json!("半径和直径"))
        );
        assert_eq!(
            bytes_of(&server, &room, &pages[0]["large_url"]).await,
            (StatusCode::OK, b"large1".to_vec())
        );
        assert_eq!(
            bytes_of(&server, &room, &pages[1]["small_url"]).await,
            (StatusCode::OK, b"small2".to_vec())
        );
        assert_eq!(
            bytes_of(&server, &li, &pages[0]["large_url"]).await.0,
            StatusCode::NOT_FOUND
        );
        assert_eq!(li.get(&decks).await.0, StatusCode::NOT_FOUND);

        assert_eq!(
            wang.delete(&format!("/api/resources/{id}")).await.0,
            StatusCode::NO_CONTENT
        );
        let late = Timestamp::now() + SignedDuration::from_hours(24 * 90);
        server
            .services
            .library
            .content
            .collect_garbage(late, 30)
            .await
            .expect("swept");
        server
            .services
            .library
            .content
            .collect_garbage(late + SignedDuration::from_hours(48), 30)
            .await
            .expect("swept");
        assert_eq!(
            bytes_of(&server, &room, &pages[0]["large_url"]).await.0,
            StatusCode::OK,
            "the replay needs it"
        );
    }
}

#[tokio::test]
async fn a_deck_can_be_replaced_or_removed_only_before_the_lesson_starts() {
    for server in test_servers().await {
        let _program = run_analysis_with(&server, DECK).await;
        let (mut wang, lead) = server.signed_in("wang", Role::Teacher).await;
        let lesson = lesson_of(&mut wang, lead, &[]).await;
        let decks = format!("/api/lessons/{lesson}/decks");
        let id = upload(
            &wang,
            &server,
            b"PK\x03\x04 first",
            &[("filename", "圆.pptx")],
        )
        .await;
        analyzed(&mut wang, &id).await;
        let (_, first) = wang.post(&decks, json!({ "resource_id": id })).await;
        upload(
            &wang,
            &server,
            b"PK\x03\x04 second",
            &[("filename", "圆.pptx"), ("resource", &id)],
        )
        .await;
        analyzed(&mut wang, &id).await;
        let (_, second) = wang.post(&decks, json!({ "resource_id": id })).await;
        assert_ne!(first, second);
        let in_it = wang.get(&decks).await.1;
        assert_eq!(
            in_it["items"].as_array().map(Vec::len),
            Some(1),
            "the newer version replaces the first: {in_it}"
        );
        let at = format!("{decks}/{}", second["id"].as_str().expect("an id"));
        assert_eq!(wang.delete(&at).await.0, StatusCode::NO_CONTENT);
        assert_eq!(wang.get(&decks).await.1["items"], json!([]));
        assert_eq!(
            wang.get(&format!("/api/resources/{id}/links")).await.1["lessons"],
            json!([])
        );

        let (_, third) = wang.post(&decks, json!({ "resource_id": id })).await;
        timetable::mark_live(&server.services.db, lesson, Timestamp::now())
            .await
            .expect("begun");
        let at = format!("{decks}/{}", third["id"].as_str().expect("an id"));
        let (status, refused) = wang.delete(&at).await;
        assert_eq!(
            (status, &refused["code"]),
            (StatusCode::CONFLICT, &json!("already_started"))
        );
        timetable::mark_ended(&server.services.db, lesson, Timestamp::now())
            .await
            .expect("ended");
        let (status, refused) = wang.post(&decks, json!({ "resource_id": id })).await;
        assert_eq!(
            (status, &refused["code"]),
            (StatusCode::CONFLICT, &json!("lesson_ended"))
        );
    }
}

#[tokio::test]
async fn a_resource_without_pages_is_rejected_as_a_deck() {
    for server in test_servers().await {
        let (mut wang, lead) = server.signed_in("wang", Role::Teacher).await;
        let lesson = lesson_of(&mut wang, lead, &[]).await;
        let id = upload(
            &wang,
            &server,
            b"PK\x03\x04 deck",
            &[("filename", "圆.pptx")],
        )
        .await;
        let (status, refused) = wang
            .post(
                &format!("/api/lessons/{lesson}/decks"),
                json!({ "resource_id": id }),
            )
            .await;
        assert_eq!(
            (status, &refused["code"]),
            (StatusCode::CONFLICT, &json!("not_ready"))
        );
        let _program = run_analysis_with(
            &server,
            r#"echo '{"error":{"code":"broken","message":"not a deck"}}'; exit 2"#,
        )
        .await;
        analyzed(&mut wang, &id).await;
        let (status, refused) = wang
            .post(
                &format!("/api/lessons/{lesson}/decks"),
                json!({ "resource_id": id }),
            )
            .await;
        assert_eq!(
            (status, &refused["code"]),
            (StatusCode::CONFLICT, &json!("no_pages"))
        );
    }
}
