//! Source of people for the search index.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tongke_search::{AclGroup, Document};
use uuid::Uuid;

use crate::db::{Db, DbError, millis};
use crate::error;
use crate::ids::PersonId;
use crate::index_queue::{IndexSource, Kind, Source};

use super::{Role, profile};

/// The source of people.
pub fn index_source(db: &Db) -> IndexSource {
    (Kind::Person, Arc::new(People(db.clone())))
}

struct People(Db);

impl Source for People {
    fn document(&self, id: Uuid) -> BoxFuture<'_, error::Result<Option<Document>>> {
        Box::pin(async move {
            let found = profile(&self.0, PersonId(id)).await?;
            Ok(found.map(|person| Document {
                title: person.name,
                school_id: person.school.as_ref().map(|school| school.id.0),
                school: person.school.map(|school| school.name),
                acl: all_people(),
                created_at: millis(person.created_at),
                updated_at: millis(person.created_at),
                ..Document::default()
            }))
        })
    }

    fn ids(&self, after: Option<Uuid>, most: u32) -> BoxFuture<'_, error::Result<Vec<Uuid>>> {
        Box::pin(async move {
            let ids = ids_after(&self.0, after.map(PersonId), most).await?;
            Ok(ids.into_iter().map(|id| id.0).collect())
        })
    }
}

/// Returns the ids after `after` in ascending order, at most `most`.
async fn ids_after(db: &Db, after: Option<PersonId>, most: u32) -> Result<Vec<PersonId>, DbError> {
    let query = format!(
        "SELECT id FROM people WHERE removed_at IS NULL AND id > $1 ORDER BY id LIMIT {most}"
    );
    let after = after.map_or(String::new(), |id| id.to_string());
    let ids: Vec<(PersonId,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(after)
        .fetch_all(db.pool())
        .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// Access groups of every person with an account; classrooms are excluded.
pub fn all_people() -> Vec<AclGroup> {
    [Role::Administrator, Role::Teacher, Role::Observer]
        .map(with_role)
        .into()
}

/// Access group of all people with a role.
pub fn with_role(role: Role) -> AclGroup {
    AclGroup::Role(role.as_str().into())
}
