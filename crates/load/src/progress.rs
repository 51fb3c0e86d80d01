//! Progress display on standard error: a few lines updated in place on a terminal, a line per
//! second elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::percentiles::Percentiles;
use super::process::{Server, ServerSample};
use super::stats::Stats;

/// Messages printed per second; a server that rejects all clients would flood the screen.
const MAX_NOTES: usize = 5;

const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Progress {
    stats: Arc<Stats>,
    server: Option<Server>,
    /// `None` prints messages only.
    format: Option<Format>,
    /// Lines on the terminal that the next update overwrites.
    printed_lines: usize,
    last: Totals,
    last_sample: ServerSample,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Lines,
    Terminal,
}

/// Counters at a moment.
#[derive(Clone, Copy)]
struct Totals {
    at: Instant,
    sent: u64,
    packets: u64,
    bytes: u64,
    nacked: u64,
}

impl Progress {
    pub(crate) fn new(stats: Arc<Stats>, server: Option<Server>, silent: bool) -> Progress {
        let format = match (silent, std::io::stderr().is_terminal()) {
            (true, _) => None,
            (false, true) => Some(Format::Terminal),
            (false, false) => Some(Format::Lines),
        };
        let last = Totals::of(&stats);
        Progress {
            stats,
            server,
            format,
            printed_lines: 0,
            last,
            last_sample: ServerSample::default(),
        }
    }

    /// Updates the display once per second until `work` is done.
    pub(crate) async fn show_during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut tick = tokio::time::interval(INTERVAL);
        tick.reset();
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => {
                    self.finish();
                    return done;
                }
                _ = tick.tick() => self.show(),
            }
        }
    }

    /// Prints the remaining messages below the last update.
    pub(crate) fn finish(&mut self) {
        self.printed_lines = 0;
        self.print(self.notes());
    }

    fn show(&mut self) {
        let Some(format) = self.format else {
            return self.print(self.notes());
        };
        let now = Totals::of(&self.stats);
        let seconds = (now.at - self.last.at).as_secs_f64().max(1e-3);
        let per_second = |now: u64, last: u64| ((now - last) as f64 / seconds).round();
        let packets = per_second(now.packets, self.last.packets);
        let rows = [
            ("doing", self.stats.phase()),
            (
                "publishers",
                self.publishers(per_second(now.sent, self.last.sent)),
            ),
            (
                "subscribers",
                self.subscribers(
                    packets,
                    (now.bytes - self.last.bytes) as f64 * 8e-6 / seconds,
                ),
            ),
            ("latency", self.latency()),
            (
                "loss",
                format!(
                    "{} packets/s asked for again",
                    per_second(now.nacked, self.last.nacked)
                ),
            ),
            ("server", self.server(packets, seconds)),
        ];
        self.last = now;
        let rows: Vec<_> = rows
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .collect();
        let mut lines = self.notes();
        let notes = lines.len();
        match format {
            Format::Lines => lines.push(
                rows.iter()
                    .map(|(_, text)| text.as_str())
                    .collect::<Vec<_>>()
                    .join(" · "),
            ),
            Format::Terminal => lines.extend(
                rows.iter()
                    .map(|(name, text)| format!("{name:>12}  {text}")),
            ),
        }
        let printed = lines.len() - notes;
        self.print(lines);
        self.printed_lines = if format == Format::Terminal {
            printed
        } else {
            0
        };
    }

    fn publishers(&self, packets: f64) -> String {
        format!(
            "{} publishing, {packets} packets/s",
            self.stats.publishing.load(Relaxed)
        )
    }

    fn subscribers(&self, packets: f64, mbps: f64) -> String {
        let (connected, showing) = (
            self.stats.connected.load(Relaxed),
            self.stats.showing.load(Relaxed),
        );
        format!("{connected} connected, {showing} showing, {packets} packets/s, {mbps:.1} Mbit/s")
    }

    fn latency(&self) -> String {
        Percentiles::of_ns(&self.stats.take_latencies()).map_or(String::new(), |ms| {
            format!(
                "p50 {:.2}  p99 {:.2}  p99.9 {:.2} ms",
                ms.p50, ms.p99, ms.p999
            )
        })
    }

    fn server(&mut self, packets: f64, seconds: f64) -> String {
        // The measurement reports a server that has exited.
        let Some(Ok(reading)) = self.server.as_ref().map(Server::read) else {
            return String::new();
        };
        let last = std::mem::replace(&mut self.last_sample, reading.clone());
        let cpu = reading.cpu_ns.saturating_sub(last.cpu_ns) as f64 / seconds;
        let each = if packets > 0.0 {
            format!(", {:.2} µs a packet", cpu / packets / 1e3)
        } else {
            String::new()
        };
        let (percent, megabytes) = (cpu / 1e7, reading.rss_bytes as f64 / 1e6);
        if last == ServerSample::default() {
            String::new()
        } else {
            format!("{percent:.0} % CPU{each}, {megabytes:.0} MB")
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.stats.take_notes();
        let more = notes.len().saturating_sub(MAX_NOTES);
        notes.truncate(MAX_NOTES);
        if more > 0 {
            notes.push(format!("… and {more} more of this kind"));
        }
        notes
            .iter()
            .map(|note| format!("tongke load: {note}"))
            .collect()
    }

    fn print(&self, lines: Vec<String>) {
        let mut text = String::new();
        if self.printed_lines > 0 {
            // Moves the cursor to the first line of the last update and clears from there.
            text.push_str(&format!("\x1b[{}A\x1b[J", self.printed_lines));
        }
        lines
            .iter()
            .for_each(|line| text.push_str(&format!("{line}\n")));
        // Errors are ignored: without standard error there is no reader.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

impl Totals {
    fn of(stats: &Stats) -> Totals {
        Totals {
            at: Instant::now(),
            sent: stats.sent.load(Relaxed),
            packets: stats.packets.load(Relaxed),
            bytes: stats.bytes.load(Relaxed),
            nacked: stats.nacked.load(Relaxed),
        }
    }
}
