//! Summaries of resources for lists and search results. Each reader gets the version that they may
//! see.

mod query;
mod row;

pub use query::{CHUNK, SummaryQuery, by_content, by_ids, count, find, list};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::identity::SchoolRef;
use crate::ids::{JobId, PersonId, ResourceId};
use crate::library::analysis::facts::AnalysisState;
use crate::library::{ResourceKind, Review, Visibility};

/// Resource in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ResourceSummary {
    pub id: ResourceId,
    pub title: String,
    #[serde(rename = "type")]
    pub kind: ResourceKind,
    pub stage: String,
    pub grade: String,
    pub subject: String,
    pub edition: String,
    pub volume: String,
    pub unit: String,
    pub period: String,
    pub keywords: Vec<String>,
    /// Names of fields that hold unconfirmed suggestions; empty for readers who cannot edit.
    pub suggested: Vec<String>,
    pub licence: String,
    pub source: String,
    pub owner: Owner,
    pub school: Option<SchoolRef>,
    pub visibility: Visibility,
    /// Visibility requested by the owner; differs from `visibility` while a review is pending.
    pub asked_visibility: Visibility,
    pub review: Review,
    /// Version that the summary describes.
    pub version: i64,
    pub file: FileSummary,
    pub preview: Preview,
    pub uses: i64,
    /// Mean of 1 to 5 stars.
    pub rating: Option<f64>,
    pub ratings: i64,
    pub comments: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// The reader may change it.
    pub can_edit: bool,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Owner {
    pub id: PersonId,
    pub name: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FileSummary {
    pub name: String,
    pub size_bytes: i64,
    /// docx, pptx, pdf, jpeg, audio, video, zip …, sniffed from the content.
    #[serde(rename = "type")]
    pub kind: String,
    pub mime: String,
    pub sha256: String,
    pub url: String,
}

/// Parts of the file that a browser can show.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Preview {
    pub state: AnalysisState,
    /// Queued or running analysis job: `/api/jobs/{id}`.
    pub job_id: Option<JobId>,
    /// 0 to 1.
    pub progress: f64,
    /// Failure code: encrypted, broken, too_large, hostile, unsupported …
    pub problem: Option<String>,
    pub pages: i64,
    pub thumbnail_url: Option<String>,
    /// Image without EXIF.
    pub image_url: Option<String>,
    /// Source of `<video>` or `<audio>`.
    pub media_url: Option<String>,
    /// Progress of the rendition job, 0 to 1, if browsers cannot play the original.
    pub converting: Option<f64>,
    pub duration_ms: Option<i64>,
}
