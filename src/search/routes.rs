//! HTTP routes of `/api/search`: search, suggestions, similar documents, and the state of the
//! index.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tongke_search::{
    Filters, Hit, Index, Key, MAX_RESULT_WINDOW, SearchQuery, SearchResults, SortOrder,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::extract::{Json, Path, Query};
use crate::identity::Actor;

use super::access::Access;
use super::{Facet, Kind, Search, rebuild};
use crate::index_queue;

/// Default and maximum hits per result page, and limits of suggestions and similar documents.
const DEFAULT_PAGE_SIZE: usize = 20;
const MAX_PAGE_SIZE: usize = 100;
const MAX_SUGGESTIONS: usize = 8;
const MAX_SIMILAR: usize = 10;

pub fn routes() -> OpenApiRouter<Search> {
    OpenApiRouter::new()
        .routes(routes!(search))
        .routes(routes!(list_suggestions))
        .routes(routes!(list_similar))
        .routes(routes!(get_index_state))
        .routes(routes!(rebuild_index))
}

crate::string_enum! {
    /// Sort order of the hits.
    #[schema(as = SearchSort)]
    Sort { Relevance = "relevance", Newest = "newest", MostUsed = "most_used", BestRated = "best_rated" }
}

impl From<Sort> for SortOrder {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Relevance => Self::Relevance,
            Sort::Newest => Self::Newest,
            Sort::MostUsed => Self::MostUsed,
            Sort::BestRated => Self::BestRated,
        }
    }
}

/// Result page of a search.
#[derive(Serialize, ToSchema)]
struct SearchResponse {
    total: usize,
    /// Number of hits that result pages can reach.
    reachable: usize,
    hits: Vec<ResultHit>,
    /// Most frequent values of each facet. A filtered facet still counts its other values.
    facets: BTreeMap<&'static str, Vec<FacetCount>>,
    /// True if no document matches all terms and the hits match some of them.
    approximate: bool,
}

#[derive(Serialize, ToSchema)]
struct FacetCount {
    value: String,
    count: u32,
}

/// Search hit.
#[derive(Serialize, ToSchema)]
struct ResultHit {
    #[schema(value_type = Kind)]
    kind: String,
    #[schema(value_type = String)]
    id: Uuid,
    title: MarkedText,
    author: Option<String>,
    #[schema(value_type = Option<String>)]
    author_id: Option<Uuid>,
    school: Option<String>,
    #[schema(value_type = Option<String>)]
    school_id: Option<Uuid>,
    /// Best first; without marks if only the title or the author matches.
    snippets: Vec<Snippet>,
    /// Page with the best match, from 1.
    page: Option<usize>,
    facets: BTreeMap<&'static str, String>,
    /// Milliseconds since 1970.
    created_at: i64,
    updated_at: i64,
    uses: u64,
    rating: f64,
}

/// Text and the ranges to highlight, as start and end in UTF-16 code units.
#[derive(Serialize, ToSchema)]
struct MarkedText {
    text: String,
    #[schema(value_type = Vec<[u32; 2]>)]
    marks: Vec<(u32, u32)>,
}

#[derive(Serialize, ToSchema)]
struct Snippet {
    #[serde(flatten)]
    marked: MarkedText,
    /// Page number from 1; absent for text outside pages.
    page: Option<usize>,
}

impl From<tongke_search::Highlighted> for MarkedText {
    fn from(marked: tongke_search::Highlighted) -> Self {
        Self {
            text: marked.text,
            marks: marked.ranges,
        }
    }
}

impl From<Hit> for ResultHit {
    fn from(hit: Hit) -> Self {
        let page = hit.page();
        let document = hit.document;
        Self {
            kind: hit.key.kind,
            id: hit.key.id,
            title: hit.title.into(),
            author: document.author,
            author_id: document.author_id,
            school: document.school,
            school_id: document.school_id,
            snippets: hit
                .excerpts
                .into_iter()
                .map(|(page, excerpt)| Snippet {
                    marked: excerpt.highlighted.into(),
                    page,
                })
                .collect(),
            page,
            facets: document
                .facets
                .into_iter()
                .map(|(facet, value)| (facet.name(), value))
                .collect(),
            created_at: document.created_at,
            updated_at: document.updated_at,
            uses: document.uses,
            rating: document.rating,
        }
    }
}

impl From<SearchResults> for SearchResponse {
    fn from(results: SearchResults) -> Self {
        let counted = |values: Vec<(String, u32)>| {
            values
                .into_iter()
                .map(|(value, count)| FacetCount { value, count })
                .collect()
        };
        Self {
            total: results.total,
            reachable: results.total.min(MAX_RESULT_WINDOW),
            hits: results.hits.into_iter().map(ResultHit::from).collect(),
            facets: results
                .facets
                .into_iter()
                .map(|(facet, values)| (facet.name(), counted(values)))
                .collect(),
            approximate: results.is_approximate,
        }
    }
}

/// Query parameters of a search. Invalid values are ignored, except for `sort`, which no person
/// types.
#[derive(Debug, Default, PartialEq)]
struct SearchParams {
    text: String,
    filters: Filters,
    sort: SortOrder,
    page: usize,
    size: usize,
}

impl SearchParams {
    fn parse(pairs: Vec<(String, String)>) -> Result<Self> {
        let mut params = Self {
            page: 1,
            size: DEFAULT_PAGE_SIZE,
            ..Self::default()
        };
        for (name, value) in pairs {
            match (name.as_str(), Facet::from_name(&name)) {
                ("q", _) => params.text = value,
                ("sort", _) => params.sort = parse_sort(&value)?,
                ("page", _) => params.page = value.parse().unwrap_or(1).max(1),
                ("size", _) => {
                    params.size = value
                        .parse()
                        .unwrap_or(DEFAULT_PAGE_SIZE)
                        .clamp(1, MAX_PAGE_SIZE)
                }
                (_, Some(facet)) if !value.is_empty() => {
                    params.filters.entry(facet).or_default().push(value)
                }
                _ => {}
            }
        }
        Ok(params)
    }

    fn offset(&self) -> usize {
        (self.page - 1)
            .saturating_mul(self.size)
            .min(MAX_RESULT_WINDOW)
    }
}

fn parse_sort(value: &str) -> Result<SortOrder> {
    let unknown = |_| Error::field("sort", "没有这种排序方式。", "There is no such order.");
    value.parse::<Sort>().map(SortOrder::from).map_err(unknown)
}

/// Searches resources, recordings, people and schools. A facet given several times matches any of
/// its values.
#[utoipa::path(get, path = "/api/search", tag = "search",
    params(
        ("q" = Option<String>, Query, description = "As typed; a phrase in quotation marks is found as it stands. Empty: everything."),
        ("kind" = Option<Kind>, Query), ("stage" = Option<String>, Query), ("grade" = Option<String>, Query),
        ("subject" = Option<String>, Query), ("edition" = Option<String>, Query), ("volume" = Option<String>, Query),
        ("unit" = Option<String>, Query), ("resource_type" = Option<String>, Query), ("licence" = Option<String>, Query),
        ("file_type" = Option<String>, Query), ("school" = Option<String>, Query),
        ("sort" = inline(Option<Sort>), Query), ("page" = Option<usize>, Query), ("size" = Option<usize>, Query),
    ),
    responses((status = 200, body = SearchResponse), (status = 422, body = crate::error::Body)))]
async fn search(
    State(search): State<Search>,
    actor: Option<Actor>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<SearchResponse>> {
    let params = SearchParams::parse(pairs)?;
    let access = Access::of(&search.inner.db, actor.as_ref()).await?;
    let synonyms = search.inner.synonyms.read().clone();
    let results = search.query(move |index| {
        index.search(&SearchQuery {
            text: &params.text,
            viewer: access.as_viewer(),
            offset: params.offset(),
            limit: params.size,
            filters: params.filters,
            sort: params.sort,
            synonyms: &synonyms,
        })
    });
    Ok(Json(results.await?.into()))
}

/// Titles and names that complete the typed text.
#[derive(Serialize, ToSchema)]
struct Suggestions {
    items: Vec<Suggestion>,
}

#[derive(Serialize, ToSchema)]
struct Suggestion {
    #[schema(value_type = Kind)]
    kind: String,
    #[schema(value_type = String)]
    id: Uuid,
    #[serde(flatten)]
    title: MarkedText,
}

/// Suggests while one types: characters, pinyin, initials.
#[utoipa::path(get, path = "/api/search/suggest", tag = "search", params(("q" = Option<String>, Query)), responses((status = 200, body = Suggestions)))]
async fn list_suggestions(
    State(search): State<Search>,
    actor: Option<Actor>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Suggestions>> {
    let text = SearchParams::parse(pairs)?.text;
    let access = Access::of(&search.inner.db, actor.as_ref()).await?;
    let found = search
        .query(move |index| index.suggest(&text, access.as_viewer(), MAX_SUGGESTIONS))
        .await?;
    let suggestion = |found: tongke_search::Suggestion| Suggestion {
        kind: found.key.kind,
        id: found.key.id,
        title: found.title.into(),
    };
    Ok(Json(Suggestions {
        items: found.into_iter().map(suggestion).collect(),
    }))
}

/// Documents similar to one.
#[derive(Serialize, ToSchema)]
struct Similar {
    hits: Vec<ResultHit>,
}

/// Lists documents similar to one that the caller may see.
#[utoipa::path(get, path = "/api/search/similar/{kind}/{id}", tag = "search", params(("kind" = Kind, Path), ("id" = String, Path)), responses((status = 200, body = Similar), (status = 404, body = crate::error::Body)))]
async fn list_similar(
    State(search): State<Search>,
    actor: Option<Actor>,
    Path((kind, id)): Path<(Kind, Uuid)>,
) -> Result<Json<Similar>> {
    let access = Access::of(&search.inner.db, actor.as_ref()).await?;
    let key = Key::new(kind.as_str(), id);
    let found = search
        .query(move |index| index.similar(&key, access.as_viewer(), MAX_SIMILAR))
        .await?;
    let missing = || Error::not_found("没有找到这项内容。", "There is no such thing.");
    Ok(Json(Similar {
        hits: found
            .ok_or_else(missing)?
            .into_iter()
            .map(ResultHit::from)
            .collect(),
    }))
}

/// State of the index.
#[derive(Serialize, ToSchema)]
struct IndexState {
    documents: u64,
    /// Queued changes.
    pending: i64,
    /// Queued changes whose last attempt failed.
    failing: i64,
    rebuild: Option<RebuildState>,
}

/// Rebuild of the index in progress.
#[derive(Serialize, ToSchema)]
struct RebuildState {
    /// Milliseconds since 1970.
    requested_at: i64,
    /// Documents indexed so far; absent until the rebuild starts.
    done: Option<i64>,
}

/// Returns the state of the index.
#[utoipa::path(get, path = "/api/search/index", tag = "search", responses((status = 200, body = IndexState)))]
async fn get_index_state(State(search): State<Search>) -> Result<Json<IndexState>> {
    Ok(Json(index_state(&search).await?))
}

/// Requests a rebuild of the index; the current one serves queries until it is done.
#[utoipa::path(post, path = "/api/search/rebuild", tag = "search", responses((status = 202, body = IndexState)))]
async fn rebuild_index(State(search): State<Search>) -> Result<(StatusCode, Json<IndexState>)> {
    rebuild::request_rebuild(&search.inner.db).await?;
    Ok((StatusCode::ACCEPTED, Json(index_state(&search).await?)))
}

async fn index_state(search: &Search) -> Result<IndexState> {
    let (pending, failing) = index_queue::count(&search.inner.db).await?;
    let rebuild = rebuild::latest_request(&search.inner.db)
        .await?
        .map(|request| RebuildState {
            requested_at: request.requested_at,
            done: request.done,
        });
    Ok(IndexState {
        documents: search.active_index().document_count(),
        pending,
        failing,
        rebuild,
    })
}

impl Search {
    /// Queries the index on a blocking thread.
    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(Index) -> tongke_search::Result<T> + Send + 'static,
    ) -> Result<T> {
        let _slot = self
            .inner
            .query_slots
            .acquire()
            .await
            .map_err(Error::internal)?;
        let index = self.active_index();
        let result = tokio::task::spawn_blocking(move || query(index)).await;
        result.map_err(Error::internal)?.map_err(Error::internal)
    }
}
