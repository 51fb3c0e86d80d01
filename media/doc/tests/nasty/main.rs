//! Some hundreds of files made to hurt, run through the real program under the limits that the server sets: once for their words alone, and
//! once for everything. Ends with a table of the latter: code, how many, how long at most, how much memory at most.
//!
//! Each file has the outcomes that are right for it. Nothing may crash, hang, write elsewhere or leave its limits.

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

/// What `[documents]` in deploy/config.toml gives; processor time is less, so that a hang is found while we wait.
const MEMORY: u64 = 4_000_000_000;
const PROCESSOR_SECONDS: u64 = 90;
const FILE_BYTES: u64 = 1 << 30;
const OPEN_FILES: u64 = 256;
/// The program's own limit, and what it may need to notice.
const SECONDS: u64 = 40;
/// The same for words alone.
const WORDS_SECONDS: u64 = 10;
const GRACE: Duration = Duration::from_secs(10);
/// Resident memory: half of what `[documents] memory_bytes` allows. A page that is drawn until its time is up takes the more the faster the
/// machine is: a text of 5 MB took 0.9 GB on a busy one and 1.25 GB on a quiet one.
const RESIDENT_BYTES: u64 = 2_000_000_000;
/// A table as a page loads it: a million bytes of cells, and what JSON adds to them.
const SHEETS_BYTES: usize = 4_000_000;
/// What a file's words and cells are kept in; the rest is pictures.
const WORDS: [&str; 3] = ["result.json", "text.txt", "sheets.json"];

struct Outcome {
    code: String,
    took: Duration,
    resident_bytes: u64,
    faults: Vec<String>,
}

#[test]
fn two_hundred_nasty_files_cost_no_more_than_their_limits() {
    let scratch = tempfile::tempdir().expect("a folder");
    let cases: Vec<Case> = cases::all()
        .into_iter()
        .enumerate()
        .map(|(number, case)| put(case, scratch.path(), number))
        .collect();
    assert!(cases.len() >= 200, "{} files", cases.len());
    let (next, outcomes) = (Mutex::new(cases.iter().enumerate()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((number, case)) = { next.lock().expect("no panic").next() } {
                    let outcome = try_one(case, &scratch.path().join(number.to_string()));
                    outcomes
                        .lock()
                        .expect("no panic")
                        .push((case.name.clone(), outcome));
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().expect("no panic");
    table(&outcomes);
    let faults: Vec<String> = outcomes
        .iter()
        .flat_map(|(name, outcome)| {
            outcome
                .faults
                .iter()
                .map(move |fault| format!("{name}: {fault}"))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Writes the file and forgets its bytes: a child's largest resident set begins with what its parent had.
fn put(case: Case, scratch: &Path, number: usize) -> Case {
    let folder = scratch.join(number.to_string());
    std::fs::create_dir_all(folder.join("out")).expect("made");
    std::fs::write(folder.join("input"), &case.file).expect("written");
    // Beside the input, where a file could point to it.
    std::fs::write(folder.join("red.png"), make::red()).expect("written");
    Case {
        file: Vec::new(),
        ..case
    }
}

fn try_one(case: &Case, folder: &Path) -> Outcome {
    let out_dir = folder.join("out");
    let mut faults = try_words(case, folder, &out_dir);
    let started = Instant::now();
    let (status, said, resident_bytes) = run("inspect", SECONDS, case, folder);
    let took = started.elapsed();
    let (code, last) = outcome(&said);
    let mut expect = |is_so: bool, fault: String| {
        if !is_so {
            faults.push(fault)
        }
    };
    expect(
        case.expected.contains(&&*code),
        format!("{code}, and not one of {:?}: {last}", case.expected),
    );
    let right_status = if code == "done" { 0 } else { 2 };
    expect(
        status.code() == Some(right_status),
        format!("ended with {status}, signal {:?}", status.signal()),
    );
    expect(
        took < Duration::from_secs(SECONDS) + GRACE,
        format!("took {took:?}"),
    );
    expect(
        resident_bytes < RESIDENT_BYTES,
        format!("took {} MB", resident_bytes >> 20),
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
    let mut beside = names(folder);
    beside.sort();
    expect(
        beside == ["input", "out", "red.png"],
        format!("left {beside:?}"),
    );
    let unknown: Vec<String> = names(&out_dir)
        .into_iter()
        .filter(|name| !is_ours(name))
        .collect();
    expect(unknown.is_empty(), format!("wrote {unknown:?}"));
    if code == "done" {
        faults.extend(check_result(case, &out_dir));
    }
    std::fs::remove_dir_all(folder).expect("removed");
    Outcome {
        code,
        took,
        resident_bytes,
        faults,
    }
}

/// Words alone: they may be had of a file that has no pages, and they cost as little as they promise.
fn try_words(case: &Case, folder: &Path, out_dir: &Path) -> Vec<String> {
    let started = Instant::now();
    let (status, said, resident_bytes) = run("words", WORDS_SECONDS, case, folder);
    let (took, (code, last)) = (started.elapsed(), outcome(&said));
    let mut faults = Vec::new();
    if status.code() != Some(if code == "done" { 0 } else { 2 }) {
        faults.push(format!(
            "words: ended with {status}, signal {:?}: {last}",
            status.signal()
        ));
    }
    if took > Duration::from_secs(WORDS_SECONDS) + GRACE || resident_bytes > RESIDENT_BYTES {
        faults.push(format!("words: took {took:?}, {} MB", resident_bytes >> 20));
    }
    for file in std::fs::read_dir(out_dir)
        .expect("there")
        .map(|file| file.expect("read"))
    {
        if !WORDS.map(Into::into).contains(&file.file_name()) {
            faults.push(format!("words: wrote {:?}", file.file_name()));
        }
        std::fs::remove_file(file.path()).expect("removed");
    }
    faults
}

/// `done`, or the code of its error; and its last line.
fn outcome(said: &str) -> (String, Value) {
    let last = said
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

fn is_ours(name: &str) -> bool {
    let page = name.strip_prefix('p').and_then(|rest| {
        rest.strip_suffix("-l.webp")
            .or(rest.strip_suffix("-s.webp"))
    });
    page.is_some_and(|number| number.parse::<usize>().is_ok())
        || name.starts_with("image.")
        || WORDS.contains(&name)
}

/// What it wrote is there, is what it says, and holds what the case is about.
fn check_result(case: &Case, out_dir: &Path) -> Vec<String> {
    let result = std::fs::read(out_dir.join("result.json")).unwrap_or_default();
    let Ok(result) = serde_json::from_slice::<Value>(&result) else {
        return vec!["result.json is none".into()];
    };
    let mut faults = Vec::new();
    for name in result["pages"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|page| [&page["large"], &page["small"]])
    {
        if let Some(name) = name.as_str()
            && image::open(out_dir.join(name)).is_err()
        {
            faults.push(format!("{name} is no picture"));
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
        faults.push("control characters in its text".into());
    }
    if let Some(name) = result["sheets"].as_str() {
        let bytes = std::fs::read(out_dir.join(name)).unwrap_or_default();
        let sheets = serde_json::from_slice::<Vec<Value>>(&bytes).unwrap_or_default();
        if sheets.is_empty()
            || sheets.iter().any(|sheet| !sheet["rows"].is_object())
            || bytes.len() > SHEETS_BYTES
        {
            faults.push(format!(
                "{name} has {} bytes and is no table, or too much of one",
                bytes.len()
            ));
        }
    }
    faults.extend((case.check)(&cases::Found {
        result,
        text,
        out_dir: out_dir.to_owned(),
    }));
    faults
}

/// Runs the program as the server does: limits, no network, no environment.
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
    let mut said = String::new();
    child
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut said)
        .expect("text");
    let (status, resident_bytes) = wait(child);
    (status, said, resident_bytes)
}

fn restrict() -> std::io::Result<()> {
    let limits = [
        (libc::RLIMIT_AS, MEMORY),
        (libc::RLIMIT_CPU, PROCESSOR_SECONDS),
        (libc::RLIMIT_FSIZE, FILE_BYTES),
        (libc::RLIMIT_NOFILE, OPEN_FILES),
        (libc::RLIMIT_CORE, 0),
    ];
    for (resource, value) in limits {
        let limit = libc::rlimit {
            rlim_cur: value,
            rlim_max: value,
        };
        // SAFETY: the pointer is to a local of the right type.
        if unsafe { libc::setrlimit(resource, &limit) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    // SAFETY: unshare(2) takes a number. Where the kernel refuses, as in some containers, the network stays and nothing else changes.
    unsafe { libc::unshare(libc::CLONE_NEWNET) };
    Ok(())
}

/// The status, and the largest resident set of it and of all its descendants.
fn wait(child: Child) -> (ExitStatus, u64) {
    let child = child.id() as i32;
    let mut status = 0;
    // SAFETY: a zeroed rusage is a valid one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals of the right types; the child is ours and has not been waited for.
    let waited = unsafe { libc::wait4(child, &mut status, 0, &mut usage) };
    assert_eq!(waited, child);
    (ExitStatus::from_raw(status), usage.ru_maxrss as u64 * 1024)
}

fn table(outcomes: &[(String, Outcome)]) {
    let mut rows: BTreeMap<&str, (usize, Duration, u64)> = BTreeMap::new();
    for (_, outcome) in outcomes {
        let row = rows.entry(&outcome.code).or_default();
        *row = (
            row.0 + 1,
            row.1.max(outcome.took),
            row.2.max(outcome.resident_bytes),
        );
    }
    println!(
        "{:12} {:>5} {:>9} {:>10}",
        "outcome", "files", "max time", "max memory"
    );
    for (code, (count, took, bytes)) in rows {
        println!(
            "{code:12} {count:5} {:7.2} s {:7} MB",
            took.as_secs_f64(),
            bytes >> 20
        );
    }
    println!("{:12} {:5}", "all", outcomes.len());
    let mut slowest: Vec<_> = outcomes
        .iter()
        .map(|(name, outcome)| (outcome.took, &outcome.code, name))
        .collect();
    slowest.sort_by(|a, b| b.cmp(a));
    for (took, code, name) in slowest.iter().take(12) {
        println!("{:7.2} s  {code}: {name}", took.as_secs_f64());
    }
}
