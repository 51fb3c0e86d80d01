//! `/api/resources`: lists, one resource with its versions, its text and its pages.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::db::{Db, millis, time};
use crate::error::{Error, Language, Result};
use crate::extract::{Json, Path, Query, now};
use crate::identity::Actor;
use crate::ids::{CollectionId, PersonId, ResourceId, SchoolId};
use crate::library::Library;
use crate::library::access::{INSIDER, OWN_FROM, Reader, SEES};
use crate::library::analysis::facts::{self, Facts, Understood};
use crate::library::content::ingest::{Arrival, Content};
use crate::library::content::sniff;
use crate::library::index_source;
use crate::library::resources::description::{Description, file_name};
use crate::library::resources::suggestions;
use crate::library::resources::summary::{self, ResourceCard, Wanted};
use crate::library::upload::Wish;
use crate::library::{ResourceKind, Review, Visibility};

/// Resources of one page of a list, unless fewer are asked for; and the most.
const PAGE: i64 = 24;
const MOST_PER_PAGE: i64 = 100;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(words))
        .routes(routes!(one, remove))
        .routes(routes!(text))
        .routes(routes!(pages))
}

/// Which resources; all conditions hold together.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only my own.
    mine: bool,
    /// Only those that wait for my review.
    to_review: bool,
    owner: Option<PersonId>,
    school: Option<SchoolId>,
    #[serde(rename = "type")]
    kind: Option<ResourceKind>,
    stage: Option<String>,
    grade: Option<String>,
    subject: Option<String>,
    edition: Option<String>,
    volume: Option<String>,
    unit: Option<String>,
    /// By the file's own bytes.
    file_type: Option<String>,
    visibility: Option<Visibility>,
    review: Option<Review>,
    /// Only these, by id with commas in between, in their order: all else that narrows or orders is left out of account.
    ids: Option<String>,
    #[param(inline)]
    sort: Sort,
    /// From 0.
    page: i64,
    per_page: Option<i64>,
}

crate::string_enum! {
    /// The order of a list.
    #[derive(Default)]
    #[schema(as = ResourceSort)]
    Sort { #[default] Updated = "updated", Created = "created", Title = "title", Uses = "uses", Rating = "rating" }
}

impl Sort {
    fn order(self) -> &'static str {
        match self {
            Self::Updated => "r.updated_at DESC, r.id DESC",
            Self::Created => "r.created_at DESC, r.id DESC",
            Self::Title => "r.title, r.id",
            Self::Uses => "r.uses DESC, r.id DESC",
            // A single good mark does not beat a hundred: three marks of 3 are added to everybody's.
            Self::Rating => "(r.rating_sum + 9) * 1000 / (r.ratings + 3) DESC, r.id DESC",
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = ResourceList)]
struct Listed {
    items: Vec<ResourceCard>,
    total: i64,
}

impl Filter {
    /// The condition with its values.
    fn condition(&self, reader: &Reader) -> (String, Vec<String>) {
        let mut parts = vec!["1 = 1".to_owned()];
        let mut values = Vec::new();
        let mut equal = |column: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                parts.push(format!("{column} = ${}", OWN_FROM + values.len()));
                values.push(value);
            }
        };
        equal("r.owner_id", self.owner.map(|id| id.to_string()));
        equal(
            "r.owner_id",
            reader.person.filter(|_| self.mine).map(|id| id.to_string()),
        );
        equal("r.school_id", self.school.map(|id| id.to_string()));
        equal("r.kind", self.kind.map(|kind| kind.to_string()));
        equal("r.stage", self.stage.clone());
        equal("r.grade", self.grade.clone());
        equal("r.subject", self.subject.clone());
        equal("r.edition", self.edition.clone());
        equal("r.volume", self.volume.clone());
        equal("r.unit", self.unit.clone());
        equal(
            "r.visibility",
            self.visibility.map(|visibility| visibility.to_string()),
        );
        equal("r.review", self.review.map(|review| review.to_string()));
        if let Some(kind) = self.file_type.clone().filter(|kind| !kind.is_empty()) {
            parts.push(format!(
                "EXISTS (SELECT 1 FROM resource_versions fv JOIN blobs fb ON fb.hash = fv.hash WHERE fv.resource_id = r.id
                    AND fv.number = r.latest AND fb.type = ${})",
                OWN_FROM + values.len()
            ));
            values.push(kind);
        }
        if self.to_review {
            parts.push(
                "r.review = 'pending' AND ($4 = 1 OR EXISTS (
                    SELECT 1 FROM library_reviewers w WHERE w.school_id = r.school_id AND w.person_id = $1))"
                    .to_owned(),
            );
        }
        (parts.join(" AND "), values)
    }
}

/// Resources that I may see.
#[utoipa::path(get, path = "/api/resources", tag = "library", params(Filter), responses((status = 200, body = Listed)))]
async fn list(
    State(library): State<Library>,
    actor: Option<Actor>,
    Query(filter): Query<Filter>,
) -> Result<Json<Listed>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    if filter.mine && reader.person.is_none() {
        return Ok(Json(Listed {
            items: Vec::new(),
            total: 0,
        }));
    }
    if let Some(ids) = &filter.ids {
        let ids: Vec<ResourceId> = ids
            .split(',')
            .filter_map(|id| id.parse().ok())
            .take(MOST_PER_PAGE as usize)
            .collect();
        let items = summary::by_ids(&library.db, &reader, &ids).await?;
        return Ok(Json(Listed {
            total: items.len() as i64,
            items,
        }));
    }
    let (condition, values) = filter.condition(&reader);
    let total = summary::count(&library.db, &reader, &condition, &values).await?;
    let limit = filter.per_page.unwrap_or(PAGE).clamp(1, MOST_PER_PAGE);
    let offset = filter.page.clamp(0, 1_000_000) * limit;
    let wanted = Wanted {
        condition: &condition,
        values,
        order: filter.sort.order(),
        limit,
        offset,
    };
    Ok(Json(Listed {
        items: summary::cards(&library.db, &reader, wanted).await?,
        total,
    }))
}

/// Content that is here already, as a resource of mine.
#[derive(Deserialize, ToSchema)]
struct NewResource {
    sha256: String,
    file_name: String,
    /// A new version of this one.
    resource_id: Option<ResourceId>,
    #[serde(default)]
    changes: String,
    collection_id: Option<CollectionId>,
    visibility: Option<Visibility>,
    #[serde(default)]
    description: Description,
}

#[derive(Serialize, ToSchema)]
struct Placed {
    id: ResourceId,
    version: i64,
}

/// Puts content that I may see already on my own shelf, without sending it again.
#[utoipa::path(post, path = "/api/resources", tag = "library", request_body = NewResource, responses((status = 201, body = Placed), (status = 404, body = crate::error::Body)))]
async fn create(
    State(library): State<Library>,
    actor: Actor,
    Json(form): Json<NewResource>,
) -> Result<(StatusCode, Json<Placed>)> {
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let hash = form.sha256.to_ascii_lowercase();
    let known = summary::with_content(&library.db, &reader, std::slice::from_ref(&hash)).await?;
    let (_, card) = known.into_iter().next().ok_or_else(|| {
        Error::not_found(
            "资源库中没有这个文件，请上传。",
            "The library does not have this file. Please upload it.",
        )
    })?;
    if let Some(resource) = form.resource_id {
        editable(&library, &actor, resource).await?;
    }
    if let Some(collection) = form.collection_id {
        crate::library::collections::editable(&library, &actor, collection).await?;
    }
    let wish = Wish {
        resource: form.resource_id,
        changes: crate::library::resources::description::paragraph("changes", &form.changes, 1000)?,
        folder: String::new(),
        collection: form.collection_id,
        visibility: form.visibility,
        description: form.description.check()?,
    };
    // The row exists: only its hash counts.
    let sniffed = sniff::sniff(&[]);
    let content = Content {
        hash,
        size_bytes: card.file.size_bytes as u64,
        sniffed,
    };
    let _kept = library.shelf.keep_content().await;
    let arrival = Arrival {
        person: PersonId(actor.id()),
        file_name: file_name(&form.file_name),
        content,
        wish,
        upload: None,
    };
    let (id, version) = library.shelf.arrive(arrival).await?;
    Ok((StatusCode::CREATED, Json(Placed { id, version })))
}

/// A resource with all that its page shows.
#[derive(Serialize, ToSchema)]
pub struct Resource {
    #[serde(flatten)]
    card: ResourceCard,
    description: String,
    /// What the reviewer said.
    review_note: String,
    versions: Vec<Version>,
    /// The number of the version that others see; 0: none yet.
    published: i64,
    /// Why there is no preview, in words.
    problem_text: Option<String>,
    /// Title and author as the file itself has them.
    file_title: Option<String>,
    file_author: Option<String>,
    facts: Facts,
    my_rating: Option<i64>,
    can_review: bool,
}

#[derive(Serialize, ToSchema)]
struct Version {
    number: i64,
    file_name: String,
    size_bytes: i64,
    #[serde(rename = "type")]
    kind: String,
    sha256: String,
    changes: String,
    by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    url: String,
}

#[derive(sqlx::FromRow)]
struct More {
    description: String,
    review_note: String,
    published: i64,
    latest: i64,
    insider: i64,
    can_review: i64,
    my_rating: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct VersionRow {
    number: i64,
    file_name: String,
    size_bytes: i64,
    file_type: String,
    hash: String,
    changes: String,
    person_name: String,
    created_at: i64,
}

/// One resource.
#[utoipa::path(get, path = "/api/resources/{id}", tag = "library", params(("id" = ResourceId, Path)), responses((status = 200, body = Resource), (status = 404, body = crate::error::Body)))]
async fn one(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    headers: HeaderMap,
) -> Result<Json<Resource>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let language = Language::of(headers.get(header::ACCEPT_LANGUAGE));
    Ok(Json(whole(&library.db, &reader, id, language).await?))
}

pub async fn whole(
    db: &Db,
    reader: &Reader,
    id: ResourceId,
    language: Language,
) -> Result<Resource> {
    let card = summary::card(db, reader, id).await?.ok_or_else(missing)?;
    let query = format!(
        "SELECT r.description, r.review_note, r.published, r.latest, CASE WHEN {INSIDER} THEN 1 ELSE 0 END AS insider,
            CASE WHEN $4 = 1 OR EXISTS (SELECT 1 FROM library_reviewers w WHERE w.school_id = r.school_id AND w.person_id = $1)
                THEN 1 ELSE 0 END AS can_review,
            (SELECT stars FROM resource_ratings g WHERE g.resource_id = r.id AND g.person_id = $1) AS my_rating
         FROM resources r WHERE {SEES} AND r.id = $6"
    );
    let more: More = reader
        .bind(sqlx::query_as(sqlx::AssertSqlSafe(query)))
        .bind(id)
        .fetch_one(db.pool())
        .await?;
    let most = if more.insider != 0 {
        more.latest
    } else {
        more.published
    };
    let versions: Vec<VersionRow> = sqlx::query_as(
        "SELECT v.number, v.file_name, b.size_bytes, b.type AS file_type, v.hash, v.changes, p.name AS person_name, v.created_at
         FROM resource_versions v JOIN blobs b ON b.hash = v.hash JOIN people p ON p.id = v.person_id
         WHERE v.resource_id = $1 AND v.number <= $2 ORDER BY v.number DESC",
    )
    .bind(id)
    .bind(most)
    .fetch_all(db.pool())
    .await?;
    let (file_title, file_author, facts): (Option<String>, Option<String>, String) =
        sqlx::query_as("SELECT title, author, facts FROM blobs WHERE hash = $1")
            .bind(&card.file.sha256)
            .fetch_one(db.pool())
            .await?;
    let problem_text = card.preview.problem.as_deref().map(|code| {
        facts::problem(code, &card.file.kind)
            .in_language(language)
            .to_owned()
    });
    Ok(Resource {
        description: more.description,
        review_note: if card.can_edit || more.can_review != 0 {
            more.review_note
        } else {
            String::new()
        },
        versions: versions.into_iter().map(|row| row.version(id)).collect(),
        published: more.published,
        problem_text,
        file_title,
        file_author,
        facts: Facts::of(&facts),
        my_rating: more.my_rating,
        can_review: more.can_review != 0,
        card,
    })
}

impl VersionRow {
    fn version(self, id: ResourceId) -> Version {
        Version {
            url: format!("/api/resources/{id}/file?version={}", self.number),
            number: self.number,
            file_name: self.file_name,
            size_bytes: self.size_bytes,
            kind: self.file_type,
            sha256: self.hash,
            changes: self.changes,
            by: self.person_name,
            created_at: time(self.created_at),
        }
    }
}

/// Takes a resource off the shelf.
#[utoipa::path(delete, path = "/api/resources/{id}", tag = "library", params(("id" = ResourceId, Path)), responses((status = 204), (status = 403, body = crate::error::Body), (status = 404, body = crate::error::Body)))]
async fn remove(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
) -> Result<StatusCode> {
    editable(&library, &actor, id).await?;
    let mut tx = library.db.begin().await?;
    sqlx::query("UPDATE resources SET removed_at = $2 WHERE id = $1")
        .bind(id)
        .bind(millis(now()))
        .execute(&mut *tx)
        .await?;
    index_source::hide(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OfVersion {
    /// Absent: the version that I see.
    pub version: Option<i64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ResourceText)]
struct Body {
    text: String,
}

/// The text of the file, as far as it was understood.
#[utoipa::path(get, path = "/api/resources/{id}/text", tag = "library", params(("id" = ResourceId, Path), OfVersion), responses((status = 200, body = Body), (status = 404, body = crate::error::Body)))]
async fn text(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    Query(asked): Query<OfVersion>,
) -> Result<Json<Body>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let seen = seen(&library.db, &reader, id, asked.version).await?;
    let found: Option<(String,)> = sqlx::query_as("SELECT body FROM blob_texts WHERE hash = $1")
        .bind(seen.hash)
        .fetch_optional(library.db.pool())
        .await?;
    Ok(Json(Body {
        text: found.map(|(body,)| body).unwrap_or_default(),
    }))
}

#[derive(Serialize, ToSchema)]
struct Pages {
    version: i64,
    items: Vec<Page>,
}

/// A page of a deck or a document; its pictures are WebP.
#[derive(Serialize, ToSchema)]
struct Page {
    n: i64,
    width: i64,
    height: i64,
    text: String,
    /// None: this page could not be drawn.
    large_url: Option<String>,
    small_url: Option<String>,
}

/// The pages of the file.
#[utoipa::path(get, path = "/api/resources/{id}/pages", tag = "library", params(("id" = ResourceId, Path), OfVersion), responses((status = 200, body = Pages), (status = 404, body = crate::error::Body)))]
async fn pages(
    State(library): State<Library>,
    actor: Option<Actor>,
    Path(id): Path<ResourceId>,
    Query(asked): Query<OfVersion>,
) -> Result<Json<Pages>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    let seen = seen(&library.db, &reader, id, asked.version).await?;
    let rows: Vec<(i64, i64, i64, i64, String)> = sqlx::query_as(
        "SELECT number, width, height, drawn, body FROM blob_pages WHERE hash = $1 ORDER BY number",
    )
    .bind(seen.hash)
    .fetch_all(library.db.pool())
    .await?;
    let url = |n: i64, size: &str| {
        format!(
            "/api/resources/{id}/pages/{n}/{size}?version={}",
            seen.number
        )
    };
    let items = rows
        .into_iter()
        .map(|(n, width, height, drawn, text)| Page {
            n,
            width,
            height,
            text,
            large_url: (drawn != 0).then(|| url(n, "large")),
            small_url: (drawn != 0).then(|| url(n, "small")),
        });
    Ok(Json(Pages {
        version: seen.number,
        items: items.collect(),
    }))
}

/// The words of the curriculum, to choose from; other words may be typed.
#[derive(Serialize, ToSchema)]
struct Words {
    stages: Vec<&'static str>,
    grades: Vec<&'static str>,
    subjects: Vec<&'static str>,
    editions: Vec<&'static str>,
    volumes: Vec<&'static str>,
    licences: Vec<&'static str>,
    types: Vec<ResourceKind>,
}

/// The words of the curriculum.
#[utoipa::path(get, path = "/api/resources/words", tag = "library", responses((status = 200, body = Words)))]
async fn words() -> Json<Words> {
    use ResourceKind::{Courseware, Exercise, LessonPlan, MicroLesson, Other, Recording};
    Json(Words {
        stages: suggestions::STAGES.into(),
        grades: suggestions::GRADES.into(),
        subjects: suggestions::SUBJECTS.into(),
        editions: suggestions::EDITIONS.into(),
        volumes: suggestions::VOLUMES.into(),
        licences: suggestions::LICENCES.into(),
        types: vec![
            Courseware,
            LessonPlan,
            Exercise,
            MicroLesson,
            Recording,
            Other,
        ],
    })
}

/// A version as far as the reader may see it.
#[derive(sqlx::FromRow)]
pub struct Seen {
    pub number: i64,
    pub hash: String,
    pub file_name: String,
    pub size_bytes: i64,
    pub mime: String,
    pub facts: String,
    pub understood: Understood,
    /// 1: the reader is its owner, an administrator, or reviews it.
    pub insider: i64,
}

/// The version asked for, or the one that the reader sees. Versions that wait for review are their owner's and reviewers'.
pub async fn seen(db: &Db, reader: &Reader, id: ResourceId, version: Option<i64>) -> Result<Seen> {
    let query = format!(
        "SELECT v.number, v.hash, v.file_name, b.size_bytes, b.mime, b.facts, b.state AS understood,
            CASE WHEN {INSIDER} THEN 1 ELSE 0 END AS insider
         FROM resources r
         JOIN resource_versions v ON v.resource_id = r.id AND v.number <= CASE WHEN {INSIDER} THEN r.latest ELSE r.published END
         JOIN blobs b ON b.hash = v.hash
         WHERE {SEES} AND r.id = $6 AND ($7 = 0 OR v.number = $7) ORDER BY v.number DESC LIMIT 1"
    );
    let row: Option<Seen> = reader
        .bind(sqlx::query_as(sqlx::AssertSqlSafe(query)))
        .bind(id)
        .bind(version.unwrap_or(0))
        .fetch_optional(db.pool())
        .await?;
    row.ok_or_else(missing)
}

/// Refuses unless the actor may change the resource: 404 when they may not even see it.
pub async fn editable(library: &Library, actor: &Actor, id: ResourceId) -> Result<()> {
    let reader = Reader::of(&library.db, Some(actor)).await?;
    let card = summary::card(&library.db, &reader, id)
        .await?
        .ok_or_else(missing)?;
    if card.can_edit {
        Ok(())
    } else {
        Err(Error::forbidden())
    }
}

pub fn missing() -> Error {
    Error::not_found("没有找到这个资源。", "There is no such resource.")
}
