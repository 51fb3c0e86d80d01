//! Every route with every role, and the layers around the routes.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::access::{Access, TABLE};
use super::{description, routes};
use crate::config::TlsMode;
use crate::identity::Role;
use crate::testing::{TestClient, TestServer, server_with, sqlite_server};

/// Fills a path with unknown ids: access is checked before they are looked up.
fn filled(path: &str) -> String {
    let id = "01900000-0000-7000-8000-000000000000";
    let parts = path
        .split('/')
        .map(|part| if part.starts_with('{') { id } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Methods and paths of the OpenAPI description.
fn described(server: &TestServer) -> Vec<(String, String)> {
    let api = description::to_json(&routes(&server.services).into_openapi());
    let paths = api["paths"].as_object().expect("paths").clone();
    paths
        .into_iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").clone();
            methods
                .into_iter()
                .map(move |(method, _)| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

#[tokio::test]
async fn every_route_has_exactly_one_access_rule() {
    let server = sqlite_server().await;
    for (method, path) in described(&server) {
        // OpenAPI has no notation for a variable that takes the rest of a path.
        let known = TABLE
            .iter()
            .any(|(m, p, _)| *m == method && p.replace("{*", "{") == path.replace("{*", "{"));
        assert!(known, "{method} {path} has no row in the access table");
    }
    let described = described(&server);
    for (n, (method, path, _)) in TABLE.iter().enumerate() {
        let exists = described
            .iter()
            .any(|(m, p)| m == method && p.replace("{*", "{") == path.replace("{*", "{"));
        // OpenAPI lists neither itself nor CORS preflights, which a layer of WHIP and WHEP handles.
        let is_plain = *path == "/api/openapi.json" || *method == "OPTIONS";
        assert!(
            exists || is_plain,
            "{method} {path} has a row and does not exist"
        );
        let twice = TABLE[..n].iter().any(|(m, p, _)| m == method && p == path);
        assert!(!twice, "{method} {path} has two rows");
    }
}

#[tokio::test]
async fn the_front_ends_copy_of_the_description_is_current() {
    let server = sqlite_server().await;
    let current = description::to_json(&routes(&server.services).into_openapi());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/web/src/api/openapi.json");
    if std::env::var_os("TONGKE_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&current).expect("plain data");
        std::fs::write(path, text + "\n").expect("the source tree is writable");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let committed: Value = serde_json::from_str(&committed).unwrap_or_default();
    assert!(
        committed == current,
        "web/src/api/openapi.json differs from the server's description. Refresh it with \
         `TONGKE_BLESS=1 cargo test -p tongke the_front_ends_copy` and then `npm run types` in web/."
    );
}

/// Names of the schemas that a source file declares.
fn schema_names(source: &str) -> Vec<String> {
    let (mut names, mut derived, mut alias) = (Vec::new(), false, None);
    for line in source.lines().map(str::trim) {
        if let Some(given) = line.strip_prefix("#[schema(as = ") {
            alias = Some(given.trim_end_matches(")]").to_owned());
        } else if line.starts_with("crate::string_enum!")
            || line.contains("ToSchema") && !line.starts_with("use ")
        {
            derived = true;
        } else if derived && !line.starts_with(['#', '/', ')']) {
            // The names in the definitions of macros are variables.
            let name = line
                .split([' ', '(', '<', ';'])
                .find(|word| word.starts_with(char::is_uppercase));
            names.extend(alias.take().or(name.map(str::to_owned)));
            derived = false;
        }
    }
    names
}

#[test]
fn every_schema_has_a_name_of_its_own() {
    fn visit(folder: &std::path::Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                visit(&path, names);
            } else {
                names.extend(schema_names(
                    &std::fs::read_to_string(&path).expect("a source"),
                ));
            }
        }
    }
    let mut names = Vec::new();
    visit(
        std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
        &mut names,
    );
    names.sort();
    assert!(names.len() > 100, "{names:?}");
    for pair in names.windows(2) {
        // utoipa keeps one of two schemas with the same name and drops the other.
        assert_ne!(
            pair[0], pair[1],
            "two types have this schema name: #[schema(as = ...)] renames one"
        );
    }
}

struct Visitors {
    administrator: TestClient,
    teacher: TestClient,
    observer: TestClient,
    classroom: TestClient,
    nobody: TestClient,
}

async fn visitors(server: &TestServer) -> Visitors {
    Visitors {
        administrator: server.signed_in("admin", Role::Administrator).await.0,
        teacher: server.signed_in("teacher", Role::Teacher).await.0,
        observer: server.signed_in("observer", Role::Observer).await.0,
        classroom: server.device("三年级").await.0,
        nobody: server.client(),
    }
}

#[tokio::test]
async fn every_route_rejects_every_role_without_access() {
    let server = sqlite_server().await;
    let visitors = visitors(&server).await;
    let described = described(&server);
    // Sign-out comes last: it closes the visitors' sessions.
    let is_sign_out =
        |(method, path, _): &&(&str, &str, Access)| *method == "DELETE" && *path == "/api/session";
    let rows = TABLE
        .iter()
        .filter(|row| !is_sign_out(row))
        .chain(TABLE.iter().filter(is_sign_out));
    for (method, path, access) in rows {
        if !described
            .iter()
            .any(|(m, p)| m == method && p.replace("{*", "{") == path.replace("{*", "{"))
        {
            continue;
        }
        let [administrator, teacher, observer, classroom, nobody] = expected(*access);
        let cases = [
            ("administrator", &visitors.administrator, administrator),
            ("teacher", &visitors.teacher, teacher),
            ("observer", &visitors.observer, observer),
            ("classroom", &visitors.classroom, classroom),
            ("nobody", &visitors.nobody, nobody),
        ];
        for (who, page, expected) in cases {
            let (status, body) = page.clone().send(method, &filled(path), None).await;
            match expected {
                Some(refusal) => assert_eq!(status, refusal, "{who}: {method} {path}: {body}"),
                // Past the access table, a handler may still answer 404 or 403.
                None if *access == Access::Bearer => {
                    assert_ne!(status, StatusCode::FORBIDDEN, "{who}: {method} {path}")
                }
                None => assert_ne!(status, StatusCode::UNAUTHORIZED, "{who}: {method} {path}"),
            }
            assert_ne!(
                status,
                StatusCode::INTERNAL_SERVER_ERROR,
                "{who}: {method} {path}: {body}"
            );
            let is_ours =
                status.is_success() || body["code"].is_string() || *access == Access::Bearer;
            assert!(is_ours, "{who}: {method} {path}: {status} without our body");
        }
    }
}

/// Rejection of each visitor, `None` for access: administrator, teacher, observer, classroom, anonymous.
fn expected(access: Access) -> [Option<StatusCode>; 5] {
    let (out, no) = (Some(StatusCode::UNAUTHORIZED), Some(StatusCode::FORBIDDEN));
    match access {
        Access::Everyone | Access::Bearer => [None; 5],
        Access::SignedIn => [None, None, None, None, out],
        Access::Person => [None, None, None, no, out],
        Access::Planner => [None, None, no, no, out],
        Access::Administrator => [None, no, no, no, out],
        // Requests of this test have no peer address.
        Access::Scraper => [None, no, no, no, no],
    }
}

#[tokio::test]
async fn errors_are_translated_to_the_readers_language() {
    let server = sqlite_server().await;
    let mut page = server.client();
    let (status, body) = page.get("/api/today").await;
    assert_eq!(
        (status, body),
        (
            StatusCode::UNAUTHORIZED,
            json!({ "code": "not_signed_in", "message": "请先登录。" })
        )
    );
    page.language = "en-GB,en;q=0.8";
    let (_, body) = page.get("/api/today").await;
    assert_eq!(body["message"], "Please sign in first.");
    let (status, body) = page.get("/api/nowhere").await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::NOT_FOUND, &Value::from("not_found"))
    );
    let (status, body) = page.delete("/api/today").await;
    assert_eq!(
        (status, &body["code"]),
        (
            StatusCode::METHOD_NOT_ALLOWED,
            &Value::from("method_not_allowed")
        )
    );
}

#[tokio::test]
async fn an_error_behind_the_compression_layer_is_complete() {
    use tower::ServiceExt;
    let server = sqlite_server().await;
    let request = request("GET", "/api/today")
        .header(header::ACCEPT_ENCODING, "gzip")
        .body(Body::empty());
    let response = server
        .router
        .clone()
        .oneshot(request.expect("a request"))
        .await
        .expect("infallible");
    let packed = response.headers().contains_key(header::CONTENT_ENCODING);
    let body = axum::body::to_bytes(response.into_body(), 1 << 16)
        .await
        .expect("a body");
    assert_eq!(
        body.starts_with(&[0x1f, 0x8b]),
        packed,
        "the header says what the body is"
    );
}

#[tokio::test]
async fn unknown_paths_serve_the_front_end_except_below_api_prefixes() {
    let server = sqlite_server().await;
    let mut page = server.client();
    for path in ["/", "/signin", "/lessons/x/live", "/room/some-pass"] {
        // 503 is the page of a build without the front end.
        let (status, _) = page.get(path).await;
        assert!(matches!(status.as_u16(), 200 | 503), "{path}: {status}");
    }
    for path in [
        "/api/nothing",
        "/media/x",
        "/whip/x/y/z",
        "/assets/gone-1234.js",
    ] {
        let (status, body) = page.get(path).await;
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::NOT_FOUND, &Value::from("not_found")),
            "{path}"
        );
    }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "tongke.test")
}

#[tokio::test]
async fn requests_from_another_origin_are_rejected() {
    let server = sqlite_server().await;
    let (mut page, _) = server.signed_in("wang", Role::Teacher).await;
    let cookie = page.cookie.clone().expect("signed in");
    let from = |origin: &str| {
        let request = request("DELETE", "/api/session")
            .header(header::ORIGIN, origin)
            .header(header::COOKIE, &cookie);
        request.body(Body::empty()).expect("a request")
    };
    for foreign in [
        "http://evil.example",
        "http://tongke.test.evil.example",
        "null",
        "tongke.test",
    ] {
        assert_eq!(
            page.raw(from(foreign)).await.0,
            StatusCode::FORBIDDEN,
            "{foreign}"
        );
    }
    let socket = request("GET", "/api/today")
        .header(header::UPGRADE, "websocket")
        .header(header::ORIGIN, "http://evil.example");
    let socket = socket
        .header(header::COOKIE, &cookie)
        .body(Body::empty())
        .expect("a request");
    assert_eq!(
        page.raw(socket).await.0,
        StatusCode::FORBIDDEN,
        "a WebSocket is refused before it is opened"
    );
    assert_eq!(
        page.get("/api/session").await.0,
        StatusCode::OK,
        "still signed in"
    );
    assert_eq!(
        page.raw(from("http://tongke.test")).await.0,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn malformed_requests_are_rejected_with_a_reason() {
    let server = sqlite_server().await;
    let mut page = server.client();
    let json = |body: String| {
        let request =
            request("POST", "/api/session").header(header::CONTENT_TYPE, "application/json");
        request.body(Body::from(body)).expect("a request")
    };
    let plain = request("POST", "/api/session")
        .body(Body::from("{}"))
        .expect("a request");
    let cases = [
        (plain, 415, "unsupported_media_type"),
        (json("{\"login\":".into()), 400, "bad_request"),
        (json("{\"login\":\"x\"}".into()), 422, "bad_field"),
        (
            json(format!("{{\"login\":\"{}\"}}", "x".repeat(300_000))),
            413,
            "too_large",
        ),
    ];
    for (request, status, code) in cases {
        let (found, body) = page.raw(request).await;
        assert_eq!(
            (found.as_u16(), body["code"].as_str()),
            (status, Some(code)),
            "{body}"
        );
    }
    let (_, body) = page.raw(json("{\"login\":\"x\"}".into())).await;
    assert_eq!(body["field"], "password");
}

#[tokio::test]
async fn a_panicking_handler_answers_500_without_details() {
    use axum::{Router, middleware, routing::get};
    use tower::ServiceExt;
    async fn panics() -> &'static str {
        panic!("the secret is 42")
    }
    let server = sqlite_server().await;
    let router = Router::new()
        .route("/", get(panics))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(
            super::layers::respond_to_panic,
        ))
        .layer(middleware::from_fn_with_state(
            server.services.clone(),
            super::layers::observe,
        ));
    let response = router
        .oneshot(request("GET", "/").body(Body::empty()).expect("a request"))
        .await
        .expect("infallible");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = axum::body::to_bytes(response.into_body(), 1 << 16)
        .await
        .expect("a body");
    assert!(!String::from_utf8_lossy(&body).contains("42"));
}

#[tokio::test]
async fn health_and_metrics_are_served() {
    let server = sqlite_server().await;
    let (mut admin, _) = server.signed_in("admin", Role::Administrator).await;
    assert_eq!(admin.get("/healthz").await.0, StatusCode::OK);
    let (status, ready) = admin.get("/readyz").await;
    assert_eq!(
        (status, &ready["database"]),
        (StatusCode::OK, &Value::from("ok"))
    );
    assert_eq!(admin.get("/metrics").await.0, StatusCode::OK);
    let measured = server.services.metrics.render();
    for name in [
        "tongke_http_request_duration_seconds",
        "tongke_media_forwarded_packets_total",
        "tongke_media_peers",
    ] {
        assert!(measured.contains(name), "{name} is measured");
    }
    server.services.db.close().await;
    let (status, ready) = server.client().get("/readyz").await;
    assert_eq!(
        (status, &ready["database"]),
        (StatusCode::SERVICE_UNAVAILABLE, &Value::from("unavailable"))
    );
}

#[tokio::test]
async fn the_api_describes_itself() {
    let server = sqlite_server().await;
    let (status, api) = server.client().get("/api/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    assert!(api["paths"]["/api/lessons/{id}"]["patch"].is_object());
    assert!(api["components"]["schemas"]["LessonSummary"].is_object());
}

#[tokio::test]
async fn hsts_needs_a_configured_certificate() {
    for (mode, bound) in [
        (TlsMode::Off, false),
        (TlsMode::SelfSigned, false),
        (TlsMode::Files, true),
    ] {
        let server = server_with(|config| config.tls.mode = mode).await;
        for path in ["/", "/api/session", "/healthz"] {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let answer = tower::ServiceExt::oneshot(server.router.clone(), request)
                .await
                .expect("a router cannot fail");
            let told = answer.headers().get(header::STRICT_TRANSPORT_SECURITY);
            assert_eq!(
                told.is_some_and(|value| value == "max-age=15552000"),
                bound,
                "{mode:?} {path}"
            );
        }
    }
}

#[tokio::test]
async fn the_audit_log_shows_who_did_what_from_where_and_no_secrets() {
    let server = sqlite_server().await;
    let (mut admin, _) = server.signed_in("chief", Role::Administrator).await;
    let (mut teacher, teacher_id) = server.signed_in("wang", Role::Teacher).await;
    let wrong = json!({ "login": "chief", "password": "not the right one" });
    assert_eq!(
        server.client().post("/api/session", wrong).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        teacher.post("/api/schools", json!({})).await.0,
        StatusCode::FORBIDDEN
    );
    let path = format!("/api/people/{teacher_id}");
    assert_eq!(
        admin.patch(&path, json!({ "role": "observer" })).await.0,
        StatusCode::OK
    );
    let mistyped = admin.patch(&path, json!({ "role": "king" })).await.0;
    assert_eq!(mistyped, StatusCode::UNPROCESSABLE_ENTITY);

    let (status, log) = admin.get("/api/audit?per_page=500").await;
    assert_eq!(status, StatusCode::OK, "{log}");
    let entries = log["entries"].as_array().expect("entries");
    let seen = |method: &str, route: &str, status: u16, actor: Value| {
        entries.iter().find(|entry| {
            entry["method"] == method
                && entry["route"] == route
                && entry["status"] == status
                && entry["actor_name"] == actor
        })
    };
    assert!(
        seen("POST", "/api/session", 200, json!("wang")).is_some(),
        "{log}"
    );
    let failed = seen("POST", "/api/session", 401, Value::Null).expect("the failed sign-in");
    assert_eq!(failed["detail"], json!(r#"{"login":"chief"}"#));
    assert!(
        seen("POST", "/api/schools", 403, json!("wang")).is_some(),
        "{log}"
    );
    let change =
        seen("PATCH", "/api/people/{id}", 200, json!("chief")).expect("the change of role");
    let detail: Value =
        serde_json::from_str(change["detail"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        detail,
        json!({ "name": "wang", "role_before": "teacher", "role": "observer" })
    );
    assert_eq!(change["path"], json!(path));
    assert!(
        seen("PATCH", "/api/people/{id}", 422, json!("chief")).is_none(),
        "a mistyped form"
    );
    assert!(!log.to_string().contains(crate::testing::PASSWORD));
    assert_eq!(teacher.get("/api/audit").await.0, StatusCode::FORBIDDEN);
}
