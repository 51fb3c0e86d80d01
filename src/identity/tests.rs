//! Sign-in, sessions and accounts, on both databases.

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Role, create_setup_link, session};
use crate::testing::{PASSWORD, test_servers};

fn client() -> session::ClientInfo {
    session::ClientInfo {
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        user_agent: "a browser".into(),
    }
}

#[tokio::test]
async fn a_teacher_signs_in_and_out() {
    for server in test_servers().await {
        let (mut page, id) = server.signed_in("wang.xuemei", Role::Teacher).await;
        let (status, me) = page.get("/api/session").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            (&me["kind"], &me["role"], &me["id"]),
            (&json!("person"), &json!("teacher"), &json!(id.to_string()))
        );
        assert_eq!(me["school"]["name"], "实验小学");
        let cookie = page.cookie.clone();
        assert_eq!(page.delete("/api/session").await.0, StatusCode::NO_CONTENT);
        page.cookie = cookie;
        assert_eq!(
            page.get("/api/session").await.0,
            StatusCode::UNAUTHORIZED,
            "the server forgot the session"
        );
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_login_get_the_same_answer() {
    for server in test_servers().await {
        server.person("wang", Role::Teacher).await;
        let mut page = server.client();
        let wrong = page
            .post(
                "/api/session",
                json!({ "login": "wang", "password": "wrong" }),
            )
            .await;
        let unknown = page
            .post(
                "/api/session",
                json!({ "login": "nobody", "password": "wrong" }),
            )
            .await;
        assert_eq!(wrong, unknown);
        assert_eq!(
            (wrong.0, &wrong.1["code"]),
            (StatusCode::UNAUTHORIZED, &json!("wrong_sign_in"))
        );
        let (status, _) = page
            .post(
                "/api/session",
                json!({ "login": " WANG ", "password": PASSWORD }),
            )
            .await;
        assert_eq!(
            status,
            StatusCode::OK,
            "case and spaces of the name do not matter"
        );
    }
}

#[tokio::test]
async fn repeated_failures_are_rate_limited_with_an_explanation() {
    for server in test_servers().await {
        server.person("wang", Role::Teacher).await;
        let mut page = server.client();
        let guess = json!({ "login": "wang", "password": "guess" });
        for _ in 0..server.services.config.limits.sign_in_tries {
            assert_eq!(
                page.post("/api/session", guess.clone()).await.0,
                StatusCode::UNAUTHORIZED
            );
        }
        let (status, body) = page
            .post(
                "/api/session",
                json!({ "login": "wang", "password": PASSWORD }),
            )
            .await;
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::TOO_MANY_REQUESTS, &json!("too_many_requests"))
        );
        assert!(
            body["message"]
                .as_str()
                .is_some_and(|text| text.contains("秒")),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_classroom_signs_in_with_its_pass_until_the_pass_is_replaced() {
    for server in test_servers().await {
        let (mut device, id) = server.device("柳林村小学三年级").await;
        let (_, me) = device.get("/api/session").await;
        assert_eq!(
            (&me["kind"], &me["name"]),
            (&json!("classroom"), &json!("柳林村小学三年级"))
        );
        let (mut admin, _) = server.signed_in("admin", Role::Administrator).await;
        let (status, fresh) = admin
            .post(&format!("/api/classrooms/{id}/pass"), json!({}))
            .await;
        assert_eq!(status, StatusCode::OK);
        let url = fresh["url"].as_str().expect("an address");
        assert!(url.ends_with(&format!(
            "/room/{}",
            fresh["pass"].as_str().expect("a pass")
        )));
        assert_eq!(
            device.get("/api/session").await.0,
            StatusCode::UNAUTHORIZED,
            "the old pass's device is out"
        );
        let (status, _) = device
            .post("/api/session/pass", json!({ "pass": fresh["pass"] }))
            .await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            admin.delete(&format!("/api/classrooms/{id}/pass")).await.0,
            StatusCode::NO_CONTENT
        );
        let (status, body) = device
            .post("/api/session/pass", json!({ "pass": fresh["pass"] }))
            .await;
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::UNAUTHORIZED, &json!("wrong_pass"))
        );
    }
}

#[tokio::test]
async fn the_first_administrator_is_created_once_through_the_printed_link() {
    for server in test_servers().await {
        let mut page = server.client();
        assert_eq!(page.get("/api/setup").await.1, json!({ "needed": true }));
        let void = create_setup_link(&server.services.db, Timestamp::now())
            .await
            .expect("made");
        let token = create_setup_link(&server.services.db, Timestamp::now())
            .await
            .expect("made");
        let form = |token: &str, password: &str| json!({ "token": token, "name": "周敏", "login": "zhoumin", "password": password });
        for wrong in ["", "guess", &void] {
            assert_eq!(
                page.post("/api/setup", form(wrong, PASSWORD)).await.0,
                StatusCode::NOT_FOUND,
                "{wrong:?}"
            );
        }
        let (status, body) = page.post("/api/setup", form(&token, "short")).await;
        assert_eq!(
            (status, &body["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("password")),
            "the link is not used up"
        );
        let (status, me) = page.post("/api/setup", form(&token, PASSWORD)).await;
        assert_eq!(
            (status, &me["role"]),
            (StatusCode::OK, &json!("administrator"))
        );
        assert_eq!(
            page.get("/api/people").await.0,
            StatusCode::OK,
            "signed in at once"
        );
        assert_eq!(page.get("/api/setup").await.1, json!({ "needed": false }));
        assert_eq!(
            server
                .client()
                .post("/api/setup", form(&token, PASSWORD))
                .await
                .0,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn a_setup_link_expires_after_a_day() {
    for server in test_servers().await {
        let made = Timestamp::now() - SignedDuration::from_hours(24);
        let token = create_setup_link(&server.services.db, made)
            .await
            .expect("made");
        let form =
            json!({ "token": token, "name": "周敏", "login": "zhoumin", "password": PASSWORD });
        assert_eq!(
            server.client().post("/api/setup", form).await.0,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn changing_the_password_closes_the_other_sessions() {
    for server in test_servers().await {
        let (mut here, _) = server.signed_in("wang", Role::Teacher).await;
        let mut elsewhere = server.sign_in("wang").await;
        let change = |old: &str, new: &str| Some(json!({ "old": old, "new": new }));
        let (status, body) = here
            .send(
                "PUT",
                "/api/session/password",
                change("wrong", "another good one"),
            )
            .await;
        assert_eq!(
            (status, &body["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("old"))
        );
        let (status, _) = here
            .send(
                "PUT",
                "/api/session/password",
                change(PASSWORD, "another good one"),
            )
            .await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(here.get("/api/session").await.0, StatusCode::OK);
        assert_eq!(
            elsewhere.get("/api/session").await.0,
            StatusCode::UNAUTHORIZED
        );
    }
}

#[tokio::test]
async fn a_used_session_is_extended_and_an_idle_one_expires() {
    for server in test_servers().await {
        let person = server.person("wang", Role::Teacher).await;
        let (db, begun) = (&server.services.db, Timestamp::now());
        let days = |n: i64| begun + SignedDuration::from_hours(24 * n);
        let token = session::open(db, session::Owner::Person(person), &client(), begun)
            .await
            .expect("opened");
        assert!(
            session::find(db, &token, days(29))
                .await
                .expect("asked")
                .is_some()
        );
        assert!(
            session::find(db, &token, days(58))
                .await
                .expect("asked")
                .is_some(),
            "its use moved the end"
        );
        assert!(
            session::find(db, &token, days(89))
                .await
                .expect("asked")
                .is_none()
        );
        let room = server.classroom("三年级").await;
        let token = session::open(db, session::Owner::Classroom(room), &client(), begun)
            .await
            .expect("opened");
        assert!(
            session::find(db, &token, days(300))
                .await
                .expect("asked")
                .is_some()
        );
    }
}

#[tokio::test]
async fn a_new_session_evicts_the_oldest() {
    for server in test_servers().await {
        let (db, begun) = (&server.services.db, Timestamp::now());
        let (person, room) = (
            server.person("wang", Role::Teacher).await,
            server.classroom("三年级").await,
        );
        let device = session::open(db, session::Owner::Classroom(room), &client(), begun)
            .await
            .expect("opened");
        let mut tokens = Vec::new();
        for second in 0..103 {
            let at = begun + SignedDuration::from_secs(second);
            tokens.push(
                session::open(db, session::Owner::Person(person), &client(), at)
                    .await
                    .expect("opened"),
            );
        }
        for (n, token) in tokens.iter().enumerate() {
            assert_eq!(
                session::find(db, token, begun)
                    .await
                    .expect("asked")
                    .is_some(),
                n >= 3,
                "{n}"
            );
        }
        assert!(
            session::find(db, &device, begun)
                .await
                .expect("asked")
                .is_some(),
            "others are not touched"
        );
    }
}

#[tokio::test]
async fn an_administrator_manages_people_and_the_last_one_stays() {
    for server in test_servers().await {
        let (mut admin, me) = server.signed_in("admin", Role::Administrator).await;
        let new = json!({ "school_id": server.school, "name": "李小燕", "login": "LiXiaoyan", "role": "teacher" });
        let (status, added) = admin.post("/api/people", new.clone()).await;
        assert_eq!(
            (status, &added["login"]),
            (StatusCode::CREATED, &json!("lixiaoyan")),
            "{added}"
        );
        let password = added["initial_password"]
            .as_str()
            .expect("told once")
            .to_owned();
        let mut page = server.client();
        let (status, _) = page
            .post(
                "/api/session",
                json!({ "login": "lixiaoyan", "password": password }),
            )
            .await;
        assert_eq!(status, StatusCode::OK);
        let (status, body) = admin.post("/api/people", new).await;
        assert_eq!(
            (status, &body["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("login"))
        );

        let path = format!("/api/people/{}", added["id"].as_str().expect("an id"));
        let (status, changed) = admin
            .patch(&path, json!({ "name": "李晓燕", "school_id": null }))
            .await;
        assert_eq!(
            (status, &changed["name"], &changed["school"]),
            (StatusCode::OK, &json!("李晓燕"), &json!(null))
        );
        let (status, fresh) = admin.post(&format!("{path}/password"), json!({})).await;
        assert_eq!(status, StatusCode::OK);
        assert!(fresh["initial_password"].is_string());
        assert_eq!(
            page.get("/api/session").await.0,
            StatusCode::UNAUTHORIZED,
            "a new password ends sessions"
        );

        assert_eq!(admin.delete(&path).await.0, StatusCode::NO_CONTENT);
        assert_eq!(admin.delete(&path).await.0, StatusCode::NOT_FOUND);
        let own = format!("/api/people/{me}");
        for (status, body) in [
            admin.delete(&own).await,
            admin.patch(&own, json!({ "role": "teacher" })).await,
        ] {
            assert_eq!(
                (status, &body["code"]),
                (StatusCode::CONFLICT, &json!("last_administrator"))
            );
        }
        let (_, people) = admin.get("/api/people").await;
        assert_eq!(people["items"].as_array().expect("a list").len(), 1);
    }
}

#[tokio::test]
async fn invalid_forms_name_the_field() {
    for server in test_servers().await {
        let (mut admin, _) = server.signed_in("admin", Role::Administrator).await;
        let nowhere = crate::ids::SchoolId::fresh();
        let person = |name: &str, login: &str, school| json!({ "school_id": school, "name": name, "login": login, "role": "teacher" });
        let cases = [
            (person("", "ok", None), "name"),
            (person(&"长".repeat(41), "ok", None), "name"),
            (person("好", "有空格 的", None), "login"),
            (person("好", "x", None), "login"),
            (person("好", "good", Some(nowhere)), "school_id"),
            (
                json!({ "school_id": null, "name": "好", "login": "good", "role": "king" }),
                "role",
            ),
            (
                json!({ "school_id": null, "name": "好", "login": "good", "role": "teacher", "password": "short" }),
                "password",
            ),
        ];
        for (form, field) in cases {
            let (status, body) = admin.post("/api/people", form).await;
            assert_eq!(
                (status, &body["field"]),
                (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn a_password_that_an_administrator_has_seen_is_replaced_before_anything_else() {
    for server in test_servers().await {
        let (mut admin, _) = server.signed_in("admin", Role::Administrator).await;
        let form = json!({ "name": "王老师", "login": "wang", "role": "teacher", "school_id": server.school });
        let (status, added) = admin.post("/api/people", form).await;
        assert_eq!(status, StatusCode::CREATED, "{added}");
        let mut wang = server.client();
        let first = added["initial_password"].as_str().expect("a password");
        let (status, me) = wang
            .post(
                "/api/session",
                json!({ "login": "wang", "password": first }),
            )
            .await;
        assert_eq!(
            (status, &me["must_change_password"]),
            (StatusCode::OK, &json!(true)),
            "{me}"
        );
        for path in ["/api/today", "/api/schools", "/api/sessions"] {
            let (status, body) = wang.get(path).await;
            assert_eq!(
                (status, &body["code"]),
                (StatusCode::FORBIDDEN, &json!("password_change_required"))
            );
        }
        let change = json!({ "old": first, "new": "four unrelated garden words" });
        let (status, body) = wang
            .send("PUT", "/api/session/password", Some(change))
            .await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
        assert_eq!(wang.get("/api/today").await.0, StatusCode::OK);
        let path = format!(
            "/api/people/{}/password",
            added["id"].as_str().expect("an id")
        );
        let (_, reset) = admin.post(&path, json!({})).await;
        let second = reset["initial_password"].as_str().expect("a password");
        let (_, me) = wang
            .post(
                "/api/session",
                json!({ "login": "wang", "password": second }),
            )
            .await;
        assert_eq!(me["must_change_password"], json!(true), "after a reset");
    }
}

#[tokio::test]
async fn a_person_sees_their_sessions_and_closes_one() {
    for server in test_servers().await {
        let (mut laptop, _) = server.signed_in("wang", Role::Teacher).await;
        let mut lost = server.sign_in("wang").await;
        let (_, body) = laptop.get("/api/sessions").await;
        let items = body["items"].as_array().expect("a list").clone();
        assert_eq!(items.len(), 2, "{body}");
        let other = items
            .iter()
            .find(|item| item["current"] == json!(false))
            .expect("the lost one");
        let path = format!("/api/sessions/{}", other["id"].as_str().expect("an id"));
        assert_eq!(laptop.delete(&path).await.0, StatusCode::NO_CONTENT);
        assert_eq!(
            laptop.delete(&path).await.0,
            StatusCode::NOT_FOUND,
            "closed already"
        );
        assert_eq!(lost.get("/api/session").await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(laptop.get("/api/session").await.0, StatusCode::OK);
        let (mut stranger, _) = server.signed_in("li", Role::Teacher).await;
        let own = &laptop.get("/api/sessions").await.1["items"][0]["id"];
        let path = format!("/api/sessions/{}", own.as_str().expect("an id"));
        assert_eq!(
            stranger.delete(&path).await.0,
            StatusCode::NOT_FOUND,
            "another's session"
        );
    }
}

#[tokio::test]
async fn a_session_ends_after_its_absolute_lifetime_however_often_it_is_used() {
    let server = &test_servers().await[0];
    let db = &server.services.db;
    let person = server.person("wang", Role::Teacher).await;
    let begun = Timestamp::now();
    let token = session::open(db, session::Owner::Person(person), &client(), begun)
        .await
        .expect("opened");
    let day = |n: i64| begun + jiff::SignedDuration::from_hours(24 * n);
    for n in (20..150).step_by(20) {
        assert!(
            session::find(db, &token, day(n))
                .await
                .expect("read")
                .is_some(),
            "day {n}"
        );
    }
    assert_eq!(
        session::find(db, &token, day(151)).await.expect("read"),
        None
    );
}

#[tokio::test]
async fn strangers_cannot_lock_a_person_out_of_their_own_computer() {
    let server = &test_servers().await[0];
    server.person("wang", Role::Teacher).await;
    let right = json!({ "login": "wang", "password": crate::testing::PASSWORD });
    let mut own = server.client();
    let response = own.raw_response("POST", "/api/session", &right, None).await;
    let device = cookies(&response)
        .into_iter()
        .find(|c| c.starts_with("tongke_device="))
        .expect("a device");
    let mut stranger = server.client();
    let wrong = json!({ "login": "wang", "password": "wrong wrong wrong" });
    while stranger.post("/api/session", wrong.clone()).await.0 != StatusCode::TOO_MANY_REQUESTS {}
    let (status, _) = server.client().post("/api/session", right.clone()).await;
    assert_eq!(
        status,
        StatusCode::TOO_MANY_REQUESTS,
        "an unknown browser in the same network"
    );
    let response = server
        .client()
        .raw_response("POST", "/api/session", &right, Some(&device))
        .await;
    assert_eq!(response.status(), StatusCode::OK, "the known one");
}

fn cookies(response: &axum::response::Response) -> Vec<String> {
    let values = response
        .headers()
        .get_all(axum::http::header::SET_COOKIE)
        .into_iter();
    values
        .map(|v| {
            v.to_str()
                .expect("ASCII")
                .split(';')
                .next()
                .expect("a pair")
                .to_owned()
        })
        .collect()
}
