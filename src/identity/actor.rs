//! Authenticated principal of a request, as an axum extractor.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::audit_log::Author;
use crate::error::Error;
use crate::ids::{ClassroomId, PersonId, SchoolId};

use super::Role;

/// Authenticated principal of a request. The extractor `Actor` requires a session (401 otherwise);
/// `Option<Actor>` does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    Person(Person),
    Classroom(Classroom),
}

/// A signed-in person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: PersonId,
    pub name: String,
    pub role: Role,
    pub school: Option<SchoolRef>,
    /// Somebody else has seen the password: only its change is allowed.
    pub must_change_password: bool,
}

/// A classroom's device, authenticated by its pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classroom {
    pub id: ClassroomId,
    pub name: String,
    pub school: SchoolRef,
}

/// A school by id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SchoolRef {
    pub id: SchoolId,
    pub name: String,
}

impl Actor {
    /// The person's or the classroom's id.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Person(person) => person.id.0,
            Self::Classroom(classroom) => classroom.id.0,
        }
    }

    /// The actor as the audit log names it.
    pub fn author(&self) -> Author {
        let kind = match self {
            Self::Person(_) => "person",
            Self::Classroom(_) => "classroom",
        };
        Author {
            kind,
            id: self.id(),
            name: self.name().to_owned(),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Person(person) => &person.name,
            Self::Classroom(classroom) => &classroom.name,
        }
    }

    pub fn school(&self) -> Option<&SchoolRef> {
        match self {
            Self::Person(person) => person.school.as_ref(),
            Self::Classroom(classroom) => Some(&classroom.school),
        }
    }

    /// True while the person may do nothing but replace the password.
    pub fn must_change_password(&self) -> bool {
        matches!(self, Self::Person(person) if person.must_change_password)
    }

    pub fn is_administrator(&self) -> bool {
        matches!(
            self,
            Self::Person(Person {
                role: Role::Administrator,
                ..
            })
        )
    }
}

/// Reads the actor that the session layer put into the request's extensions.
impl<S: Sync> FromRequestParts<S> for Actor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(Error::NotSignedIn)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Actor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
