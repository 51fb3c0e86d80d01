//! Media connections of a lesson; the only file of this feature that calls the plane within a
//! lesson.
//!
//! It maps connections to participants and tracks the subscriptions of each subscriber.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tongke_plane::ids::{LessonId, PeerId, TrackId};
use tongke_plane::{Assignment, Plane, PlaneError, PublishOptions, Track, Wanted};

use super::event_router::LessonRoutes;
use super::lesson::{Lesson, Member};
use super::policy::{self, Want};
use super::protocol::{MediaKind, ParticipantId, Purpose, ServerMessage, Slot, TrackRef};

/// A subscriber that closes sooner than this after its offer is not offered again automatically;
/// its client requests an offer when it is ready.
const REOFFER_AFTER: Duration = Duration::from_secs(2);

/// Owner of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Publisher(ParticipantId, Purpose),
    Subscriber(ParticipantId),
    Player,
}

pub struct Media {
    plane: Plane,
    lesson: LessonId,
    routes: LessonRoutes,
    owners: HashMap<PeerId, Owner>,
    publishers: HashMap<(ParticipantId, Purpose), Publisher>,
    subscribers: HashMap<ParticipantId, Subscriber>,
    players: HashMap<PeerId, Player>,
    /// Number of the last offer; numbered per lesson, so that an answer never matches an offer of
    /// another connection.
    last_offer: u32,
}

struct Publisher {
    peer: PeerId,
    tracks: Vec<TrackId>,
}

struct Subscriber {
    peer: PeerId,
    offer: Offer,
    /// The newest offer has no answer yet.
    unanswered: bool,
    wants: Vec<Want>,
    slots: Vec<Slot>,
    opened: Instant,
}

#[derive(Clone)]
struct Offer {
    number: u32,
    sdp: String,
    fresh: bool,
}

struct Player {
    audio: usize,
    video: usize,
    wants: Vec<Want>,
}

impl Media {
    pub fn new(plane: Plane, lesson: LessonId, routes: LessonRoutes) -> Media {
        Media {
            plane,
            lesson,
            routes,
            owners: HashMap::new(),
            publishers: HashMap::new(),
            subscribers: HashMap::new(),
            players: HashMap::new(),
            last_offer: 0,
        }
    }

    /// Opens a publisher. Returns its peer, the SDP answer and its first track of each kind. Close
    /// the old publisher first.
    pub fn publish(
        &mut self,
        who: &str,
        purpose: Purpose,
        sdp: &str,
    ) -> Result<(PeerId, String, Vec<Track>), PlaneError> {
        let published = self
            .plane
            .publish(self.lesson, sdp, &PublishOptions::default())?;
        let peer = published.peer;
        let mut tracks: Vec<Track> = Vec::new();
        for track in published.tracks {
            if tracks.iter().all(|t| t.kind != track.kind) {
                tracks.push(track);
            }
        }
        let ids: Vec<TrackId> = tracks.iter().map(|t| t.id).collect();
        self.routes.add(peer, &ids);
        self.owners
            .insert(peer, Owner::Publisher(who.to_owned(), purpose));
        self.publishers
            .insert((who.to_owned(), purpose), Publisher { peer, tracks: ids });
        Ok((peer, published.answer, tracks))
    }

    /// Answers a publisher's ICE restart.
    pub fn republish(&self, who: &str, purpose: Purpose, sdp: &str) -> Result<String, PlaneError> {
        let publisher = self.publishers.get(&(who.to_owned(), purpose));
        // Peer 0 does not exist: the client receives an error and opens a new connection.
        let peer = publisher.map_or(PeerId(0), |p| p.peer);
        self.plane.republish(peer, sdp)
    }

    /// Closes a publisher and returns its tracks.
    pub fn unpublish(&mut self, who: &str, purpose: Purpose) -> Vec<TrackId> {
        let Some(publisher) = self.publishers.remove(&(who.to_owned(), purpose)) else {
            return Vec::new();
        };
        self.owners.remove(&publisher.peer);
        self.plane.close(publisher.peer);
        publisher.tracks
    }

    /// Opens a new subscriber for a client and returns the offer.
    pub fn open_subscriber(
        &mut self,
        lesson: &Lesson,
        who: &str,
        now: Instant,
    ) -> Result<ServerMessage, PlaneError> {
        self.close_subscriber(who);
        let Some(member) = lesson.member(who) else {
            return Err(PlaneError::NoPeer(PeerId(0)));
        };
        let wants = policy::wanted(lesson, member);
        let (peer, sdp) = self
            .plane
            .offer_subscriber(self.lesson, &initial_slots(&wants))?;
        self.routes.add(peer, &[]);
        self.owners.insert(peer, Owner::Subscriber(who.to_owned()));
        let offer = self.number(sdp, true);
        let message = offer.message();
        let subscriber = Subscriber {
            peer,
            offer,
            unanswered: true,
            wants: Vec::new(),
            slots: Vec::new(),
            opened: now,
        };
        self.subscribers.insert(who.to_owned(), subscriber);
        Ok(message)
    }

    /// Applies a client's answer; an answer to any but the newest offer is ignored.
    pub fn answer(&mut self, who: &str, number: u32, sdp: &str) -> Result<(), PlaneError> {
        let Some(subscriber) = self
            .subscribers
            .get_mut(who)
            .filter(|r| r.offer.number == number && r.unanswered)
        else {
            return Ok(());
        };
        self.plane.accept_answer(subscriber.peer, sdp)?;
        subscriber.unanswered = false;
        Ok(())
    }

    /// Returns the messages that a resuming client may have missed: an unanswered offer and its
    /// slots.
    pub fn resume(
        &mut self,
        lesson: &Lesson,
        who: &str,
        now: Instant,
    ) -> Result<Vec<ServerMessage>, PlaneError> {
        match self.subscribers.get(who) {
            None => Ok(vec![self.open_subscriber(lesson, who, now)?]),
            Some(r) => {
                let offer = r.unanswered.then(|| r.offer.message());
                Ok(offer
                    .into_iter()
                    .chain([ServerMessage::Slots {
                        slots: r.slots.clone(),
                    }])
                    .collect())
            }
        }
    }

    /// Restarts ICE of a subscriber whose client reports a failed connection.
    pub fn restart_subscriber(
        &mut self,
        lesson: &Lesson,
        who: &str,
        now: Instant,
    ) -> Result<ServerMessage, PlaneError> {
        let restarted = match self.subscribers.get(who) {
            // A connection that was never answered cannot be restarted.
            Some(r) if !(r.unanswered && r.offer.fresh) => {
                self.plane.restart_subscriber(r.peer).ok()
            }
            _ => None,
        };
        let Some(sdp) = restarted else {
            return self.open_subscriber(lesson, who, now);
        };
        let offer = self.number(sdp, false);
        let message = offer.message();
        let subscriber = self
            .subscribers
            .get_mut(who)
            .expect("it was there a moment ago");
        (subscriber.offer, subscriber.unanswered) = (offer, true);
        Ok(message)
    }

    /// Answers a WHEP player.
    pub fn answer_player(&mut self, sdp: &str) -> Result<(PeerId, String), PlaneError> {
        let (peer, answer) = self.plane.answer_subscriber(self.lesson, sdp)?;
        self.routes.add(peer, &[]);
        self.owners.insert(peer, Owner::Player);
        let (audio, video) = (count_sections(sdp, "audio"), count_sections(sdp, "video"));
        self.players.insert(
            peer,
            Player {
                audio,
                video,
                wants: Vec::new(),
            },
        );
        Ok((peer, answer))
    }

    /// Applies the policy to all subscriptions. Returns the messages for clients, and false if a
    /// shard was busy.
    pub fn refresh(&mut self, lesson: &Lesson) -> (Vec<(ParticipantId, ServerMessage)>, bool) {
        let mut messages = Vec::new();
        let mut all_done = true;
        for member in lesson.members() {
            match self.refresh_subscriber(lesson, member) {
                Ok(changed) => {
                    messages.extend(changed.into_iter().map(|m| (member.public.id.clone(), m)))
                }
                Err(_) => all_done = false,
            }
        }
        for (peer, player) in &mut self.players {
            let wants = policy::wanted_by_player(lesson, player.audio, player.video);
            if wants != player.wants {
                match self.plane.subscribe(*peer, &to_wanted(&wants)) {
                    Ok(_) => player.wants = wants,
                    Err(_) => all_done = false,
                }
            }
        }
        (messages, all_done)
    }

    fn refresh_subscriber(
        &mut self,
        lesson: &Lesson,
        member: &Member,
    ) -> Result<Vec<ServerMessage>, PlaneError> {
        let Some(subscriber) = self.subscribers.get_mut(&member.public.id) else {
            return Ok(Vec::new());
        };
        let wants = policy::wanted(lesson, member);
        if subscriber.wants == wants {
            return Ok(Vec::new());
        }
        let assignment = self.plane.subscribe(subscriber.peer, &to_wanted(&wants))?;
        let slots = updated_slots(&assignment, &wants, &subscriber.slots);
        let mut changed = Vec::new();
        if slots != subscriber.slots {
            changed.push(ServerMessage::Slots {
                slots: slots.clone(),
            });
        }
        (subscriber.wants, subscriber.slots) = (wants, slots);
        if let Some(sdp) = assignment.offer {
            // A client that has not answered the first offer still has to create the connection.
            let fresh = subscriber.unanswered && subscriber.offer.fresh;
            let offer = Offer {
                number: self.last_offer + 1,
                sdp,
                fresh,
            };
            self.last_offer += 1;
            changed.insert(0, offer.message());
            (subscriber.offer, subscriber.unanswered) = (offer, true);
        }
        Ok(changed)
    }

    /// Updates a slot whose video resumed or paused. Returns the client's new slots if they
    /// changed.
    pub fn slot_layer(
        &mut self,
        peer: PeerId,
        mid: &str,
        flowing: bool,
    ) -> Option<(ParticipantId, ServerMessage)> {
        let Some(Owner::Subscriber(who)) = self.owners.get(&peer) else {
            return None;
        };
        let subscriber = self.subscribers.get_mut(who)?;
        let slot = subscriber
            .slots
            .iter_mut()
            .find(|s| s.mid == mid && s.source.is_some())?;
        if slot.flowing == flowing {
            return None;
        }
        slot.flowing = flowing;
        Some((
            who.clone(),
            ServerMessage::Slots {
                slots: subscriber.slots.clone(),
            },
        ))
    }

    pub fn owner(&self, peer: PeerId) -> Option<&Owner> {
        self.owners.get(&peer)
    }

    /// Removes a closed peer. Returns its owner, its tracks, and true if its client should get a
    /// new offer at once.
    pub fn closed(&mut self, peer: PeerId, now: Instant) -> Option<(Owner, Vec<TrackId>, bool)> {
        let owner = self.owners.remove(&peer)?;
        match &owner {
            Owner::Publisher(who, purpose) => {
                let publisher = self.publishers.remove(&(who.clone(), *purpose));
                Some((owner, publisher.map_or(Vec::new(), |p| p.tracks), false))
            }
            Owner::Subscriber(who) => {
                let subscriber = self.subscribers.remove(who);
                let reoffer = subscriber.is_some_and(|r| now >= r.opened + REOFFER_AFTER);
                Some((owner, Vec::new(), reoffer))
            }
            Owner::Player => {
                self.players.remove(&peer);
                Some((owner, Vec::new(), false))
            }
        }
    }

    /// Closes all connections of a participant and returns its tracks.
    pub fn drop_participant(&mut self, who: &str) -> Vec<TrackId> {
        self.close_subscriber(who);
        [Purpose::Camera, Purpose::Screen]
            .into_iter()
            .flat_map(|purpose| self.unpublish(who, purpose))
            .collect()
    }

    /// Closes all connections, players included.
    pub fn close_all(&mut self) {
        for (peer, _) in self.owners.drain() {
            self.plane.close(peer);
        }
    }

    pub fn is_idle(&self) -> bool {
        self.owners.is_empty()
    }

    fn close_subscriber(&mut self, who: &str) {
        if let Some(subscriber) = self.subscribers.remove(who) {
            self.owners.remove(&subscriber.peer);
            self.plane.close(subscriber.peer);
        }
    }

    fn number(&mut self, sdp: String, fresh: bool) -> Offer {
        self.last_offer += 1;
        Offer {
            number: self.last_offer,
            sdp,
            fresh,
        }
    }
}

impl Offer {
    fn message(&self) -> ServerMessage {
        ServerMessage::Offer {
            offer: self.number,
            fresh: self.fresh,
            sdp: self.sdp.clone(),
        }
    }
}

/// Returns the slots of the first offer: the wanted tracks and a few more, so that the next stage
/// change needs no new offer.
fn initial_slots(wants: &[Want]) -> Vec<tongke_plane::MediaKind> {
    let count = |kind| wants.iter().filter(|w| w.source.kind == kind).count();
    let audio = (count(MediaKind::Audio) + 1).max(3);
    let video = (count(MediaKind::Video) + 2).max(4);
    let slots = |kind, n| std::iter::repeat_n(kind, n);
    slots(tongke_plane::MediaKind::Audio, audio)
        .chain(slots(tongke_plane::MediaKind::Video, video))
        .collect()
}

/// Counts the accepted media sections of a kind. Port 0 rejects a section unless it is bundle-only
/// (RFC 8843 §7.2.1).
fn count_sections(sdp: &str, kind: &str) -> usize {
    let of_kind = sdp
        .split("\nm=")
        .skip(1)
        .filter_map(|section| section.strip_prefix(kind)?.strip_prefix(' '));
    of_kind
        .filter(|section| !section.starts_with("0 ") || section.contains("a=bundle-only"))
        .count()
}

fn to_wanted(wants: &[Want]) -> Vec<Wanted> {
    wants
        .iter()
        .map(|w| Wanted {
            track: w.track,
            priority: w.priority,
            max_height: w.max_height,
        })
        .collect()
}

/// Converts an assignment to protocol slots. A slot that keeps its source keeps its `flowing` flag.
fn updated_slots(assignment: &Assignment, wants: &[Want], before: &[Slot]) -> Vec<Slot> {
    let slot = |s: &tongke_plane::Slot| {
        let source: Option<TrackRef> = s
            .track
            .and_then(|track| wants.iter().find(|w| w.track == track))
            .map(|w| w.source.clone());
        let same = before
            .iter()
            .find(|old| old.mid == s.mid && old.source == source);
        Slot {
            mid: s.mid.clone(),
            kind: s.kind.into(),
            flowing: same.map_or(source.is_some(), |old| old.flowing),
            source,
        }
    };
    assignment.slots.iter().map(slot).collect()
}

impl From<tongke_plane::MediaKind> for MediaKind {
    fn from(kind: tongke_plane::MediaKind) -> MediaKind {
        match kind {
            tongke_plane::MediaKind::Audio => MediaKind::Audio,
            tongke_plane::MediaKind::Video => MediaKind::Video,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_is_counted_by_the_sections_it_offers() {
        let offer = "v=0\r\nm=audio 9 X\r\na=mid:0\r\nm=video 0 X\r\na=bundle-only\r\nm=video 0 X\r\na=mid:2\r\nm=audiobook 9\r\n";
        assert_eq!(
            (
                count_sections(offer, "audio"),
                count_sections(offer, "video")
            ),
            (1, 1)
        );
    }
}
