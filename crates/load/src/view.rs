//! Progress for people, on standard error: a few lines that stay in place on a terminal, a line a second elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::live::Live;
use super::percentiles::Percentiles;
use super::process::{Reading, Server};

/// Notes of one second that are told; a server that refuses everybody would fill the screen.
const NOTES: usize = 5;

const EVERY: Duration = Duration::from_secs(1);

pub struct View {
    live: Arc<Live>,
    server: Option<Server>,
    /// None: only what goes wrong is told.
    form: Option<Form>,
    /// Lines on the terminal that the next ones take the place of.
    shown: usize,
    last: Totals,
    last_server: Reading,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
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
    asked_again: u64,
}

impl View {
    pub fn new(live: Arc<Live>, server: Option<Server>, silent: bool) -> View {
        let form = match (silent, std::io::stderr().is_terminal()) {
            (true, _) => None,
            (false, true) => Some(Form::Terminal),
            (false, false) => Some(Form::Lines),
        };
        let last = Totals::of(&live);
        View {
            live,
            server,
            form,
            shown: 0,
            last,
            last_server: Reading::default(),
        }
    }

    /// Shows how it goes once a second, until the work is done.
    pub async fn while_it_lasts<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut tick = tokio::time::interval(EVERY);
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

    /// What is left to be said; what was shown stays.
    pub fn finish(&mut self) {
        self.shown = 0;
        self.tell(self.notes());
    }

    fn show(&mut self) {
        let Some(form) = self.form else {
            return self.tell(self.notes());
        };
        let now = Totals::of(&self.live);
        let seconds = (now.at - self.last.at).as_secs_f64().max(1e-3);
        let per_second = |now: u64, last: u64| ((now - last) as f64 / seconds).round();
        let packets = per_second(now.packets, self.last.packets);
        let facts = [
            ("doing", self.live.doing()),
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
                    per_second(now.asked_again, self.last.asked_again)
                ),
            ),
            ("server", self.server(packets, seconds)),
        ];
        self.last = now;
        let facts: Vec<_> = facts
            .into_iter()
            .filter(|(_, fact)| !fact.is_empty())
            .collect();
        let mut lines = self.notes();
        let notes = lines.len();
        match form {
            Form::Lines => lines.push(
                facts
                    .iter()
                    .map(|(_, fact)| fact.as_str())
                    .collect::<Vec<_>>()
                    .join(" · "),
            ),
            Form::Terminal => lines.extend(
                facts
                    .iter()
                    .map(|(name, fact)| format!("{name:>12}  {fact}")),
            ),
        }
        let shown = lines.len() - notes;
        self.tell(lines);
        self.shown = if form == Form::Terminal { shown } else { 0 };
    }

    fn publishers(&self, packets: f64) -> String {
        format!(
            "{} publishing, {packets} packets/s",
            self.live.publishing.load(Relaxed)
        )
    }

    fn subscribers(&self, packets: f64, mbps: f64) -> String {
        let (connected, showing) = (
            self.live.connected.load(Relaxed),
            self.live.showing.load(Relaxed),
        );
        format!("{connected} connected, {showing} showing, {packets} packets/s, {mbps:.1} Mbit/s")
    }

    fn latency(&self) -> String {
        Percentiles::of_ns(&self.live.take_latencies()).map_or(String::new(), |ms| {
            format!(
                "p50 {:.2}  p99 {:.2}  p99.9 {:.2} ms",
                ms.p50, ms.p99, ms.p999
            )
        })
    }

    fn server(&mut self, packets: f64, seconds: f64) -> String {
        // A server that has ended is told by the measurement.
        let Some(Ok(reading)) = self.server.as_ref().map(Server::read) else {
            return String::new();
        };
        let last = std::mem::replace(&mut self.last_server, reading.clone());
        let cpu = reading.cpu_ns.saturating_sub(last.cpu_ns) as f64 / seconds;
        let each = if packets > 0.0 {
            format!(", {:.2} µs a packet", cpu / packets / 1e3)
        } else {
            String::new()
        };
        let (percent, megabytes) = (cpu / 1e7, reading.rss_bytes as f64 / 1e6);
        if last == Reading::default() {
            String::new()
        } else {
            format!("{percent:.0} % CPU{each}, {megabytes:.0} MB")
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.live.take_notes();
        let more = notes.len().saturating_sub(NOTES);
        notes.truncate(NOTES);
        if more > 0 {
            notes.push(format!("… and {more} more of this kind"));
        }
        notes
            .iter()
            .map(|note| format!("tongke load: {note}"))
            .collect()
    }

    fn tell(&self, lines: Vec<String>) {
        let mut text = String::new();
        if self.shown > 0 {
            // Up to the first line that was shown, and clear from there on.
            text.push_str(&format!("\x1b[{}A\x1b[J", self.shown));
        }
        lines
            .iter()
            .for_each(|line| text.push_str(&format!("{line}\n")));
        // Nobody reads what cannot be written.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

impl Totals {
    fn of(live: &Live) -> Totals {
        Totals {
            at: Instant::now(),
            sent: live.sent.load(Relaxed),
            packets: live.packets.load(Relaxed),
            bytes: live.bytes.load(Relaxed),
            asked_again: live.asked_again.load(Relaxed),
        }
    }
}
