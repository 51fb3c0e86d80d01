//! Handlers of commands, one function each.

use std::time::Instant;

use tokio::sync::oneshot;
use tongke_plane::Event;
use tongke_plane::ids::{PeerId, TrackId};

use super::outbox::encode;
use super::{Client, Command, LessonTask};
use crate::bus;
use crate::library;
use crate::live::error::RequestError;
use crate::live::lesson::{Conn, Identity, JoinOutcome, LessonError, Now};
use crate::live::media::Owner;
use crate::live::protocol::{
    ClientMessage, CloseReason, Envelope, MediaKind, ParticipantKind, Purpose, ServerMessage,
    ShownDeck,
};

impl LessonTask {
    pub(super) async fn join(
        &mut self,
        who: Identity,
        resume: Option<String>,
        client: Client,
        reply: oneshot::Sender<Result<Conn, RequestError>>,
        now: Now,
    ) {
        self.last_conn += 1;
        let conn = Conn(self.last_conn);
        let id = who.id.clone();
        let token = hex::encode(rand::random::<[u8; 16]>());
        let outcome = match self.lesson.join(who, conn, token, resume.as_deref(), now) {
            Ok(outcome) => outcome,
            Err(error) => return drop(reply.send(Err(error.into()))),
        };
        self.clients.insert(conn, client);
        if reply.send(Ok(conn)).is_err() {
            // The socket closed while its join waited in the queue.
            return self.disconnected(conn, now.instant);
        }
        self.perform_effects().await;
        let offered = match outcome {
            JoinOutcome::Fresh => self
                .media
                .open_subscriber(&self.lesson, &id, now.instant)
                .map(|offer| vec![offer]),
            JoinOutcome::Resumed => self.media.resume(&self.lesson, &id, now.instant),
        };
        match offered {
            Ok(messages) => messages
                .iter()
                .for_each(|message| self.send_to(conn, message)),
            Err(error) => self.reject(conn, 0, &error.into()),
        }
    }

    pub(super) fn disconnected(&mut self, conn: Conn, last_seen: Instant) {
        self.clients.remove(&conn);
        self.lesson.disconnected(conn, last_seen);
    }

    pub(super) fn revoke(&mut self, participant: &str) {
        if let Some(conn) = self.lesson.member(participant).and_then(|m| m.conn) {
            self.close_client(conn, CloseReason::Revoked);
        }
        self.lesson.leave(participant);
    }

    /// Handles a client's message. An error is returned with the message's `ref`.
    pub(super) fn client_message(&mut self, conn: Conn, envelope: Envelope, now: Now) {
        let Some(who) = self.lesson.by_conn(conn).map(|m| m.public.id.clone()) else {
            return;
        };
        let reference = envelope.reference;
        if let Err(error) = self.dispatch(conn, &who, envelope, now) {
            self.reject(conn, reference, &error);
        }
    }

    fn dispatch(
        &mut self,
        conn: Conn,
        who: &str,
        envelope: Envelope,
        now: Now,
    ) -> Result<(), RequestError> {
        match envelope.message {
            ClientMessage::Publish {
                purpose,
                sdp,
                restart,
            } => {
                let sdp = if restart {
                    self.media.republish(who, purpose, &sdp)?
                } else {
                    self.publish(who, purpose, &sdp)?
                };
                self.send_to(
                    conn,
                    &ServerMessage::Published {
                        reference: envelope.reference,
                        purpose,
                        sdp,
                    },
                );
            }
            ClientMessage::Unpublish { purpose } => self.unpublish(who, purpose),
            ClientMessage::Answer { offer, sdp } => self.media.answer(who, offer, &sdp)?,
            ClientMessage::RestartSubscriber => {
                let offer = self
                    .media
                    .restart_subscriber(&self.lesson, who, now.instant)?;
                self.subscriptions_stale = true;
                self.send_to(conn, &offer);
            }
            ClientMessage::View { tiles } => {
                self.lesson.view(who, tiles)?;
                self.subscriptions_stale = true;
            }
            ClientMessage::Mute { microphone, camera } => {
                self.lesson.mute(who, microphone, camera)?
            }
            ClientMessage::Hand { raised } => self.lesson.hand(who, raised, now)?,
            ClientMessage::CallOn { participant } => self.lesson.call_on(who, &participant)?,
            ClientMessage::SendBack { participant } => self.lesson.send_back(who, &participant)?,
            ClientMessage::MuteOther { participant } => {
                self.lesson.mute_other(who, &participant)?
            }
            ClientMessage::Chat { text } => self.lesson.send_chat(who, &text, now)?,
            ClientMessage::ShowDeck { deck, page } => {
                self.find_deck(conn, envelope.reference, &deck, page)?
            }
            ClientMessage::TurnPage { page } => self.lesson.turn_page(who, page)?,
            ClientMessage::HideDeck => self.lesson.hide_deck(who)?,
            ClientMessage::Start => self.lesson.start(who, now)?,
            ClientMessage::End => self.lesson.end(who, now)?,
            ClientMessage::Ping { at } => self.send_to(conn, &ServerMessage::Pong { at }),
        }
        Ok(())
    }

    /// Looks up a deck in a spawned task; the result returns as [`Command::DeckFound`].
    fn find_deck(
        &self,
        conn: Conn,
        reference: u32,
        deck: &str,
        page: u32,
    ) -> Result<(), RequestError> {
        let deck = deck.parse().map_err(|_| LessonError::NoSuchDeck)?;
        let (db, lesson, queue) = (
            self.context.db.clone(),
            self.context.id,
            self.context.queue.clone(),
        );
        tokio::spawn(async move {
            let found = library::deck(&db, lesson, deck).await.map_err(|error| {
                tracing::warn!(lesson.id = %lesson, %error, "a deck could not be looked up");
                RequestError::Busy
            });
            let shown = |deck: library::Deck| ShownDeck {
                id: deck.id.to_string(),
                title: deck.title,
                pages: deck.pages.try_into().unwrap_or(u32::MAX),
                page,
            };
            let found =
                found.and_then(|deck| deck.map(shown).ok_or(LessonError::NoSuchDeck.into()));
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
        found: Result<ShownDeck, RequestError>,
    ) {
        // The client may have disconnected meanwhile.
        let Some(who) = self.lesson.by_conn(conn).map(|m| m.public.id.clone()) else {
            return;
        };
        let shown = found.and_then(|deck| {
            self.lesson
                .show_deck(&who, deck)
                .map_err(RequestError::from)
        });
        if let Err(error) = shown {
            self.reject(conn, reference, &error);
        }
    }

    fn publish(&mut self, who: &str, purpose: Purpose, sdp: &str) -> Result<String, RequestError> {
        self.lesson.may_publish(who, purpose)?;
        self.unpublish(who, purpose);
        let (_, answer) = self.add_publisher(who, purpose, sdp)?;
        Ok(answer)
    }

    /// Publishes for a member and announces the tracks to lesson and recorder.
    fn add_publisher(
        &mut self,
        who: &str,
        purpose: Purpose,
        sdp: &str,
    ) -> Result<(PeerId, String), RequestError> {
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
                self.meters.add_track(track.id, who);
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
        self.remove_tracks(gone);
        self.lesson.set_tracks(who, purpose, &[]);
    }

    /// Publishes for a WHIP encoder. A second session with the same token replaces the first, so a
    /// crashed encoder can reconnect at once.
    pub(super) fn publish_whip(
        &mut self,
        who: Identity,
        sdp: &str,
    ) -> Result<(PeerId, String), RequestError> {
        let id = who.id.clone();
        let gone = self.media.drop_participant(&id);
        self.remove_tracks(gone);
        self.lesson.join_encoder(who)?;
        let added = self.add_publisher(&id, Purpose::Camera, sdp);
        if added.is_err() {
            self.lesson.leave(&id);
        }
        added
    }

    pub(super) fn play_whep(
        &mut self,
        name: String,
        sdp: &str,
    ) -> Result<(PeerId, String), RequestError> {
        if self.lesson.phase() == crate::live::protocol::Phase::Ended {
            return Err(LessonError::Ended.into());
        }
        let (peer, answer) = self.media.answer_player(sdp)?;
        self.lesson.add_player(peer, name);
        self.subscriptions_stale = true;
        Ok((peer, answer))
    }

    pub(super) fn plane_event(&mut self, event: Event, now: Now) {
        match event {
            Event::PeerClosed { peer, reason } => {
                tracing::debug!(lesson.id = %self.context.id, peer.id = %peer, ?reason, "a connection is gone");
                self.peer_closed(peer, now);
            }
            Event::AudioLevel { track, level_dbov } => self.meters.level(track, level_dbov),
            Event::SlotLayer {
                peer, mid, layer, ..
            } => {
                if let Some((who, slots)) = self.media.slot_layer(peer, &mid, layer.is_some()) {
                    self.send_to_participant(&who, &slots);
                }
            }
            Event::Link {
                peer,
                estimate,
                loss,
                rtt,
            } => {
                if let Some((who, publishing)) = self.owner_name(peer) {
                    self.meters
                        .record_link(who, publishing, estimate, loss, rtt);
                }
            }
            Event::PeerConnected { peer } => {
                tracing::debug!(lesson.id = %self.context.id, peer.id = %peer, "a connection is up");
            }
            Event::TrackLive { track } => {
                tracing::debug!(lesson.id = %self.context.id, %track, "a track flows")
            }
            Event::TrackSilent { track } => {
                tracing::debug!(lesson.id = %self.context.id, %track, "a track is silent")
            }
        }
    }

    fn peer_closed(&mut self, peer: PeerId, now: Now) {
        let Some((owner, gone, reoffer)) = self.media.closed(peer, now.instant) else {
            return;
        };
        self.remove_tracks(gone);
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
            Owner::Subscriber(who) => {
                let conn = self.lesson.member(&who).and_then(|m| m.conn);
                if let (Some(conn), true) = (conn, reoffer)
                    && let Ok(offer) = self.media.open_subscriber(&self.lesson, &who, now.instant)
                {
                    self.subscriptions_stale = true;
                    self.send_to(conn, &offer);
                }
            }
            Owner::Player => self.lesson.remove_player(peer),
        }
    }

    fn reject(&mut self, conn: Conn, reference: u32, error: &RequestError) {
        let Some(client) = self.clients.get(&conn) else {
            return;
        };
        metrics::counter!(crate::metrics::REFUSED_MESSAGES, "code" => error.code()).increment(1);
        let text = encode(&error.message(reference, client.language));
        self.enqueue(conn, text);
    }
}
