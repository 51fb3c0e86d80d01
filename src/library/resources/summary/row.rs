//! Row of a summary query and its conversion.

use super::{FileSummary, Owner, Preview, ResourceSummary};
use crate::db::time;
use crate::identity::SchoolRef;
use crate::ids::{JobId, PersonId, ResourceId, SchoolId};
use crate::jobs::JobState;
use crate::library::analysis::facts::{AnalysisState, Facts, MediaFacts};
use crate::library::resources::description_columns::DescriptionRow;
use crate::library::{Review, Visibility};

#[derive(sqlx::FromRow)]
pub(super) struct SummaryRow {
    id: ResourceId,
    #[sqlx(flatten)]
    description: DescriptionRow,
    suggested: String,
    owner_id: PersonId,
    owner_name: String,
    school_id: Option<SchoolId>,
    school_name: Option<String>,
    visibility: Visibility,
    asked_visibility: Visibility,
    review: Review,
    version: i64,
    file_name: String,
    hash: String,
    size_bytes: i64,
    file_type: String,
    mime: String,
    state: AnalysisState,
    problem: Option<String>,
    facts: String,
    pages: i64,
    job_id: Option<JobId>,
    job_state: Option<JobState>,
    progress: Option<f64>,
    rendition_progress: Option<f64>,
    rendition_job_id: Option<JobId>,
    uses: i64,
    rating_sum: i64,
    ratings: i64,
    comments: i64,
    created_at: i64,
    updated_at: i64,
    can_edit: i64,
}

impl SummaryRow {
    pub(super) fn summary(self) -> ResourceSummary {
        let facts = Facts::parse(&self.facts);
        let preview = self.preview(&facts);
        let list = |json: &str| serde_json::from_str(json).unwrap_or_default();
        let description = self.description;
        ResourceSummary {
            id: self.id,
            title: description.title,
            kind: description.kind,
            stage: description.stage,
            grade: description.grade,
            subject: description.subject,
            edition: description.edition,
            volume: description.volume,
            unit: description.unit,
            period: description.period,
            keywords: list(&description.keywords),
            suggested: match self.can_edit {
                0 => Vec::new(),
                _ => list(&self.suggested),
            },
            licence: description.licence,
            source: description.source,
            owner: Owner {
                id: self.owner_id,
                name: self.owner_name,
            },
            school: self
                .school_id
                .zip(self.school_name)
                .map(|(id, name)| SchoolRef { id, name }),
            visibility: self.visibility,
            asked_visibility: self.asked_visibility,
            review: self.review,
            version: self.version,
            file: FileSummary {
                url: format!("/api/resources/{}/file?version={}", self.id, self.version),
                name: self.file_name,
                size_bytes: self.size_bytes,
                kind: self.file_type,
                mime: self.mime,
                sha256: self.hash,
            },
            preview,
            uses: self.uses,
            rating: (self.ratings > 0).then(|| self.rating_sum as f64 / self.ratings as f64),
            ratings: self.ratings,
            comments: self.comments,
            created_at: time(self.created_at),
            updated_at: time(self.updated_at),
            can_edit: self.can_edit != 0,
        }
    }

    fn preview(&self, facts: &Facts) -> Preview {
        let url = |part: &str| {
            Some(format!(
                "/api/resources/{}/{part}?version={}",
                self.id, self.version
            ))
        };
        let image_url = facts
            .picture
            .as_ref()
            .and_then(|image| image.mime.as_ref())
            .and_then(|_| url("image"));
        let media = facts.media.as_ref();
        let thumbnail_url = match media {
            _ if self.pages > 0 => url("pages/1/small"),
            Some(MediaFacts {
                has_poster: true, ..
            }) => url("media/poster"),
            _ => image_url.clone(),
        };
        let is_active = matches!(self.job_state, Some(JobState::Queued | JobState::Running));
        let (state, problem) = match self.state {
            // A job that is cancelled before it runs does not update the content's row.
            AnalysisState::Waiting if !is_active => {
                (AnalysisState::Failed, Some("cancelled".to_owned()))
            }
            state => (state, self.problem.clone()),
        };
        let converting = self
            .rendition_progress
            .filter(|_| media.is_some_and(|media| media.plays.is_none()));
        Preview {
            state,
            job_id: self
                .job_id
                .filter(|_| is_active)
                .or(self.rendition_job_id.filter(|_| converting.is_some())),
            progress: match state {
                AnalysisState::Waiting => self.progress.unwrap_or(0.0),
                AnalysisState::Ready | AnalysisState::Failed => 1.0,
            },
            problem,
            pages: self.pages,
            thumbnail_url,
            image_url,
            converting,
            media_url: media
                .and_then(|media| media.plays)
                .and_then(|_| url("media/play")),
            duration_ms: media.and_then(|media| media.duration_ms),
        }
    }
}
