//! What somebody typed, understood. Nothing that is typed is an error: every line has a meaning, if only an empty one.

use crate::synonyms::Synonyms;
use crate::text::{Piece, fold, pieces};
use crate::words::{runs, words};

/// What is read of a line.
const LONGEST: usize = 200;
/// Parts that are looked up; a pasted paragraph is found by its beginning.
const MOST_PARTS: usize = 16;

/// Words that join others and say nothing by themselves.
const STOP_WORDS: &[&str] = &[
    "的", "了", "和", "与", "及", "在", "是", "就", "都", "而", "着", "也", "很", "吗", "呢", "吧",
    "啊", "把", "被", "对", "于", "之", "或", "什么", "怎么", "怎样", "如何", "以及", "关于",
    "the", "a", "an", "of", "and", "or", "to", "in", "for", "on", "with", "is", "are",
];

/// A line as it was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// All of these have to be found.
    pub parts: Vec<Part>,
    /// What stood together; a document that has it so is better.
    pub together: Vec<Phrase>,
}

/// Pieces that follow each other.
pub type Phrase = Vec<Word>;

/// One piece of what was typed, folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    /// One character that stands for itself.
    pub single: bool,
}

/// One thing that has to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub phrase: Phrase,
    /// What means the same; each will do.
    pub synonyms: Vec<Phrase>,
    /// Found only as it was typed (between quotation marks).
    pub exact: bool,
}

impl From<Piece<'_>> for Word {
    fn from(piece: Piece<'_>) -> Self {
        Self {
            text: piece.text.to_owned(),
            single: piece.single,
        }
    }
}

/// A phrase as a folded text: what is cut like one that stands in a document.
pub fn written(phrase: &[Word]) -> String {
    let mut text = String::new();
    for (n, word) in phrase.iter().enumerate() {
        if n > 0 && !word.single && !phrase[n - 1].single {
            text.push(' ');
        }
        text += &word.text;
    }
    text
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

impl Part {
    fn of(phrase: Phrase) -> Self {
        Self {
            phrase,
            synonyms: Vec::new(),
            exact: false,
        }
    }

    /// A run of letters that may be misspelt, unfinished, or pinyin.
    pub fn letters(&self) -> Option<&str> {
        match self.phrase.as_slice() {
            [word] if !word.single && !self.exact => Some(&word.text),
            _ => None,
        }
    }
}

impl Asked {
    pub fn understand(line: &str, synonyms: &Synonyms) -> Self {
        let line: String = line.chars().take(LONGEST).collect();
        let mut asked = Self::default();
        for (text, quoted) in split_at_quotes(&line) {
            if quoted {
                asked.add_exact(text);
            } else {
                text.split_whitespace()
                    .for_each(|chunk| asked.add_chunk(&fold(chunk), synonyms));
            }
        }
        asked.drop_lone_letters();
        asked.parts.truncate(MOST_PARTS);
        asked
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The same with less demanded: every word by itself. For what finds nothing as it was typed.
    pub fn loosened(&self) -> Self {
        let loosen = |part: &Part| match part.exact {
            true => vec![part.clone()],
            false => words_of(&part.phrase).into_iter().map(Part::of).collect(),
        };
        let mut parts: Vec<Part> = self.parts.iter().flat_map(loosen).collect();
        parts.truncate(MOST_PARTS);
        Self {
            parts,
            together: self.together.clone(),
        }
    }

    fn add_exact(&mut self, text: &str) {
        let phrase: Phrase = pieces(&fold(text)).map(Word::from).collect();
        if !phrase.is_empty() {
            self.parts.push(Part {
                exact: true,
                ..Part::of(phrase)
            });
        }
    }

    fn add_chunk(&mut self, chunk: &str, synonyms: &Synonyms) {
        let all: Vec<Piece<'_>> = pieces(chunk).collect();
        let whole: Phrase = all.iter().map(|piece| Word::from(*piece)).collect();
        let parts = parts_of(chunk, &all, synonyms);
        let says_nothing =
            parts.is_empty() || (whole.len() > 1 && parts.iter().all(is_lone_character));
        match says_nothing {
            _ if whole.is_empty() => {}
            true => self.parts.push(Part::of(whole)),
            false => {
                if parts.len() > 1 {
                    self.together.push(whole);
                }
                self.parts.extend(parts);
            }
        }
    }

    /// A single letter beside other words is the rest of a word that was cut, or a slip.
    fn drop_lone_letters(&mut self) {
        let is_lone = |part: &Part| {
            part.letters()
                .is_some_and(|letters| letters.chars().nth(1).is_none())
        };
        if !self.parts.iter().all(is_lone) {
            self.parts.retain(|part| !is_lone(part));
        }
    }
}

/// The line's stretches outside and inside of quotation marks. A mark without its counterpart is none.
fn split_at_quotes(line: &str) -> Vec<(&str, bool)> {
    let mut stretches = Vec::new();
    let mut rest = line;
    while let Some((at, closing)) = rest
        .char_indices()
        .find_map(|(at, c)| Some((at, closing(c)?)))
    {
        let opened = at + rest[at..].chars().next().map_or(0, char::len_utf8);
        stretches.push((&rest[..at], false));
        rest = &rest[opened..];
        if let Some((inside, after)) = rest.split_once(closing) {
            stretches.push((inside, true));
            rest = after;
        }
    }
    stretches.push((rest, false));
    stretches
}

fn closing(opening: char) -> Option<char> {
    Some(match opening {
        '"' => '"',
        '＂' => '＂',
        '“' => '”',
        '「' => '」',
        '『' => '』',
        _ => return None,
    })
}

/// The parts of what was typed without a space: words with synonyms, other words, and runs of letters. Stop words fall away.
fn parts_of(chunk: &str, all: &[Piece<'_>], synonyms: &Synonyms) -> Vec<Part> {
    let texts: Vec<&str> = all.iter().map(|piece| piece.text).collect();
    let mut parts = Vec::new();
    let (mut n, mut plain_from) = (0, 0);
    while n < all.len() {
        let Some((length, others)) = synonyms.at_start(&texts[n..]) else {
            n += 1;
            continue;
        };
        parts.extend(plain_parts(chunk, &all[plain_from..n], all.len()));
        let synonyms = others
            .iter()
            .map(|other| pieces(&other.join(" ")).map(Word::from).collect())
            .collect();
        let phrase = all[n..n + length]
            .iter()
            .map(|piece| Word::from(*piece))
            .collect();
        parts.push(Part {
            synonyms,
            ..Part::of(phrase)
        });
        n += length;
        plain_from = n;
    }
    parts.extend(plain_parts(chunk, &all[plain_from..], all.len()));
    parts
}

/// Words without synonyms. `of` tells how many pieces the chunk has: letters amid characters are a whole word, at its ends they may be cut.
fn plain_parts(chunk: &str, plain: &[Piece<'_>], of: usize) -> Vec<Part> {
    let (Some(first), Some(last)) = (plain.first(), plain.last()) else {
        return Vec::new();
    };
    let text = &chunk[first.at..last.at + last.text.len()];
    let mut parts: Vec<Part> = Vec::new();
    let mut glue = false;
    let runs = runs(text);
    for (n, run) in runs.iter().enumerate() {
        if !run.single {
            let is_number = run.text.bytes().all(|b| b.is_ascii_digit())
                && n.checked_sub(1)
                    .is_some_and(|before| touches(&runs[before], run))
                && runs.get(n + 1).is_some_and(|after| touches(run, after));
            match parts.last_mut() {
                // 3.14 and 31÷21 are asked for as they stand, and so is 第3课.
                Some(last) if n > 0 && is_formula(runs[n - 1].text, run.text) => {
                    last.phrase.push((*run).into())
                }
                Some(last) if is_number && last.phrase.len() == 1 => {
                    last.phrase.push((*run).into())
                }
                _ => parts.push(Part::of(vec![(*run).into()])),
            }
            glue = is_number;
            continue;
        }
        for word in words(run.text) {
            let phrase: Phrase = pieces(word).map(Word::from).collect();
            let stops = STOP_WORDS.contains(&word);
            // A character that is no word of its own belongs to its neighbour: 小|数学 is asked for as it stands.
            match parts.last_mut() {
                _ if stops && of > 1 => glue = false,
                Some(last) if glue && (phrase.len() == 1 || last.phrase.len() == 1) => {
                    last.phrase.extend(phrase)
                }
                _ => {
                    parts.push(Part::of(phrase));
                    glue = true;
                }
            }
        }
        glue = false;
    }
    parts.retain(|part| {
        of == 1
            || !part
                .letters()
                .is_some_and(|letters| STOP_WORDS.contains(&letters))
    });
    parts
}

/// Whether nothing stands between two neighbours.
fn touches(before: &Piece<'_>, after: &Piece<'_>) -> bool {
    before.at + before.text.len() == after.at
}

/// Whether two neighbouring runs of letters belong together: a digit stands on either side of what is between them.
fn is_formula(before: &str, after: &str) -> bool {
    let is_letter = |c: char| !crate::text::is_single(c);
    let (last, first) = (before.chars().next_back(), after.chars().next());
    last.zip(first).is_some_and(|(last, first)| {
        is_letter(last) && is_letter(first) && (last.is_ascii_digit() || first.is_ascii_digit())
    })
}

fn is_lone_character(part: &Part) -> bool {
    part.synonyms.is_empty() && part.phrase.len() == 1 && part.phrase[0].single
}

/// The dictionary's words of a phrase.
fn words_of(phrase: &[Word]) -> Vec<Phrase> {
    let text = written(phrase);
    let cut = runs(&text).into_iter().flat_map(|run| {
        if run.single {
            words(run.text)
        } else {
            vec![run.text]
        }
    });
    cut.filter(|word| !STOP_WORDS.contains(word))
        .map(|word| pieces(word).map(Word::from).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> Vec<String> {
        let (synonyms, _) = Synonyms::parse("教案, 教学设计\n课件, PPT");
        let asked = Asked::understand(line, &synonyms);
        let text = |phrase: &Phrase| {
            phrase
                .iter()
                .map(|word| word.text.as_str())
                .collect::<Vec<_>>()
                .join("·")
        };
        let shown = |part: &Part| {
            let others: String = part
                .synonyms
                .iter()
                .map(|other| format!("|{}", text(other)))
                .collect();
            format!(
                "{}{}{others}",
                if part.exact { "=" } else { "" },
                text(&part.phrase)
            )
        };
        asked.parts.iter().map(shown).collect()
    }

    #[test]
    fn what_teachers_type_is_understood() {
        for (line, expected) in [
            ("分数的意义", &["分·数", "意·义"][..]),
            ("分數的意義", &["分·数", "意·义"]),
            ("分数的意义教案", &["分·数", "意·义", "教·案|教·学·设·计"]),
            ("PPT", &["ppt|课·件"]),
            ("小数学", &["小·数·学"]),
            ("圆的面积", &["圆", "面·积"]),
            ("数的意", &["数·的·意"]),
            ("的", &["的"]),
            ("圆", &["圆"]),
            ("第3课", &["第·3·课"]),
            ("3.14", &["3·14"]),
            ("例81：31÷21，想", &["例", "81·31·21", "想"]),
            ("word/ppt", &["word", "ppt|课·件"]),
            ("“分数的意义” unit", &["=分·数·的·意·义", "unit"]),
            ("scholl 英语", &["scholl", "英·语"]),
            ("t 课文", &["课·文"]),
            ("x", &["x"]),
        ] {
            assert_eq!(parts(line), expected, "{line}");
        }
    }

    #[test]
    fn nothing_that_is_typed_is_an_error() {
        for line in [
            "",
            "   ",
            "\"",
            "\"\"",
            "“”",
            "”“",
            "(((",
            "AND OR NOT",
            "title:*",
            "\\",
            "[1 TO",
            "-",
            "+-!",
            "\u{0}\u{feff}",
            "💡",
            "\"a",
            "^~2",
        ] {
            let _ = parts(line);
        }
        assert!(parts("，。！？").is_empty());
        assert_eq!(
            parts("\"没有结束的引号").len(),
            parts("没有结束的引号").len()
        );
        assert!(parts(&"数学题".repeat(500)).len() <= MOST_PARTS);
    }

    #[test]
    fn what_finds_nothing_is_asked_for_word_by_word() {
        let asked = Asked::understand("教圆柱", &Synonyms::default());
        assert_eq!(asked.parts.len(), 1);
        assert_eq!(asked.loosened().parts.len(), 2);
    }
}
