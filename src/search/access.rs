//! Access of a reader to search results.

use tongke_search::{AclGroup, Key};

use crate::db::{Db, DbError};
use crate::identity::Actor;
use crate::schools;

use crate::index_queue;

/// Role of classrooms in [`AclGroup::Role`], beside the roles of people.
const CLASSROOM_ROLE: &str = "classroom";

/// ACL groups of a reader, and the documents hidden from everybody.
pub struct Access {
    pub groups: Vec<AclGroup>,
    pub hidden: Vec<Key>,
}

impl Access {
    /// Reads the current groups, so that a change of school applies at once. Without an actor only
    /// public documents are visible.
    pub async fn of(db: &Db, actor: Option<&Actor>) -> Result<Self, DbError> {
        let hidden = index_queue::hidden(db).await?;
        let hidden = hidden
            .into_iter()
            .filter_map(|(kind, id)| Some(Key::new(kind.as_str(), id.parse().ok()?)))
            .collect();
        let mut groups = vec![AclGroup::Public];
        if let Some(actor) = actor {
            groups.extend(groups_of(db, actor).await?);
        }
        Ok(Self { groups, hidden })
    }

    pub fn as_viewer(&self) -> tongke_search::Viewer<'_> {
        tongke_search::Viewer {
            groups: &self.groups,
            hidden: &self.hidden,
        }
    }
}

async fn groups_of(db: &Db, actor: &Actor) -> Result<Vec<AclGroup>, DbError> {
    let role = match actor {
        Actor::Person(person) => person.role.as_str(),
        Actor::Classroom(_) => CLASSROOM_ROLE,
    };
    let mut groups = vec![
        AclGroup::County,
        AclGroup::Role(role.into()),
        AclGroup::Individual(actor.id()),
    ];
    if let Some(school) = actor.school() {
        groups.push(AclGroup::School(school.id.0));
        let community = schools::community_of(db, school.id).await?;
        groups.extend(community.map(|community| AclGroup::Community(community.0)));
    }
    Ok(groups)
}
