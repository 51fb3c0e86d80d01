//! How a lesson speaks to its pages: each message becomes text once, and a page that does not take it is dropped.

use std::sync::Arc;
use std::time::Instant;

use super::Host;
use crate::live::lesson::Conn;
use crate::live::protocol::{ByeReason, ToPage};

impl Host {
    pub(super) fn tell(&mut self, conn: Conn, message: &ToPage) {
        let text = encode(message);
        self.send(conn, text);
    }

    pub(super) fn tell_participant(&mut self, participant: &str, message: &ToPage) {
        if let Some(conn) = self.lesson.member(participant).and_then(|m| m.conn) {
            self.tell(conn, message);
        }
    }

    pub(super) fn tell_all(&mut self, message: &ToPage, except: Option<Conn>) {
        let text = encode(message);
        let others: Vec<Conn> = self
            .pages
            .keys()
            .copied()
            .filter(|conn| Some(*conn) != except)
            .collect();
        for conn in others {
            self.send(conn, text.clone());
        }
    }

    pub(super) fn send(&mut self, conn: Conn, text: Arc<str>) {
        let Some(page) = self.pages.get(&conn) else {
            return;
        };
        if page.outbox.try_send(text).is_err() {
            metrics::counter!(crate::metrics::SLOW_CLIENTS).increment(1);
            self.dismiss(conn, ByeReason::Slow);
            self.lesson.lost(conn, Instant::now());
        }
    }

    pub(super) fn dismiss(&mut self, conn: Conn, reason: ByeReason) {
        if let Some(page) = self.pages.remove(&conn) {
            // A socket that has closed by itself no longer listens.
            let _ = page.bye.send(reason);
        }
    }
}

pub(super) fn encode(message: &ToPage) -> Arc<str> {
    serde_json::to_string(message)
        .expect("a message of ours has only string keys and finite numbers")
        .into()
}
