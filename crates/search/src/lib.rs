//! Full-text search for Chinese schools: exact substring matching, word-based ranking, facets and access control.
//!
//! - `document`: a document as a feature submits it, and the ACL groups that may find it
//! - `text` `tokenizer` `pinyin`: normalization and tokenization, the same for documents and queries
//! - `schema`: index fields and the mapping of a document to them. `generations` `index` `writer`: storage, reading, writing
//! - `parsed_query` `synonyms`: query parsing and expansion
//! - `segment_cache` `segment_view`: cached per-segment data, and one viewer's visible part of a segment
//! - `matching` `ranking` `collect`: matching documents, BM25 scores, filters, facet counts and the top documents
//! - `search` `highlight`: the query API (search, suggest, more like this), highlights and excerpts
//!
//! The crate depends on no database, no web framework and no feature: a kind is a string, a viewer is a set of
//! ACL groups. Therefore it can be benchmarked (`cargo bench --bench search`) and tested alone.

mod collect;
mod document;
mod generations;
mod highlight;
mod index;
mod matching;
mod parsed_query;
mod pinyin;
mod ranking;
mod schema;
mod search;
mod segment_cache;
mod segment_view;
mod synonyms;
mod text;
mod tokenizer;
mod writer;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

pub use collect::{Filters, SortOrder};
pub use document::{AclGroup, Document, Facet, Key};
pub use generations::Generations;
pub use highlight::{Excerpt, Highlighted};
pub use index::{Error, Index, Result};
pub use search::{Hit, MAX_RESULT_WINDOW, SearchQuery, SearchResults, Suggestion, Viewer};
pub use synonyms::Synonyms;
pub use tokenizer::load_dictionary;
pub use writer::{Change, Writer};
