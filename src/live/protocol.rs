//! Messages between a participant's client and a live lesson: JSON text frames over one WebSocket
//! per client.
//!
//! # Signalling
//!
//! 1. The client opens `GET /api/lessons/{id}/live` with its session cookie. The server checks the
//!    role *before* the upgrade, then sends [`ServerMessage::Welcome`]: the client's participant
//!    id, the whole document of the lesson ([`LessonDocument`]) and the protocol version.
//! 2. The server sends [`ServerMessage::Offer`] for the **subscriber connection** (server → client)
//!    at once; the client replies with [`ClientMessage::Answer`]. The offer holds slots (m-lines).
//!    [`ServerMessage::Slots`] assigns sources to slots without a new offer; only additional slots
//!    need one.
//! 3. A client with a camera or a microphone opens a **publisher connection** and sends
//!    [`ClientMessage::Publish`] with its offer; [`ServerMessage::Published`] carries the answer. A
//!    shared screen is a second publisher connection (`purpose: screen`). For an ICE restart the
//!    client sends `publish` for the same purpose with `restart: true`.
//! 4. Every change of the lesson reaches every client as a small message (`joined`, `changed`,
//!    `left`, `stage`, `phase`, …); a client that applies them in order holds the same document as
//!    a client that joins later. `revision` grows by one per change; a client that detects a gap
//!    closes the socket and reconnects.
//! 5. A disconnected client reconnects with `?resume=TOKEN` (from its welcome) within 10 s and
//!    keeps its participant, its stage place and its media connections. A second client of the same
//!    person or device replaces the first: the first receives [`ServerMessage::Close`] with
//!    `replaced`. After a server restart the token is unknown: the client joins as new, and finds
//!    the lesson live, the chat, the deck on its page, and its stage place if it had one (for 60
//!    s).
//! 6. [`ClientMessage::ShowDeck`] shows a deck and [`ClientMessage::TurnPage`] turns it. Decks are
//!    not sent as video: every client fetches the decks of its lesson from `GET
//!    /api/lessons/{id}/decks` when it joins, and again when [`ServerMessage::Deck`] names an
//!    unknown one, and prefetches the page images. A turn ([`ServerMessage::Page`]) carries the
//!    page number; a later client finds deck and page in the document. While a screen is shared,
//!    the screen is the main view and covers the deck.
//! 7. A message that cannot be parsed, or that the sender's role does not allow, is answered by
//!    [`ServerMessage::Error`] with the message's `ref`; the socket stays open. More than 50
//!    messages per second, or one over 256 kB, closes the socket.
//!
//! Enumerations and ids are strings. A time is milliseconds since the lesson started (`at_ms`), or RFC
//! 3339 for an absolute time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use crate::lesson_types::{ParticipantKind, Phase, Role};

/// Version that both sides must support; a client with another version asks the user to reload.
pub const VERSION: u32 = 3;

/// Message of a client. `ref` of [`Envelope`] is returned in the answer or the error.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = live::ClientMessage)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// SDP offer of a publisher connection (sendonly).
    Publish {
        purpose: Purpose,
        sdp: String,
        #[serde(default)]
        restart: bool,
    },
    /// Closes one publisher connection.
    Unpublish { purpose: Purpose },
    /// SDP answer to the subscriber offer with this number.
    Answer { offer: u32, sdp: String },
    /// Reports a failed subscriber connection; requests an offer with new ICE credentials.
    RestartSubscriber,
    /// Layout of the client, so that the server sends no larger video than is shown. Height is in
    /// device pixels; 0 means hidden. Each message replaces the whole list, at most 400 tiles; a
    /// tile that is not listed gets the policy's default size. Seated listening rooms are sent to
    /// the lead's side; an assistant or an observer receives one by listing its tile here
    /// (`live/policy.rs`).
    View { tiles: Vec<Tile> },
    /// State of the participant's own switches.
    Mute { microphone: bool, camera: bool },
    /// Raises or lowers the participant's hand.
    Hand { raised: bool },
    /// Lead, assistant: calls a room or person to the stage.
    CallOn { participant: ParticipantId },
    /// Lead, assistant: returns a participant to its seat. A participant may do so itself.
    SendBack { participant: ParticipantId },
    /// Lead, assistant: mutes a participant (its client shows it, the media plane enforces it).
    MuteOther { participant: ParticipantId },
    /// Chat message, at most 500 characters.
    Chat { text: String },
    /// Lead, assistant: shows a deck of the lesson to all clients, replacing the previous one.
    ShowDeck {
        deck: DeckId,
        /// Counted from 1.
        #[serde(default = "first_page")]
        page: u32,
    },
    /// Lead, assistant: turns the shown deck to a page, counted from 1.
    TurnPage { page: u32 },
    /// Lead, assistant: hides the deck.
    HideDeck,
    /// Lead: starts the lesson and its recording.
    Start,
    /// Lead: ends the lesson for all participants.
    End,
    /// Keeps proxies from closing an idle socket and measures the round-trip time; answered by
    /// [`ServerMessage::Pong`].
    Ping { at: f64 },
}

/// Message of a client with its `ref`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = live::Envelope)]
pub struct Envelope {
    /// Chosen by the client and returned in the answer; 0 if no answer is expected.
    #[serde(rename = "ref", default)]
    pub reference: u32,
    #[serde(flatten)]
    pub message: ClientMessage,
}

/// Message of the server.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = live::ServerMessage)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// First message: the client's participant id and the whole lesson.
    Welcome {
        version: u32,
        you: ParticipantId,
        resume: String,
        revision: u64,
        lesson: LessonDocument,
    },
    /// Subscriber offer. Offers are numbered; only the newest may be answered. `fresh` marks a new
    /// connection, for which the client replaces its subscriber connection; otherwise the offer
    /// renegotiates the existing one.
    Offer {
        offer: u32,
        fresh: bool,
        sdp: String,
    },
    /// Answer to `publish` (same `ref`).
    Published {
        #[serde(rename = "ref")]
        reference: u32,
        purpose: Purpose,
        sdp: String,
    },
    /// New assignment of every slot of the subscriber connection; a slot without `source` is empty.
    Slots {
        slots: Vec<Slot>,
    },
    /// A participant joined.
    Joined {
        revision: u64,
        participant: Participant,
    },
    /// A participant changed (hand, switches, connection, sources): its whole new state.
    Changed {
        revision: u64,
        participant: Participant,
    },
    /// A participant left, or its grace period expired.
    Left {
        revision: u64,
        participant: ParticipantId,
    },
    /// Participants on stage, in order of being called.
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
    /// Status of the recorder.
    Recording {
        revision: u64,
        state: RecorderStatus,
    },
    /// A chat message was sent.
    Chat {
        revision: u64,
        line: ChatMessage,
    },
    /// Another deck is shown at this page, or none.
    Deck {
        revision: u64,
        deck: Option<ShownDeck>,
    },
    /// The shown deck was turned.
    Page {
        revision: u64,
        page: u32,
    },
    /// A WHEP player connected or disconnected: the names of all players.
    Players {
        revision: u64,
        players: Vec<String>,
    },
    /// Audio levels in dBov, −127 (silence) to 0; only those that changed, at most five times per
    /// second.
    Levels {
        levels: Vec<AudioLevel>,
    },
    /// Link quality of this client; at most once per second, when it changed.
    Quality {
        quality: LinkQuality,
    },
    /// A message was rejected. `message` is in the client's language.
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
    #[serde(rename = "bye")]
    Close {
        reason: CloseReason,
    },
}

/// Id of a participant: a person, a classroom's device or a WHIP encoder.
pub type ParticipantId = String;

/// Id of a deck of a lesson, as in `GET /api/lessons/{id}/decks`.
pub type DeckId = String;

/// Document of a live lesson: all data that a client needs to render it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = live::LessonDocument)]
pub struct LessonDocument {
    pub id: String,
    pub title: String,
    pub phase: Phase,
    /// Start of the lesson, RFC 3339.
    pub started_at: Option<String>,
    /// Milliseconds since the start, when this message was sent.
    pub at_ms: Option<u64>,
    pub recording: RecorderStatus,
    pub participants: Vec<Participant>,
    /// In order of being called.
    pub on_stage: Vec<ParticipantId>,
    /// The newest 100 messages.
    pub chat: Vec<ChatMessage>,
    pub deck: Option<ShownDeck>,
    /// WHEP players by the labels of their tokens, in order of connecting. They are not
    /// participants: they publish nothing and cannot be called on.
    pub players: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = live::Participant)]
pub struct Participant {
    pub id: ParticipantId,
    pub name: String,
    /// Name of its school, if it has one.
    pub school: Option<String>,
    pub role: Role,
    pub kind: ParticipantKind,
    /// False while its client is disconnected and the grace period runs.
    pub present: bool,
    pub hand: bool,
    /// Milliseconds since the lesson's start when the hand was raised; orders the queue.
    pub hand_at_ms: Option<u64>,
    /// Switches, both true at a join; a source whose switch is off is sent to no one.
    pub microphone: bool,
    pub camera: bool,
    /// Published tracks.
    pub sources: Vec<TrackRef>,
}

/// Reference to a published track.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, ToSchema)]
#[schema(as = live::TrackRef)]
pub struct TrackRef {
    pub participant: ParticipantId,
    pub purpose: Purpose,
    pub kind: MediaKind,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = live::Slot)]
pub struct Slot {
    /// The `mid` of its transceiver on the subscriber connection.
    pub mid: String,
    pub kind: MediaKind,
    pub source: Option<TrackRef>,
    /// False while the source is paused for lack of bandwidth.
    pub flowing: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = live::Tile)]
pub struct Tile {
    pub participant: ParticipantId,
    pub purpose: Purpose,
    pub height: u16,
}

/// Deck shown to all clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = live::ShownDeck)]
pub struct ShownDeck {
    pub id: DeckId,
    pub title: String,
    /// Number of pages.
    pub pages: u32,
    /// Shown page, counted from 1.
    pub page: u32,
}

fn first_page() -> u32 {
    1
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = live::ChatMessage)]
pub struct ChatMessage {
    pub participant: ParticipantId,
    pub name: String,
    pub at_ms: u64,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = live::AudioLevel)]
pub struct AudioLevel {
    pub participant: ParticipantId,
    pub level_dbov: i8,
}

/// Link quality of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = live::LinkQuality)]
pub struct LinkQuality {
    /// Estimated bandwidth, server → client.
    pub down_kbps: u32,
    /// Loss ratio 0..=1, server → client.
    pub down_loss: f32,
    /// Loss ratio 0..=1, client → server.
    pub up_loss: f32,
    pub rtt_ms: u32,
}

/// Purpose of a publisher connection. Recorded tracks have `bus::Purpose`, with `whip` in addition.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, ToSchema,
)]
#[schema(as = live::Purpose)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Camera and microphone.
    Camera,
    /// Shared screen, with its audio if the browser provides it.
    Screen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, ToSchema)]
#[schema(as = live::MediaKind)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    Audio,
    Video,
}

/// Status of the recorder during a lesson; the state of the finished recording is
/// `timetable::RecordingState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, ToSchema)]
#[schema(as = live::RecorderStatus)]
#[serde(rename_all = "snake_case")]
pub enum RecorderStatus {
    Off,
    On,
    /// The spool is full or the disk failed: the lesson continues and the recording has a gap.
    Failing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, ToSchema)]
#[schema(as = live::CloseReason)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The lesson ended; the client may open the replay.
    Ended,
    /// The same person or device joined with another client.
    Replaced,
    /// The session was revoked, or the role in this lesson changed.
    Revoked,
    /// The server shuts down; reconnect.
    Restarting,
    /// Too many or too large messages.
    Flood,
    /// The client did not read its messages in time; reconnect with the resume token.
    Slow,
}
