//! What can be found of people and schools. Other features bring sources of their own.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::db::{Db, millis};
use crate::error::Result;
use crate::identity::{self};
use crate::ids::{PersonId, SchoolId};
use crate::schools::{self};

use super::reader::all_people;
use super::{Document, Kind, Source};

/// The sources that are known from the start.
pub fn own(db: &Db) -> [(Kind, Arc<dyn Source>); 2] {
    [
        (Kind::Person, Arc::new(People(db.clone()))),
        (Kind::School, Arc::new(Schools(db.clone()))),
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
