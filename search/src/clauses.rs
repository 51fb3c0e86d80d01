//! From what was asked to tantivy's queries.
//!
//! A part is found in any text: by its characters, which finds all there is, and as a word, which ranks what is meant (数学) above what only
//! looks like it (小|数学|习). Weights: a title says more than a text, an author or a subject more than a sentence.

use tantivy::Term;
use tantivy::query::{
    BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, FuzzyTermQuery, Occur, PhraseQuery, Query, TermQuery,
    TermSetQuery,
};
use tantivy::schema::{Field, IndexRecordOption};

use crate::asked::{Asked, Part, Phrase, Word};
use crate::find::Reader;
use crate::pinyin::LETTERS;
use crate::schema::{Fields, Texts};
use crate::words::pair;

const TITLE_WORD: f32 = 4.0;
const TITLE: f32 = 2.0;
const OTHER: f32 = 1.5;
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
    pub fn seen_by(&self, reader: Reader<'_>, matching: Clause) -> BooleanQuery {
        let circles = reader.circles.iter().map(|circle| Term::from_field_text(self.0.circles, &circle.word()));
        let circles = circles.map(|term| boxed(TermQuery::new(term, IndexRecordOption::Basic))).collect();
        let mut clauses = vec![
            (Occur::Must, boxed(ConstScoreQuery::new(boxed(BooleanQuery::union(circles)), 0.0))),
            (Occur::Must, matching),
        ];
        if !reader.hidden.is_empty() {
            let keys = reader.hidden.iter().map(|key| self.0.key_term(key));
            clauses.push((Occur::MustNot, boxed(TermSetQuery::new(keys))));
        }
        BooleanQuery::new(clauses)
    }

    /// Documents that have what was asked.
    pub fn matching(&self, asked: &Asked, demand: Demand) -> Clause {
        let parts: Vec<Clause> = asked.parts.iter().map(|part| self.part(part, demand)).collect();
        let needed = match parts.len() {
            count if demand == Demand::Loose => count.div_ceil(2),
            count if count > ALL_OF => (count * 7).div_ceil(10),
            count => count,
        };
        let required: Clause = match parts.len() {
            count if count == needed => boxed(BooleanQuery::intersection(parts)),
            _ => boxed(BooleanQuery::union_with_minimum_required_clauses(parts, needed)),
        };
        if asked.together.is_empty() {
            return required;
        }
        let mut clauses = vec![(Occur::Must, required)];
        for phrase in &asked.together {
            clauses.push((Occur::Should, boost(self.characters(self.0.title, phrase), TOGETHER * TITLE)));
            clauses.push((Occur::Should, boost(self.characters(self.0.body, phrase), TOGETHER)));
        }
        boxed(BooleanQuery::new(clauses))
    }

    fn part(&self, part: &Part, demand: Demand) -> Clause {
        let mut any = self.phrase(&part.phrase, part.exact);
        if let Some(letters) = part.letters() {
            any.extend(self.letters(letters, demand));
        }
        for synonym in &part.synonyms {
            any.extend(self.phrase(synonym, false).into_iter().map(|clause| boost(clause, SYNONYM)));
        }
        boxed(BooleanQuery::union(any))
    }

    /// The ways in which a phrase stands in a document.
    fn phrase(&self, phrase: &Phrase, exact: bool) -> Vec<Clause> {
        let Fields { title, body, other, .. } = self.0;
        let mut any = vec![
            boost(self.characters(*title, phrase), TITLE),
            boost(self.characters(*body, phrase), BODY),
            boost(self.characters(*other, phrase), OTHER),
        ];
        let word: String = phrase.iter().map(|word| word.text.as_str()).collect();
        // Two words of letters are no entry among words; neither is what was quoted meant as a word.
        if !exact && (phrase.len() == 1 || phrase.iter().all(|word| word.single)) {
            any.push(boost(term(title.words, &word), TITLE_WORD));
            any.push(boost(term(body.words, &word), BODY_WORD));
        }
        any
    }

    /// A phrase by its characters, as it stands.
    fn characters(&self, texts: Texts, phrase: &[Word]) -> Clause {
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
        let length = letters.chars().count();
        // Of a single letter it is the beginning: the ends of runs have two or more.
        let unfinished = if length >= 2 { self.0.tails } else { self.0.letters };
        any.push(boost(begins(unfinished, letters), UNFINISHED));
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
                any.push(begins(self.0.title.words, letters));
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
