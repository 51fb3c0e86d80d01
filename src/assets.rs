//! The web front end, embedded in the binary. Its pages are one document; addresses that name no file get that document.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::error::Error;

#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Web;

/// First parts of addresses that belong to programs: nothing there is a page.
const NO_PAGES: [&str; 6] = ["api", "media", "whip", "whep", "assets", "metrics"];

/// Answers every address that no route takes.
pub async fn serve(request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Error::WrongMethod.into_response();
    }
    let path = request.uri().path().trim_start_matches('/');
    if let Some(file) = Web::get(path) {
        return answer(path, &file, request.headers());
    }
    let first = path.split('/').next().unwrap_or_default();
    if NO_PAGES.contains(&first) {
        return Error::not_found("没有找到这个地址。", "There is nothing at this address.")
            .into_response();
    }
    match Web::get("index.html") {
        Some(page) => answer("index.html", &page, request.headers()),
        None => (StatusCode::SERVICE_UNAVAILABLE, Html(NOT_BUILT)).into_response(),
    }
}

fn answer(path: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    // Vite puts a hash of the content into the names below assets/: such a file never changes.
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
