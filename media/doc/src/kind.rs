//! What a file is, by its magic bytes and its structure, never by its name.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::Error;
use crate::ole;
use crate::package::Package;
use crate::plain;

/// Enough to know every format but the containers, and to tell text from other bytes.
const HEAD: u64 = 64 << 10;

/// The types of the shared library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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
    Audio(&'static str),
    Video(&'static str),
    Zip,
    /// WPS Office's own: inside they are Word's, PowerPoint's and Excel's older formats.
    Wps,
    Dps,
    Et,
    Unknown,
}

/// What the bytes of a file say.
pub fn detect(path: &Path) -> Result<Kind, Error> {
    let file = File::open(path).map_err(Error::input(path))?;
    let mut head = Vec::new();
    file.take(HEAD)
        .read_to_end(&mut head)
        .map_err(Error::input(path))?;
    if head.is_empty() {
        return Err(Error::Empty);
    }
    match by_magic(&head) {
        Some(Kind::Zip) => Ok(in_package(&mut Package::open(path)?)),
        Some(Kind::Doc) => ole::kind(path),
        Some(kind) => Ok(kind),
        None => Ok(plain::kind(&head)),
    }
}

/// `Zip` stands for every zip container and `Doc` for every OLE container.
pub(crate) fn by_magic(head: &[u8]) -> Option<Kind> {
    const MAGIC: &[(&[u8], Kind)] = &[
        (b"PK\x03\x04", Kind::Zip),
        (b"PK\x05\x06", Kind::Zip),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind::Doc),
        (b"{\\rtf", Kind::Rtf),
        (b"\x89PNG\r\n\x1a\n", Kind::Png),
        (b"\xff\xd8\xff", Kind::Jpeg),
        (b"GIF87a", Kind::Gif),
        (b"GIF89a", Kind::Gif),
        (b"ID3", Kind::Audio("audio/mpeg")),
        (b"fLaC", Kind::Audio("audio/flac")),
        (b"#!AMR", Kind::Audio("audio/amr")),
        (b"OggS", Kind::Audio("audio/ogg")),
        (b"FLV\x01", Kind::Video("video/x-flv")),
        (
            b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
            Kind::Video("video/x-ms-wmv"),
        ),
        (b"\x00\x00\x01\xba", Kind::Video("video/mpeg")),
        (b"\x00\x00\x01\xb3", Kind::Video("video/mpeg")),
    ];
    let plain = MAGIC
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
        .map(|(_, kind)| *kind);
    plain
        .or_else(|| riff(head))
        .or_else(|| base_media(head))
        .or_else(|| matroska(head))
        .or_else(|| other(head))
}

fn riff(head: &[u8]) -> Option<Kind> {
    match (head.get(..4)?, head.get(8..12)?) {
        (b"RIFF", b"WEBP") => Some(Kind::WebP),
        (b"RIFF", b"WAVE") => Some(Kind::Audio("audio/wav")),
        (b"RIFF", b"AVI ") => Some(Kind::Video("video/x-msvideo")),
        (b"FORM", b"AIFF" | b"AIFC") => Some(Kind::Audio("audio/aiff")),
        _ => None,
    }
}

/// ISO 14496-12 §4.3: the brand says what an MP4-like file is for.
fn base_media(head: &[u8]) -> Option<Kind> {
    match (head.get(4..8)?, head.get(8..12)?) {
        (b"ftyp", b"M4A " | b"M4B ") => Some(Kind::Audio("audio/mp4")),
        (b"ftyp", b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1" | b"avif") => Some(Kind::Heic),
        (b"ftyp", b"qt  ") | (b"moov" | b"mdat" | b"wide", _) => {
            Some(Kind::Video("video/quicktime"))
        }
        (b"ftyp", _) => Some(Kind::Video("video/mp4")),
        _ => None,
    }
}

fn matroska(head: &[u8]) -> Option<Kind> {
    let doc_type = head.strip_prefix(b"\x1a\x45\xdf\xa3")?;
    let webm = doc_type
        .iter()
        .take(64)
        .copied()
        .collect::<Vec<_>>()
        .windows(4)
        .any(|four| four == b"webm");
    Some(Kind::Video(if webm {
        "video/webm"
    } else {
        "video/x-matroska"
    }))
}

fn other(head: &[u8]) -> Option<Kind> {
    // Some writers put a few lines before the header (ISO 32000-1, annex H.3.4.1).
    if memchr::memmem::find(&head[..head.len().min(1024)], b"%PDF-").is_some() {
        return Some(Kind::Pdf);
    }
    // A BMP says its header's length; two letters alone begin many texts.
    if head.starts_with(b"BM")
        && matches!(
            head.get(14..18),
            Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
        )
    {
        return Some(Kind::Bmp);
    }
    let transport_stream = |packet: &usize| head.get(packet * 188) == Some(&0x47);
    if head.len() > 188 * 5 && (0..5).all(|packet| transport_stream(&packet)) {
        return Some(Kind::Video("video/mp2t"));
    }
    mpeg_audio(head).then_some(Kind::Audio("audio/mpeg"))
}

/// Two frames of MPEG audio or ADTS after one another: the sync pattern alone (11 or 12 bits) is too short to believe.
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

/// The container says what it holds: Open Packaging Conventions in a part, OpenDocument in its first entry.
fn in_package(package: &mut Package) -> Kind {
    const TYPES: &[(&str, Kind)] = &[
        ("wordprocessingml.document.main", Kind::Docx),
        ("wordprocessingml.template.main", Kind::Docx),
        ("ms-word.document.macroEnabled.main", Kind::Docx),
        ("presentationml.presentation.main", Kind::Pptx),
        ("presentationml.slideshow.main", Kind::Pptx),
        ("presentationml.template.main", Kind::Pptx),
        ("ms-powerpoint.presentation.macroEnabled.main", Kind::Pptx),
        ("ms-powerpoint.slideshow.macroEnabled.main", Kind::Pptx),
        ("spreadsheetml.sheet.main", Kind::Xlsx),
        ("spreadsheetml.template.main", Kind::Xlsx),
        ("ms-excel.sheet.macroEnabled.main", Kind::Xlsx),
        ("oasis.opendocument.text", Kind::Odt),
        ("oasis.opendocument.presentation", Kind::Odp),
        ("oasis.opendocument.spreadsheet", Kind::Ods),
    ];
    let mut declared = |name| package.read(name).ok().flatten().unwrap_or_default();
    let content_types = declared("[Content_Types].xml");
    let mimetype = declared("mimetype");
    let says = |text: &&str| {
        memchr::memmem::find(&content_types, text.as_bytes()).is_some()
            || memchr::memmem::find(&mimetype, text.as_bytes()).is_some()
    };
    TYPES
        .iter()
        .find(|(text, _)| says(text))
        .map_or(Kind::Zip, |(_, kind)| *kind)
}

impl Kind {
    /// The word for it in our JSON.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    pub fn mime(self) -> &'static str {
        self.words().1
    }

    /// Whether a name with this extension (small letters) promises a file like this one.
    pub fn goes_by(self, extension: &str) -> bool {
        self.words().2.split(' ').any(|known| known == extension)
    }

    /// Whether this extension promises anything that we know.
    pub fn is_promised(extension: &str) -> bool {
        ALL.iter().any(|kind| kind.goes_by(extension))
    }

    fn words(self) -> (&'static str, &'static str, &'static str) {
        const OOXML: [&str; 3] = [
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ];
        match self {
            Kind::Docx => ("docx", OOXML[0], "docx docm dotx dotm wps"),
            Kind::Doc => ("doc", "application/msword", "doc dot wps"),
            Kind::Pptx => ("pptx", OOXML[1], "pptx pptm ppsx ppsm potx potm dps"),
            Kind::Ppt => ("ppt", "application/vnd.ms-powerpoint", "ppt pps pot dps"),
            Kind::Xlsx => ("xlsx", OOXML[2], "xlsx xlsm xltx xltm et"),
            Kind::Xls => ("xls", "application/vnd.ms-excel", "xls xlt et"),
            Kind::Pdf => ("pdf", "application/pdf", "pdf"),
            Kind::Odt => ("odt", "application/vnd.oasis.opendocument.text", "odt ott"),
            Kind::Odp => (
                "odp",
                "application/vnd.oasis.opendocument.presentation",
                "odp otp",
            ),
            Kind::Ods => (
                "ods",
                "application/vnd.oasis.opendocument.spreadsheet",
                "ods ots",
            ),
            Kind::Rtf => ("rtf", "application/rtf", "rtf doc"),
            Kind::Markdown => ("md", "text/markdown", "md markdown txt"),
            Kind::Text => (
                "txt",
                "text/plain",
                "txt text log csv tsv srt lrc json xml svg md tex py c js css java",
            ),
            Kind::Html => ("html", "text/html", "html htm xhtml"),
            Kind::Png => ("png", "image/png", "png"),
            Kind::Jpeg => ("jpeg", "image/jpeg", "jpg jpeg jpe jfif"),
            Kind::Gif => ("gif", "image/gif", "gif"),
            Kind::WebP => ("webp", "image/webp", "webp"),
            Kind::Bmp => ("bmp", "image/bmp", "bmp dib"),
            Kind::Heic => ("heic", "image/heic", "heic heif avif"),
            Kind::Audio(mime) => (
                "audio",
                mime,
                "mp3 wav m4a m4b aac ogg oga opus flac amr aif aiff wma",
            ),
            Kind::Video(mime) => (
                "video",
                mime,
                "mp4 m4v mov webm mkv avi wmv flv mpg mpeg ts mts 3gp ogv asf",
            ),
            Kind::Zip => ("zip", "application/zip", "zip epub xlsb jar ggb"),
            Kind::Wps => ("wps", "application/vnd.wps-office.wps", "wps wpt doc"),
            Kind::Dps => ("dps", "application/vnd.wps-office.dps", "dps dpt ppt"),
            Kind::Et => ("et", "application/vnd.wps-office.et", "et ett xls"),
            Kind::Unknown => ("unknown", "application/octet-stream", ""),
        }
    }
}

const ALL: &[Kind] = &[
    Kind::Docx,
    Kind::Doc,
    Kind::Pptx,
    Kind::Ppt,
    Kind::Xlsx,
    Kind::Xls,
    Kind::Pdf,
    Kind::Odt,
    Kind::Odp,
    Kind::Ods,
    Kind::Rtf,
    Kind::Markdown,
    Kind::Text,
    Kind::Html,
    Kind::Png,
    Kind::Jpeg,
    Kind::Gif,
    Kind::WebP,
    Kind::Bmp,
    Kind::Heic,
    Kind::Audio(""),
    Kind::Video(""),
    Kind::Zip,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_letters_do_not_make_a_picture() {
        assert_eq!(
            by_magic(b"BMW is a car, and this is an English lesson."),
            None
        );
    }

    #[test]
    fn an_mp3_without_tags_is_known_by_two_frames() {
        // 128 kbit/s at 44.1 kHz: 417 bytes a frame.
        let mut song = vec![0; 900];
        song[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        assert_eq!(by_magic(&song), None, "one frame header proves nothing");
        song[417..421].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        assert_eq!(by_magic(&song), Some(Kind::Audio("audio/mpeg")));
    }

    #[test]
    fn a_name_promises_types() {
        assert!(Kind::Ppt.goes_by("dps") && !Kind::Pdf.goes_by("pptx"));
        assert!(Kind::is_promised("docx") && !Kind::is_promised("docx2"));
    }
}
