//! Links between lesson plan, deck, lesson and recording, from either side. A recording belongs to
//! its lesson, so a link to the lesson covers it.
//!
//! Links are followed one step further: a plan that is linked to a deck lists the lessons of that
//! deck, and those lessons list the plan. Readers get only entries that they may see.

mod edit;
mod graph;
mod lists;

use utoipa_axum::router::OpenApiRouter;

use crate::library::Library;

pub use edit::{link_lesson, unlink_lesson};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .merge(lists::routes())
        .merge(edit::routes())
}
