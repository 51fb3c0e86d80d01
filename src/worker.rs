//! Worker processes: runs `tongke-av` or `tongke-doc` as a sandboxed child.
//!
//! A worker has its own process group, no network where the kernel allows it (root or user
//! namespaces; logged at start), a scratch directory, and limits on memory, processor time, file
//! size, open files and wall time. It ends when the server ends. [`sandbox`] sets this up; the
//! worker reports progress and its result as JSON lines ([`output`]).

mod output;
mod sandbox;
mod scratch;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use crate::config;

use sandbox::{Isolation, Limits};

pub use scratch::ScratchDir;

/// The worker program and its limits. Clones share them.
#[derive(Clone)]
pub struct Worker {
    inner: Arc<Inner>,
}

struct Inner {
    program: PathBuf,
    limits: Limits,
    isolation: Isolation,
}

/// Failure of a worker run.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The input cannot be processed; a retry would fail again.
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

    /// Resolves the program and probes the kernel's isolation.
    fn new(program: &str, name: &str, limits: Limits) -> Worker {
        let program = match program {
            "" => sibling_executable(name),
            path => PathBuf::from(path),
        };
        let isolation = Isolation::probe();
        tracing::info!(
            program = %program.display(),
            memory_bytes = limits.memory_bytes,
            cpu_seconds = limits.cpu_seconds,
            network = isolation.describe(),
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

    /// Runs the worker once in `scratch` and returns the value of its `done` message.
    ///
    /// `on_progress` receives fractions from 0 to 1.
    pub async fn run<F: Future<Output = ()>>(
        &self,
        arguments: &[&str],
        scratch: &Path,
        cancel: &CancellationToken,
        on_progress: impl FnMut(f64) -> F,
    ) -> Result<Value, WorkerError> {
        let mut child = self.spawn(arguments, scratch)?;
        let group = child.id();
        let wall_seconds = self.inner.limits.wall_seconds;
        let outcome = tokio::select! {
            outcome = output::read_result(&mut child, on_progress) => outcome,
            () = cancel.cancelled() => Err(WorkerError::Cancelled),
            () = tokio::time::sleep(Duration::from_secs(wall_seconds)) => Err(WorkerError::TooLong(wall_seconds)),
        };
        // Descendants of the worker may still run in its process group.
        if let Some(group) = group {
            // SAFETY: kill(2) takes plain numbers; the group was made for this child, which has not
            // been waited for unless it ended.
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
        let start_error = |cause| WorkerError::Start {
            program: program.clone(),
            cause,
        };
        // Check the program first: a wrapper would only report "not found".
        std::fs::metadata(program).map_err(start_error)?;
        sandbox::command(program, scratch, limits, *isolation)
            .args(arguments)
            .spawn()
            .map_err(start_error)
    }
}

/// Path of an executable installed beside this one.
fn sibling_executable(name: &str) -> PathBuf {
    let sibling = std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.parent()?.join(name)));
    sibling.unwrap_or_else(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::sandbox::{NICE, OPEN_FILES};
    use super::*;

    /// Worker whose program is a shell script, standing in for a compromised decoder.
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
        let reported = std::sync::Mutex::new(Vec::new());
        let on_progress = |done| {
            reported.lock().expect("one thread").push(done);
            std::future::ready(())
        };
        let outcome = worker
            .run(
                &["job"],
                folder.path(),
                &CancellationToken::new(),
                on_progress,
            )
            .await;
        (outcome, reported.into_inner().expect("one thread"))
    }

    #[tokio::test]
    async fn progress_and_result_of_a_job_are_reported() {
        let (worker, folder) = worker(
            r#"echo '{"progress":0.5}'; echo noise; echo '{"done":{"size":7}}'"#,
            10,
        );
        let (outcome, reported) = run(&worker, &folder).await;
        assert_eq!(
            (outcome.expect("done")["size"].as_i64(), reported),
            (Some(7), vec![0.5])
        );
    }

    #[tokio::test]
    async fn bad_input_is_distinguished_from_a_crash() {
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
    async fn a_job_that_hangs_is_killed_with_all_its_children() {
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
        panic!("the grandchild still runs");
    }

    #[tokio::test]
    async fn limits_are_set_before_a_job_begins() {
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
        // The tests may run at a nice value of their own; 19 is the maximum (nice(1)).
        let ours = std::process::Command::new("nice")
            .output()
            .expect("coreutils")
            .stdout;
        let ours: i8 = String::from_utf8_lossy(&ours)
            .trim()
            .parse()
            .expect("a priority");
        let nice = (ours + NICE as i8).min(19);
        let expected = format!("{memory_kilobytes} {cpu_seconds} {OPEN_FILES} 0 1 {nice}");
        assert_eq!(
            run(&worker, &folder).await.0.expect("done"),
            Value::from(expected)
        );
    }

    #[tokio::test]
    async fn a_missing_program_is_named_in_the_error() {
        let (worker, folder) = worker("", 10);
        std::fs::remove_file(folder.path().join("program")).expect("removed");
        let why = run(&worker, &folder).await.0.expect_err("nothing to run");
        assert!(
            matches!(&why, WorkerError::Start { .. }) && why.to_string().contains("/program"),
            "{why}"
        );
    }

    #[tokio::test]
    async fn a_job_that_exceeds_the_file_size_limit_is_stopped() {
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
    async fn a_job_has_no_network_where_the_kernel_allows_namespaces() {
        let (worker, folder) = worker(
            r#"printf '{"done":{"lines":%d}}\n' $(wc -l < /proc/self/net/dev)"#,
            10,
        );
        let lines = run(&worker, &folder).await.0.expect("done")["lines"]
            .as_i64()
            .expect("a number");
        if worker.inner.isolation != Isolation::None {
            assert_eq!(lines, 3, "two header lines and the loopback interface");
        }
    }
}
