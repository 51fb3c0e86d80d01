//! What the one who asks may see.

use tongke_search::{Key, Visibility};

use crate::db::{Db, DbError};
use crate::identity::Actor;
use crate::schools;

use crate::index_queue;

/// The role of classrooms in [`Visibility::Role`], beside those of people.
const CLASSROOM: &str = "classroom";

/// The circles of a reader, and what is hidden from everybody.
pub struct Sight {
    pub circles: Vec<Visibility>,
    pub hidden: Vec<Key>,
}

impl Sight {
    /// As it is at this moment: who moved to another school sees as much as their new colleagues. Nobody signed in sees what is public.
    pub async fn of(db: &Db, actor: Option<&Actor>) -> Result<Self, DbError> {
        let hidden = index_queue::hidden(db).await?;
        let hidden = hidden
            .into_iter()
            .filter_map(|(kind, id)| Some(Key::new(kind.as_str(), id.parse().ok()?)))
            .collect();
        let mut circles = vec![Visibility::Public];
        if let Some(actor) = actor {
            circles.extend(circles_of(db, actor).await?);
        }
        Ok(Self { circles, hidden })
    }

    pub fn as_reader(&self) -> tongke_search::Reader<'_> {
        tongke_search::Reader {
            circles: &self.circles,
            hidden: &self.hidden,
        }
    }
}

async fn circles_of(db: &Db, actor: &Actor) -> Result<Vec<Visibility>, DbError> {
    let role = match actor {
        Actor::Person(person) => person.role.as_str(),
        Actor::Classroom(_) => CLASSROOM,
    };
    let mut circles = vec![
        Visibility::County,
        Visibility::Role(role.into()),
        Visibility::One(actor.id()),
    ];
    if let Some(school) = actor.school() {
        circles.push(Visibility::School(school.id.0));
        let community = schools::community_of(db, school.id).await?;
        circles.extend(community.map(|community| Visibility::Community(community.0)));
    }
    Ok(circles)
}
