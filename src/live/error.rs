//! Errors of requests to a lesson, with a code for programs and a text for people.

use tongke_plane::PlaneError;
use tongke_plane::sdp::NegotiationError;

use super::lesson::LessonError;
use super::protocol::ServerMessage;
use crate::error::{Error, Language, Text};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Lesson(#[from] LessonError),
    #[error(transparent)]
    Media(#[from] PlaneError),
    /// A lookup failed.
    #[error("the server is busy")]
    Busy,
    /// The lesson's task has ended: the server shuts down, or the lesson just ended.
    #[error("the lesson is not on")]
    Gone,
}

impl RequestError {
    pub fn code(&self) -> &'static str {
        match self {
            RequestError::Lesson(error) => lesson_error_code(*error),
            RequestError::Media(PlaneError::Negotiation(error)) => error.code(),
            RequestError::Media(PlaneError::Full(_)) => "server_full",
            RequestError::Media(PlaneError::Busy) | RequestError::Busy => "server_busy",
            RequestError::Media(_) => "no_connection",
            RequestError::Gone => "lesson_gone",
        }
    }

    /// Returns the text for people, with the next step.
    pub fn text(&self) -> Text {
        match self {
            RequestError::Lesson(error) => lesson_error_text(*error),
            RequestError::Media(PlaneError::Negotiation(error)) => Text::with(
                format!(
                    "音视频连接建立失败，请刷新页面或更换浏览器后重试。（{}）",
                    error.code()
                ),
                format!(
                    "The media connection could not be set up: {error}. Reload the page or try another browser."
                ),
            ),
            RequestError::Media(PlaneError::Full(_)) => Text::new(
                "服务器连接数已满，请稍后再试。",
                "The server has no free connection. Please try again later.",
            ),
            RequestError::Media(PlaneError::Busy) | RequestError::Busy => Text::new(
                "服务器繁忙，请稍后再试。",
                "The server is busy. Please try again in a moment.",
            ),
            RequestError::Media(_) => Text::new(
                "音视频连接已断开，正在重新连接。",
                "The media connection is gone. A new one is needed.",
            ),
            RequestError::Gone => Text::new(
                "这节课当前不在进行，请刷新页面。",
                "This lesson is not on at the moment. Please reload the page.",
            ),
        }
    }

    pub fn message(&self, reference: u32, language: Language) -> ServerMessage {
        let message = self.text().in_language(language).to_owned();
        ServerMessage::Error {
            reference,
            code: self.code().to_owned(),
            message,
        }
    }
}

/// Maps errors to HTTP responses.
impl From<RequestError> for Error {
    fn from(error: RequestError) -> Error {
        let text = error.text();
        match error {
            RequestError::Lesson(LessonError::NotAllowed) => Error::Forbidden(text),
            RequestError::Lesson(_) | RequestError::Gone => Error::Conflict {
                code: error.code(),
                text,
            },
            RequestError::Media(PlaneError::Negotiation(error)) => unusable(&error, text),
            RequestError::Media(_) | RequestError::Busy => Error::Unavailable(text),
        }
    }
}

/// Maps SDP errors (RFC 9725 §4.2): malformed SDP is a bad request, unsupported SDP is
/// unprocessable.
fn unusable(error: &NegotiationError, text: Text) -> Error {
    match error {
        NegotiationError::TooLong(..) => Error::TooLarge,
        NegotiationError::Malformed { .. }
        | NegotiationError::NoMedia
        | NegotiationError::DuplicateMid(_)
        | NegotiationError::NoIceCredentials
        | NegotiationError::NoFingerprint => Error::BadRequest(text),
        _ => Error::Field {
            field: "sdp".into(),
            text,
        },
    }
}

fn lesson_error_code(error: LessonError) -> &'static str {
    match error {
        LessonError::NotAllowed => "not_allowed",
        LessonError::NoSuchParticipant => "no_such_participant",
        LessonError::StageFull => "stage_full",
        LessonError::NotForTheStage => "not_for_the_stage",
        LessonError::ChatLength => "chat_length",
        LessonError::AlreadyStarted => "already_started",
        LessonError::NotStarted => "not_started",
        LessonError::Ended => "lesson_ended",
        LessonError::Full => "lesson_full",
        LessonError::TooManyTiles => "too_many_tiles",
        LessonError::NoDeck => "no_deck",
        LessonError::NoSuchDeck => "no_such_deck",
        LessonError::NoSuchPage => "no_such_page",
    }
}

fn lesson_error_text(error: LessonError) -> Text {
    match error {
        LessonError::NotAllowed => Text::new(
            "您在这节课中没有此项权限。",
            "Your role in this lesson does not allow this.",
        ),
        LessonError::NoSuchParticipant => Text::new(
            "对方已不在课堂中。",
            "That participant is no longer in the lesson.",
        ),
        LessonError::StageFull => Text::new(
            "台上人数已满，请先请一方回座。",
            "The stage is full. Send somebody back first.",
        ),
        LessonError::NotForTheStage => Text::new(
            "只有听讲教室和助教可以上台。",
            "Only listening rooms and assistants can go on stage.",
        ),
        LessonError::ChatLength => Text::new(
            "消息应为 1 到 500 个字。",
            "A message has 1 to 500 characters.",
        ),
        LessonError::AlreadyStarted => Text::new("已经上课了。", "The lesson has already begun."),
        LessonError::NotStarted => Text::new("还没有上课。", "The lesson has not begun."),
        LessonError::Ended => Text::new(
            "这节课已经下课，可以观看回放。",
            "This lesson is over. You can watch the replay.",
        ),
        LessonError::Full => Text::new("课堂人数已满。", "The lesson is full."),
        LessonError::TooManyTiles => {
            Text::new("请求的画面过多。", "Too many tiles were asked for.")
        }
        LessonError::NoDeck => Text::new("现在没有展示课件。", "No deck is shown at the moment."),
        LessonError::NoSuchDeck => Text::new(
            "这节课没有这个课件，请重新选择。",
            "The lesson has no such deck. Please choose another.",
        ),
        LessonError::NoSuchPage => Text::new("课件没有这一页。", "The deck has no such page."),
    }
}
