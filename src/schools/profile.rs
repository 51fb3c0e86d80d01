//! Public profile of a school, and its community.

use jiff::Timestamp;

use crate::db::{Db, DbError, time};
use crate::ids::{CommunityId, SchoolId};

/// Public profile of a school.
#[derive(Clone, Debug)]
pub struct Profile {
    pub name: String,
    pub community: Option<String>,
    pub county: Option<String>,
    pub created_at: Timestamp,
}

/// Returns a profile; `None` after the school was removed.
pub async fn profile(db: &Db, id: SchoolId) -> Result<Option<Profile>, DbError> {
    let row: Option<(String, Option<String>, Option<String>, i64)> = sqlx::query_as(
        "SELECT o.name, c.name, c.county, o.created_at FROM schools o LEFT JOIN communities c ON c.id = o.community_id
         WHERE o.id = $1 AND o.removed_at IS NULL",
    )
    .bind(id)
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(|(name, community, county, created_at)| Profile {
        name,
        community,
        county,
        created_at: time(created_at),
    }))
}

/// Returns the community of a school.
pub async fn community_of(db: &Db, id: SchoolId) -> Result<Option<CommunityId>, DbError> {
    let row: Option<(Option<CommunityId>,)> =
        sqlx::query_as("SELECT community_id FROM schools WHERE id = $1 AND removed_at IS NULL")
            .bind(id)
            .fetch_optional(db.pool())
            .await?;
    Ok(row.and_then(|(community,)| community))
}
