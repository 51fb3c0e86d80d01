//! One WebSocket per page. The role is checked before the upgrade; from then on its task only carries messages between the page and
//! the lesson's task, and holds the page to its limits.

mod line;

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use utoipa::IntoParams;

use super::Live;
use super::host::{Command, Page};
use super::lesson::Identity;
use super::no_such_lesson;
use super::protocol::{ParticipantKind, Role};
use crate::error::{Error, Language};
use crate::extract::{Path, Query, Socket};
use crate::identity::{Actor, session};
use crate::ids::LessonId;
use crate::timetable::{self, LessonRole};
use line::{Line, Post, Watch};

/// Messages that may wait for a page. The largest lesson's storm of joins fits; a page further behind than this has stopped reading.
const OUTBOX: usize = 512;

/// Largest message of a page (protocol); an SDP offer is a few kB.
const MAX_MESSAGE: usize = 256 * 1024;

#[derive(Deserialize, IntoParams)]
pub struct Opening {
    /// The token of an earlier welcome.
    resume: Option<String>,
    /// `zh` or `en`, for the sentences in errors; the browser's language without it.
    lang: Option<String>,
}

/// Joins a lesson: the WebSocket of a page. The messages are described in `live/protocol.rs`.
#[utoipa::path(get, path = "/api/lessons/{id}/live", tag = "live", params(("id" = LessonId, Path), Opening),
    responses((status = 101, description = "the lesson's messages follow"), (status = 403), (status = 404), (status = 409)))]
pub async fn open(
    State(live): State<Live>,
    actor: Actor,
    Path(id): Path<LessonId>,
    Query(opening): Query<Opening>,
    headers: HeaderMap,
    Socket(upgrade): Socket,
) -> Result<Response, Error> {
    let held = timetable::role_in(&live.db, id, &actor).await?;
    let role = role_of(&live, id, held).await?;
    let language = language(&opening, &headers);
    // Errors of the lesson itself (ended, full) are answered by HTTP, where a browser shows them best.
    let who = identity(&actor, role);
    let (outbox, letters) = mpsc::channel(OUTBOX);
    let (bye, farewell) = oneshot::channel();
    let mut entry = Some((
        who,
        opening.resume,
        Page {
            outbox,
            bye,
            language,
        },
    ));
    let joined = live.lessons.ask(id, |reply| {
        let (who, resume, page) = entry.take()?;
        Some(Command::Join {
            who,
            resume,
            page,
            reply,
        })
    });
    let (lesson, conn) = joined.await?;
    let failed = lesson.clone();
    let line = Line::new(lesson, conn, language);
    let post = Post { letters, farewell };
    let upgrade = upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_failed_upgrade(move |_| {
            // The page was gone before its socket was there.
            let _ = failed.try_send(Command::Lost {
                conn,
                heard: Instant::now(),
            });
        });
    let token = session::token_of(&headers).unwrap_or_default().to_owned();
    Ok(upgrade.on_upgrade(move |socket| {
        line.carry(
            socket,
            post,
            Watch {
                live,
                id,
                actor,
                held,
                token,
            },
        )
    }))
}

async fn role_of(live: &Live, id: LessonId, held: LessonRole) -> Result<Role, Error> {
    Ok(match held {
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

fn language(opening: &Opening, headers: &HeaderMap) -> Language {
    match opening.lang.as_deref() {
        Some("en") => Language::English,
        Some("zh") => Language::Chinese,
        _ => Language::of(headers.get(header::ACCEPT_LANGUAGE)),
    }
}
