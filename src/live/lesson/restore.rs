//! Restoration of a live lesson from its timeline after a server crash.
//!
//! Clients restore presence, tracks and hands themselves; chat, deck position and stage are
//! restored from the timeline.

use std::time::Duration;

use super::{CHAT_CAPACITY, Conn, Lesson, Now, ParticipantId};
use crate::bus::{TimelineDeck, TimelineEntry, TimelineEvent};
use crate::live::protocol::{ChatMessage, Role, ShownDeck};

/// Stage places stay reserved this long after a restart: clients reconnect every five seconds, and
/// a school's link may have failed together with the server.
const STAGE_RESERVATION: Duration = Duration::from_secs(60);

impl Lesson {
    /// Restores the state from the timeline. The stage stays empty until its participants rejoin.
    pub fn restore(&mut self, past: &[TimelineEvent], now: Now) {
        self.chat.extend(past.iter().filter_map(chat_message));
        self.chat
            .drain(..self.chat.len().saturating_sub(CHAT_CAPACITY));
        self.deck = shown_deck(past);
        let on_stage = past.iter().rev().find_map(on_stage).unwrap_or_default();
        if !on_stage.is_empty() {
            self.stage_reservations = Some((on_stage, now.instant + STAGE_RESERVATION));
            self.announce_stage(None);
        }
    }

    /// Puts a rejoining participant back on stage if its place is reserved. Its own client learns
    /// this from its welcome.
    pub(super) fn restore_stage_place(&mut self, id: &str, role: Role, conn: Option<Conn>) {
        let Some((stage_reservations, _)) = &mut self.stage_reservations else {
            return;
        };
        let Some(place) = stage_reservations
            .iter()
            .position(|stage_reservations| stage_reservations == id)
        else {
            return;
        };
        stage_reservations.remove(place);
        if matches!(role, Role::Listening | Role::Assistant)
            && self.on_stage.len() < self.limits.stage
        {
            self.on_stage.push(id.to_owned());
            self.announce_stage(conn);
        }
    }
}

fn chat_message(event: &TimelineEvent) -> Option<ChatMessage> {
    let TimelineEntry::Chat(chat) = &event.entry else {
        return None;
    };
    Some(ChatMessage {
        participant: chat.id.clone(),
        name: chat.name.clone(),
        at_ms: chat.at_ms?,
        text: chat.text.clone(),
    })
}

/// Returns the deck that was shown last, on the page that it was turned to, unless it was hidden.
fn shown_deck(past: &[TimelineEvent]) -> Option<ShownDeck> {
    let mut shown: Option<ShownDeck> = None;
    for event in past {
        match &event.entry {
            TimelineEntry::Deck(TimelineDeck::Shown {
                deck,
                page,
                pages,
                title,
            }) => {
                shown = Some(ShownDeck {
                    id: deck.clone(),
                    title: title.clone(),
                    pages: *pages,
                    page: *page,
                });
            }
            TimelineEntry::Deck(TimelineDeck::Hidden { .. }) => shown = None,
            TimelineEntry::Page { page } => {
                if let Some(deck) = &mut shown {
                    deck.page = *page;
                }
            }
            _ => {}
        }
    }
    shown
}

/// Returns the participants on stage as of this event, if the event states them.
fn on_stage(event: &TimelineEvent) -> Option<Vec<ParticipantId>> {
    match &event.entry {
        TimelineEntry::Started { on_stage, .. } | TimelineEntry::Stage { on_stage } => {
            Some(on_stage.clone())
        }
        _ => None,
    }
}
