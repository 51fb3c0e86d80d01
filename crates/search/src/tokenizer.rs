//! Tokenization of folded text: dictionary words for ranking, character n-grams for substring
//! search.
//!
//! jieba alone finds a third of arbitrary substrings; character n-grams find all of them. A phrase
//! is looked up by **bigrams** and **trigrams** (分数的, 数的意, 的意义 …) rather than by single characters
//! with positions: up to three characters are then one term, and a phrase of six is two rare terms
//! instead of six frequent ones. Letters and digits are part of the n-grams, so that a substring of
//! a word or formula (1：31÷2 of 例81：31÷21) matches like one of a sentence.

use std::borrow::Cow;
use std::sync::LazyLock;

use jieba_rs::Jieba;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use crate::pinyin;
use crate::text::{Lexeme, characters, lexemes};

static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// Loads the dictionary ahead of its first use, which takes a noticeable time.
pub fn load_dictionary() {
    LazyLock::force(&JIEBA);
}

/// Segments a run of Chinese characters into dictionary words. Unknown words stay single
/// characters: jieba's HMM takes most of the time and finds nothing that bigrams do not find.
pub(crate) fn segment_words(run: &str) -> Vec<&str> {
    JIEBA
        .cut(run, false)
        .into_iter()
        .map(|token| token.word)
        .collect()
}

/// Joins adjacent CJK lexemes to runs; other lexemes are returned as they are.
pub(crate) fn runs(text: &str) -> Vec<Lexeme<'_>> {
    let mut runs: Vec<Lexeme<'_>> = Vec::new();
    for lexeme in lexemes(text) {
        match runs.last_mut() {
            Some(last)
                if last.is_cjk
                    && lexeme.is_cjk
                    && last.offset + last.text.len() == lexeme.offset =>
            {
                last.text = &text[last.offset..lexeme.offset + lexeme.text.len()];
            }
            _ => runs.push(lexeme),
        }
    }
    runs
}

/// Kind of tokenization; the tantivy tokenizer is registered by its [`name`](Analyzer::name).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Analyzer {
    /// Dictionary words, long ones also as subwords; runs of letters and digits unchanged.
    Words,
    /// Single characters.
    Unigrams,
    /// Pairs of neighbouring characters, positioned at the first one. One space separates two runs
    /// of letters, whatever punctuation the text has there.
    Bigrams,
    /// Triples of neighbouring characters, otherwise like [`Bigrams`](Analyzer::Bigrams).
    Trigrams,
    /// Runs of letters and digits only.
    AlphanumericRuns,
    /// Pinyin spellings and initials.
    Pinyin,
}

/// Tokens with their positions.
pub(crate) type Tokens<'a> = Vec<(usize, Cow<'a, str>)>;

impl Analyzer {
    pub(crate) const ALL: [Analyzer; 6] = [
        Analyzer::Words,
        Analyzer::Unigrams,
        Analyzer::Bigrams,
        Analyzer::Trigrams,
        Analyzer::AlphanumericRuns,
        Analyzer::Pinyin,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Analyzer::Words => "words",
            Analyzer::Unigrams => "singles",
            Analyzer::Bigrams => "pairs",
            Analyzer::Trigrams => "triples",
            Analyzer::AlphanumericRuns => "letters",
            Analyzer::Pinyin => "pinyin",
        }
    }

    /// Tokenizes a folded text.
    pub(crate) fn tokens(self, text: &str) -> Tokens<'_> {
        match self {
            Analyzer::Words => with_positions(runs(text).into_iter().flat_map(words_and_subwords)),
            Analyzer::Unigrams => with_positions(characters(text).map(|character| character.text)),
            Analyzer::Bigrams => ngrams::<2>(text),
            Analyzer::Trigrams => ngrams::<3>(text),
            Analyzer::AlphanumericRuns => with_positions(
                lexemes(text)
                    .filter(|lexeme| !lexeme.is_cjk)
                    .map(|lexeme| lexeme.text),
            ),
            Analyzer::Pinyin => with_positions(pinyin::prefix_keys(text)),
        }
    }
}

fn with_positions<'a, T: Into<Cow<'a, str>>>(tokens: impl IntoIterator<Item = T>) -> Tokens<'a> {
    tokens.into_iter().map(Into::into).enumerate().collect()
}

fn words_and_subwords(run: Lexeme<'_>) -> Vec<&str> {
    if !run.is_cjk {
        return vec![run.text];
    }
    JIEBA
        .cut_for_search(run.text, false)
        .into_iter()
        .map(|token| token.word)
        .collect()
}

fn ngrams<const COUNT: usize>(text: &str) -> Tokens<'_> {
    let all: Vec<Lexeme<'_>> = characters(text).collect();
    with_positions(all.windows(COUNT).map(|chars| {
        let (first, last) = (chars[0], chars[COUNT - 1]);
        let whole = &text[first.offset..last.offset + last.text.len()];
        match whole.len() == chars.iter().map(|lexeme| lexeme.text.len()).sum::<usize>() {
            true => Cow::Borrowed(whole),
            false => Cow::Owned(join_ngram(chars)),
        }
    }))
}

/// Concatenates characters, with a space between two runs of letters that are not adjacent.
fn join_ngram(chars: &[Lexeme<'_>]) -> String {
    let mut text = chars[0].text.to_owned();
    for two in chars.windows(2) {
        let touch = two[0].offset + two[0].text.len() == two[1].offset;
        if !touch && !two[0].is_cjk && !two[1].is_cjk {
            text.push(' ');
        }
        text += two[1].text;
    }
    text
}

impl Tokenizer for Analyzer {
    type TokenStream<'a> = AnalyzerStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> AnalyzerStream<'a> {
        AnalyzerStream {
            tokens: self.tokens(text),
            next: 0,
            token: Token::default(),
        }
    }
}

/// Token stream in the form that tantivy reads.
pub(crate) struct AnalyzerStream<'a> {
    tokens: Tokens<'a>,
    next: usize,
    token: Token,
}

impl TokenStream for AnalyzerStream<'_> {
    fn advance(&mut self) -> bool {
        let Some((position, text)) = self.tokens.get(self.next) else {
            return false;
        };
        self.next += 1;
        self.token.position = *position;
        // A gap after the last token: no phrase matches across two texts of a document, such as two
        // pages.
        self.token.position_length = if self.next == self.tokens.len() { 3 } else { 1 };
        self.token.text.clear();
        self.token.text.push_str(text);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(analyzer: Analyzer, text: &str) -> Vec<String> {
        analyzer
            .tokens(text)
            .into_iter()
            .map(|(_, token)| token.into_owned())
            .collect()
    }

    #[test]
    fn a_lesson_title_is_tokenized_by_each_analyzer() {
        let title = "分数的意义，unit 2 ppt课件";
        assert_eq!(
            tokens(Analyzer::Words, title),
            ["分数", "的", "意义", "unit", "2", "ppt", "课件"]
        );
        assert_eq!(tokens(Analyzer::Unigrams, "第13课"), ["第", "1", "3", "课"]);
        assert_eq!(
            tokens(Analyzer::Bigrams, "意义，ppt 2-a课"),
            ["意义", "义p", "pp", "pt", "t 2", "2 a", "a课"]
        );
        assert_eq!(
            tokens(Analyzer::Trigrams, "ppt 3-课，后"),
            ["ppt", "pt 3", "t 3课", "3课后"]
        );
        assert_eq!(
            tokens(Analyzer::AlphanumericRuns, title),
            ["unit", "2", "ppt"]
        );
    }

    #[test]
    fn long_words_are_found_by_their_parts() {
        assert!(tokens(Analyzer::Words, "北京师范大学").contains(&"大学".to_owned()));
    }
}
