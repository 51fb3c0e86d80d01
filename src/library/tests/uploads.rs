//! Uploads over tus, deduplication, and garbage collection.

use super::*;

#[tokio::test]
async fn a_lesson_plan_uploaded_in_two_chunks_becomes_a_resource_with_suggestions() {
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        let name = "部编版 富饶的西沙群岛 教学设计.txt";
        let (status, at, _) =
            create_upload(&wang, &server, PLAN.len(), &[("filename", name)]).await;
        assert_eq!(status, StatusCode::CREATED);
        let (first, rest) = PLAN.as_bytes().split_at(40);
        let (status, headers, _) =
            tus(&wang, &server, "PATCH", &at, &chunk(0), first.to_vec()).await;
        assert_eq!(
            (status, text(&headers, "upload-offset")),
            (StatusCode::NO_CONTENT, "40")
        );
        // The browser was closed; another one requests the offset.
        let (status, headers, _) = tus(&wang, &server, "HEAD", &at, &[], Vec::new()).await;
        assert_eq!(
            (status, text(&headers, "upload-offset")),
            (StatusCode::OK, "40")
        );
        assert_eq!(text(&headers, "cache-control"), "no-store");
        let (status, _, body) = tus(&wang, &server, "PATCH", &at, &chunk(0), first.to_vec()).await;
        assert_eq!(
            (status, body["code"].as_str()),
            (StatusCode::CONFLICT, Some("wrong_offset"))
        );
        let (_, unfinished) = wang.get("/api/uploads").await;
        assert_eq!(unfinished["items"][0]["offset"], 40);
        let (status, headers, _) =
            tus(&wang, &server, "PATCH", &at, &chunk(40), rest.to_vec()).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        let id = text(&headers, "tongke-resource").to_owned();
        let (status, resource) = wang.get(&format!("/api/resources/{id}")).await;
        assert_eq!(status, StatusCode::OK, "{resource}");
        assert_eq!(resource["title"], "部编版 富饶的西沙群岛 教学设计");
        assert_eq!(
            (&resource["type"], &resource["edition"]),
            (&json!("lesson_plan"), &json!("统编版"))
        );
        assert_eq!(resource["suggested"], json!(["type", "edition"]));
        assert_eq!(
            resource["file"]["sha256"],
            hex::encode(Sha256::digest(PLAN))
        );
        assert_eq!(
            (&resource["file"]["type"], &resource["preview"]["state"]),
            (&json!("txt"), &json!("waiting"))
        );
        // A repeated request after a lost response returns the same resource, not a second one.
        let (_, headers, state) = tus(&wang, &server, "GET", &at, &[], Vec::new()).await;
        assert_eq!(
            (text(&headers, "tongke-resource"), &state["resource_id"]),
            (id.as_str(), &json!(id))
        );
        let (_, all) = wang.get("/api/resources?mine=true").await;
        assert_eq!(all["total"], 1);
    }
}

#[tokio::test]
async fn the_server_reports_its_tus_capabilities_and_rejects_other_requests() {
    for server in test_servers().await {
        let (wang, _) = server.signed_in("wang", Role::Teacher).await;
        let (status, headers, _) =
            tus(&wang, &server, "OPTIONS", "/api/uploads", &[], Vec::new()).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(text(&headers, "tus-version"), "1.0.0");
        assert_eq!(
            text(&headers, "tus-extension"),
            "creation,creation-with-upload,termination,checksum,expiration"
        );
        let old = [
            ("tus-resumable", "0.2.0".to_owned()),
            ("upload-length", "5".to_owned()),
        ];
        let mut request = Request::builder()
            .method("POST")
            .uri("/api/uploads")
            .header("upload-length", "5");
        request = request.header(header::COOKIE, wang.cookie.as_deref().expect("signed in"));
        let answer = server
            .router
            .clone()
            .oneshot(request.body(Body::empty()).expect("a request"))
            .await;
        let answer = answer.expect("infallible");
        assert_eq!(answer.status(), StatusCode::PRECONDITION_FAILED, "{old:?}");
        assert_eq!(answer.headers()["tus-version"], "1.0.0");

        let (status, _, body) = create_upload(&wang, &server, 0, &[("filename", "a.txt")]).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let (status, _, body) =
            create_upload(&wang, &server, 5_000_000_000, &[("filename", "a.mp4")]).await;
        assert_eq!(
            (status, body["code"].as_str()),
            (StatusCode::PAYLOAD_TOO_LARGE, Some("file_too_large"))
        );
        assert_eq!(body["message"], "文件有 5 GB，单个文件最大 4 GB。");

        let (_, at, _) = create_upload(&wang, &server, 4, &[("filename", "a.txt")]).await;
        let (status, _, body) =
            tus(&wang, &server, "PATCH", &at, &chunk(0), b"12345".to_vec()).await;
        assert_eq!(
            (status, body["code"].as_str()),
            (StatusCode::PAYLOAD_TOO_LARGE, Some("beyond_the_end"))
        );
        let mut plain = chunk(0).to_vec();
        plain[0].1 = "text/plain".into();
        let (status, ..) = tus(&wang, &server, "PATCH", &at, &plain, b"1234".to_vec()).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        // Another person's upload is not visible.
        let (li, _) = server.signed_in("li", Role::Teacher).await;
        let (status, ..) = tus(&li, &server, "PATCH", &at, &chunk(0), b"1234".to_vec()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        let (status, ..) = tus(&wang, &server, "DELETE", &at, &[], Vec::new()).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        let (status, ..) = tus(&wang, &server, "HEAD", &at, &[], Vec::new()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(files_in(&server), 0, "the file is removed with the upload");
    }
}

fn files_in(server: &TestServer) -> usize {
    std::fs::read_dir(server.services.config.server.data_dir.join("uploads"))
        .expect("there")
        .count()
}

#[tokio::test]
async fn a_chunk_with_a_wrong_checksum_does_not_count() {
    for server in test_servers().await {
        let (wang, _) = server.signed_in("wang", Role::Teacher).await;
        let (_, at, _) = create_upload(&wang, &server, 8, &[("filename", "a.txt")]).await;
        let checksum = |bytes: &[u8]| {
            (
                "upload-checksum",
                format!("sha256 {}", BASE64_STANDARD.encode(Sha256::digest(bytes))),
            )
        };
        let mut headers = chunk(0).to_vec();
        headers.push(checksum(b"abcd"));
        let (status, _, body) = tus(&wang, &server, "PATCH", &at, &headers, b"abXd".to_vec()).await;
        assert_eq!(
            (status.as_u16(), body["code"].as_str()),
            (460, Some("checksum_mismatch"))
        );
        let (_, response, _) = tus(&wang, &server, "HEAD", &at, &[], Vec::new()).await;
        assert_eq!(text(&response, "upload-offset"), "0");
        let (status, ..) = tus(&wang, &server, "PATCH", &at, &headers, b"abcd".to_vec()).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        let mut headers = chunk(4).to_vec();
        headers.push(checksum(b"efgh"));
        let (_, response, _) = tus(&wang, &server, "PATCH", &at, &headers, b"efgh".to_vec()).await;
        let id = text(&response, "tongke-resource").to_owned();
        let (_, resource) = wang.clone().get(&format!("/api/resources/{id}")).await;
        assert_eq!(
            resource["file"]["sha256"],
            hex::encode(Sha256::digest(b"abcdefgh"))
        );
    }
}

#[tokio::test]
async fn executables_and_uploads_beyond_the_quota_are_rejected() {
    for server in test_servers().await {
        let (wang, _) = server.signed_in("wang", Role::Teacher).await;
        let (_, at, _) = create_upload(&wang, &server, 1000, &[("filename", "课件.pptx")]).await;
        let (status, _, body) = tus(
            &wang,
            &server,
            "PATCH",
            &at,
            &chunk(0),
            b"MZ\x90\0 not a deck".to_vec(),
        )
        .await;
        assert_eq!(
            (status, body["code"].as_str()),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("program"))
        );
        // Unfinished uploads reserve 49 GB of the quota of 50 GB.
        for _ in 0..13 {
            let (status, _, body) =
                create_upload(&wang, &server, 3_800_000_000, &[("filename", "录像.mp4")]).await;
            if status != StatusCode::CREATED {
                assert!(
                    matches!(body["code"].as_str(), Some("quota_exceeded" | "disk_full")),
                    "{body}"
                );
            }
        }
        let (status, _, body) =
            create_upload(&wang, &server, 3_800_000_000, &[("filename", "录像.mp4")]).await;
        assert!(
            status == StatusCode::PAYLOAD_TOO_LARGE || status == StatusCode::INSUFFICIENT_STORAGE,
            "{body}"
        );
    }
}

#[tokio::test]
async fn an_abandoned_upload_expires() {
    for server in test_servers().await {
        let (wang, _) = server.signed_in("wang", Role::Teacher).await;
        let (_, at, _) = create_upload(&wang, &server, 100, &[("filename", "a.txt")]).await;
        tus(
            &wang,
            &server,
            "PATCH",
            &at,
            &chunk(0),
            b"some of it".to_vec(),
        )
        .await;
        let uploads = &server.services.library.uploads;
        uploads
            .expire_and_finish(Timestamp::now())
            .await
            .expect("swept");
        let (status, ..) = tus(&wang, &server, "HEAD", &at, &[], Vec::new()).await;
        assert_eq!(status, StatusCode::OK, "not yet");
        uploads
            .expire_and_finish(Timestamp::now() + SignedDuration::from_hours(73))
            .await
            .expect("swept");
        let (status, ..) = tus(&wang, &server, "HEAD", &at, &[], Vec::new()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(files_in(&server), 0);
    }
}

#[tokio::test]
async fn stored_content_is_not_uploaded_again() {
    for server in test_servers().await {
        let (wang, _) = server.signed_in("wang", Role::Teacher).await;
        let (mut li, _) = server.signed_in("li", Role::Teacher).await;
        let id = upload(&wang, &server, PLAN.as_bytes(), &[("filename", "教案.txt")]).await;
        let hash = hex::encode(Sha256::digest(PLAN));
        let ask = json!({ "sha256s": [hash, "00".repeat(32)] });
        let (_, known) = li.post("/api/uploads/known", ask.clone()).await;
        assert_eq!(known["items"].as_array().expect("a list").len(), 1);
        assert_eq!(known["items"][0]["resource"]["id"], id.as_str());
        let form = json!({ "sha256": hash, "file_name": "我的教案.txt" });
        let (status, placed) = li.post("/api/resources", form.clone()).await;
        assert_eq!(status, StatusCode::CREATED, "{placed}");
        assert_ne!(placed["id"], id.as_str());
        // Content that the requester may not see counts as unknown and cannot be claimed by its
        // hash.
        let other = school(&server, "石桥村小学", None).await;
        let mut zhao = teacher_of(&server, other, "zhao").await;
        assert_eq!(
            zhao.post("/api/uploads/known", ask).await.1["items"],
            json!([])
        );
        assert_eq!(
            zhao.post("/api/resources", form).await.0,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn content_is_removed_after_its_last_reference() {
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        let one = upload(&wang, &server, b"shared", &[("filename", "a.txt")]).await;
        let two = upload(&wang, &server, b"shared", &[("filename", "b.txt")]).await;
        let object = {
            let hash = hex::encode(Sha256::digest(b"shared"));
            server
                .services
                .config
                .objects_dir()
                .join("blobs")
                .join(&hash[..2])
                .join(&hash)
        };
        let later = |days: i64| Timestamp::now() + SignedDuration::from_hours(24 * days);
        let content = &server.services.library.content;
        assert_eq!(
            wang.delete(&format!("/api/resources/{one}")).await.0,
            StatusCode::NO_CONTENT
        );
        content.collect_garbage(later(31), 30).await.expect("swept");
        content.collect_garbage(later(40), 30).await.expect("swept");
        assert!(object.exists(), "the other resource refers to it");
        assert_eq!(
            wang.delete(&format!("/api/resources/{two}")).await.0,
            StatusCode::NO_CONTENT
        );
        content.collect_garbage(later(31), 30).await.expect("swept");
        assert!(object.exists(), "one day of grace period");
        content.collect_garbage(later(33), 30).await.expect("swept");
        assert!(!object.exists());
        // The same file can be uploaded again.
        let again = upload(&wang, &server, b"shared", &[("filename", "c.txt")]).await;
        assert_eq!(
            wang.get(&format!("/api/resources/{again}/file")).await.0,
            StatusCode::OK
        );
    }
}
