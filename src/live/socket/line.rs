//! The task of one socket: messages in, messages out, pings, limits and goodbyes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::error::Language;
use crate::extract::now;
use crate::identity::{Actor, session};
use crate::ids::LessonId;
use crate::live::Live;
use crate::live::host::Command;
use crate::live::lesson::Conn;
use crate::live::protocol::{ByeReason, Envelope, ToPage};
use crate::timetable::{self, LessonRole};

/// Messages a second, and how many may come at once (protocol).
const RATE: f64 = 50.0;
const BURST: f64 = 100.0;

/// A ping every two seconds, and nothing at all heard for six: the page is gone. Together with the grace, which counts from the last
/// sign of life, nobody stays on the wall for more than ten seconds.
const PING_EVERY: Duration = Duration::from_secs(2);
const DEAD_AFTER: Duration = Duration::from_secs(6);

/// A write that takes longer than this goes to a page that no longer reads.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a goodbye is given to arrive before the socket is closed.
const LINGER: Duration = Duration::from_secs(1);

/// How often it is asked whether the page's session and role still stand: who may no longer be here is gone as soon as a ghost is.
const RECHECK_EVERY: Duration = Duration::from_secs(10);

/// What comes to a page.
pub struct Post {
    pub letters: mpsc::Receiver<Arc<str>>,
    pub farewell: oneshot::Receiver<ByeReason>,
}

/// Whether the page may still be here.
pub struct Watch {
    pub live: Live,
    pub id: LessonId,
    pub actor: Actor,
    /// What it was when it came in. Another role needs another page: tools, slots and switches differ.
    pub held: LessonRole,
    /// Of its session.
    pub token: String,
}

/// A page's socket and what is known of it.
pub struct Line {
    lesson: mpsc::Sender<Command>,
    conn: Conn,
    heard: Instant,
    allowance: Allowance,
    language: Language,
}

/// How a socket came to its end.
enum End {
    /// The page, or its network, closed it.
    Gone,
    Bye(ByeReason),
}

impl Line {
    pub fn new(lesson: mpsc::Sender<Command>, conn: Conn, language: Language) -> Line {
        let now = Instant::now();
        Line {
            lesson,
            conn,
            heard: now,
            allowance: Allowance::new(now),
            language,
        }
    }

    /// Carries messages until either side ends it, and tells the lesson that it has ended.
    pub async fn carry(mut self, mut socket: WebSocket, mut post: Post, watch: Watch) {
        metrics::gauge!(crate::metrics::CLIENTS).increment(1);
        let end = self.exchange(&mut socket, &mut post, &watch).await;
        metrics::gauge!(crate::metrics::CLIENTS).decrement(1);
        if let End::Bye(reason) = end {
            if reason == ByeReason::Revoked {
                // No grace for one who may not be here: it leaves the wall at once.
                let participant = watch.actor.id().to_string();
                let _ = self.lesson.send(Command::Revoke { participant }).await;
            }
            say_bye(&mut socket, &mut post.letters, reason).await;
        }
        let _ = self
            .lesson
            .send(Command::Lost {
                conn: self.conn,
                heard: self.heard,
            })
            .await;
    }

    async fn exchange(&mut self, socket: &mut WebSocket, post: &mut Post, watch: &Watch) -> End {
        let (mut ping, mut recheck) = (interval(PING_EVERY), interval(RECHECK_EVERY));
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        recheck.reset();
        loop {
            let step = tokio::select! {
                reason = &mut post.farewell => Err(reason.map_or(End::Gone, End::Bye)),
                Some(letter) = post.letters.recv() => send(socket, Message::Text(text(&letter))).await,
                message = socket.recv() => self.receive(socket, message).await,
                _ = ping.tick() => self.ping(socket).await,
                _ = recheck.tick() => watch.stands().await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn receive(
        &mut self,
        socket: &mut WebSocket,
        message: Option<Result<Message, axum::Error>>,
    ) -> Result<(), End> {
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(error)) if is_too_large(&error) => return Err(End::Bye(ByeReason::Flood)),
            Some(Err(_)) | None => return Err(End::Gone),
        };
        self.heard = Instant::now();
        match message {
            Message::Text(text) => {
                if !self.allowance.spend(self.heard) {
                    metrics::counter!(crate::metrics::FLOODING_CLIENTS).increment(1);
                    return Err(End::Bye(ByeReason::Flood));
                }
                self.forward(socket, &text).await
            }
            Message::Binary(_) => self.complain(socket, 0).await,
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => Err(End::Gone),
        }
    }

    async fn forward(&mut self, socket: &mut WebSocket, text: &str) -> Result<(), End> {
        match serde_json::from_str::<Envelope>(text) {
            Ok(envelope) => {
                let said = Command::Said {
                    conn: self.conn,
                    envelope,
                };
                self.lesson
                    .send(said)
                    .await
                    .map_err(|_| End::Bye(ByeReason::Restarting))
            }
            Err(_) => self.complain(socket, reference_in(text)).await,
        }
    }

    /// A message that cannot be read is answered, and the conversation goes on.
    async fn complain(&self, socket: &mut WebSocket, reference: u32) -> Result<(), End> {
        metrics::counter!(crate::metrics::REFUSED_MESSAGES, "code" => "unreadable").increment(1);
        let message = match self.language {
            Language::Chinese => "服务器无法识别页面发送的消息，请刷新页面。",
            Language::English => {
                "The server could not read what the page sent. Please reload the page."
            }
        };
        let error = ToPage::Error {
            reference,
            code: "unreadable".to_owned(),
            message: message.to_owned(),
        };
        send(socket, Message::Text(encode(&error))).await
    }

    async fn ping(&self, socket: &mut WebSocket) -> Result<(), End> {
        if self.heard.elapsed() >= DEAD_AFTER {
            return Err(End::Gone);
        }
        send(socket, Message::Ping(Default::default())).await
    }
}

impl Watch {
    /// A database that is away for a moment is no reason to end a lesson.
    async fn stands(&self) -> Result<(), End> {
        let role = timetable::role_in(&self.live.db, self.id, &self.actor).await;
        let holder = session::find(&self.live.db, &self.token, now()).await;
        match (role, holder) {
            (_, Ok(None)) => Err(End::Bye(ByeReason::Revoked)),
            (Ok(role), _) if role != self.held => Err(End::Bye(ByeReason::Revoked)),
            _ => Ok(()),
        }
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match timeout(WRITE_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}

/// What was queued comes first, so that the page knows why; a slow page is not made to wait for more of it.
async fn say_bye(
    socket: &mut WebSocket,
    letters: &mut mpsc::Receiver<Arc<str>>,
    reason: ByeReason,
) {
    while reason != ByeReason::Slow
        && let Ok(letter) = letters.try_recv()
    {
        if send(socket, Message::Text(text(&letter))).await.is_err() {
            return;
        }
    }
    if send(socket, Message::Text(encode(&ToPage::Bye { reason })))
        .await
        .is_ok()
    {
        // RFC 6455 §7.4.1: 1000 for an end that was meant, 1008 for a breach of our policy.
        let code = if reason == ByeReason::Flood {
            1008
        } else {
            1000
        };
        let _ = send(
            socket,
            Message::Close(Some(CloseFrame {
                code,
                reason: Utf8Bytes::default(),
            })),
        )
        .await;
        linger(socket).await;
    }
}

/// Waits for the page's own close (RFC 6455 §7.1.1). A socket that is closed while something of the page's is unread, as after a
/// message that is too large, is reset at once (RFC 1122 §4.2.2.13), and the reset would overtake the goodbye.
async fn linger(socket: &mut WebSocket) {
    let closed = async {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Close(_)) {
                return;
            }
        }
        sleep(LINGER).await;
    };
    let _ = timeout(LINGER, closed).await;
}

fn text(letter: &Arc<str>) -> Utf8Bytes {
    Utf8Bytes::from(&**letter)
}

fn encode(message: &ToPage) -> Utf8Bytes {
    serde_json::to_string(message)
        .expect("a message of ours has only string keys and finite numbers")
        .into()
}

/// The number of a message that could not be read as a whole.
fn reference_in(text: &str) -> u32 {
    #[derive(Deserialize)]
    struct Numbered {
        #[serde(rename = "ref")]
        reference: u32,
    }
    serde_json::from_str::<Numbered>(text).map_or(0, |numbered| numbered.reference)
}

fn is_too_large(error: &axum::Error) -> bool {
    let cause = std::error::Error::source(error);
    cause.is_some_and(|cause| {
        cause.to_string().contains("too long") || cause.to_string().contains("too large")
    })
}

/// A token bucket.
struct Allowance {
    tokens: f64,
    filled: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Allowance {
        Allowance {
            tokens: BURST,
            filled: now,
        }
    }

    fn spend(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.filled).as_secs_f64() * RATE;
        self.filled = now;
        self.tokens = (self.tokens + earned).min(BURST) - 1.0;
        self.tokens >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::protocol::FromPage;

    #[test]
    fn a_page_may_burst_but_not_flood() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        assert!((0..100).all(|_| allowance.spend(start)));
        assert!(!allowance.spend(start));
        assert!(allowance.spend(start + Duration::from_millis(100)));
    }

    #[test]
    fn a_message_carries_its_number_and_no_unknown_field() {
        let read = |text| serde_json::from_str::<Envelope>(text);
        let chat = read(r#"{"type":"chat","text":"好","ref":7}"#).unwrap();
        assert_eq!(
            (chat.reference, chat.message),
            (7, FromPage::Chat { text: "好".into() })
        );
        assert_eq!(read(r#"{"type":"start"}"#).unwrap().reference, 0);
        assert!(read(r#"{"type":"chat","text":"好","colour":"red"}"#).is_err());
        assert!(read(r#"{"type":"fly"}"#).is_err());
        assert_eq!(reference_in(r#"{"type":"fly","ref":9}"#), 9);
        assert_eq!(reference_in("{"), 0);
    }
}
