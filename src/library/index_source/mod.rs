//! Search documents of the library, with the rule of [`access`](crate::library::access) as ACL
//! groups.

mod collection;
mod queue;
mod resource;

pub use collection::Collections;
pub use queue::*;
pub use resource::Resources;

use tongke_search::AclGroup;
use uuid::Uuid;

use crate::db::{Db, DbError};
use crate::identity::Role;
use crate::ids::{CommunityId, PersonId, ResourceId, SchoolId};
use crate::library::Visibility;

/// ACL groups that express [`CAN_SEE`](crate::library::access::CAN_SEE) in the index.
fn acl_groups(
    owner: PersonId,
    school: Option<SchoolId>,
    community: Option<CommunityId>,
    visibility: Visibility,
    published: bool,
) -> Vec<AclGroup> {
    let mut groups = vec![
        AclGroup::Individual(owner.0),
        AclGroup::Role(Role::Administrator.as_str().to_owned()),
    ];
    let of_school = school.map(|school| AclGroup::School(school.0));
    match visibility {
        _ if !published => {}
        Visibility::Private => {}
        Visibility::School => groups.extend(of_school),
        Visibility::Community => {
            groups.extend(of_school);
            groups.extend(community.map(|community| AclGroup::Community(community.0)));
        }
        Visibility::County => groups.push(AclGroup::County),
        Visibility::Public => groups.push(AclGroup::Public),
    }
    groups
}

/// Returns the next ids of a table, without removed rows.
async fn ids(db: &Db, table: &str, after: Option<Uuid>, most: u32) -> Result<Vec<Uuid>, DbError> {
    let query = format!(
        "SELECT id FROM {table} WHERE removed_at IS NULL AND id > $1 ORDER BY id LIMIT {most}"
    );
    let rows: Vec<(ResourceId,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .fetch_all(db.pool())
        .await?;
    Ok(rows.into_iter().map(|(id,)| id.0).collect())
}
