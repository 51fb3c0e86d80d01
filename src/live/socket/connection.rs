//! Task of one WebSocket: messages in both directions, pings, limits and close.

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
use crate::live::lesson::Conn;
use crate::live::protocol::{CloseReason, Envelope, ServerMessage};
use crate::live::task::Command;
use crate::timetable::{self, LessonRole};

/// Rate limit: messages per second and burst size (protocol).
const RATE: f64 = 50.0;
const BURST: f64 = 100.0;

/// Ping interval, and the silence after which the socket counts as dead. Together with the grace
/// period, which counts from the last received frame, no vanished room stays on the wall for more
/// than ten seconds.
const PING_EVERY: Duration = Duration::from_secs(2);
const DEAD_AFTER: Duration = Duration::from_secs(6);

/// Write timeout: a client this slow has stopped reading.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for the client's close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Interval of the session and role check: a revoked client leaves within the same ten seconds.
const RECHECK_EVERY: Duration = Duration::from_secs(10);

/// Queued output for a client.
pub struct Outbound {
    pub messages: mpsc::Receiver<Arc<str>>,
    pub close_reason: oneshot::Receiver<CloseReason>,
}

/// Periodic check of the client's session and role.
pub struct AccessCheck {
    pub live: Live,
    pub id: LessonId,
    pub actor: Actor,
    /// Role at the join. A changed role needs a new client, since tools, slots and switches differ.
    pub initial_role: LessonRole,
    /// Session token.
    pub token: String,
}

/// State of one client socket.
pub struct Connection {
    lesson: mpsc::Sender<Command>,
    conn: Conn,
    last_seen: Instant,
    rate_limiter: RateLimiter,
    language: Language,
}

/// Reason for the end of a socket.
enum End {
    /// Closed by the client or its network.
    Gone,
    Closed(CloseReason),
}

impl Connection {
    pub fn new(lesson: mpsc::Sender<Command>, conn: Conn, language: Language) -> Connection {
        let now = Instant::now();
        Connection {
            lesson,
            conn,
            last_seen: now,
            rate_limiter: RateLimiter::new(now),
            language,
        }
    }

    /// Forwards messages until either side closes, then reports the end to the lesson.
    pub async fn run(mut self, mut socket: WebSocket, mut outbound: Outbound, access: AccessCheck) {
        metrics::gauge!(crate::metrics::CLIENTS).increment(1);
        let end = self
            .run_until_end(&mut socket, &mut outbound, &access)
            .await;
        metrics::gauge!(crate::metrics::CLIENTS).decrement(1);
        if let End::Closed(reason) = end {
            if reason == CloseReason::Revoked {
                // A revoked participant gets no grace period and leaves at once.
                let participant = access.actor.id().to_string();
                let _ = self.lesson.send(Command::Revoke { participant }).await;
            }
            send_close(&mut socket, &mut outbound.messages, reason).await;
        }
        let _ = self
            .lesson
            .send(Command::Disconnected {
                conn: self.conn,
                last_seen: self.last_seen,
            })
            .await;
    }

    async fn run_until_end(
        &mut self,
        socket: &mut WebSocket,
        outbound: &mut Outbound,
        access: &AccessCheck,
    ) -> End {
        let (mut ping, mut recheck) = (interval(PING_EVERY), interval(RECHECK_EVERY));
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        recheck.reset();
        loop {
            let step = tokio::select! {
                reason = &mut outbound.close_reason => Err(reason.map_or(End::Gone, End::Closed)),
                Some(message) = outbound.messages.recv() => send(socket, Message::Text(text(&message))).await,
                message = socket.recv() => self.receive(socket, message).await,
                _ = ping.tick() => self.ping(socket).await,
                _ = recheck.tick() => access.verify().await,
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
            Some(Err(error)) if is_too_large(&error) => {
                return Err(End::Closed(CloseReason::Flood));
            }
            Some(Err(_)) | None => return Err(End::Gone),
        };
        self.last_seen = Instant::now();
        match message {
            Message::Text(text) => {
                if !self.rate_limiter.try_acquire(self.last_seen) {
                    metrics::counter!(crate::metrics::FLOODING_CLIENTS).increment(1);
                    return Err(End::Closed(CloseReason::Flood));
                }
                self.forward(socket, &text).await
            }
            Message::Binary(_) => self.reject_unreadable(socket, 0).await,
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => Err(End::Gone),
        }
    }

    async fn forward(&mut self, socket: &mut WebSocket, text: &str) -> Result<(), End> {
        match serde_json::from_str::<Envelope>(text) {
            Ok(envelope) => {
                let said = Command::Message {
                    conn: self.conn,
                    envelope,
                };
                self.lesson
                    .send(said)
                    .await
                    .map_err(|_| End::Closed(CloseReason::Restarting))
            }
            Err(_) => self.reject_unreadable(socket, reference_in(text)).await,
        }
    }

    /// Answers an unreadable message with an error; the socket stays open.
    async fn reject_unreadable(&self, socket: &mut WebSocket, reference: u32) -> Result<(), End> {
        metrics::counter!(crate::metrics::REFUSED_MESSAGES, "code" => "unreadable").increment(1);
        let message = match self.language {
            Language::Chinese => "服务器无法识别页面发送的消息，请刷新页面。",
            Language::English => {
                "The server could not read what the page sent. Please reload the page."
            }
        };
        let error = ServerMessage::Error {
            reference,
            code: "unreadable".to_owned(),
            message: message.to_owned(),
        };
        send(socket, Message::Text(encode(&error))).await
    }

    async fn ping(&self, socket: &mut WebSocket) -> Result<(), End> {
        if self.last_seen.elapsed() >= DEAD_AFTER {
            return Err(End::Gone);
        }
        send(socket, Message::Ping(Default::default())).await
    }
}

impl AccessCheck {
    /// Verifies session and role. Database errors are ignored: an outage must not end a lesson.
    async fn verify(&self) -> Result<(), End> {
        let role = timetable::role_in(&self.live.db, self.id, &self.actor).await;
        let holder = session::find(&self.live.db, &self.token, now()).await;
        match (role, holder) {
            (_, Ok(None)) => Err(End::Closed(CloseReason::Revoked)),
            (Ok(role), _) if role != self.initial_role => Err(End::Closed(CloseReason::Revoked)),
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

/// Sends queued messages first, so that the client knows the context; a slow client gets only the
/// close message.
async fn send_close(
    socket: &mut WebSocket,
    messages: &mut mpsc::Receiver<Arc<str>>,
    reason: CloseReason,
) {
    while reason != CloseReason::Slow
        && let Ok(message) = messages.try_recv()
    {
        if send(socket, Message::Text(text(&message))).await.is_err() {
            return;
        }
    }
    if send(
        socket,
        Message::Text(encode(&ServerMessage::Close { reason })),
    )
    .await
    .is_ok()
    {
        // RFC 6455 §7.4.1: 1000 is a normal closure, 1008 a policy violation.
        let code = if reason == CloseReason::Flood {
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
        await_close(socket).await;
    }
}

/// Waits for the client's close frame (RFC 6455 §7.1.1). Closing with unread input, as after an
/// oversized message, resets the connection (RFC 1122 §4.2.2.13), which would overtake the close
/// message.
async fn await_close(socket: &mut WebSocket) {
    let closed = async {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Close(_)) {
                return;
            }
        }
        sleep(CLOSE_TIMEOUT).await;
    };
    let _ = timeout(CLOSE_TIMEOUT, closed).await;
}

fn text(message: &Arc<str>) -> Utf8Bytes {
    Utf8Bytes::from(&**message)
}

fn encode(message: &ServerMessage) -> Utf8Bytes {
    serde_json::to_string(message)
        .expect("a message of ours has only string keys and finite numbers")
        .into()
}

/// Returns the `ref` of a message that could not be parsed as a whole; 0 without one.
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

/// Token bucket.
struct RateLimiter {
    tokens: f64,
    filled: Instant,
}

impl RateLimiter {
    fn new(now: Instant) -> RateLimiter {
        RateLimiter {
            tokens: BURST,
            filled: now,
        }
    }

    fn try_acquire(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.filled).as_secs_f64() * RATE;
        self.filled = now;
        self.tokens = (self.tokens + earned).min(BURST) - 1.0;
        self.tokens >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::protocol::ClientMessage;

    #[test]
    fn a_client_may_burst_but_not_flood() {
        let start = Instant::now();
        let mut rate_limiter = RateLimiter::new(start);
        assert!((0..100).all(|_| rate_limiter.try_acquire(start)));
        assert!(!rate_limiter.try_acquire(start));
        assert!(rate_limiter.try_acquire(start + Duration::from_millis(100)));
    }

    #[test]
    fn a_message_has_its_ref_and_no_unknown_field() {
        let read = |text| serde_json::from_str::<Envelope>(text);
        let chat = read(r#"{"type":"chat","text":"好","ref":7}"#).unwrap();
        assert_eq!(
            (chat.reference, chat.message),
            (7, ClientMessage::Chat { text: "好".into() })
        );
        assert_eq!(read(r#"{"type":"start"}"#).unwrap().reference, 0);
        assert!(read(r#"{"type":"chat","text":"好","colour":"red"}"#).is_err());
        assert!(read(r#"{"type":"fly"}"#).is_err());
        assert_eq!(reference_in(r#"{"type":"fly","ref":9}"#), 9);
        assert_eq!(reference_in("{"), 0);
    }
}
