//! JSON lines on standard output. A closed pipe does not stop the job: its result is the file.

use std::io::Write;

use serde_json::{Value, json};

use crate::error::Error;

/// Reports success.
pub fn done(result: Value) {
    write_line(&json!({ "done": result }));
}

/// Reports failure with an error code and a message.
pub fn failed(error: &Error) {
    write_line(&json!({ "error": { "code": error.code(), "message": error.to_string() } }));
}

/// Progress reporter in steps of one percent.
#[derive(Default)]
pub struct Progress {
    reported_percent: u64,
}

impl Progress {
    /// Reports progress if it has reached the next percent.
    pub fn update(&mut self, done: u64, of: u64) {
        let percent = done.saturating_mul(100) / of.max(1);
        if percent > self.reported_percent {
            self.reported_percent = percent;
            write_line(&json!({ "progress": percent.min(100) as f64 / 100.0 }));
        }
    }
}

fn write_line(value: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}
