//! Resource usage of the server's processes (Linux: proc(5)).

use std::collections::BTreeMap;
use std::fs;

use super::Failure;

/// The processes of one server.
#[derive(Clone)]
pub(crate) struct Server {
    pids: Vec<u32>,
}

/// Usage up to a moment, and memory at that moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerSample {
    pub cpu_ns: u64,
    pub rss_bytes: u64,
    /// Peak resident set size.
    pub peak_bytes: u64,
    /// CPU time of the running threads by name; names that differ only in a trailing number are
    /// combined.
    threads: BTreeMap<String, u64>,
}

/// Usage between two samples.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pub cpu_ns: u64,
    pub rss_bytes: u64,
    pub peak_bytes: u64,
    pub threads: BTreeMap<String, u64>,
}

impl Usage {
    pub(crate) fn between(before: &ServerSample, after: &ServerSample) -> Usage {
        let used = |(name, ns): (&String, &u64)| {
            (
                name.clone(),
                ns.saturating_sub(before.threads.get(name).copied().unwrap_or(0)),
            )
        };
        Usage {
            cpu_ns: after.cpu_ns.saturating_sub(before.cpu_ns),
            rss_bytes: after.rss_bytes,
            peak_bytes: after.peak_bytes,
            threads: after
                .threads
                .iter()
                .map(used)
                .filter(|(_, ns)| *ns > 0)
                .collect(),
        }
    }
}

impl Server {
    /// `None` without process ids.
    pub(crate) fn of(pids: &[u32]) -> Option<Server> {
        (!pids.is_empty()).then(|| Server {
            pids: pids.to_vec(),
        })
    }

    pub(crate) fn read(&self) -> Result<ServerSample, Failure> {
        let mut sum = ServerSample::default();
        for pid in &self.pids {
            sum.add_process(*pid)?;
        }
        Ok(sum)
    }
}

impl ServerSample {
    fn add_process(&mut self, pid: u32) -> Result<(), Failure> {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/{pid}/{name}"))
                .map_err(|error| format!("process {pid}: {error}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        self.cpu_ns += cpu_ns(&stat).ok_or("/proc/PID/stat cannot be read")?;
        self.rss_bytes += field_bytes(&status, "VmRSS:").ok_or("/proc/PID/status has no VmRSS")?;
        self.peak_bytes += field_bytes(&status, "VmHWM:").ok_or("/proc/PID/status has no VmHWM")?;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // A thread may end between being listed and being read.
            let of = |name| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
            let ns = of("schedstat")
                .split(' ')
                .next()
                .and_then(|ns| ns.parse::<u64>().ok());
            *self.threads.entry(thread_group(&of("comm"))).or_default() += ns.unwrap_or(0);
        }
        Ok(())
    }
}

/// User and system time of all threads, terminated ones included: fields 14 and 15 of proc(5), in
/// ticks of 10 ms.
fn cpu_ns(stat: &str) -> Option<u64> {
    const TICK_NS: u64 = 10_000_000;
    // The second field is the program's name in parentheses, which may contain any character.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) * TICK_NS)
}

fn field_bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(
        line.trim()
            .strip_suffix(" kB")?
            .trim()
            .parse::<u64>()
            .ok()?
            * 1024,
    )
}

/// Thread name without its number: `media-0` and `media-12` are both `media`.
fn thread_group(name: &str) -> String {
    name.trim_end()
        .trim_end_matches(|c: char| c.is_ascii_digit())
        .trim_end_matches(['-', '_', ' ', ':', '#'])
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_any_name_is_parsed() {
        let stat = "42 (a) b) (c) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1 1";
        assert_eq!(cpu_ns(stat), Some(3_000_000_000));
        assert_eq!(
            field_bytes("Name:\tx\nVmRSS:\t   2048 kB\n", "VmRSS:"),
            Some(2 * 1024 * 1024)
        );
        assert_eq!(
            (thread_group("media-12\n"), thread_group("tokio-rt-worker")),
            ("media".into(), "tokio-rt-worker".into())
        );
        assert!(Server::of(&[]).is_none());
    }

    #[test]
    fn cpu_time_is_reported_by_thread_name() {
        let server = Server::of(&[std::process::id()]).unwrap();
        let before = server.read().unwrap();
        let busy = std::thread::Builder::new().name("busy-7".into()).spawn(|| {
            let began = crate::clock::thread_cpu();
            while crate::clock::thread_cpu() - began < std::time::Duration::from_millis(20) {}
            Server::of(&[std::process::id()]).unwrap().read().unwrap()
        });
        let usage = Usage::between(&before, &busy.unwrap().join().unwrap());
        assert!(usage.threads["busy"] >= 15_000_000, "{usage:?}");
        assert!(usage.rss_bytes > 0 && usage.peak_bytes >= usage.rss_bytes);
    }
}
