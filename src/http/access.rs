//! Access control per route: one row for each method and path. A route without a row is rejected, so
//! that none is forgotten.

use axum::http::{Method, StatusCode};

use crate::error::{Error, Result, Text};
use crate::identity::{Actor, Role};

/// Callers of a route. Rights in one lesson are checked by the handler with `timetable::role_in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Everyone,
    /// Addresses in `[server] metrics_from`, and administrators.
    Scraper,
    /// A WHIP or WHEP bearer token, checked by the handler; no session and no check of `Origin`.
    Bearer,
    /// Any person or classroom.
    SignedIn,
    /// Any person.
    Person,
    /// Administrators and teachers.
    Planner,
    Administrator,
}

use Access::{Administrator, Bearer, Everyone, Person, Planner, Scraper, SignedIn};

/// Every route of the server.
pub const TABLE: &[(&str, &str, Access)] = &[
    ("GET", "/healthz", Everyone),
    ("GET", "/readyz", Everyone),
    ("GET", "/metrics", Scraper),
    ("GET", "/api/openapi.json", Everyone),
    ("GET", "/api/setup", Everyone),
    ("POST", "/api/setup", Everyone),
    ("GET", "/api/session", SignedIn),
    ("POST", "/api/session", Everyone),
    ("DELETE", "/api/session", Everyone),
    ("POST", "/api/session/pass", Everyone),
    ("PUT", "/api/session/password", Person),
    ("GET", "/api/sessions", Person),
    ("DELETE", "/api/sessions/{id}", Person),
    ("GET", "/api/people", Administrator),
    ("POST", "/api/people", Administrator),
    ("PATCH", "/api/people/{id}", Administrator),
    ("DELETE", "/api/people/{id}", Administrator),
    ("POST", "/api/people/{id}/password", Administrator),
    ("GET", "/api/people/{id}/sessions", Administrator),
    ("DELETE", "/api/people/{id}/sessions", Administrator),
    ("GET", "/api/communities", Planner),
    ("POST", "/api/communities", Administrator),
    ("PATCH", "/api/communities/{id}", Administrator),
    ("DELETE", "/api/communities/{id}", Administrator),
    ("GET", "/api/schools", Planner),
    ("POST", "/api/schools", Administrator),
    ("PATCH", "/api/schools/{id}", Administrator),
    ("DELETE", "/api/schools/{id}", Administrator),
    ("GET", "/api/classrooms", Planner),
    ("POST", "/api/classrooms", Administrator),
    ("PATCH", "/api/classrooms/{id}", Administrator),
    ("DELETE", "/api/classrooms/{id}", Administrator),
    ("POST", "/api/classrooms/{id}/pass", Administrator),
    ("DELETE", "/api/classrooms/{id}/pass", Administrator),
    ("GET", "/api/terms", Planner),
    ("POST", "/api/terms", Administrator),
    ("PATCH", "/api/terms/{id}", Administrator),
    ("DELETE", "/api/terms/{id}", Administrator),
    ("GET", "/api/periods", Planner),
    ("POST", "/api/periods", Administrator),
    ("PATCH", "/api/periods/{id}", Administrator),
    ("DELETE", "/api/periods/{id}", Administrator),
    ("GET", "/api/series", Planner),
    ("POST", "/api/series", Administrator),
    ("PATCH", "/api/series/{id}", Administrator),
    ("DELETE", "/api/series/{id}", Administrator),
    ("GET", "/api/today", SignedIn),
    ("POST", "/api/lessons", Planner),
    ("GET", "/api/lessons/{id}", SignedIn),
    ("PATCH", "/api/lessons/{id}", Planner),
    ("DELETE", "/api/lessons/{id}", Planner),
    ("GET", "/api/audit", Administrator),
    ("GET", "/api/jobs/{id}", SignedIn),
    ("DELETE", "/api/jobs/{id}", SignedIn),
    // Live lessons.
    ("GET", "/api/lessons/{id}/live", SignedIn),
    ("GET", "/api/lessons/{id}/tokens", SignedIn),
    ("POST", "/api/lessons/{id}/tokens", SignedIn),
    ("DELETE", "/api/lessons/{id}/tokens/{token_id}", SignedIn),
    ("POST", "/whip/{lesson_id}", Bearer),
    ("PATCH", "/whip/{lesson_id}/{session}", Bearer),
    ("DELETE", "/whip/{lesson_id}/{session}", Bearer),
    ("OPTIONS", "/whip/{lesson_id}", Bearer),
    ("OPTIONS", "/whip/{lesson_id}/{session}", Bearer),
    ("POST", "/whep/{lesson_id}", Bearer),
    ("PATCH", "/whep/{lesson_id}/{session}", Bearer),
    ("DELETE", "/whep/{lesson_id}/{session}", Bearer),
    ("OPTIONS", "/whep/{lesson_id}", Bearer),
    ("OPTIONS", "/whep/{lesson_id}/{session}", Bearer),
    ("GET", "/api/search", Everyone),
    ("GET", "/api/search/suggest", Everyone),
    ("GET", "/api/search/similar/{kind}/{id}", Everyone),
    ("GET", "/api/search/index", Administrator),
    ("POST", "/api/search/rebuild", Administrator),
    // Recordings.
    ("GET", "/api/recordings", SignedIn),
    ("GET", "/api/lessons/{id}/recording", SignedIn),
    ("POST", "/api/lessons/{id}/export", SignedIn),
    ("GET", "/media/{lesson_id}/{*path}", SignedIn),
    // The library. `library::access` decides per resource; public resources need no session.
    ("OPTIONS", "/api/uploads", Everyone),
    ("GET", "/api/uploads", Planner),
    ("POST", "/api/uploads", Planner),
    ("POST", "/api/uploads/known", Planner),
    ("GET", "/api/uploads/{id}", Planner),
    ("PATCH", "/api/uploads/{id}", Planner),
    ("DELETE", "/api/uploads/{id}", Planner),
    ("GET", "/api/resources", Everyone),
    ("POST", "/api/resources", Planner),
    ("POST", "/api/resources/batch", Planner),
    ("GET", "/api/resources/words", Everyone),
    ("GET", "/api/resources/{id}", Everyone),
    ("PATCH", "/api/resources/{id}", Planner),
    ("DELETE", "/api/resources/{id}", Planner),
    ("GET", "/api/resources/{id}/text", Everyone),
    ("GET", "/api/resources/{id}/pages", Everyone),
    ("GET", "/api/resources/{id}/pages/{n}/{size}", Everyone),
    ("GET", "/api/resources/{id}/sheets", Everyone),
    ("GET", "/api/resources/{id}/file", Everyone),
    ("GET", "/api/resources/{id}/image", Everyone),
    ("GET", "/api/resources/{id}/html", Everyone),
    ("GET", "/api/resources/{id}/media/{what}", Everyone),
    ("POST", "/api/resources/{id}/understand", Planner),
    ("POST", "/api/resources/{id}/review", Planner),
    ("PUT", "/api/resources/{id}/rating", Person),
    ("GET", "/api/resources/{id}/comments", Everyone),
    ("POST", "/api/resources/{id}/comments", Person),
    ("DELETE", "/api/resources/{id}/comments/{comment}", Person),
    ("GET", "/api/resources/{id}/links", Everyone),
    ("POST", "/api/resources/{id}/links", Planner),
    ("DELETE", "/api/resources/{id}/links", Planner),
    ("GET", "/api/lessons/{id}/resources", SignedIn),
    ("GET", "/api/lessons/{id}/decks", SignedIn),
    ("POST", "/api/lessons/{id}/decks", Planner),
    ("DELETE", "/api/lessons/{id}/decks/{deck}", Planner),
    (
        "GET",
        "/api/lessons/{id}/decks/{deck}/pages/{n}/{size}",
        SignedIn,
    ),
    ("GET", "/api/collections", Everyone),
    ("POST", "/api/collections", Planner),
    ("GET", "/api/collections/{id}", Everyone),
    ("PATCH", "/api/collections/{id}", Planner),
    ("DELETE", "/api/collections/{id}", Planner),
    ("PUT", "/api/collections/{id}/items", Planner),
    ("GET", "/api/collections/{id}/zip", Everyone),
    ("GET", "/api/schools/{id}/library", Planner),
    ("PUT", "/api/schools/{id}/library", Administrator),
];

/// Routes that stay open while a person must change their password.
const BEFORE_PASSWORD_CHANGE: [(&str, &str); 3] = [
    ("GET", "/api/session"),
    ("DELETE", "/api/session"),
    ("PUT", "/api/session/password"),
];

/// Returns an error if the actor must change their password before calling a route that needs a session.
pub fn check_password_changed(
    access: Access,
    method: &Method,
    path: &str,
    actor: &Actor,
) -> Result<()> {
    let is_open = access == Everyone
        || BEFORE_PASSWORD_CHANGE
            .iter()
            .any(|(m, p)| *m == method.as_str() && *p == path);
    if is_open || !actor.must_change_password() {
        return Ok(());
    }
    Err(Error::Prescribed {
        status: StatusCode::FORBIDDEN,
        code: "password_change_required",
        text: Text::new(
            "请先设置您自己的密码，然后再继续。",
            "Please set a password of your own first.",
        ),
    })
}

/// Returns the rule of a route; an error for a method that the path does not support.
pub fn rule(method: &Method, path: &str) -> Result<Access> {
    let method = if method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    let found = TABLE.iter().find(|(m, p, _)| *m == method && *p == path);
    match found {
        Some((_, _, access)) => Ok(*access),
        None if TABLE.iter().any(|(_, p, _)| *p == path) => Err(Error::WrongMethod),
        None => Err(Error::internal(format!(
            "{method} {path} has no row in the access table"
        ))),
    }
}

impl Access {
    /// Returns an error if `actor` may not call the route. `Bearer` and `Scraper` are checked elsewhere
    /// and pass here.
    pub fn check(self, actor: Option<&Actor>) -> Result<()> {
        let role = match actor {
            Some(Actor::Person(person)) => Some(person.role),
            _ => None,
        };
        let allowed = match self {
            Self::Everyone | Self::Bearer | Self::Scraper => return Ok(()),
            _ if actor.is_none() => return Err(Error::NotSignedIn),
            Self::SignedIn => true,
            Self::Person => role.is_some(),
            Self::Planner => matches!(role, Some(Role::Administrator | Role::Teacher)),
            Self::Administrator => role == Some(Role::Administrator),
        };
        if allowed {
            Ok(())
        } else {
            Err(Error::forbidden())
        }
    }
}
