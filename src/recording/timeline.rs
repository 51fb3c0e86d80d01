//! Recorded timeline of a lesson.

use std::collections::HashSet;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::bus::{TimelineDeck, TimelineEntry, TimelineEvent};
use crate::db::{Db, DbError};
use crate::ids::{DeckId, LessonId};

/// Reads the timeline of a lesson, in order of time.
pub async fn read(db: &Db, lesson: LessonId) -> Result<Vec<TimelineEvent>, DbError> {
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT at_ms, kind, body FROM timeline_events WHERE lesson_id = $1 ORDER BY at_ms, number",
    )
    .bind(lesson)
    .fetch_all(db.pool())
    .await?;
    let total = rows.len();
    let event = |(at_ms, kind, body): (i64, String, String)| {
        let entry = TimelineEntry::from_columns(&kind, &body).ok()?;
        Some(TimelineEvent { at_ms, entry })
    };
    let events: Vec<TimelineEvent> = rows.into_iter().filter_map(event).collect();
    if events.len() < total {
        let skipped = total - events.len();
        tracing::warn!(lesson.id = %lesson, skipped, "unreadable timeline rows were skipped");
    }
    Ok(events)
}

/// Returns the number of the last event; 0 if there is none.
pub async fn last_number(db: &Db, lesson: LessonId) -> Result<i64, DbError> {
    let query =
        sqlx::query_as("SELECT COALESCE(MAX(number), 0) FROM timeline_events WHERE lesson_id = $1");
    query
        .bind(lesson)
        .fetch_one(db.pool())
        .await
        .map(|(number,): (i64,)| number)
}

/// Returns the participants on stage from each change on.
pub fn stage_changes(events: &[TimelineEvent]) -> Vec<(i64, HashSet<Uuid>)> {
    let changes = events.iter().filter_map(|event| {
        let (TimelineEntry::Started { on_stage, .. } | TimelineEntry::Stage { on_stage }) =
            &event.entry
        else {
            return None;
        };
        let ids = on_stage.iter().filter_map(|id| id.parse().ok());
        Some((event.at_ms, ids.collect()))
    });
    changes.collect()
}

/// Deck page and the time range in which it was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShownPage {
    pub from_ms: i64,
    /// Absent while the page is being shown.
    pub to_ms: Option<i64>,
    pub deck: DeckId,
    /// From 1.
    pub page: i64,
}

/// Returns the pages shown, except those replaced within the same millisecond.
pub fn shown_pages(events: &[TimelineEvent]) -> Vec<ShownPage> {
    let mut pages: Vec<ShownPage> = Vec::new();
    let mut deck = None;
    for event in events {
        let page = match &event.entry {
            TimelineEntry::Deck(TimelineDeck::Shown { deck: id, page, .. }) => {
                deck = id.parse().ok();
                Some(*page)
            }
            TimelineEntry::Page { page } => Some(*page),
            TimelineEntry::Deck(TimelineDeck::Hidden { .. }) | TimelineEntry::Ended {} => {
                deck = None;
                None
            }
            _ => continue,
        };
        if let Some(last) = pages.last_mut().filter(|last| last.to_ms.is_none()) {
            last.to_ms = Some(event.at_ms);
        }
        if let (Some(deck), Some(page)) = (deck, page) {
            pages.push(ShownPage {
                from_ms: event.at_ms,
                to_ms: None,
                deck,
                page: i64::from(page),
            });
        }
    }
    pages.retain(|page| page.to_ms.is_none_or(|to_ms| to_ms > page.from_ms));
    pages
}

/// Returns the table of contents: every page once, in the order first shown.
pub fn table_of_contents(shown: &[ShownPage]) -> Vec<(DeckId, i64)> {
    let mut seen = HashSet::new();
    shown
        .iter()
        .map(|page| (page.deck, page.page))
        .filter(|page| seen.insert(*page))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_deck(deck: DeckId, pages: u32) -> TimelineEntry {
        TimelineEntry::Deck(TimelineDeck::Shown {
            deck: deck.to_string(),
            page: 1,
            pages,
            title: "分数的意义".into(),
        })
    }

    #[test]
    fn each_page_is_shown_from_its_turn_to_the_next() {
        let [fractions, practice] = [DeckId::fresh(), DeckId::fresh()];
        let hand = TimelineEntry::Hand {
            id: "c1".into(),
            raised: true,
        };
        let started = TimelineEntry::Started {
            on_stage: Vec::new(),
            participants: Vec::new(),
        };
        let events = [
            (0, started),
            (5_000, shown_deck(fractions, 3)),
            (20_000, TimelineEntry::Page { page: 2 }),
            (21_000, hand),
            (25_000, TimelineEntry::Page { page: 3 }),
            (25_000, TimelineEntry::Page { page: 1 }),
            (
                30_000,
                TimelineEntry::Deck(TimelineDeck::Hidden { deck: () }),
            ),
            (40_000, shown_deck(practice, 1)),
            (60_000, TimelineEntry::Ended {}),
        ]
        .map(|(at_ms, entry)| TimelineEvent { at_ms, entry });
        let all = shown_pages(&events);
        let ranges: Vec<_> = all
            .iter()
            .map(|page| (page.from_ms, page.to_ms, page.deck, page.page))
            .collect();
        assert_eq!(
            ranges,
            [
                (5_000, Some(20_000), fractions, 1),
                (20_000, Some(25_000), fractions, 2),
                (25_000, Some(30_000), fractions, 1),
                (40_000, Some(60_000), practice, 1),
            ]
        );
        assert_eq!(
            table_of_contents(&all),
            [(fractions, 1), (fractions, 2), (practice, 1)]
        );
        assert_eq!(
            shown_pages(&events[..3]).last().map(|page| page.to_ms),
            Some(None),
            "a lesson that is on shows it still"
        );
    }
}
