//! What can be found of people, schools and recorded lessons. Other features bring sources of their own.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::db::{Db, millis};
use crate::error::Result;
use crate::identity::{self, PersonId, Role};
use crate::schools::{self, SchoolId};
use crate::timetable::{self, LessonCard, LessonId};

use super::reader::{all_people, with_role};
use super::{Document, Facet, Kind, Source, Visibility};

/// The sources that are known from the start.
pub fn own(db: &Db) -> [(Kind, Arc<dyn Source>); 3] {
    [
        (Kind::Person, Arc::new(People(db.clone()))),
        (Kind::School, Arc::new(Schools(db.clone()))),
        (Kind::Recording, Arc::new(Recordings(db.clone()))),
    ]
}

struct People(Db);

impl Source for People {
    fn document(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>>> {
        Box::pin(async move {
            let found = identity::known(&self.0, PersonId(id)).await?;
            Ok(found.map(|person| Document {
                title: person.name,
                school_id: person.school.as_ref().map(|school| school.id.0),
                school: person.school.map(|school| school.name),
                visibility: all_people(),
                created_at: millis(person.created_at),
                updated_at: millis(person.created_at),
                ..Document::default()
            }))
        })
    }

    fn ids(&self, after: Option<Uuid>, most: u32) -> BoxFuture<'_, Result<Vec<Uuid>>> {
        Box::pin(async move {
            let ids = identity::ids_after(&self.0, after.map(PersonId), most).await?;
            Ok(ids.into_iter().map(|id| id.0).collect())
        })
    }
}

struct Schools(Db);

impl Source for Schools {
    fn document(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>>> {
        Box::pin(async move {
            let found = schools::known(&self.0, SchoolId(id)).await?;
            Ok(found.map(|school| Document {
                title: school.name,
                keywords: school.community.into_iter().chain(school.county).collect(),
                visibility: all_people(),
                created_at: millis(school.created_at),
                updated_at: millis(school.created_at),
                ..Document::default()
            }))
        })
    }

    fn ids(&self, after: Option<Uuid>, most: u32) -> BoxFuture<'_, Result<Vec<Uuid>>> {
        Box::pin(async move {
            let ids = schools::ids_after(&self.0, after.map(SchoolId), most).await?;
            Ok(ids.into_iter().map(|id| id.0).collect())
        })
    }
}

struct Recordings(Db);

impl Source for Recordings {
    fn document(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>>> {
        Box::pin(async move { Ok(timetable::recorded(&self.0, LessonId(id)).await?.map(recording)) })
    }

    fn ids(&self, after: Option<Uuid>, most: u32) -> BoxFuture<'_, Result<Vec<Uuid>>> {
        Box::pin(async move {
            let ids = timetable::recorded_after(&self.0, after.map(LessonId), most).await?;
            Ok(ids.into_iter().map(|id| id.0).collect())
        })
    }
}

/// A recorded lesson is found by those who took part, and by those who watch all lessons, as [`timetable::role_in`] has it.
fn recording(lesson: LessonCard) -> Document {
    let assistants = lesson.assistants.iter().map(|assistant| assistant.id.0);
    let classrooms = lesson.classrooms.iter().map(|classroom| classroom.id.0);
    let took_part = std::iter::once(lesson.lead.id.0).chain(assistants).chain(classrooms);
    let mut visibility: Vec<Visibility> = took_part.map(Visibility::One).collect();
    visibility.extend([Role::Administrator, Role::Observer].map(with_role));
    let rooms = lesson.classrooms.iter().flat_map(|classroom| [classroom.school.clone(), classroom.name.clone()]);
    let assistants = lesson.assistants.iter().map(|assistant| assistant.name.clone());
    let series = lesson.series.map(|series| series.name);
    let facets =
        [(Facet::Subject, lesson.subject), (Facet::Grade, lesson.grade), (Facet::ResourceType, "recording".into())];
    Document {
        title: lesson.title,
        author: Some(lesson.lead.name),
        author_id: Some(lesson.lead.id.0),
        school: lesson.lead.school,
        keywords: rooms.chain(assistants).chain(series).chain(["录课".into(), "录像".into()]).collect(),
        facets: facets.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        visibility,
        created_at: millis(lesson.starts_at),
        updated_at: millis(lesson.ends_at),
        ..Document::default()
    }
}
