//! File type detection by magic bytes and structure, never by file name.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::Error;
use crate::ole;
use crate::package::Package;
use crate::plain_text;

/// Bytes that are read for detection: enough for every format but the containers.
const HEAD_BYTES: u64 = 64 << 10;

/// File types of the resource library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    Docx,
    Doc,
    Pptx,
    Ppt,
    Xlsx,
    Xls,
    Pdf,
    Odt,
    Odp,
    Ods,
    Rtf,
    Markdown,
    Text,
    Html,
    Png,
    Jpeg,
    Gif,
    WebP,
    Bmp,
    Heic,
    /// Audio of this MIME type.
    Audio(&'static str),
    /// Video of this MIME type.
    Video(&'static str),
    Zip,
    /// WPS Writer (Word 97 format) or Microsoft Works.
    Wps,
    /// WPS Presentation (PowerPoint 97 format).
    Dps,
    /// WPS Spreadsheets (Excel 97 format).
    Et,
    Unknown,
}

/// Detects the type of a file.
pub fn detect(path: &Path) -> Result<FileType, Error> {
    let file = File::open(path).map_err(Error::input(path))?;
    let mut head = Vec::new();
    file.take(HEAD_BYTES)
        .read_to_end(&mut head)
        .map_err(Error::input(path))?;
    if head.is_empty() {
        return Err(Error::Empty);
    }
    match by_magic(&head) {
        Some(FileType::Zip) => Ok(detect_package(&mut Package::open(path)?)),
        Some(FileType::Doc) => ole::detect(path),
        Some(file_type) => Ok(file_type),
        None => Ok(plain_text::detect(&head)),
    }
}

/// Detects by magic bytes. `Zip` stands for any zip container, `Doc` for any OLE compound file.
pub(crate) fn by_magic(head: &[u8]) -> Option<FileType> {
    const MAGIC: &[(&[u8], FileType)] = &[
        (b"PK\x03\x04", FileType::Zip),
        (b"PK\x05\x06", FileType::Zip),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileType::Doc),
        (b"{\\rtf", FileType::Rtf),
        (b"\x89PNG\r\n\x1a\n", FileType::Png),
        (b"\xff\xd8\xff", FileType::Jpeg),
        (b"GIF87a", FileType::Gif),
        (b"GIF89a", FileType::Gif),
        (b"ID3", FileType::Audio("audio/mpeg")),
        (b"fLaC", FileType::Audio("audio/flac")),
        (b"#!AMR", FileType::Audio("audio/amr")),
        (b"OggS", FileType::Audio("audio/ogg")),
        (b"FLV\x01", FileType::Video("video/x-flv")),
        (
            b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
            FileType::Video("video/x-ms-wmv"),
        ),
        (b"\x00\x00\x01\xba", FileType::Video("video/mpeg")),
        (b"\x00\x00\x01\xb3", FileType::Video("video/mpeg")),
    ];
    let plain = MAGIC
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
        .map(|(_, file_type)| *file_type);
    plain
        .or_else(|| riff(head))
        .or_else(|| base_media(head))
        .or_else(|| matroska(head))
        .or_else(|| other(head))
}

fn riff(head: &[u8]) -> Option<FileType> {
    match (head.get(..4)?, head.get(8..12)?) {
        (b"RIFF", b"WEBP") => Some(FileType::WebP),
        (b"RIFF", b"WAVE") => Some(FileType::Audio("audio/wav")),
        (b"RIFF", b"AVI ") => Some(FileType::Video("video/x-msvideo")),
        (b"FORM", b"AIFF" | b"AIFC") => Some(FileType::Audio("audio/aiff")),
        _ => None,
    }
}

/// ISO base media files by their major brand (ISO/IEC 14496-12 §4.3).
fn base_media(head: &[u8]) -> Option<FileType> {
    match (head.get(4..8)?, head.get(8..12)?) {
        (b"ftyp", b"M4A " | b"M4B ") => Some(FileType::Audio("audio/mp4")),
        (b"ftyp", b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1" | b"avif") => {
            Some(FileType::Heic)
        }
        (b"ftyp", b"qt  ") | (b"moov" | b"mdat" | b"wide", _) => {
            Some(FileType::Video("video/quicktime"))
        }
        (b"ftyp", _) => Some(FileType::Video("video/mp4")),
        _ => None,
    }
}

fn matroska(head: &[u8]) -> Option<FileType> {
    let doc_type = head.strip_prefix(b"\x1a\x45\xdf\xa3")?;
    let webm = doc_type
        .iter()
        .take(64)
        .copied()
        .collect::<Vec<_>>()
        .windows(4)
        .any(|four| four == b"webm");
    Some(FileType::Video(if webm {
        "video/webm"
    } else {
        "video/x-matroska"
    }))
}

fn other(head: &[u8]) -> Option<FileType> {
    // Some writers put lines before the header; readers accept it within the first 1024 bytes
    // (ISO 32000-1 annex H).
    if memchr::memmem::find(&head[..head.len().min(1024)], b"%PDF-").is_some() {
        return Some(FileType::Pdf);
    }
    // The size of the BMP info header must be valid: many texts begin with "BM".
    if head.starts_with(b"BM")
        && matches!(
            head.get(14..18),
            Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
        )
    {
        return Some(FileType::Bmp);
    }
    let transport_stream = |packet: &usize| head.get(packet * 188) == Some(&0x47);
    if head.len() > 188 * 5 && (0..5).all(|packet| transport_stream(&packet)) {
        return Some(FileType::Video("video/mp2t"));
    }
    mpeg_audio(head).then_some(FileType::Audio("audio/mpeg"))
}

/// Two consecutive frames of MPEG audio or ADTS: a sync pattern of 11 or 12 bits alone is too short
/// to be reliable.
fn mpeg_audio(head: &[u8]) -> bool {
    const KBPS: [usize; 16] = [
        0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0,
    ];
    let &[0xff, version, rate, _, ..] = head else {
        return false;
    };
    // MPEG 1, layer 3; ADTS AAC.
    let length = match version & 0xfe {
        0xfa => {
            let hertz = [44_100_usize, 48_000, 32_000, 0][usize::from((rate >> 2) & 3)];
            let padding = usize::from((rate >> 1) & 1);
            (144_000 * KBPS[usize::from(rate >> 4)])
                .checked_div(hertz)
                .unwrap_or(0)
                + padding
        }
        0xf0 | 0xf8 if head.len() > 6 => {
            (usize::from(head[3] & 3) << 11)
                | (usize::from(head[4]) << 3)
                | usize::from(head[5] >> 5)
        }
        _ => 0,
    };
    length > 7 && head.get(length) == Some(&0xff) && head.get(length + 1) == Some(&version)
}

/// Detects the format of a zip container by `[Content_Types].xml` (ECMA-376-2) or `mimetype` (ODF).
fn detect_package(package: &mut Package) -> FileType {
    const TYPES: &[(&str, FileType)] = &[
        ("wordprocessingml.document.main", FileType::Docx),
        ("wordprocessingml.template.main", FileType::Docx),
        ("ms-word.document.macroEnabled.main", FileType::Docx),
        ("presentationml.presentation.main", FileType::Pptx),
        ("presentationml.slideshow.main", FileType::Pptx),
        ("presentationml.template.main", FileType::Pptx),
        (
            "ms-powerpoint.presentation.macroEnabled.main",
            FileType::Pptx,
        ),
        ("ms-powerpoint.slideshow.macroEnabled.main", FileType::Pptx),
        ("spreadsheetml.sheet.main", FileType::Xlsx),
        ("spreadsheetml.template.main", FileType::Xlsx),
        ("ms-excel.sheet.macroEnabled.main", FileType::Xlsx),
        ("oasis.opendocument.text", FileType::Odt),
        ("oasis.opendocument.presentation", FileType::Odp),
        ("oasis.opendocument.spreadsheet", FileType::Ods),
    ];
    let mut declared = |name| package.read(name).ok().flatten().unwrap_or_default();
    let content_types = declared("[Content_Types].xml");
    let mimetype = declared("mimetype");
    let is_declared = |text: &&str| {
        memchr::memmem::find(&content_types, text.as_bytes()).is_some()
            || memchr::memmem::find(&mimetype, text.as_bytes()).is_some()
    };
    TYPES
        .iter()
        .find(|(text, _)| is_declared(text))
        .map_or(FileType::Zip, |(_, file_type)| *file_type)
}

impl FileType {
    /// Name of the type in JSON.
    pub fn name(self) -> &'static str {
        self.info().0
    }

    /// MIME type.
    pub fn mime(self) -> &'static str {
        self.info().1
    }

    /// Returns true if a file of this type may have the extension, in lower case.
    pub fn has_extension(self, extension: &str) -> bool {
        self.info().2.split(' ').any(|known| known == extension)
    }

    /// Returns true if any known type may have the extension.
    pub fn is_known_extension(extension: &str) -> bool {
        ALL.iter()
            .any(|file_type| file_type.has_extension(extension))
    }

    /// Name in JSON, MIME type and space-separated extensions.
    fn info(self) -> (&'static str, &'static str, &'static str) {
        const OOXML: [&str; 3] = [
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ];
        match self {
            FileType::Docx => ("docx", OOXML[0], "docx docm dotx dotm wps"),
            FileType::Doc => ("doc", "application/msword", "doc dot wps"),
            FileType::Pptx => ("pptx", OOXML[1], "pptx pptm ppsx ppsm potx potm dps"),
            FileType::Ppt => ("ppt", "application/vnd.ms-powerpoint", "ppt pps pot dps"),
            FileType::Xlsx => ("xlsx", OOXML[2], "xlsx xlsm xltx xltm et"),
            FileType::Xls => ("xls", "application/vnd.ms-excel", "xls xlt et"),
            FileType::Pdf => ("pdf", "application/pdf", "pdf"),
            FileType::Odt => ("odt", "application/vnd.oasis.opendocument.text", "odt ott"),
            FileType::Odp => (
                "odp",
                "application/vnd.oasis.opendocument.presentation",
                "odp otp",
            ),
            FileType::Ods => (
                "ods",
                "application/vnd.oasis.opendocument.spreadsheet",
                "ods ots",
            ),
            FileType::Rtf => ("rtf", "application/rtf", "rtf doc"),
            FileType::Markdown => ("md", "text/markdown", "md markdown txt"),
            FileType::Text => (
                "txt",
                "text/plain",
                "txt text log csv tsv srt lrc json xml svg md tex py c js css java",
            ),
            FileType::Html => ("html", "text/html", "html htm xhtml"),
            FileType::Png => ("png", "image/png", "png"),
            FileType::Jpeg => ("jpeg", "image/jpeg", "jpg jpeg jpe jfif"),
            FileType::Gif => ("gif", "image/gif", "gif"),
            FileType::WebP => ("webp", "image/webp", "webp"),
            FileType::Bmp => ("bmp", "image/bmp", "bmp dib"),
            FileType::Heic => ("heic", "image/heic", "heic heif avif"),
            FileType::Audio(mime) => (
                "audio",
                mime,
                "mp3 wav m4a m4b aac ogg oga opus flac amr aif aiff wma",
            ),
            FileType::Video(mime) => (
                "video",
                mime,
                "mp4 m4v mov webm mkv avi wmv flv mpg mpeg ts mts 3gp ogv asf",
            ),
            FileType::Zip => ("zip", "application/zip", "zip epub xlsb jar ggb"),
            FileType::Wps => ("wps", "application/vnd.wps-office.wps", "wps wpt doc"),
            FileType::Dps => ("dps", "application/vnd.wps-office.dps", "dps dpt ppt"),
            FileType::Et => ("et", "application/vnd.wps-office.et", "et ett xls"),
            FileType::Unknown => ("unknown", "application/octet-stream", ""),
        }
    }
}

/// Types with their own file extensions.
const ALL: &[FileType] = &[
    FileType::Docx,
    FileType::Doc,
    FileType::Pptx,
    FileType::Ppt,
    FileType::Xlsx,
    FileType::Xls,
    FileType::Pdf,
    FileType::Odt,
    FileType::Odp,
    FileType::Ods,
    FileType::Rtf,
    FileType::Markdown,
    FileType::Text,
    FileType::Html,
    FileType::Png,
    FileType::Jpeg,
    FileType::Gif,
    FileType::WebP,
    FileType::Bmp,
    FileType::Heic,
    FileType::Audio(""),
    FileType::Video(""),
    FileType::Zip,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_begins_with_bm_is_not_a_bmp() {
        assert_eq!(
            by_magic(b"BMW is a car, and this is an English lesson."),
            None
        );
    }

    #[test]
    fn an_mp3_without_tags_is_detected_by_two_frames() {
        // 128 kbit/s at 44.1 kHz: 417 bytes a frame.
        let mut song = vec![0; 900];
        song[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        assert_eq!(by_magic(&song), None, "one frame header proves nothing");
        song[417..421].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        assert_eq!(by_magic(&song), Some(FileType::Audio("audio/mpeg")));
    }

    #[test]
    fn extensions_map_to_file_types() {
        assert!(FileType::Ppt.has_extension("dps") && !FileType::Pdf.has_extension("pptx"));
        assert!(FileType::is_known_extension("docx") && !FileType::is_known_extension("docx2"));
    }
}
