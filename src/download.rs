//! HTTP responses with a stored object: ranges, caching, and the file name for saving (RFC 9110,
//! RFC 6266).

use std::ops::Range;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::error::{Error, Result, Text};
use crate::storage::{Key, Storage, StorageError, is_missing};

/// Stored object and its response headers.
pub struct Object<'a> {
    pub key: &'a Key,
    pub size_bytes: u64,
    pub mime: &'a str,
    pub cache: &'static str,
    /// Entity tag without quotes; a matching `If-None-Match` gets 304.
    pub etag: Option<&'a str>,
}

/// Responds with the object, or with the requested byte range of it.
pub async fn serve_object(
    storage: &Storage,
    object: Object<'_>,
    headers: &HeaderMap,
) -> Result<Response<Body>> {
    let etag = object.etag.map(|etag| format!("\"{etag}\""));
    let header = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let mut response = Response::builder()
        .header(CACHE_CONTROL, object.cache)
        .header(ACCEPT_RANGES, "bytes");
    if let Some(etag) = &etag {
        response = response.header(ETAG, etag);
        if header(IF_NONE_MATCH).is_some_and(|known| known.contains(etag.as_str())) {
            return response
                .status(StatusCode::NOT_MODIFIED)
                .body(Body::empty())
                .map_err(Error::internal);
        }
    }
    let size = object.size_bytes;
    // RFC 9110 §13.1.5: a range of another representation is useless, so the whole object is sent.
    let is_current = header(IF_RANGE).is_none_or(|known| etag.as_deref() == Some(known));
    let range = match header(RANGE)
        .filter(|_| is_current)
        .map_or(RangeRequest::Full, |value| parse_range(value, size))
    {
        RangeRequest::Unsatisfiable => {
            let response = response
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(CONTENT_RANGE, format!("bytes */{size}"));
            return response.body(Body::empty()).map_err(Error::internal);
        }
        RangeRequest::Full => 0..size,
        RangeRequest::Partial(range) => {
            let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(CONTENT_RANGE, content_range);
            range
        }
    };
    response = response
        .header(CONTENT_TYPE, object.mime)
        .header(CONTENT_LENGTH, range.end - range.start);
    let stream = storage
        .stream(object.key, Some(range))
        .await
        .map_err(storage_error)?;
    response
        .body(Body::from_stream(stream))
        .map_err(Error::internal)
}

/// Converts a storage failure into 404 or 503.
pub fn storage_error(error: StorageError) -> Error {
    if is_missing(&error) {
        return Error::not_found("没有找到这个文件。", "There is no such file.");
    }
    tracing::warn!(%error, "the object store does not answer");
    Error::Unavailable(Text::new(
        "存储暂时不可用，请稍后再试。",
        "The storage is away. Please try again in a moment.",
    ))
}

/// `Content-Disposition` of a file to save (RFC 6266 with RFC 8187).
///
/// Browsers use the UTF-8 name in `filename*`; older clients get the ASCII `filename`.
pub fn attachment(name: &str) -> HeaderValue {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || ".-_ ".contains(c) {
            c
        } else {
            '_'
        }
    };
    let ascii: String = name.chars().map(plain).collect();
    // Bytes outside attr-char (RFC 8187 §3.2.1) are percent-encoded.
    let escaped: String = name
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
            byte if b"!#$&+-.^_`|~".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let value = format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{escaped}");
    HeaderValue::try_from(value).expect("ASCII without controls")
}

#[derive(Debug, PartialEq, Eq)]
enum RangeRequest {
    Full,
    Partial(Range<u64>),
    /// The range begins beyond the end.
    Unsatisfiable,
}

/// Parses a `Range` header (RFC 9110 §14.2). Multiple ranges and other units are ignored, as it
/// allows.
fn parse_range(header: &str, size: u64) -> RangeRequest {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .filter(|rest| !rest.contains(','))
        .and_then(|rest| rest.split_once('-'))
    else {
        return RangeRequest::Full;
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        (Err(_), Ok(count)) if first.trim().is_empty() => size.saturating_sub(count)..size,
        _ => return RangeRequest::Full,
    };
    if range.start < range.end {
        RangeRequest::Partial(range)
    } else {
        RangeRequest::Unsatisfiable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_limited_to_the_size_of_the_object() {
        assert_eq!(parse_range("bytes=0-", 100), RangeRequest::Partial(0..100));
        assert_eq!(
            parse_range("bytes=10-19", 100),
            RangeRequest::Partial(10..20)
        );
        assert_eq!(
            parse_range("bytes=90-500", 100),
            RangeRequest::Partial(90..100)
        );
        assert_eq!(
            parse_range("bytes=-10", 100),
            RangeRequest::Partial(90..100)
        );
        assert_eq!(parse_range("bytes=100-", 100), RangeRequest::Unsatisfiable);
        assert_eq!(parse_range("bytes=5-2", 100), RangeRequest::Full);
        assert_eq!(parse_range("bytes=0-1,5-6", 100), RangeRequest::Full);
        assert_eq!(parse_range("lines=0-1", 100), RangeRequest::Full);
    }

    #[test]
    fn a_chinese_file_name_is_kept() {
        let header = attachment("第三单元 教案(2).docx");
        assert_eq!(
            header.to_str().expect("ASCII"),
            "attachment; filename=\"____ ___2_.docx\"; \
             filename*=UTF-8''%E7%AC%AC%E4%B8%89%E5%8D%95%E5%85%83%20%E6%95%99%E6%A1%88%282%29.docx"
        );
    }

    #[test]
    fn a_file_name_cannot_inject_headers() {
        let header = attachment("a\"; evil=\"\r\nSet-Cookie: x.doc");
        let text = header.to_str().expect("ASCII");
        assert_eq!(text.matches('"').count(), 2);
        assert!(!text.contains('\n') && !text.contains("evil=\""));
    }
}
