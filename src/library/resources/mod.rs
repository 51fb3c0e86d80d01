//! Resources: lists, detail, description and its suggestions, changes.

pub mod description;
pub mod detail;
pub mod suggestions;
pub mod summary;
pub mod update;

use utoipa_axum::router::OpenApiRouter;

use crate::library::Library;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .merge(detail::routes())
        .merge(update::routes())
}
