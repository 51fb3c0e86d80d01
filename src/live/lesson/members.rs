//! Membership: join, rejoin, disconnect, leave, published tracks and view.

use std::collections::HashMap;
use std::time::Instant;

use tongke_plane::ids::{PeerId, TrackId};

use super::{
    Conn, Effect, GRACE, Identity, JoinOutcome, Lesson, LessonError, Member, MemberTrack, Now,
};
use crate::bus::TimelineEntry;
use crate::live::protocol::{
    CloseReason, MediaKind, Participant, Phase, Purpose, Role, ServerMessage, Tile, VERSION,
};

impl Lesson {
    /// Joins a client. `token` becomes its resume token; `resume` is the token of its earlier
    /// welcome.
    pub fn join(
        &mut self,
        who: Identity,
        conn: Conn,
        token: String,
        resume: Option<&str>,
        now: Now,
    ) -> Result<JoinOutcome, LessonError> {
        self.check_entry(&who.id)?;
        let entry = match self.position(&who.id) {
            Some(at) => self.rejoin(at, who, conn, resume),
            None => self.add_member(who, Some(conn)),
        };
        let welcome = ServerMessage::Welcome {
            version: VERSION,
            you: self.newest(conn).public.id.clone(),
            resume: token.clone(),
            revision: self.revision,
            lesson: self.document(now),
        };
        self.newest_mut(conn).resume = token;
        self.effects.push_back(Effect::Send {
            conn,
            message: Box::new(welcome),
        });
        Ok(entry)
    }

    /// Joins a WHIP encoder. It has no client and is present while its connection lives.
    pub fn join_encoder(&mut self, who: Identity) -> Result<(), LessonError> {
        self.check_entry(&who.id)?;
        if let Some(at) = self.position(&who.id) {
            self.remove(at);
        }
        self.add_member(who, None);
        Ok(())
    }

    fn check_entry(&self, id: &str) -> Result<(), LessonError> {
        if self.phase == Phase::Ended {
            return Err(LessonError::Ended);
        }
        let known = self.position(id).is_some();
        if !known && self.members.len() >= self.limits.participants {
            return Err(LessonError::Full);
        }
        Ok(())
    }

    fn add_member(&mut self, who: Identity, conn: Option<Conn>) -> JoinOutcome {
        let publishes = who.role != Role::Observer;
        let public = Participant {
            id: who.id,
            name: who.name,
            school: who.school,
            role: who.role,
            kind: who.kind,
            present: true,
            hand: false,
            hand_at_ms: None,
            microphone: publishes,
            camera: publishes,
            sources: Vec::new(),
        };
        let member = Member {
            public: public.clone(),
            conn,
            tracks: Vec::new(),
            view: HashMap::new(),
            resume: String::new(),
            disconnected_at: None,
        };
        self.append_timeline(TimelineEntry::Joined(member.timeline_participant()));
        self.members.push(member);
        let (id, role) = (public.id.clone(), public.role);
        self.announce(conn, |revision| ServerMessage::Joined {
            revision,
            participant: public,
        });
        self.restore_stage_place(&id, role, conn);
        JoinOutcome::Fresh
    }

    fn rejoin(
        &mut self,
        at: usize,
        who: Identity,
        conn: Conn,
        resume: Option<&str>,
    ) -> JoinOutcome {
        let member = &mut self.members[at];
        let resumed = resume.is_some_and(|token| token == member.resume);
        let old = member.conn.replace(conn);
        member.disconnected_at = None;
        member.public.present = true;
        if !resumed {
            // A new client starts with both switches on and its own layout; only the participant's
            // stage place and hand are kept.
            let publishes = who.role != Role::Observer;
            member.view.clear();
            member.tracks.clear();
            member.public.sources.clear();
            (member.public.microphone, member.public.camera) = (publishes, publishes);
            (member.public.name, member.public.school, member.public.role) =
                (who.name, who.school, who.role);
            self.effects.push_back(Effect::DropMedia {
                participant: who.id,
            });
        }
        if let Some(old) = old {
            self.effects.push_back(Effect::Close {
                conn: old,
                reason: CloseReason::Replaced,
            });
        }
        self.announce_changed(at, Some(conn));
        if resumed {
            JoinOutcome::Resumed
        } else {
            JoinOutcome::Fresh
        }
    }

    /// Marks a participant as disconnected; its grace period runs from `last_seen`.
    pub fn disconnected(&mut self, conn: Conn, last_seen: Instant) {
        let Some(at) = self.members.iter().position(|m| m.conn == Some(conn)) else {
            return;
        };
        let member = &mut self.members[at];
        member.conn = None;
        member.disconnected_at = Some(last_seen);
        member.public.present = false;
        self.announce_changed(at, None);
    }

    /// Removes participants whose grace period has expired. Called on every tick.
    pub fn handle_timeout(&mut self, now: Instant) {
        let over = |m: &Member| m.disconnected_at.is_some_and(|since| now >= since + GRACE);
        while let Some(at) = self.members.iter().position(over) {
            self.remove(at);
        }
        self.stage_reservations.take_if(|(_, until)| now >= *until);
    }

    /// Removes a participant at once: its access was revoked or its encoder's connection ended.
    pub fn leave(&mut self, id: &str) {
        if let Some(at) = self.position(id) {
            self.remove(at);
        }
    }

    fn remove(&mut self, at: usize) {
        let member = self.members.remove(at);
        let id = member.public.id;
        self.effects.push_back(Effect::DropMedia {
            participant: id.clone(),
        });
        self.leave_stage(&id);
        self.append_timeline(TimelineEntry::Left { id: id.clone() });
        self.announce(None, |revision| ServerMessage::Left {
            revision,
            participant: id,
        });
    }

    /// Replaces the tracks that a participant publishes for one purpose; empty when it stops.
    pub fn set_tracks(&mut self, id: &str, purpose: Purpose, tracks: &[(MediaKind, TrackId)]) {
        let Some(at) = self.position(id) else { return };
        let member = &mut self.members[at];
        let shared_before = member.shares_screen();
        member.tracks.retain(|t| t.purpose != purpose);
        member
            .tracks
            .extend(tracks.iter().map(|&(kind, track)| MemberTrack {
                purpose,
                kind,
                track,
            }));
        let sources = member.sources();
        if sources == member.public.sources {
            return;
        }
        member.public.sources = sources;
        let shares = member.shares_screen();
        if shares != shared_before {
            self.append_timeline(TimelineEntry::Screen {
                id: id.to_owned(),
                on: shares,
            });
        }
        self.announce_changed(at, None);
    }

    /// Adds a WHEP player.
    pub fn add_player(&mut self, peer: PeerId, name: String) {
        self.players.push((peer, name));
        self.announce_players();
    }

    /// Removes a WHEP player.
    pub fn remove_player(&mut self, peer: PeerId) {
        self.players.retain(|(known, _)| *known != peer);
        self.announce_players();
    }

    fn announce_players(&mut self) {
        let players = self.player_names();
        self.announce(None, |revision| ServerMessage::Players {
            revision,
            players,
        });
    }

    /// Sets the client's layout for the subscription policy. Not part of the document.
    pub fn view(&mut self, id: &str, tiles: Vec<Tile>) -> Result<(), LessonError> {
        // Twice the participant limit: every participant's camera and screen.
        if tiles.len() > 2 * self.limits.participants {
            return Err(LessonError::TooManyTiles);
        }
        let at = self.position(id).ok_or(LessonError::NoSuchParticipant)?;
        self.members[at].view = tiles
            .into_iter()
            .map(|t| ((t.participant, t.purpose), t.height))
            .collect();
        Ok(())
    }

    fn newest(&self, conn: Conn) -> &Member {
        self.by_conn(conn)
            .expect("join has just given this socket to a member")
    }

    fn newest_mut(&mut self, conn: Conn) -> &mut Member {
        self.members
            .iter_mut()
            .find(|m| m.conn == Some(conn))
            .expect("join has just given this socket to a member")
    }
}
