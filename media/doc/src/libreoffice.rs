//! Conversion of office files to PDF with LibreOffice: headless, in a temporary folder, inside the
//! same sandbox.
//!
//! LibreOffice exits with success even if the conversion failed, so only the output file counts. It
//! opens any file as some type, so the caller detects the type first.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::error::Error;
use crate::file_type::FileType;
use crate::supervise::die_with_parent;

/// Exit status that requests a restart after a new profile was created.
const RESTART_STATUS: i32 = 81;
/// Poll interval for the exit of the process.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Conversion of one file.
pub struct Conversion<'a> {
    /// Office file.
    pub input: &'a Path,
    /// Detected type of the file.
    pub file_type: FileType,
    /// Path of `soffice.bin`.
    pub program: &'a Path,
    /// Existing, empty working folder.
    pub folder: &'a Path,
    /// Number of pages to convert, from the first.
    pub pages: usize,
    /// Time at which the process is killed.
    pub deadline: Instant,
}

/// Converts a file; returns the path of the PDF, or `None` if LibreOffice cannot open the file.
pub fn to_pdf(conversion: &Conversion) -> Result<Option<PathBuf>, Error> {
    let Some((extension, filter)) = import_and_export(conversion.file_type) else {
        return Ok(None);
    };
    let folder = conversion
        .folder
        .canonicalize()
        .map_err(Error::input(conversion.folder))?;
    let input = folder.join(format!("input.{extension}"));
    let original = conversion
        .input
        .canonicalize()
        .map_err(Error::input(conversion.input))?;
    std::os::unix::fs::symlink(original, &input).map_err(Error::output(&input))?;
    prepare(&folder)?;
    for _ in 0..2 {
        match run(conversion, &folder, &input, filter) {
            Ok(Some(status)) if status.code() == Some(RESTART_STATUS) => {}
            Ok(_) => break,
            // LibreOffice is optional: text is extracted without it, and the result notes the
            // missing pages.
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Error::Start(cause)),
        }
    }
    let pdf = folder.join("out/input.pdf");
    let is_there = std::fs::metadata(&pdf).is_ok_and(|found| found.len() > 0);
    Ok(is_there.then_some(pdf))
}

/// File extension for import and name of the PDF export filter.
fn import_and_export(file_type: FileType) -> Option<(&'static str, &'static str)> {
    const WRITER: &str = "writer_pdf_Export";
    const IMPRESS: &str = "impress_pdf_Export";
    const CALC: &str = "calc_pdf_Export";
    match file_type {
        FileType::Docx => Some(("docx", WRITER)),
        FileType::Doc => Some(("doc", WRITER)),
        FileType::Wps => Some(("wps", WRITER)),
        FileType::Odt => Some(("odt", WRITER)),
        FileType::Rtf => Some(("rtf", WRITER)),
        FileType::Pptx => Some(("pptx", IMPRESS)),
        FileType::Ppt | FileType::Dps => Some(("ppt", IMPRESS)),
        FileType::Odp => Some(("odp", IMPRESS)),
        FileType::Xlsx => Some(("xlsx", CALC)),
        FileType::Xls | FileType::Et => Some(("xls", CALC)),
        FileType::Ods => Some(("ods", CALC)),
        _ => None,
    }
}

/// Runs LibreOffice once; `None` if it was killed at the deadline.
fn run(
    conversion: &Conversion,
    folder: &Path,
    input: &Path,
    filter: &str,
) -> std::io::Result<Option<ExitStatus>> {
    let options = json!({
        "PageRange": { "type": "string", "value": format!("1-{}", conversion.pages) },
        // A slide of 13.33 inches has 120 dpi at 1600 pixels.
        "ReduceImageResolution": { "type": "boolean", "value": "true" },
        "MaxImageResolution": { "type": "long", "value": "150" },
    });
    let mut command = Command::new(conversion.program);
    command
        .arg(format!(
            "-env:UserInstallation={}",
            file_url(&folder.join("profile"))
        ))
        .args([
            "--headless",
            "--invisible",
            "--nologo",
            "--nodefault",
            "--norestore",
            "--nolockcheck",
            "--convert-to",
        ])
        .arg(format!("pdf:{filter}:{options}"))
        .arg("--outdir")
        .args([&folder.join("out"), input])
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("SAL_USE_VCLPLUGIN", "svp")
        .env("FONTCONFIG_FILE", folder.join("fonts.conf"))
        // Each malloc arena reserves 64 MiB of the limited address space.
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: between fork and exec two system calls are made, with plain numbers.
    unsafe { command.pre_exec(|| limit_memory().and_then(|()| die_with_parent())) };
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= conversion.deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Limit of private memory in bytes (RLIMIT_DATA), without mapped programs and fonts. A deck of
/// thirty pages takes a quarter; a sheet with billions of cells fails here before the machine runs
/// out.
const DATA_BYTES: u64 = 800_000_000;

fn limit_memory() -> std::io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: DATA_BYTES,
        rlim_max: DATA_BYTES,
    };
    // SAFETY: the limit is readable for the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Writes the user profile and the font configuration.
fn prepare(folder: &Path) -> Result<(), Error> {
    let user = folder.join("profile/user");
    std::fs::create_dir_all(&user).map_err(Error::output(&user))?;
    for (path, text) in [
        (user.join("registrymodifications.xcu"), settings()),
        (folder.join("fonts.conf"), FONTS.to_owned()),
    ] {
        std::fs::write(&path, text).map_err(Error::output(&path))?;
    }
    Ok(())
}

/// User settings: no macros, no links to other files or servers, no update of linked fields. The
/// default language is Chinese.
fn settings() -> String {
    const SETTINGS: &[(&str, &str, &str)] = &[
        ("Common/Security/Scripting", "MacroSecurityLevel", "3"),
        (
            "Common/Security/Scripting",
            "DisableMacrosExecution",
            "true",
        ),
        ("Common/Security/Scripting", "DisableActiveContent", "true"),
        (
            "Common/Security/Scripting",
            "BlockUntrustedRefererLinks",
            "true",
        ),
        ("Common/Misc", "MacroRecorderMode", "false"),
        ("Common/Load", "UpdateDocMode", "0"),
        ("Writer/Content/Update", "Link", "0"),
        ("WriterWeb/Content/Update", "Link", "0"),
        ("Calc/Content/Update", "Link", "2"),
        // Formulas keep their saved value.
        ("Calc/Formula/Load", "OOXMLRecalcMode", "1"),
        ("Calc/Formula/Load", "ODFRecalcMode", "1"),
        ("Linguistic/General", "DefaultLocale_CJK", "zh-CN"),
        ("Linguistic/General", "DefaultLocale", "zh-CN"),
    ];
    let item = |(path, name, value): &(&str, &str, &str)| {
        format!(
            "<item oor:path=\"/org.openoffice.Office.{path}\"><prop oor:name=\"{name}\" oor:op=\"fuse\"><value>{value}</value></prop></item>\n"
        )
    };
    let items: String = SETTINGS.iter().map(item).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<oor:items xmlns:oor=\"http://openoffice.org/2001/registry\" \
         xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n{items}</oor:items>\n"
    )
}

/// Font substitution: Chinese documents name fonts of Windows and macOS; each maps to a free font
/// of the same style.
const FONTS: &str = include_str!("fonts.conf");

/// File URL with percent-encoding (RFC 3986 §2.1).
fn file_url(path: &Path) -> String {
    let escape = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
            char::from(*byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    let path: String = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(escape)
        .collect();
    format!("file://{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_percent_encoded_in_urls() {
        assert_eq!(
            file_url(Path::new("/tmp/a b/课")),
            "file:///tmp/a%20b/%E8%AF%BE"
        );
    }
}
