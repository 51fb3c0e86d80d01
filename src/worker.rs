//! Runs `tongke-av` or `tongke-doc` as a child that can hurt nobody: its own process group, no network, a scratch folder, limits on memory, processor time,
//! file size, open files and wall time, and an end when its parent ends. It speaks JSON lines on its standard output.
//!
//! The network can be taken from it where the kernel allows (root, or user namespaces); whether it is, is said once in the log.
//!
//! What restricts it are the programs of util-linux: each becomes the next one, the last of them the worker. Calls made between fork and exec would
//! do the same, but a fork copies the page tables of the whole server, and every thread that then writes to its memory waits for a page, the media
//! threads, too: each job stalled every lesson for milliseconds. With nothing to do in between the child is made by `posix_spawn`, which copies
//! nothing.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::config;

/// What is kept of what it writes to standard error.
const STDERR_LIMIT: u64 = 16 << 10;
/// A line of its output at most; more is a fault.
const LINE_LIMIT: u64 = 64 << 10;
/// Open files: inputs, output, pipes.
const FILES: u64 = 256;
/// It does not starve the lessons.
const NICE: u8 = 10;

/// The worker program and its limits. Cloning shares them.
#[derive(Clone)]
pub struct Worker {
    inner: Arc<Inner>,
}

struct Inner {
    program: PathBuf,
    limits: Limits,
    isolation: Isolation,
}

/// What one run may use.
#[derive(Clone, Debug)]
struct Limits {
    memory_bytes: u64,
    cpu_seconds: u64,
    wall_seconds: u64,
    output_bytes: u64,
}

/// How far the network can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isolation {
    /// A network namespace of its own.
    Network,
    /// The same inside a user namespace, for a server that is not root.
    UserAndNetwork,
    None,
}

/// Why a run of the worker did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The input cannot be used; trying again is useless.
    #[error("{message}")]
    BadInput { code: String, message: String },
    #[error("cancelled")]
    Cancelled,
    #[error("it took longer than {0} s")]
    TooLong(u64),
    #[error("it reached one of its limits ({0})")]
    Limit(&'static str),
    #[error("{0}")]
    Failed(String),
    #[error("the worker program {} cannot be run: {cause}", program.display())]
    Start { program: PathBuf, cause: io::Error },
}

impl Worker {
    /// `tongke-av`, with the limits of `[worker]`.
    pub fn media(settings: &config::Worker) -> Worker {
        let config::Worker {
            memory_bytes,
            cpu_seconds,
            wall_seconds,
            output_bytes,
            ..
        } = *settings;
        let limits = Limits {
            memory_bytes,
            cpu_seconds,
            wall_seconds,
            output_bytes,
        };
        Self::new(&settings.program, "tongke-av", limits)
    }

    /// `tongke-doc`, with the limits of `[documents]`.
    pub fn documents(settings: &config::Documents) -> Worker {
        let config::Documents {
            memory_bytes,
            cpu_seconds,
            wall_seconds,
            output_bytes,
            ..
        } = *settings;
        let limits = Limits {
            memory_bytes,
            cpu_seconds,
            wall_seconds,
            output_bytes,
        };
        Self::new(&settings.program, "tongke-doc", limits)
    }

    /// Finds the program and what the kernel lets us take from it.
    fn new(program: &str, name: &str, limits: Limits) -> Worker {
        let program = match program {
            "" => beside_this_program(name),
            path => PathBuf::from(path),
        };
        let isolation = Isolation::probe();
        tracing::info!(
            program = %program.display(),
            memory_bytes = limits.memory_bytes,
            cpu_seconds = limits.cpu_seconds,
            network = isolation.in_words(),
            "jobs run in a child process with limits"
        );
        Worker {
            inner: Arc::new(Inner {
                program,
                limits,
                isolation,
            }),
        }
    }

    /// Runs one job in `scratch` and returns what it has done. `progress` hears 0 to 1.
    pub async fn run<Told: Future<Output = ()>>(
        &self,
        arguments: &[&str],
        scratch: &Path,
        cancel: &CancellationToken,
        progress: impl FnMut(f64) -> Told,
    ) -> Result<Value, WorkerError> {
        let mut child = self.spawn(arguments, scratch)?;
        let group = child.id();
        let wall_seconds = self.inner.limits.wall_seconds;
        let outcome = tokio::select! {
            outcome = follow(&mut child, progress) => outcome,
            () = cancel.cancelled() => Err(WorkerError::Cancelled),
            () = tokio::time::sleep(Duration::from_secs(wall_seconds)) => Err(WorkerError::TooLong(wall_seconds)),
        };
        // Whatever is left of its group ends with it.
        if let Some(group) = group {
            // SAFETY: kill(2) takes plain numbers; the group was made for this child, which has not been waited for unless it ended.
            unsafe { libc::kill(-(group as i32), libc::SIGKILL) };
        }
        let _ = child.wait().await;
        outcome
    }

    fn spawn(&self, arguments: &[&str], scratch: &Path) -> Result<Child, WorkerError> {
        let Inner {
            program,
            limits,
            isolation,
        } = &*self.inner;
        let cannot_start = |cause| WorkerError::Start {
            program: program.clone(),
            cause,
        };
        // Those before it could only say that the one after them is missing.
        std::fs::metadata(program).map_err(cannot_start)?;
        let mut command = Command::new("/usr/bin/nice");
        command
            .arg(format!("-n{NICE}"))
            .args(isolation.program())
            .args(limits.program())
            // The child dies with us and gains no rights.
            .args(["/usr/bin/setpriv", "--pdeathsig=KILL", "--no-new-privs"])
            .arg(program)
            .args(arguments)
            .current_dir(scratch)
            .env_clear()
            .env("TMPDIR", scratch)
            // Each further arena of glibc's allocator takes 64 MiB of address space, which is limited.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command.spawn().map_err(cannot_start)
    }
}

/// Reads the child's lines until it ends.
async fn follow<Told: Future<Output = ()>>(
    child: &mut Child,
    mut progress: impl FnMut(f64) -> Told,
) -> Result<Value, WorkerError> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        return Err(WorkerError::Failed("it has no output".into()));
    };
    let complaints = tokio::spawn(tail(stderr));
    let mut lines = BufReader::new(stdout);
    let mut last = Value::Null;
    loop {
        let mut line = Vec::new();
        match (&mut lines)
            .take(LINE_LIMIT)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let Ok(said) = serde_json::from_slice::<Value>(&line) else {
            continue;
        };
        match said.get("progress").and_then(Value::as_f64) {
            Some(done) => progress(done).await,
            None => last = said,
        }
    }
    let status = child
        .wait()
        .await
        .map_err(|error| WorkerError::Failed(error.to_string()))?;
    let complaints = complaints.await.unwrap_or_default();
    judge(status, &mut last, &complaints)
}

fn judge(status: ExitStatus, last: &mut Value, complaints: &str) -> Result<Value, WorkerError> {
    if status.success() && last.get("done").is_some() {
        return Ok(last["done"].take());
    }
    let text = |name: &str| last["error"][name].as_str().unwrap_or_default().to_owned();
    match (status.code(), status.signal()) {
        (Some(2), _) if last.get("error").is_some() => Err(WorkerError::BadInput {
            code: text("code"),
            message: text("message"),
        }),
        (_, Some(libc::SIGXCPU)) => Err(WorkerError::Limit("processor time")),
        (_, Some(libc::SIGXFSZ)) => Err(WorkerError::Limit("file size")),
        _ if last.get("error").is_some() => Err(WorkerError::Failed(text("message"))),
        _ => Err(WorkerError::Failed(format!(
            "{status}: {}",
            complaints.trim()
        ))),
    }
}

/// The end of what it says on standard error; the rest is read and dropped, so that it never waits for us.
async fn tail(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count) = stderr.read(&mut piece).await {
        if count == 0 {
            break;
        }
        kept.extend_from_slice(&piece[..count]);
        let excess = kept.len().saturating_sub(STDERR_LIMIT as usize);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

impl Limits {
    /// What sets them and becomes what follows.
    fn program(&self) -> [String; 6] {
        let Limits {
            memory_bytes,
            cpu_seconds,
            output_bytes,
            ..
        } = self;
        [
            "/usr/bin/prlimit".to_owned(),
            format!("--as={memory_bytes}"),
            format!("--cpu={cpu_seconds}"),
            format!("--fsize={output_bytes}"),
            format!("--nofile={FILES}"),
            "--core=0".to_owned(),
        ]
    }
}

impl Isolation {
    /// What takes the network away and becomes what follows.
    fn program(self) -> &'static [&'static str] {
        match self {
            Isolation::Network => &["/usr/bin/unshare", "--net"],
            Isolation::UserAndNetwork => &["/usr/bin/unshare", "--user", "--net"],
            Isolation::None => &[],
        }
    }

    /// Tries what works, in a child that does nothing else.
    fn probe() -> Isolation {
        let works = |isolation: &Isolation| {
            let mut words = isolation.program().iter().chain(&["/usr/bin/true"]);
            let mut command = std::process::Command::new(words.next().expect("one at least"));
            command
                .args(words)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        [Isolation::Network, Isolation::UserAndNetwork]
            .into_iter()
            .find(works)
            .unwrap_or(Isolation::None)
    }

    fn in_words(self) -> &'static str {
        match self {
            Isolation::Network => "none (own namespace)",
            Isolation::UserAndNetwork => "none (own user and network namespace)",
            Isolation::None => "the server's (the kernel allows no namespaces)",
        }
    }
}

/// The executables are installed side by side.
fn beside_this_program(name: &str) -> PathBuf {
    let here = std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.parent()?.join(name)));
    here.unwrap_or_else(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that does what a decoder could be tricked into doing.
    fn worker(script: &str, wall_seconds: u64) -> (Worker, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
        let program = program.to_str().expect("plain").to_owned();
        let limits = config::Worker {
            program,
            wall_seconds,
            output_bytes: 1 << 20,
            ..config::Worker::default()
        };
        (Worker::media(&limits), folder)
    }

    async fn run(
        worker: &Worker,
        folder: &tempfile::TempDir,
    ) -> (Result<Value, WorkerError>, Vec<f64>) {
        let heard = std::sync::Mutex::new(Vec::new());
        let hear = |done| {
            heard.lock().expect("one thread").push(done);
            std::future::ready(())
        };
        let outcome = worker
            .run(&["job"], folder.path(), &CancellationToken::new(), hear)
            .await;
        (outcome, heard.into_inner().expect("one thread"))
    }

    #[tokio::test]
    async fn what_a_job_says_is_heard() {
        let (worker, folder) = worker(
            r#"echo '{"progress":0.5}'; echo noise; echo '{"done":{"size":7}}'"#,
            10,
        );
        let (outcome, heard) = run(&worker, &folder).await;
        assert_eq!(
            (outcome.expect("done")["size"].as_i64(), heard),
            (Some(7), vec![0.5])
        );
    }

    #[tokio::test]
    async fn bad_input_is_told_from_a_crash() {
        let (bad, folder) = worker(
            r#"echo '{"error":{"code":"broken_input","message":"no film"}}'; exit 2"#,
            10,
        );
        assert!(
            matches!(run(&bad, &folder).await.0, Err(WorkerError::BadInput { code, .. }) if code == "broken_input")
        );
        let (crash, folder) = worker("echo oops >&2; kill -SEGV $$", 10);
        assert!(
            matches!(run(&crash, &folder).await.0, Err(WorkerError::Failed(why)) if why.contains("oops"))
        );
    }

    #[tokio::test]
    async fn a_job_that_hangs_ends_with_all_its_children() {
        let (worker, folder) = worker("sleep 300 & echo $! > child; wait", 1);
        assert!(matches!(
            run(&worker, &folder).await.0,
            Err(WorkerError::TooLong(1))
        ));
        let child = std::fs::read_to_string(folder.path().join("child")).expect("written");
        let stat = format!("/proc/{}/stat", child.trim());
        let gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        for _ in 0..100 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the child of the child lives");
    }

    #[tokio::test]
    async fn a_job_is_restricted_before_it_begins() {
        let script = r#"
            rights=$(grep -c '^NoNewPrivs:.1$' /proc/self/status)
            limits="$(ulimit -v) $(ulimit -t) $(ulimit -n) $(ulimit -c)"
            echo "{\"done\":\"$limits $rights $(nice)\"}""#;
        let (worker, folder) = worker(script, 10);
        let Limits {
            memory_bytes,
            cpu_seconds,
            ..
        } = worker.inner.limits;
        let memory_kilobytes = memory_bytes / 1024;
        // These tests may themselves be nice (nice(1); 19 is as nice as can be).
        let ours = std::process::Command::new("nice")
            .output()
            .expect("coreutils")
            .stdout;
        let ours: i8 = String::from_utf8_lossy(&ours)
            .trim()
            .parse()
            .expect("a priority");
        let nice = (ours + NICE as i8).min(19);
        let expected = format!("{memory_kilobytes} {cpu_seconds} {FILES} 0 1 {nice}");
        assert_eq!(
            run(&worker, &folder).await.0.expect("done"),
            Value::from(expected)
        );
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let (worker, folder) = worker("", 10);
        std::fs::remove_file(folder.path().join("program")).expect("removed");
        let why = run(&worker, &folder).await.0.expect_err("nothing to run");
        assert!(
            matches!(&why, WorkerError::Start { .. }) && why.to_string().contains("/program"),
            "{why}"
        );
    }

    #[tokio::test]
    async fn a_job_that_writes_without_end_is_stopped() {
        let (worker, folder) = worker("exec head -c 100000000 /dev/zero > big", 10);
        assert!(matches!(
            run(&worker, &folder).await.0,
            Err(WorkerError::Limit("file size"))
        ));
        assert!(
            std::fs::metadata(folder.path().join("big"))
                .expect("there")
                .len()
                <= 1 << 20
        );
    }

    #[tokio::test]
    async fn a_job_is_cancelled_at_once() {
        let (worker, folder) = worker("sleep 300", 60);
        let cancel = CancellationToken::new();
        cancel.cancel();
        let outcome = worker
            .run(&["job"], folder.path(), &cancel, |_| std::future::ready(()))
            .await;
        assert!(matches!(outcome, Err(WorkerError::Cancelled)));
    }

    #[tokio::test]
    async fn a_job_sees_no_network_where_the_kernel_allows() {
        let (worker, folder) = worker(
            r#"printf '{"done":{"lines":%d}}\n' $(wc -l < /proc/self/net/dev)"#,
            10,
        );
        let lines = run(&worker, &folder).await.0.expect("done")["lines"]
            .as_i64()
            .expect("a number");
        if worker.inner.isolation != Isolation::None {
            assert_eq!(lines, 3, "two lines of heading, and the loopback");
        }
    }
}
