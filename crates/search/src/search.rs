//! Query API: search, suggestions and similar documents.

use std::collections::{BTreeMap, HashSet};

use fixedbitset::FixedBitSet;
use tantivy::{DocAddress, DocId, Searcher};

use crate::collect::{FacetCounts, Filters, SortColumns, SortOrder, filter_and_count, top_docs};
use crate::document::{AclGroup, Document, Facet, Key};
use crate::highlight::{Excerpt, Highlighted, Highlighter};
use crate::index::{Index, Result};
use crate::matching::MatchMode;
use crate::parsed_query::ParsedQuery;
use crate::ranking::Ranking;
use crate::schema::{Fields, KEY, StoredDocument, TITLE};
use crate::segment_view::SegmentView;
use crate::synonyms::Synonyms;
use crate::text::fold;
use crate::tokenizer::Analyzer;

/// Facet values reported per facet.
const MAX_FACET_VALUES: usize = 50;
/// Number of hits reachable by paging, as in Elasticsearch's `max_result_window`.
pub const MAX_RESULT_WINDOW: usize = 1000;
/// Excerpts per hit.
const MAX_EXCERPTS: usize = 2;
/// Titles that suggestions are selected from.
const SUGGESTION_CANDIDATES: usize = 60;
/// Leading characters of a text that its similarity is computed from.
const SIMILAR_CHARS: usize = 1000;
/// Number of terms that similarity compares, and the weight of a title word relative to a body
/// word.
const MAX_SIMILAR_TERMS: usize = 20;
const SIMILAR_TITLE_BOOST: f32 = 3.0;

/// Access rights of a query.
#[derive(Clone, Copy, Debug)]
pub struct Viewer<'a> {
    /// ACL groups of the account.
    pub groups: &'a [AclGroup],
    /// Documents to exclude that are still in the index.
    pub hidden: &'a [Key],
}

/// A search request.
#[derive(Debug)]
pub struct SearchQuery<'a> {
    /// Query as typed; an empty one matches all documents.
    pub text: &'a str,
    /// Access rights.
    pub viewer: Viewer<'a>,
    /// Facet filters.
    pub filters: Filters,
    /// Order of the hits.
    pub sort: SortOrder,
    /// Number of hits to skip.
    pub offset: usize,
    /// Maximum number of hits to return.
    pub limit: usize,
    /// Synonyms to expand the query with.
    pub synonyms: &'a Synonyms,
}

/// Results of a search.
#[derive(Debug)]
pub struct SearchResults {
    /// Number of matching documents.
    pub total: usize,
    /// Requested part of them.
    pub hits: Vec<Hit>,
    /// Most frequent values of each facet, with their counts.
    pub facets: BTreeMap<Facet, Vec<(String, u32)>>,
    /// True if no document matches the whole query; the hits match a part of it.
    pub is_approximate: bool,
}

/// A matching document.
#[derive(Debug)]
pub struct Hit {
    /// Key of the document.
    pub key: Key,
    /// Document as it was indexed.
    pub document: Document,
    /// Title with highlights.
    pub title: Highlighted,
    /// Best excerpts first, each with its page.
    pub excerpts: Vec<(Option<usize>, Excerpt)>,
}

/// A title or name suggested while typing.
#[derive(Debug)]
pub struct Suggestion {
    /// Key of the document.
    pub key: Key,
    /// Title with highlights.
    pub title: Highlighted,
}

/// Matching documents, by segment.
struct Matches {
    docs: Vec<FixedBitSet>,
    total: usize,
    /// True if nothing matches even without filters.
    is_empty: bool,
    counts: FacetCounts,
}

impl Index {
    /// Searches the documents visible to the viewer.
    pub fn search(&self, query: &SearchQuery<'_>) -> Result<SearchResults> {
        let searcher = self.inner.reader.searcher();
        let views = self.views(&searcher, query.viewer)?;
        let mut parsed = ParsedQuery::parse(query.text, query.synonyms);
        let mut mode = MatchMode::Strict;
        let mut found = self.find(&views, &parsed, mode, &query.filters)?;
        if found.is_empty && !parsed.is_empty() {
            (parsed, mode) = (parsed.relaxed(), MatchMode::Relaxed);
            found = self.find(&views, &parsed, mode, &query.filters)?;
        }
        let best = self.ranked(&views, &found.docs, query, &parsed, mode)?;
        let page = best.into_iter().skip(query.offset).take(query.limit);
        Ok(SearchResults {
            total: found.total,
            hits: self.hits(&searcher, page, &parsed)?,
            facets: self.inner.cache.top_values(&found.counts, MAX_FACET_VALUES),
            is_approximate: mode == MatchMode::Relaxed && found.total > 0,
        })
    }

    /// Views of all segments. Every query starts here, so access control applies to all of them.
    fn views<'a>(
        &'a self,
        searcher: &'a Searcher,
        viewer: Viewer<'_>,
    ) -> Result<Vec<SegmentView<'a>>> {
        Ok(SegmentView::all(
            searcher,
            &self.inner.fields,
            &self.inner.cache,
            viewer,
        )?)
    }

    fn find(
        &self,
        views: &[SegmentView<'_>],
        parsed: &ParsedQuery,
        mode: MatchMode,
        filters: &Filters,
    ) -> Result<Matches> {
        let mut docs = Vec::with_capacity(views.len());
        for view in views {
            docs.push(view.matching(parsed, mode)?);
        }
        let is_empty = docs.iter().all(FixedBitSet::is_clear);
        let counts = filter_and_count(views, &mut docs, filters, &self.inner.cache);
        let total = docs.iter().map(|docs| docs.count_ones(..)).sum();
        Ok(Matches {
            docs,
            total,
            is_empty,
            counts,
        })
    }

    fn ranked(
        &self,
        views: &[SegmentView<'_>],
        docs: &[FixedBitSet],
        query: &SearchQuery<'_>,
        parsed: &ParsedQuery,
        mode: MatchMode,
    ) -> Result<Vec<DocAddress>> {
        let limit = (query.offset + query.limit).clamp(1, MAX_RESULT_WINDOW);
        // Without a query text all scores are equal.
        let sort = if parsed.is_empty() && query.sort == SortOrder::Relevance {
            SortOrder::Newest
        } else {
            query.sort
        };
        if let Some(sorted) = SortColumns::by(sort, views)? {
            return Ok(top_docs(docs, limit, |segment, doc| {
                sorted.rank(segment, doc)
            }));
        }
        let scores = Ranking::of(parsed, &self.inner.fields, mode).scores(views, docs)?;
        Ok(top_docs(docs, limit, |segment, doc| {
            scores[segment][doc as usize].into()
        }))
    }

    fn hits(
        &self,
        searcher: &Searcher,
        documents: impl Iterator<Item = DocAddress>,
        parsed: &ParsedQuery,
    ) -> Result<Vec<Hit>> {
        let highlighter = Highlighter::new(parsed);
        let stored =
            documents.filter_map(|address| self.stored_document(searcher, address).transpose());
        stored
            .map(|stored| Ok(Hit::new(stored?, &highlighter)))
            .collect()
    }

    /// Suggests titles and names that continue or contain the input, best first.
    pub fn suggest(&self, text: &str, viewer: Viewer<'_>, limit: usize) -> Result<Vec<Suggestion>> {
        let parsed = ParsedQuery::parse(text, &Synonyms::default());
        if parsed.is_empty() {
            return Ok(Vec::new());
        }
        let searcher = self.inner.reader.searcher();
        let views = self.views(&searcher, viewer)?;
        let mut docs = Vec::with_capacity(views.len());
        for view in &views {
            docs.push(distinct_titles(view, view.matching_titles(&parsed)?)?);
        }
        let scores = Ranking::of_titles(&parsed, &self.inner.fields).scores(&views, &docs)?;
        let candidates = top_docs(&docs, SUGGESTION_CANDIDATES, |segment, doc| {
            scores[segment][doc as usize].into()
        });
        let highlighter = Highlighter::new(&parsed);
        let titles = stored_titles(&views, &candidates)?.into_iter();
        let mut suggestions: Vec<Suggestion> = titles
            .map(|(key, title)| Suggestion {
                key,
                title: highlighter.highlight(&title),
            })
            .collect();
        // A title that starts with the input is a likelier completion than one with the input in
        // the middle.
        suggestions.sort_by_key(|suggestion| {
            suggestion
                .title
                .ranges
                .first()
                .map_or(u32::MAX, |(from, _)| *from)
        });
        suggestions.truncate(limit);
        Ok(suggestions)
    }

    /// Finds similar documents. Returns `None` when the document does not exist or is not visible.
    pub fn similar(&self, key: &Key, viewer: Viewer<'_>, limit: usize) -> Result<Option<Vec<Hit>>> {
        let searcher = self.inner.reader.searcher();
        let mut views = self.views(&searcher, viewer)?;
        let Some(stored) = self.remove_visible(&searcher, &mut views, key)? else {
            return Ok(None);
        };
        let scores = self.similarity_scores(&stored.document, &views)?;
        let mut docs: Vec<FixedBitSet> = views.into_iter().map(|view| view.visible).collect();
        for (docs, scores) in docs.iter_mut().zip(&scores) {
            let others: Vec<usize> = docs.ones().filter(|doc| scores[*doc] == 0.0).collect();
            others.into_iter().for_each(|doc| docs.remove(doc));
        }
        let best = top_docs(&docs, limit.max(1), |segment, doc| {
            scores[segment][doc as usize].into()
        });
        Ok(Some(self.hits(
            &searcher,
            best.into_iter(),
            &ParsedQuery::default(),
        )?))
    }

    /// Looks a visible document up and removes it from the visible set.
    fn remove_visible(
        &self,
        searcher: &Searcher,
        views: &mut [SegmentView<'_>],
        key: &Key,
    ) -> Result<Option<StoredDocument>> {
        let term = self.inner.fields.key_term(key);
        for (ordinal, view) in views.iter_mut().enumerate() {
            let mut found = view.visible.clone();
            view.retain_term(&term, &mut found)?;
            if let Some(doc) = found.minimum() {
                view.visible.remove(doc);
                return self
                    .stored_document(searcher, DocAddress::new(ordinal as u32, doc as DocId));
            }
        }
        Ok(None)
    }

    /// Similarity of all visible documents to a document, by its most significant words.
    fn similarity_scores(
        &self,
        document: &Document,
        views: &[SegmentView<'_>],
    ) -> Result<Vec<Vec<f32>>> {
        let Fields {
            title_words,
            body_words,
            ..
        } = &self.inner.fields;
        let texts = std::iter::once(&document.body).chain(&document.pages);
        let text: String = texts
            .flat_map(|text| text.chars().chain(['\n']))
            .take(SIMILAR_CHARS)
            .collect();
        let mut ranking = Ranking::default();
        for (field, text, boost) in [
            (*title_words, &document.title, SIMILAR_TITLE_BOOST),
            (*body_words, &text, 1.0),
        ] {
            let folded = fold(text);
            let words = Analyzer::Words
                .tokens(&folded)
                .into_iter()
                .map(|(_, word)| word);
            // Single characters discriminate little.
            words
                .filter(|word| word.chars().nth(1).is_some())
                .for_each(|word| ranking.add(field, &word, boost));
        }
        ranking.keep_significant(views, MAX_SIMILAR_TERMS)?;
        let visible: Vec<FixedBitSet> = views.iter().map(|view| view.visible.clone()).collect();
        Ok(ranking.scores(views, &visible)?)
    }
}

/// Keeps one document per title, as many lessons share a title.
fn distinct_titles(view: &SegmentView<'_>, mut docs: FixedBitSet) -> Result<FixedBitSet> {
    let Some(titles) = view.segment.fast_fields().str(TITLE)? else {
        return Ok(docs);
    };
    let mut seen = FixedBitSet::with_capacity(titles.num_terms());
    let title = |doc: usize| titles.ords().first(doc as DocId).unwrap_or_default() as usize;
    let duplicates: Vec<usize> = docs.ones().filter(|doc| seen.put(title(*doc))).collect();
    duplicates.into_iter().for_each(|doc| docs.remove(doc));
    Ok(docs)
}

/// Keys and titles of documents, read from columns only, without loading stored documents.
fn stored_titles(
    views: &[SegmentView<'_>],
    documents: &[DocAddress],
) -> Result<Vec<(Key, String)>> {
    let mut columns = Vec::with_capacity(views.len());
    for view in views {
        let of_segment = view.segment.fast_fields();
        columns.push(of_segment.str(KEY)?.zip(of_segment.str(TITLE)?));
    }
    let (mut seen, mut found) = (HashSet::new(), Vec::with_capacity(documents.len()));
    for address in documents {
        let Some((keys, titles)) = &columns[address.segment_ord as usize] else {
            continue;
        };
        let (mut key, mut title) = (String::new(), String::new());
        titles.ord_to_str(
            titles.ords().first(address.doc_id).unwrap_or_default(),
            &mut title,
        )?;
        keys.ord_to_str(
            keys.ords().first(address.doc_id).unwrap_or_default(),
            &mut key,
        )?;
        if let Some(key) = Key::parse(&key)
            && seen.insert(title.clone())
        {
            found.push((key, title));
        }
    }
    Ok(found)
}

impl Hit {
    fn new(stored: StoredDocument, highlighter: &Highlighter<'_>) -> Self {
        let StoredDocument { key, document } = stored;
        let pages = document
            .pages
            .iter()
            .enumerate()
            .map(|(n, page)| (Some(n + 1), page.as_str()));
        let excerpts = highlighter.excerpts(
            std::iter::once((None, document.body.as_str())).chain(pages),
            MAX_EXCERPTS,
        );
        Self {
            title: highlighter.highlight(&document.title),
            key,
            document,
            excerpts,
        }
    }

    /// Page of the best excerpt, if it contains a match.
    pub fn page(&self) -> Option<usize> {
        self.excerpts
            .first()
            .filter(|(_, excerpt)| excerpt.score > 0)
            .and_then(|(page, _)| *page)
    }
}
