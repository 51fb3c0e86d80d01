//! Questions and their answers.

use std::collections::{BTreeMap, HashSet};

use tantivy::collector::TopDocs;
use tantivy::query::{AllQuery, MoreLikeThisQuery, Occur, Query, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, Searcher};

use crate::asked::Asked;
use crate::clauses::{Clauses, Demand, boxed};
use crate::collect::{Found, Narrowed, Order, Pass};
use crate::document::{Document, Facet, Key, Visibility};
use crate::index::{Index, Result};
use crate::marks::{Excerpt, Marked, Marker};
use crate::schema::{Card, Fields};
use crate::synonyms::Synonyms;

/// Values told of one facet.
const MOST_VALUES: usize = 50;
/// Hits that can be leafed through.
pub const DEEPEST: usize = 1000;
/// Excerpts of a hit.
const EXCERPTS: usize = 2;
/// Titles that suggestions are chosen from.
const CANDIDATES: usize = 60;
/// Characters of a text that tell what it is like.
const TELLING: usize = 1000;
/// Words that are compared.
const MOST_LIKE_TERMS: usize = 20;

/// Who asks, and what they may see.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    pub circles: &'a [Visibility],
    /// Documents that are in the index still and must not be shown any more.
    pub hidden: &'a [Key],
}

/// A question.
#[derive(Debug)]
pub struct Question<'a> {
    /// As it was typed; empty asks for everything.
    pub line: &'a str,
    pub reader: Reader<'a>,
    pub narrowed: Narrowed,
    pub order: Order,
    /// Hits to skip and to tell.
    pub skip: usize,
    pub take: usize,
    pub synonyms: &'a Synonyms,
}

/// What was found.
#[derive(Debug)]
pub struct Answer {
    pub total: usize,
    pub hits: Vec<Hit>,
    /// Facet by facet the values that most have, and how many.
    pub facets: BTreeMap<Facet, Vec<(String, u32)>>,
    /// Nothing has all of what was asked for; these have some.
    pub is_loose: bool,
}

/// One thing that was found.
#[derive(Debug)]
pub struct Hit {
    pub key: Key,
    pub document: Document,
    pub title: Marked,
    /// The best place first.
    pub excerpts: Vec<(Option<usize>, Excerpt)>,
}

/// A title to choose while one types.
#[derive(Debug)]
pub struct Suggestion {
    pub key: Key,
    pub title: Marked,
}

impl Index {
    /// What the reader may see of what they asked for.
    pub fn search(&self, question: &Question<'_>) -> Result<Answer> {
        let mut asked = Asked::understand(question.line, question.synonyms);
        let searcher = self.inner.reader.searcher();
        let mut found = self.collect(&searcher, question, &asked, Demand::Strict)?;
        let is_loose = found.total == 0 && !asked.is_empty();
        if is_loose {
            asked = asked.loosened();
            found = self.collect(&searcher, question, &asked, Demand::Loose)?;
        }
        let marker = Marker::new(&asked);
        let wanted = found.best.iter().skip(question.skip).take(question.take);
        let cards = wanted.filter_map(|address| self.card(&searcher, *address).transpose());
        let hits = cards.map(|card| card.map(|card| Hit::new(card, &marker))).collect::<Result<_>>()?;
        Ok(Answer { total: found.total, hits, facets: self.inner.names.counts(&found, MOST_VALUES), is_loose })
    }

    fn collect(&self, searcher: &Searcher, question: &Question<'_>, asked: &Asked, demand: Demand) -> Result<Found> {
        let clauses = Clauses(&self.inner.fields);
        let matching =
            if asked.is_empty() { vec![(Occur::Must, boxed(AllQuery))] } else { clauses.matching(asked, demand) };
        let query = clauses.seen_by(question.reader, matching);
        // Without a question nothing is more relevant than anything else.
        let order = if asked.is_empty() && question.order == Order::Relevance { Order::Newest } else { question.order };
        let most = (question.skip + question.take).clamp(1, DEEPEST);
        let pass = Pass { names: &self.inner.names, narrowed: &question.narrowed, order, most };
        Ok(searcher.search(&query, &pass)?)
    }

    /// Titles and names that what was typed so far may become, best first.
    pub fn suggest(&self, line: &str, reader: Reader<'_>, most: usize) -> Result<Vec<Suggestion>> {
        let asked = Asked::understand(line, &Synonyms::default());
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let clauses = Clauses(&self.inner.fields);
        let query = clauses.seen_by(reader, vec![(Occur::Must, clauses.begun(&asked))]);
        let searcher = self.inner.reader.searcher();
        let marker = Marker::new(&asked);
        let mut suggestions = Vec::new();
        for card in self.best(&searcher, &query, CANDIDATES)? {
            suggestions.push(Suggestion { title: marker.name(&card.document.title), key: card.key });
        }
        // What begins with what was typed is likelier to be meant than what has it in the middle.
        suggestions.sort_by_key(|suggestion| suggestion.title.marks.first().map_or(u32::MAX, |(from, _)| *from));
        let mut told = HashSet::new();
        suggestions.retain(|suggestion| told.insert(suggestion.title.text.clone()));
        suggestions.truncate(most);
        Ok(suggestions)
    }

    /// What is like a document; `None` when the reader may not see that document, or there is none.
    pub fn similar(&self, key: &Key, reader: Reader<'_>, most: usize) -> Result<Option<Vec<Hit>>> {
        let clauses = Clauses(&self.inner.fields);
        let searcher = self.inner.reader.searcher();
        let itself = || boxed(TermQuery::new(self.inner.fields.key_term(key), IndexRecordOption::Basic));
        let Some(card) = self.best(&searcher, &clauses.seen_by(reader, vec![(Occur::Must, itself())]), 1)?.pop() else {
            return Ok(None);
        };
        let like = vec![(Occur::Must, self.like(&card.document)), (Occur::MustNot, itself())];
        let query = clauses.seen_by(reader, like);
        let asked = Asked::default();
        let marker = Marker::new(&asked);
        let cards = self.best(&searcher, &query, most)?;
        Ok(Some(cards.into_iter().map(|card| Hit::new(card, &marker)).collect()))
    }

    /// Documents with the words that tell most of this one.
    fn like(&self, document: &Document) -> Box<dyn Query> {
        let Fields { title_words, body_words, .. } = &self.inner.fields;
        let texts = std::iter::once(&document.body).chain(&document.pages);
        let text: String = texts.flat_map(|text| text.chars().chain(['\n'])).take(TELLING).collect();
        let values =
            vec![(*title_words, vec![Fields::value(&document.title)]), (*body_words, vec![Fields::value(&text)])];
        let like = MoreLikeThisQuery::builder()
            .with_min_doc_frequency(1)
            .with_min_term_frequency(1)
            .with_max_query_terms(MOST_LIKE_TERMS);
        // In bytes: single characters tell little.
        boxed(like.with_min_word_length(4).with_document_fields(values))
    }

    fn best(&self, searcher: &Searcher, query: &dyn Query, most: usize) -> Result<Vec<Card>> {
        let found: Vec<(f32, DocAddress)> =
            searcher.search(query, &TopDocs::with_limit(most.max(1)).order_by_score())?;
        found.into_iter().filter_map(|(_, address)| self.card(searcher, address).transpose()).collect()
    }
}

impl Hit {
    fn new(card: Card, marker: &Marker<'_>) -> Self {
        let Card { key, document } = card;
        let pages = document.pages.iter().enumerate().map(|(n, page)| (Some(n + 1), page));
        let texts = std::iter::once((None, &document.body)).chain(pages).filter(|(_, text)| !text.trim().is_empty());
        let mut excerpts: Vec<_> = texts.map(|(page, text)| (page, marker.excerpt(text))).collect();
        // Stable: of equals the earlier page comes first.
        excerpts.sort_by_key(|(_, excerpt)| std::cmp::Reverse(excerpt.weight));
        let enough = if excerpts.first().is_some_and(|(_, excerpt)| excerpt.weight == 0) { 1 } else { EXCERPTS };
        excerpts.truncate(enough);
        excerpts.retain({
            let mut first = true;
            move |(_, excerpt)| std::mem::take(&mut first) || excerpt.weight > 0
        });
        Self { title: marker.name(&document.title), key, document, excerpts }
    }

    /// The page that has most of what was asked for.
    pub fn page(&self) -> Option<usize> {
        self.excerpts.first().filter(|(_, excerpt)| excerpt.weight > 0).and_then(|(page, _)| *page)
    }
}
