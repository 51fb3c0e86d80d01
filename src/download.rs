//! Answers with a stored object, whole or the part that was asked for, and names the file that a browser saves.

use std::ops::Range;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::error::{Error, Result, Text};
use crate::storage::{Key, Storage, StorageError, is_missing};

/// An object and how it is told.
pub struct Object<'a> {
    pub key: &'a Key,
    pub size_bytes: u64,
    pub mime: &'a str,
    pub cache: &'static str,
    /// What the content is known by: a browser that has it is told so.
    pub tag: Option<&'a str>,
}

/// The object, or the part of it that the request asks for.
pub async fn object(
    storage: &Storage,
    object: Object<'_>,
    headers: &HeaderMap,
) -> Result<Response<Body>> {
    let tag = object.tag.map(|tag| format!("\"{tag}\""));
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let mut response = Response::builder()
        .header(CACHE_CONTROL, object.cache)
        .header(ACCEPT_RANGES, "bytes");
    if let Some(tag) = &tag {
        response = response.header(ETAG, tag);
        if text(IF_NONE_MATCH).is_some_and(|known| known.contains(tag.as_str())) {
            return response
                .status(StatusCode::NOT_MODIFIED)
                .body(Body::empty())
                .map_err(Error::internal);
        }
    }
    let size = object.size_bytes;
    // RFC 9110 §13.1.5: a part of what is known no longer is of no use.
    let is_same = text(IF_RANGE).is_none_or(|known| tag.as_deref() == Some(known));
    let range = match text(RANGE)
        .filter(|_| is_same)
        .map_or(Asked::Whole, |asked| asked_range(asked, size))
    {
        Asked::Nothing => {
            let response = response
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(CONTENT_RANGE, format!("bytes */{size}"));
            return response.body(Body::empty()).map_err(Error::internal);
        }
        Asked::Whole => 0..size,
        Asked::Part(range) => {
            let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(CONTENT_RANGE, told);
            range
        }
    };
    response = response
        .header(CONTENT_TYPE, object.mime)
        .header(CONTENT_LENGTH, range.end - range.start);
    let stream = storage
        .stream(object.key, Some(range))
        .await
        .map_err(away)?;
    response
        .body(Body::from_stream(stream))
        .map_err(Error::internal)
}

/// A failed access as the person is told of it.
pub fn away(error: StorageError) -> Error {
    if is_missing(&error) {
        return Error::not_found("没有找到这个文件。", "There is no such file.");
    }
    tracing::warn!(%error, "the object store does not answer");
    Error::Unavailable(Text::new(
        "存储暂时不可用，请稍后再试。",
        "The storage is away. Please try again in a moment.",
    ))
}

/// `Content-Disposition` of a file to save (RFC 6266 with RFC 8187): every browser takes the name in `filename*`; what is older gets ASCII.
pub fn attachment(name: &str) -> HeaderValue {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || ".-_ ".contains(c) {
            c
        } else {
            '_'
        }
    };
    let ascii: String = name.chars().map(plain).collect();
    // attr-char of RFC 8187 §3.2.1 stays, every other byte is escaped.
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
enum Asked {
    Whole,
    Part(Range<u64>),
    /// Beyond the end.
    Nothing,
}

/// RFC 9110 §14.2. Several ranges at once, and units that are not bytes, are answered with the whole, as it allows.
fn asked_range(header: &str, size: u64) -> Asked {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .filter(|rest| !rest.contains(','))
        .and_then(|rest| rest.split_once('-'))
    else {
        return Asked::Whole;
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        (Err(_), Ok(count)) if first.trim().is_empty() => size.saturating_sub(count)..size,
        _ => return Asked::Whole,
    };
    if range.start < range.end {
        Asked::Part(range)
    } else {
        Asked::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_what_there_is() {
        assert_eq!(asked_range("bytes=0-", 100), Asked::Part(0..100));
        assert_eq!(asked_range("bytes=10-19", 100), Asked::Part(10..20));
        assert_eq!(asked_range("bytes=90-500", 100), Asked::Part(90..100));
        assert_eq!(asked_range("bytes=-10", 100), Asked::Part(90..100));
        assert_eq!(asked_range("bytes=100-", 100), Asked::Nothing);
        assert_eq!(asked_range("bytes=5-2", 100), Asked::Whole);
        assert_eq!(asked_range("bytes=0-1,5-6", 100), Asked::Whole);
        assert_eq!(asked_range("lines=0-1", 100), Asked::Whole);
    }

    #[test]
    fn a_chinese_name_is_saved_as_it_is() {
        let header = attachment("第三单元 教案(2).docx");
        assert_eq!(
            header.to_str().expect("ASCII"),
            "attachment; filename=\"____ ___2_.docx\"; \
             filename*=UTF-8''%E7%AC%AC%E4%B8%89%E5%8D%95%E5%85%83%20%E6%95%99%E6%A1%88%282%29.docx"
        );
    }

    #[test]
    fn a_name_cannot_break_out_of_its_header() {
        let header = attachment("a\"; evil=\"\r\nSet-Cookie: x.doc");
        let text = header.to_str().expect("ASCII");
        assert_eq!(text.matches('"').count(), 2);
        assert!(!text.contains('\n') && !text.contains("evil=\""));
    }
}
