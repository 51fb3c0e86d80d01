//! Sandbox of a worker: priority, network namespace, resource limits and parent-death signal, set
//! by the util-linux wrappers `nice`, `unshare`, `prlimit` and `setpriv`.
//!
//! The wrappers exec() one another, ending in the worker. Setting the same limits between fork and
//! exec was rejected: a fork copies the page tables of the whole server, and every thread that then
//! writes to memory takes a page fault, the media threads included. Each job stalled every lesson
//! for milliseconds. A child without such a hook is started by `posix_spawn`, which copies nothing.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

/// Open files of one run: inputs, output, pipes.
pub const OPEN_FILES: u64 = 256;
/// Scheduling priority of a worker (nice(2) value), below that of the server's lessons.
pub const NICE: u8 = 10;

/// Resource limits of one run.
#[derive(Clone, Debug)]
pub struct Limits {
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
    pub wall_seconds: u64,
    pub output_bytes: u64,
}

/// Network isolation that the kernel allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// A separate network namespace; needs root.
    Network,
    /// A network namespace inside a user namespace, for a server that is not root.
    UserAndNetwork,
    None,
}

/// Command that runs `program` inside the sandbox with `scratch` as its working directory.
pub fn command(program: &Path, scratch: &Path, limits: &Limits, isolation: Isolation) -> Command {
    let mut command = Command::new("/usr/bin/nice");
    command
        .arg(format!("-n{NICE}"))
        .args(isolation.wrapper())
        .args(limits.wrapper())
        // The worker dies with the server and gains no privileges.
        .args(["/usr/bin/setpriv", "--pdeathsig=KILL", "--no-new-privs"])
        .arg(program)
        .current_dir(scratch)
        .env_clear()
        .env("TMPDIR", scratch)
        // Each further glibc arena reserves 64 MiB of address space, which is limited.
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

impl Limits {
    /// prlimit(1) command line; the wall time is enforced by [`super::Worker::run`].
    fn wrapper(&self) -> [String; 6] {
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
            format!("--nofile={OPEN_FILES}"),
            "--core=0".to_owned(),
        ]
    }
}

impl Isolation {
    /// unshare(1) command line.
    fn wrapper(self) -> &'static [&'static str] {
        match self {
            Isolation::Network => &["/usr/bin/unshare", "--net"],
            Isolation::UserAndNetwork => &["/usr/bin/unshare", "--user", "--net"],
            Isolation::None => &[],
        }
    }

    /// Returns the strongest isolation under which /usr/bin/true runs.
    pub fn probe() -> Isolation {
        let works = |isolation: &Isolation| {
            let mut words = isolation.wrapper().iter().chain(&["/usr/bin/true"]);
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

    /// Description of the worker's network for the log.
    pub fn describe(self) -> &'static str {
        match self {
            Isolation::Network => "none (own namespace)",
            Isolation::UserAndNetwork => "none (own user and network namespace)",
            Isolation::None => "the server's (the kernel allows no namespaces)",
        }
    }
}
