//! The real server as a child process that can be killed and restarted on the same data.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use reqwest::header::SET_COOKIE;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tus::Tus;

/// Timeout of a debug build on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(90);

pub struct Server {
    child: Child,
    data: TempDir,
    port: u16,
    client: Client,
    cookie: String,
}

impl Server {
    /// Starts a demo server and signs a teacher in.
    pub async fn start() -> Server {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let data = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let child = spawn(&data, port);
        let mut server = Server {
            child,
            data,
            port,
            client: Client::new(),
            cookie: String::new(),
        };
        server.wait_until_ready().await;
        let people: Value =
            serde_json::from_slice(&std::fs::read(server.demo()).expect("written")).expect("JSON");
        let person = &people["people"][0];
        let form = json!({ "login": person["login"], "password": person["password"] });
        let answer = server
            .client
            .post(format!("{}/api/session", server.base()))
            .json(&form)
            .send()
            .await;
        let cookie = answer.expect("answers").headers()[SET_COOKIE]
            .to_str()
            .expect("ASCII")
            .to_owned();
        server.cookie = cookie.split(';').next().expect("a first part").to_owned();
        server
    }

    /// Kills the process with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ends");
    }

    pub async fn restart(&mut self) {
        // The upload may have finished before the kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Another process may have taken the old port meanwhile.
        self.port = free_port();
        self.child = spawn(&self.data, self.port);
        self.wait_until_ready().await;
    }

    pub fn tus(&self) -> Tus {
        Tus {
            port: self.port,
            cookie: self.cookie.clone(),
            client: self.client.clone(),
        }
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn demo(&self) -> PathBuf {
        self.data.path().join("demo.json")
    }

    async fn wait_until_ready(&self) {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let answer = self
                .client
                .get(format!("{}/readyz", self.base()))
                .send()
                .await;
            if answer.is_ok_and(|answer| answer.status().is_success()) && self.demo().exists() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the server is not ready in time: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default()
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

fn spawn(data: &TempDir, port: u16) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(data.path().join("log"))
        .expect("a file");
    Command::new(env!("CARGO_BIN_EXE_tongke"))
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
        .env("TONGKE_MEDIA__SHARDS", "1")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the server starts")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let last: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!(
                "the server's last words:\n{}",
                last.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
    }
}
