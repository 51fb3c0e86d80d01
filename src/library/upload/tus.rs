//! Headers of tus 1.0.0 (<https://tus.io/protocols/resumable-upload>).

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::digest;

use crate::error::{Error, Result, Text};

pub const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub const VERSION: HeaderName = HeaderName::from_static("tus-version");
pub const EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
pub const MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
pub const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
pub const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub const LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub const CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
pub const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
/// Extension of this server: resource that a finished upload became.
pub const RESOURCE: HeaderName = HeaderName::from_static("tongke-resource");

pub const PROTOCOL: HeaderValue = HeaderValue::from_static("1.0.0");
pub const EXTENSIONS: HeaderValue =
    HeaderValue::from_static("creation,creation-with-upload,termination,checksum,expiration");
pub const ALGORITHMS: HeaderValue = HeaderValue::from_static("sha1,sha256");
/// Media type of a chunk of an upload.
pub const CHUNK_TYPE: &str = "application/offset+octet-stream";
/// Metadata is a name and a short description; the longest fits into this.
const MAX_METADATA_BYTES: usize = 8 << 10;

/// Rejects requests of another protocol version with 412; every request except OPTIONS states it.
pub fn check_version(headers: &HeaderMap) -> Result<()> {
    if headers
        .get(RESUMABLE)
        .is_some_and(|version| version == PROTOCOL)
    {
        return Ok(());
    }
    Err(protocol_error(
        StatusCode::PRECONDITION_FAILED,
        "tus_version",
        "上传程序使用的协议版本不受支持（需要 tus 1.0.0）。",
        "The upload speaks another protocol version (tus 1.0.0 is needed).",
    ))
}

/// Parses a numeric header.
pub fn number(headers: &HeaderMap, name: &HeaderName) -> Result<u64> {
    let value = headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok());
    value.ok_or_else(|| {
        Error::BadRequest(Text::with(
            format!("上传请求缺少 {name}，或其内容不是数字。"),
            format!("The upload's header {name} is missing or no number."),
        ))
    })
}

/// Returns true if the request body is a chunk of an upload.
pub fn carries_chunk(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == CHUNK_TYPE)
}

/// Parses `Upload-Metadata`: `key base64,key base64,key`.
pub fn metadata(headers: &HeaderMap) -> Result<BTreeMap<String, String>> {
    let Some(header) = headers.get(METADATA) else {
        return Ok(BTreeMap::new());
    };
    let unreadable = || {
        Error::BadRequest(Text::new(
            "上传请求的 Upload-Metadata 无法识别。",
            "The upload's metadata cannot be read.",
        ))
    };
    let text = header
        .to_str()
        .ok()
        .filter(|text| text.len() <= MAX_METADATA_BYTES)
        .ok_or_else(unreadable)?;
    let pairs = text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            let value = BASE64_STANDARD
                .decode(value.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())?;
            Some((key.to_owned(), value))
        });
    pairs.collect::<Option<_>>().ok_or_else(unreadable)
}

/// Checksum that the client announced for a chunk.
pub struct ExpectedChecksum {
    context: digest::Context,
    hash: Vec<u8>,
}

impl ExpectedChecksum {
    /// Parses `Upload-Checksum: algorithm base64`.
    pub fn parse(headers: &HeaderMap) -> Result<Option<ExpectedChecksum>> {
        let Some(value) = headers.get(CHECKSUM) else {
            return Ok(None);
        };
        let value = value.to_str().unwrap_or_default();
        let (name, hash) = value.split_once(' ').unwrap_or((value, ""));
        let algorithm = match name {
            "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            "sha256" => &digest::SHA256,
            _ => return Err(unknown_checksum()),
        };
        let hash = BASE64_STANDARD
            .decode(hash.trim())
            .map_err(|_| unknown_checksum())?;
        Ok(Some(ExpectedChecksum {
            context: digest::Context::new(algorithm),
            hash,
        }))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Rejects a mismatch with 460, a status defined by tus.
    pub fn check(self) -> Result<()> {
        if self.context.finish().as_ref() == self.hash {
            return Ok(());
        }
        let status = StatusCode::from_u16(460).expect("three digits");
        Err(protocol_error(
            status,
            "checksum_mismatch",
            "这一段数据在传输中损坏，请重新上传这一段。",
            "This piece was damaged on its way. Send it again.",
        ))
    }
}

fn unknown_checksum() -> Error {
    Error::BadRequest(Text::new(
        "上传请求的校验方式不受支持（可用 sha1、sha256）。",
        "The checksum cannot be read (sha1 and sha256 are known).",
    ))
}

/// Error with a status that the protocol prescribes.
pub fn protocol_error(
    status: StatusCode,
    code: &'static str,
    zh: &'static str,
    en: &'static str,
) -> Error {
    Error::Prescribed {
        status,
        code,
        text: Text::new(zh, en),
    }
}

/// Formats an HTTP date (RFC 9110 §5.6.7).
pub fn http_date(time: Timestamp) -> HeaderValue {
    let text = time
        .to_zoned(TimeZone::UTC)
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    HeaderValue::try_from(text).expect("ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().expect("a header value"))])
    }

    #[test]
    fn metadata_holds_chinese_names() {
        let encoded = format!(
            "filename {},empty,changes {}",
            BASE64_STANDARD.encode("第三单元 教案.docx"),
            BASE64_STANDARD.encode("改了导入")
        );
        let read = metadata(&with(METADATA, &encoded)).expect("read");
        assert_eq!(read["filename"], "第三单元 教案.docx");
        assert_eq!(
            (read["empty"].as_str(), read["changes"].as_str()),
            ("", "改了导入")
        );
        assert!(metadata(&with(METADATA, "filename ***")).is_err());
        assert!(
            metadata(&with(
                METADATA,
                &format!("filename {}", BASE64_STANDARD.encode([0xff, 0xfe]))
            ))
            .is_err()
        );
    }

    #[test]
    fn a_checksum_covers_one_chunk() {
        let right = format!(
            "sha1 {}",
            BASE64_STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, b"piece"))
        );
        let mut expected = ExpectedChecksum::parse(&with(CHECKSUM, &right))
            .expect("read")
            .expect("there is one");
        expected.update(b"pie");
        expected.update(b"ce");
        assert!(expected.check().is_ok());
        let expected = ExpectedChecksum::parse(&with(CHECKSUM, &right))
            .expect("read")
            .expect("there is one");
        assert_eq!(
            expected
                .check()
                .expect_err("another piece")
                .status()
                .as_u16(),
            460
        );
        assert!(ExpectedChecksum::parse(&with(CHECKSUM, "crc32 AAAA")).is_err());
    }

    #[test]
    fn dates_have_the_http_format() {
        let time: Timestamp = "2026-11-22T03:04:05Z".parse().expect("a time");
        assert_eq!(http_date(time), "Sun, 22 Nov 2026 03:04:05 GMT");
    }
}
