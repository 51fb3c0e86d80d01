//! What pages, encoders, players and the plane bring to a lesson, one function each.

use std::time::Instant;

use tokio::sync::oneshot;
use tongke_plane::Event;
use tongke_plane::ids::{PeerId, TrackId};

use super::telling::encode;
use super::{Command, Host, Page};
use crate::bus;
use crate::library;
use crate::live::lesson::{Conn, Entry, Identity, Now, Refusal};
use crate::live::media::Owner;
use crate::live::protocol::{
    ByeReason, Envelope, FromPage, MediaKind, ParticipantKind, Purpose, ShownDeck, ToPage,
};
use crate::live::refused::Refused;

impl Host {
    pub(super) async fn join(
        &mut self,
        who: Identity,
        resume: Option<String>,
        page: Page,
        reply: oneshot::Sender<Result<Conn, Refused>>,
        now: Now,
    ) {
        self.last_conn += 1;
        let conn = Conn(self.last_conn);
        let id = who.id.clone();
        let token = hex::encode(rand::random::<[u8; 16]>());
        let entry = match self.lesson.join(who, conn, token, resume.as_deref(), now) {
            Ok(entry) => entry,
            Err(refusal) => return drop(reply.send(Err(refusal.into()))),
        };
        self.pages.insert(conn, page);
        if reply.send(Ok(conn)).is_err() {
            // The socket closed while it waited.
            return self.lost(conn, now.instant);
        }
        self.perform_effects().await;
        let offered = match entry {
            Entry::Fresh => self
                .media
                .open_receiver(&self.lesson, &id, now.instant)
                .map(|offer| vec![offer]),
            Entry::Resumed => self.media.resume(&self.lesson, &id, now.instant),
        };
        match offered {
            Ok(messages) => messages.iter().for_each(|message| self.tell(conn, message)),
            Err(error) => self.refuse(conn, 0, &error.into()),
        }
    }

    pub(super) fn lost(&mut self, conn: Conn, heard: Instant) {
        self.pages.remove(&conn);
        self.lesson.lost(conn, heard);
    }

    pub(super) fn revoke(&mut self, participant: &str) {
        if let Some(conn) = self.lesson.member(participant).and_then(|m| m.conn) {
            self.dismiss(conn, ByeReason::Revoked);
        }
        self.lesson.leave(participant);
    }

    /// A page's message. A refusal goes back with the message's number; the lesson goes on.
    pub(super) fn said(&mut self, conn: Conn, envelope: Envelope, now: Now) {
        let Some(who) = self.lesson.by_conn(conn).map(|m| m.public.id.clone()) else {
            return;
        };
        let reference = envelope.reference;
        if let Err(refused) = self.obey(conn, &who, envelope, now) {
            self.refuse(conn, reference, &refused);
        }
    }

    fn obey(&mut self, conn: Conn, who: &str, envelope: Envelope, now: Now) -> Result<(), Refused> {
        match envelope.message {
            FromPage::Publish {
                purpose,
                sdp,
                restart,
            } => {
                let sdp = if restart {
                    self.media.republish(who, purpose, &sdp)?
                } else {
                    self.publish(who, purpose, &sdp)?
                };
                self.tell(
                    conn,
                    &ToPage::Published {
                        reference: envelope.reference,
                        purpose,
                        sdp,
                    },
                );
            }
            FromPage::Unpublish { purpose } => self.unpublish(who, purpose),
            FromPage::Answer { offer, sdp } => self.media.answer(who, offer, &sdp)?,
            FromPage::RestartSubscriber => {
                let offer = self
                    .media
                    .restart_receiver(&self.lesson, who, now.instant)?;
                self.stale = true;
                self.tell(conn, &offer);
            }
            FromPage::View { tiles } => {
                self.lesson.view(who, tiles)?;
                self.stale = true;
            }
            FromPage::Mute { microphone, camera } => self.lesson.mute(who, microphone, camera)?,
            FromPage::Hand { raised } => self.lesson.hand(who, raised, now)?,
            FromPage::CallOn { participant } => self.lesson.call_on(who, &participant)?,
            FromPage::SendBack { participant } => self.lesson.send_back(who, &participant)?,
            FromPage::MuteOther { participant } => self.lesson.mute_other(who, &participant)?,
            FromPage::Chat { text } => self.lesson.say(who, &text, now)?,
            FromPage::ShowDeck { deck, page } => {
                self.find_deck(conn, envelope.reference, &deck, page)?
            }
            FromPage::TurnPage { page } => self.lesson.turn_page(who, page)?,
            FromPage::HideDeck => self.lesson.hide_deck(who)?,
            FromPage::Start => self.lesson.start(who, now)?,
            FromPage::End => self.lesson.end(who, now)?,
            FromPage::Ping { at } => self.tell(conn, &ToPage::Pong { at }),
        }
        Ok(())
    }

    /// The database is asked beside the lesson; the answer comes by its queue.
    fn find_deck(&self, conn: Conn, reference: u32, deck: &str, page: u32) -> Result<(), Refused> {
        let deck = deck.parse().map_err(|_| Refusal::NoSuchDeck)?;
        let (db, lesson, queue) = (
            self.around.db.clone(),
            self.around.id,
            self.around.queue.clone(),
        );
        tokio::spawn(async move {
            let found = library::deck(&db, lesson, deck).await.map_err(|error| {
                tracing::warn!(lesson.id = %lesson, %error, "a deck could not be looked up");
                Refused::Busy
            });
            let shown = |deck: library::Deck| ShownDeck {
                id: deck.id.to_string(),
                title: deck.title,
                pages: deck.pages.try_into().unwrap_or(u32::MAX),
                page,
            };
            let found = found.and_then(|deck| deck.map(shown).ok_or(Refusal::NoSuchDeck.into()));
            if let Some(queue) = queue.upgrade() {
                let _ = queue
                    .send(Command::DeckFound {
                        conn,
                        reference,
                        found,
                    })
                    .await;
            }
        });
        Ok(())
    }

    pub(super) fn deck_found(
        &mut self,
        conn: Conn,
        reference: u32,
        found: Result<ShownDeck, Refused>,
    ) {
        // The page may have gone meanwhile.
        let Some(who) = self.lesson.by_conn(conn).map(|m| m.public.id.clone()) else {
            return;
        };
        let shown = found.and_then(|deck| self.lesson.show_deck(&who, deck).map_err(Refused::from));
        if let Err(refused) = shown {
            self.refuse(conn, reference, &refused);
        }
    }

    fn publish(&mut self, who: &str, purpose: Purpose, sdp: &str) -> Result<String, Refused> {
        self.lesson.may_publish(who, purpose)?;
        self.unpublish(who, purpose);
        let (_, answer) = self.take_in(who, purpose, sdp)?;
        Ok(answer)
    }

    /// Publishes for a member, and tells lesson and recorder of its tracks.
    fn take_in(
        &mut self,
        who: &str,
        purpose: Purpose,
        sdp: &str,
    ) -> Result<(PeerId, String), Refused> {
        let (peer, answer, tracks) = self.media.publish(who, purpose, sdp)?;
        let recorded_as = match (self.lesson.member(who).map(|m| m.public.kind), purpose) {
            (Some(ParticipantKind::Encoder), _) => bus::Purpose::Whip,
            (_, Purpose::Camera) => bus::Purpose::Camera,
            (_, Purpose::Screen) => bus::Purpose::Screen,
        };
        let sources: Vec<(MediaKind, TrackId)> =
            tracks.iter().map(|t| (t.kind.into(), t.id)).collect();
        self.lesson.set_tracks(who, purpose, &sources);
        for track in tracks {
            if track.kind == tongke_plane::MediaKind::Audio {
                self.meters.listen(track.id, who);
            }
            if self.lesson.phase() == crate::live::protocol::Phase::Live {
                self.publish_track(&track, who, recorded_as);
            }
            self.published
                .insert(track.id, (track, who.to_owned(), recorded_as));
        }
        Ok((peer, answer))
    }

    fn unpublish(&mut self, who: &str, purpose: Purpose) {
        let gone = self.media.unpublish(who, purpose);
        self.tracks_gone(gone);
        self.lesson.set_tracks(who, purpose, &[]);
    }

    /// A foreign encoder. The same token again replaces its earlier connection: an encoder that crashed comes back at once.
    pub(super) fn encode(&mut self, who: Identity, sdp: &str) -> Result<(PeerId, String), Refused> {
        let id = who.id.clone();
        let gone = self.media.drop_participant(&id);
        self.tracks_gone(gone);
        self.lesson.join_encoder(who)?;
        let taken_in = self.take_in(&id, Purpose::Camera, sdp);
        if taken_in.is_err() {
            self.lesson.leave(&id);
        }
        taken_in
    }

    pub(super) fn play(&mut self, name: String, sdp: &str) -> Result<(PeerId, String), Refused> {
        if self.lesson.phase() == crate::live::protocol::Phase::Ended {
            return Err(Refusal::Ended.into());
        }
        let (peer, answer) = self.media.answer_player(sdp)?;
        self.lesson.add_player(peer, name);
        self.stale = true;
        Ok((peer, answer))
    }

    pub(super) fn plane_event(&mut self, event: Event, now: Now) {
        match event {
            Event::PeerClosed { peer, reason } => {
                tracing::debug!(lesson.id = %self.around.id, peer.id = %peer, ?reason, "a connection is gone");
                self.peer_closed(peer, now);
            }
            Event::AudioLevel { track, level_dbov } => self.meters.level(track, level_dbov),
            Event::SlotLayer {
                peer, mid, layer, ..
            } => {
                if let Some((who, slots)) = self.media.slot_layer(peer, &mid, layer.is_some()) {
                    self.tell_participant(&who, &slots);
                }
            }
            Event::Link {
                peer,
                estimate,
                loss,
                rtt,
            } => {
                if let Some((who, publishing)) = self.owner_name(peer) {
                    self.meters.line(who, publishing, estimate, loss, rtt);
                }
            }
            Event::PeerConnected { peer } => {
                tracing::debug!(lesson.id = %self.around.id, peer.id = %peer, "a connection is up");
            }
            Event::TrackLive { track } => {
                tracing::debug!(lesson.id = %self.around.id, %track, "a track flows")
            }
            Event::TrackSilent { track } => {
                tracing::debug!(lesson.id = %self.around.id, %track, "a track is silent")
            }
        }
    }

    fn peer_closed(&mut self, peer: PeerId, now: Now) {
        let Some((owner, gone, again)) = self.media.closed(peer, now.instant) else {
            return;
        };
        self.tracks_gone(gone);
        match owner {
            Owner::Publisher(who, purpose) => {
                self.lesson.set_tracks(&who, purpose, &[]);
                if self
                    .lesson
                    .member(&who)
                    .is_some_and(|m| m.public.kind == ParticipantKind::Encoder)
                {
                    self.lesson.leave(&who);
                }
            }
            Owner::Receiver(who) => {
                let conn = self.lesson.member(&who).and_then(|m| m.conn);
                if let (Some(conn), true) = (conn, again)
                    && let Ok(offer) = self.media.open_receiver(&self.lesson, &who, now.instant)
                {
                    self.stale = true;
                    self.tell(conn, &offer);
                }
            }
            Owner::Player => self.lesson.remove_player(peer),
        }
    }

    fn refuse(&mut self, conn: Conn, reference: u32, refused: &Refused) {
        let Some(page) = self.pages.get(&conn) else {
            return;
        };
        metrics::counter!(crate::metrics::REFUSED_MESSAGES, "code" => refused.code()).increment(1);
        let text = encode(&refused.message(reference, page.language));
        self.send(conn, text);
    }
}
