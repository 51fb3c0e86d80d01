//! Communities, schools and classrooms, on both databases.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::identity::Role;
use crate::testing::{TestClient, test_servers};

async fn added(page: &mut TestClient, path: &str, form: Value) -> String {
    let (status, body) = page.post(path, form).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    body["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn communities_schools_and_classrooms_are_added_and_removed_in_order() {
    for server in test_servers().await {
        let (mut admin, _) = server.signed_in("admin", Role::Administrator).await;
        let community = added(
            &mut admin,
            "/api/communities",
            json!({ "name": "第一实验小学共同体", "county": "清河县" }),
        )
        .await;
        let school = json!({ "community_id": community, "name": "柳林村小学", "role": "member", "membership": "close" });
        let school = added(&mut admin, "/api/schools", school).await;
        let room = added(
            &mut admin,
            "/api/classrooms",
            json!({ "school_id": school, "name": "三年级" }),
        )
        .await;

        let (_, rooms) = admin.get("/api/classrooms").await;
        assert_eq!(rooms["items"][0]["school"]["name"], "柳林村小学");
        assert_eq!(rooms["items"][0]["has_pass"], false);
        let (status, changed) = admin
            .patch(
                &format!("/api/schools/{school}"),
                json!({ "membership": "allied" }),
            )
            .await;
        assert_eq!(
            (status, &changed["membership"], &changed["name"]),
            (StatusCode::OK, &json!("allied"), &json!("柳林村小学"))
        );
        let (_, changed) = admin
            .patch(
                &format!("/api/communities/{community}"),
                json!({ "county": "清水县" }),
            )
            .await;
        assert_eq!(
            (&changed["county"], &changed["name"]),
            (&json!("清水县"), &json!("第一实验小学共同体"))
        );
        let (_, changed) = admin
            .patch(
                &format!("/api/classrooms/{room}"),
                json!({ "name": "三年级一班" }),
            )
            .await;
        assert_eq!(changed["name"], "三年级一班");

        // A referenced school or community is not deleted.
        for (path, code) in [
            (format!("/api/communities/{community}"), "community_in_use"),
            (format!("/api/schools/{school}"), "school_in_use"),
        ] {
            let (status, body) = admin.delete(&path).await;
            assert_eq!(
                (status, &body["code"]),
                (StatusCode::CONFLICT, &json!(code))
            );
        }
        for path in [
            format!("/api/classrooms/{room}"),
            format!("/api/schools/{school}"),
            format!("/api/communities/{community}"),
        ] {
            assert_eq!(
                admin.delete(&path).await.0,
                StatusCode::NO_CONTENT,
                "{path}"
            );
            assert_eq!(admin.delete(&path).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }
}

#[tokio::test]
async fn invalid_forms_are_rejected() {
    for server in test_servers().await {
        let (mut admin, _) = server.signed_in("admin", Role::Administrator).await;
        let nowhere = "01900000-0000-7000-8000-000000000000";
        let cases = [
            (
                "/api/communities",
                json!({ "name": " ", "county": "清河县" }),
                "name",
            ),
            (
                "/api/schools",
                json!({ "community_id": null, "name": "x", "role": "core", "membership": "close" }),
                "membership",
            ),
            (
                "/api/schools",
                json!({ "community_id": nowhere, "name": "x", "role": "core", "membership": null }),
                "community_id",
            ),
            (
                "/api/classrooms",
                json!({ "school_id": nowhere, "name": "x" }),
                "school_id",
            ),
            (
                "/api/classrooms",
                json!({ "school_id": server.school, "name": "换\n行" }),
                "name",
            ),
        ];
        for (path, form, field) in cases {
            let (status, body) = admin.post(path, form).await;
            assert_eq!(
                (status, &body["field"]),
                (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)),
                "{path}: {body}"
            );
        }
    }
}
