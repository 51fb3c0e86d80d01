//! WHIP and WHEP sessions: the resources at `Location`. A session lives as long as its peer in the
//! plane.

use std::collections::HashMap;
use std::sync::Mutex;

use tongke_plane::ids::PeerId;

use crate::error::Error;
use crate::identity::secret;
use crate::ids::{LessonId, TokenId};
use crate::live::Lessons;
use crate::live::error::RequestError;
use crate::live::tokens::TokenKind;

/// Session of an encoder or player.
#[derive(Clone, Debug)]
pub struct Session {
    /// Unguessable, but not a credential: every request needs the token as well.
    pub id: String,
    /// Entity-tag of the ICE session, with its quotation marks (RFC 9110 §8.8.3).
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
    /// Stores a session and removes those whose peer is gone.
    pub fn add_session(&self, session: Session) -> Session {
        let mut sessions = self.sessions();
        sessions.retain(|_, old| self.inner.router.has_peer(old.peer));
        sessions.insert(session.id.clone(), session.clone());
        session
    }

    pub fn session(&self, id: &str) -> Option<Session> {
        self.sessions()
            .get(id)
            .filter(|session| self.inner.router.has_peer(session.peer))
            .cloned()
    }

    /// Applies an SDP fragment. Returns our fragment and the new entity-tag after an ICE restart.
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
            .map_err(RequestError::from)?;
        Ok(ours.map(|ours| {
            let etag = fresh_etag();
            if let Some(kept) = self.sessions().get_mut(&session.id) {
                kept.etag.clone_from(&etag);
            }
            (ours, etag)
        }))
    }

    /// Closes the session's peer; the lesson is notified by the plane's event.
    pub fn end_session(&self, session: &Session) {
        self.sessions().remove(&session.id);
        self.inner.plane.close(session.peer);
    }

    /// Ends all sessions of a revoked token.
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
