//! Matching by set operations: the visible documents are intersected with clause after clause, the
//! rarest first. No score is computed and no stored document is read.
//!
//! A phrase of up to three characters is one term. A longer phrase is the intersection of its
//! trigrams; positions are checked only in documents that do not have the phrase as a dictionary
//! word.

use fixedbitset::FixedBitSet;
use tantivy::query::{FuzzyTermQuery, PhraseQuery, Query};
use tantivy::schema::Field;
use tantivy::{DocId, DocSet, Result, SeekDangerResult, Term};

use crate::parsed_query::{Clause, ParsedQuery, PhraseTerm, max_edits, phrase_text};
use crate::pinyin::MAX_SPELLING_LEN;
use crate::schema::NgramFields;
use crate::segment_view::SegmentView;
use crate::tokenizer::Analyzer;

/// Number of clauses that are all required. Of more than these some may be missing, as nobody
/// expects all words of a sentence to match.
const MAX_REQUIRED: usize = 5;

/// Required share of the clauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatchMode {
    /// All clauses; of more than [`MAX_REQUIRED`], seven in ten.
    Strict,
    /// Half of the clauses, typos included. The choice of this mode depends on visible documents
    /// only: a word's presence in a hidden document must not change the results.
    Relaxed,
}

impl MatchMode {
    fn required(self, clauses: usize) -> usize {
        match clauses {
            clauses if self == MatchMode::Relaxed => clauses.div_ceil(2),
            clauses if clauses > MAX_REQUIRED => (clauses * 7).div_ceil(10),
            clauses => clauses,
        }
    }
}

/// Approximate match of a word of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expansion {
    /// Terms of a pinyin field that start with the letters.
    Prefix(Field),
    /// Terms within the edit distance of [`max_edits`].
    Fuzzy(Field),
}

impl SegmentView<'_> {
    /// Visible documents that match a query.
    pub(crate) fn matching(&self, parsed: &ParsedQuery, mode: MatchMode) -> Result<FixedBitSet> {
        let needed = mode.required(parsed.clauses.len());
        let mut clauses = Vec::with_capacity(parsed.clauses.len());
        for clause in &parsed.clauses {
            clauses.push((self.doc_freq_bound(clause)?, clause));
        }
        clauses.sort_by_key(|(bound, _)| *bound);
        let clauses: Vec<&Clause> = clauses.into_iter().map(|(_, clause)| clause).collect();
        if needed < clauses.len() {
            self.matching_some(&clauses, mode, needed)
        } else {
            self.matching_all(&clauses, mode)
        }
    }

    fn matching_all(&self, clauses: &[&Clause], mode: MatchMode) -> Result<FixedBitSet> {
        let mut found = self.visible.clone();
        for clause in clauses {
            if found.is_clear() {
                break;
            }
            found = self.matching_clause(clause, mode, &found)?;
        }
        Ok(found)
    }

    /// Documents with at least `needed` of the clauses. Each has one of the rarest few; only those
    /// are checked for the others.
    fn matching_some(
        &self,
        clauses: &[&Clause],
        mode: MatchMode,
        needed: usize,
    ) -> Result<FixedBitSet> {
        let (first, others) = clauses.split_at(clauses.len() - needed + 1);
        let mut counts = vec![0_u8; self.visible.len()];
        let mut found = self.empty_set();
        for clause in first {
            let matched = self.matching_clause(clause, mode, &self.visible)?;
            matched.ones().for_each(|doc| counts[doc] += 1);
            found.union_with(&matched);
        }
        for clause in others {
            self.matching_clause(clause, mode, &found)?
                .ones()
                .for_each(|doc| counts[doc] += 1);
        }
        let failing: Vec<usize> = found
            .ones()
            .filter(|doc| usize::from(counts[*doc]) < needed)
            .collect();
        failing.into_iter().for_each(|doc| found.remove(doc));
        Ok(found)
    }

    /// Upper bound of the number of documents with a clause, without reading a posting list.
    fn doc_freq_bound(&self, clause: &Clause) -> Result<u32> {
        let mut bound = if clause.letters().is_some() {
            u32::MAX
        } else {
            0
        };
        for phrase in std::iter::once(&clause.phrase).chain(&clause.synonyms) {
            let mut rarest = u32::MAX;
            for term in lookup_terms(&self.fields.all, &phrase_text(phrase)) {
                rarest = rarest.min(self.doc_freq(&term)?);
            }
            bound = bound.saturating_add(rarest);
        }
        Ok(bound)
    }

    /// Documents of `within` that match a clause.
    fn matching_clause(
        &self,
        clause: &Clause,
        mode: MatchMode,
        within: &FixedBitSet,
    ) -> Result<FixedBitSet> {
        let mut found = self.matching_phrase(&self.fields.all, &clause.phrase, within)?;
        for synonym in &clause.synonyms {
            let mut others = within.clone();
            others.difference_with(&found);
            found.union_with(&self.matching_phrase(&self.fields.all, synonym, &others)?);
        }
        if let Some(letters) = clause.letters() {
            let mut expanded = self.empty_set();
            for expansion in self.expansions(mode) {
                self.add_expansion(expansion, letters, &mut expanded)?;
            }
            expanded.intersect_with(within);
            found.union_with(&expanded);
        }
        Ok(found)
    }

    /// Visible documents whose title contains or continues the input, for suggestions.
    pub(crate) fn matching_titles(&self, parsed: &ParsedQuery) -> Result<FixedBitSet> {
        let mut found = self.visible.clone();
        for clause in &parsed.clauses {
            let mut matched = self.empty_set();
            if let Some(letters) = clause.letters() {
                self.add_prefix(self.fields.title_words, letters, &mut matched)?;
                self.add_expansion(
                    Expansion::Prefix(self.fields.title_pinyin),
                    letters,
                    &mut matched,
                )?;
                matched.intersect_with(&found);
            }
            // A single letter matches prefixes only; inside a word it carries no information.
            if clause.letters().is_none_or(|letters| letters.len() > 1) {
                matched.union_with(&self.matching_phrase(
                    &self.fields.title,
                    &clause.phrase,
                    &found,
                )?);
            }
            found = matched;
        }
        Ok(found)
    }

    fn expansions(&self, mode: MatchMode) -> Vec<Expansion> {
        let pinyin = [
            Expansion::Prefix(self.fields.title_pinyin),
            Expansion::Prefix(self.fields.other_pinyin),
        ];
        let fuzzy = (mode == MatchMode::Relaxed).then_some(Expansion::Fuzzy(self.fields.letters));
        pinyin.into_iter().chain(fuzzy).collect()
    }

    /// Adds the documents that match an expansion of the letters.
    pub(crate) fn add_expansion(
        &self,
        expansion: Expansion,
        letters: &str,
        docs: &mut FixedBitSet,
    ) -> Result<()> {
        match expansion {
            Expansion::Prefix(field) if letters.bytes().all(|b| b.is_ascii_lowercase()) => {
                self.add_prefix(field, &letters[..letters.len().min(MAX_SPELLING_LEN)], docs)
            }
            Expansion::Fuzzy(field) if max_edits(letters) > 0 => {
                let term = Term::from_field_text(field, letters);
                self.add_query(&FuzzyTermQuery::new(term, max_edits(letters), true), docs)
            }
            _ => Ok(()),
        }
    }

    /// Documents of `within` that contain a phrase.
    pub(crate) fn matching_phrase(
        &self,
        fields: &NgramFields,
        phrase: &[PhraseTerm],
        within: &FixedBitSet,
    ) -> Result<FixedBitSet> {
        let text = phrase_text(phrase);
        let terms = lookup_terms(fields, &text);
        if terms.is_empty() {
            return Ok(self.empty_set());
        }
        let mut found = within.clone();
        for term in self.rarest_first(&terms)? {
            self.retain_term(term, &mut found)?;
            if found.is_clear() {
                return Ok(found);
            }
        }
        if terms.len() == 1 {
            return Ok(found);
        }
        let mut confirmed = self.empty_set();
        for words in &fields.words {
            self.add_term(&Term::from_field_text(*words, &text), &mut confirmed)?;
        }
        let mut unverified = found.clone();
        unverified.difference_with(&confirmed);
        found.intersect_with(&confirmed);
        self.add_consecutive(&terms, &unverified, &mut found)?;
        Ok(found)
    }

    fn rarest_first<'t>(&self, terms: &'t [Term]) -> Result<Vec<&'t Term>> {
        let mut frequencies = Vec::with_capacity(terms.len());
        for term in terms {
            frequencies.push((self.doc_freq(term)?, term));
        }
        frequencies.sort_by_key(|(frequency, _)| *frequency);
        Ok(frequencies.into_iter().map(|(_, term)| term).collect())
    }

    /// Adds the documents of `unverified` in which the trigrams are consecutive.
    fn add_consecutive(
        &self,
        trigrams: &[Term],
        unverified: &FixedBitSet,
        found: &mut FixedBitSet,
    ) -> Result<()> {
        if unverified.is_clear() {
            return Ok(());
        }
        // Every third trigram covers the phrase; the last one may overlap.
        let last = trigrams.len() - 1;
        let covering = trigrams
            .iter()
            .cloned()
            .enumerate()
            .filter(|(n, _)| n % 3 == 0 || *n == last);
        let query = PhraseQuery::new_with_offset(covering.collect());
        let mut scorer = query
            .weight(self.scoring_disabled())?
            .scorer(self.segment, 1.0)?;
        let mut next = scorer.doc();
        for doc in unverified.ones() {
            if (doc as DocId) < next {
                continue;
            }
            match scorer.seek_danger(doc as DocId) {
                SeekDangerResult::Found => found.insert(doc),
                SeekDangerResult::SeekLowerBound(bound) => next = bound,
            }
        }
        Ok(())
    }
}

/// Bigrams of a text; the unigram of a single character.
pub(crate) fn ngram_terms(fields: &NgramFields, text: &str) -> Vec<Term> {
    let bigrams = analyzed_terms(fields.bigrams, Analyzer::Bigrams, text);
    if bigrams.is_empty() {
        analyzed_terms(fields.unigrams, Analyzer::Unigrams, text)
    } else {
        bigrams
    }
}

/// Terms to look a text up by: trigrams if it has three characters, otherwise [`ngram_terms`].
fn lookup_terms(fields: &NgramFields, text: &str) -> Vec<Term> {
    let trigrams = analyzed_terms(fields.trigrams, Analyzer::Trigrams, text);
    if trigrams.is_empty() {
        ngram_terms(fields, text)
    } else {
        trigrams
    }
}

fn analyzed_terms(field: Field, analyzer: Analyzer, text: &str) -> Vec<Term> {
    analyzer
        .tokens(text)
        .into_iter()
        .map(|(_, token)| Term::from_field_text(field, &token))
        .collect()
}
