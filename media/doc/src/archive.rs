//! Zip archives: listed, never unpacked. The names and sizes of the list are not trusted.

use encoding_rs::GB18030;
use serde::Serialize;

use crate::content::Notes;
use crate::error::Error;
use crate::limits::PATH_CHARS;
use crate::package::Package;

/// File in an archive.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Sanitized relative path.
    pub path: String,
    /// Unpacked size in bytes that the archive claims.
    pub size: u64,
}

/// Compression ratio that marks a zip bomb. Text compresses 5 to 1; only long runs of one byte
/// exceed 100 to 1.
const MAX_RATIO: u64 = 100;

/// Lists the files of an archive; adds notes for suspicious entries.
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
        let name = decode_name(&name);
        let path = sanitize_path(&name);
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
    if claimed / MAX_RATIO > packed_bytes {
        notes.insert("suspicious_ratio");
    }
    Ok(entries)
}

/// Decodes a file name. APPNOTE D.1 allows UTF-8 and code page 437; Chinese Windows writes GBK
/// without a flag.
fn decode_name(raw: &[u8]) -> String {
    match std::str::from_utf8(raw) {
        Ok(name) => name.to_owned(),
        Err(_) => GB18030.decode_without_bom_handling(raw).0.into_owned(),
    }
}

/// Returns a relative path without `..`, drive letters, backslashes and control characters.
fn sanitize_path(name: &str) -> String {
    let name = name.replace('\\', "/");
    let is_component = |step: &&str| {
        !step.is_empty()
            && *step != "."
            && *step != ".."
            && !(step.len() == 2 && step.ends_with(':'))
    };
    let path = name
        .split('/')
        .filter(is_component)
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
    fn sanitized_paths_stay_inside_the_archive() {
        assert_eq!(sanitize_path("../../etc/passwd"), "etc/passwd");
        assert_eq!(sanitize_path("C:\\Windows\\a.dll"), "Windows/a.dll");
        assert_eq!(sanitize_path("/abs/./x\u{0}y"), "abs/xy");
        assert_eq!(
            sanitize_path("八年级/勾股定理.pptx"),
            "八年级/勾股定理.pptx"
        );
    }

    #[test]
    fn gbk_names_of_chinese_windows_are_decoded() {
        assert_eq!(
            decode_name(&encoding_rs::GBK.encode("课件/第一课.doc").0),
            "课件/第一课.doc"
        );
    }
}
