//! File type detection from the first bytes; the file name is ignored. The result is provisional:
//! the sandboxed analysis determines the type of files inside containers (an office file is a zip).

/// Bytes of the head of a file that are examined.
pub const HEAD_BYTES: usize = 64 << 10;

/// Provisional type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sniffed {
    /// Short name for summaries and search facets.
    pub kind: &'static str,
    pub mime: &'static str,
}

const fn sniffed(kind: &'static str, mime: &'static str) -> Sniffed {
    Sniffed { kind, mime }
}

const UNKNOWN: Sniffed = sniffed("unknown", "application/octet-stream");

/// Signatures at offset 0.
const AT_START: &[(&[u8], Sniffed)] = &[
    (b"%PDF-", sniffed("pdf", "application/pdf")),
    (b"\x89PNG\r\n\x1a\n", sniffed("png", "image/png")),
    (b"\xff\xd8\xff", sniffed("jpeg", "image/jpeg")),
    (b"GIF87a", sniffed("gif", "image/gif")),
    (b"GIF89a", sniffed("gif", "image/gif")),
    (b"BM", sniffed("bmp", "image/bmp")),
    (b"\x1a\x45\xdf\xa3", sniffed("video", "video/webm")),
    (b"ID3", sniffed("audio", "audio/mpeg")),
    (b"\xff\xfb", sniffed("audio", "audio/mpeg")),
    (b"\xff\xf3", sniffed("audio", "audio/mpeg")),
    (b"\xff\xf1", sniffed("audio", "audio/aac")),
    (b"\xff\xf9", sniffed("audio", "audio/aac")),
    (b"OggS", sniffed("audio", "audio/ogg")),
    (b"fLaC", sniffed("audio", "audio/flac")),
    (b"FLV\x01", sniffed("video", "video/x-flv")),
    (b"\x00\x00\x01\xba", sniffed("video", "video/mpeg")),
    // Advanced Systems Format: WMV and WMA.
    (
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
        sniffed("video", "video/x-ms-asf"),
    ),
    // Compound files (old office formats); the analysis distinguishes them.
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        sniffed("unknown", "application/x-ole-storage"),
    ),
];

/// Signatures of executables. They are rejected because other schools would download and run them.
const EXECUTABLES: &[&[u8]] = &[
    b"MZ",
    b"\x7fELF",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
];

/// Returns true for executables and scripts with an interpreter line.
pub fn is_executable(head: &[u8]) -> bool {
    EXECUTABLES.iter().any(|magic| head.starts_with(magic)) || head.starts_with(b"#!")
}

/// Detects the type from the head of a file.
pub fn sniff(head: &[u8]) -> Sniffed {
    if let Some((_, found)) = AT_START.iter().find(|(magic, _)| head.starts_with(magic)) {
        return *found;
    }
    match (head.get(..4), head.get(4..8), head.get(8..12)) {
        (Some(b"RIFF"), _, Some(b"WEBP")) => return sniffed("webp", "image/webp"),
        (Some(b"RIFF"), _, Some(b"WAVE")) => return sniffed("audio", "audio/wav"),
        (Some(b"RIFF"), _, Some(b"AVI ")) => return sniffed("video", "video/x-msvideo"),
        // ISO 14496-12 containers of still images, as phones write them.
        (_, Some(b"ftyp"), Some(b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1" | b"avif")) => {
            return sniffed("heic", "image/heic");
        }
        (_, Some(b"ftyp"), Some(b"M4A ")) => return sniffed("audio", "audio/mp4"),
        (_, Some(b"ftyp"), _) => return sniffed("video", "video/mp4"),
        (Some(b"PK\x03\x04" | b"PK\x05\x06"), _, _) => return sniff_zip(head),
        _ => {}
    }
    sniff_text(head)
}

/// Detects office files in a zip: OOXML by the names of its first entries, OpenDocument by its
/// uncompressed `mimetype` entry.
fn sniff_zip(head: &[u8]) -> Sniffed {
    let has = |name: &[u8]| head.windows(name.len()).any(|window| window == name);
    let known: [(&[u8], Sniffed); 6] = [
        (
            b"mimetypeapplication/vnd.oasis.opendocument.text",
            sniffed("odt", "application/vnd.oasis.opendocument.text"),
        ),
        (
            b"mimetypeapplication/vnd.oasis.opendocument.presentation",
            sniffed("odp", "application/vnd.oasis.opendocument.presentation"),
        ),
        (
            b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
            sniffed("ods", "application/vnd.oasis.opendocument.spreadsheet"),
        ),
        (
            b"word/",
            sniffed(
                "docx",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            ),
        ),
        (
            b"ppt/",
            sniffed(
                "pptx",
                "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            ),
        ),
        (
            b"xl/",
            sniffed(
                "xlsx",
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            ),
        ),
    ];
    let is_office = has(b"[Content_Types].xml") || has(b"mimetype");
    let found = known.into_iter().find(|(name, _)| is_office && has(name));
    found.map_or(sniffed("zip", "application/zip"), |(_, found)| found)
}

/// Detects text, UTF-8 or GBK, by the absence of control characters other than whitespace.
fn sniff_text(head: &[u8]) -> Sniffed {
    let control_characters = head
        .iter()
        .filter(|byte| **byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c))
        .count();
    if head.is_empty() || control_characters > 0 {
        return UNKNOWN;
    }
    let start = String::from_utf8_lossy(&head[..head.len().min(512)])
        .trim_start_matches('\u{feff}')
        .to_lowercase();
    let start = start.trim_start();
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        return sniffed("html", "text/html");
    }
    sniffed("txt", "text/plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_comes_from_the_bytes() {
        let cases: [(&[u8], &str); 13] = [
            (b"%PDF-1.7\n", "pdf"),
            (b"\x89PNG\r\n\x1a\n....", "png"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "webp"),
            (b"RIFF\x24\0\0\0AVI LIST", "video"),
            (b"\0\0\0\x20ftypisom", "video"),
            (b"\0\0\0\x24ftypheic\0\0\0\0mif1", "heic"),
            (
                b"PK\x03\x04........[Content_Types].xml....PK\x03\x04...ppt/slides",
                "pptx",
            ),
            (
                b"PK\x03\x04....mimetypeapplication/vnd.oasis.opendocument.textPK",
                "odt",
            ),
            (b"PK\x03\x04....photos/1.jpg", "zip"),
            ("# 富饶的西沙群岛\n教学设计".as_bytes(), "txt"),
            (b"\xef\xbb\xbf<!DOCTYPE html><html>", "html"),
            // 教案 in GBK.
            (b"\xbd\xcc\xb0\xb8\r\n", "txt"),
            (b"\x00\x01\x02\x03", "unknown"),
        ];
        for (head, kind) in cases {
            assert_eq!(sniff(head).kind, kind, "{}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn executables_are_detected_without_their_name() {
        for head in [&b"MZ\x90\0"[..], b"\x7fELF\x02", b"#!/bin/sh\n"] {
            assert!(is_executable(head));
        }
        assert!(!is_executable("教案".as_bytes()));
    }
}
