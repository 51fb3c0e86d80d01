//! Sending to clients: each message is serialized once; a client with a full outbox is
//! disconnected.

use std::sync::Arc;
use std::time::Instant;

use super::LessonTask;
use crate::live::lesson::Conn;
use crate::live::protocol::{CloseReason, ServerMessage};

impl LessonTask {
    pub(super) fn send_to(&mut self, conn: Conn, message: &ServerMessage) {
        let text = encode(message);
        self.enqueue(conn, text);
    }

    pub(super) fn send_to_participant(&mut self, participant: &str, message: &ServerMessage) {
        if let Some(conn) = self.lesson.member(participant).and_then(|m| m.conn) {
            self.send_to(conn, message);
        }
    }

    pub(super) fn broadcast(&mut self, message: &ServerMessage, except: Option<Conn>) {
        let text = encode(message);
        let others: Vec<Conn> = self
            .clients
            .keys()
            .copied()
            .filter(|conn| Some(*conn) != except)
            .collect();
        for conn in others {
            self.enqueue(conn, text.clone());
        }
    }

    pub(super) fn enqueue(&mut self, conn: Conn, text: Arc<str>) {
        let Some(client) = self.clients.get(&conn) else {
            return;
        };
        if client.outbox.try_send(text).is_err() {
            metrics::counter!(crate::metrics::SLOW_CLIENTS).increment(1);
            self.close_client(conn, CloseReason::Slow);
            self.lesson.disconnected(conn, Instant::now());
        }
    }

    pub(super) fn close_client(&mut self, conn: Conn, reason: CloseReason) {
        if let Some(client) = self.clients.remove(&conn) {
            // The receiver is gone if the socket has already closed.
            let _ = client.close.send(reason);
        }
    }
}

pub(super) fn encode(message: &ServerMessage) -> Arc<str> {
    serde_json::to_string(message)
        .expect("a message of ours has only string keys and finite numbers")
        .into()
}
