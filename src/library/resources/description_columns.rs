//! Columns of table `resources` that hold a description: one list for every SELECT, INSERT and
//! UPDATE.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, Transaction};

use super::description::Description;
use crate::error::{Error, Result};
use crate::ids::ResourceId;
use crate::library::ResourceKind;

/// Columns of a [`Description`], in the order of [`bind`].
const COLUMNS: [&str; 13] = [
    "title",
    "description",
    "kind",
    "stage",
    "grade",
    "subject",
    "edition",
    "volume",
    "unit",
    "period",
    "keywords",
    "licence",
    "source",
];

/// Columns of a [`DescriptionRow`] in a SELECT of resource `r`.
pub const SELECT: &str =
    "r.title, r.kind, r.stage, r.grade, r.subject, r.edition, r.volume, r.unit, r.period,
    r.keywords, r.licence, r.source";

/// A stored description without its long text, which lists do not show.
#[derive(sqlx::FromRow)]
pub struct DescriptionRow {
    pub title: String,
    pub kind: ResourceKind,
    pub stage: String,
    pub grade: String,
    pub subject: String,
    pub edition: String,
    pub volume: String,
    pub unit: String,
    pub period: String,
    /// JSON list.
    pub keywords: String,
    pub licence: String,
    pub source: String,
}

/// Column list of an INSERT.
pub fn names() -> String {
    COLUMNS.join(", ")
}

/// SET clause of an UPDATE that keeps columns whose field is absent; its placeholders begin at
/// `$first`.
pub fn assignments(first: usize) -> String {
    let assignments = COLUMNS
        .iter()
        .enumerate()
        .map(|(at, column)| format!("{column} = COALESCE(${}, {column})", first + at));
    assignments.collect::<Vec<_>>().join(", ")
}

/// Binds all 13 columns; absent fields are NULL.
pub fn bind<'q>(
    query: Query<'q, Any, AnyArguments>,
    description: &Description,
) -> Result<Query<'q, Any, AnyArguments>> {
    let Description {
        title,
        description,
        kind,
        stage,
        grade,
        subject,
        edition,
        volume,
        unit,
        period,
        keywords,
        licence,
        source,
    } = description.clone();
    Ok(query
        .bind(title)
        .bind(description)
        .bind(kind)
        .bind(stage)
        .bind(grade)
        .bind(subject)
        .bind(edition)
        .bind(volume)
        .bind(unit)
        .bind(period)
        .bind(keywords.as_deref().map(json_list).transpose()?)
        .bind(licence)
        .bind(source))
}

/// Fields that hold unconfirmed suggestions, and fields that a person set or confirmed.
pub struct FieldOrigins {
    pub suggested: Vec<String>,
    pub confirmed: Vec<String>,
}

/// Reads the origins of a resource's fields.
pub async fn field_origins(
    tx: &mut Transaction<'static, Any>,
    id: ResourceId,
) -> Result<FieldOrigins> {
    let (suggested, settled): (String, String) =
        sqlx::query_as("SELECT suggested, settled FROM resources WHERE id = $1")
            .bind(id)
            .fetch_one(&mut **tx)
            .await?;
    Ok(FieldOrigins {
        suggested: serde_json::from_str(&suggested).unwrap_or_default(),
        confirmed: serde_json::from_str(&settled).unwrap_or_default(),
    })
}

/// Sets the fields that are present, and the origins of all.
pub async fn update(
    tx: &mut Transaction<'static, Any>,
    id: ResourceId,
    description: &Description,
    origins: &FieldOrigins,
) -> Result<()> {
    let statement = format!(
        "UPDATE resources SET suggested = $2, settled = $3, {} WHERE id = $1",
        assignments(4)
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(id)
        .bind(json_list(&origins.suggested)?)
        .bind(json_list(&origins.confirmed)?);
    bind(query, description)?.execute(&mut **tx).await?;
    Ok(())
}

/// A list as its TEXT column stores it.
pub fn json_list<T: serde::Serialize>(list: &[T]) -> Result<String> {
    serde_json::to_string(list).map_err(Error::internal)
}
