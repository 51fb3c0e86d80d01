//! Resources: lists, detail, extracted text, description, suggestions and changes.

mod create;
pub mod description;
pub mod description_columns;
mod detail;
pub mod file_name;
pub mod habits;
mod list;
pub mod suggestions;
pub mod summary;
pub mod text;
mod update;
mod vocabulary;

use sqlx::{Any, Transaction};
use utoipa_axum::router::OpenApiRouter;

use crate::db::millis;
use crate::error::Result;
use crate::extract::now;
use crate::ids::ResourceId;
use crate::library::{Library, index_source};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .merge(list::routes())
        .merge(create::routes())
        .merge(detail::routes())
        .merge(text::routes())
        .merge(update::routes())
        .merge(vocabulary::routes())
}

/// Sets the time of the last change and queues the resource for indexing.
pub async fn mark_changed(tx: &mut Transaction<'static, Any>, id: ResourceId) -> Result<()> {
    sqlx::query("UPDATE resources SET updated_at = $2 WHERE id = $1")
        .bind(id)
        .bind(millis(now()))
        .execute(&mut **tx)
        .await?;
    index_source::enqueue(tx, id).await?;
    Ok(())
}
