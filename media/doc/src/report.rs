//! JSON lines on standard output. A closed pipe does not stop the job: its result is the files.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::error::Error;

/// Reports the outcome of a job; returns the matching exit status.
pub fn outcome(outcome: &Result<Value, Error>) -> ExitCode {
    match outcome {
        Ok(done) => {
            write_line(&json!({ "done": done }));
            ExitCode::SUCCESS
        }
        Err(error) => {
            write_line(&json!({ "error": { "code": error.code(), "message": error.to_string() } }));
            ExitCode::from(if error.is_final() { 2 } else { 1 })
        }
    }
}

/// Reports progress from 0 to 1.
pub fn progress(done: f64) {
    write_line(&json!({ "progress": (done.clamp(0.0, 1.0) * 100.0).round() / 100.0 }));
}

/// Writes one JSON line.
pub(crate) fn write_line(value: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}
