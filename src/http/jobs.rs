//! Progress and cancellation of background jobs: `/api/jobs`. Participants of a lesson see its jobs; a
//! person sees their own.

use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::error::{Error, Result};
use crate::extract::{Json, Path};
use crate::identity::Actor;
use crate::ids::JobId;
use crate::jobs::Job;
use crate::timetable::{LessonRole, role_in};

use super::Services;

pub fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(get_job, cancel_job))
}

/// Returns a job.
#[utoipa::path(get, path = "/api/jobs/{id}", tag = "jobs", params(("id" = JobId, Path)), responses((status = 200, body = Job), (status = 404, body = crate::error::Body)))]
async fn get_job(
    State(services): State<Services>,
    actor: Actor,
    Path(id): Path<JobId>,
) -> Result<Json<Job>> {
    find(&services, &actor, id).await.map(|(job, _)| Json(job))
}

/// Cancels a job. Allowed for the lesson's lead, the job's owner and administrators.
#[utoipa::path(delete, path = "/api/jobs/{id}", tag = "jobs", params(("id" = JobId, Path)), responses((status = 204), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn cancel_job(
    State(services): State<Services>,
    actor: Actor,
    Path(id): Path<JobId>,
) -> Result<StatusCode> {
    let (job, right) = find(&services, &actor, id).await?;
    if right != Right::Cancel {
        return Err(Error::forbidden());
    }
    services.jobs.cancel(job.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Right of the actor to a job.
#[derive(PartialEq, Eq)]
enum Right {
    See,
    Cancel,
}

async fn find(services: &Services, actor: &Actor, id: JobId) -> Result<(Job, Right)> {
    let missing = || Error::not_found("没有找到这个任务。", "There is no such job.");
    let job = services.jobs.get(id).await?.ok_or_else(missing)?;
    if actor.is_administrator() || job.person_id.is_some_and(|person| person.0 == actor.id()) {
        return Ok((job, Right::Cancel));
    }
    let role = match job.lesson_id {
        Some(lesson) => role_in(&services.db, lesson, actor).await?,
        None => LessonRole::None,
    };
    match role {
        LessonRole::Lead => Ok((job, Right::Cancel)),
        LessonRole::None => Err(missing()),
        _ => Ok((job, Right::See)),
    }
}
