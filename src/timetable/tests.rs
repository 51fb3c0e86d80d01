//! Planning of lessons and series and their visibility, on both databases.

use axum::http::StatusCode;
use jiff::{SignedDuration, Span, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::identity::{Actor, Role};
use crate::ids::TermId;
use crate::ids::{ClassroomId, PersonId};
use crate::testing::{TestClient, TestServer, test_servers};

/// A core school with a lead, an assistant, a lead room and two listening rooms.
struct School {
    admin: TestClient,
    lead: (TestClient, PersonId),
    assistant: (TestClient, PersonId),
    studio: (TestClient, ClassroomId),
    willow: (TestClient, ClassroomId),
    bridge: (TestClient, ClassroomId),
}

async fn school(server: &TestServer) -> School {
    School {
        admin: server.signed_in("admin", Role::Administrator).await.0,
        lead: server.signed_in("wang", Role::Teacher).await,
        assistant: server.signed_in("li", Role::Teacher).await,
        studio: server.device("录播教室").await,
        willow: server.device("柳林村小学三年级").await,
        bridge: server.device("石桥村小学三年级").await,
    }
}

impl School {
    fn lesson(&self) -> Value {
        let now = Timestamp::now();
        json!({
            "title": "富饶的西沙群岛", "subject": "语文", "grade": "三年级", "starts_at": now,
            "ends_at": now + SignedDuration::from_mins(40), "lead_id": self.lead.1, "assistant_ids": [self.assistant.1],
            "lead_classroom_id": self.studio.1, "classroom_ids": [self.willow.1, self.bridge.1],
        })
    }

    fn series(&self, term: &str, period: &str, weekday: i8) -> Value {
        json!({
            "name": "语文专递课堂", "subject": "语文", "grade": "三年级", "term_id": term, "weekday": weekday, "period_id": period,
            "lead_id": self.lead.1, "assistant_ids": [self.assistant.1], "lead_classroom_id": self.studio.1,
            "classroom_ids": [self.willow.1],
        })
    }
}

fn id(body: &Value) -> String {
    body["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn every_participant_finds_todays_lesson_with_their_role_in_it() {
    for server in test_servers().await {
        let mut school = school(&server).await;
        let (status, card) = school.admin.post("/api/lessons", school.lesson()).await;
        assert_eq!(
            (status, &card["my_role"]),
            (StatusCode::CREATED, &json!("observer")),
            "{card}"
        );
        assert_eq!(card["classrooms"].as_array().expect("rooms").len(), 3);
        let (mut other, _) = server.signed_in("chen", Role::Teacher).await;
        let (mut observer, _) = server.signed_in("zhao", Role::Observer).await;
        let (mut other_room, _) = server.device("别的教室").await;
        let pages = [
            (&mut school.lead.0, "lead"),
            (&mut school.assistant.0, "assistant"),
            (&mut school.studio.0, "lead_room"),
            (&mut school.willow.0, "listening"),
            (&mut school.bridge.0, "listening"),
            (&mut observer, "observer"),
        ];
        for (page, role) in pages {
            let (_, today) = page.get("/api/today").await;
            assert_eq!(today["lessons"][0]["my_role"], role, "{today}");
            let (_, one) = page.get(&format!("/api/lessons/{}", id(&card))).await;
            assert_eq!(one["my_role"], role);
        }
        for page in [&mut other, &mut other_room] {
            assert_eq!(page.get("/api/today").await.1["lessons"], json!([]));
            assert_eq!(
                page.get(&format!("/api/lessons/{}", id(&card))).await.0,
                StatusCode::NOT_FOUND
            );
        }
        let (_, another_day) = school.lead.0.get("/api/today?date=2020-02-02").await;
        assert_eq!(
            (&another_day["date"], &another_day["lessons"]),
            (&json!("2020-02-02"), &json!([]))
        );
        assert_eq!(
            school.lead.0.get("/api/today?date=2026-13-45").await.0,
            StatusCode::BAD_REQUEST
        );
    }
}

#[tokio::test]
async fn role_in_agrees_with_the_summary() {
    for server in test_servers().await {
        let mut school = school(&server).await;
        let lesson: LessonId = id(&school.admin.post("/api/lessons", school.lesson()).await.1)
            .parse()
            .expect("an id");
        let pages = [
            school.admin,
            school.lead.0,
            school.assistant.0,
            school.studio.0,
            school.willow.0,
            school.bridge.0,
        ];
        for page in pages {
            let token = page
                .cookie
                .as_deref()
                .and_then(|pair| pair.split_once('='))
                .expect("signed in")
                .1;
            let actor: Actor =
                crate::identity::session::find(&server.services.db, token, Timestamp::now())
                    .await
                    .expect("asked")
                    .expect("signed in");
            let role = role_in(&server.services.db, lesson, &actor)
                .await
                .expect("asked");
            let card = lesson_summary(&server.services.db, lesson, &actor)
                .await
                .expect("asked")
                .expect("visible");
            assert_eq!(role, card.my_role);
            let nowhere = role_in(&server.services.db, LessonId::fresh(), &actor)
                .await
                .expect("asked");
            assert_eq!(nowhere, LessonRole::None);
        }
    }
}

#[tokio::test]
async fn teachers_plan_only_their_own_lessons() {
    for server in test_servers().await {
        let mut school = school(&server).await;
        let (status, card) = school.lead.0.post("/api/lessons", school.lesson()).await;
        assert_eq!(
            (status, &card["my_role"]),
            (StatusCode::CREATED, &json!("lead")),
            "{card}"
        );
        let path = format!("/api/lessons/{}", id(&card));
        assert_eq!(
            school
                .assistant
                .0
                .post("/api/lessons", school.lesson())
                .await
                .0,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            school
                .assistant
                .0
                .patch(&path, json!({ "title": "x" }))
                .await
                .0,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            school.assistant.0.delete(&path).await.0,
            StatusCode::FORBIDDEN
        );
        let give_away = json!({ "lead_id": school.assistant.1, "assistant_ids": [] });
        assert_eq!(
            school.lead.0.patch(&path, give_away).await.0,
            StatusCode::FORBIDDEN
        );
        let change = json!({ "title": "古诗三首", "classroom_ids": [school.bridge.1], "lead_classroom_id": null });
        let (status, card) = school.lead.0.patch(&path, change).await;
        assert_eq!(
            (status, &card["title"]),
            (StatusCode::OK, &json!("古诗三首")),
            "{card}"
        );
        assert_eq!(card["classrooms"].as_array().expect("rooms").len(), 1);
        assert_eq!(school.lead.0.delete(&path).await.0, StatusCode::NO_CONTENT);
        assert_eq!(school.lead.0.get(&path).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_lesson_that_began_can_be_neither_changed_nor_deleted_and_begins_only_once() {
    for server in test_servers().await {
        let mut school = school(&server).await;
        let (_, card) = school.admin.post("/api/lessons", school.lesson()).await;
        let (path, db, now) = (
            format!("/api/lessons/{}", id(&card)),
            &server.services.db,
            Timestamp::now(),
        );
        let lesson: LessonId = id(&card).parse().expect("an id");
        assert!(
            !mark_ended(db, lesson, now).await.expect("asked"),
            "it has not begun"
        );
        assert!(mark_live(db, lesson, now).await.expect("asked"));
        assert!(
            !mark_live(db, lesson, now).await.expect("asked"),
            "only once"
        );
        let (status, body) = school.admin.patch(&path, json!({ "title": "x" })).await;
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::CONFLICT, &json!("lesson_not_planned"))
        );
        assert_eq!(school.admin.delete(&path).await.0, StatusCode::CONFLICT);
        set_recording(db, lesson, RecordingState::Ready)
            .await
            .expect("noted");
        assert!(mark_ended(db, lesson, now).await.expect("asked"));
        let (_, card) = school.willow.0.get(&path).await;
        assert_eq!(
            (&card["phase"], &card["recording"]),
            (&json!("ended"), &json!("ready"))
        );
        assert!(
            lesson_status(db, LessonId::fresh())
                .await
                .expect("asked")
                .is_none()
        );
    }
}

#[tokio::test]
async fn a_lesson_resumes_after_a_crash_unless_everybody_had_left_long_before() {
    for server in test_servers().await {
        let mut school = school(&server).await;
        let (db, began) = (
            &server.services.db,
            "2026-11-23T02:00:00Z".parse::<Timestamp>().expect("a time"),
        );
        let minutes = |n: i64| began + SignedDuration::from_mins(n);
        let mut lessons = Vec::new();
        for _ in 0..3 {
            let (_, card) = school.admin.post("/api/lessons", school.lesson()).await;
            lessons.push(id(&card).parse::<LessonId>().expect("an id"));
        }
        let [attended, left, planned] = lessons[..] else {
            panic!("three lessons")
        };
        assert!(mark_live(db, attended, began).await.expect("asked"));
        assert!(mark_live(db, left, began).await.expect("asked"));
        mark_attended(db, attended, minutes(40))
            .await
            .expect("noted");
        mark_attended(db, planned, minutes(40))
            .await
            .expect("asked");
        let resumed = resume_interrupted(db, minutes(30)).await.expect("asked");
        let [interrupted] = &resumed[..] else {
            panic!("{resumed:?}")
        };
        assert_eq!(
            (
                interrupted.id,
                interrupted.began_at,
                interrupted.attended_at
            ),
            (attended, began, minutes(40))
        );
        let phase = async |lesson| {
            lesson_status(db, lesson)
                .await
                .expect("asked")
                .expect("a lesson")
                .phase
        };
        assert_eq!(phase(attended).await, Phase::Live);
        assert_eq!(phase(left).await, Phase::Ended);
        assert_eq!(phase(planned).await, Phase::Planned);
        assert_eq!(
            resume_interrupted(db, minutes(30)).await.expect("asked"),
            resumed,
            "a crash while starting"
        );
    }
}

#[tokio::test]
async fn invalid_lessons_are_rejected_by_field() {
    for server in test_servers().await {
        let mut school = school(&server).await;
        let (_, observer) = server.signed_in("zhao", Role::Observer).await;
        let nowhere = ClassroomId::fresh();
        let cases = [
            (json!({ "title": " " }), "title"),
            (json!({ "subject": "太长".repeat(20) }), "subject"),
            (json!({ "ends_at": "2020-01-01T00:00:00Z" }), "ends_at"),
            (json!({ "ends_at": "tomorrow" }), "ends_at"),
            (json!({ "lead_id": observer }), "lead_id"),
            (json!({ "assistant_ids": [school.lead.1] }), "assistant_ids"),
            (
                json!({ "assistant_ids": [school.assistant.1, school.assistant.1] }),
                "assistant_ids",
            ),
            (
                json!({ "classroom_ids": [school.willow.1, nowhere] }),
                "classroom_ids",
            ),
            (
                json!({ "classroom_ids": [school.studio.1] }),
                "classroom_ids",
            ),
            (
                json!({ "classroom_ids": vec![nowhere; 51] }),
                "classroom_ids",
            ),
            (json!({ "lead_classroom_id": nowhere }), "lead_classroom_id"),
        ];
        for (wrong, field) in cases {
            let mut form = school.lesson();
            for (key, value) in wrong.as_object().expect("fields") {
                form[key] = value.clone();
            }
            let (status, body) = school.admin.post("/api/lessons", form).await;
            assert_eq!(
                (status, &body["field"]),
                (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)),
                "{body}"
            );
        }
    }
}

/// Creates a term of four weeks from today and a period at the end of the day.
async fn term_and_period(admin: &mut TestClient) -> (String, String) {
    let today = Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::get("Asia/Shanghai").expect("built in"))
        .date();
    let ends = today.checked_add(Span::new().days(27)).expect("in range");
    let (status, term) = admin
        .post(
            "/api/terms",
            json!({ "name": "秋季学期", "starts_on": today, "ends_on": ends }),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED, "{term}");
    let (status, period) = admin
        .post(
            "/api/periods",
            json!({ "name": "晚自习", "starts": "23:50", "ends": "23:59" }),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED, "{period}");
    (id(&term), id(&period))
}

async fn lessons_of(server: &TestServer, page: &TestClient) -> Vec<LessonSummary> {
    let token = page
        .cookie
        .as_deref()
        .and_then(|pair| pair.split_once('='))
        .expect("signed in")
        .1;
    let actor = crate::identity::session::find(&server.services.db, token, Timestamp::now())
        .await
        .expect("asked");
    let (from, to) = (
        Timestamp::now(),
        Timestamp::now() + SignedDuration::from_hours(24 * 400),
    );
    lesson_summaries(
        &server.services.db,
        LessonFilter::Between(from, to),
        &actor.expect("signed in"),
    )
    .await
    .expect("asked")
}

#[tokio::test]
async fn a_series_creates_its_lessons_and_recreates_them_when_it_changes() {
    for server in test_servers().await {
        let mut school = school(&server).await;
        let (term, period) = term_and_period(&mut school.admin).await;
        let (status, series) = school
            .admin
            .post("/api/series", school.series(&term, &period, 3))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{series}");
        let lessons = lessons_of(&server, &school.willow.0).await;
        assert_eq!(lessons.len(), 4, "one Wednesday a week");
        assert!(
            lessons
                .iter()
                .all(|lesson| lesson.period.as_deref() == Some("晚自习"))
        );
        assert!(lessons.iter().all(|lesson| {
            lesson
                .series
                .as_ref()
                .is_some_and(|s| s.name == "语文专递课堂")
        }));
        assert!(
            lessons
                .iter()
                .all(|lesson| lesson.starts_at.to_string().ends_with("T15:50:00Z")),
            "23:50 in Shanghai"
        );

        // A lesson that has begun stays when its series changes.
        mark_live(&server.services.db, lessons[0].id, Timestamp::now())
            .await
            .expect("begun");
        let path = format!("/api/series/{}", id(&series));
        let (status, _) = school
            .admin
            .patch(
                &path,
                json!({ "weekday": 5, "classroom_ids": [school.bridge.1] }),
            )
            .await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(lessons_of(&server, &school.willow.0).await.len(), 1);
        assert_eq!(lessons_of(&server, &school.bridge.0).await.len(), 4);
        let (status, _) = school
            .admin
            .patch(
                &format!("/api/periods/{period}"),
                json!({ "starts": "23:40" }),
            )
            .await;
        assert_eq!(status, StatusCode::OK);
        let lessons = lessons_of(&server, &school.bridge.0).await;
        assert!(
            lessons
                .iter()
                .all(|lesson| lesson.starts_at.to_string().ends_with("T15:40:00Z"))
        );

        for path in [
            format!("/api/terms/{term}"),
            format!("/api/periods/{period}"),
        ] {
            assert_eq!(
                school.admin.delete(&path).await.0,
                StatusCode::CONFLICT,
                "{path}"
            );
        }
        assert_eq!(school.admin.delete(&path).await.0, StatusCode::NO_CONTENT);
        assert_eq!(lessons_of(&server, &school.bridge.0).await.len(), 0);
        let kept = lessons_of(&server, &school.willow.0).await;
        assert!(kept.len() == 1 && kept[0].series.is_none());
        for path in [
            format!("/api/terms/{term}"),
            format!("/api/periods/{period}"),
        ] {
            assert_eq!(
                school.admin.delete(&path).await.0,
                StatusCode::NO_CONTENT,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn invalid_terms_periods_and_series_are_rejected_by_field() {
    for server in test_servers().await {
        let mut school = school(&server).await;
        let (term, period) = term_and_period(&mut school.admin).await;
        let nowhere = TermId::fresh().to_string();
        let cases = [
            (
                "/api/terms",
                json!({ "name": "x", "starts_on": "2026-09-01", "ends_on": "2026-08-01" }),
                "ends_on",
            ),
            (
                "/api/terms",
                json!({ "name": "x", "starts_on": "2026-09-01", "ends_on": "2028-08-01" }),
                "ends_on",
            ),
            (
                "/api/terms",
                json!({ "name": "x", "starts_on": "1 September", "ends_on": "2026-08-01" }),
                "starts_on",
            ),
            (
                "/api/periods",
                json!({ "name": "x", "starts": "8:00", "ends": "09:00" }),
                "starts",
            ),
            (
                "/api/periods",
                json!({ "name": "x", "starts": "08:00", "ends": "07:00" }),
                "ends",
            ),
            ("/api/series", school.series(&term, &period, 8), "weekday"),
            (
                "/api/series",
                school.series(&nowhere, &period, 1),
                "term_id",
            ),
            (
                "/api/series",
                school.series(&term, &nowhere, 1),
                "period_id",
            ),
        ];
        for (path, form, field) in cases {
            let (status, body) = school.admin.post(path, form).await;
            assert_eq!(
                (status, &body["field"]),
                (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)),
                "{path}: {body}"
            );
        }
        assert_eq!(
            school.admin.get("/api/series").await.1,
            json!({ "items": [] }),
            "nothing was half added"
        );
    }
}

#[tokio::test]
async fn after_the_end_of_a_lesson_its_recording_is_finishing() {
    for server in test_servers().await {
        let mut school = school(&server).await;
        let lesson: LessonId = id(&school.admin.post("/api/lessons", school.lesson()).await.1)
            .parse()
            .expect("an id");
        let db = &server.services.db;
        assert!(
            mark_live(db, lesson, Timestamp::now())
                .await
                .expect("written")
        );
        set_recording(db, lesson, RecordingState::Recording)
            .await
            .expect("written");
        let mut states = Vec::new();
        states.push(
            school.lead.0.get(&format!("/api/lessons/{lesson}")).await.1["recording"].clone(),
        );
        assert!(
            mark_ended(db, lesson, Timestamp::now())
                .await
                .expect("written")
        );
        states.push(
            school.lead.0.get(&format!("/api/lessons/{lesson}")).await.1["recording"].clone(),
        );
        set_recording(db, lesson, RecordingState::Ready)
            .await
            .expect("written");
        states.push(
            school.lead.0.get(&format!("/api/lessons/{lesson}")).await.1["recording"].clone(),
        );
        assert_eq!(states, ["recording", "finishing", "ready"]);
    }
}

#[tokio::test]
async fn recordings_are_paginated_and_visible_to_participants_only() {
    for server in test_servers().await {
        let mut school = school(&server).await;
        let (mut other, other_id) = server.signed_in("chen", Role::Teacher).await;
        let mut lessons = Vec::new();
        for n in 0..5 {
            let mut form = school.lesson();
            form["starts_at"] = json!(Timestamp::now() - SignedDuration::from_hours(24 * n));
            form["ends_at"] = json!(Timestamp::now() - SignedDuration::from_hours(24 * n - 1));
            // The fourth lesson is led by another teacher.
            if n == 3 {
                form["lead_id"] = json!(other_id);
                form["assistant_ids"] = json!([]);
            }
            let lesson: LessonId = id(&school.admin.post("/api/lessons", form).await.1)
                .parse()
                .expect("an id");
            set_recording(&server.services.db, lesson, RecordingState::Ready)
                .await
                .expect("written");
            sqlx::query("INSERT INTO recordings (lesson_id, state, started_at, duration_ms, has_poster, has_voices) VALUES ($1, 'ready', 0, 60000, 0, 0)")
                .bind(lesson)
                .execute(server.services.db.pool())
                .await
                .expect("written");
            lessons.push(lesson);
        }
        let listed = |body: &Value| -> Vec<LessonId> {
            let all = body["recordings"].as_array().expect("a list").iter();
            all.map(|one| {
                one["lesson"]["id"]
                    .as_str()
                    .expect("an id")
                    .parse()
                    .expect("an id")
            })
            .collect()
        };
        let (_, first) = school.admin.get("/api/recordings?per_page=2").await;
        assert_eq!(
            (listed(&first), &first["total"]),
            (lessons[..2].to_vec(), &json!(5))
        );
        assert_eq!(
            listed(
                &school
                    .admin
                    .get("/api/recordings?per_page=2&page=2")
                    .await
                    .1
            ),
            lessons[4..]
        );
        assert_eq!(
            listed(
                &school
                    .admin
                    .get("/api/recordings?per_page=2&page=3")
                    .await
                    .1
            ),
            []
        );

        let mine = [lessons[0], lessons[1], lessons[2], lessons[4]];
        let (_, list) = school.lead.0.get("/api/recordings").await;
        assert_eq!((listed(&list), &list["total"]), (mine.to_vec(), &json!(4)));
        let by_id = format!("/api/recordings?ids={},{},nonsense", lessons[4], lessons[3]);
        assert_eq!(
            listed(&school.lead.0.get(&by_id).await.1),
            [lessons[4]],
            "the other's lesson is not listed"
        );
        assert_eq!(listed(&other.get(&by_id).await.1), [lessons[3]]);
        assert_eq!(listed(&other.get("/api/recordings?ids=").await.1), []);
    }
}
