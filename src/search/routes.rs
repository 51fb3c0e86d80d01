//! `/api/search`: the box, suggestions while one types, what is like something, and the index itself.

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

use super::reader::Sight;
use super::{Facet, Kind, Search, rebuild};
use crate::index_queue;

/// Hits of a page, and suggestions.
const PAGE: usize = 20;
const MOST_OF_PAGE: usize = 100;
const SUGGESTIONS: usize = 8;
const SIMILAR: usize = 10;

pub fn routes() -> OpenApiRouter<Search> {
    OpenApiRouter::new()
        .routes(routes!(search))
        .routes(routes!(suggest))
        .routes(routes!(similar))
        .routes(routes!(state))
        .routes(routes!(anew))
}

crate::string_enum! {
    /// What comes first.
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

/// What was found.
#[derive(Serialize, ToSchema)]
struct Results {
    total: usize,
    /// How many of them can be leafed through, the first of the order.
    reachable: usize,
    hits: Vec<ResultHit>,
    /// By facet, the values that most have. A facet that is chosen still counts its other values.
    facets: BTreeMap<&'static str, Vec<Counted>>,
    /// Nothing has all that was asked for; these have some of it.
    approximate: bool,
}

#[derive(Serialize, ToSchema)]
struct Counted {
    value: String,
    count: u32,
}

/// One thing that was found.
#[derive(Serialize, ToSchema)]
struct ResultHit {
    #[schema(value_type = Kind)]
    kind: String,
    #[schema(value_type = String)]
    id: Uuid,
    title: Marked,
    author: Option<String>,
    #[schema(value_type = Option<String>)]
    author_id: Option<Uuid>,
    school: Option<String>,
    #[schema(value_type = Option<String>)]
    school_id: Option<Uuid>,
    /// The best first; without marks where only the title or the author has what was asked for.
    snippets: Vec<Snippet>,
    /// The page that has most of it, from 1.
    page: Option<usize>,
    facets: BTreeMap<&'static str, String>,
    /// Milliseconds since 1970.
    created_at: i64,
    updated_at: i64,
    uses: u64,
    rating: f64,
}

/// A text, and which parts of it to mark: from and to, in UTF-16 units.
#[derive(Serialize, ToSchema)]
struct Marked {
    text: String,
    #[schema(value_type = Vec<[u32; 2]>)]
    marks: Vec<(u32, u32)>,
}

#[derive(Serialize, ToSchema)]
struct Snippet {
    #[serde(flatten)]
    marked: Marked,
    /// From 1; absent for text that is on no page.
    page: Option<usize>,
}

impl From<tongke_search::Highlighted> for Marked {
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

impl From<SearchResults> for Results {
    fn from(answer: SearchResults) -> Self {
        let counted = |values: Vec<(String, u32)>| {
            values
                .into_iter()
                .map(|(value, count)| Counted { value, count })
                .collect()
        };
        Self {
            total: answer.total,
            reachable: answer.total.min(MAX_RESULT_WINDOW),
            hits: answer.hits.into_iter().map(ResultHit::from).collect(),
            facets: answer
                .facets
                .into_iter()
                .map(|(facet, values)| (facet.name(), counted(values)))
                .collect(),
            approximate: answer.is_approximate,
        }
    }
}

/// What a page asks for. Whatever cannot be understood of it is left out rather than refused, except for words that only a program sends.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    line: String,
    narrowed: Filters,
    order: SortOrder,
    page: usize,
    size: usize,
}

impl Asked {
    fn of(pairs: Vec<(String, String)>) -> Result<Self> {
        let mut asked = Self {
            page: 1,
            size: PAGE,
            ..Self::default()
        };
        for (name, value) in pairs {
            match (name.as_str(), Facet::from_name(&name)) {
                ("q", _) => asked.line = value,
                ("sort", _) => asked.order = sort(&value)?,
                ("page", _) => asked.page = value.parse().unwrap_or(1).max(1),
                ("size", _) => asked.size = value.parse().unwrap_or(PAGE).clamp(1, MOST_OF_PAGE),
                (_, Some(facet)) if !value.is_empty() => {
                    asked.narrowed.entry(facet).or_default().push(value)
                }
                _ => {}
            }
        }
        Ok(asked)
    }

    fn skip(&self) -> usize {
        (self.page - 1)
            .saturating_mul(self.size)
            .min(MAX_RESULT_WINDOW)
    }
}

fn sort(word: &str) -> Result<SortOrder> {
    let unknown = |_| Error::field("sort", "没有这种排序方式。", "There is no such order.");
    word.parse::<Sort>().map(SortOrder::from).map_err(unknown)
}

/// Looks for resources, recordings, people and schools. Facets may be given several times: any of the values will do.
#[utoipa::path(get, path = "/api/search", tag = "search",
    params(
        ("q" = Option<String>, Query, description = "As typed; a phrase in quotation marks is found as it stands. Empty: everything."),
        ("kind" = Option<Kind>, Query), ("stage" = Option<String>, Query), ("grade" = Option<String>, Query),
        ("subject" = Option<String>, Query), ("edition" = Option<String>, Query), ("volume" = Option<String>, Query),
        ("unit" = Option<String>, Query), ("resource_type" = Option<String>, Query), ("licence" = Option<String>, Query),
        ("file_type" = Option<String>, Query), ("school" = Option<String>, Query),
        ("sort" = inline(Option<Sort>), Query), ("page" = Option<usize>, Query), ("size" = Option<usize>, Query),
    ),
    responses((status = 200, body = Results), (status = 422, body = crate::error::Body)))]
async fn search(
    State(search): State<Search>,
    actor: Option<Actor>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Results>> {
    let asked = Asked::of(pairs)?;
    let sight = Sight::of(&search.inner.db, actor.as_ref()).await?;
    let synonyms = search.inner.synonyms.read().clone();
    let answer = search.ask(move |index| {
        let (skip, take) = (asked.skip(), asked.size);
        let Asked {
            line,
            narrowed,
            order,
            ..
        } = asked;
        index.search(&SearchQuery {
            text: &line,
            viewer: sight.as_viewer(),
            filters: narrowed,
            sort: order,
            offset: skip,
            limit: take,
            synonyms: &synonyms,
        })
    });
    Ok(Json(answer.await?.into()))
}

/// Titles and names that what is typed may become.
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
    title: Marked,
}

/// Suggests while one types: characters, pinyin, initials.
#[utoipa::path(get, path = "/api/search/suggest", tag = "search", params(("q" = Option<String>, Query)), responses((status = 200, body = Suggestions)))]
async fn suggest(
    State(search): State<Search>,
    actor: Option<Actor>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Suggestions>> {
    let line = Asked::of(pairs)?.line;
    let sight = Sight::of(&search.inner.db, actor.as_ref()).await?;
    let found = search
        .ask(move |index| index.suggest(&line, sight.as_viewer(), SUGGESTIONS))
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

/// More like this.
#[derive(Serialize, ToSchema)]
struct Similar {
    hits: Vec<ResultHit>,
}

/// What is like something that the reader may see.
#[utoipa::path(get, path = "/api/search/similar/{kind}/{id}", tag = "search", params(("kind" = Kind, Path), ("id" = String, Path)), responses((status = 200, body = Similar), (status = 404, body = crate::error::Body)))]
async fn similar(
    State(search): State<Search>,
    actor: Option<Actor>,
    Path((kind, id)): Path<(Kind, Uuid)>,
) -> Result<Json<Similar>> {
    let sight = Sight::of(&search.inner.db, actor.as_ref()).await?;
    let key = Key::new(kind.as_str(), id);
    let found = search
        .ask(move |index| index.similar(&key, sight.as_viewer(), SIMILAR))
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

/// How the index stands.
#[derive(Serialize, ToSchema)]
struct IndexState {
    documents: u64,
    /// Changes that it has not caught up with, and those of them that failed and are tried again.
    pending: i64,
    failing: i64,
    rebuild: Option<RebuildState>,
}

/// An index built anew while the old one answers.
#[derive(Serialize, ToSchema)]
struct RebuildState {
    /// Milliseconds since 1970.
    requested_at: i64,
    /// Documents so far; absent until it is begun.
    done: Option<i64>,
}

/// How the index stands.
#[utoipa::path(get, path = "/api/search/index", tag = "search", responses((status = 200, body = IndexState)))]
async fn state(State(search): State<Search>) -> Result<Json<IndexState>> {
    Ok(Json(index_state(&search).await?))
}

/// Builds the index anew; the old one answers until it is done.
#[utoipa::path(post, path = "/api/search/rebuild", tag = "search", responses((status = 202, body = IndexState)))]
async fn anew(State(search): State<Search>) -> Result<(StatusCode, Json<IndexState>)> {
    rebuild::order(&search.inner.db).await?;
    Ok((StatusCode::ACCEPTED, Json(index_state(&search).await?)))
}

async fn index_state(search: &Search) -> Result<IndexState> {
    let (pending, failing) = index_queue::count(&search.inner.db).await?;
    let rebuild = rebuild::ordered(&search.inner.db)
        .await?
        .map(|order| RebuildState {
            requested_at: order.requested_at,
            done: order.done,
        });
    Ok(IndexState {
        documents: search.live().document_count(),
        pending,
        failing,
        rebuild,
    })
}

impl Search {
    /// Asks the index away from the threads that serve requests.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Index) -> tongke_search::Result<T> + Send + 'static,
    ) -> Result<T> {
        let _turn = self.inner.turns.acquire().await.map_err(Error::internal)?;
        let index = self.live();
        let answer = tokio::task::spawn_blocking(move || question(index)).await;
        answer.map_err(Error::internal)?.map_err(Error::internal)
    }
}
