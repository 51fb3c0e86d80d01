//! Cost of an upload compared with a program that only writes the same bytes to disk.
//!
//! `cargo bench --bench upload -- [MEGABYTES] [ROUNDS]` (2048 and 9): each round sends a file with
//! `curl -T` to a sink (one thread that writes the body to a file on the same disk and fsyncs it
//! before the response), and with the same curl as one tus PATCH to a Tongke server (`TONGKE_BIN`
//! selects another build). The order alternates between rounds. Prints one line of JSON: speeds in
//! megabytes (10⁶ bytes) per second; `ratio` is the median of the ratios within each round, as the
//! speed of a disk drifts.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use serde_json::{Value, json};

fn main() {
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let bytes = numbers.first().copied().unwrap_or(2048) << 20;
    let rounds = numbers.get(1).copied().unwrap_or(9);
    // On the disk of the build folder: /tmp may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let content = folder.path().join("content.bin");
    let sink = start_sink(folder.path().join("sink.bin"));
    let server = Server::start(folder.path());
    let idle = resident(server.child.id());
    let peak = watch(server.child.id());
    let (mut tus, mut plain) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        // Different content each time, as the library stores equal content once.
        fill(&content, bytes, round);
        if round % 2 == 0 {
            tus.push(server.upload(&content, bytes));
        }
        plain.push(send(&content, &sink, &[]));
        if round % 2 == 1 {
            tus.push(server.upload(&content, bytes));
        }
        eprintln!(
            "round {round}: tus {:.0} MB/s, sink {:.0} MB/s",
            tus[tus.len() - 1],
            plain[plain.len() - 1]
        );
    }
    drop(server);
    let peak = peak.join().expect("it ends with the server");
    let ratios: Vec<f64> = tus
        .iter()
        .zip(&plain)
        .map(|(tus, plain)| tus / plain)
        .collect();
    let told = json!({
        "bench": "upload", "bytes": bytes, "tus_mb_s": tus, "sink_mb_s": plain, "ratio": median(&ratios),
        "worst_ratio": ratios.iter().copied().fold(f64::INFINITY, f64::min),
        "rss_idle_bytes": idle, "rss_peak_bytes": peak,
    });
    println!("{told}");
}

/// A demo server on a free port, with a teacher signed in.
struct Server {
    child: Child,
    base: String,
    data: PathBuf,
    cookies: PathBuf,
}

impl Server {
    fn start(folder: &Path) -> Server {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("a free port")
            .port();
        let (data, base) = (folder.join("data"), format!("http://127.0.0.1:{port}"));
        let program =
            std::env::var("TONGKE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tongke").to_owned());
        let child = Command::new(program)
            .args([
                "serve",
                "--demo",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--data",
            ])
            .arg(&data)
            .envs([
                ("TONGKE_MEDIA__LISTEN", "127.0.0.1"),
                ("TONGKE_MEDIA__PORT", "0"),
                ("TONGKE_MEDIA__SHARDS", "1"),
            ])
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("log")).expect("a file"))
            .spawn()
            .expect("the server starts");
        let server = Server {
            child,
            base,
            data,
            cookies: folder.join("cookies"),
        };
        let demo = server.data.join("demo.json");
        while TcpStream::connect(("127.0.0.1", port)).is_err() || !demo.exists() {
            sleep(Duration::from_millis(50));
        }
        let demo: Value =
            serde_json::from_slice(&std::fs::read(demo).expect("written")).expect("JSON");
        let form =
            json!({ "login": demo["people"][0]["login"], "password": demo["people"][0]["password"] }).to_string();
        server.curl(&[
            "-H",
            "Content-Type: application/json",
            "-d",
            &form,
            &format!("{}/api/session", server.base),
        ]);
        server
    }

    /// Creates an upload and sends it in one PATCH; returns megabytes per second of the PATCH.
    fn upload(&self, content: &Path, bytes: u64) -> f64 {
        let length = format!("Upload-Length: {bytes}");
        let name = "Upload-Metadata: filename bGVzc29uLmJpbg==";
        let all = format!("{}/api/uploads", self.base);
        let told = self.curl(&[
            "-D",
            "-",
            "-X",
            "POST",
            "-H",
            "Tus-Resumable: 1.0.0",
            "-H",
            &length,
            "-H",
            name,
            &all,
        ]);
        let at = told
            .lines()
            .find_map(|line| line.strip_prefix("location: "))
            .expect("an address")
            .trim();
        let url = format!("{}{at}", self.base);
        let jar = self.cookies.to_str().expect("ASCII");
        let piece = [
            "-X",
            "PATCH",
            "-b",
            jar,
            "-H",
            "Tus-Resumable: 1.0.0",
            "-H",
            "Upload-Offset: 0",
        ];
        let kind = ["-H", "Content-Type: application/offset+octet-stream"];
        let speed = send(content, &url, &[&piece[..], &kind[..]].concat());
        let state: Value = serde_json::from_str(&self.curl(&[&url])).expect("JSON");
        assert!(
            state["offset"] == bytes && state["resource_id"].is_string(),
            "it has become a resource: {state}"
        );
        // The sink overwrites its file. Where fresh disk space is slower, as on a disk image, the
        // library must not be the only one to use it.
        std::fs::remove_dir_all(self.data.join("objects/blobs")).expect("its content is there");
        speed
    }

    fn curl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("curl");
        command
            .arg("-sS")
            .arg("-b")
            .arg(&self.cookies)
            .arg("-c")
            .arg(&self.cookies)
            .args(arguments);
        run(&mut command)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a file as the body of one request; returns megabytes per second, as curl measures them.
fn send(content: &Path, url: &str, more: &[&str]) -> f64 {
    let mut command = Command::new("curl");
    command
        .args([
            "-sS",
            "--fail",
            "-o",
            "/dev/null",
            "-w",
            "%{speed_upload}",
            "-T",
        ])
        .arg(content)
        .args(more)
        .arg(url);
    run(&mut command).trim().parse::<f64>().expect("a number") / 1e6
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("curl is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Different bytes each round, unlike any known file type.
fn fill(path: &Path, bytes: u64, round: u64) {
    let mut file = File::create(path).expect("a file");
    let mut block = vec![0_u8; 1 << 20];
    for n in 0..bytes >> 20 {
        block[8..16].copy_from_slice(&(n + 1).to_le_bytes());
        block[16..24].copy_from_slice(&round.to_le_bytes());
        file.write_all(&block).expect("room");
    }
    // Pending writes would slow the next candidate.
    file.sync_all().expect("on the disk");
}

/// Writes the bodies of requests to a file, one after another.
fn start_sink(path: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/file", listener.local_addr().expect("bound"));
    spawn(move || {
        listener
            .incoming()
            .flatten()
            .for_each(|stream| drain(stream, &path))
    });
    url
}

fn drain(mut stream: TcpStream, path: &Path) {
    let mut body = BufReader::with_capacity(1 << 20, stream.try_clone().expect("a second handle"));
    let (mut length, mut line) = (0, String::new());
    while body.read_line(&mut line).is_ok_and(|read| read > 2) {
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().expect("a number"),
            "expect" => stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .expect("curl waits for it"),
            _ => {}
        }
        line.clear();
    }
    let mut file = File::create(path).expect("a file");
    std::io::copy(&mut body.take(length), &mut file).expect("room");
    file.sync_all().expect("on the disk");
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        .expect("curl waits for it");
}

fn median(speeds: &[f64]) -> f64 {
    let mut sorted = speeds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Peak resident set size of a process, read until it exits.
fn watch(pid: u32) -> JoinHandle<u64> {
    spawn(move || {
        let mut peak = 0;
        while let now @ 1.. = resident(pid) {
            peak = peak.max(now);
            sleep(Duration::from_millis(50));
        }
        peak
    })
}

/// Resident set size in bytes; 0 after the exit.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next())
        .and_then(|kb| kb.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}
