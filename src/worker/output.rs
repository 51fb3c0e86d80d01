//! Output protocol of a worker: JSON lines on stdout, the last one `{"done": …}` or `{"error": …}`.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Child;

use super::WorkerError;

/// Bytes kept of the end of stderr.
const STDERR_LIMIT: usize = 16 << 10;
/// Longest line on stdout; a longer one is split and then ignored as invalid JSON.
const LINE_LIMIT: u64 = 64 << 10;

/// Reads the worker's output until it exits and returns the value of `done`.
pub async fn read_result<F: Future<Output = ()>>(
    child: &mut Child,
    mut on_progress: impl FnMut(f64) -> F,
) -> Result<Value, WorkerError> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        return Err(WorkerError::Failed("it has no output".into()));
    };
    let stderr_tail = tokio::spawn(read_tail(stderr));
    let mut lines = BufReader::new(stdout);
    let mut last = Value::Null;
    loop {
        let mut line = Vec::new();
        match (&mut lines)
            .take(LINE_LIMIT)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let Ok(message) = serde_json::from_slice::<Value>(&line) else {
            continue;
        };
        match message.get("progress").and_then(Value::as_f64) {
            Some(progress) => on_progress(progress).await,
            None => last = message,
        }
    }
    let status = child
        .wait()
        .await
        .map_err(|error| WorkerError::Failed(error.to_string()))?;
    let stderr_tail = stderr_tail.await.unwrap_or_default();
    result_of(status, &mut last, &stderr_tail)
}

fn result_of(
    status: ExitStatus,
    last: &mut Value,
    stderr_tail: &str,
) -> Result<Value, WorkerError> {
    if status.success() && last.get("done").is_some() {
        return Ok(last["done"].take());
    }
    let text = |name: &str| last["error"][name].as_str().unwrap_or_default().to_owned();
    match (status.code(), status.signal()) {
        (Some(2), _) if last.get("error").is_some() => Err(WorkerError::BadInput {
            code: text("code"),
            message: text("message"),
        }),
        (_, Some(libc::SIGXCPU)) => Err(WorkerError::Limit("processor time")),
        (_, Some(libc::SIGXFSZ)) => Err(WorkerError::Limit("file size")),
        _ if last.get("error").is_some() => Err(WorkerError::Failed(text("message"))),
        _ => Err(WorkerError::Failed(format!(
            "{status}: {}",
            stderr_tail.trim()
        ))),
    }
}

/// Returns the end of stderr; the rest is read and dropped so that the worker never blocks on it.
async fn read_tail(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut tail = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count) = stderr.read(&mut chunk).await {
        if count == 0 {
            break;
        }
        tail.extend_from_slice(&chunk[..count]);
        let excess = tail.len().saturating_sub(STDERR_LIMIT);
        tail.drain(..excess);
    }
    String::from_utf8_lossy(&tail).into_owned()
}
