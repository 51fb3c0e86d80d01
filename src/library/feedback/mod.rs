//! Feedback on resources: ratings, comments and use counts.

mod comments;
mod ratings;
pub mod uses;

use utoipa_axum::router::OpenApiRouter;

use crate::library::Library;

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .merge(ratings::routes())
        .merge(comments::routes())
}
