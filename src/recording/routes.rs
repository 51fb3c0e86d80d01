//! HTTP routes: `/api/lessons/{id}/recording`, `/api/recordings`, exports, and files below
//! `/media/`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::Recordings;
use super::catalogue::{Codec, MediaKind, Purpose, Recorded, Track};
use super::media_files::MediaFile;
use super::timeline::{self, ShownPage};
use super::{export, programme};
use crate::bus::{ParticipantKind, TimelineEvent};
use crate::db::{placeholders, time};
use crate::error::{Error, Result};
use crate::extract::{Json, Path, Query};
use crate::identity::Actor;
use crate::ids::{JobId, LessonId, TrackKey};
use crate::jobs::{Job, JobState};
use crate::timetable::{
    LessonFilter, LessonRole, LessonSummary, RecordingState, count_recorded, lesson_summaries,
    lesson_summary, role_in,
};

/// Default and maximum number of recordings per result page.
const DEFAULT_PER_PAGE: i64 = 24;
const MAX_PER_PAGE: i64 = 100;

pub fn routes() -> OpenApiRouter<Recordings> {
    OpenApiRouter::new()
        .routes(routes!(get_recording))
        .routes(routes!(list_recordings))
        .routes(routes!(export_mp4))
        .routes(routes!(get_media_file))
}

/// Recording of a lesson.
#[derive(Serialize, ToSchema)]
struct Recording {
    lesson: LessonSummary,
    state: RecordingState,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    duration_ms: i64,
    /// Gaps in the lead's audio or video.
    gaps: Vec<Gap>,
    /// Master playlist of the main programme; it starts with the lesson.
    master_url: String,
    poster_url: Option<String>,
    tracks: Vec<RecordedTrack>,
    timeline: Vec<TimelineEvent>,
    /// Deck pages with the time range in which each was shown.
    shown: Vec<ShownPage>,
    mp4: Mp4,
}

#[derive(Serialize, ToSchema)]
struct Gap {
    from_ms: i64,
    to_ms: i64,
}

/// Recorded track.
#[derive(Serialize, ToSchema)]
struct RecordedTrack {
    id: TrackKey,
    participant: Participant,
    purpose: Purpose,
    kind: MediaKind,
    codec: Codec,
    from_ms: i64,
    /// Absent while the track is being recorded.
    to_ms: Option<i64>,
    /// Playlist, which starts at `from_ms`.
    playlist_url: String,
    /// False while the track is in a format that HLS cannot carry and no rendition exists.
    playable: bool,
}

#[derive(Serialize, ToSchema)]
struct Participant {
    #[schema(value_type = String)]
    id: Uuid,
    name: String,
    kind: ParticipantKind,
}

/// MP4 export of a lesson.
#[derive(Serialize, ToSchema)]
struct Mp4 {
    state: Mp4State,
    progress: f64,
    url: Option<String>,
    size_bytes: Option<i64>,
    job_id: Option<JobId>,
}

crate::string_enum! {
    /// State of the MP4 export.
    Mp4State { None = "none", Queued = "queued", Running = "running", Ready = "ready", Failed = "failed" }
}

/// Returns a lesson's recording, during the lesson and after it.
#[utoipa::path(get, path = "/api/lessons/{id}/recording", tag = "recordings", params(("id" = LessonId, Path)), responses((status = 200, body = Recording), (status = 404, body = crate::error::Body)))]
async fn get_recording(
    State(recordings): State<Recordings>,
    actor: Actor,
    Path(id): Path<LessonId>,
) -> Result<Json<Recording>> {
    let lesson = lesson_summary(&recordings.inner.db, id, &actor)
        .await?
        .ok_or_else(missing)?;
    let recorded = recordings.recorded(id).await?.ok_or_else(missing)?;
    let timeline = timeline::read(&recordings.inner.db, id).await?;
    let mp4 = mp4(&recordings, &recorded).await?;
    Ok(Json(Recording {
        state: recorded.state.as_reported(lesson.phase),
        lesson,
        started_at: time(recorded.started_at),
        duration_ms: recorded
            .duration_ms
            .unwrap_or_else(|| recorded.recorded_ms()),
        gaps: gaps(&recorded),
        master_url: format!("/media/{id}/master.m3u8"),
        poster_url: recorded.has_poster.then(|| poster_url(id)),
        tracks: recorded
            .tracks
            .iter()
            .map(|track| recorded_track(id, track))
            .collect(),
        shown: timeline::shown_pages(&timeline),
        timeline,
        mp4,
    }))
}

fn recorded_track(lesson: LessonId, track: &Track) -> RecordedTrack {
    // The best playable layer, or the last layer while none is playable.
    let best = programme::best_playable_layer(track).or(track.layers.last());
    let layer = best.map_or(0, |layer| layer.number);
    let participant = &track.participant;
    RecordedTrack {
        id: track.id,
        participant: Participant {
            id: participant.id,
            name: participant.name.clone(),
            kind: participant.kind,
        },
        purpose: track.purpose,
        kind: track.kind,
        codec: track.codec,
        from_ms: track.from_ms,
        to_ms: track.to_ms,
        playlist_url: format!("/media/{lesson}/{}/{layer}/playlist.m3u8", track.id),
        playable: track.playable_layers().next().is_some(),
    }
}

/// Returns the gaps of the lead's tracks, with overlapping gaps merged.
fn gaps(recorded: &Recorded) -> Vec<Gap> {
    let lead = recorded
        .tracks
        .iter()
        .filter(|track| recorded.is_lead(track));
    let mut all: Vec<(i64, i64)> = lead
        .flat_map(|track| &track.layers)
        .flat_map(|layer| layer.gaps.iter().copied())
        .collect();
    all.sort_unstable();
    let mut merged: Vec<Gap> = Vec::new();
    for (from_ms, to_ms) in all {
        match merged.last_mut() {
            Some(last) if from_ms <= last.to_ms => last.to_ms = last.to_ms.max(to_ms),
            _ => merged.push(Gap { from_ms, to_ms }),
        }
    }
    merged
}

async fn mp4(recordings: &Recordings, recorded: &Recorded) -> Result<Mp4> {
    let lesson = recorded.lesson;
    let job = recordings
        .inner
        .jobs
        .by_key(&export::mp4_key(lesson))
        .await?;
    let made = recorded.mp4_bytes.is_some();
    let state = match job.as_ref().map(|job| job.state) {
        Some(JobState::Queued) => Mp4State::Queued,
        Some(JobState::Running) => Mp4State::Running,
        _ if made => Mp4State::Ready,
        Some(JobState::Failed) => Mp4State::Failed,
        _ => Mp4State::None,
    };
    Ok(Mp4 {
        state,
        progress: job.as_ref().map_or(0.0, |job| job.progress),
        url: made.then(|| format!("/media/{lesson}/lesson.mp4")),
        size_bytes: recorded.mp4_bytes,
        job_id: job.map(|job| job.id),
    })
}

/// Query of the list of recordings.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct RecordingQuery {
    /// Result page, from 0.
    page: i64,
    per_page: Option<i64>,
    /// Comma-separated lesson ids; returns only these, ignoring `page`.
    ids: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct RecordingList {
    recordings: Vec<RecordingSummary>,
    /// Total on all result pages.
    total: i64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RecordingItem)]
struct RecordingSummary {
    lesson: LessonSummary,
    duration_ms: i64,
    poster_url: Option<String>,
}

/// Lists the recordings that the caller may see, newest first.
#[utoipa::path(get, path = "/api/recordings", tag = "recordings", params(RecordingQuery), responses((status = 200, body = RecordingList), (status = 401, body = crate::error::Body)))]
async fn list_recordings(
    State(recordings): State<Recordings>,
    actor: Actor,
    Query(query): Query<RecordingQuery>,
) -> Result<Json<RecordingList>> {
    if let Some(ids) = query.ids {
        let ids: Vec<LessonId> = ids
            .split(',')
            .filter_map(|id| id.parse().ok())
            .take(MAX_PER_PAGE as usize)
            .collect();
        let lessons = lesson_summaries(
            &recordings.inner.db,
            LessonFilter::RecordedAmong(&ids),
            &actor,
        )
        .await?;
        let recordings = summaries(&recordings, lessons).await?;
        return Ok(Json(RecordingList {
            total: recordings.len() as i64,
            recordings,
        }));
    }
    let most = query
        .per_page
        .unwrap_or(DEFAULT_PER_PAGE)
        .clamp(1, MAX_PER_PAGE);
    let which = LessonFilter::Recorded {
        offset: query.page.clamp(0, 1_000_000) * most,
        limit: most,
    };
    let lessons = lesson_summaries(&recordings.inner.db, which, &actor).await?;
    Ok(Json(RecordingList {
        recordings: summaries(&recordings, lessons).await?,
        total: count_recorded(&recordings.inner.db, &actor).await?,
    }))
}

/// Returns the summaries of these lessons; lessons without a recording are omitted.
async fn summaries(
    recordings: &Recordings,
    lessons: Vec<LessonSummary>,
) -> Result<Vec<RecordingSummary>> {
    if lessons.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!(
        "SELECT lesson_id, duration_ms, started_at, has_poster FROM recordings WHERE lesson_id IN ({})",
        placeholders(1, lessons.len())
    );
    let query = sqlx::query_as(sqlx::AssertSqlSafe(query));
    let query = lessons
        .iter()
        .fold(query, |query, lesson| query.bind(lesson.id));
    let rows: Vec<(LessonId, Option<i64>, i64, i64)> =
        query.fetch_all(recordings.inner.db.pool()).await?;
    let known: std::collections::HashMap<_, _> = rows
        .into_iter()
        .map(|(id, length, began, poster)| (id, (length, began, poster)))
        .collect();
    let now = crate::db::millis(Timestamp::now());
    let summaries = lessons.into_iter().filter_map(|lesson| {
        let (length, began, poster) = known.get(&lesson.id)?;
        let poster_url = (*poster != 0).then(|| poster_url(lesson.id));
        Some(RecordingSummary {
            lesson,
            duration_ms: length.unwrap_or(now - began),
            poster_url,
        })
    });
    Ok(summaries.collect())
}

/// Queues the export of the lesson's MP4, replacing an existing one.
#[utoipa::path(post, path = "/api/lessons/{id}/export", tag = "recordings", params(("id" = LessonId, Path)), responses((status = 200, body = Job), (status = 403, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn export_mp4(
    State(recordings): State<Recordings>,
    actor: Actor,
    Path(id): Path<LessonId>,
) -> Result<Json<Job>> {
    let role = role_in(&recordings.inner.db, id, &actor).await?;
    let recorded = recordings
        .recorded(id)
        .await?
        .filter(|_| role != LessonRole::None)
        .ok_or_else(missing)?;
    if !matches!(role, LessonRole::Lead | LessonRole::Assistant) && !actor.is_administrator() {
        return Err(Error::forbidden());
    }
    if !recorded.is_over() {
        return Err(Error::conflict(
            "still_on",
            "课程结束后才能生成视频文件。",
            "The file can be made when the lesson is over.",
        ));
    }
    let job = recordings.submit_mp4_export(id).await?;
    recordings
        .inner
        .jobs
        .get(job)
        .await?
        .map(Json)
        .ok_or_else(missing)
}

/// Returns a file of a recording: playlist, segment, poster or MP4.
#[utoipa::path(get, path = "/media/{lesson_id}/{*path}", tag = "recordings", params(("lesson_id" = LessonId, Path), ("path" = String, Path)), responses((status = 200), (status = 206), (status = 404, body = crate::error::Body)))]
async fn get_media_file(
    State(recordings): State<Recordings>,
    actor: Actor,
    Path((lesson, path)): Path<(LessonId, String)>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    if role_in(&recordings.inner.db, lesson, &actor).await? == LessonRole::None {
        return Err(Error::forbidden());
    }
    let file = MediaFile::parse(&path).ok_or_else(missing)?;
    recordings.serve_file(lesson, file, &headers).await
}

fn poster_url(lesson: LessonId) -> String {
    format!("/media/{lesson}/poster.jpg")
}

fn missing() -> Error {
    Error::not_found(
        "没有找到这节课的录像。",
        "There is no recording of this lesson.",
    )
}
