//! How a folded text is cut for the index: words for ranking, characters and their pairs for finding whatever stands in it.
//!
//! jieba alone finds a third of arbitrary substrings; characters find all of them. A phrase is looked up by **pairs** and **triples** of neighbours
//! (分数的, 数的意, 的意义 …) rather than by single characters with positions: up to three characters are then one entry, and a phrase of six is two
//! rare entries instead of six frequent ones, in each document at few places. Letters and digits are taken like all others, so that a piece of a word
//! or of a formula (1：31÷2 of 例81：31÷21) is found as surely as a piece of a sentence.

use std::borrow::Cow;
use std::sync::LazyLock;

use jieba_rs::Jieba;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use crate::pinyin;
use crate::text::{Piece, characters, pieces};

static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// Reads the dictionary, which the first use would otherwise wait for.
pub fn prepare() {
    LazyLock::force(&JIEBA);
}

/// The words of a run of Chinese characters, as a person would read them. Unknown words stay characters: guessing at them (jieba's HMM) costs
/// most of the time and finds nothing that pairs do not find.
pub fn words(run: &str) -> Vec<&str> {
    JIEBA
        .cut(run, false)
        .into_iter()
        .map(|token| token.word)
        .collect()
}

/// Pieces, Chinese characters that nothing comes between joined to one.
pub fn runs(text: &str) -> Vec<Piece<'_>> {
    let mut runs: Vec<Piece<'_>> = Vec::new();
    for piece in pieces(text) {
        match runs.last_mut() {
            Some(last) if last.single && piece.single && last.at + last.text.len() == piece.at => {
                last.text = &text[last.at..piece.at + piece.text.len()];
            }
            _ => runs.push(piece),
        }
    }
    runs
}

/// A way of cutting; tantivy's tokenizer of that name.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Dictionary words, long ones also in their parts; runs of letters as they are.
    Words,
    /// Each character by itself.
    Singles,
    /// Each two neighbours, at the position of the first; a space stands between two runs of letters, whatever it was.
    Pairs,
    /// Each three neighbours, in the same way.
    Triples,
    /// Runs of letters and digits only.
    Letters,
    /// What the characters sound like.
    Pinyin,
}

/// A text cut up, with positions.
pub type Tokens<'a> = Vec<(usize, Cow<'a, str>)>;

impl Cut {
    pub const ALL: [Cut; 6] = [
        Cut::Words,
        Cut::Singles,
        Cut::Pairs,
        Cut::Triples,
        Cut::Letters,
        Cut::Pinyin,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Cut::Words => "words",
            Cut::Singles => "singles",
            Cut::Pairs => "pairs",
            Cut::Triples => "triples",
            Cut::Letters => "letters",
            Cut::Pinyin => "pinyin",
        }
    }

    /// The entries of a folded text.
    pub fn tokens(self, text: &str) -> Tokens<'_> {
        match self {
            Cut::Words => numbered(runs(text).into_iter().flat_map(words_and_parts)),
            Cut::Singles => numbered(characters(text).map(|character| character.text)),
            Cut::Pairs => neighbours::<2>(text),
            Cut::Triples => neighbours::<3>(text),
            Cut::Letters => numbered(
                pieces(text)
                    .filter(|piece| !piece.single)
                    .map(|piece| piece.text),
            ),
            Cut::Pinyin => numbered(pinyin::keys(text)),
        }
    }
}

fn numbered<'a, T: Into<Cow<'a, str>>>(tokens: impl IntoIterator<Item = T>) -> Tokens<'a> {
    tokens.into_iter().map(Into::into).enumerate().collect()
}

fn words_and_parts(run: Piece<'_>) -> Vec<&str> {
    if !run.single {
        return vec![run.text];
    }
    JIEBA
        .cut_for_search(run.text, false)
        .into_iter()
        .map(|token| token.word)
        .collect()
}

fn neighbours<const COUNT: usize>(text: &str) -> Tokens<'_> {
    let all: Vec<Piece<'_>> = characters(text).collect();
    numbered(all.windows(COUNT).map(|together| {
        let (first, last) = (together[0], together[COUNT - 1]);
        let whole = &text[first.at..last.at + last.text.len()];
        match whole.len() == together.iter().map(|piece| piece.text.len()).sum::<usize>() {
            true => Cow::Borrowed(whole),
            false => Cow::Owned(closed_up(together)),
        }
    }))
}

/// Neighbours with nothing between them but a space where two runs of letters meet.
fn closed_up(together: &[Piece<'_>]) -> String {
    let mut text = together[0].text.to_owned();
    for two in together.windows(2) {
        let touch = two[0].at + two[0].text.len() == two[1].at;
        if !touch && !two[0].single && !two[1].single {
            text.push(' ');
        }
        text += two[1].text;
    }
    text
}

impl Tokenizer for Cut {
    type TokenStream<'a> = Stream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Stream<'a> {
        Stream {
            tokens: self.tokens(text),
            next: 0,
            token: Token::default(),
        }
    }
}

/// What tantivy reads tokens from.
pub struct Stream<'a> {
    tokens: Tokens<'a>,
    next: usize,
    token: Token,
}

impl TokenStream for Stream<'_> {
    fn advance(&mut self) -> bool {
        let Some((position, text)) = self.tokens.get(self.next) else {
            return false;
        };
        self.next += 1;
        self.token.position = *position;
        // The last one keeps its distance from the next text of the same document: no phrase runs from one page into the next.
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

    fn cut(cut: Cut, text: &str) -> Vec<String> {
        cut.tokens(text)
            .into_iter()
            .map(|(_, token)| token.into_owned())
            .collect()
    }

    #[test]
    fn a_lesson_title_is_cut_in_every_way() {
        let title = "分数的意义，unit 2 ppt课件";
        assert_eq!(
            cut(Cut::Words, title),
            ["分数", "的", "意义", "unit", "2", "ppt", "课件"]
        );
        assert_eq!(cut(Cut::Singles, "第13课"), ["第", "1", "3", "课"]);
        assert_eq!(
            cut(Cut::Pairs, "意义，ppt 2-a课"),
            ["意义", "义p", "pp", "pt", "t 2", "2 a", "a课"]
        );
        assert_eq!(
            cut(Cut::Triples, "ppt 3-课，后"),
            ["ppt", "pt 3", "t 3课", "3课后"]
        );
        assert_eq!(cut(Cut::Letters, title), ["unit", "2", "ppt"]);
    }

    #[test]
    fn long_words_are_found_by_their_parts() {
        assert!(cut(Cut::Words, "北京师范大学").contains(&"大学".to_owned()));
    }
}
