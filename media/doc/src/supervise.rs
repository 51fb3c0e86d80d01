//! Runs the work in a child of its own and answers for it, however it ends: libraries that read hostile files may overflow their stack,
//! be refused memory or never return, and none of that can be caught from within. The sandbox's limits hold for the child as well.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::Error;
use crate::report;

/// What is kept of its complaints: they tell memory from a crash.
const COMPLAINTS: usize = 4 << 10;

/// Runs this program again with the same arguments and `--inside`, for at most so long.
pub fn run(limit: Duration) -> ExitCode {
    let mut child = match spawn() {
        Ok(child) => child,
        Err(cause) => return report::outcome(&Err(Error::Start(cause))),
    };
    let lines = lines(&mut child);
    let complaints = complaints(&mut child);
    let said = follow(&lines, Instant::now() + limit);
    // What it has started dies with it.
    let _ = child.kill();
    let status = child.wait();
    match (said, status) {
        (Followed::Said(last), _) => repeat(&last),
        (Followed::TooLong, _) => report::outcome(&Err(Error::TooSlow)),
        (Followed::Ended, Ok(status)) => {
            report::outcome(&Err(judge(status, &complaints.recv().unwrap_or_default())))
        }
        (Followed::Ended, Err(cause)) => report::outcome(&Err(Error::Start(cause))),
    }
}

enum Followed {
    /// Its `done` or `error` line.
    Said(Value),
    /// It ended without one.
    Ended,
    TooLong,
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

/// For `pre_exec`: the child ends when the thread that started it does.
pub(crate) fn die_with_parent() -> std::io::Result<()> {
    // SAFETY: prctl(2) takes plain numbers here.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn lines(child: &mut Child) -> Receiver<Value> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let said = BufReader::new(stdout).lines().map_while(Result::ok);
            for value in said.filter_map(|line| serde_json::from_str(&line).ok()) {
                let _ = sender.send(value);
            }
        });
    }
    receiver
}

fn complaints(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(mut stderr) = child.stderr.take() {
        std::thread::spawn(move || {
            let (mut kept, mut piece) = (Vec::new(), [0; 1024]);
            while let Ok(count @ 1..) = stderr.read(&mut piece) {
                let room = COMPLAINTS.saturating_sub(kept.len()).min(count);
                kept.extend_from_slice(&piece[..room]);
            }
            let _ = sender.send(String::from_utf8_lossy(&kept).into_owned());
        });
    }
    receiver
}

/// Passes its progress on until it says how it ended.
fn follow(lines: &Receiver<Value>, deadline: Instant) -> Followed {
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(said) if said.get("progress").is_some() => report::line(&said),
            Ok(last) => return Followed::Said(last),
            Err(RecvTimeoutError::Disconnected) => return Followed::Ended,
            Err(RecvTimeoutError::Timeout) => return Followed::TooLong,
        }
    }
}

fn repeat(last: &Value) -> ExitCode {
    report::line(last);
    let Some(code) = last["error"]["code"].as_str() else {
        return ExitCode::SUCCESS;
    };
    ExitCode::from(if ["input", "output", "start"].contains(&code) {
        1
    } else {
        2
    })
}

/// Why a child ended that said nothing.
fn judge(status: ExitStatus, complaints: &str) -> Error {
    match status.signal() {
        _ if complaints.contains("memory allocation of")
            || complaints.contains("capacity overflow") =>
        {
            Error::TooLarge("it needs more memory than a file may have".into())
        }
        // The kernel sends SIGKILL where the hard limit on processor time is the soft one.
        Some(libc::SIGXCPU | libc::SIGKILL) => Error::TooSlow,
        Some(libc::SIGXFSZ) => {
            Error::TooLarge("its pages need more room than a file may have".into())
        }
        _ => Error::Broken("reading it failed".into()),
    }
}
