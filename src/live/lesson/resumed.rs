//! A lesson that goes on after its server died: what the timeline still knows of it.
//!
//! Who is here, what each publishes and whose hand is up come back with the pages. What was said, which page of which deck was shown and who was
//! on stage, no page brings along.

use std::time::Duration;

use super::{CHAT_KEPT, Conn, Lesson, Now, ParticipantId};
use crate::bus::{TimelineDeck, TimelineEntry, TimelineEvent};
use crate::live::protocol::{ChatLine, Role, ShownDeck};

/// A place on the stage is kept for this long: pages knock every five seconds, and a school's line may have gone down with the server's.
const KEPT: Duration = Duration::from_secs(60);

impl Lesson {
    /// Takes up what the timeline holds. The stage is empty until those who stood on it come back.
    pub fn take_up(&mut self, past: &[TimelineEvent], now: Now) {
        self.chat.extend(past.iter().filter_map(chat_line));
        self.chat.drain(..self.chat.len().saturating_sub(CHAT_KEPT));
        self.deck = shown_deck(past);
        let on_stage = past.iter().rev().find_map(on_stage).unwrap_or_default();
        if !on_stage.is_empty() {
            self.awaited = Some((on_stage, now.instant + KEPT));
            self.announce_stage(None);
        }
    }

    /// One who came back stands on the stage again, if it stood there. Its own page learns it from its welcome.
    pub(super) fn back_on_stage(&mut self, id: &str, role: Role, conn: Option<Conn>) {
        let Some((awaited, _)) = &mut self.awaited else {
            return;
        };
        let Some(place) = awaited.iter().position(|awaited| awaited == id) else {
            return;
        };
        awaited.remove(place);
        if matches!(role, Role::Listening | Role::Assistant)
            && self.on_stage.len() < self.limits.stage
        {
            self.on_stage.push(id.to_owned());
            self.announce_stage(conn);
        }
    }
}

fn chat_line(event: &TimelineEvent) -> Option<ChatLine> {
    let TimelineEntry::Chat(chat) = &event.entry else {
        return None;
    };
    Some(ChatLine {
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
