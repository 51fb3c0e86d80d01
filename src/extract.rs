//! Request extractors with our errors, the client's IP address, and validation of form fields.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result, Text};

/// JSON request or response body.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(Error))]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Path parameters. A parameter that does not parse names no resource: 404.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Error))]
pub struct Path<T>(pub T);

/// Query parameters.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Error))]
pub struct Query<T>(pub T);

/// WebSocket upgrade request.
pub struct Socket(pub WebSocketUpgrade);

impl<S: Sync> FromRequestParts<S> for Socket {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await;
        upgrade.map(Self).map_err(|_| {
            Error::BadRequest(Text::new(
                "这个地址只接受 WebSocket 连接。",
                "This address takes WebSocket connections only.",
            ))
        })
    }
}

impl From<JsonRejection> for Error {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::MissingJsonContentType(_) => Self::UnsupportedMedia(Text::new(
                "请求内容应为 application/json。",
                "The request's body must be application/json.",
            )),
            JsonRejection::JsonDataError(error) => invalid_json(&error.body_text()),
            JsonRejection::BytesRejection(error) if error.status().as_u16() == 413 => {
                Self::TooLarge
            }
            other => Self::BadRequest(Text::with(
                "请求内容不是有效的 JSON。".into(),
                format!(
                    "The request's body is not valid JSON: {}",
                    truncated(&other.body_text())
                ),
            )),
        }
    }
}

/// Error for JSON of the wrong shape; serde names the field as a path or in back quotes.
fn invalid_json(message: &str) -> Error {
    let quoted = message.split('`').nth(1).unwrap_or_default();
    let path = message
        .split_once("target type: ")
        .map_or("", |(_, rest)| rest.split(':').next().unwrap_or_default());
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.[]".contains(c))
    };
    let field = [path, quoted]
        .into_iter()
        .find(|text| is_name(text))
        .unwrap_or("body")
        .to_owned();
    let text = Text::with(
        format!("“{field}”这一项的内容不符合要求。"),
        format!("`{field}` cannot be taken: {}", truncated(message)),
    );
    Error::Field {
        field: field.into(),
        text,
    }
}

/// Truncates a serde message, which may repeat the whole input.
fn truncated(message: &str) -> String {
    message.chars().take(200).collect()
}

impl From<PathRejection> for Error {
    fn from(_: PathRejection) -> Self {
        Self::not_found("没有找到这个地址。", "There is nothing at this address.")
    }
}

impl From<QueryRejection> for Error {
    fn from(rejection: QueryRejection) -> Self {
        Self::BadRequest(Text::with(
            "地址中的查询参数不正确。".into(),
            format!(
                "The query cannot be read: {}",
                truncated(&rejection.body_text())
            ),
        ))
    }
}

/// IP address of the client; behind a trusted proxy, the address that the proxy reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(pub IpAddr);

impl Client {
    /// Reads X-Forwarded-For from its end, past trusted proxies; the entries before them are
    /// forgeable.
    pub fn of(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[IpAddr]) -> Self {
        let mut address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
            peer.ip().to_canonical()
        });
        let values = headers.get_all("x-forwarded-for").into_iter();
        let mut hops: Vec<Option<IpAddr>> = values
            .flat_map(|value| value.to_str().unwrap_or_default().split(','))
            .map(forwarded_address)
            .collect();
        while trusted.contains(&address) {
            // A hop that cannot be read ends the chain: the one before it is the caller's own claim.
            let Some(Some(hop)) = hops.pop() else { break };
            address = hop;
        }
        Self(address)
    }
}

/// Address of one hop in `X-Forwarded-For`: proxies write it with and without a port.
fn forwarded_address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok();
    let address = bare.or_else(|| hop.parse().ok().map(|socket: SocketAddr| socket.ip()))?;
    Some(address.to_canonical())
}

/// Reads the extension set by the layer around all routes.
impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        parts
            .extensions
            .get::<Self>()
            .copied()
            .ok_or_else(|| Error::internal("the route is outside the service's layers"))
    }
}

/// Validates a single-line form field: trimmed, within the length limits, no control characters.
pub fn line(field: &'static str, text: &str, chars: RangeInclusive<usize>) -> Result<String> {
    let text = text.trim();
    let (least, most) = (*chars.start(), *chars.end());
    if text.chars().any(char::is_control) {
        return Err(Error::field(
            field,
            "这一项不能包含换行等控制字符。",
            "This field cannot contain line breaks.",
        ));
    }
    if text.is_empty() && least > 0 {
        return Err(Error::field(
            field,
            "请填写这一项。",
            "Please fill in this field.",
        ));
    }
    if !chars.contains(&text.chars().count()) {
        let text = Text::with(
            format!("这一项需要 {least} 到 {most} 个字。"),
            format!("This field needs {least} to {most} characters."),
        );
        return Err(Error::Field {
            field: field.into(),
            text,
        });
    }
    Ok(text.to_owned())
}

/// Deserializer for PATCH fields that distinguishes `null` from an absent field.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Time of the request.
pub fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-forwarded-for",
            forwarded.parse().expect("a header value"),
        );
        let trusted = [
            "10.0.0.1".parse().expect("an address"),
            "10.0.0.2".parse().expect("an address"),
        ];
        Client::of(
            Some(SocketAddr::new(peer.parse().expect("an address"), 1)),
            &headers,
            &trusted,
        )
        .0
        .to_string()
    }

    #[test]
    fn only_a_trusted_proxy_may_report_the_client_address() {
        assert_eq!(client("192.168.1.5", "8.8.8.8"), "192.168.1.5");
        assert_eq!(client("10.0.0.1", "8.8.8.8"), "8.8.8.8");
        assert_eq!(client("10.0.0.1", "1.1.1.1, 8.8.8.8, 10.0.0.2"), "8.8.8.8");
        assert_eq!(client("10.0.0.1", "rubbish"), "10.0.0.1");
        assert_eq!(
            client("10.0.0.1", "1.1.1.1, 8.8.8.8:4711"),
            "8.8.8.8",
            "with a port"
        );
        assert_eq!(
            client("10.0.0.1", "1.1.1.1, [2001:db8::7]:4711"),
            "2001:db8::7"
        );
        assert_eq!(client("10.0.0.1", "1.1.1.1, 2001:db8::7"), "2001:db8::7");
        assert_eq!(
            client("10.0.0.1", "1.1.1.1, unknown"),
            "10.0.0.1",
            "the chain ends"
        );
        assert_eq!(client("::ffff:192.168.1.5", "8.8.8.8"), "192.168.1.5");
    }

    #[test]
    fn a_line_is_trimmed_and_its_length_checked() {
        assert_eq!(
            line("name", "  柳林村小学 ", 1..=40).expect("fits"),
            "柳林村小学"
        );
        for bad in ["", "   ", "一二三四五", "a\nb"] {
            assert!(line("name", bad, 1..=4).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_invalid_body_names_the_field() {
        let field = |message: &str| {
            invalid_json(message)
                .body(crate::error::Language::English)
                .field
        };
        let prefix = "Failed to deserialize the JSON body into the target type: ";
        assert_eq!(
            field(&format!("{prefix}missing field `login` at line 1 column 2")).as_deref(),
            Some("login")
        );
        assert_eq!(
            field(&format!("{prefix}role: unknown variant `king`, expected …")).as_deref(),
            Some("role")
        );
    }
}
