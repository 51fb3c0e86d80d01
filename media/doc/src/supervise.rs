//! Supervisor: runs the job in a child process and reports its outcome.
//!
//! A library that parses a hostile file may overflow its stack, run out of memory or loop forever.
//! None of that can be caught inside the process. The limits of the sandbox also apply to the
//! child.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::Error;
use crate::report;

/// Bytes of standard error that are kept: they distinguish an allocation failure from a crash.
const STDERR_BYTES: usize = 4 << 10;

/// Runs this program with the same arguments and `--inside`; kills it after `time_limit`.
pub fn run(time_limit: Duration) -> ExitCode {
    let mut child = match spawn() {
        Ok(child) => child,
        Err(cause) => return report::outcome(&Err(Error::Start(cause))),
    };
    let reports = read_reports(&mut child);
    let stderr = read_stderr(&mut child);
    let last = forward_progress(&reports, Instant::now() + time_limit);
    // Its own children die with it (PR_SET_PDEATHSIG).
    let _ = child.kill();
    let status = child.wait();
    match (last, status) {
        (LastReport::Final(last), _) => forward_outcome(&last),
        (LastReport::TimedOut, _) => report::outcome(&Err(Error::TooSlow)),
        (LastReport::Missing, Ok(status)) => report::outcome(&Err(error_from_exit(
            status,
            &stderr.recv().unwrap_or_default(),
        ))),
        (LastReport::Missing, Err(cause)) => report::outcome(&Err(Error::Start(cause))),
    }
}

/// Last report of the child.
enum LastReport {
    /// Its `done` or `error` line.
    Final(Value),
    /// The child exited without a final report.
    Missing,
    /// The child exceeded the time limit.
    TimedOut,
}

fn spawn() -> std::io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.args(std::env::args_os().skip(1)).arg("--inside");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: between fork and exec one system call is made, with plain numbers.
    unsafe { command.pre_exec(die_with_parent) };
    command.spawn()
}

/// `pre_exec` hook: the kernel kills the child when the parent thread ends.
pub(crate) fn die_with_parent() -> std::io::Result<()> {
    // SAFETY: prctl(2) takes plain numbers here.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Reads JSON lines from the child's standard output in a thread.
fn read_reports(child: &mut Child) -> Receiver<Value> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for value in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                let _ = sender.send(value);
            }
        });
    }
    receiver
}

/// Drains the child's standard error in a thread; sends the first [`STDERR_BYTES`] at its end.
fn read_stderr(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(mut stderr) = child.stderr.take() {
        std::thread::spawn(move || {
            let (mut kept, mut chunk) = (Vec::new(), [0; 1024]);
            while let Ok(count @ 1..) = stderr.read(&mut chunk) {
                let room = STDERR_BYTES.saturating_sub(kept.len()).min(count);
                kept.extend_from_slice(&chunk[..room]);
            }
            let _ = sender.send(String::from_utf8_lossy(&kept).into_owned());
        });
    }
    receiver
}

/// Forwards progress reports until the final report or the deadline.
fn forward_progress(reports: &Receiver<Value>, deadline: Instant) -> LastReport {
    loop {
        match reports.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(report) if report.get("progress").is_some() => report::write_line(&report),
            Ok(last) => return LastReport::Final(last),
            Err(RecvTimeoutError::Disconnected) => return LastReport::Missing,
            Err(RecvTimeoutError::Timeout) => return LastReport::TimedOut,
        }
    }
}

/// Forwards the final report; returns the matching exit status (see [`Error::is_final`]).
fn forward_outcome(last: &Value) -> ExitCode {
    report::write_line(last);
    let Some(code) = last["error"]["code"].as_str() else {
        return ExitCode::SUCCESS;
    };
    ExitCode::from(if ["input", "output", "start"].contains(&code) {
        1
    } else {
        2
    })
}

/// Error of a child that exited without a final report.
fn error_from_exit(status: ExitStatus, stderr: &str) -> Error {
    match status.signal() {
        _ if stderr.contains("memory allocation of") || stderr.contains("capacity overflow") => {
            Error::TooLarge("it needs more memory than a file may have".into())
        }
        // The kernel sends SIGKILL if the hard limit of RLIMIT_CPU equals the soft one.
        Some(libc::SIGXCPU | libc::SIGKILL) => Error::TooSlow,
        Some(libc::SIGXFSZ) => {
            Error::TooLarge("its pages need more room than a file may have".into())
        }
        _ => Error::Broken("reading it failed".into()),
    }
}
