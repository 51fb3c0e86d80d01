//! LibreOffice turns office files into PDF: without a window, in a folder that is thrown away, within the same sandbox. It says success
//! when it failed, so only the file counts; and it opens anything as something, so the type is known before it is asked.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::error::Error;
use crate::kind::Kind;
use crate::supervise::die_with_parent;

/// Its own word for "start me again": a new profile has been set up.
const AGAIN: i32 = 81;
/// How often we look whether it has ended.
const GLANCE: Duration = Duration::from_millis(20);

/// Which file is drawn, by which program, in which folder.
pub struct Order<'a> {
    pub input: &'a Path,
    pub kind: Kind,
    pub program: &'a Path,
    /// An existing folder of its own.
    pub folder: &'a Path,
    /// Pages from the first.
    pub pages: usize,
    pub deadline: Instant,
}

/// The PDF, or `None` when LibreOffice could not make one.
pub fn to_pdf(order: &Order) -> Result<Option<PathBuf>, Error> {
    let Some((extension, filter)) = filter(order.kind) else {
        return Ok(None);
    };
    let folder = order
        .folder
        .canonicalize()
        .map_err(Error::input(order.folder))?;
    let input = folder.join(format!("input.{extension}"));
    let original = order
        .input
        .canonicalize()
        .map_err(Error::input(order.input))?;
    std::os::unix::fs::symlink(original, &input).map_err(Error::output(&input))?;
    prepare(&folder)?;
    for _ in 0..2 {
        match run(order, &folder, &input, filter) {
            Ok(Some(status)) if status.code() == Some(AGAIN) => {}
            Ok(_) => break,
            // An operator may do without it: texts are found all the same, and the card says why there are no pages.
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Error::Start(cause)),
        }
    }
    let pdf = folder.join("out/input.pdf");
    let is_there = std::fs::metadata(&pdf).is_ok_and(|found| found.len() > 0);
    Ok(is_there.then_some(pdf))
}

/// The ending that it expects and its name for the way to PDF.
fn filter(kind: Kind) -> Option<(&'static str, &'static str)> {
    const WRITER: &str = "writer_pdf_Export";
    const IMPRESS: &str = "impress_pdf_Export";
    const CALC: &str = "calc_pdf_Export";
    match kind {
        Kind::Docx => Some(("docx", WRITER)),
        Kind::Doc => Some(("doc", WRITER)),
        Kind::Wps => Some(("wps", WRITER)),
        Kind::Odt => Some(("odt", WRITER)),
        Kind::Rtf => Some(("rtf", WRITER)),
        Kind::Pptx => Some(("pptx", IMPRESS)),
        Kind::Ppt | Kind::Dps => Some(("ppt", IMPRESS)),
        Kind::Odp => Some(("odp", IMPRESS)),
        Kind::Xlsx => Some(("xlsx", CALC)),
        Kind::Xls | Kind::Et => Some(("xls", CALC)),
        Kind::Ods => Some(("ods", CALC)),
        _ => None,
    }
}

/// Runs it once. `None`: it was stopped at the deadline.
fn run(
    order: &Order,
    folder: &Path,
    input: &Path,
    filter: &str,
) -> std::io::Result<Option<ExitStatus>> {
    let options = json!({
        "PageRange": { "type": "string", "value": format!("1-{}", order.pages) },
        // Ninety dots per inch and a third are what a page of 1600 pixels shows.
        "ReduceImageResolution": { "type": "boolean", "value": "true" },
        "MaxImageResolution": { "type": "long", "value": "150" },
    });
    let mut command = Command::new(order.program);
    command
        .arg(format!(
            "-env:UserInstallation={}",
            url(&folder.join("profile"))
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
        // Address space is limited, and each arena of the allocator takes 64 MiB of it.
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
        if Instant::now() >= order.deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(GLANCE);
    }
}

/// What it keeps of its own, not the programs and fonts that it maps: a thirty-page deck takes a quarter of this. A sheet that asks for billions of
/// cells comes to an end here, before the machine does.
const OWN_BYTES: u64 = 800_000_000;

fn limit_memory() -> std::io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: OWN_BYTES,
        rlim_max: OWN_BYTES,
    };
    // SAFETY: the limit is readable for the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

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

/// No macros, no links to other files or servers, no update of fields from elsewhere; and Chinese as the language of what says none.
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
        // Formulas keep the value that they were saved with.
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

/// Chinese documents name the fonts of Windows and macOS; each is drawn in the free one of its style.
const FONTS: &str = include_str!("fonts.conf");

/// A file's URL; what is no plain letter is escaped byte by byte (RFC 3986 §2.1).
fn url(path: &Path) -> String {
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
    fn a_folder_with_any_name_has_a_url() {
        assert_eq!(url(Path::new("/tmp/a b/课")), "file:///tmp/a%20b/%E8%AF%BE");
    }
}
