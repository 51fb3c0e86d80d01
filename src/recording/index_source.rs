//! Search documents of recorded lessons: participants, and the text of every page that was shown,
//! in the order of the table of contents.

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::timeline;
use crate::db::{Db, millis};
use crate::error::Result;
use crate::identity::{Role, with_role};
use crate::ids::LessonId;
use crate::index_queue::Source;
use crate::library;
use crate::timetable::{self, LessonSummary};
use tongke_search::{AclGroup, Document, Facet};

/// Source of recorded lessons for the search index.
pub struct RecordingSource(pub Db);

impl Source for RecordingSource {
    fn document(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>>> {
        Box::pin(async move {
            let Some(lesson) = timetable::recorded_lesson(&self.0, LessonId(id)).await? else {
                return Ok(None);
            };
            let pages = page_texts(&self.0, lesson.id).await?;
            Ok(Some(Document {
                pages,
                ..document(lesson)
            }))
        })
    }

    fn ids(&self, after: Option<Uuid>, most: u32) -> BoxFuture<'_, Result<Vec<Uuid>>> {
        Box::pin(async move {
            let ids = timetable::recorded_ids_after(&self.0, after.map(LessonId), most).await?;
            Ok(ids.into_iter().map(|id| id.0).collect())
        })
    }
}

/// Texts of the pages in the table of contents. A deleted page is an empty text, because a hit on
/// the n-th text leads to the n-th entry.
async fn page_texts(db: &Db, lesson: LessonId) -> Result<Vec<String>> {
    let shown = timeline::shown_pages(&timeline::read(db, lesson).await?);
    let mut texts = Vec::new();
    for (deck, page) in timeline::table_of_contents(&shown) {
        texts.push(
            library::page_text(db, lesson, deck, page)
                .await?
                .unwrap_or_default(),
        );
    }
    Ok(texts)
}

/// Document visible to the participants and to those who may watch all lessons, as decided by
/// [`timetable::role_in`].
fn document(lesson: LessonSummary) -> Document {
    let assistants = lesson.assistants.iter().map(|assistant| assistant.id.0);
    let classrooms = lesson.classrooms.iter().map(|classroom| classroom.id.0);
    let participants = std::iter::once(lesson.lead.id.0)
        .chain(assistants)
        .chain(classrooms);
    let mut acl: Vec<AclGroup> = participants.map(AclGroup::Individual).collect();
    acl.extend([Role::Administrator, Role::Observer].map(with_role));
    let rooms = lesson
        .classrooms
        .iter()
        .flat_map(|classroom| [classroom.school.clone(), classroom.name.clone()]);
    let assistants = lesson
        .assistants
        .iter()
        .map(|assistant| assistant.name.clone());
    let series = lesson.series.map(|series| series.name);
    let facets = [
        (Facet::Subject, lesson.subject),
        (Facet::Grade, lesson.grade),
        (Facet::ResourceType, "recording".into()),
    ];
    Document {
        title: lesson.title,
        author: Some(lesson.lead.name),
        author_id: Some(lesson.lead.id.0),
        school: lesson.lead.school,
        keywords: rooms
            .chain(assistants)
            .chain(series)
            .chain(["录课".into(), "录像".into()])
            .collect(),
        facets: facets
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect(),
        acl,
        created_at: millis(lesson.starts_at),
        updated_at: millis(lesson.ends_at),
        ..Document::default()
    }
}
