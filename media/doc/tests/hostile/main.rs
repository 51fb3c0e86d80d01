//! More than two hundred hostile and damaged files, run through the real program under the limits
//! of the server: once with subcommand `words`, once with `inspect`. The test prints a table of the
//! latter: outcome, number of files, maximum time, maximum memory.
//!
//! Each case lists its valid outcomes. No file may cause a crash, a hang, a write outside the
//! output folder or an exceeded limit.

mod cases;
mod make;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use cases::Case;

/// Address space in bytes, as `[documents]` in deploy/config.toml.
const ADDRESS_SPACE_BYTES: u64 = 4_000_000_000;
/// CPU time: less than in deploy/config.toml, so that a hang is found within the test.
const CPU_SECONDS: u64 = 90;
/// Largest output file, as in deploy/config.toml.
const FILE_BYTES: u64 = 1 << 30;
/// Open files, as in deploy/config.toml.
const OPEN_FILES: u64 = 256;
/// Time limit of `inspect`.
const INSPECT_SECONDS: u64 = 40;
/// Time limit of `words`.
const WORDS_SECONDS: u64 = 10;
/// Time that the program may need beyond its limit.
const GRACE: Duration = Duration::from_secs(10);
/// Resident memory in bytes: half of `[documents] memory_bytes`. A page that is rendered up to its
/// timeout needs more memory on a faster machine: a text of 5 MB needed 0.9 GB on a busy machine
/// and 1.25 GB on an idle one.
const RESIDENT_BYTES: u64 = 2_000_000_000;
/// Size of sheets.json in bytes: a million bytes of cells and the overhead of JSON.
const SHEETS_BYTES: usize = 4_000_000;
/// Output files with text and cells; all others are images.
const TEXT_FILES: [&str; 3] = ["result.json", "text.txt", "sheets.json"];

/// Result of one case.
struct Outcome {
    /// `done`, or an error code.
    code: String,
    elapsed: Duration,
    resident_bytes: u64,
    failures: Vec<String>,
}

#[test]
fn two_hundred_hostile_files_stay_within_their_limits() {
    let scratch = tempfile::tempdir().expect("a folder");
    let cases: Vec<Case> = cases::all()
        .into_iter()
        .enumerate()
        .map(|(number, case)| write_case(case, scratch.path(), number))
        .collect();
    assert!(cases.len() >= 200, "{} files", cases.len());
    let (next, outcomes) = (Mutex::new(cases.iter().enumerate()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((number, case)) = { next.lock().expect("no panic").next() } {
                    let outcome = run_case(case, &scratch.path().join(number.to_string()));
                    outcomes
                        .lock()
                        .expect("no panic")
                        .push((case.name.clone(), outcome));
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().expect("no panic");
    print_table(&outcomes);
    let failures: Vec<String> = outcomes
        .iter()
        .flat_map(|(name, outcome)| {
            outcome
                .failures
                .iter()
                .map(move |failure| format!("{name}: {failure}"))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Writes the input file and frees its bytes, because the maximum resident set of a child starts at
/// that of its parent.
fn write_case(case: Case, scratch: &Path, number: usize) -> Case {
    let folder = scratch.join(number.to_string());
    std::fs::create_dir_all(folder.join("out")).expect("made");
    std::fs::write(folder.join("input"), &case.file).expect("written");
    // A neighbour file that a document must not be able to include.
    std::fs::write(folder.join("red.png"), make::red_png()).expect("written");
    Case {
        file: Vec::new(),
        ..case
    }
}

/// Runs both subcommands on one case and checks all limits.
fn run_case(case: &Case, folder: &Path) -> Outcome {
    let out_dir = folder.join("out");
    let mut failures = run_words(case, folder, &out_dir);
    let started = Instant::now();
    let (status, stdout, resident_bytes) = run("inspect", INSPECT_SECONDS, case, folder);
    let elapsed = started.elapsed();
    let (code, last) = parse_outcome(&stdout);
    let mut expect = |condition: bool, failure: String| {
        if !condition {
            failures.push(failure)
        }
    };
    expect(
        case.expected.contains(&&*code),
        format!("{code} is not one of {:?}: {last}", case.expected),
    );
    let expected_status = if code == "done" { 0 } else { 2 };
    expect(
        status.code() == Some(expected_status),
        format!("ended with {status}, signal {:?}", status.signal()),
    );
    expect(
        elapsed < Duration::from_secs(INSPECT_SECONDS) + GRACE,
        format!("took {elapsed:?}"),
    );
    expect(
        resident_bytes < RESIDENT_BYTES,
        format!("used {} MB", resident_bytes >> 20),
    );
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).expect("there");
        entries
            .map(|entry| {
                entry
                    .expect("read")
                    .file_name()
                    .into_string()
                    .expect("plain")
            })
            .collect::<Vec<_>>()
    };
    let mut neighbours = names(folder);
    neighbours.sort();
    expect(
        neighbours == ["input", "out", "red.png"],
        format!("left {neighbours:?}"),
    );
    let unknown: Vec<String> = names(&out_dir)
        .into_iter()
        .filter(|name| !is_output_file(name))
        .collect();
    expect(unknown.is_empty(), format!("wrote {unknown:?}"));
    if code == "done" {
        failures.extend(check_result(case, &out_dir));
    }
    std::fs::remove_dir_all(folder).expect("removed");
    Outcome {
        code,
        elapsed,
        resident_bytes,
        failures,
    }
}

/// Runs `words`, which may succeed on a file without pages, and checks its limits.
fn run_words(case: &Case, folder: &Path, out_dir: &Path) -> Vec<String> {
    let started = Instant::now();
    let (status, stdout, resident_bytes) = run("words", WORDS_SECONDS, case, folder);
    let (elapsed, (code, last)) = (started.elapsed(), parse_outcome(&stdout));
    let mut failures = Vec::new();
    if status.code() != Some(if code == "done" { 0 } else { 2 }) {
        failures.push(format!(
            "words: ended with {status}, signal {:?}: {last}",
            status.signal()
        ));
    }
    if elapsed > Duration::from_secs(WORDS_SECONDS) + GRACE || resident_bytes > RESIDENT_BYTES {
        failures.push(format!(
            "words: took {elapsed:?}, {} MB",
            resident_bytes >> 20
        ));
    }
    for file in std::fs::read_dir(out_dir)
        .expect("there")
        .map(|file| file.expect("read"))
    {
        if !TEXT_FILES.map(Into::into).contains(&file.file_name()) {
            failures.push(format!("words: wrote {:?}", file.file_name()));
        }
        std::fs::remove_file(file.path()).expect("removed");
    }
    failures
}

/// Parses the last line of standard output: `done` or an error code, and the whole line.
fn parse_outcome(stdout: &str) -> (String, Value) {
    let last = stdout
        .lines()
        .last()
        .and_then(|line| serde_json::from_str::<Value>(line).ok())
        .unwrap_or_default();
    let code = match last["error"]["code"].as_str() {
        Some(code) => code.to_owned(),
        None if last.get("done").is_some() => "done".to_owned(),
        None => "nothing".to_owned(),
    };
    (code, last)
}

/// Returns true for the names of output files.
fn is_output_file(name: &str) -> bool {
    let page = name.strip_prefix('p').and_then(|rest| {
        rest.strip_suffix("-l.webp")
            .or(rest.strip_suffix("-s.webp"))
    });
    page.is_some_and(|number| number.parse::<usize>().is_ok())
        || name.starts_with("image.")
        || TEXT_FILES.contains(&name)
}

/// Checks the output files and the assertions of the case.
fn check_result(case: &Case, out_dir: &Path) -> Vec<String> {
    let result = std::fs::read(out_dir.join("result.json")).unwrap_or_default();
    let Ok(result) = serde_json::from_slice::<Value>(&result) else {
        return vec!["result.json is invalid".into()];
    };
    let mut failures = Vec::new();
    for name in result["pages"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|page| [&page["large"], &page["small"]])
    {
        if let Some(name) = name.as_str()
            && image::open(out_dir.join(name)).is_err()
        {
            failures.push(format!("{name} is not an image"));
        }
    }
    let text = result["text"]
        .as_str()
        .map(|name| std::fs::read_to_string(out_dir.join(name)).expect("UTF-8"));
    let text = text.unwrap_or_default();
    if text
        .chars()
        .any(|character| character.is_control() && !matches!(character, '\n' | '\t'))
    {
        failures.push("control characters in its text".into());
    }
    if let Some(name) = result["sheets"].as_str() {
        let bytes = std::fs::read(out_dir.join(name)).unwrap_or_default();
        let sheets = serde_json::from_slice::<Vec<Value>>(&bytes).unwrap_or_default();
        if sheets.is_empty()
            || sheets.iter().any(|sheet| !sheet["rows"].is_object())
            || bytes.len() > SHEETS_BYTES
        {
            failures.push(format!(
                "{name} has {} bytes and is invalid or too large",
                bytes.len()
            ));
        }
    }
    failures.extend((case.check)(&cases::Output {
        result,
        text,
        out_dir: out_dir.to_owned(),
    }));
    failures
}

/// Runs the program as the server does: resource limits, no network, empty environment. Returns the
/// exit status, standard output and the maximum resident set in bytes.
fn run(job: &str, seconds: u64, case: &Case, folder: &Path) -> (ExitStatus, String, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tongke-doc"));
    command
        .arg(job)
        .args([folder.join("input"), folder.join("out")]);
    command.args(["--seconds", &seconds.to_string()]);
    if let Some(label) = case.label {
        command.args(["--name", label]);
    }
    if job == "inspect" && !case.office {
        command.args(["--soffice", "/nonexistent"]);
    }
    command
        .current_dir(folder)
        .env_clear()
        .env("TMPDIR", folder.join("out"))
        .env("MALLOC_ARENA_MAX", "2");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(restrict) };
    let mut child = command.spawn().expect("started");
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut stdout)
        .expect("text");
    let (status, resident_bytes) = wait(child);
    (status, stdout, resident_bytes)
}

/// `pre_exec` hook: sets the resource limits and a network namespace.
fn restrict() -> std::io::Result<()> {
    let limits = [
        (libc::RLIMIT_AS, ADDRESS_SPACE_BYTES),
        (libc::RLIMIT_CPU, CPU_SECONDS),
        (libc::RLIMIT_FSIZE, FILE_BYTES),
        (libc::RLIMIT_NOFILE, OPEN_FILES),
        (libc::RLIMIT_CORE, 0),
    ];
    for (resource, value) in limits {
        let limit = libc::rlimit {
            rlim_cur: value,
            rlim_max: value,
        };
        // SAFETY: the pointer refers to a local of the right type.
        if unsafe { libc::setrlimit(resource, &limit) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    // The kernel may refuse in a container; the test then runs with network.
    // SAFETY: unshare(2) takes a number.
    unsafe { libc::unshare(libc::CLONE_NEWNET) };
    Ok(())
}

/// Waits for the child; returns its status and the maximum resident set of it and its descendants
/// in bytes.
fn wait(child: Child) -> (ExitStatus, u64) {
    let child = child.id() as i32;
    let mut status = 0;
    // SAFETY: a zeroed rusage is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers refer to locals of the right types; the child has not been waited for.
    let waited = unsafe { libc::wait4(child, &mut status, 0, &mut usage) };
    assert_eq!(waited, child);
    (ExitStatus::from_raw(status), usage.ru_maxrss as u64 * 1024)
}

/// Prints a summary by outcome and the slowest files.
fn print_table(outcomes: &[(String, Outcome)]) {
    let mut rows: BTreeMap<&str, (usize, Duration, u64)> = BTreeMap::new();
    for (_, outcome) in outcomes {
        let row = rows.entry(&outcome.code).or_default();
        *row = (
            row.0 + 1,
            row.1.max(outcome.elapsed),
            row.2.max(outcome.resident_bytes),
        );
    }
    println!(
        "{:12} {:>5} {:>9} {:>10}",
        "outcome", "files", "max time", "max memory"
    );
    for (code, (count, elapsed, bytes)) in rows {
        println!(
            "{code:12} {count:5} {:7.2} s {:7} MB",
            elapsed.as_secs_f64(),
            bytes >> 20
        );
    }
    println!("{:12} {:5}", "all", outcomes.len());
    let mut slowest: Vec<_> = outcomes
        .iter()
        .map(|(name, outcome)| (outcome.elapsed, &outcome.code, name))
        .collect();
    slowest.sort_by(|a, b| b.cmp(a));
    for (elapsed, code, name) in slowest.iter().take(12) {
        println!("{:7.2} s  {code}: {name}", elapsed.as_secs_f64());
    }
}
