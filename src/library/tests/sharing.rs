//! Visibility, reviews and search results per reader.

use super::*;

#[tokio::test]
async fn each_reader_sees_exactly_the_resources_whose_visibility_includes_them() {
    for server in test_servers().await {
        let new = NewCommunity {
            name: "教育共同体".into(),
            county: "清河县".into(),
        };
        let community = schools::add_community(&server.services.db, new)
            .await
            .expect("added")
            .id;
        let core = school(&server, "第一实验小学", Some(community)).await;
        let member = school(&server, "柳林村小学", Some(community)).await;
        let stranger = school(&server, "外县小学", None).await;
        let mut owner = teacher_of(&server, core, "wang").await;
        let readers = [
            ("colleague", teacher_of(&server, core, "chen").await, 1),
            ("member", teacher_of(&server, member, "li").await, 2),
            ("county", teacher_of(&server, stranger, "zhao").await, 3),
            ("anonymous", server.client(), 4),
        ];
        let id = upload(
            &owner,
            &server,
            PLAN.as_bytes(),
            &[("filename", "教案.txt"), ("visibility", "private")],
        )
        .await;
        let parts = ["", "/file", "/text", "/pages", "/comments", "/links"];
        for (level, visibility) in ["private", "school", "community", "county", "public"]
            .iter()
            .enumerate()
        {
            let change = json!({ "visibility": visibility });
            let (status, body) = owner.patch(&format!("/api/resources/{id}"), change).await;
            assert_eq!(
                (status, &body["visibility"]),
                (StatusCode::OK, &json!(visibility)),
                "{body}"
            );
            for (who, page, needs) in &readers {
                let sees = level >= *needs;
                for part in parts {
                    let (status, _) = page
                        .clone()
                        .get(&format!("/api/resources/{id}{part}"))
                        .await;
                    let expected = if sees {
                        StatusCode::OK
                    } else {
                        StatusCode::NOT_FOUND
                    };
                    assert_eq!(status, expected, "{who}: {part} of what is {visibility}");
                }
                let (_, list) = page.clone().get("/api/resources").await;
                assert_eq!(
                    list["total"],
                    i64::from(sees),
                    "{who}: the list with what is {visibility}"
                );
            }
        }
        let (status, _) = readers[0]
            .1
            .clone()
            .patch(&format!("/api/resources/{id}"), json!({ "title": "我的" }))
            .await;
        assert_eq!(status, StatusCode::FORBIDDEN, "a reader may not change it");
        assert_eq!(
            owner.delete(&format!("/api/resources/{id}")).await.0,
            StatusCode::NO_CONTENT
        );
        assert_eq!(
            owner.get(&format!("/api/resources/{id}")).await.0,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn a_school_can_require_a_review_before_publication() {
    for server in test_servers().await {
        let (mut admin, _) = server.signed_in("admin", Role::Administrator).await;
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        let (mut chen, reviewer) = server.signed_in("chen", Role::Teacher).await;
        let (mut li, _) = server.signed_in("li", Role::Teacher).await;
        let setting = format!("/api/schools/{}/library", server.school);
        let form = json!({ "reviews": true, "reviewer_ids": [reviewer] });
        assert_eq!(
            admin.send("PUT", &setting, Some(form)).await.0,
            StatusCode::NO_CONTENT
        );
        let id = upload(
            &wang,
            &server,
            b"first",
            &[("filename", "a.txt"), ("visibility", "county")],
        )
        .await;
        let path = format!("/api/resources/{id}");
        let (_, mine) = wang.get(&path).await;
        assert_eq!(
            (
                &mine["review"],
                &mine["visibility"],
                &mine["asked_visibility"]
            ),
            (&json!("pending"), &json!("private"), &json!("county"))
        );
        assert_eq!(li.get(&path).await.0, StatusCode::NOT_FOUND);
        let (_, waiting) = chen.get("/api/resources?to_review=true").await;
        assert_eq!(waiting["items"][0]["id"], id.as_str());
        let decide = |action: &str| json!({ "action": action, "note": "请补充教学目标" });
        assert_eq!(
            li.post(&format!("{path}/review"), decide("approve"))
                .await
                .0,
            StatusCode::NOT_FOUND
        );
        assert_eq!(
            chen.post(&format!("{path}/review"), decide("return"))
                .await
                .0,
            StatusCode::NO_CONTENT
        );
        let (_, mine) = wang.get(&path).await;
        assert_eq!(
            (&mine["review"], &mine["review_note"]),
            (&json!("returned"), &json!("请补充教学目标"))
        );
        assert_eq!(
            wang.post(&format!("{path}/review"), decide("submit"))
                .await
                .0,
            StatusCode::NO_CONTENT
        );
        assert_eq!(
            chen.post(&format!("{path}/review"), decide("approve"))
                .await
                .0,
            StatusCode::NO_CONTENT
        );
        let (status, seen) = li.get(&path).await;
        assert_eq!(
            (status, &seen["visibility"]),
            (StatusCode::OK, &json!("county"))
        );
        // A new version is pending; others still see the approved one.
        upload(
            &wang,
            &server,
            b"second",
            &[
                ("filename", "a.txt"),
                ("resource", &id),
                ("changes", "补充了目标"),
            ],
        )
        .await;
        assert_eq!(li.get(&path).await.1["version"], 1);
        assert_eq!(
            li.get(&format!("{path}/file?version=2")).await.0,
            StatusCode::NOT_FOUND
        );
        let (_, mine) = wang.get(&path).await;
        assert_eq!(
            (
                &mine["version"],
                &mine["published"],
                &mine["versions"][0]["changes"]
            ),
            (&json!(2), &json!(1), &json!("补充了目标"))
        );
        chen.post(&format!("{path}/review"), decide("approve"))
            .await;
        assert_eq!(li.get(&path).await.1["version"], 2);
        // Narrowing visibility needs no review.
        let (_, mine) = wang.patch(&path, json!({ "visibility": "private" })).await;
        assert_eq!(
            (&mine["visibility"], &mine["review"]),
            (&json!("private"), &json!("approved"))
        );
        assert_eq!(li.get(&path).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn search_finds_resources_only_for_readers_who_may_see_them() {
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        let (mut li, _) = server.signed_in("li", Role::Teacher).await;
        let other = school(&server, "石桥村小学", None).await;
        let mut zhao = teacher_of(&server, other, "zhao").await;
        let id = upload(
            &wang,
            &server,
            b"content",
            &[("filename", "富饶的西沙群岛.txt"), ("visibility", "school")],
        )
        .await;
        let collection = json!({ "title": "西沙资料合集", "visibility": "county" });
        assert_eq!(
            wang.post("/api/collections", collection).await.0,
            StatusCode::CREATED
        );
        assert_eq!(search(&server, &mut li, "富饶").await, ["富饶的西沙群岛"]);
        assert_eq!(search(&server, &mut zhao, "富饶").await, [""; 0]);
        assert_eq!(search(&server, &mut zhao, "西沙").await, ["西沙资料合集"]);
        let path = format!("/api/resources/{id}");
        wang.patch(
            &path,
            json!({ "visibility": "county", "title": "美丽的西沙" }),
        )
        .await;
        assert_eq!(search(&server, &mut zhao, "美丽").await, ["美丽的西沙"]);
        wang.patch(&path, json!({ "visibility": "private" })).await;
        assert_eq!(search(&server, &mut li, "美丽").await, [""; 0]);
        assert_eq!(search(&server, &mut wang, "美丽").await, ["美丽的西沙"]);
        wang.delete(&path).await;
        assert_eq!(search(&server, &mut wang, "美丽").await, [""; 0]);
    }
}
