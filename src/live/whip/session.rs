//! Sessions of foreign programs: the resource at a `Location`. One lives exactly as long as its peer in the plane.

use std::collections::HashMap;
use std::sync::Mutex;

use tongke_plane::ids::PeerId;

use crate::error::Error;
use crate::identity::secret;
use crate::ids::{LessonId, TokenId};
use crate::live::Lessons;
use crate::live::refused::Refused;
use crate::live::tokens::TokenKind;

/// The resource that an encoder or player holds.
#[derive(Clone, Debug)]
pub struct Session {
    /// Unguessable, but no key: every request needs the token as well.
    pub id: String,
    /// Names the ICE session, with its quotation marks (RFC 9110 §8.8.3).
    pub etag: String,
    pub lesson: LessonId,
    pub kind: TokenKind,
    pub token: TokenId,
    peer: PeerId,
}

/// All sessions of this server.
#[derive(Default)]
pub struct Sessions {
    inner: Mutex<HashMap<String, Session>>,
}

impl Session {
    pub fn new(peer: PeerId, lesson: LessonId, kind: TokenKind, token: TokenId) -> Session {
        Session {
            id: secret::token(),
            etag: fresh_etag(),
            lesson,
            kind,
            token,
            peer,
        }
    }
}

impl Lessons {
    /// Keeps a session; those whose peer is gone are forgotten on the way.
    pub fn add_session(&self, session: Session) -> Session {
        let mut sessions = self.sessions();
        sessions.retain(|_, old| self.inner.table.knows(old.peer));
        sessions.insert(session.id.clone(), session.clone());
        session
    }

    pub fn session(&self, id: &str) -> Option<Session> {
        self.sessions()
            .get(id)
            .filter(|session| self.inner.table.knows(session.peer))
            .cloned()
    }

    /// Hands a fragment to the plane. After an ICE restart: our fragment and the new entity-tag.
    pub fn patch_session(
        &self,
        session: &Session,
        fragment: &str,
        restart: bool,
    ) -> Result<Option<(String, String)>, Error> {
        let ours = self
            .inner
            .plane
            .patch_ice(session.peer, fragment, restart)
            .map_err(Refused::from)?;
        Ok(ours.map(|ours| {
            let etag = fresh_etag();
            if let Some(kept) = self.sessions().get_mut(&session.id) {
                kept.etag.clone_from(&etag);
            }
            (ours, etag)
        }))
    }

    /// The program leaves. The lesson hears of it by the plane's event, like of any other end.
    pub fn end_session(&self, session: &Session) {
        self.sessions().remove(&session.id);
        self.inner.plane.close(session.peer);
    }

    /// A token was taken back.
    pub fn end_sessions_of(&self, token: TokenId) {
        let of_token: Vec<Session> = self
            .sessions()
            .values()
            .filter(|s| s.token == token)
            .cloned()
            .collect();
        of_token
            .iter()
            .for_each(|session| self.end_session(session));
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<String, Session>> {
        self.inner
            .sessions
            .inner
            .lock()
            .expect("no holder of this lock can panic")
    }
}

fn fresh_etag() -> String {
    format!("\"{}\"", secret::token())
}
