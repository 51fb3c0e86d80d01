//! Test fixtures: servers over both databases, people of every role, and a client that keeps its
//! cookie.
//!
//! PostgreSQL is a real one: that of `TONGKE_TEST_POSTGRES`, else a throwaway cluster that ends with
//! the test process. Without PostgreSQL the tests fail; they are never skipped.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

use crate::app;
use crate::config::{Config, Media};
use crate::db::{Db, sqlite_url};
use crate::http::Services;
use crate::identity::{NewPerson, Role, add_person};
use crate::ids::{ClassroomId, PersonId, SchoolId};
use crate::schools::{self, NewClassroom, NewSchool, SchoolRole};

/// Services with a data directory of their own, and one school.
pub struct TestServer {
    pub services: Services,
    pub school: SchoolId,
    pub router: Router,
    folder: TempDir,
}

/// An empty server on SQLite, and one on PostgreSQL.
pub async fn test_servers() -> [TestServer; 2] {
    [
        sqlite_server().await,
        server(Some(fresh_postgres().await)).await,
    ]
}

pub async fn sqlite_server() -> TestServer {
    server(None).await
}

async fn server(url: Option<String>) -> TestServer {
    server_with(|config| {
        if let Some(url) = url {
            config.database.url = url;
        }
    })
    .await
}

/// An empty server on SQLite with a changed configuration.
pub async fn server_with(change: impl FnOnce(&mut Config)) -> TestServer {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = Config::default();
    config.server.data_dir = folder.path().into();
    config.database.connections = 4;
    config.media = Media {
        listen: Ipv4Addr::LOCALHOST.into(),
        port: 0,
        shards: 1,
        ..Media::default()
    };
    config.database.url = sqlite_url(&folder.path().join("test.db"));
    change(&mut config);
    let services = app::open(config).await.expect("opens");
    let new = NewSchool {
        community_id: None,
        name: "实验小学".into(),
        role: SchoolRole::Core,
        membership: None,
    };
    let school = schools::add_school(&services.db, new)
        .await
        .expect("added")
        .id;
    TestServer {
        router: crate::http::router(services.clone()),
        services,
        school,
        folder,
    }
}

/// Empty databases of both engines.
pub async fn databases() -> Vec<(Db, TempDir)> {
    let folder = || tempfile::tempdir().expect("a folder");
    let sqlite = folder();
    let url = sqlite_url(&sqlite.path().join("test.db"));
    vec![
        (Db::connect(&url, 4).await.expect("SQLite opens"), sqlite),
        (
            Db::connect(&fresh_postgres().await, 4)
                .await
                .expect("PostgreSQL opens"),
            folder(),
        ),
    ]
}

/// Password of every person of a test.
pub const PASSWORD: &str = "a good passphrase";

impl TestServer {
    /// Data directory.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub async fn person(&self, login: &str, role: Role) -> PersonId {
        let new = NewPerson {
            school: Some(self.school),
            name: login.into(),
            login: login.into(),
            role,
        };
        add_person(&self.services.identity, new, PASSWORD.into())
            .await
            .expect("added")
    }

    pub async fn classroom(&self, name: &str) -> ClassroomId {
        let new = NewClassroom {
            school_id: self.school,
            name: name.into(),
        };
        schools::add_classroom(&self.services.db, new)
            .await
            .expect("added")
    }

    /// A client without a session.
    pub fn client(&self) -> TestClient {
        TestClient {
            router: self.router.clone(),
            cookie: None,
            language: "zh-CN",
        }
    }

    /// A client with the session of a new person of that role.
    pub async fn signed_in(&self, login: &str, role: Role) -> (TestClient, PersonId) {
        let id = self.person(login, role).await;
        (self.sign_in(login).await, id)
    }

    pub async fn sign_in(&self, login: &str) -> TestClient {
        let mut page = self.client();
        let form = serde_json::json!({ "login": login, "password": PASSWORD });
        let (status, body) = page.post("/api/session", form).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        page
    }

    /// A client with the session of a new classroom.
    pub async fn device(&self, name: &str) -> (TestClient, ClassroomId) {
        let id = self.classroom(name).await;
        let pass = schools::new_pass(&self.services.db, id)
            .await
            .expect("made");
        let mut page = self.client();
        let (status, body) = page
            .post("/api/session/pass", serde_json::json!({ "pass": pass }))
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        (page, id)
    }
}

/// An HTTP client that keeps its cookie.
#[derive(Clone)]
pub struct TestClient {
    router: Router,
    pub cookie: Option<String>,
    pub language: &'static str,
}

impl TestClient {
    pub async fn get(&mut self, path: &str) -> (StatusCode, Value) {
        self.send("GET", path, None).await
    }

    pub async fn post(&mut self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send("POST", path, Some(body)).await
    }

    pub async fn patch(&mut self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send("PATCH", path, Some(body)).await
    }

    pub async fn delete(&mut self, path: &str) -> (StatusCode, Value) {
        self.send("DELETE", path, None).await
    }

    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "tongke.test");
        request = request
            .header(header::ACCEPT_LANGUAGE, self.language)
            .header(header::ORIGIN, "http://tongke.test");
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.raw(request.body(body).expect("a request")).await
    }

    /// Sends a JSON body, with a cookie of its own if given, and returns the whole response.
    pub async fn raw_response(
        &mut self,
        method: &str,
        path: &str,
        body: &Value,
        cookie: Option<&str>,
    ) -> axum::response::Response {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "tongke.test")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let request = request
            .body(Body::from(body.to_string()))
            .expect("a request");
        self.router
            .clone()
            .oneshot(request)
            .await
            .expect("a router cannot fail")
    }

    /// Sends a request unchanged and keeps the cookie of the response.
    pub async fn raw(&mut self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("a router cannot fail");
        let cookies = response.headers().get_all(header::SET_COOKIE).into_iter();
        let session = |cookie: &&HeaderValue| cookie.as_bytes().starts_with(b"tongke_session=");
        if let Some(cookie) = { cookies }.find(session) {
            let pair = cookie
                .to_str()
                .expect("ASCII")
                .split(';')
                .next()
                .expect("a first part")
                .to_owned();
            self.cookie = Some(pair).filter(|pair| !pair.ends_with('='));
        }
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 4 << 20)
            .await
            .expect("a body");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

/// Creates an empty PostgreSQL database and returns its URL.
async fn fresh_postgres() -> String {
    let server = postgres().to_owned();
    let name = format!("test_{:032x}", rand::random::<u128>());
    sqlx::any::install_default_drivers();
    let pool = connect_with_retry(&server).await;
    let create = format!("CREATE DATABASE {name}");
    sqlx::query(sqlx::AssertSqlSafe(create))
        .execute(&pool)
        .await
        .expect("a database can be made");
    pool.close().await;
    let (front, query) = server
        .split_once('?')
        .expect("the address names a socket folder");
    let (front, _) = front
        .rsplit_once('/')
        .expect("the address names a database");
    format!("{front}/{name}?{query}")
}

async fn connect_with_retry(url: &str) -> sqlx::AnyPool {
    let options = sqlx::any::AnyPoolOptions::new().max_connections(1);
    for _ in 0..100 {
        if let Ok(pool) = options.clone().connect(url).await {
            return pool;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    options
        .connect(url)
        .await
        .expect("the PostgreSQL of the tests answers within 10 s")
}

/// The test process's PostgreSQL server.
fn postgres() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| std::env::var("TONGKE_TEST_POSTGRES").unwrap_or_else(|_| start_cluster()))
}

/// Starts a cluster that stops and is deleted when its standard input closes, however this process
/// ends.
fn start_cluster() -> String {
    static CLUSTER: OnceLock<Child> = OnceLock::new();
    let mut child = Command::new("sh")
        .args(["-c", CLUSTER_SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut folder = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut folder)
        .expect("the script prints a line");
    let folder = folder.trim();
    assert!(
        !folder.is_empty(),
        "these tests need PostgreSQL (deploy/setup installs it), and it did not start"
    );
    CLUSTER.get_or_init(|| child);
    format!("postgres://tongke@localhost/postgres?host={folder}")
}

const CLUSTER_SCRIPT: &str = r#"
set -e
bin=$(find /usr/lib/postgresql -name initdb -printf '%h\n' | sort -V | tail -1)
[ -n "$bin" ] || { echo "PostgreSQL is not installed" >&2; exit 1; }
folder=$(mktemp -d)
if [ "$(id -u)" = 0 ]; then
  chown postgres "$folder"
  as="setpriv --reuid=postgres --regid=postgres --init-groups"
fi
cd /
$as "$bin/initdb" -D "$folder/db" -U tongke -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"/dev/null"
$as "$bin/postgres" -D "$folder/db" -c listen_addresses= -k "$folder" -c fsync=off -c max_connections=300 >/dev/null 2>&1 &
postgres=$!
echo "$folder"
read -r _ || true
kill -INT $postgres
wait $postgres || true
rm -rf "$folder"
"#;
