//! Describing, rating, commenting, downloading, collecting and linking resources.

use super::*;

#[tokio::test]
async fn a_batch_describes_many_resources_and_confirms_suggestions() {
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        let mut ids = Vec::new();
        for n in 1..=3 {
            let name = format!("三年级语文 第{n}课时.txt");
            ids.push(upload(&wang, &server, name.as_bytes(), &[("filename", &name)]).await);
        }
        let set =
            json!({ "edition": "统编版", "keywords": ["西沙", "写景"], "confirm": ["grade"] });
        let (status, changed) = wang
            .post("/api/resources/batch", json!({ "ids": ids, "set": set }))
            .await;
        assert_eq!(status, StatusCode::OK, "{changed}");
        for card in changed["items"].as_array().expect("a list") {
            assert_eq!(
                (&card["edition"], &card["keywords"]),
                (&json!("统编版"), &json!(["西沙", "写景"]))
            );
            let suggested: Vec<&str> = card["suggested"]
                .as_array()
                .expect("a list")
                .iter()
                .filter_map(Value::as_str)
                .collect();
            assert!(
                !suggested.contains(&"grade") && suggested.contains(&"subject"),
                "{suggested:?}"
            );
        }
        let (_, found) = wang
            .get("/api/resources?edition=%E7%BB%9F%E7%BC%96%E7%89%88&sort=title")
            .await;
        assert_eq!(found["total"], 3);
        // A batch with another owner's resource changes nothing.
        let (chen, _) = server.signed_in("chen", Role::Teacher).await;
        let foreign = upload(&chen, &server, b"other", &[("filename", "b.txt")]).await;
        let all = json!({ "ids": [ids[0], foreign], "set": { "subject": "数学" } });
        assert_eq!(
            wang.post("/api/resources/batch", all).await.0,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            wang.get(&format!("/api/resources/{}", ids[0])).await.1["subject"],
            "语文"
        );
    }
}

#[tokio::test]
async fn stars_comments_and_uses_are_counted_once_each() {
    for server in test_servers().await {
        let (wang, _) = server.signed_in("wang", Role::Teacher).await;
        let (mut li, _) = server.signed_in("li", Role::Teacher).await;
        let id = upload(&wang, &server, PLAN.as_bytes(), &[("filename", "教案.txt")]).await;
        let path = format!("/api/resources/{id}");
        for stars in [3, 5] {
            let (status, rated) = li
                .send(
                    "PUT",
                    &format!("{path}/rating"),
                    Some(json!({ "stars": stars })),
                )
                .await;
            assert_eq!((status, &rated["ratings"]), (StatusCode::OK, &json!(1)));
        }
        let own = wang
            .clone()
            .send(
                "PUT",
                &format!("{path}/rating"),
                Some(json!({ "stars": 5 })),
            )
            .await;
        assert_eq!(own.0, StatusCode::CONFLICT);
        let (status, comment) = li
            .post(
                &format!("{path}/comments"),
                json!({ "text": "导入很好\n谢谢" }),
            )
            .await;
        assert_eq!(status, StatusCode::CREATED, "{comment}");
        li.get(&format!("{path}/file")).await;
        li.get(&format!("{path}/file")).await;
        wang.clone().get(&format!("{path}/file")).await;
        let (_, seen) = li.get(&path).await;
        assert_eq!(
            (
                &seen["rating"],
                &seen["my_rating"],
                &seen["comments"],
                &seen["uses"]
            ),
            (&json!(5.0), &json!(5), &json!(1), &json!(1))
        );
        let remove = format!("{path}/comments/{}", comment["id"].as_str().expect("an id"));
        let (mut zhou, _) = server.signed_in("zhou", Role::Teacher).await;
        assert_eq!(zhou.delete(&remove).await.0, StatusCode::FORBIDDEN);
        assert_eq!(wang.clone().delete(&remove).await.0, StatusCode::NO_CONTENT);
        assert_eq!(li.get(&path).await.1["comments"], 0);
    }
}

#[tokio::test]
async fn a_download_has_its_chinese_name_and_supports_ranges() {
    for server in test_servers().await {
        let (wang, _) = server.signed_in("wang", Role::Teacher).await;
        let id = upload(
            &wang,
            &server,
            PLAN.as_bytes(),
            &[("filename", "西沙群岛 教案.txt")],
        )
        .await;
        let ask = |range: Option<&str>| {
            let mut request = Request::builder().uri(format!("/api/resources/{id}/file?version=1"));
            request = request.header(header::COOKIE, wang.cookie.as_deref().expect("signed in"));
            if let Some(range) = range {
                request = request.header(header::RANGE, range);
            }
            server
                .router
                .clone()
                .oneshot(request.body(Body::empty()).expect("a request"))
        };
        let whole = ask(None).await.expect("infallible");
        let name = whole.headers()[header::CONTENT_DISPOSITION]
            .to_str()
            .expect("ASCII")
            .to_owned();
        assert!(
            name.contains(
                "filename*=UTF-8''%E8%A5%BF%E6%B2%99%E7%BE%A4%E5%B2%9B%20%E6%95%99%E6%A1%88.txt"
            ),
            "{name}"
        );
        let bytes = axum::body::to_bytes(whole.into_body(), 1 << 20)
            .await
            .expect("a body");
        assert_eq!(bytes, PLAN.as_bytes());
        let part = ask(Some("bytes=9-11")).await.expect("infallible");
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        let bytes = axum::body::to_bytes(part.into_body(), 1 << 20)
            .await
            .expect("a body");
        assert_eq!(bytes, &PLAN.as_bytes()[9..12]);
    }
}

#[tokio::test]
async fn a_collection_keeps_its_order_and_downloads_as_one_zip() {
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        let (status, made) = wang
            .post(
                "/api/collections",
                json!({ "title": "第六单元", "visibility": "county" }),
            )
            .await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let collection = made["id"].as_str().expect("an id").to_owned();
        let contents: [&[u8]; 2] = ["教案的内容".as_bytes(), "习题的内容".as_bytes()];
        let mut ids = Vec::new();
        for content in contents {
            ids.push(
                upload(
                    &wang,
                    &server,
                    content,
                    &[("filename", "同名.txt"), ("collection", &collection)],
                )
                .await,
            );
        }
        let path = format!("/api/collections/{collection}");
        ids.reverse();
        let (status, set) = wang
            .send(
                "PUT",
                &format!("{path}/items"),
                Some(json!({ "resource_ids": ids })),
            )
            .await;
        assert_eq!(
            (status, &set["items"][0]["id"]),
            (StatusCode::OK, &json!(ids[0])),
            "{set}"
        );
        let mut request = Request::builder().uri(format!("{path}/zip"));
        request = request.header(header::COOKIE, wang.cookie.as_deref().expect("signed in"));
        let answer = server
            .router
            .clone()
            .oneshot(request.body(Body::empty()).expect("a request"))
            .await;
        let answer = answer.expect("infallible");
        assert!(
            answer.headers()[header::CONTENT_DISPOSITION]
                .to_str()
                .expect("ASCII")
                .ends_with("%E5%85%83.zip")
        );
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20)
            .await
            .expect("a body");
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).expect("a zip");
        let names: Vec<String> = archive
            .file_names()
            .map(|name| name.expect("UTF-8").into_owned())
            .collect();
        assert_eq!(names, ["同名.txt", "同名 (2).txt"]);
        let mut first = String::new();
        std::io::Read::read_to_string(&mut archive.by_name("同名.txt").expect("there"), &mut first)
            .expect("read");
        assert_eq!(first, "习题的内容", "in the collection's order");
        // A teacher of another school sees the collection, but only those of its resources that
        // they may see.
        let other = school(&server, "石桥村小学", None).await;
        let mut zhao = teacher_of(&server, other, "zhao").await;
        let (status, seen) = zhao.get(&path).await;
        assert_eq!(
            (status, &seen["items"], &seen["count"]),
            (StatusCode::OK, &json!([]), &json!(0))
        );
        assert_eq!(zhao.delete(&path).await.0, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_plan_its_deck_and_their_lesson_are_linked() {
    for server in test_servers().await {
        let (mut wang, lead) = server.signed_in("wang", Role::Teacher).await;
        let plan = upload(&wang, &server, b"plan", &[("filename", "教案.txt")]).await;
        let deck = upload(&wang, &server, b"deck", &[("filename", "课件.txt")]).await;
        let now = Timestamp::now();
        let lesson = json!({ "title": "富饶的西沙群岛", "subject": "语文", "grade": "三年级", "lead_id": lead,
            "starts_at": now, "ends_at": now + SignedDuration::from_mins(40), "assistant_ids": [], "classroom_ids": [] });
        let (status, lesson) = wang.post("/api/lessons", lesson).await;
        assert_eq!(status, StatusCode::CREATED, "{lesson}");
        let lesson = lesson["id"].as_str().expect("an id").to_owned();
        let links = |id: &str| format!("/api/resources/{id}/links");
        assert_eq!(
            wang.post(&links(&plan), json!({ "resource_id": deck }))
                .await
                .0,
            StatusCode::NO_CONTENT
        );
        assert_eq!(
            wang.post(&links(&deck), json!({ "lesson_id": lesson }))
                .await
                .0,
            StatusCode::NO_CONTENT
        );
        let (_, of_plan) = wang.get(&links(&plan)).await;
        assert_eq!(
            (&of_plan["resources"][0]["id"], &of_plan["lessons"][0]["id"]),
            (&json!(deck), &json!(lesson))
        );
        assert_eq!(
            of_plan["lessons"][0]["bond"], "beside",
            "the plan lists the lesson of its deck"
        );
        let (_, of_deck) = wang.get(&links(&deck)).await;
        assert_eq!(
            (&of_deck["resources"][0]["id"], &of_deck["lessons"][0]["id"]),
            (&json!(plan), &json!(lesson))
        );
        let (_, of_lesson) = wang.get(&format!("/api/lessons/{lesson}/resources")).await;
        let bonds = |of_lesson: &Value| -> Vec<(String, String)> {
            let items = of_lesson["items"].as_array().expect("a list").iter();
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            items
                .map(|item| (text(&item["id"]), text(&item["bond"])))
                .collect()
        };
        assert_eq!(
            bonds(&of_lesson),
            [
                (deck.clone(), "linked".to_owned()),
                (plan.clone(), "beside".to_owned())
            ]
        );
        // A participant of the lesson gets only the resources that they may see.
        let (mut observer, _) = server.signed_in("guan", Role::Observer).await;
        assert_eq!(
            bonds(
                &observer
                    .get(&format!("/api/lessons/{lesson}/resources"))
                    .await
                    .1
            )
            .len(),
            2
        );
        wang.patch(
            &format!("/api/resources/{plan}"),
            json!({ "visibility": "private" }),
        )
        .await;
        let (_, seen) = observer
            .get(&format!("/api/lessons/{lesson}/resources"))
            .await;
        assert_eq!(bonds(&seen), [(deck.clone(), "linked".to_owned())]);
        wang.patch(
            &format!("/api/resources/{deck}"),
            json!({ "visibility": "private" }),
        )
        .await;
        assert_eq!(
            bonds(
                &observer
                    .get(&format!("/api/lessons/{lesson}/resources"))
                    .await
                    .1
            ),
            []
        );
        for id in [&plan, &deck] {
            wang.patch(
                &format!("/api/resources/{id}"),
                json!({ "visibility": "school" }),
            )
            .await;
        }
        let (mut li, _) = server.signed_in("li", Role::Teacher).await;
        assert_eq!(
            li.post(&links(&plan), json!({ "lesson_id": lesson }))
                .await
                .0,
            StatusCode::NOT_FOUND
        );
        assert_eq!(
            li.post(&links(&plan), json!({ "resource_id": deck }))
                .await
                .0,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            li.get(&links(&deck)).await.1["lessons"],
            json!([]),
            "a lesson is listed only for its participants"
        );
        assert_eq!(
            wang.send(
                "DELETE",
                &links(&plan),
                Some(json!({ "resource_id": deck }))
            )
            .await
            .0,
            StatusCode::NO_CONTENT
        );
        assert_eq!(wang.get(&links(&deck)).await.1["resources"], json!([]));
    }
}
