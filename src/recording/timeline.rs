//! A lesson's timeline as it was recorded.

use std::collections::HashSet;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::bus::{TimelineEvent, TimelineKind};
use crate::db::{Db, DbError};
use crate::ids::{DeckId, LessonId};

/// All of a lesson, in order.
pub async fn read(db: &Db, lesson: LessonId) -> Result<Vec<TimelineEvent>, DbError> {
    let rows: Vec<(i64, TimelineKind, String)> = sqlx::query_as(
        "SELECT at_ms, kind, body FROM timeline_events WHERE lesson_id = $1 ORDER BY at_ms, number",
    )
    .bind(lesson)
    .fetch_all(db.pool())
    .await?;
    let event = |(at_ms, kind, body): (i64, TimelineKind, String)| TimelineEvent {
        at_ms,
        kind,
        body: serde_json::from_str(&body).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(event).collect())
}

/// The number of its last line; 0 without any.
pub async fn last_number(db: &Db, lesson: LessonId) -> Result<i64, DbError> {
    let query =
        sqlx::query_as("SELECT COALESCE(MAX(number), 0) FROM timeline_events WHERE lesson_id = $1");
    query
        .bind(lesson)
        .fetch_one(db.pool())
        .await
        .map(|(number,): (i64,)| number)
}

/// Who is on stage from when on.
pub fn stage(events: &[TimelineEvent]) -> Vec<(i64, HashSet<Uuid>)> {
    let changes = events.iter().filter_map(|event| {
        let on_stage = event.body.get("on_stage")?.as_array()?;
        Some((
            event.at_ms,
            on_stage
                .iter()
                .filter_map(|id| id.as_str()?.parse().ok())
                .collect(),
        ))
    });
    changes.collect()
}

/// A page of a deck, from its turn to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShownPage {
    pub from_ms: i64,
    /// Absent while it is shown, and where it was shown to the end.
    pub to_ms: Option<i64>,
    pub deck: DeckId,
    /// From 1.
    pub page: i64,
}

/// Which pages were shown when. A turn that another follows within the same millisecond was seen by nobody.
pub fn shown(events: &[TimelineEvent]) -> Vec<ShownPage> {
    let mut pages: Vec<ShownPage> = Vec::new();
    let mut deck = None;
    for event in events {
        match event.kind {
            TimelineKind::Deck => deck = event.body["deck"].as_str().and_then(|id| id.parse().ok()),
            TimelineKind::Page => {}
            TimelineKind::Ended => deck = None,
            _ => continue,
        }
        if let Some(last) = pages.last_mut().filter(|last| last.to_ms.is_none()) {
            last.to_ms = Some(event.at_ms);
        }
        if let (Some(deck), Some(page)) = (deck, event.body["page"].as_i64()) {
            pages.push(ShownPage {
                from_ms: event.at_ms,
                to_ms: None,
                deck,
                page,
            });
        }
    }
    pages.retain(|page| page.to_ms.is_none_or(|to_ms| to_ms > page.from_ms));
    pages
}

/// Every page once, in the order of being first shown: the lesson's contents.
pub fn contents(shown: &[ShownPage]) -> Vec<(DeckId, i64)> {
    let mut known = HashSet::new();
    shown
        .iter()
        .map(|page| (page.deck, page.page))
        .filter(|page| known.insert(*page))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(at_ms: i64, kind: TimelineKind, body: Value) -> TimelineEvent {
        TimelineEvent { at_ms, kind, body }
    }

    #[test]
    fn each_page_is_shown_from_its_turn_to_the_next() {
        let [fractions, practice] = [DeckId::fresh(), DeckId::fresh()];
        let events = [
            event(0, TimelineKind::Started, json!({})),
            event(
                5_000,
                TimelineKind::Deck,
                json!({ "deck": fractions, "pages": 3, "page": 1 }),
            ),
            event(20_000, TimelineKind::Page, json!({ "page": 2 })),
            event(21_000, TimelineKind::Chat, json!({ "text": "好" })),
            event(25_000, TimelineKind::Page, json!({ "page": 3 })),
            event(25_000, TimelineKind::Page, json!({ "page": 1 })),
            event(30_000, TimelineKind::Deck, json!({ "deck": null })),
            event(
                40_000,
                TimelineKind::Deck,
                json!({ "deck": practice, "pages": 1, "page": 1 }),
            ),
            event(60_000, TimelineKind::Ended, json!({})),
        ];
        let all = shown(&events);
        let told: Vec<_> = all
            .iter()
            .map(|page| (page.from_ms, page.to_ms, page.deck, page.page))
            .collect();
        assert_eq!(
            told,
            [
                (5_000, Some(20_000), fractions, 1),
                (20_000, Some(25_000), fractions, 2),
                (25_000, Some(30_000), fractions, 1),
                (40_000, Some(60_000), practice, 1),
            ]
        );
        assert_eq!(
            contents(&all),
            [(fractions, 1), (fractions, 2), (practice, 1)]
        );
        assert_eq!(
            shown(&events[..3]).last().map(|page| page.to_ms),
            Some(None),
            "a lesson that is on shows it still"
        );
    }
}
