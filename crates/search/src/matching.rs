//! Which documents have what was asked. No score is made here and no document is read: sets are narrowed, the rarest part first, until only
//! those are left that have everything.
//!
//! A phrase of up to three characters is one entry. A longer one is the intersection of its triples; whether these also follow each other is looked up
//! only in documents that do not have the phrase as a word of its own.

use fixedbitset::FixedBitSet;
use tantivy::query::{FuzzyTermQuery, PhraseQuery, Query};
use tantivy::schema::Field;
use tantivy::{DocId, DocSet, Result, SeekDangerResult, Term};

use crate::asked::{Asked, Part, Word, slips, written};
use crate::ground::Ground;
use crate::pinyin::LETTERS;
use crate::schema::Characters;
use crate::words::Cut;

/// Of more parts than this some may be missing: whoever types a sentence does not expect all of it.
const ALL_OF: usize = 5;

/// How much a document has to have of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// All of it, as it was typed.
    Strict,
    /// Half of it, misspelt words included. Whether this is tried depends only on what the reader may see: a word's presence in a document
    /// of others must not change their results.
    Loose,
}

impl Demand {
    fn of(self, parts: usize) -> usize {
        match parts {
            parts if self == Demand::Loose => parts.div_ceil(2),
            parts if parts > ALL_OF => (parts * 7).div_ceil(10),
            parts => parts,
        }
    }
}

/// A set of documents by letters that are not written as they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// An entry begins so.
    Begun(Field),
    /// An entry differs by a few letters.
    Misspelt(Field),
}

impl Ground<'_> {
    /// What the reader may see of what they asked for.
    pub fn matching(&self, asked: &Asked, demand: Demand) -> Result<FixedBitSet> {
        let needed = demand.of(asked.parts.len());
        let mut parts = Vec::with_capacity(asked.parts.len());
        for part in &asked.parts {
            parts.push((self.most(part)?, part));
        }
        parts.sort_by_key(|(most, _)| *most);
        let parts: Vec<&Part> = parts.into_iter().map(|(_, part)| part).collect();
        if needed < parts.len() {
            self.some_of(&parts, demand, needed)
        } else {
            self.all_of(&parts, demand)
        }
    }

    fn all_of(&self, parts: &[&Part], demand: Demand) -> Result<FixedBitSet> {
        let mut found = self.seen.clone();
        for part in parts {
            if found.is_clear() {
                break;
            }
            found = self.has(part, demand, &found)?;
        }
        Ok(found)
    }

    /// What has `needed` of the parts. It has one at least of the first few, the rarest: nothing else is looked at for the others.
    fn some_of(&self, parts: &[&Part], demand: Demand, needed: usize) -> Result<FixedBitSet> {
        let (first, others) = parts.split_at(parts.len() - needed + 1);
        let mut counts = vec![0_u8; self.seen.len()];
        let mut found = self.none();
        for part in first {
            let having = self.has(part, demand, &self.seen)?;
            having.ones().for_each(|doc| counts[doc] += 1);
            found.union_with(&having);
        }
        for part in others {
            self.has(part, demand, &found)?
                .ones()
                .for_each(|doc| counts[doc] += 1);
        }
        let few: Vec<usize> = found
            .ones()
            .filter(|doc| usize::from(counts[*doc]) < needed)
            .collect();
        few.into_iter().for_each(|doc| found.remove(doc));
        Ok(found)
    }

    /// No more documents than this have the part; a bound that costs next to nothing to know.
    fn most(&self, part: &Part) -> Result<u32> {
        let mut most = if part.letters().is_some() {
            u32::MAX
        } else {
            0
        };
        for phrase in std::iter::once(&part.phrase).chain(&part.synonyms) {
            let mut rarest = u32::MAX;
            for term in entries_of(&self.fields.all, &written(phrase)) {
                rarest = rarest.min(self.frequency(&term)?);
            }
            most = most.saturating_add(rarest);
        }
        Ok(most)
    }

    /// Those of `within` that have a part, wherever it stands and however it is written.
    fn has(&self, part: &Part, demand: Demand, within: &FixedBitSet) -> Result<FixedBitSet> {
        let mut found = self.phrase(&self.fields.all, &part.phrase, within)?;
        for synonym in &part.synonyms {
            let mut others = within.clone();
            others.difference_with(&found);
            found.union_with(&self.phrase(&self.fields.all, synonym, &others)?);
        }
        if let Some(letters) = part.letters() {
            let mut guessed = self.none();
            for guess in self.guesses(demand) {
                self.add_guess(guess, letters, &mut guessed)?;
            }
            guessed.intersect_with(within);
            found.union_with(&guessed);
        }
        Ok(found)
    }

    /// What the reader may see whose title or name has what was typed so far.
    pub fn begun(&self, asked: &Asked) -> Result<FixedBitSet> {
        let mut found = self.seen.clone();
        for part in &asked.parts {
            let mut having = self.none();
            if let Some(letters) = part.letters() {
                self.add_begun(self.fields.title_words, letters, &mut having)?;
                self.add_guess(Guess::Begun(self.fields.title_sound), letters, &mut having)?;
                having.intersect_with(&found);
            }
            // One letter begins something; in the middle of a word it says nothing.
            if part.letters().is_none_or(|letters| letters.len() > 1) {
                having.union_with(&self.phrase(&self.fields.title, &part.phrase, &found)?);
            }
            found = having;
        }
        Ok(found)
    }

    fn guesses(&self, demand: Demand) -> Vec<Guess> {
        let sounds = [
            Guess::Begun(self.fields.title_sound),
            Guess::Begun(self.fields.other_sound),
        ];
        let slips = (demand == Demand::Loose).then_some(Guess::Misspelt(self.fields.letters));
        sounds.into_iter().chain(slips).collect()
    }

    /// Adds the documents that letters may stand for.
    pub fn add_guess(&self, guess: Guess, letters: &str, docs: &mut FixedBitSet) -> Result<()> {
        match guess {
            Guess::Begun(field) if letters.bytes().all(|b| b.is_ascii_lowercase()) => {
                self.add_begun(field, &letters[..letters.len().min(LETTERS)], docs)
            }
            Guess::Misspelt(field) if slips(letters) > 0 => {
                let right = Term::from_field_text(field, letters);
                self.add_query(&FuzzyTermQuery::new(right, slips(letters), true), docs)
            }
            _ => Ok(()),
        }
    }

    /// Those of `within` that have a phrase as it stands.
    pub fn phrase(
        &self,
        texts: &Characters,
        phrase: &[Word],
        within: &FixedBitSet,
    ) -> Result<FixedBitSet> {
        let text = written(phrase);
        let terms = entries_of(texts, &text);
        if terms.is_empty() {
            return Ok(self.none());
        }
        let mut found = within.clone();
        for term in self.rarest_first(&terms)? {
            self.keep(term, &mut found)?;
            if found.is_clear() {
                return Ok(found);
            }
        }
        if terms.len() == 1 {
            return Ok(found);
        }
        let mut known = self.none();
        for words in &texts.words {
            self.add(&Term::from_field_text(*words, &text), &mut known)?;
        }
        let mut unsure = found.clone();
        unsure.difference_with(&known);
        found.intersect_with(&known);
        self.add_in_sequence(&terms, &unsure, &mut found)?;
        Ok(found)
    }

    fn rarest_first<'t>(&self, terms: &'t [Term]) -> Result<Vec<&'t Term>> {
        let mut frequencies = Vec::with_capacity(terms.len());
        for term in terms {
            frequencies.push((self.frequency(term)?, term));
        }
        frequencies.sort_by_key(|(frequency, _)| *frequency);
        Ok(frequencies.into_iter().map(|(_, term)| term).collect())
    }

    /// Adds those of `unsure` in which the triples follow each other.
    fn add_in_sequence(
        &self,
        triples: &[Term],
        unsure: &FixedBitSet,
        found: &mut FixedBitSet,
    ) -> Result<()> {
        if unsure.is_clear() {
            return Ok(());
        }
        // Every third covers the phrase; the last one may overlap.
        let last = triples.len() - 1;
        let covering = triples
            .iter()
            .cloned()
            .enumerate()
            .filter(|(n, _)| n % 3 == 0 || *n == last);
        let query = PhraseQuery::new_with_offset(covering.collect());
        let mut places = query.weight(self.unscored())?.scorer(self.segment, 1.0)?;
        let mut next = places.doc();
        for doc in unsure.ones() {
            if (doc as DocId) < next {
                continue;
            }
            match places.seek_danger(doc as DocId) {
                SeekDangerResult::Found => found.insert(doc),
                SeekDangerResult::SeekLowerBound(bound) => next = bound,
            }
        }
        Ok(())
    }
}

/// The pairs of a text; of one character, that.
pub fn terms(texts: &Characters, text: &str) -> Vec<Term> {
    let pairs = entries(texts.pairs, Cut::Pairs, text);
    if pairs.is_empty() {
        entries(texts.singles, Cut::Singles, text)
    } else {
        pairs
    }
}

/// The fewest and rarest entries that a document has which has the text.
fn entries_of(texts: &Characters, text: &str) -> Vec<Term> {
    let triples = entries(texts.triples, Cut::Triples, text);
    if triples.is_empty() {
        terms(texts, text)
    } else {
        triples
    }
}

fn entries(field: Field, cut: Cut, text: &str) -> Vec<Term> {
    cut.tokens(text)
        .into_iter()
        .map(|(_, token)| Term::from_field_text(field, &token))
        .collect()
}
