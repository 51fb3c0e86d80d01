//! Checks before a read or a change. A requester who may not even see the entry gets 404 instead of
//! 403.

use sqlx::{Any, Transaction};

use super::{CAN_SEE, Reader, SEES_LATEST};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::identity::Actor;
use crate::ids::{CollectionId, LessonId, PersonId, ResourceId, SchoolId};
use crate::library::analysis::facts::AnalysisState;
use crate::library::collections;
use crate::library::resources::summary::{self, ResourceSummary};
use crate::timetable::{LessonRole, role_in};

/// Returns the summary of a resource that the reader may see.
pub async fn visible_resource(db: &Db, reader: &Reader, id: ResourceId) -> Result<ResourceSummary> {
    summary::find(db, reader, id)
        .await?
        .ok_or_else(no_such_resource)
}

/// A version that the reader may see.
#[derive(sqlx::FromRow)]
pub struct VisibleVersion {
    pub number: i64,
    pub hash: String,
    pub file_name: String,
    pub size_bytes: i64,
    pub mime: String,
    pub facts: String,
    pub state: AnalysisState,
    /// 1: the reader is the owner, an administrator or a reviewer of it.
    pub sees_latest: i64,
}

/// Returns the requested version, or the newest one that the reader may see. Owner and reviewers
/// see versions that wait for review.
pub async fn visible_version(
    db: &Db,
    reader: &Reader,
    id: ResourceId,
    version: Option<i64>,
) -> Result<VisibleVersion> {
    let query = format!(
        "SELECT v.number, v.hash, v.file_name, b.size_bytes, b.mime, b.facts, b.state,
            CASE WHEN {SEES_LATEST} THEN 1 ELSE 0 END AS sees_latest
         FROM resources r
         JOIN resource_versions v ON v.resource_id = r.id AND v.number <= CASE WHEN {SEES_LATEST} THEN r.latest ELSE r.published END
         JOIN blobs b ON b.hash = v.hash
         WHERE {CAN_SEE} AND r.id = $6 AND ($7 = 0 OR v.number = $7) ORDER BY v.number DESC LIMIT 1"
    );
    let row: Option<VisibleVersion> = reader
        .bind(sqlx::query_as(sqlx::AssertSqlSafe(query)))
        .bind(id)
        .bind(version.unwrap_or(0))
        .fetch_optional(db.pool())
        .await?;
    row.ok_or_else(no_such_resource)
}

/// Rejects unless the actor may change the resource.
pub async fn require_editable(db: &Db, actor: &Actor, id: ResourceId) -> Result<()> {
    let reader = Reader::of(db, Some(actor)).await?;
    match visible_resource(db, &reader, id).await?.can_edit {
        true => Ok(()),
        false => Err(Error::forbidden()),
    }
}

/// Rejects unless the actor may change the collection.
pub async fn require_editable_collection(db: &Db, actor: &Actor, id: CollectionId) -> Result<()> {
    let reader = Reader::of(db, Some(actor)).await?;
    match collections::find(db, &reader, id).await?.can_edit {
        true => Ok(()),
        false => Err(Error::forbidden()),
    }
}

/// Rejects unless the actor sees both resources and may change one of them.
pub async fn require_linkable(
    db: &Db,
    actor: &Actor,
    id: ResourceId,
    other: ResourceId,
) -> Result<()> {
    if id == other {
        return Err(Error::field(
            "resource_id",
            "不能关联资源自身。",
            "A resource is not linked to itself.",
        ));
    }
    let reader = Reader::of(db, Some(actor)).await?;
    let both = summary::by_ids(db, &reader, &[id, other]).await?;
    match both.as_slice() {
        [one, two] if one.can_edit || two.can_edit => Ok(()),
        [_, _] => Err(Error::forbidden()),
        _ => Err(no_such_resource()),
    }
}

/// Rejects unless the actor leads or assists the lesson, or is an administrator with any role in it.
pub async fn require_lesson_teacher(db: &Db, actor: &Actor, lesson: LessonId) -> Result<()> {
    match role_in(db, lesson, actor).await? {
        LessonRole::Lead | LessonRole::Assistant => Ok(()),
        LessonRole::None => Err(no_such_lesson()),
        _ if actor.is_administrator() => Ok(()),
        _ => Err(Error::forbidden()),
    }
}

/// Rejects actors without a role in the lesson.
pub async fn require_participant(db: &Db, actor: &Actor, lesson: LessonId) -> Result<()> {
    match role_in(db, lesson, actor).await? {
        LessonRole::None => Err(no_such_lesson()),
        _ => Ok(()),
    }
}

/// Returns true if the actor decides reviews of that school.
pub async fn is_reviewer(
    tx: &mut Transaction<'static, Any>,
    actor: &Actor,
    school: Option<SchoolId>,
) -> Result<bool> {
    if actor.is_administrator() {
        return Ok(true);
    }
    let (found,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM library_reviewers WHERE school_id = $1 AND person_id = $2",
    )
    .bind(school)
    .bind(PersonId(actor.id()))
    .fetch_one(&mut **tx)
    .await?;
    Ok(found > 0)
}

pub fn no_such_resource() -> Error {
    Error::not_found("没有找到这个资源。", "There is no such resource.")
}

pub fn no_such_lesson() -> Error {
    Error::not_found("没有找到这节课。", "There is no such lesson.")
}
