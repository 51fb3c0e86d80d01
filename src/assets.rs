//! The web front end, embedded in the binary. Paths that name no file get `index.html`, whose
//! router handles them.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::error::Error;

#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Web;

/// First path segments that never get `index.html`: APIs and static files.
const NON_PAGE_PREFIXES: [&str; 6] = ["api", "media", "whip", "whep", "assets", "metrics"];

/// Responds to every path without a route.
pub async fn serve_asset(request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Error::WrongMethod.into_response();
    }
    let path = request.uri().path().trim_start_matches('/');
    if let Some(file) = Web::get(path) {
        return file_response(path, &file, request.headers());
    }
    let first = path.split('/').next().unwrap_or_default();
    if NON_PAGE_PREFIXES.contains(&first) {
        return Error::not_found("没有找到这个地址。", "There is nothing at this address.")
            .into_response();
    }
    match Web::get("index.html") {
        Some(index) => file_response("index.html", &index, request.headers()),
        None => (StatusCode::SERVICE_UNAVAILABLE, Html(NOT_BUILT)).into_response(),
    }
}

fn file_response(path: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    // File names below assets/ contain a content hash (Vite), so these files never change.
    let caching = if path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let unchanged = known.is_some_and(|tags| {
        tags.split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == etag)
    });
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = mime_guess::from_path(path).first_or_octet_stream();
        (
            [(header::CONTENT_TYPE, kind.to_string())],
            file.data.to_vec(),
        )
            .into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(
        header::ETAG,
        HeaderValue::try_from(etag).expect("hexadecimal digits"),
    );
    response
}

const NOT_BUILT: &str = "<!doctype html><html lang=\"zh-CN\"><meta charset=\"utf-8\"><title>同课</title>\
    <body style=\"font:18px/1.7 sans-serif;max-width:34em;margin:15vh auto;padding:0 1em\">\
    <h1>前端页面尚未构建</h1><p>服务器正在运行，但这次编译没有包含网页。请先运行 <code>deploy/setup</code>，再重新编译。</p>\
    <p lang=\"en\">The server is running, but this build has no web front end. Run <code>deploy/setup</code> and build again.</p></body></html>";
