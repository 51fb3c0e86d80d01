//! Who is here: coming in, coming back, being lost, leaving, and what each publishes and looks at.

use std::collections::HashMap;
use std::time::Instant;

use tongke_plane::ids::{PeerId, TrackId};

use super::{Conn, Effect, Entry, GRACE, Identity, Lesson, Member, MemberTrack, Now, Refusal};
use crate::bus::TimelineEntry;
use crate::live::protocol::{
    ByeReason, MediaKind, Participant, Phase, Purpose, Role, Tile, ToPage, VERSION,
};

impl Lesson {
    /// A page opens the lesson. `token` becomes its resume token; `resume` is what it brought along from an earlier welcome.
    pub fn join(
        &mut self,
        who: Identity,
        conn: Conn,
        token: String,
        resume: Option<&str>,
        now: Now,
    ) -> Result<Entry, Refusal> {
        self.check_entry(&who.id)?;
        let entry = match self.position(&who.id) {
            Some(at) => self.come_back(at, who, conn, resume),
            None => self.come_in(who, Some(conn)),
        };
        let welcome = ToPage::Welcome {
            version: VERSION,
            you: self.newest(conn).public.id.clone(),
            resume: token.clone(),
            revision: self.revision,
            lesson: self.document(now),
        };
        self.newest_mut(conn).resume = token;
        self.effects.push_back(Effect::Tell {
            conn,
            message: Box::new(welcome),
        });
        Ok(entry)
    }

    /// A foreign encoder publishes by WHIP. It has no page: it is present while its connection lives.
    pub fn join_encoder(&mut self, who: Identity) -> Result<(), Refusal> {
        self.check_entry(&who.id)?;
        if let Some(at) = self.position(&who.id) {
            self.remove(at);
        }
        self.come_in(who, None);
        Ok(())
    }

    fn check_entry(&self, id: &str) -> Result<(), Refusal> {
        if self.phase == Phase::Ended {
            return Err(Refusal::Ended);
        }
        let known = self.position(id).is_some();
        if !known && self.members.len() >= self.limits.participants {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    fn come_in(&mut self, who: Identity, conn: Option<Conn>) -> Entry {
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
            lost_since: None,
        };
        self.append_timeline(TimelineEntry::Joined(member.timeline_participant()));
        self.members.push(member);
        let (id, role) = (public.id.clone(), public.role);
        self.announce(conn, |revision| ToPage::Joined {
            revision,
            participant: public,
        });
        self.back_on_stage(&id, role, conn);
        Entry::Fresh
    }

    fn come_back(&mut self, at: usize, who: Identity, conn: Conn, resume: Option<&str>) -> Entry {
        let member = &mut self.members[at];
        let resumed = resume.is_some_and(|token| token == member.resume);
        let old = member.conn.replace(conn);
        member.lost_since = None;
        member.public.present = true;
        if !resumed {
            // A new page starts with both switches on and its own layout; only the participant's place is kept.
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
            self.effects.push_back(Effect::Dismiss {
                conn: old,
                reason: ByeReason::Replaced,
            });
        }
        self.announce_changed(at, Some(conn));
        if resumed {
            Entry::Resumed
        } else {
            Entry::Fresh
        }
    }

    /// A socket is gone. `heard` is when it last gave a sign of life: the grace runs from there.
    pub fn lost(&mut self, conn: Conn, heard: Instant) {
        let Some(at) = self.members.iter().position(|m| m.conn == Some(conn)) else {
            return;
        };
        let member = &mut self.members[at];
        member.conn = None;
        member.lost_since = Some(heard);
        member.public.present = false;
        self.announce_changed(at, None);
    }

    /// Lets go of those whose grace has run out. Called every tick of the host.
    pub fn handle_timeout(&mut self, now: Instant) {
        let over = |m: &Member| m.lost_since.is_some_and(|since| now >= since + GRACE);
        while let Some(at) = self.members.iter().position(over) {
            self.remove(at);
        }
        self.awaited.take_if(|(_, until)| now >= *until);
    }

    /// Takes a participant out at once: its pass was taken away, or its encoder's connection is gone.
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
        self.announce(None, |revision| ToPage::Left {
            revision,
            participant: id,
        });
    }

    /// What a participant publishes for one purpose, replacing what it published before; empty when it stopped.
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

    /// A program watches by WHEP.
    pub fn add_player(&mut self, peer: PeerId, name: String) {
        self.players.push((peer, name));
        self.announce_players();
    }

    /// A program watches no longer.
    pub fn remove_player(&mut self, peer: PeerId) {
        self.players.retain(|(known, _)| *known != peer);
        self.announce_players();
    }

    fn announce_players(&mut self) {
        let players = self.player_names();
        self.announce(None, |revision| ToPage::Players { revision, players });
    }

    /// The page's layout, for the subscription policy. Not part of the document.
    pub fn view(&mut self, id: &str, tiles: Vec<Tile>) -> Result<(), Refusal> {
        // Twice the largest lesson: every participant's camera and screen.
        if tiles.len() > 2 * self.limits.participants {
            return Err(Refusal::TooManyTiles);
        }
        let at = self.position(id).ok_or(Refusal::NoSuchParticipant)?;
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
