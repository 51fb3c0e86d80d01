//! Relevance: whole words above substrings (数学 above 小|数学|习), title above body, adjacent words
//! above separate ones.
//!
//! A score is a sum of BM25 over terms (Robertson and Zaragoza 2009, in tantivy's implementation),
//! computed term by term, the rarest first, for the matching documents. Phrases are scored by their
//! bigrams, so no positions are read. Block-max WAND was rejected: facet counts need all matches
//! anyway, and then scoring adds only one multiplication per document and term.

use std::collections::HashMap;

use fixedbitset::FixedBitSet;
use tantivy::postings::{Postings, TermInfo};
use tantivy::query::Bm25Weight;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, Result, Term};

use crate::matching::{Expansion, MatchMode, ngram_terms};
use crate::parsed_query::{Clause, ParsedQuery, phrase_text};
use crate::schema::{Fields, NgramFields};
use crate::segment_view::{SEEK_COST, SegmentView, for_each_block, seek};

const TITLE_WORD_BOOST: f32 = 4.0;
const TITLE_BOOST: f32 = 2.0;
const OTHER_WORD_BOOST: f32 = 1.5;
const BODY_WORD_BOOST: f32 = 1.0;
const BODY_BOOST: f32 = 0.3;
const PHRASE_BOOST: f32 = 2.0;
const SYNONYM_BOOST: f32 = 0.7;
const TITLE_PINYIN_BOOST: f32 = 2.0;
const OTHER_PINYIN_BOOST: f32 = 1.0;
const FUZZY_TITLE_BOOST: f32 = 1.0;
const FUZZY_BOOST: f32 = 0.1;

/// Budget of postings read per query, about 3 ms of work. Beyond it the most frequent terms, which
/// discriminate least, are skipped; a pasted paragraph reaches it.
const MAX_POSTINGS: usize = 400_000;

/// Terms and expansions with their boosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranking {
    terms: HashMap<Term, f32>,
    expansions: Vec<(Expansion, String, f32)>,
}

/// A term with its statistics over the whole index.
struct ScoredTerm {
    term: Term,
    weight: Bm25Weight,
    frequency: usize,
    /// Location of the posting list, by segment.
    infos: Vec<Option<TermInfo>>,
}

impl Ranking {
    pub(crate) fn of(parsed: &ParsedQuery, fields: &Fields, mode: MatchMode) -> Self {
        let mut ranking = Self::default();
        for clause in &parsed.clauses {
            ranking.add_clause(clause, fields, mode);
        }
        for phrase in &parsed.adjacent {
            let text = phrase_text(phrase);
            ranking.add_ngrams(&fields.title, &text, PHRASE_BOOST * TITLE_BOOST);
            ranking.add_ngrams(&fields.all, &text, PHRASE_BOOST);
        }
        ranking
    }

    /// Ranking by titles only, for suggestions.
    pub(crate) fn of_titles(parsed: &ParsedQuery, fields: &Fields) -> Self {
        let mut ranking = Self::default();
        for clause in &parsed.clauses {
            ranking.add_ngrams(&fields.title, &phrase_text(&clause.phrase), TITLE_BOOST);
        }
        ranking
    }

    pub(crate) fn add(&mut self, field: Field, word: &str, boost: f32) {
        *self
            .terms
            .entry(Term::from_field_text(field, word))
            .or_default() += boost;
    }

    fn add_clause(&mut self, clause: &Clause, fields: &Fields, mode: MatchMode) {
        let text = phrase_text(&clause.phrase);
        self.add_ngrams(&fields.title, &text, TITLE_BOOST);
        self.add_ngrams(&fields.all, &text, BODY_BOOST);
        // The word fields have no term for two runs of letters, and a quoted phrase is not meant as
        // a word.
        if !clause.exact
            && (clause.phrase.len() == 1 || clause.phrase.iter().all(|word| word.is_cjk))
        {
            self.add(fields.title_words, &text, TITLE_WORD_BOOST);
            self.add(fields.other_words, &text, OTHER_WORD_BOOST);
            self.add(fields.body_words, &text, BODY_WORD_BOOST);
        }
        // Synonyms are scored in titles only; in bodies they discriminate too little to be read.
        for synonym in &clause.synonyms {
            self.add_ngrams(
                &fields.title,
                &phrase_text(synonym),
                SYNONYM_BOOST * TITLE_BOOST,
            );
        }
        if let Some(letters) = clause.letters() {
            let mut add =
                |expansion, boost| self.expansions.push((expansion, letters.to_owned(), boost));
            add(Expansion::Prefix(fields.title_pinyin), TITLE_PINYIN_BOOST);
            add(Expansion::Prefix(fields.other_pinyin), OTHER_PINYIN_BOOST);
            if mode == MatchMode::Relaxed {
                add(Expansion::Fuzzy(fields.title_words), FUZZY_TITLE_BOOST);
                add(Expansion::Fuzzy(fields.letters), FUZZY_BOOST);
            }
        }
    }

    /// Adds the bigrams of a phrase, which share one boost.
    fn add_ngrams(&mut self, fields: &NgramFields, text: &str, boost: f32) {
        let terms = ngram_terms(fields, text);
        let share = boost / terms.len().max(1) as f32;
        terms
            .into_iter()
            .for_each(|term| *self.terms.entry(term).or_default() += share);
    }

    /// Keeps the `limit` most significant terms by TF-IDF, as in Lucene's MoreLikeThis.
    pub(crate) fn keep_significant(
        &mut self,
        views: &[SegmentView<'_>],
        limit: usize,
    ) -> Result<()> {
        let documents = doc_count(views) as f32;
        let mut significant = Vec::with_capacity(self.terms.len());
        for (term, times) in self.terms.drain() {
            let mut frequency = 0;
            for view in views {
                frequency += view.doc_freq(&term)?;
            }
            if frequency > 0 {
                significant.push((times * (documents / frequency as f32).ln_1p(), term));
            }
        }
        significant.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        self.terms = significant
            .into_iter()
            .take(limit)
            .map(|(_, term)| (term, 1.0))
            .collect();
        Ok(())
    }

    /// Scores of the documents in `found`, by segment and document; entries of other documents are
    /// meaningless.
    pub(crate) fn scores(
        &self,
        views: &[SegmentView<'_>],
        found: &[FixedBitSet],
    ) -> Result<Vec<Vec<f32>>> {
        let counts: Vec<usize> = found.iter().map(|docs| docs.count_ones(..)).collect();
        let mut scores: Vec<Vec<f32>> = found.iter().map(|docs| vec![0.0; docs.len()]).collect();
        let mut left = MAX_POSTINGS;
        for term in self.scored_terms(views)? {
            let cost = term.frequency.min(counts.iter().sum::<usize>() * SEEK_COST);
            left = left.saturating_sub(cost);
            if left == 0 {
                break;
            }
            for (n, view) in views.iter().enumerate().filter(|(n, _)| counts[*n] > 0) {
                let Some(info) = &term.infos[n] else {
                    continue;
                };
                term.add_scores(view, info, (&found[n], counts[n]), &mut scores[n])?;
            }
        }
        for (n, view) in views.iter().enumerate().filter(|(n, _)| counts[*n] > 0) {
            self.add_expansion_scores(view, &found[n], &mut scores[n])?;
        }
        Ok(scores)
    }

    /// Terms that occur in the index, the rarest first.
    fn scored_terms(&self, views: &[SegmentView<'_>]) -> Result<Vec<ScoredTerm>> {
        let documents = doc_count(views);
        let mut lengths: HashMap<Field, f32> = HashMap::new();
        let mut scored = Vec::with_capacity(self.terms.len());
        for (term, boost) in &self.terms {
            let mut infos = Vec::with_capacity(views.len());
            for view in views {
                infos.push(view.posting_list(term)?.map(|(_, info)| info));
            }
            let frequency: usize = infos
                .iter()
                .flatten()
                .map(|info| info.doc_freq as usize)
                .sum();
            if frequency == 0 {
                continue;
            }
            let length = match lengths.get(&term.field()) {
                Some(length) => *length,
                None => *lengths.entry(term.field()).or_insert(mean_field_len(
                    views,
                    term.field(),
                    documents,
                )?),
            };
            let weight =
                Bm25Weight::for_one_term_without_explain(frequency as u64, documents, length)
                    .boost_by(*boost);
            scored.push(ScoredTerm {
                term: term.clone(),
                weight,
                frequency,
                infos,
            });
        }
        scored.sort_by(|a, b| {
            a.frequency
                .cmp(&b.frequency)
                .then_with(|| a.term.cmp(&b.term))
        });
        Ok(scored)
    }

    fn add_expansion_scores(
        &self,
        view: &SegmentView<'_>,
        found: &FixedBitSet,
        scores: &mut [f32],
    ) -> Result<()> {
        for (expansion, letters, boost) in &self.expansions {
            let mut expanded = view.empty_set();
            view.add_expansion(*expansion, letters, &mut expanded)?;
            expanded.intersect_with(found);
            expanded.ones().for_each(|doc| scores[doc] += boost);
        }
        Ok(())
    }
}

impl ScoredTerm {
    /// Adds the term's score to the documents of `found`; `count` is their number.
    fn add_scores(
        &self,
        view: &SegmentView<'_>,
        info: &TermInfo,
        (found, count): (&FixedBitSet, usize),
        scores: &mut [f32],
    ) -> Result<()> {
        let index = view.segment.inverted_index(self.term.field())?;
        let lengths = view.segment.get_fieldnorms_reader(self.term.field())?;
        let mut add = |doc: DocId, times| {
            scores[doc as usize] += self.weight.score(lengths.fieldnorm_id(doc), times);
        };
        if count * SEEK_COST >= info.doc_freq as usize {
            let postings =
                index.read_block_postings_from_terminfo(info, IndexRecordOption::WithFreqs)?;
            // Documents outside of `found` are scored too: skipping them was measured slower even
            // for small sets.
            for_each_block(postings, |docs, times| {
                docs.iter()
                    .zip(times)
                    .for_each(|(doc, times)| add(*doc, *times))
            });
            return Ok(());
        }
        let mut postings = index.read_postings_from_terminfo(info, IndexRecordOption::WithFreqs)?;
        for doc in found.ones() {
            if seek(&mut postings, doc as DocId) == doc as DocId {
                add(doc as DocId, postings.term_freq());
            }
        }
        Ok(())
    }
}

fn doc_count(views: &[SegmentView<'_>]) -> u64 {
    views
        .iter()
        .map(|view| u64::from(view.segment.max_doc()))
        .sum::<u64>()
        .max(1)
}

/// Mean number of terms of a document in a field.
fn mean_field_len(views: &[SegmentView<'_>], field: Field, documents: u64) -> Result<f32> {
    let mut terms = 0;
    for view in views {
        terms += view.segment.inverted_index(field)?.total_num_tokens();
    }
    Ok((terms as f32 / documents as f32).max(1.0))
}
