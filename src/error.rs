//! Error type of the HTTP API and its response: `{"code", "message", "field"?}` in the client's
//! language.
//!
//! A handler returns [`Error`]; the outermost layer ([`crate::http`]) renders it in the language of
//! the request and logs server errors. Nothing else logs a request's error.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Message for people, in both languages of the product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub zh: Cow<'static, str>,
    pub en: Cow<'static, str>,
}

impl Text {
    pub const fn new(zh: &'static str, en: &'static str) -> Self {
        Self {
            zh: Cow::Borrowed(zh),
            en: Cow::Borrowed(en),
        }
    }

    /// Creates a message with runtime values in it.
    pub fn with(zh: String, en: String) -> Self {
        Self {
            zh: Cow::Owned(zh),
            en: Cow::Owned(en),
        }
    }

    pub fn in_language(&self, language: Language) -> &str {
        match language {
            Language::Chinese => &self.zh,
            Language::English => &self.en,
        }
    }
}

/// Language of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Chinese,
    English,
}

impl Language {
    /// Selects by Accept-Language (RFC 9110 §12.5.4), ignoring weights: the first of `zh` and `en`,
    /// Chinese if neither is named.
    pub fn of(accept_language: Option<&HeaderValue>) -> Self {
        let header = accept_language
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let first = header
            .split(',')
            .map(|range| range.trim().to_ascii_lowercase())
            .find_map(|range| match range.split(['-', ';']).next() {
                Some("zh") => Some(Self::Chinese),
                Some("en") => Some(Self::English),
                _ => None,
            });
        first.unwrap_or(Self::Chinese)
    }
}

/// Failure of a request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("not signed in")]
    NotSignedIn,
    #[error("wrong sign-in")]
    WrongSignIn,
    #[error("wrong pass")]
    WrongPass,
    #[error("not allowed: {}", .0.en)]
    Forbidden(Text),
    #[error("not found: {}", .0.en)]
    NotFound(Text),
    /// The request conflicts with the current state; the code names the conflict.
    #[error("conflict {code}: {}", text.en)]
    Conflict { code: &'static str, text: Text },
    /// A field of the request has an invalid value.
    #[error("bad field {field}: {}", text.en)]
    Field {
        field: Cow<'static, str>,
        text: Text,
    },
    /// The request cannot be parsed.
    #[error("bad request: {}", .0.en)]
    BadRequest(Text),
    #[error("wrong method")]
    WrongMethod,
    #[error("body too large")]
    TooLarge,
    /// A standard protocol (WHIP, tus) prescribes the status.
    #[error("{status}: {}", text.en)]
    Prescribed {
        status: StatusCode,
        code: &'static str,
        text: Text,
    },
    #[error("wrong media type")]
    UnsupportedMedia(Text),
    #[error("too many requests")]
    TooMany { retry_after: Duration },
    /// A service that the server depends on is temporarily unavailable.
    #[error("unavailable: {}", .0.en)]
    Unavailable(Text),
    /// A fault of the server: logged, and sent without details.
    #[error("{0}")]
    Internal(Arc<dyn std::error::Error + Send + Sync>),
}

impl Error {
    pub fn forbidden() -> Self {
        Self::Forbidden(Text::new(
            "您没有权限进行此操作。",
            "You are not allowed to do this.",
        ))
    }

    pub fn not_found(zh: &'static str, en: &'static str) -> Self {
        Self::NotFound(Text::new(zh, en))
    }

    pub fn conflict(code: &'static str, zh: &'static str, en: &'static str) -> Self {
        Self::Conflict {
            code,
            text: Text::new(zh, en),
        }
    }

    pub fn field(field: impl Into<Cow<'static, str>>, zh: &'static str, en: &'static str) -> Self {
        Self::Field {
            field: field.into(),
            text: Text::new(zh, en),
        }
    }

    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(Arc::from(cause.into()))
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotSignedIn | Self::WrongSignIn | Self::WrongPass => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::Field { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Prescribed { status, .. } => *status,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the machine-readable error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSignedIn => "not_signed_in",
            Self::WrongSignIn => "wrong_sign_in",
            Self::WrongPass => "wrong_pass",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::Conflict { code, .. } => code,
            Self::Field { .. } => "bad_field",
            Self::BadRequest(_) => "bad_request",
            Self::WrongMethod => "method_not_allowed",
            Self::Prescribed { code, .. } => code,
            Self::TooLarge => "too_large",
            Self::UnsupportedMedia(_) => "unsupported_media_type",
            Self::TooMany { .. } => "too_many_requests",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// Returns the message for the person, including what to do next.
    pub fn text(&self) -> Text {
        match self {
            Self::NotSignedIn => Text::new("请先登录。", "Please sign in first."),
            Self::WrongSignIn => Text::new(
                "账号或密码不正确。",
                "The sign-in name or the password is not right.",
            ),
            Self::WrongPass => Text::new(
                "这个教室地址已失效，请向管理员索取新的地址。",
                "This classroom address is no longer valid. Please ask the administrator for the new one.",
            ),
            Self::WrongMethod => Text::new(
                "这个地址不支持这种操作。",
                "This address does not take that method.",
            ),
            Self::Forbidden(text) | Self::NotFound(text) | Self::BadRequest(text) => text.clone(),
            Self::UnsupportedMedia(text) | Self::Unavailable(text) => text.clone(),
            Self::Conflict { text, .. }
            | Self::Field { text, .. }
            | Self::Prescribed { text, .. } => text.clone(),
            Self::TooLarge => Text::new("提交的内容过大。", "What was sent is too large."),
            Self::TooMany { retry_after } => too_many(*retry_after),
            Self::Internal(_) => Text::new(
                "服务器出错了，请稍后再试；如仍有问题请联系管理员。",
                "The server had a problem. Please try again; if it stays, tell the administrator.",
            ),
        }
    }

    /// Returns the response body.
    pub fn body(&self, language: Language) -> Body {
        let field = match self {
            Self::Field { field, .. } => Some(field.to_string()),
            _ => None,
        };
        Body {
            code: self.code().to_owned(),
            message: self.text().in_language(language).to_owned(),
            field,
        }
    }

    /// Renders the response in one language.
    pub fn render(&self, language: Language) -> Response {
        let mut response = (self.status(), axum::Json(self.body(language))).into_response();
        if let Self::TooMany { retry_after } = self {
            response.headers_mut().insert(
                header::RETRY_AFTER,
                HeaderValue::from(retry_after.as_secs().max(1)),
            );
        }
        response
    }
}

fn too_many(retry_after: Duration) -> Text {
    let seconds = retry_after.as_secs().max(1);
    Text::with(
        format!("尝试次数过多，请在 {seconds} 秒后再试。"),
        format!("Too many tries. Please wait {seconds} seconds."),
    )
}

/// Body of every error response.
#[derive(Serialize, ToSchema)]
pub struct Body {
    /// Machine-readable error code.
    pub code: String,
    /// Message for the person, in the request's language.
    pub message: String,
    /// The invalid field (422).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub field: Option<String>,
}

/// Renders in Chinese; the outermost layer renders it again in the request's language.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.render(Language::Chinese);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Unavailable(Text::new(
                "服务器繁忙，请稍后再试。",
                "The server is busy. Please try again in a moment.",
            )),
            other => Self::internal(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(header: &str) -> Language {
        Language::of(Some(
            &HeaderValue::from_str(header).expect("a header value"),
        ))
    }

    #[test]
    fn the_first_supported_language_is_selected_and_chinese_otherwise() {
        assert_eq!(language("en-GB,en;q=0.9,zh;q=0.8"), Language::English);
        assert_eq!(language("fr, zh-CN, en"), Language::Chinese);
        assert_eq!(language("fr"), Language::Chinese);
        assert_eq!(Language::of(None), Language::Chinese);
    }

    #[test]
    fn an_internal_error_does_not_reveal_its_cause() {
        let body = Error::internal("secret path /var/lib").body(Language::English);
        assert_eq!(body.code, "internal");
        assert!(!body.message.contains("secret"));
    }
}
