//! Search for Chinese schools: finds whatever stands in a text, shows it only to those who may see it, and ranks it by its words.
//!
//! - `document`: what a feature tells of a thing that can be found, and who may find it
//! - `text` `words` `pinyin`: folding and cutting, the same for what is indexed and what is asked
//! - `schema`: fields, and a document laid out in them. `shelf` `index` `writer`: where it is kept, read and written
//! - `asked` `synonyms`: what was typed, understood
//! - `facts` `ground`: what one segment has, and what of it the reader may see. `matching`: which documents have what was asked.
//!   `ranking`: which of them are better. `collect`: the best, narrowed and counted
//! - `find` `marks`: questions and answers, with the places that are worth showing
//!
//! The crate knows no database, no web and no features: a kind is a word, a reader a set of circles. That is what lets it be measured
//! (`cargo bench --bench search`) and fuzzed by itself.

mod asked;
mod collect;
mod document;
mod facts;
mod find;
mod ground;
mod index;
mod marks;
mod matching;
mod pinyin;
mod ranking;
mod schema;
mod shelf;
mod synonyms;
mod text;
mod words;
mod writer;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

pub use collect::{Narrowed, Order};
pub use document::{Document, Facet, Key, Visibility};
pub use find::{Answer, DEEPEST, Hit, Question, Reader, Suggestion};
pub use index::{Error, Index, Result};
pub use marks::{Excerpt, Marked};
pub use shelf::Shelf;
pub use synonyms::Synonyms;
pub use words::prepare;
pub use writer::{Change, Writer};
