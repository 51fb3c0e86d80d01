//! The lines on standard output. A reader that has gone away does not stop the work: the files are what counts.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::error::Error;

/// Says how it ended, and the exit status that says the same.
pub fn outcome(outcome: &Result<Value, Error>) -> ExitCode {
    match outcome {
        Ok(done) => {
            line(&json!({ "done": done }));
            ExitCode::SUCCESS
        }
        Err(error) => {
            line(&json!({ "error": { "code": error.code(), "message": error.to_string() } }));
            ExitCode::from(if error.is_final() { 2 } else { 1 })
        }
    }
}

/// Says how far it is, 0 to 1.
pub fn progress(done: f64) {
    line(&json!({ "progress": (done.clamp(0.0, 1.0) * 100.0).round() / 100.0 }));
}

pub(crate) fn line(value: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}
