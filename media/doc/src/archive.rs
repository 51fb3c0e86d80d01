//! Zip archives: listed, never unpacked, and what the list says is not trusted.

use encoding_rs::GB18030;
use serde::Serialize;

use crate::error::Error;
use crate::limits::PATH_CHARS;
use crate::package::Package;
use crate::words::Notes;

/// A file in an archive.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub path: String,
    /// As the archive claims, unpacked.
    pub size: u64,
}

/// A ratio that no courseware reaches: text packs 5 to 1, and only long runs of one byte go beyond 100 to 1.
const BOMB: u64 = 100;

pub fn read(
    package: &mut Package,
    packed_bytes: u64,
    notes: &mut Notes,
) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for (name, size, encrypted) in package.list()? {
        if encrypted {
            notes.insert("encrypted_entries");
        }
        let name = name_of(&name);
        let path = clean(&name);
        if path != name.trim_end_matches('/') {
            notes.insert("unsafe_paths");
        }
        if !name.ends_with('/') && !path.is_empty() {
            entries.push(Entry { path, size });
        }
    }
    let claimed = entries
        .iter()
        .fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
    if claimed / BOMB > packed_bytes {
        notes.insert("suspicious_ratio");
    }
    Ok(entries)
}

/// APPNOTE D.1 knows UTF-8 and code page 437; Chinese Windows writes GBK and says nothing.
fn name_of(raw: &[u8]) -> String {
    match std::str::from_utf8(raw) {
        Ok(name) => name.to_owned(),
        Err(_) => GB18030.decode_without_bom_handling(raw).0.into_owned(),
    }
}

/// A relative path without `..`, drive letters, backslashes and control characters.
fn clean(name: &str) -> String {
    let name = name.replace('\\', "/");
    let is_step = |step: &&str| {
        !step.is_empty()
            && *step != "."
            && *step != ".."
            && !(step.len() == 2 && step.ends_with(':'))
    };
    let path = name
        .split('/')
        .filter(is_step)
        .collect::<Vec<_>>()
        .join("/");
    path.chars()
        .filter(|character| !character.is_control())
        .take(PATH_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(clean("../../etc/passwd"), "etc/passwd");
        assert_eq!(clean("C:\\Windows\\a.dll"), "Windows/a.dll");
        assert_eq!(clean("/abs/./x\u{0}y"), "abs/xy");
        assert_eq!(clean("八年级/勾股定理.pptx"), "八年级/勾股定理.pptx");
    }

    #[test]
    fn names_of_chinese_windows_are_read() {
        assert_eq!(
            name_of(&encoding_rs::GBK.encode("课件/第一课.doc").0),
            "课件/第一课.doc"
        );
    }
}
