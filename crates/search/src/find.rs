//! Questions and their answers.

use std::collections::{BTreeMap, HashSet};

use fixedbitset::FixedBitSet;
use tantivy::{DocAddress, DocId, Searcher};

use crate::asked::Asked;
use crate::collect::{Counts, Narrowed, Order, Sorted, best, narrow};
use crate::document::{Document, Facet, Key, Visibility};
use crate::ground::Ground;
use crate::index::{Index, Result};
use crate::marks::{Excerpt, Marked, Marker};
use crate::matching::Demand;
use crate::ranking::Ranking;
use crate::schema::{Card, Fields, KEY, SHOWN};
use crate::synonyms::Synonyms;
use crate::text::fold;
use crate::words::Cut;

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
/// Words that are compared, and how much more often one of the title is taken to stand there.
const MOST_LIKE_TERMS: usize = 20;
const TITLE_TELLS: f32 = 3.0;

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

/// What has what was asked for, segment by segment.
struct Found {
    docs: Vec<FixedBitSet>,
    total: usize,
    /// Whether nothing has it, narrowed or not.
    is_nothing: bool,
    counts: Counts,
}

impl Index {
    /// What the reader may see of what they asked for.
    pub fn search(&self, question: &Question<'_>) -> Result<Answer> {
        let searcher = self.inner.reader.searcher();
        let grounds = self.grounds(&searcher, question.reader)?;
        let mut asked = Asked::understand(question.line, question.synonyms);
        let mut demand = Demand::Strict;
        let mut found = self.find(&grounds, &asked, demand, &question.narrowed)?;
        if found.is_nothing && !asked.is_empty() {
            (asked, demand) = (asked.loosened(), Demand::Loose);
            found = self.find(&grounds, &asked, demand, &question.narrowed)?;
        }
        let best = self.in_order(&grounds, &found.docs, question, &asked, demand)?;
        let wanted = best.into_iter().skip(question.skip).take(question.take);
        Ok(Answer {
            total: found.total,
            hits: self.hits(&searcher, wanted, &asked)?,
            facets: self.inner.library.named(&found.counts, MOST_VALUES),
            is_loose: demand == Demand::Loose && found.total > 0,
        })
    }

    /// Every segment, and what the reader may see of it. Every answer begins here.
    fn grounds<'a>(
        &'a self,
        searcher: &'a Searcher,
        reader: Reader<'_>,
    ) -> Result<Vec<Ground<'a>>> {
        Ok(Ground::all(
            searcher,
            &self.inner.fields,
            &self.inner.library,
            reader,
        )?)
    }

    fn find(
        &self,
        grounds: &[Ground<'_>],
        asked: &Asked,
        demand: Demand,
        narrowed: &Narrowed,
    ) -> Result<Found> {
        let mut docs = Vec::with_capacity(grounds.len());
        for ground in grounds {
            docs.push(ground.matching(asked, demand)?);
        }
        let is_nothing = docs.iter().all(FixedBitSet::is_clear);
        let counts = narrow(grounds, &mut docs, narrowed, &self.inner.library);
        let total = docs.iter().map(|docs| docs.count_ones(..)).sum();
        Ok(Found {
            docs,
            total,
            is_nothing,
            counts,
        })
    }

    fn in_order(
        &self,
        grounds: &[Ground<'_>],
        docs: &[FixedBitSet],
        question: &Question<'_>,
        asked: &Asked,
        demand: Demand,
    ) -> Result<Vec<DocAddress>> {
        let most = (question.skip + question.take).clamp(1, DEEPEST);
        // Without a question nothing is more relevant than anything else.
        let order = if asked.is_empty() && question.order == Order::Relevance {
            Order::Newest
        } else {
            question.order
        };
        if let Some(sorted) = Sorted::by(order, grounds)? {
            return Ok(best(docs, most, |segment, doc| sorted.rank(segment, doc)));
        }
        let scores = Ranking::of(asked, &self.inner.fields, demand).scores(grounds, docs)?;
        Ok(best(docs, most, |segment, doc| {
            scores[segment][doc as usize].into()
        }))
    }

    fn hits(
        &self,
        searcher: &Searcher,
        documents: impl Iterator<Item = DocAddress>,
        asked: &Asked,
    ) -> Result<Vec<Hit>> {
        let marker = Marker::new(asked);
        let cards = documents.filter_map(|address| self.card(searcher, address).transpose());
        cards.map(|card| Ok(Hit::new(card?, &marker))).collect()
    }

    /// Titles and names that what was typed so far may become, best first.
    pub fn suggest(&self, line: &str, reader: Reader<'_>, most: usize) -> Result<Vec<Suggestion>> {
        let asked = Asked::understand(line, &Synonyms::default());
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let searcher = self.inner.reader.searcher();
        let grounds = self.grounds(&searcher, reader)?;
        let mut docs = Vec::with_capacity(grounds.len());
        for ground in &grounds {
            docs.push(one_of_each_title(ground, ground.begun(&asked)?)?);
        }
        let scores = Ranking::of_titles(&asked, &self.inner.fields).scores(&grounds, &docs)?;
        let candidates = best(&docs, CANDIDATES, |segment, doc| {
            scores[segment][doc as usize].into()
        });
        let marker = Marker::new(&asked);
        let shown = shown(&grounds, &candidates)?.into_iter();
        let mut suggestions: Vec<Suggestion> = shown
            .map(|(key, title)| Suggestion {
                key,
                title: marker.name(&title),
            })
            .collect();
        // What begins with what was typed is likelier to be meant than what has it in the middle.
        suggestions.sort_by_key(|suggestion| {
            suggestion
                .title
                .marks
                .first()
                .map_or(u32::MAX, |(from, _)| *from)
        });
        suggestions.truncate(most);
        Ok(suggestions)
    }

    /// What is like a document; `None` when the reader may not see that document, or there is none.
    pub fn similar(&self, key: &Key, reader: Reader<'_>, most: usize) -> Result<Option<Vec<Hit>>> {
        let searcher = self.inner.reader.searcher();
        let mut grounds = self.grounds(&searcher, reader)?;
        let Some(card) = self.take_out(&searcher, &mut grounds, key)? else {
            return Ok(None);
        };
        let scores = self.like(&card.document, &grounds)?;
        let mut docs: Vec<FixedBitSet> = grounds.into_iter().map(|ground| ground.seen).collect();
        for (docs, scores) in docs.iter_mut().zip(&scores) {
            let others: Vec<usize> = docs.ones().filter(|doc| scores[*doc] == 0.0).collect();
            others.into_iter().for_each(|doc| docs.remove(doc));
        }
        let best = best(&docs, most.max(1), |segment, doc| {
            scores[segment][doc as usize].into()
        });
        Ok(Some(self.hits(
            &searcher,
            best.into_iter(),
            &Asked::default(),
        )?))
    }

    /// The document with that key, which is then no longer among those that are seen; `None` when it was not.
    fn take_out(
        &self,
        searcher: &Searcher,
        grounds: &mut [Ground<'_>],
        key: &Key,
    ) -> Result<Option<Card>> {
        let term = self.inner.fields.key_term(key);
        for (ordinal, ground) in grounds.iter_mut().enumerate() {
            let mut itself = ground.seen.clone();
            ground.keep(&term, &mut itself)?;
            if let Some(doc) = itself.minimum() {
                ground.seen.remove(doc);
                return self.card(searcher, DocAddress::new(ordinal as u32, doc as DocId));
            }
        }
        Ok(None)
    }

    /// How much all that is seen is like a document, by the words that tell most of it.
    fn like(&self, document: &Document, grounds: &[Ground<'_>]) -> Result<Vec<Vec<f32>>> {
        let Fields {
            title_words,
            body_words,
            ..
        } = &self.inner.fields;
        let texts = std::iter::once(&document.body).chain(&document.pages);
        let text: String = texts
            .flat_map(|text| text.chars().chain(['\n']))
            .take(TELLING)
            .collect();
        let mut ranking = Ranking::default();
        for (field, text, by) in [
            (*title_words, &document.title, TITLE_TELLS),
            (*body_words, &text, 1.0),
        ] {
            let folded = fold(text);
            let words = Cut::Words.tokens(&folded).into_iter().map(|(_, word)| word);
            // Single characters tell little.
            words
                .filter(|word| word.chars().nth(1).is_some())
                .for_each(|word| ranking.add(field, &word, by));
        }
        ranking.keep_telling(grounds, MOST_LIKE_TERMS)?;
        let seen: Vec<FixedBitSet> = grounds.iter().map(|ground| ground.seen.clone()).collect();
        Ok(ranking.scores(grounds, &seen)?)
    }
}

/// One document for each title that some have: many lessons are called alike.
fn one_of_each_title(ground: &Ground<'_>, mut docs: FixedBitSet) -> Result<FixedBitSet> {
    let Some(titles) = ground.segment.fast_fields().str(SHOWN)? else {
        return Ok(docs);
    };
    let mut told = FixedBitSet::with_capacity(titles.num_terms());
    let title = |doc: usize| titles.ords().first(doc as DocId).unwrap_or_default() as usize;
    let again: Vec<usize> = docs.ones().filter(|doc| told.put(title(*doc))).collect();
    again.into_iter().for_each(|doc| docs.remove(doc));
    Ok(docs)
}

/// Keys and titles of documents, read from their columns: a text is never read for a suggestion.
fn shown(grounds: &[Ground<'_>], documents: &[DocAddress]) -> Result<Vec<(Key, String)>> {
    let mut columns = Vec::with_capacity(grounds.len());
    for ground in grounds {
        let of_segment = ground.segment.fast_fields();
        columns.push(of_segment.str(KEY)?.zip(of_segment.str(SHOWN)?));
    }
    let (mut told, mut shown) = (HashSet::new(), Vec::with_capacity(documents.len()));
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
            && told.insert(title.clone())
        {
            shown.push((key, title));
        }
    }
    Ok(shown)
}

impl Hit {
    fn new(card: Card, marker: &Marker<'_>) -> Self {
        let Card { key, document } = card;
        let pages = document
            .pages
            .iter()
            .enumerate()
            .map(|(n, page)| (Some(n + 1), page.as_str()));
        let excerpts = marker.excerpts(
            std::iter::once((None, document.body.as_str())).chain(pages),
            EXCERPTS,
        );
        Self {
            title: marker.name(&document.title),
            key,
            document,
            excerpts,
        }
    }

    /// The page that has most of what was asked for.
    pub fn page(&self) -> Option<usize> {
        self.excerpts
            .first()
            .filter(|(_, excerpt)| excerpt.weight > 0)
            .and_then(|(page, _)| *page)
    }
}
