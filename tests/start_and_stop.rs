//! Start and stop of the real program, and its error messages.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

fn tongke(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tongke"));
    command
        .args(arguments)
        .arg("--data")
        .arg(data)
        .current_dir(data);
    command
        .env("TONGKE_MEDIA__LISTEN", "127.0.0.1")
        .env("TONGKE_MEDIA__PORT", "0")
        .env("TONGKE_MEDIA__SHARDS", "1");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port()
}

/// A server that is killed when dropped.
struct Server {
    child: Child,
    /// Output up to its start.
    said: String,
}

impl Server {
    fn start(data: &Path, port: u16, arguments: &[&str]) -> Self {
        let listen = format!("127.0.0.1:{port}");
        let mut child = tongke(data, &[&["serve", "--listen", &listen], arguments].concat())
            .spawn()
            .expect("it runs");
        let mut said = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        while !said.contains("Tongke 同课") {
            assert!(
                output.read_line(&mut said).expect("text") > 0,
                "it ended: {said}{}",
                stderr(&mut child)
            );
        }
        Self { child, said }
    }

    /// Sends SIGTERM; returns exit code and duration.
    fn stop(mut self) -> (i32, Duration) {
        let begun = Instant::now();
        // SAFETY: the child is ours and not yet waited for, so its process id is valid.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        let status = self.child.wait().expect("it ends");
        (status.code().unwrap_or(-1), begun.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stderr(child: &mut Child) -> String {
    let mut text = String::new();
    let _ = child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut text);
    text
}

fn ends(mut command: Command) -> (bool, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it runs");
    (
        status.success(),
        String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(),
    )
}

#[test]
fn the_first_start_without_demo_prints_a_one_time_link_and_sigterm_stops_cleanly() {
    let data = folder();
    let server = Server::start(data.path(), free_port(), &[]);
    assert_eq!(server.said.matches("/setup/").count(), 1, "{}", server.said);
    let (ok, link) = ends(tongke(data.path(), &["admin-link"]));
    assert!(ok && link.contains("/setup/"), "{link}");
    let (code, took) = server.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn an_occupied_port_and_an_occupied_folder_are_reported() {
    let (data, other, port) = (folder(), folder(), free_port());
    let _server = Server::start(data.path(), port, &[]);
    let taken = format!("127.0.0.1:{port}");
    let (ok, text) = ends(tongke(other.path(), &["serve", "--listen", &taken]));
    assert!(
        !ok && text.contains("is taken by another program"),
        "{text}"
    );
    let free = format!("127.0.0.1:{}", free_port());
    let (ok, text) = ends(tongke(data.path(), &["serve", "--listen", &free]));
    assert!(!ok && text.contains("another tongke is running"), "{text}");
}

#[test]
fn one_command_rebuilds_the_search_index_of_a_running_server() {
    let data = folder();
    let server = Server::start(data.path(), free_port(), &[]);
    let (ok, text) = ends(tongke(data.path(), &["search", "rebuild"]));
    assert!(ok && text.contains("has been built anew"), "{text}");
    let current =
        std::fs::read_to_string(data.path().join("search/current")).expect("names the index");
    assert!(data.path().join("search").join(current).is_dir());
    assert_eq!(server.stop().0, 0);
}

#[test]
fn a_misspelt_setting_is_reported_with_the_nearest_known_one() {
    let data = folder();
    let file = data.path().join("config.toml");
    std::fs::write(&file, "[recording]\nspool_maxbytes = 5\n").expect("written");
    let check = [
        "config",
        "check",
        "--config",
        file.to_str().expect("a path"),
    ];
    let (ok, text) = ends(tongke(data.path(), &check));
    assert!(
        !ok && text.contains("did you mean `recording.spool_max_bytes`?"),
        "{text}"
    );
    std::fs::write(&file, include_str!("../deploy/config.toml")).expect("written");
    let (ok, text) = ends(tongke(data.path(), &check));
    assert!(ok, "{text}");
}

#[tokio::test]
async fn a_self_signed_server_speaks_tls_and_marks_its_cookie_secure() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (data, port) = (folder(), free_port());
    std::fs::write(
        data.path().join("config.toml"),
        "[tls]\nmode = \"self_signed\"\n",
    )
    .expect("written");
    let server = Server::start(data.path(), port, &["--demo", "--config", "config.toml"]);
    assert!(server.said.contains("SHA-256"), "{}", server.said);
    let demo: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data.path().join("demo.json")).expect("written"))
            .expect("JSON");
    let base = demo["base_url"].as_str().expect("an address");
    assert_eq!(base, format!("https://127.0.0.1:{port}"));
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .expect("a client");
    let person = &demo["people"][0];
    let form = serde_json::json!({ "login": person["login"], "password": person["password"] });
    let answer = client
        .post(format!("{base}/api/session"))
        .json(&form)
        .send()
        .await
        .expect("answers");
    assert_eq!(answer.status().as_u16(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().expect("ASCII");
    assert!(
        cookie.contains("; Secure") && cookie.contains("; HttpOnly"),
        "{cookie}"
    );
}
