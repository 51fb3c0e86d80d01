//! Who may see what: one rule, as SQL, that every query of the library goes through.
//!
//! A resource is seen by its owner and by administrators; by its school's reviewers while it waits for them; and, once a version is
//! published, by those whom its visibility names. `county` is everybody who is signed in here, `public` is everybody.

use sqlx::any::AnyArguments;
use sqlx::query::QueryAs;
use sqlx::{Any, FromRow};

use crate::db::{Db, DbError};
use crate::identity::Actor;
use crate::ids::{CommunityId, PersonId, SchoolId};
use crate::schools;

/// Placeholders `$1` to `$5` are the reader's in every query that uses these clauses; its own begin at `$6`.
pub const OWN_FROM: usize = 6;

/// Those who see the newest version, published or not, of resource `r`.
pub const INSIDER: &str = "(r.owner_id = $1 OR $4 = 1 OR (r.review = 'pending' AND EXISTS (
    SELECT 1 FROM library_reviewers w WHERE w.school_id = r.school_id AND w.person_id = $1)))";

/// Whether the reader may see resource `r`.
pub const SEES: &str = "(r.removed_at IS NULL AND (r.owner_id = $1 OR $4 = 1
    OR (r.review = 'pending' AND EXISTS (SELECT 1 FROM library_reviewers w WHERE w.school_id = r.school_id AND w.person_id = $1))
    OR (r.published > 0 AND (r.visibility = 'public'
        OR (r.visibility = 'county' AND $5 = 1)
        OR (r.visibility IN ('community', 'school') AND r.school_id = $2)
        OR (r.visibility = 'community' AND EXISTS (
            SELECT 1 FROM schools o WHERE o.id = r.school_id AND o.community_id = $3))))))";

/// Whether the reader may see collection `c`.
pub const SEES_COLLECTION: &str = "(c.removed_at IS NULL AND (c.owner_id = $1 OR $4 = 1
    OR c.visibility = 'public' OR (c.visibility = 'county' AND $5 = 1)
    OR (c.visibility IN ('community', 'school') AND c.school_id = $2)
    OR (c.visibility = 'community' AND EXISTS (
        SELECT 1 FROM schools o WHERE o.id = c.school_id AND o.community_id = $3))))";

/// Whoever asks, as the clauses need them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    pub person: Option<PersonId>,
    pub school: Option<SchoolId>,
    pub community: Option<CommunityId>,
    pub administrator: bool,
    pub signed_in: bool,
}

impl Reader {
    /// The one who asks; nobody signed in sees what is public.
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
