//! Resources as lists and search results show them, each reader seeing the version that is theirs to see.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::{Db, DbError, placeholders, time};
use crate::identity::SchoolRef;
use crate::ids::{JobId, PersonId, ResourceId, SchoolId};
use crate::jobs::JobState;
use crate::library::access::{INSIDER, OWN_FROM, Reader, SEES};
use crate::library::analysis::facts::{Facts, Media, Understood};
use crate::library::{ResourceKind, Review, Visibility};

/// Values in one statement: SQLite takes 32 766; a page of results is far below.
pub const SLICE: usize = 500;

/// A resource as lists show it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ResourceCard {
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
    /// Fields that were filled in by suggestion and that nobody confirmed.
    pub suggested: Vec<String>,
    pub licence: String,
    pub source: String,
    pub owner: Owner,
    pub school: Option<SchoolRef>,
    pub visibility: Visibility,
    /// What the owner wants it to be; differs from `visibility` while a review is pending.
    pub asked_visibility: Visibility,
    pub review: Review,
    /// The version that this card is of.
    pub version: i64,
    pub file: FileFacts,
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
    /// Whether the reader may change it.
    pub can_edit: bool,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Owner {
    pub id: PersonId,
    pub name: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FileFacts {
    pub name: String,
    pub size_bytes: i64,
    /// docx, pptx, pdf, jpeg, audio, video, zip … by the file's own bytes.
    #[serde(rename = "type")]
    pub kind: String,
    pub mime: String,
    pub sha256: String,
    pub url: String,
}

/// What a browser can show of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Preview {
    pub state: Understood,
    /// The job that makes it, while it is at work: `/api/jobs/{id}`.
    pub job_id: Option<JobId>,
    /// 0 to 1.
    pub progress: f64,
    /// Why there is none: encrypted, broken, too_large, hostile, unsupported …
    pub problem: Option<String>,
    pub pages: i64,
    pub thumbnail_url: Option<String>,
    /// A picture without its EXIF.
    pub image_url: Option<String>,
    /// What `<video>` or `<audio>` plays.
    pub media_url: Option<String>,
    /// How far the copy that browsers play is made, 0 to 1, while it is being made: they do not play the original.
    pub converting: Option<f64>,
    pub duration_ms: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: ResourceId,
    title: String,
    kind: ResourceKind,
    stage: String,
    grade: String,
    subject: String,
    edition: String,
    volume: String,
    unit: String,
    period: String,
    keywords: String,
    suggested: String,
    licence: String,
    source: String,
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
    understood: Understood,
    problem: Option<String>,
    facts: String,
    pages: i64,
    job_id: Option<JobId>,
    job_state: Option<JobState>,
    progress: Option<f64>,
    converting: Option<f64>,
    converter_id: Option<JobId>,
    uses: i64,
    rating_sum: i64,
    ratings: i64,
    comments: i64,
    created_at: i64,
    updated_at: i64,
    can_edit: i64,
}

/// What a list is asked for: a condition on `r`, `v`, `b` with placeholders from `$6`, and what comes after it.
pub struct Wanted<'a> {
    pub condition: &'a str,
    pub values: Vec<String>,
    pub order: &'a str,
    pub limit: i64,
    pub offset: i64,
}

const FROM: &str =
    "FROM resources r JOIN people p ON p.id = r.owner_id LEFT JOIN schools s ON s.id = r.school_id";

/// Cards that the reader may see.
pub async fn cards(
    db: &Db,
    reader: &Reader,
    wanted: Wanted<'_>,
) -> Result<Vec<ResourceCard>, DbError> {
    let query = format!(
        "SELECT r.id, r.title, r.kind, r.stage, r.grade, r.subject, r.edition, r.volume, r.unit, r.period, r.keywords, r.suggested,
            r.licence, r.source, r.owner_id, p.name AS owner_name, r.school_id, s.name AS school_name, r.visibility,
            r.asked_visibility, r.review, v.number AS version, v.file_name, v.hash, b.size_bytes, b.type AS file_type, b.mime,
            b.state AS understood, b.problem, b.facts, b.pages, j.id AS job_id, j.state AS job_state, j.progress,
            CASE WHEN k.state IN ('queued', 'running') THEN k.progress END AS converting, k.id AS converter_id, r.uses, r.rating_sum, r.ratings,
            r.comments, r.created_at, r.updated_at, CASE WHEN r.owner_id = $1 OR $4 = 1 THEN 1 ELSE 0 END AS can_edit
         {FROM}
         JOIN resource_versions v ON v.resource_id = r.id AND v.number = CASE WHEN {INSIDER} THEN r.latest ELSE r.published END
         JOIN blobs b ON b.hash = v.hash
         LEFT JOIN jobs j ON j.key = 'understand:' || b.hash
         LEFT JOIN jobs k ON k.key = 'playable:' || b.hash
         WHERE {SEES} AND {} ORDER BY {} LIMIT {} OFFSET {}",
        wanted.condition, wanted.order, wanted.limit, wanted.offset
    );
    let mut query = reader.bind(sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(query)));
    for value in wanted.values {
        query = query.bind(value);
    }
    Ok(query
        .fetch_all(db.pool())
        .await?
        .into_iter()
        .map(Row::card)
        .collect())
}

/// How many there are.
pub async fn count(
    db: &Db,
    reader: &Reader,
    condition: &str,
    values: &[String],
) -> Result<i64, DbError> {
    let query = format!("SELECT COUNT(*) {FROM} WHERE {SEES} AND {condition}");
    let mut query = reader.bind(sqlx::query_as::<_, (i64,)>(sqlx::AssertSqlSafe(query)));
    for value in values {
        query = query.bind(value.clone());
    }
    Ok(query.fetch_one(db.pool()).await?.0)
}

/// One card; `None` if the reader may not see it, or there is none.
pub async fn card(
    db: &Db,
    reader: &Reader,
    id: ResourceId,
) -> Result<Option<ResourceCard>, DbError> {
    let wanted = Wanted {
        condition: "r.id = $6",
        values: vec![id.to_string()],
        order: "r.id",
        limit: 1,
        offset: 0,
    };
    Ok(cards(db, reader, wanted).await?.pop())
}

/// Cards by id, in the order asked for; those that the reader may not see are left out.
pub async fn by_ids(
    db: &Db,
    reader: &Reader,
    ids: &[ResourceId],
) -> Result<Vec<ResourceCard>, DbError> {
    let mut found = HashMap::new();
    for slice in ids.chunks(SLICE) {
        let condition = format!("r.id IN ({})", placeholders(OWN_FROM, slice.len()));
        let values = slice.iter().map(ResourceId::to_string).collect();
        let wanted = Wanted {
            condition: &condition,
            values,
            order: "r.id",
            limit: SLICE as i64,
            offset: 0,
        };
        found.extend(
            cards(db, reader, wanted)
                .await?
                .into_iter()
                .map(|card| (card.id, card)),
        );
    }
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// For each of these contents the oldest resource that the reader may see and that shows it now.
pub async fn with_content(
    db: &Db,
    reader: &Reader,
    hashes: &[String],
) -> Result<Vec<(String, ResourceCard)>, DbError> {
    let mut found: HashMap<String, ResourceCard> = HashMap::new();
    for slice in hashes.chunks(SLICE) {
        let condition = format!("v.hash IN ({})", placeholders(OWN_FROM, slice.len()));
        let values = slice.iter().map(|hash| hash.to_ascii_lowercase()).collect();
        let limit = i64::from(crate::db::MAX_ROWS);
        let wanted = Wanted {
            condition: &condition,
            values,
            order: "r.created_at, r.id",
            limit,
            offset: 0,
        };
        for card in cards(db, reader, wanted).await? {
            found.entry(card.file.sha256.clone()).or_insert(card);
        }
    }
    Ok(found.into_iter().collect())
}

impl Row {
    fn card(self) -> ResourceCard {
        let facts = Facts::of(&self.facts);
        let preview = self.preview(&facts);
        let list = |json: &str| serde_json::from_str(json).unwrap_or_default();
        ResourceCard {
            id: self.id,
            title: self.title,
            kind: self.kind,
            stage: self.stage,
            grade: self.grade,
            subject: self.subject,
            edition: self.edition,
            volume: self.volume,
            unit: self.unit,
            period: self.period,
            keywords: list(&self.keywords),
            suggested: if self.can_edit != 0 {
                list(&self.suggested)
            } else {
                Vec::new()
            },
            licence: self.licence,
            source: self.source,
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
            file: FileFacts {
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
        let at = |what: &str| {
            Some(format!(
                "/api/resources/{}/{what}?version={}",
                self.id, self.version
            ))
        };
        let image_url = facts
            .picture
            .as_ref()
            .and_then(|picture| picture.mime.as_ref())
            .and_then(|_| at("image"));
        let media = facts.media.as_ref();
        let thumbnail_url = match media {
            _ if self.pages > 0 => at("pages/1/small"),
            Some(Media {
                has_poster: true, ..
            }) => at("media/poster"),
            _ => image_url.clone(),
        };
        let at_work = matches!(self.job_state, Some(JobState::Queued | JobState::Running));
        let (state, problem) = match self.understood {
            // Cancelled before it ran: nobody wrote it down.
            Understood::Waiting if !at_work => (Understood::Failed, Some("cancelled".to_owned())),
            state => (state, self.problem.clone()),
        };
        let converting = self
            .converting
            .filter(|_| media.is_some_and(|media| media.plays.is_none()));
        Preview {
            state,
            job_id: self
                .job_id
                .filter(|_| at_work)
                .or(self.converter_id.filter(|_| converting.is_some())),
            progress: match state {
                Understood::Waiting => self.progress.unwrap_or(0.0),
                Understood::Ready | Understood::Failed => 1.0,
            },
            problem,
            pages: self.pages,
            thumbnail_url,
            image_url,
            converting,
            media_url: media
                .and_then(|media| media.plays)
                .and_then(|_| at("media/play")),
            duration_ms: media.and_then(|media| media.duration_ms),
        }
    }
}
