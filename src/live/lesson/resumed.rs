//! A lesson that goes on after its server died: what the timeline still knows of it.
//!
//! Who is here, what each publishes and whose hand is up come back with the pages. What was said, which page of which deck was shown and who was
//! on stage, no page brings along.

use std::time::Duration;

use super::{CHAT_KEPT, Conn, Lesson, Now, ParticipantId};
use crate::bus::{TimelineEvent, TimelineKind};
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
    let body = Some(&event.body).filter(|_| event.kind == TimelineKind::Chat)?;
    let text = |field: &str| body.get(field)?.as_str().map(str::to_owned);
    let at_ms = body.get("at_ms")?.as_u64()?;
    Some(ChatLine {
        participant: text("id")?,
        name: text("name")?,
        at_ms,
        text: text("text")?,
    })
}

/// The deck that was shown last, unless it was put away, on the page that it was turned to.
fn shown_deck(past: &[TimelineEvent]) -> Option<ShownDeck> {
    let laid_open = past
        .iter()
        .rfind(|event| event.kind == TimelineKind::Deck)?;
    let turned = past
        .iter()
        .rfind(|event| matches!(event.kind, TimelineKind::Deck | TimelineKind::Page))?;
    let number = |event: &TimelineEvent, field: &str| {
        event
            .body
            .get(field)?
            .as_u64()
            .and_then(|n| n.try_into().ok())
    };
    let body = &laid_open.body;
    Some(ShownDeck {
        id: body.get("deck")?.as_str()?.to_owned(),
        title: body.get("title")?.as_str()?.to_owned(),
        pages: number(laid_open, "pages")?,
        page: number(turned, "page")?,
    })
}

/// Who was on stage from this event on, if it says so.
fn on_stage(event: &TimelineEvent) -> Option<Vec<ParticipantId>> {
    let ids = event.body.get("on_stage")?.as_array()?;
    Some(
        ids.iter()
            .filter_map(|id| Some(id.as_str()?.to_owned()))
            .collect(),
    )
}
