//! `GET /api/resources`: filtered and sorted lists of resources.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::summary::{self, ResourceSummary, SummaryQuery};
use crate::error::Result;
use crate::extract::{Json, Query};
use crate::identity::Actor;
use crate::ids::{PersonId, ResourceId, SchoolId};
use crate::library::access::{CAN_REVIEW, FIRST_PARAMETER, Reader};
use crate::library::{Library, ResourceKind, Review, Visibility};

/// Default and maximum length of a result page.
const DEFAULT_PER_PAGE: i64 = 24;
const MAX_PER_PAGE: i64 = 100;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(list_resources))
}

/// Conditions of a list, combined with AND.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct ResourceFilter {
    /// Only resources that the requester owns.
    mine: bool,
    /// Only resources that wait for a review by the requester.
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
    /// Type sniffed from the content.
    file_type: Option<String>,
    visibility: Option<Visibility>,
    review: Option<Review>,
    /// Comma-separated ids; only these, in this order. All other conditions and the sort order are
    /// ignored.
    ids: Option<String>,
    #[param(inline)]
    sort: Sort,
    /// Number of the result page, from 0.
    page: i64,
    per_page: Option<i64>,
}

crate::string_enum! {
    /// Order of a list.
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
            // Bayesian average with three ratings of 3 stars as prior: one rating of 5 does not
            // outrank a hundred.
            Self::Rating => "(r.rating_sum + 9) * 1000 / (r.ratings + 3) DESC, r.id DESC",
        }
    }
}

#[derive(Serialize, ToSchema)]
struct ResourceList {
    items: Vec<ResourceSummary>,
    total: i64,
}

impl ResourceFilter {
    /// Returns the SQL condition and its values.
    fn condition(&self, reader: &Reader) -> (String, Vec<String>) {
        let mut conditions = vec!["1 = 1".to_owned()];
        let mut values = Vec::new();
        let mut equal = |column: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                conditions.push(format!("{column} = ${}", FIRST_PARAMETER + values.len()));
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
            conditions.push(format!(
                "EXISTS (SELECT 1 FROM resource_versions fv JOIN blobs fb ON fb.hash = fv.hash WHERE fv.resource_id = r.id
                    AND fv.number = r.latest AND fb.type = ${})",
                FIRST_PARAMETER + values.len()
            ));
            values.push(kind);
        }
        if self.to_review {
            conditions.push(format!("r.review = 'pending' AND {CAN_REVIEW}"));
        }
        (conditions.join(" AND "), values)
    }
}

/// Lists the resources that the requester may see.
#[utoipa::path(get, path = "/api/resources", tag = "library", params(ResourceFilter), responses((status = 200, body = ResourceList)))]
async fn list_resources(
    State(library): State<Library>,
    actor: Option<Actor>,
    Query(filter): Query<ResourceFilter>,
) -> Result<Json<ResourceList>> {
    let reader = Reader::of(&library.db, actor.as_ref()).await?;
    if filter.mine && reader.person.is_none() {
        return Ok(Json(ResourceList {
            items: Vec::new(),
            total: 0,
        }));
    }
    if let Some(ids) = &filter.ids {
        let ids: Vec<ResourceId> = ids
            .split(',')
            .filter_map(|id| id.parse().ok())
            .take(MAX_PER_PAGE as usize)
            .collect();
        let items = summary::by_ids(&library.db, &reader, &ids).await?;
        return Ok(Json(ResourceList {
            total: items.len() as i64,
            items,
        }));
    }
    let (condition, values) = filter.condition(&reader);
    let total = summary::count(&library.db, &reader, &condition, &values).await?;
    let limit = filter
        .per_page
        .unwrap_or(DEFAULT_PER_PAGE)
        .clamp(1, MAX_PER_PAGE);
    let offset = filter.page.clamp(0, 1_000_000) * limit;
    let query = SummaryQuery {
        condition: &condition,
        values,
        order: filter.sort.order(),
        limit,
        offset,
    };
    Ok(Json(ResourceList {
        items: summary::list(&library.db, &reader, query).await?,
        total,
    }))
}
