//! What makes one document better than another: words above what merely looks like them (数学 above 小|数学|习), a title above a sentence, and what
//! stood together above what stands apart.
//!
//! A score is a sum of BM25 over entries (Robertson and Zaragoza 2009, as tantivy counts it), made entry by entry, the rarest first, for the
//! documents that were found and no others. Phrases count by their pairs, so no places are read. Pruning by block maxima (WAND) was turned down:
//! the documents that match have to be counted for the facets anyway, and then all that scoring adds is a multiplication per document and entry.

use std::collections::HashMap;

use fixedbitset::FixedBitSet;
use tantivy::postings::{Postings, TermInfo};
use tantivy::query::Bm25Weight;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, Result, Term};

use crate::asked::{Asked, Part, written};
use crate::ground::{Ground, SPARSE, each_block, seek};
use crate::matching::{Demand, Guess, terms};
use crate::schema::{Characters, Fields};

const TITLE_WORD: f32 = 4.0;
const TITLE: f32 = 2.0;
const OTHER_WORD: f32 = 1.5;
const BODY_WORD: f32 = 1.0;
const BODY: f32 = 0.3;
const TOGETHER: f32 = 2.0;
const SYNONYM: f32 = 0.7;
const TITLE_SOUND: f32 = 2.0;
const OTHER_SOUND: f32 = 1.0;
const MISSPELT_TITLE: f32 = 1.0;
const MISSPELT: f32 = 0.1;

/// Postings read for one question, about 3 ms of work. Whatever would go beyond is left out: a pasted paragraph's most frequent entries, which tell
/// least.
const MOST_POSTINGS: usize = 400_000;

/// Entries and guesses that count, and how much.
#[derive(Clone, Debug, Default)]
pub struct Ranking {
    entries: HashMap<Term, f32>,
    guesses: Vec<(Guess, String, f32)>,
}

/// An entry as the whole index has it.
struct Known {
    term: Term,
    weight: Bm25Weight,
    frequency: usize,
    /// Where it stands in each segment.
    infos: Vec<Option<TermInfo>>,
}

impl Ranking {
    pub fn of(asked: &Asked, fields: &Fields, demand: Demand) -> Self {
        let mut ranking = Self::default();
        for part in &asked.parts {
            ranking.add_part(part, fields, demand);
        }
        for phrase in &asked.together {
            let text = written(phrase);
            ranking.add_characters(&fields.title, &text, TOGETHER * TITLE);
            ranking.add_characters(&fields.all, &text, TOGETHER);
        }
        ranking
    }

    /// Titles and names only.
    pub fn of_titles(asked: &Asked, fields: &Fields) -> Self {
        let mut ranking = Self::default();
        for part in &asked.parts {
            ranking.add_characters(&fields.title, &written(&part.phrase), TITLE);
        }
        ranking
    }

    pub fn add(&mut self, field: Field, word: &str, by: f32) {
        *self
            .entries
            .entry(Term::from_field_text(field, word))
            .or_default() += by;
    }

    fn add_part(&mut self, part: &Part, fields: &Fields, demand: Demand) {
        let text = written(&part.phrase);
        self.add_characters(&fields.title, &text, TITLE);
        self.add_characters(&fields.all, &text, BODY);
        // Two words of letters are no entry among words; neither is what was quoted meant as a word.
        if !part.exact && (part.phrase.len() == 1 || part.phrase.iter().all(|word| word.single)) {
            self.add(fields.title_words, &text, TITLE_WORD);
            self.add(fields.other_words, &text, OTHER_WORD);
            self.add(fields.body_words, &text, BODY_WORD);
        }
        // Somewhere in a text they tell too little to be read.
        for synonym in &part.synonyms {
            self.add_characters(&fields.title, &written(synonym), SYNONYM * TITLE);
        }
        if let Some(letters) = part.letters() {
            let mut add = |guess, by| self.guesses.push((guess, letters.to_owned(), by));
            add(Guess::Begun(fields.title_sound), TITLE_SOUND);
            add(Guess::Begun(fields.other_sound), OTHER_SOUND);
            if demand == Demand::Loose {
                add(Guess::Misspelt(fields.title_words), MISSPELT_TITLE);
                add(Guess::Misspelt(fields.letters), MISSPELT);
            }
        }
    }

    /// A phrase's characters weigh `by` together.
    fn add_characters(&mut self, texts: &Characters, text: &str, by: f32) {
        let terms = terms(texts, text);
        let share = by / terms.len().max(1) as f32;
        terms
            .into_iter()
            .for_each(|term| *self.entries.entry(term).or_default() += share);
    }

    /// The entries that tell most of some words: `most` of them by how often they stand here and how rarely elsewhere.
    pub fn keep_telling(&mut self, grounds: &[Ground<'_>], most: usize) -> Result<()> {
        let documents = documents(grounds) as f32;
        let mut telling = Vec::with_capacity(self.entries.len());
        for (term, times) in self.entries.drain() {
            let mut frequency = 0;
            for ground in grounds {
                frequency += ground.frequency(&term)?;
            }
            if frequency > 0 {
                telling.push((times * (documents / frequency as f32).ln_1p(), term));
            }
        }
        telling.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        self.entries = telling
            .into_iter()
            .take(most)
            .map(|(_, term)| (term, 1.0))
            .collect();
        Ok(())
    }

    /// The scores of the documents in `found`, segment by segment; what is said of others means nothing.
    pub fn scores(&self, grounds: &[Ground<'_>], found: &[FixedBitSet]) -> Result<Vec<Vec<f32>>> {
        let counts: Vec<usize> = found.iter().map(|docs| docs.count_ones(..)).collect();
        let mut scores: Vec<Vec<f32>> = found.iter().map(|docs| vec![0.0; docs.len()]).collect();
        let mut left = MOST_POSTINGS;
        for entry in self.known(grounds)? {
            let cost = entry.frequency.min(counts.iter().sum::<usize>() * SPARSE);
            left = left.saturating_sub(cost);
            if left == 0 {
                break;
            }
            for (n, ground) in grounds.iter().enumerate().filter(|(n, _)| counts[*n] > 0) {
                let Some(info) = &entry.infos[n] else {
                    continue;
                };
                entry.add_scores(ground, info, (&found[n], counts[n]), &mut scores[n])?;
            }
        }
        for (n, ground) in grounds.iter().enumerate().filter(|(n, _)| counts[*n] > 0) {
            self.add_guesses(ground, &found[n], &mut scores[n])?;
        }
        Ok(scores)
    }

    /// The entries that any document has, the rarest first.
    fn known(&self, grounds: &[Ground<'_>]) -> Result<Vec<Known>> {
        let documents = documents(grounds);
        let mut lengths: HashMap<Field, f32> = HashMap::new();
        let mut known = Vec::with_capacity(self.entries.len());
        for (term, by) in &self.entries {
            let mut infos = Vec::with_capacity(grounds.len());
            for ground in grounds {
                infos.push(ground.entry(term)?.map(|(_, info)| info));
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
                None => *lengths.entry(term.field()).or_insert(mean_length(
                    grounds,
                    term.field(),
                    documents,
                )?),
            };
            let weight =
                Bm25Weight::for_one_term_without_explain(frequency as u64, documents, length)
                    .boost_by(*by);
            known.push(Known {
                term: term.clone(),
                weight,
                frequency,
                infos,
            });
        }
        known.sort_by(|a, b| {
            a.frequency
                .cmp(&b.frequency)
                .then_with(|| a.term.cmp(&b.term))
        });
        Ok(known)
    }

    fn add_guesses(
        &self,
        ground: &Ground<'_>,
        found: &FixedBitSet,
        scores: &mut [f32],
    ) -> Result<()> {
        for (guess, letters, by) in &self.guesses {
            let mut guessed = ground.none();
            ground.add_guess(*guess, letters, &mut guessed)?;
            guessed.intersect_with(found);
            guessed.ones().for_each(|doc| scores[doc] += by);
        }
        Ok(())
    }
}

impl Known {
    /// Adds what the entry is worth to the documents of `found`, of which there are as many as said.
    fn add_scores(
        &self,
        ground: &Ground<'_>,
        info: &TermInfo,
        (found, count): (&FixedBitSet, usize),
        scores: &mut [f32],
    ) -> Result<()> {
        let entries = ground.segment.inverted_index(self.term.field())?;
        let lengths = ground.segment.get_fieldnorms_reader(self.term.field())?;
        let mut add = |doc: DocId, times| {
            scores[doc as usize] += self.weight.score(lengths.fieldnorm_id(doc), times);
        };
        if count * SPARSE >= info.doc_freq as usize {
            let postings =
                entries.read_block_postings_from_terminfo(info, IndexRecordOption::WithFreqs)?;
            // Others get a score, too: to leave them out costs more, measured even where few were found.
            each_block(postings, |docs, times| {
                docs.iter()
                    .zip(times)
                    .for_each(|(doc, times)| add(*doc, *times))
            });
            return Ok(());
        }
        let mut postings =
            entries.read_postings_from_terminfo(info, IndexRecordOption::WithFreqs)?;
        for doc in found.ones() {
            if seek(&mut postings, doc as DocId) == doc as DocId {
                add(doc as DocId, postings.term_freq());
            }
        }
        Ok(())
    }
}

fn documents(grounds: &[Ground<'_>]) -> u64 {
    grounds
        .iter()
        .map(|ground| u64::from(ground.segment.max_doc()))
        .sum::<u64>()
        .max(1)
}

/// How many entries a document has in a field on average.
fn mean_length(grounds: &[Ground<'_>], field: Field, documents: u64) -> Result<f32> {
    let mut entries = 0;
    for ground in grounds {
        entries += ground.segment.inverted_index(field)?.total_num_tokens();
    }
    Ok((entries as f32 / documents as f32).max(1.0))
}
