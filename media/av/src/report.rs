//! The lines on standard output. A reader that has gone away does not stop the work: the file is what counts.

use std::io::Write;

use serde_json::{Value, json};

use crate::error::Error;

pub fn done(result: Value) {
    line(&json!({ "done": result }));
}

pub fn failed(error: &Error) {
    line(&json!({ "error": { "code": error.code(), "message": error.to_string() } }));
}

/// Tells progress in steps of a hundredth.
#[derive(Default)]
pub struct Progress {
    told: u64,
}

impl Progress {
    pub fn tell(&mut self, done: u64, of: u64) {
        let percent = done.saturating_mul(100) / of.max(1);
        if percent > self.told {
            self.told = percent;
            line(&json!({ "progress": percent.min(100) as f64 / 100.0 }));
        }
    }
}

fn line(value: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}
