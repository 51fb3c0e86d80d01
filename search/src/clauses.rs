//! From what was asked to tantivy's queries.
//!
//! A part is found by its characters in all texts together, which finds all there is with one entry of the index. As a word, and in the title, it only
//! ranks: what is meant (数学) above what looks like it (小|数学|习), a title above a sentence.

use tantivy::Term;
use tantivy::query::{
    BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, FuzzyTermQuery, Occur, PhraseQuery, Query, TermQuery,
    TermSetQuery,
};
use tantivy::schema::{Field, IndexRecordOption};

use crate::asked::{Asked, Part, Phrase, Word};
use crate::find::Reader;
use crate::pinyin::LETTERS;
use crate::schema::{Characters, Fields};
use crate::words::pair;

const TITLE_WORD: f32 = 4.0;
const TITLE: f32 = 2.0;
const OTHER_WORD: f32 = 1.5;
const BODY_WORD: f32 = 1.0;
const BODY: f32 = 0.3;
const TOGETHER: f32 = 2.0;
const SYNONYM: f32 = 0.7;
const TITLE_SOUND: f32 = 2.0;
const OTHER_SOUND: f32 = 1.0;
const UNFINISHED: f32 = 0.2;
const MISSPELT: f32 = 0.1;

/// Of more parts than this some may be missing: whoever types a sentence does not expect all of it.
const ALL_OF: usize = 5;

type Clause = Box<dyn Query>;

/// The clauses of one query.
pub type Matching = Vec<(Occur, Clause)>;

/// How much a document has to have of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// All of it, as it was typed.
    Strict,
    /// Half of it, misspelt words included. Whether this is tried depends only on what the reader may see: a word's presence in a document
    /// of others must not change their results.
    Loose,
}

/// Makes queries.
pub struct Clauses<'a>(pub &'a Fields);

impl Clauses<'_> {
    /// What the reader may see of `matching`. Every query goes through here.
    pub fn seen_by(&self, reader: Reader<'_>, mut matching: Matching) -> BooleanQuery {
        let circles = reader.circles.iter().map(|circle| Term::from_field_text(self.0.circles, &circle.word()));
        let circles = circles.map(|term| boxed(TermQuery::new(term, IndexRecordOption::Basic))).collect();
        matching.push((Occur::Must, boxed(ConstScoreQuery::new(boxed(BooleanQuery::union(circles)), 0.0))));
        if !reader.hidden.is_empty() {
            let keys = reader.hidden.iter().map(|key| self.0.key_term(key));
            matching.push((Occur::MustNot, boxed(TermSetQuery::new(keys))));
        }
        BooleanQuery::new(matching)
    }

    /// Documents that have what was asked, and what makes some of them better.
    pub fn matching(&self, asked: &Asked, demand: Demand) -> Matching {
        let parts: Vec<Clause> = asked.parts.iter().map(|part| self.has(part, demand)).collect();
        let needed = match parts.len() {
            count if demand == Demand::Loose => count.div_ceil(2),
            count if count > ALL_OF => (count * 7).div_ceil(10),
            count => count,
        };
        let mut clauses: Matching = match parts.len() {
            count if count == needed => parts.into_iter().map(|part| (Occur::Must, part)).collect(),
            _ => vec![(Occur::Must, boxed(BooleanQuery::union_with_minimum_required_clauses(parts, needed)))],
        };
        let better = asked.parts.iter().flat_map(|part| self.better(part));
        clauses.extend(better.chain(asked.together.iter().flat_map(|phrase| self.together(phrase))));
        clauses
    }

    /// A part, wherever it stands and however it is written.
    fn has(&self, part: &Part, demand: Demand) -> Clause {
        let mut any = vec![boost(self.characters(self.0.all, &part.phrase), BODY)];
        if let Some(letters) = part.letters() {
            any.extend(self.letters(letters, demand));
        }
        let synonyms = part.synonyms.iter().map(|synonym| boost(self.characters(self.0.all, synonym), SYNONYM * BODY));
        any.extend(synonyms);
        match any.len() {
            1 => any.swap_remove(0),
            _ => boxed(BooleanQuery::union(any)),
        }
    }

    /// What ranks a document higher that has the part.
    fn better(&self, part: &Part) -> Matching {
        let mut better = vec![boost(self.characters(self.0.title, &part.phrase), TITLE)];
        let word: String = part.phrase.iter().map(|word| word.text.as_str()).collect();
        // Two words of letters are no entry among words; neither is what was quoted meant as a word.
        if !part.exact && (part.phrase.len() == 1 || part.phrase.iter().all(|word| word.single)) {
            better.push(boost(term(self.0.title_words, &word), TITLE_WORD));
            better.push(boost(term(self.0.other_words, &word), OTHER_WORD));
            better.push(boost(term(self.0.body_words, &word), BODY_WORD));
        }
        let synonyms =
            part.synonyms.iter().map(|synonym| boost(self.characters(self.0.title, synonym), SYNONYM * TITLE));
        better.extend(synonyms);
        better.into_iter().map(|clause| (Occur::Should, clause)).collect()
    }

    fn together(&self, phrase: &Phrase) -> Matching {
        let places = [(self.0.title, TOGETHER * TITLE), (self.0.all, TOGETHER)];
        places.into_iter().map(|(texts, by)| (Occur::Should, boost(self.characters(texts, phrase), by))).collect()
    }

    /// A phrase by its characters, as it stands.
    fn characters(&self, texts: Characters, phrase: &[Word]) -> Clause {
        let pair_at =
            |n: usize| Term::from_field_text(texts.pairs, &pair(phrase[n].as_piece(), phrase[n + 1].as_piece()));
        match phrase.len() {
            0 => boxed(EmptyQuery),
            1 => term(texts.singles, &phrase[0].text),
            2 => boxed(TermQuery::new(pair_at(0), IndexRecordOption::WithFreqs)),
            length => {
                // Every second pair covers the phrase; the last one may overlap.
                let starts = (0..length - 1).filter(|n| n % 2 == 0 || *n == length - 2);
                boxed(PhraseQuery::new_with_offset(starts.map(|n| (n, pair_at(n))).collect()))
            }
        }
    }

    /// Letters may be part of a longer run, the sound of characters, or misspelt.
    fn letters(&self, letters: &str, demand: Demand) -> Vec<Clause> {
        let mut any = Vec::new();
        any.push(boost(begins(self.0.tails, letters), UNFINISHED));
        if letters.bytes().all(|b| b.is_ascii_lowercase()) {
            let sound = &letters[..letters.len().min(LETTERS)];
            any.push(boost(begins(self.0.title_sound, sound), TITLE_SOUND));
            any.push(boost(begins(self.0.other_sound, sound), OTHER_SOUND));
        }
        let slips = slips(letters);
        if demand == Demand::Loose && slips > 0 {
            let right = Term::from_field_text(self.0.letters, letters);
            any.push(boost(boxed(FuzzyTermQuery::new(right, slips, true)), MISSPELT));
        }
        any
    }

    /// Titles and names with what was typed so far.
    pub fn begun(&self, asked: &Asked) -> Clause {
        let part = |part: &Part| {
            let mut any = vec![self.characters(self.0.title, &part.phrase)];
            if let Some(letters) = part.letters() {
                any.push(begins(self.0.title_words, letters));
                if letters.bytes().all(|b| b.is_ascii_lowercase()) {
                    any.push(begins(self.0.title_sound, &letters[..letters.len().min(LETTERS)]));
                }
            }
            boxed(BooleanQuery::union(any))
        };
        boxed(BooleanQuery::intersection(asked.parts.iter().map(part).collect()))
    }
}

/// How many letters of a word may be wrong. Numbers are never misspelt.
pub fn slips(letters: &str) -> u8 {
    match letters.chars().count() {
        _ if letters.bytes().any(|b| b.is_ascii_digit()) => 0,
        0..4 => 0,
        4..8 => 1,
        _ => 2,
    }
}

pub fn boxed(query: impl Query) -> Clause {
    Box::new(query)
}

fn boost(query: Clause, by: f32) -> Clause {
    boxed(BoostQuery::new(query, by))
}

fn term(field: Field, text: &str) -> Clause {
    boxed(TermQuery::new(Term::from_field_text(field, text), IndexRecordOption::WithFreqs))
}

fn begins(field: Field, text: &str) -> Clause {
    boxed(FuzzyTermQuery::new_prefix(Term::from_field_text(field, text), 0, true))
}
