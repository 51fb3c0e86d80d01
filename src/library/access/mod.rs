//! Access control of the library: one visibility rule, as SQL clauses that are part of every query,
//! and the checks before a change.
//!
//! A resource is visible to its owner and to administrators; to its school's reviewers while it
//! waits for them; and, once a version is published, to the readers named by its visibility:
//! `county` is every signed-in reader, `public` is everybody.

mod checks;

pub use checks::*;

use sqlx::any::AnyArguments;
use sqlx::query::QueryAs;
use sqlx::{Any, FromRow};

use crate::db::{Db, DbError};
use crate::identity::Actor;
use crate::ids::{CommunityId, PersonId, SchoolId};
use crate::schools;

/// First placeholder of a query's own values: `$1` to `$5` are bound by [`Reader::bind`].
pub const FIRST_PARAMETER: usize = 6;

/// The visibility of row `$row`, which has `visibility` and `school_id`, includes the reader.
macro_rules! visibility_includes_reader {
    ($row:literal) => {
        concat!(
            "(",
            $row,
            ".visibility = 'public' OR (",
            $row,
            ".visibility = 'county' AND $5 = 1)
            OR (",
            $row,
            ".visibility IN ('community', 'school') AND ",
            $row,
            ".school_id = $2)
            OR (",
            $row,
            ".visibility = 'community' AND EXISTS (
                SELECT 1 FROM schools o WHERE o.id = ",
            $row,
            ".school_id AND o.community_id = $3)))"
        )
    };
}

/// The reader is a reviewer of the school of resource `r`.
macro_rules! reviews_school {
    () => {
        "EXISTS (SELECT 1 FROM library_reviewers w WHERE w.school_id = r.school_id AND w.person_id = $1)"
    };
}

/// The reader sees the newest version of resource `r`, published or not.
macro_rules! sees_latest {
    () => {
        concat!(
            "(r.owner_id = $1 OR $4 = 1 OR (r.review = 'pending' AND ",
            reviews_school!(),
            "))"
        )
    };
}

/// The reader sees the newest version of resource `r`, published or not.
pub const SEES_LATEST: &str = sees_latest!();

/// The reader may decide reviews of resource `r`.
pub const CAN_REVIEW: &str = concat!("($4 = 1 OR ", reviews_school!(), ")");

/// The reader may see resource `r`.
pub const CAN_SEE: &str = concat!(
    "(r.removed_at IS NULL AND (",
    sees_latest!(),
    " OR (r.published > 0 AND ",
    visibility_includes_reader!("r"),
    ")))"
);

/// The reader may see collection `c`.
pub const CAN_SEE_COLLECTION: &str = concat!(
    "(c.removed_at IS NULL AND (c.owner_id = $1 OR $4 = 1 OR ",
    visibility_includes_reader!("c"),
    "))"
);

/// Attributes of the requester that the clauses compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    pub person: Option<PersonId>,
    pub school: Option<SchoolId>,
    pub community: Option<CommunityId>,
    pub administrator: bool,
    pub signed_in: bool,
}

impl Reader {
    /// Reader of a request; without an actor only public entries are visible.
    pub async fn of(db: &Db, actor: Option<&Actor>) -> Result<Reader, DbError> {
        let school = actor.and_then(Actor::school).map(|school| school.id);
        let community = match school {
            Some(school) => schools::community_of(db, school).await?,
            None => None,
        };
        let person = actor
            .filter(|actor| matches!(actor, Actor::Person(_)))
            .map(|person| PersonId(person.id()));
        Ok(Reader {
            person,
            school,
            community,
            administrator: actor.is_some_and(Actor::is_administrator),
            signed_in: actor.is_some(),
        })
    }

    /// Binds `$1` to `$5`.
    pub fn bind<'q, Row>(
        &self,
        query: QueryAs<'q, Any, Row, AnyArguments>,
    ) -> QueryAs<'q, Any, Row, AnyArguments>
    where
        Row: for<'r> FromRow<'r, <Any as sqlx::Database>::Row>,
    {
        query
            .bind(self.person)
            .bind(self.school)
            .bind(self.community)
            .bind(i64::from(self.administrator))
            .bind(i64::from(self.signed_in))
    }
}
