//! A lesson's media connections: the only file of this feature that asks the plane for anything within a lesson.
//!
//! It keeps which connection belongs to whom and what each receiver is sent, and speaks in participants and purposes to the host.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tongke_plane::ids::{LessonId, PeerId, TrackId};
use tongke_plane::{Assignment, Plane, PlaneError, PublishOptions, Track, Wanted};

use super::lesson::{Lesson, Member};
use super::policy::{self, Want};
use super::protocol::{MediaKind, ParticipantId, Purpose, Slot, Source, ToPage};
use super::routes::Routes;

/// A receiver that is closed sooner than this after it was offered is not offered again by itself: its page asks when it can.
const REOFFER_AFTER: Duration = Duration::from_secs(2);

/// Whose connection a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Publisher(ParticipantId, Purpose),
    Receiver(ParticipantId),
    Player,
}

pub struct Media {
    plane: Plane,
    lesson: LessonId,
    routes: Routes,
    owners: HashMap<PeerId, Owner>,
    publishers: HashMap<(ParticipantId, Purpose), Publisher>,
    receivers: HashMap<ParticipantId, Receiver>,
    players: HashMap<PeerId, Player>,
    /// Numbers every offer of the lesson, so that an answer to an older connection's offer never fits a newer one.
    last_offer: u32,
}

struct Publisher {
    peer: PeerId,
    tracks: Vec<TrackId>,
}

struct Receiver {
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
    pub fn new(plane: Plane, lesson: LessonId, routes: Routes) -> Media {
        Media {
            plane,
            lesson,
            routes,
            owners: HashMap::new(),
            publishers: HashMap::new(),
            receivers: HashMap::new(),
            players: HashMap::new(),
            last_offer: 0,
        }
    }

    /// Takes a publisher's offer: its connection, our answer, and its first track of each kind. Close the old one first.
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
        // No peer has the number 0: the page is told that its connection is gone, and makes another.
        let peer = publisher.map_or(PeerId(0), |p| p.peer);
        self.plane.republish(peer, sdp)
    }

    /// Ends a publisher; its tracks that are gone with it.
    pub fn unpublish(&mut self, who: &str, purpose: Purpose) -> Vec<TrackId> {
        let Some(publisher) = self.publishers.remove(&(who.to_owned(), purpose)) else {
            return Vec::new();
        };
        self.owners.remove(&publisher.peer);
        self.plane.close(publisher.peer);
        publisher.tracks
    }

    /// Begins a receiver for a page that has none yet, and gives the offer for it.
    pub fn open_receiver(
        &mut self,
        lesson: &Lesson,
        who: &str,
        now: Instant,
    ) -> Result<ToPage, PlaneError> {
        self.close_receiver(who);
        let Some(member) = lesson.member(who) else {
            return Err(PlaneError::NoPeer(PeerId(0)));
        };
        let wants = policy::wanted(lesson, member);
        let (peer, sdp) = self
            .plane
            .offer_subscriber(self.lesson, &first_slots(&wants))?;
        self.routes.add(peer, &[]);
        self.owners.insert(peer, Owner::Receiver(who.to_owned()));
        let offer = self.number(sdp, true);
        let message = offer.message();
        let receiver = Receiver {
            peer,
            offer,
            unanswered: true,
            wants: Vec::new(),
            slots: Vec::new(),
            opened: now,
        };
        self.receivers.insert(who.to_owned(), receiver);
        Ok(message)
    }

    /// Takes a page's answer. An answer to anything but the newest offer has been overtaken by it, and is left unread.
    pub fn answer(&mut self, who: &str, number: u32, sdp: &str) -> Result<(), PlaneError> {
        let Some(receiver) = self
            .receivers
            .get_mut(who)
            .filter(|r| r.offer.number == number && r.unanswered)
        else {
            return Ok(());
        };
        self.plane.accept_answer(receiver.peer, sdp)?;
        receiver.unanswered = false;
        Ok(())
    }

    /// What a page that resumed must be told again: an offer whose answer may have been lost, and its slots.
    pub fn resume(
        &mut self,
        lesson: &Lesson,
        who: &str,
        now: Instant,
    ) -> Result<Vec<ToPage>, PlaneError> {
        match self.receivers.get(who) {
            None => Ok(vec![self.open_receiver(lesson, who, now)?]),
            Some(r) => {
                let offer = r.unanswered.then(|| r.offer.message());
                Ok(offer
                    .into_iter()
                    .chain([ToPage::Slots {
                        slots: r.slots.clone(),
                    }])
                    .collect())
            }
        }
    }

    /// A fresh path for a receiver whose page says that its connection failed.
    pub fn restart_receiver(
        &mut self,
        lesson: &Lesson,
        who: &str,
        now: Instant,
    ) -> Result<ToPage, PlaneError> {
        let restarted = match self.receivers.get(who) {
            // A connection that was never answered has nothing to restart.
            Some(r) if !(r.unanswered && r.offer.fresh) => {
                self.plane.restart_subscriber(r.peer).ok()
            }
            _ => None,
        };
        let Some(sdp) = restarted else {
            return self.open_receiver(lesson, who, now);
        };
        let offer = self.number(sdp, false);
        let message = offer.message();
        let receiver = self
            .receivers
            .get_mut(who)
            .expect("it was there a moment ago");
        (receiver.offer, receiver.unanswered) = (offer, true);
        Ok(message)
    }

    /// Takes in a WHEP player. `audio` and `video` are the m-lines it offered to take.
    pub fn answer_player(&mut self, sdp: &str) -> Result<(PeerId, String), PlaneError> {
        let (peer, answer) = self.plane.answer_subscriber(self.lesson, sdp)?;
        self.routes.add(peer, &[]);
        self.owners.insert(peer, Owner::Player);
        let (audio, video) = (sections(sdp, "audio"), sections(sdp, "video"));
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

    /// Brings everybody's subscriptions to what the policy says now. What pages must be told; whether all could be done.
    pub fn refresh(&mut self, lesson: &Lesson) -> (Vec<(ParticipantId, ToPage)>, bool) {
        let mut messages = Vec::new();
        let mut all_done = true;
        for member in lesson.members() {
            match self.refresh_receiver(lesson, member) {
                Ok(news) => {
                    messages.extend(news.into_iter().map(|m| (member.public.id.clone(), m)))
                }
                Err(_) => all_done = false,
            }
        }
        for (peer, player) in &mut self.players {
            let wants = policy::wanted_by_player(lesson, player.audio, player.video);
            if wants != player.wants {
                match self.plane.subscribe(*peer, &planned(&wants)) {
                    Ok(_) => player.wants = wants,
                    Err(_) => all_done = false,
                }
            }
        }
        (messages, all_done)
    }

    fn refresh_receiver(
        &mut self,
        lesson: &Lesson,
        member: &Member,
    ) -> Result<Vec<ToPage>, PlaneError> {
        let Some(receiver) = self.receivers.get_mut(&member.public.id) else {
            return Ok(Vec::new());
        };
        let wants = policy::wanted(lesson, member);
        if receiver.wants == wants {
            return Ok(Vec::new());
        }
        let assignment = self.plane.subscribe(receiver.peer, &planned(&wants))?;
        let slots = shown(&assignment, &wants, &receiver.slots);
        let mut news = Vec::new();
        if slots != receiver.slots {
            news.push(ToPage::Slots {
                slots: slots.clone(),
            });
        }
        (receiver.wants, receiver.slots) = (wants, slots);
        if let Some(sdp) = assignment.offer {
            // A page that has not answered the first offer of this connection yet still has to make it.
            let fresh = receiver.unanswered && receiver.offer.fresh;
            let offer = Offer {
                number: self.last_offer + 1,
                sdp,
                fresh,
            };
            self.last_offer += 1;
            news.insert(0, offer.message());
            (receiver.offer, receiver.unanswered) = (offer, true);
        }
        Ok(news)
    }

    /// A slot's picture began to flow or was paused. The page's new slots, if that is news.
    pub fn slot_layer(
        &mut self,
        peer: PeerId,
        mid: &str,
        flowing: bool,
    ) -> Option<(ParticipantId, ToPage)> {
        let Some(Owner::Receiver(who)) = self.owners.get(&peer) else {
            return None;
        };
        let receiver = self.receivers.get_mut(who)?;
        let slot = receiver
            .slots
            .iter_mut()
            .find(|s| s.mid == mid && s.source.is_some())?;
        if slot.flowing == flowing {
            return None;
        }
        slot.flowing = flowing;
        Some((
            who.clone(),
            ToPage::Slots {
                slots: receiver.slots.clone(),
            },
        ))
    }

    pub fn owner(&self, peer: PeerId) -> Option<&Owner> {
        self.owners.get(&peer)
    }

    /// A peer is gone: whose it was, the tracks gone with it, and whether its page should be offered another at once.
    pub fn closed(&mut self, peer: PeerId, now: Instant) -> Option<(Owner, Vec<TrackId>, bool)> {
        let owner = self.owners.remove(&peer)?;
        match &owner {
            Owner::Publisher(who, purpose) => {
                let publisher = self.publishers.remove(&(who.clone(), *purpose));
                Some((owner, publisher.map_or(Vec::new(), |p| p.tracks), false))
            }
            Owner::Receiver(who) => {
                let receiver = self.receivers.remove(who);
                let again = receiver.is_some_and(|r| now >= r.opened + REOFFER_AFTER);
                Some((owner, Vec::new(), again))
            }
            Owner::Player => {
                self.players.remove(&peer);
                Some((owner, Vec::new(), false))
            }
        }
    }

    /// Ends all connections of a participant; its tracks that are gone.
    pub fn drop_participant(&mut self, who: &str) -> Vec<TrackId> {
        self.close_receiver(who);
        [Purpose::Camera, Purpose::Screen]
            .into_iter()
            .flat_map(|purpose| self.unpublish(who, purpose))
            .collect()
    }

    /// Ends everything, players included.
    pub fn close_all(&mut self) {
        for (peer, _) in self.owners.drain() {
            self.plane.close(peer);
        }
    }

    pub fn is_idle(&self) -> bool {
        self.owners.is_empty()
    }

    fn close_receiver(&mut self, who: &str) {
        if let Some(receiver) = self.receivers.remove(who) {
            self.owners.remove(&receiver.peer);
            self.plane.close(receiver.peer);
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
    fn message(&self) -> ToPage {
        ToPage::Offer {
            offer: self.number,
            fresh: self.fresh,
            sdp: self.sdp.clone(),
        }
    }
}

/// Slots of the first offer: what is wanted now and a little more, so that the next to go on stage needs no new offer.
fn first_slots(wants: &[Want]) -> Vec<tongke_plane::MediaKind> {
    let count = |kind| wants.iter().filter(|w| w.source.kind == kind).count();
    let audio = (count(MediaKind::Audio) + 1).max(3);
    let video = (count(MediaKind::Video) + 2).max(4);
    let slots = |kind, n| std::iter::repeat_n(kind, n);
    slots(tongke_plane::MediaKind::Audio, audio)
        .chain(slots(tongke_plane::MediaKind::Video, video))
        .collect()
}

/// Media sections of a kind that an offer has. A port of 0 rejects one, unless it is bundled only (RFC 8843 §7.2.1).
fn sections(sdp: &str, kind: &str) -> usize {
    let of_kind = sdp
        .split("\nm=")
        .skip(1)
        .filter_map(|section| section.strip_prefix(kind)?.strip_prefix(' '));
    of_kind
        .filter(|section| !section.starts_with("0 ") || section.contains("a=bundle-only"))
        .count()
}

fn planned(wants: &[Want]) -> Vec<Wanted> {
    wants
        .iter()
        .map(|w| Wanted {
            track: w.track,
            priority: w.importance.into(),
            max_height: w.max_height,
        })
        .collect()
}

/// The assignment in the page's words. A slot that goes on showing its source keeps whether it flows.
fn shown(assignment: &Assignment, wants: &[Want], before: &[Slot]) -> Vec<Slot> {
    let slot = |s: &tongke_plane::Slot| {
        let source: Option<Source> = s
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_is_counted_by_the_sections_it_offers() {
        let offer = "v=0\r\nm=audio 9 X\r\na=mid:0\r\nm=video 0 X\r\na=bundle-only\r\nm=video 0 X\r\na=mid:2\r\nm=audiobook 9\r\n";
        assert_eq!((sections(offer, "audio"), sections(offer, "video")), (1, 1));
    }
}
