//! One WebSocket per client. The role is checked before the upgrade; afterwards a task forwards
//! messages between the client and the lesson's task and enforces the client's limits.

mod connection;

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use utoipa::IntoParams;

use super::Live;
use super::lesson::Identity;
use super::no_such_lesson;
use super::protocol::{ParticipantKind, Role};
use super::task::{Client, Command};
use crate::error::{Error, Language};
use crate::extract::{Path, Query, Socket};
use crate::identity::{Actor, session};
use crate::ids::LessonId;
use crate::timetable::{self, LessonRole};
use connection::{AccessCheck, Connection, Outbound};

/// Capacity of a client's outbox: a burst of joins in the largest lesson fits; a client further
/// behind has stopped reading.
const OUTBOX_CAPACITY: usize = 512;

/// Largest message of a client (protocol); an SDP offer takes a few kB.
const MAX_MESSAGE: usize = 256 * 1024;

#[derive(Deserialize, IntoParams)]
pub struct JoinParams {
    /// Resume token of an earlier welcome.
    resume: Option<String>,
    /// Language of error messages, `zh` or `en`; defaults to `Accept-Language`.
    lang: Option<String>,
}

/// Joins a lesson over a WebSocket. The messages are described in `live/protocol.rs`.
#[utoipa::path(get, path = "/api/lessons/{id}/live", tag = "live", params(("id" = LessonId, Path), JoinParams),
    responses((status = 101, description = "the lesson's messages follow"), (status = 403), (status = 404), (status = 409)))]
pub async fn join_lesson(
    State(live): State<Live>,
    actor: Actor,
    Path(id): Path<LessonId>,
    Query(params): Query<JoinParams>,
    headers: HeaderMap,
    Socket(upgrade): Socket,
) -> Result<Response, Error> {
    let initial_role = timetable::role_in(&live.db, id, &actor).await?;
    let role = role_of(&live, id, initial_role).await?;
    let language = language(&params, &headers);
    // Errors of the lesson (ended, full) are HTTP responses, sent before the upgrade.
    let who = identity(&actor, role);
    let (outbox, messages) = mpsc::channel(OUTBOX_CAPACITY);
    let (close, close_reason) = oneshot::channel();
    let mut join = Some((
        who,
        params.resume,
        Client {
            outbox,
            close,
            language,
        },
    ));
    let joined = live.lessons.ask(id, |reply| {
        let (who, resume, client) = join.take()?;
        Some(Command::Join {
            who,
            resume,
            client,
            reply,
        })
    });
    let (lesson, conn) = joined.await?;
    let failed = lesson.clone();
    let connection = Connection::new(lesson, conn, language);
    let outbound = Outbound {
        messages,
        close_reason,
    };
    let upgrade = upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_failed_upgrade(move |_| {
            // The client disconnected before the upgrade completed.
            let _ = failed.try_send(Command::Disconnected {
                conn,
                last_seen: Instant::now(),
            });
        });
    let token = session::token_of(&headers).unwrap_or_default().to_owned();
    Ok(upgrade.on_upgrade(move |socket| {
        connection.run(
            socket,
            outbound,
            AccessCheck {
                live,
                id,
                actor,
                initial_role,
                token,
            },
        )
    }))
}

async fn role_of(live: &Live, id: LessonId, initial_role: LessonRole) -> Result<Role, Error> {
    Ok(match initial_role {
        LessonRole::Lead => Role::Lead,
        LessonRole::Assistant => Role::Assistant,
        LessonRole::LeadRoom => Role::LeadRoom,
        LessonRole::Listening => Role::Listening,
        LessonRole::Observer => Role::Observer,
        LessonRole::None if timetable::lesson_status(&live.db, id).await?.is_none() => {
            return Err(no_such_lesson());
        }
        LessonRole::None => return Err(Error::forbidden()),
    })
}

fn identity(actor: &Actor, role: Role) -> Identity {
    let kind = match actor {
        Actor::Person(_) => ParticipantKind::Person,
        Actor::Classroom(_) => ParticipantKind::Classroom,
    };
    let school = actor.school().map(|school| school.name.clone());
    Identity {
        id: actor.id().to_string(),
        name: actor.name().to_owned(),
        school,
        role,
        kind,
    }
}

fn language(params: &JoinParams, headers: &HeaderMap) -> Language {
    match params.lang.as_deref() {
        Some("en") => Language::English,
        Some("zh") => Language::Chinese,
        _ => Language::of(headers.get(header::ACCEPT_LANGUAGE)),
    }
}
