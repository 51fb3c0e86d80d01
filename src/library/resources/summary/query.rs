//! Queries of summaries; each contains the visibility rule of [`access`](crate::library::access).

use std::collections::HashMap;

use super::ResourceSummary;
use super::row::SummaryRow;
use crate::db::{Db, DbError, placeholders};
use crate::ids::ResourceId;
use crate::library::access::{CAN_SEE, FIRST_PARAMETER, Reader, SEES_LATEST};
use crate::library::resources::description_columns;

/// Ids bound in one statement. SQLite allows 32 766 parameters; a result page has at most 100.
pub const CHUNK: usize = 500;

/// Condition on `r`, `v`, `b` with placeholders from `$6`, order and result page of a query.
pub struct SummaryQuery<'a> {
    pub condition: &'a str,
    pub values: Vec<String>,
    pub order: &'a str,
    pub limit: i64,
    pub offset: i64,
}

const FROM: &str =
    "FROM resources r JOIN people p ON p.id = r.owner_id LEFT JOIN schools s ON s.id = r.school_id";

/// Returns the matching summaries that the reader may see.
pub async fn list(
    db: &Db,
    reader: &Reader,
    query: SummaryQuery<'_>,
) -> Result<Vec<ResourceSummary>, DbError> {
    let SummaryQuery {
        condition,
        values,
        order,
        limit,
        offset,
    } = query;
    let statement = format!(
        "SELECT r.id, {}, r.suggested, r.owner_id, p.name AS owner_name, r.school_id, s.name AS school_name,
            r.visibility, r.asked_visibility, r.review, v.number AS version, v.file_name, v.hash, b.size_bytes,
            b.type AS file_type, b.mime, b.state, b.problem, b.facts, b.pages, j.id AS job_id, j.state AS job_state, j.progress,
            CASE WHEN k.state IN ('queued', 'running') THEN k.progress END AS rendition_progress, k.id AS rendition_job_id,
            r.uses, r.rating_sum, r.ratings, r.comments, r.created_at, r.updated_at,
            CASE WHEN r.owner_id = $1 OR $4 = 1 THEN 1 ELSE 0 END AS can_edit
         {FROM}
         JOIN resource_versions v ON v.resource_id = r.id AND v.number = CASE WHEN {SEES_LATEST} THEN r.latest ELSE r.published END
         JOIN blobs b ON b.hash = v.hash
         LEFT JOIN jobs j ON j.key = 'understand:' || b.hash
         LEFT JOIN jobs k ON k.key = 'playable:' || b.hash
         WHERE {CAN_SEE} AND {condition} ORDER BY {order} LIMIT {limit} OFFSET {offset}",
        description_columns::SELECT
    );
    let mut query = reader.bind(sqlx::query_as::<_, SummaryRow>(sqlx::AssertSqlSafe(
        statement,
    )));
    for value in values {
        query = query.bind(value);
    }
    Ok(query
        .fetch_all(db.pool())
        .await?
        .into_iter()
        .map(SummaryRow::summary)
        .collect())
}

/// Returns the number of resources that match and that the reader may see.
pub async fn count(
    db: &Db,
    reader: &Reader,
    condition: &str,
    values: &[String],
) -> Result<i64, DbError> {
    let query = format!("SELECT COUNT(*) {FROM} WHERE {CAN_SEE} AND {condition}");
    let mut query = reader.bind(sqlx::query_as::<_, (i64,)>(sqlx::AssertSqlSafe(query)));
    for value in values {
        query = query.bind(value.clone());
    }
    Ok(query.fetch_one(db.pool()).await?.0)
}

/// Returns one summary; `None` if there is no such resource or the reader may not see it.
pub async fn find(
    db: &Db,
    reader: &Reader,
    id: ResourceId,
) -> Result<Option<ResourceSummary>, DbError> {
    let query = SummaryQuery {
        condition: "r.id = $6",
        values: vec![id.to_string()],
        order: "r.id",
        limit: 1,
        offset: 0,
    };
    Ok(list(db, reader, query).await?.pop())
}

/// Returns summaries in the order of `ids`, without those that the reader may not see.
pub async fn by_ids(
    db: &Db,
    reader: &Reader,
    ids: &[ResourceId],
) -> Result<Vec<ResourceSummary>, DbError> {
    let mut found = HashMap::new();
    for chunk in ids.chunks(CHUNK) {
        let condition = format!("r.id IN ({})", placeholders(FIRST_PARAMETER, chunk.len()));
        let query = SummaryQuery {
            condition: &condition,
            values: chunk.iter().map(ResourceId::to_string).collect(),
            order: "r.id",
            limit: CHUNK as i64,
            offset: 0,
        };
        let summaries = list(db, reader, query).await?;
        found.extend(summaries.into_iter().map(|summary| (summary.id, summary)));
    }
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// Returns, for each hash, the oldest visible resource whose visible version has that content.
pub async fn by_content(
    db: &Db,
    reader: &Reader,
    hashes: &[String],
) -> Result<Vec<(String, ResourceSummary)>, DbError> {
    let mut found: HashMap<String, ResourceSummary> = HashMap::new();
    for chunk in hashes.chunks(CHUNK) {
        let condition = format!("v.hash IN ({})", placeholders(FIRST_PARAMETER, chunk.len()));
        let query = SummaryQuery {
            condition: &condition,
            values: chunk.iter().map(|hash| hash.to_ascii_lowercase()).collect(),
            order: "r.created_at, r.id",
            limit: i64::from(crate::db::MAX_ROWS),
            offset: 0,
        };
        for summary in list(db, reader, query).await? {
            found.entry(summary.file.sha256.clone()).or_insert(summary);
        }
    }
    Ok(found.into_iter().collect())
}
