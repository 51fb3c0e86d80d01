//! Analysis of files, with scripts in place of the worker programs.

use super::*;

#[tokio::test]
async fn a_deck_gets_pages_and_its_text_refines_the_description() {
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
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
        let _program = run_analysis_with(&server, script).await;
        let id = upload(
            &wang,
            &server,
            b"PK\x03\x04 deck",
            &[("filename", "新建文稿.pptx"), ("stage", "小学")],
        )
        .await;
        let deck = analyzed(&mut wang, &id).await;
        assert_eq!(
            (&deck["preview"]["state"], &deck["preview"]["pages"]),
            (&json!("ready"), &json!(3)),
            "{deck}"
        );
        assert_eq!(
            (&deck["file"]["type"], &deck["type"]),
            (&json!("pptx"), &json!("courseware"))
        );
        assert_eq!(
            (&deck["grade"], &deck["subject"], &deck["unit"]),
            (&json!("四年级"), &json!("数学"), &json!("第二单元"))
        );
        assert_eq!(
            deck["suggested"],
            json!(["type", "grade", "subject", "volume", "unit"]),
            "the stage was given"
        );
        assert_eq!(
            (&deck["file_author"], &deck["facts"]["outline"][0]["text"]),
            (&json!("王老师"), &json!("导入"))
        );
        let (_, pages) = wang.get(&format!("/api/resources/{id}/pages")).await;
        assert_eq!(
            (&pages["items"][1]["text"], &pages["items"][2]["large_url"]),
            (&json!("从上面看"), &Value::Null)
        );
        for (path, content) in [
            (&pages["items"][0]["large_url"], "large1"),
            (&deck["preview"]["thumbnail_url"], "small1"),
        ] {
            let mut request = Request::builder().uri(path.as_str().expect("a path"));
            request = request.header(header::COOKIE, wang.cookie.as_deref().expect("signed in"));
            let answer = server
                .router
                .clone()
                .oneshot(request.body(Body::empty()).expect("a request"))
                .await;
            let answer = answer.expect("infallible");
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "image/webp");
            assert_eq!(
                axum::body::to_bytes(answer.into_body(), 1 << 20)
                    .await
                    .expect("a body"),
                content
            );
        }
        assert!(
            wang.get(&format!("/api/resources/{id}/text")).await.1["text"]
                .as_str()
                .expect("text")
                .contains("观察物体")
        );
        let comments = format!("/api/resources/{id}/comments");
        let (status, said) = wang
            .post(&comments, json!({ "text": "这一页最好", "page": 2 }))
            .await;
        assert_eq!(
            (status, &said["page"]),
            (StatusCode::CREATED, &json!(2)),
            "{said}"
        );
        for page in [0, 4] {
            let (status, said) = wang
                .post(&comments, json!({ "text": "哪一页？", "page": page }))
                .await;
            assert_eq!(
                (status, &said["field"]),
                (StatusCode::UNPROCESSABLE_ENTITY, &json!("page")),
                "{said}"
            );
        }
        // The same content uploaded again is analysed already.
        let again = upload(
            &wang,
            &server,
            b"PK\x03\x04 deck",
            &[("filename", "另一份.pptx")],
        )
        .await;
        assert_eq!(
            wang.get(&format!("/api/resources/{again}")).await.1["preview"]["pages"],
            3
        );
    }
}

#[tokio::test]
async fn a_field_that_the_teacher_cleared_is_not_suggested_again() {
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        // The text has more fields than the name; the teacher edits before the analysis runs.
        let script = r#"
printf '四年级数学下册 第二单元' > "$out/text.txt"
echo '{"type":"txt","mime":"text/plain","text":"text.txt"}' > "$out/result.json"
echo '{"done":{"result":"result.json"}}'"#;
        let id = upload(
            &wang,
            &server,
            b"one",
            &[("filename", "四年级数学 第二单元.txt")],
        )
        .await;
        let path = format!("/api/resources/{id}");
        let (_, dropped) = wang
            .patch(
                &path,
                json!({ "unit": "", "volume": "", "confirm": ["subject", "nonsense"] }),
            )
            .await;
        assert_eq!(dropped["suggested"], json!(["stage", "grade", "type"]));
        let _program = run_analysis_with(&server, script).await;
        let read = analyzed(&mut wang, &id).await;
        assert_eq!(
            (&read["unit"], &read["volume"]),
            (&json!(""), &json!("")),
            "cleared fields stay empty"
        );
        assert_eq!(read["suggested"], json!(["stage", "grade", "type"]));
        upload(
            &wang,
            &server,
            b"two",
            &[("filename", "四年级数学 第三单元.txt"), ("resource", &id)],
        )
        .await;
        let read = analyzed(&mut wang, &id).await;
        assert_eq!((&read["version"], &read["unit"]), (&json!(2), &json!("")));
        assert_eq!(
            (&read["grade"], &read["subject"]),
            (&json!("四年级"), &json!("数学")),
            "other fields are kept"
        );
    }
}

#[tokio::test]
async fn an_unplayable_video_is_never_ready_without_its_rendition_job() {
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        let script = r#"echo '{"done":{"format":"avi","duration_ms":3000,"streams":[{"kind":"audio","codec":"adpcm"}]}}'"#;
        // A unique index makes the submission of the rendition job fail.
        let db = server.services.db.pool();
        sqlx::query("CREATE UNIQUE INDEX one_of_a_kind ON jobs (kind)")
            .execute(db)
            .await
            .expect("made");
        let other = crate::jobs::NewJob {
            kind: "playable",
            key: "playable:other".into(),
            owner: None,
        };
        server.services.jobs.submit(other).await.expect("submitted");
        let _program = run_analysis_with(&server, script).await;
        let id = upload(
            &wang,
            &server,
            b"RIFF\0\0\0\0AVI LIST",
            &[("filename", "旧录像.avi")],
        )
        .await;
        let path = format!("/api/resources/{id}");
        let query = "SELECT COUNT(*) FROM jobs WHERE kind = 'understand' AND error IS NOT NULL";
        for _ in 0..500 {
            let (failed,): (i64,) = sqlx::query_as(query).fetch_one(db).await.expect("counted");
            if failed > 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(
            wang.get(&path).await.1["preview"]["state"],
            "waiting",
            "neither analysis nor rendition job is visible"
        );
        sqlx::query("DROP INDEX one_of_a_kind")
            .execute(db)
            .await
            .expect("gone");
        let card = analyzed(&mut wang, &id).await;
        assert_eq!(
            (&card["preview"]["state"], &card["preview"]["media_url"]),
            (&json!("ready"), &Value::Null)
        );
        assert!(card["preview"]["converting"].is_number(), "{card}");
    }
}

#[tokio::test]
async fn others_get_a_photo_without_its_gps_tags() {
    const PHOTO: &[u8] = b"BM a bitmap with its place";
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        let mut li = server.signed_in("li", Role::Teacher).await.0;
        let public = [("filename", "板书.bmp"), ("visibility", "county")];
        let id = upload(&wang, &server, PHOTO, &public).await;
        let path = format!("/api/resources/{id}/file");
        assert_eq!(
            li.get(&path).await.1["code"],
            "being_prepared",
            "not analysed yet"
        );
        let script = r#"
printf clean > "$out/image.png"; printf x > "$out/p1-l.webp"; printf x > "$out/p1-s.webp"
echo '{"type":"bmp","mime":"image/bmp","image":{"width":2,"height":2,"stripped":"image.png","mime":"image/png"}}' > "$out/result.json"
echo '{"done":{"result":"result.json"}}'"#;
        let _program = run_analysis_with(&server, script).await;
        analyzed(&mut wang, &id).await;
        let (name, bytes) = download(&wang, &server, &path).await;
        assert!(
            name.ends_with(".bmp") && bytes == PHOTO,
            "its owner gets the original: {name}"
        );
        let (name, bytes) = download(&li, &server, &path).await;
        assert_eq!(bytes, b"clean");
        assert!(name.ends_with("%E6%9D%BF%E4%B9%A6.png"), "{name}");
        let (_, made) = li
            .post(
                "/api/collections",
                json!({ "title": "板书", "resource_ids": [id] }),
            )
            .await;
        let zip = format!(
            "/api/collections/{}/zip",
            made["id"].as_str().expect("an id")
        );
        let (_, packed) = download(&li, &server, &zip).await;
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(packed)).expect("a zip");
        let mut inside = String::new();
        std::io::Read::read_to_string(
            &mut archive.by_name("板书.png").expect("there"),
            &mut inside,
        )
        .expect("read");
        assert_eq!(inside, "clean", "also in a zip of a collection");
    }
}

#[tokio::test]
async fn spreadsheet_cells_are_served_to_readers_who_may_see_the_resource() {
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        let (mut li, _) = server.signed_in("li", Role::Teacher).await;
        let script = r#"
case $(cat "$2") in
*good*) echo '[{"name":"期中成绩","rows":{"0":{"0":"姓名","1":"数学"},"2":{"1":"95"}},"cut":true}]' ;;
*) echo '[{"name":"x","rows":{"0":["a list"]},"cut":false}]' ;;
esac > "$out/sheets.json"
echo '{"type":"xlsx","mime":"x","sheets":"sheets.json"}' > "$out/result.json"
echo '{"done":{"result":"result.json"}}'"#;
        let _program = run_analysis_with(&server, script).await;
        let id = upload(
            &wang,
            &server,
            b"good",
            &[("filename", "成绩.xlsx"), ("visibility", "private")],
        )
        .await;
        assert_eq!(analyzed(&mut wang, &id).await["facts"]["sheets"], 1);
        let path = format!("/api/resources/{id}/sheets");
        let (status, sheets) = wang.get(&path).await;
        assert_eq!(
            (status, &sheets[0]["rows"]["2"]["1"], &sheets[0]["cut"]),
            (StatusCode::OK, &json!("95"), &json!(true))
        );
        assert_eq!(li.get(&path).await.0, StatusCode::NOT_FOUND);
        // Worker output is untrusted: sheets of another structure are rejected.
        let id = upload(&wang, &server, b"strange", &[("filename", "怪.xlsx")]).await;
        let card = analyzed(&mut wang, &id).await;
        assert_eq!(
            (&card["preview"]["state"], &card["facts"]["sheets"]),
            (&json!("failed"), &json!(0)),
            "{card}"
        );
        assert_eq!(
            wang.get(&format!("/api/resources/{id}/sheets")).await.0,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn uploaded_html_is_served_under_a_sandbox_policy() {
    for server in test_servers().await {
        let (wang, _) = server.signed_in("wang", Role::Teacher).await;
        let page = upload(
            &wang,
            &server,
            b"<!doctype html><script>alert(1)</script>",
            &[("filename", "a.html")],
        )
        .await;
        let plan = upload(&wang, &server, PLAN.as_bytes(), &[("filename", "a.txt")]).await;
        let (status, headers, _) = tus(
            &wang,
            &server,
            "GET",
            &format!("/api/resources/{page}/html"),
            &[],
            Vec::new(),
        )
        .await;
        assert_eq!(
            (status, text(&headers, "content-type")),
            (StatusCode::OK, "text/html")
        );
        let policy = text(&headers, "content-security-policy");
        assert!(
            policy.starts_with("sandbox; default-src 'none';") && !policy.contains("allow-"),
            "{policy}"
        );
        let (status, ..) = tus(
            &wang,
            &server,
            "GET",
            &format!("/api/resources/{plan}/html"),
            &[],
            Vec::new(),
        )
        .await;
        assert_eq!(status, StatusCode::NOT_FOUND, "plain text is not HTML");
    }
}

#[tokio::test]
async fn an_encrypted_file_reports_its_problem_and_can_be_retried() {
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        let script = r#"[ -e "$0.open" ] || { echo '{"error":{"code":"encrypted","message":"a password"}}'; exit 2; }
echo '{"type":"txt","mime":"text/plain"}' > "$out/result.json"; echo '{"done":{"result":"result.json"}}'"#;
        let program = run_analysis_with(&server, script).await;
        let id = upload(&wang, &server, b"secret", &[("filename", "期末试卷.docx")]).await;
        let card = analyzed(&mut wang, &id).await;
        assert_eq!(
            (&card["preview"]["state"], &card["preview"]["problem"]),
            (&json!("failed"), &json!("encrypted"))
        );
        assert!(
            card["problem_text"]
                .as_str()
                .expect("words")
                .starts_with("文件有密码保护"),
            "{card}"
        );
        wang.language = "en";
        let (_, card) = wang.get(&format!("/api/resources/{id}")).await;
        assert!(
            card["problem_text"]
                .as_str()
                .expect("words")
                .starts_with("The file is protected"),
            "{card}"
        );
        assert_eq!(
            wang.get(&format!("/api/resources/{id}/file")).await.0,
            StatusCode::OK,
            "the original is there"
        );
        let (mut li, _) = server.signed_in("li", Role::Teacher).await;
        let again = format!("/api/resources/{id}/understand");
        assert_eq!(li.post(&again, json!({})).await.0, StatusCode::FORBIDDEN);
        std::fs::write(program.path().join("program.open"), "").expect("written");
        let (status, job) = wang.post(&again, json!({})).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        let job = format!("/api/jobs/{}", job["id"].as_str().expect("an id"));
        assert_eq!(
            li.get(&job).await.0,
            StatusCode::NOT_FOUND,
            "a job is visible to its owner only"
        );
        assert_eq!(wang.get(&job).await.0, StatusCode::OK);
        assert_eq!(analyzed(&mut wang, &id).await["preview"]["state"], "ready");
        assert_eq!(wang.post(&again, json!({})).await.1["code"], "understood");
    }
}

#[tokio::test]
async fn an_analysis_that_hangs_can_be_cancelled_from_the_resource() {
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        let _program = run_analysis_with(&server, "sleep 300").await;
        let id = upload(&wang, &server, b"loops", &[("filename", "a.doc")]).await;
        let mut job = Value::Null;
        for _ in 0..500 {
            let (_, card) = wang.get(&format!("/api/resources/{id}")).await;
            job = card["preview"]["job_id"].clone();
            let (_, found) = wang
                .get(&format!("/api/jobs/{}", job.as_str().unwrap_or("none")))
                .await;
            if found["state"] == "running" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let job = format!("/api/jobs/{}", job.as_str().expect("it runs"));
        assert_eq!(wang.delete(&job).await.0, StatusCode::NO_CONTENT);
        let card = analyzed(&mut wang, &id).await;
        assert_eq!(
            (&card["preview"]["problem"], &card["preview"]["job_id"]),
            (&json!("cancelled"), &Value::Null)
        );
    }
}

#[tokio::test]
async fn text_is_searchable_while_an_earlier_deck_is_still_rendered() {
    for server in test_servers().await {
        let (mut wang, _) = server.signed_in("wang", Role::Teacher).await;
        let script = r#"
[ "$1" = words ] || until [ -e "$0.drawn" ]; do sleep 0.05; done
cp "$2" "$out/text.txt"
echo '{"type":"txt","mime":"text/plain","text":"text.txt"}' > "$out/result.json"; echo '{"done":{"result":"result.json"}}'"#;
        let program = run_analysis_with(&server, script).await;
        let deck = upload(
            &wang,
            &server,
            "蒸发与凝结".as_bytes(),
            &[("filename", "课件.txt")],
        )
        .await;
        let plan = upload(
            &wang,
            &server,
            "观察一片云".as_bytes(),
            &[("filename", "教案.txt")],
        )
        .await;
        for (query, title) in [("凝结", "课件"), ("一片云", "教案")] {
            let begun = std::time::Instant::now();
            while search(&server, &mut wang, query).await != [title] {
                assert!(
                    begun.elapsed().as_secs() < 30,
                    "{query} is not found before the decks are rendered"
                );
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        for id in [&deck, &plan] {
            assert_eq!(
                wang.get(&format!("/api/resources/{id}")).await.1["preview"]["state"],
                "waiting"
            );
        }
        std::fs::write(program.path().join("program.drawn"), "").expect("written");
        for id in [&deck, &plan] {
            assert_eq!(analyzed(&mut wang, id).await["preview"]["state"], "ready");
        }
        assert_eq!(search(&server, &mut wang, "凝结").await, ["课件"]);
    }
}
