//! Refines suggested descriptions with the extracted text.

use sqlx::{Any, Transaction};

use super::Analysis;
use crate::error::Result;
use crate::ids::{PersonId, ResourceId};
use crate::library::resources::description::Description;
use crate::library::resources::description_columns::{self, DescriptionRow, FieldOrigins};
use crate::library::resources::file_name::file_stem;
use crate::library::resources::habits::Habits;
use crate::library::resources::suggestions;

#[derive(sqlx::FromRow)]
struct RefinedResource {
    owner_id: PersonId,
    file_name: String,
    folder: String,
    #[sqlx(flatten)]
    description: DescriptionRow,
}

/// Fills fields that are empty or hold an unconfirmed suggestion. A field that a person emptied
/// stays empty.
pub(super) async fn refine_description(
    tx: &mut Transaction<'static, Any>,
    id: ResourceId,
    analysis: &Analysis,
) -> Result<()> {
    let query = format!(
        "SELECT r.owner_id, v.file_name, v.folder, {}
         FROM resources r JOIN resource_versions v ON v.resource_id = r.id AND v.number = r.latest WHERE r.id = $1",
        description_columns::SELECT
    );
    let resource: RefinedResource = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(id)
        .fetch_one(&mut **tx)
        .await?;
    let text = format!(
        "{}\n{}",
        analysis.title.as_deref().unwrap_or_default(),
        analysis.beginning()
    );
    let hints = suggestions::Hints {
        name: file_stem(&resource.file_name),
        folder: &resource.folder,
        file_type: &analysis.kind,
        text: &text,
    };
    let habits = Habits::load(tx, resource.owner_id).await?;
    let suggestion = suggestions::suggest(&hints, &habits);
    let mut origins = description_columns::field_origins(tx, id).await?;
    let refined = refined_fields(resource.description, suggestion, &mut origins);
    description_columns::update(tx, id, &refined, &origins).await
}

/// Returns the fields to set, and marks newly filled ones as suggested.
fn refined_fields(
    current: DescriptionRow,
    suggestion: Description,
    origins: &mut FieldOrigins,
) -> Description {
    let mut refine = |field: &str, current: String, suggestion: Option<String>| {
        let suggestion = suggestion?;
        let is_suggested = origins.suggested.iter().any(|name| name == field);
        let is_confirmed = origins.confirmed.iter().any(|name| name == field);
        if !is_suggested && (is_confirmed || !current.is_empty()) {
            return None;
        }
        if !is_suggested {
            origins.suggested.push(field.to_owned());
        }
        Some(suggestion)
    };
    Description {
        stage: refine("stage", current.stage, suggestion.stage),
        grade: refine("grade", current.grade, suggestion.grade),
        subject: refine("subject", current.subject, suggestion.subject),
        edition: refine("edition", current.edition, suggestion.edition),
        volume: refine("volume", current.volume, suggestion.volume),
        unit: refine("unit", current.unit, suggestion.unit),
        period: refine("period", current.period, suggestion.period),
        kind: suggestion
            .kind
            .filter(|_| origins.suggested.iter().any(|name| name == "type")),
        ..Description::default()
    }
}

impl Analysis {
    /// Returns the text, or the text of the first page.
    fn beginning(&self) -> &str {
        match self.text.as_str() {
            "" => self.pages.first().map_or("", |page| &page.text),
            text => text,
        }
    }
}
