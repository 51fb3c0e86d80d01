//! The real server as a child process on its own ports, with demo accounts and rooms.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Timeout of a debug build on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Lines of the server's log printed when a test fails.
const LOG_LINES: usize = 60;

pub struct Server {
    child: Child,
    data: TempDir,
    client: Client,
    pub base: String,
    demo: Value,
}

/// A signed-in person or classroom.
#[derive(Clone)]
pub struct Visitor {
    pub cookie: String,
}

impl Server {
    pub async fn start() -> Server {
        // reqwest is built without a crypto provider; the first test installs it for all.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new();
        let data = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        let child = Command::new(env!("CARGO_BIN_EXE_tongke"))
            .args([
                "serve",
                "--demo",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--data",
            ])
            .arg(data.path())
            .env("TONGKE_MEDIA__LISTEN", "127.0.0.1")
            .env("TONGKE_MEDIA__PORT", "0")
            // Two shards, so that participants of a lesson are on different threads.
            .env("TONGKE_MEDIA__SHARDS", "2")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(data.path().join("log")).expect("a file"))
            .spawn()
            .expect("the server starts");
        let base = format!("http://127.0.0.1:{port}");
        let mut server = Server {
            child,
            data,
            client,
            base,
            demo: Value::Null,
        };
        server.wait_until_ready().await;
        server
    }

    async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        let demo = self.data.path().join("demo.json");
        while !(self.answers().await && read(&demo).is_some()) {
            assert!(Instant::now() < deadline, "the server is not ready in time");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.demo = read(&demo).expect("it was there a moment ago");
    }

    async fn answers(&self) -> bool {
        self.client
            .get(format!("{}/readyz", self.base))
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let status = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the process to exit; true for success.
    pub async fn exit(&mut self) -> bool {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return status.success();
            }
            assert!(Instant::now() < deadline, "the server does not stop");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Id of the current lesson.
    pub fn lesson(&self) -> String {
        self.demo["lesson"]["id"]
            .as_str()
            .expect("demo.json names the lesson")
            .to_owned()
    }

    pub async fn person(&self, login: &str) -> Visitor {
        let people = self.demo["people"]
            .as_array()
            .expect("demo.json lists people");
        let person = people
            .iter()
            .find(|p| p["login"] == login)
            .expect("demo.json has the person");
        self.enter(
            "/api/session",
            &json!({ "login": login, "password": person["password"] }),
        )
        .await
    }

    /// Signs in as the classroom whose name starts with `name`.
    pub async fn room(&self, name: &str) -> Visitor {
        let rooms = self.demo["rooms"]
            .as_array()
            .expect("demo.json lists rooms");
        let room = rooms
            .iter()
            .find(|r| r["name"].as_str().is_some_and(|n| n.starts_with(name)));
        let url = room
            .and_then(|r| r["url"].as_str())
            .expect("demo.json has the room");
        let pass = url.rsplit('/').next().expect("an address has parts");
        self.enter("/api/session/pass", &json!({ "pass": pass }))
            .await
    }

    async fn enter(&self, path: &str, body: &Value) -> Visitor {
        let answer = self
            .client
            .post(format!("{}{path}", self.base))
            .json(body)
            .send()
            .await
            .expect("the server answers");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let cookie = answer.headers()[SET_COOKIE]
            .to_str()
            .expect("a cookie is ASCII");
        Visitor {
            cookie: cookie
                .split(';')
                .next()
                .expect("split gives one part at least")
                .to_owned(),
        }
    }

    pub async fn get(&self, visitor: &Visitor, path: &str) -> Response {
        let request = self
            .client
            .get(format!("{}{path}", self.base))
            .header(COOKIE, &visitor.cookie);
        request.send().await.expect("the server answers")
    }

    pub async fn post(&self, visitor: &Visitor, path: &str, body: &Value) -> Response {
        let request = self
            .client
            .post(format!("{}{path}", self.base))
            .header(COOKIE, &visitor.cookie)
            .json(body);
        request.send().await.expect("the server answers")
    }

    pub async fn delete(&self, visitor: &Visitor, path: &str) -> Response {
        let request = self
            .client
            .delete(format!("{}{path}", self.base))
            .header(COOKIE, &visitor.cookie);
        request.send().await.expect("the server answers")
    }

    /// Creates a WHIP or WHEP token; returns its id and value.
    pub async fn token(&self, kind: &str) -> (String, String) {
        let lead = self.person("zhoumin").await;
        let path = format!("/api/lessons/{}/tokens", self.lesson());
        let answer = self
            .post(&lead, &path, &json!({ "kind": kind, "label": "录播主机" }))
            .await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        let made: Value = answer.json().await.expect("JSON");
        let text = |key: &str| made[key].as_str().expect("a string").to_owned();
        (text("id"), text("token"))
    }

    /// A request to `/whip/…` or `/whep/…` with a bearer token.
    pub fn program(
        &self,
        method: reqwest::Method,
        path: &str,
        token: &str,
    ) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(token)
    }

    /// Posts an offer. Returns the status, the path of the session, and the body.
    pub async fn offer(
        &self,
        path: &str,
        token: &str,
        sdp: String,
    ) -> (StatusCode, String, String) {
        let request = self
            .program(reqwest::Method::POST, path, token)
            .header(CONTENT_TYPE, "application/sdp")
            .body(sdp);
        let answer = request.send().await.expect("the server answers");
        let location = answer
            .headers()
            .get("location")
            .and_then(|l| l.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        (
            answer.status(),
            location,
            answer.text().await.expect("a body"),
        )
    }
}

fn read(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
            eprintln!(
                "the server's last words:\n{}",
                last.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
    }
}
