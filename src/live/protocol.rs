//! Every message between a participant's page and a lesson that is on: JSON text frames over one WebSocket per participant.
//!
//! # How a conversation runs
//!
//! 1. The page opens `GET /api/lessons/{id}/live` with its session cookie. The server checks the role *before* it upgrades, then sends
//!    [`ToPage::Welcome`]: who the page is, the whole document of the lesson ([`Lesson`]) and the protocol version.
//! 2. The server sends [`ToPage::Offer`] for the **subscriber connection** (server → page) at once; the page answers with
//!    [`FromPage::Answer`]. The offer holds slots (m-lines). What a slot shows is told by [`ToPage::Slots`] and changes without
//!    a new offer; only when slots must be added does another offer come.
//! 3. A page with a camera or a microphone makes a **publisher connection** and sends [`FromPage::Publish`] with its offer;
//!    [`ToPage::Published`] carries the answer. A shared screen is a second publisher connection (`purpose: screen`).
//!    For an ICE restart the page sends `publish` for the same purpose again with `restart: true`.
//! 4. Every change of the lesson reaches every page as a small message (`joined`, `changed`, `left`, `stage`, `phase`, …);
//!    a page that applies them in order holds the same document as a page that joins later. `revision` grows by one per change;
//!    a page that sees a gap closes and connects anew.
//! 5. A page that loses the socket connects again with `?resume=TOKEN` (from its welcome) within 10 s and keeps its participant,
//!    its place on the stage and its media connections. A second page of the same person or device replaces the first:
//!    the first gets [`ToPage::Bye`] with `replaced`. A server that died and was started again no longer knows the token: the page
//!    comes in anew, and finds the lesson live, what was said, the deck on its page, and its place on the stage if it had one (for 60 s).
//! 6. A deck is shown by [`FromPage::ShowDeck`] and turned by [`FromPage::TurnPage`]. Nothing of it is video: every page of a browser fetches
//!    the decks of its lesson from `GET /api/lessons/{id}/decks` when it comes, and again when [`ToPage::Deck`] names one it does not know,
//!    and has the pictures before they are turned to. A turn ([`ToPage::Page`]) is its number, and whoever joins later finds deck and page in
//!    the document. While a screen is shared, the screen is the main picture; the deck waits behind it.
//! 7. A message that cannot be read, or that the sender's role does not allow, gets [`ToPage::Error`] with the message's `ref`;
//!    the lesson goes on. More than 50 messages a second, or one over 256 kB, closes the socket.
//!
//! Enumerations and ids are strings; a time is milliseconds since the lesson started (`at_ms`) or RFC 3339 where a date is meant.

use serde::{Deserialize, Serialize};

pub use crate::lesson_types::{ParticipantKind, Phase, Role};

/// The version both sides must speak; a page from an older server is told to reload.
pub const VERSION: u32 = 3;

/// What a page may say. `ref` of [`Envelope`] comes back in the answer or the error.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromPage {
    /// The SDP offer of a publisher connection (sendonly).
    Publish {
        purpose: Purpose,
        sdp: String,
        #[serde(default)]
        restart: bool,
    },
    /// Ends one publisher connection.
    Unpublish { purpose: Purpose },
    /// The SDP answer to the subscriber offer of that number.
    Answer { offer: u32, sdp: String },
    /// The subscriber connection failed on the page's side: asks for an offer with fresh ICE credentials.
    RestartSubscriber,
    /// What the page shows and how large, so that no one sends more than is seen. Height is in device pixels; 0 means hidden.
    /// The whole list each time, at most 400 tiles; a tile that is not listed is sent at the policy's default size. Listening rooms in
    /// their seats are sent to the lead's side; an assistant or an observer gets one by listing its tile here (`live/policy.rs`).
    View { tiles: Vec<Tile> },
    /// The participant's own switches.
    Mute { microphone: bool, camera: bool },
    /// Raises or lowers the participant's hand.
    Hand { raised: bool },
    /// Lead, assistant: calls a room or person to the stage.
    CallOn { participant: ParticipantId },
    /// Lead, assistant: sends one back to its seat. A participant may send itself back.
    SendBack { participant: ParticipantId },
    /// Lead, assistant: asks a participant to mute (a page obeys it, the media plane enforces it).
    MuteOther { participant: ParticipantId },
    /// A line of chat, at most 500 characters.
    Chat { text: String },
    /// Lead, assistant: shows a deck of the lesson to everybody, in the place of the one before.
    ShowDeck {
        deck: DeckId,
        /// From 1.
        #[serde(default = "first_page")]
        page: u32,
    },
    /// Lead, assistant: turns the deck that is shown to a page, from 1.
    TurnPage { page: u32 },
    /// Lead, assistant: shows no deck any more.
    HideDeck,
    /// Lead: the lesson begins (recording begins with it).
    Start,
    /// Lead: the lesson is over for everybody.
    End,
    /// Keeps proxies from closing an idle socket and measures the round trip; answered by [`ToPage::Pong`].
    Ping { at: f64 },
}

/// A message of a page with its number.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Envelope {
    /// Chosen by the page; comes back in the answer. 0 when no answer is awaited.
    #[serde(rename = "ref", default)]
    pub reference: u32,
    #[serde(flatten)]
    pub message: FromPage,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToPage {
    /// First message: who you are and the whole lesson.
    Welcome {
        version: u32,
        you: ParticipantId,
        resume: String,
        revision: u64,
        lesson: Lesson,
    },
    /// A subscriber offer. Offers are numbered; only the newest may be answered. `fresh`: it is of a new connection, so the page
    /// drops its subscriber connection, if it has one, and makes another; otherwise the offer changes the one that is there.
    Offer {
        offer: u32,
        fresh: bool,
        sdp: String,
    },
    /// The answer to `publish` (same `ref`).
    Published {
        #[serde(rename = "ref")]
        reference: u32,
        purpose: Purpose,
        sdp: String,
    },
    /// What each slot of the subscriber connection shows from now on; a slot without `source` is dark.
    Slots {
        slots: Vec<Slot>,
    },
    /// A participant came.
    Joined {
        revision: u64,
        participant: Participant,
    },
    /// A participant's state changed (hand, switches, connection, what it publishes): the whole new state.
    Changed {
        revision: u64,
        participant: Participant,
    },
    /// A participant left, or stayed away longer than its grace.
    Left {
        revision: u64,
        participant: ParticipantId,
    },
    /// Who is on stage now, in order of being called.
    Stage {
        revision: u64,
        on_stage: Vec<ParticipantId>,
    },
    /// The lesson began or ended.
    Phase {
        revision: u64,
        phase: Phase,
        at: String,
    },
    /// The state of the recording.
    Recording {
        revision: u64,
        state: RecordingState,
    },
    /// A line of chat.
    Chat {
        revision: u64,
        line: ChatLine,
    },
    /// Another deck is shown, at this page, or none any more.
    Deck {
        revision: u64,
        deck: Option<ShownDeck>,
    },
    /// The deck that is shown was turned.
    Page {
        revision: u64,
        page: u32,
    },
    /// Programs that watch by WHEP came or went: all that watch now.
    Players {
        revision: u64,
        players: Vec<String>,
    },
    /// Who is speaking: dBov, −127 (silence) to 0, only those that changed; at most five times a second.
    Levels {
        levels: Vec<Level>,
    },
    /// How this page's own line is doing; once a second at most, when it changed.
    Quality {
        quality: Quality,
    },
    /// A message was refused. `message` is in the page's language.
    Error {
        #[serde(rename = "ref")]
        reference: u32,
        code: String,
        message: String,
    },
    Pong {
        at: f64,
    },
    /// Last message before the server closes the socket.
    Bye {
        reason: ByeReason,
    },
}

/// A participant: a person's page, a classroom's device, or a foreign WHIP encoder.
pub type ParticipantId = String;

/// A deck of a lesson, as `GET /api/lessons/{id}/decks` names it.
pub type DeckId = String;

/// The document of a lesson that is on: all that a page needs to draw it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Lesson {
    pub id: String,
    pub title: String,
    pub phase: Phase,
    /// RFC 3339, when the lesson began.
    pub started_at: Option<String>,
    /// Milliseconds since it began, at the moment of this message.
    pub at_ms: Option<u64>,
    pub recording: RecordingState,
    pub participants: Vec<Participant>,
    /// In order of being called.
    pub on_stage: Vec<ParticipantId>,
    /// The newest 100 lines.
    pub chat: Vec<ChatLine>,
    pub deck: Option<ShownDeck>,
    /// Programs that watch by WHEP, by the names that their tokens were given, in order of coming. They are no participants: nobody
    /// sees, hears or calls on them.
    pub players: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Participant {
    pub id: ParticipantId,
    pub name: String,
    /// Name of its school, where it has one.
    pub school: Option<String>,
    pub role: Role,
    pub kind: ParticipantKind,
    /// False while its socket is gone and the grace has not run out.
    pub present: bool,
    pub hand: bool,
    /// Milliseconds since the lesson's start when the hand went up: the queue's order.
    pub hand_at_ms: Option<u64>,
    /// Its switches, true when a page begins; a source whose switch is off is sent to nobody.
    pub microphone: bool,
    pub camera: bool,
    /// What it publishes now.
    pub sources: Vec<Source>,
}

/// One published track, as pages know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct Source {
    pub participant: ParticipantId,
    pub purpose: Purpose,
    pub kind: MediaKind,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Slot {
    /// The transceiver's mid on the subscriber connection.
    pub mid: String,
    pub kind: MediaKind,
    pub source: Option<Source>,
    /// False while the source is paused because the line does not carry it.
    pub flowing: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Tile {
    pub participant: ParticipantId,
    pub purpose: Purpose,
    pub height: u16,
}

/// The deck that everybody sees.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ShownDeck {
    pub id: DeckId,
    pub title: String,
    /// How many it has.
    pub pages: u32,
    /// The one that is shown, from 1.
    pub page: u32,
}

fn first_page() -> u32 {
    1
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct ChatLine {
    pub participant: ParticipantId,
    pub name: String,
    pub at_ms: u64,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Level {
    pub participant: ParticipantId,
    pub level_dbov: i8,
}

/// One page's own line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Quality {
    /// What the server believes it can send to this page.
    pub down_kbps: u32,
    /// 0..=1, server → page.
    pub down_loss: f32,
    /// 0..=1, page → server.
    pub up_loss: f32,
    pub rtt_ms: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Camera and microphone.
    Camera,
    /// Shared screen, with its sound where the browser gives it.
    Screen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    Audio,
    Video,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    Off,
    On,
    /// The spool is full or the disk failed: the lesson goes on, the recording has a gap.
    Failing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// The lesson ended; the page may go to the replay.
    Ended,
    /// The same person or device opened the lesson elsewhere.
    Replaced,
    /// The pass or session was taken away, or the role in this lesson is another now.
    Revoked,
    /// The server stops; reconnect.
    Restarting,
    /// Too many or too large messages.
    Flood,
    /// The page did not take what was sent to it for too long; reconnect with the resume token.
    Slow,
}
