//! Why a request of a lesson was refused, as a code for programs and a sentence for people.

use tongke_plane::PlaneError;
use tongke_plane::sdp::NegotiationError;

use super::lesson::Refusal;
use super::protocol::ToPage;
use crate::error::{Error, Language, Text};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Lesson(#[from] Refusal),
    #[error(transparent)]
    Media(#[from] PlaneError),
    /// The server could not look something up now.
    #[error("the server is busy")]
    Busy,
    /// The lesson's task is gone: the server stops, or the lesson ended a moment ago.
    #[error("the lesson is not on")]
    Gone,
}

impl Refused {
    pub fn code(&self) -> &'static str {
        match self {
            Refused::Lesson(refusal) => refusal_code(*refusal),
            Refused::Media(PlaneError::Negotiation(error)) => error.code(),
            Refused::Media(PlaneError::Full(_)) => "server_full",
            Refused::Media(PlaneError::Busy) | Refused::Busy => "server_busy",
            Refused::Media(_) => "no_connection",
            Refused::Gone => "lesson_gone",
        }
    }

    /// What the person is told, and what to do next.
    pub fn text(&self) -> Text {
        match self {
            Refused::Lesson(refusal) => refusal_text(*refusal),
            Refused::Media(PlaneError::Negotiation(error)) => Text::with(
                format!(
                    "音视频连接建立失败，请刷新页面或更换浏览器后重试。（{}）",
                    error.code()
                ),
                format!(
                    "The media connection could not be set up: {error}. Reload the page or try another browser."
                ),
            ),
            Refused::Media(PlaneError::Full(_)) => Text::new(
                "服务器连接数已满，请稍后再试。",
                "The server has no free connection. Please try again later.",
            ),
            Refused::Media(PlaneError::Busy) | Refused::Busy => Text::new(
                "服务器繁忙，请稍后再试。",
                "The server is busy. Please try again in a moment.",
            ),
            Refused::Media(_) => Text::new(
                "音视频连接已断开，正在重新连接。",
                "The media connection is gone. A new one is needed.",
            ),
            Refused::Gone => Text::new(
                "这节课当前不在进行，请刷新页面。",
                "This lesson is not on at the moment. Please reload the page.",
            ),
        }
    }

    pub fn message(&self, reference: u32, language: Language) -> ToPage {
        let message = self.text().in_language(language).to_owned();
        ToPage::Error {
            reference,
            code: self.code().to_owned(),
            message,
        }
    }
}

/// For requests that come by HTTP.
impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        let text = refused.text();
        match refused {
            Refused::Lesson(Refusal::NotAllowed) => Error::Forbidden(text),
            Refused::Lesson(_) | Refused::Gone => Error::Conflict {
                code: refused.code(),
                text,
            },
            Refused::Media(PlaneError::Negotiation(error)) => unusable(&error, text),
            Refused::Media(_) | Refused::Busy => Error::Unavailable(text),
        }
    }
}

/// RFC 9725 §4.2: a description that cannot be read is a bad request; one that can, and asks for what we do not do, is unprocessable.
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

fn refusal_code(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotAllowed => "not_allowed",
        Refusal::NoSuchParticipant => "no_such_participant",
        Refusal::StageFull => "stage_full",
        Refusal::NotForTheStage => "not_for_the_stage",
        Refusal::ChatLength => "chat_length",
        Refusal::AlreadyStarted => "already_started",
        Refusal::NotStarted => "not_started",
        Refusal::Ended => "lesson_ended",
        Refusal::Full => "lesson_full",
        Refusal::TooManyTiles => "too_many_tiles",
        Refusal::NoDeck => "no_deck",
        Refusal::NoSuchDeck => "no_such_deck",
        Refusal::NoSuchPage => "no_such_page",
    }
}

fn refusal_text(refusal: Refusal) -> Text {
    match refusal {
        Refusal::NotAllowed => Text::new(
            "您在这节课中没有此项权限。",
            "Your role in this lesson does not allow this.",
        ),
        Refusal::NoSuchParticipant => Text::new(
            "对方已不在课堂中。",
            "That participant is no longer in the lesson.",
        ),
        Refusal::StageFull => Text::new(
            "台上人数已满，请先请一方回座。",
            "The stage is full. Send somebody back first.",
        ),
        Refusal::NotForTheStage => Text::new(
            "只有听讲教室和助教可以上台。",
            "Only listening rooms and assistants can go on stage.",
        ),
        Refusal::ChatLength => Text::new(
            "消息应为 1 到 500 个字。",
            "A message has 1 to 500 characters.",
        ),
        Refusal::AlreadyStarted => Text::new("已经上课了。", "The lesson has already begun."),
        Refusal::NotStarted => Text::new("还没有上课。", "The lesson has not begun."),
        Refusal::Ended => Text::new(
            "这节课已经下课，可以观看回放。",
            "This lesson is over. You can watch the replay.",
        ),
        Refusal::Full => Text::new("课堂人数已满。", "The lesson is full."),
        Refusal::TooManyTiles => Text::new("请求的画面过多。", "Too many tiles were asked for."),
        Refusal::NoDeck => Text::new("现在没有展示课件。", "No deck is shown at the moment."),
        Refusal::NoSuchDeck => Text::new(
            "这节课没有这个课件，请重新选择。",
            "The lesson has no such deck. Please choose another.",
        ),
        Refusal::NoSuchPage => Text::new("课件没有这一页。", "The deck has no such page."),
    }
}
