//! Query parsing. Every input is valid; an input without searchable characters parses to an empty
//! query.

use crate::synonyms::Synonyms;
use crate::text::{Lexeme, fold, lexemes};
use crate::tokenizer::{runs, segment_words};

/// Maximum length; the rest of a query is ignored.
const MAX_QUERY_CHARS: usize = 200;
/// Maximum number of clauses; a pasted paragraph is searched by its beginning.
const MAX_CLAUSES: usize = 16;

/// Stop words, dropped from queries with other words.
const STOP_WORDS: &[&str] = &[
    "的", "了", "和", "与", "及", "在", "是", "就", "都", "而", "着", "也", "很", "吗", "呢", "吧",
    "啊", "把", "被", "对", "于", "之", "或", "什么", "怎么", "怎样", "如何", "以及", "关于",
    "the", "a", "an", "of", "and", "or", "to", "in", "for", "on", "with", "is", "are",
];

/// A parsed query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ParsedQuery {
    /// Conditions, all required up to a limit (see `matching`).
    pub clauses: Vec<Clause>,
    /// Phrases typed without a space. They are not required and raise the score.
    pub adjacent: Vec<Phrase>,
}

/// Consecutive lexemes.
pub(crate) type Phrase = Vec<PhraseTerm>;

/// An owned, folded [`Lexeme`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PhraseTerm {
    pub text: String,
    /// True for a CJK character, false for a run of letters and digits.
    pub is_cjk: bool,
}

/// A condition: the phrase or one of its synonyms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    pub phrase: Phrase,
    /// Alternatives of equal meaning.
    pub synonyms: Vec<Phrase>,
    /// True for a quoted phrase: no synonyms, prefixes, pinyin or typos.
    pub exact: bool,
}

impl From<Lexeme<'_>> for PhraseTerm {
    fn from(lexeme: Lexeme<'_>) -> Self {
        Self {
            text: lexeme.text.to_owned(),
            is_cjk: lexeme.is_cjk,
        }
    }
}

/// Folded text of a phrase; it tokenizes like the same phrase in a document.
pub(crate) fn phrase_text(phrase: &[PhraseTerm]) -> String {
    let mut text = String::new();
    for (n, word) in phrase.iter().enumerate() {
        if n > 0 && !word.is_cjk && !phrase[n - 1].is_cjk {
            text.push(' ');
        }
        text += &word.text;
    }
    text
}

/// Edit distance allowed by fuzzy search, by length of the word. Words with digits match exactly.
pub(crate) fn max_edits(letters: &str) -> u8 {
    match letters.chars().count() {
        _ if letters.bytes().any(|b| b.is_ascii_digit()) => 0,
        0..4 => 0,
        4..8 => 1,
        _ => 2,
    }
}

impl Clause {
    fn of(phrase: Phrase) -> Self {
        Self {
            phrase,
            synonyms: Vec::new(),
            exact: false,
        }
    }

    /// The word of a clause that pinyin, prefix and fuzzy search apply to: one unquoted run of
    /// letters.
    pub(crate) fn letters(&self) -> Option<&str> {
        match self.phrase.as_slice() {
            [word] if !word.is_cjk && !self.exact => Some(&word.text),
            _ => None,
        }
    }
}

impl ParsedQuery {
    pub(crate) fn parse(line: &str, synonyms: &Synonyms) -> Self {
        let line: String = line.chars().take(MAX_QUERY_CHARS).collect();
        let mut parsed = Self::default();
        for (text, quoted) in split_at_quotes(&line) {
            if quoted {
                parsed.add_exact(text);
            } else {
                text.split_whitespace()
                    .for_each(|chunk| parsed.add_chunk(&fold(chunk), synonyms));
            }
        }
        parsed.drop_lone_letters();
        parsed.clauses.truncate(MAX_CLAUSES);
        parsed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// Relaxed form for queries without results: every dictionary word is a clause.
    pub(crate) fn relaxed(&self) -> Self {
        let split = |clause: &Clause| match clause.exact {
            true => vec![clause.clone()],
            false => dictionary_words(&clause.phrase)
                .into_iter()
                .map(Clause::of)
                .collect(),
        };
        let mut clauses: Vec<Clause> = self.clauses.iter().flat_map(split).collect();
        clauses.truncate(MAX_CLAUSES);
        Self {
            clauses,
            adjacent: self.adjacent.clone(),
        }
    }

    fn add_exact(&mut self, text: &str) {
        let phrase: Phrase = lexemes(&fold(text)).map(PhraseTerm::from).collect();
        if !phrase.is_empty() {
            self.clauses.push(Clause {
                exact: true,
                ..Clause::of(phrase)
            });
        }
    }

    fn add_chunk(&mut self, chunk: &str, synonyms: &Synonyms) {
        let all: Vec<Lexeme<'_>> = lexemes(chunk).collect();
        let whole: Phrase = all.iter().map(|lexeme| PhraseTerm::from(*lexeme)).collect();
        let clauses = parse_clauses(chunk, &all, synonyms);
        let is_one_phrase =
            clauses.is_empty() || (whole.len() > 1 && clauses.iter().all(is_lone_character));
        match is_one_phrase {
            _ if whole.is_empty() => {}
            true => self.clauses.push(Clause::of(whole)),
            false => {
                if clauses.len() > 1 {
                    self.adjacent.push(whole);
                }
                self.clauses.extend(clauses);
            }
        }
    }

    /// Drops single letters beside other clauses: they are the rest of a split word, or typos.
    fn drop_lone_letters(&mut self) {
        let is_lone = |clause: &Clause| {
            clause
                .letters()
                .is_some_and(|letters| letters.chars().nth(1).is_none())
        };
        if !self.clauses.iter().all(is_lone) {
            self.clauses.retain(|clause| !is_lone(clause));
        }
    }
}

/// Splits at quotation marks; the flag is true for quoted parts. An unpaired mark is ignored.
fn split_at_quotes(line: &str) -> Vec<(&str, bool)> {
    let mut parts = Vec::new();
    let mut rest = line;
    while let Some((at, closing)) = rest
        .char_indices()
        .find_map(|(at, c)| Some((at, closing(c)?)))
    {
        let opened = at + rest[at..].chars().next().map_or(0, char::len_utf8);
        parts.push((&rest[..at], false));
        rest = &rest[opened..];
        if let Some((inside, after)) = rest.split_once(closing) {
            parts.push((inside, true));
            rest = after;
        }
    }
    parts.push((rest, false));
    parts
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

/// Parses text without white space into clauses: words with synonyms, other words and runs of
/// letters. Stop words are dropped.
fn parse_clauses(chunk: &str, all: &[Lexeme<'_>], synonyms: &Synonyms) -> Vec<Clause> {
    let texts: Vec<&str> = all.iter().map(|lexeme| lexeme.text).collect();
    let mut clauses = Vec::new();
    let (mut n, mut plain_from) = (0, 0);
    while n < all.len() {
        let Some((length, others)) = synonyms.longest_match(&texts[n..]) else {
            n += 1;
            continue;
        };
        clauses.extend(plain_clauses(chunk, &all[plain_from..n], all.len()));
        let synonyms = others
            .iter()
            .map(|other| lexemes(&other.join(" ")).map(PhraseTerm::from).collect())
            .collect();
        let phrase = all[n..n + length]
            .iter()
            .map(|lexeme| PhraseTerm::from(*lexeme))
            .collect();
        clauses.push(Clause {
            synonyms,
            ..Clause::of(phrase)
        });
        n += length;
        plain_from = n;
    }
    clauses.extend(plain_clauses(chunk, &all[plain_from..], all.len()));
    clauses
}

/// Clauses of text without synonyms. `of` is the number of lexemes of the whole chunk; stop words
/// are kept if there is only one.
fn plain_clauses(chunk: &str, plain: &[Lexeme<'_>], of: usize) -> Vec<Clause> {
    let (Some(first), Some(last)) = (plain.first(), plain.last()) else {
        return Vec::new();
    };
    let text = &chunk[first.offset..last.offset + last.text.len()];
    let mut clauses: Vec<Clause> = Vec::new();
    let mut glue = false;
    let runs = runs(text);
    for (n, run) in runs.iter().enumerate() {
        if !run.is_cjk {
            let is_number = run.text.bytes().all(|b| b.is_ascii_digit())
                && n.checked_sub(1)
                    .is_some_and(|before| are_adjacent(&runs[before], run))
                && runs
                    .get(n + 1)
                    .is_some_and(|after| are_adjacent(run, after));
            match clauses.last_mut() {
                // Formulas and numbered words stay one phrase: 3.14, 31÷21, 第3课.
                Some(last) if n > 0 && is_formula(runs[n - 1].text, run.text) => {
                    last.phrase.push((*run).into())
                }
                Some(last) if is_number && last.phrase.len() == 1 => {
                    last.phrase.push((*run).into())
                }
                _ => clauses.push(Clause::of(vec![(*run).into()])),
            }
            glue = is_number;
            continue;
        }
        for word in segment_words(run.text) {
            let phrase: Phrase = lexemes(word).map(PhraseTerm::from).collect();
            let is_stop_word = STOP_WORDS.contains(&word);
            // A character that is no dictionary word is joined with its neighbour: 小|数学 is one
            // phrase.
            match clauses.last_mut() {
                _ if is_stop_word && of > 1 => glue = false,
                Some(last) if glue && (phrase.len() == 1 || last.phrase.len() == 1) => {
                    last.phrase.extend(phrase)
                }
                _ => {
                    clauses.push(Clause::of(phrase));
                    glue = true;
                }
            }
        }
        glue = false;
    }
    clauses.retain(|clause| {
        of == 1
            || !clause
                .letters()
                .is_some_and(|letters| STOP_WORDS.contains(&letters))
    });
    clauses
}

/// True if nothing separates the two.
fn are_adjacent(before: &Lexeme<'_>, after: &Lexeme<'_>) -> bool {
    before.offset + before.text.len() == after.offset
}

/// True for runs of letters or digits with punctuation between and a digit beside it, such as
/// 31÷21.
fn is_formula(before: &str, after: &str) -> bool {
    let is_letter = |c: char| !crate::text::is_cjk(c);
    let (last, first) = (before.chars().next_back(), after.chars().next());
    last.zip(first).is_some_and(|(last, first)| {
        is_letter(last) && is_letter(first) && (last.is_ascii_digit() || first.is_ascii_digit())
    })
}

fn is_lone_character(clause: &Clause) -> bool {
    clause.synonyms.is_empty() && clause.phrase.len() == 1 && clause.phrase[0].is_cjk
}

/// Dictionary words of a phrase, without stop words.
fn dictionary_words(phrase: &[PhraseTerm]) -> Vec<Phrase> {
    let text = phrase_text(phrase);
    let cut = runs(&text).into_iter().flat_map(|run| {
        if run.is_cjk {
            segment_words(run.text)
        } else {
            vec![run.text]
        }
    });
    cut.filter(|word| !STOP_WORDS.contains(word))
        .map(|word| lexemes(word).map(PhraseTerm::from).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clauses(line: &str) -> Vec<String> {
        let (synonyms, _) = Synonyms::parse("教案, 教学设计\n课件, PPT");
        let parsed = ParsedQuery::parse(line, &synonyms);
        let text = |phrase: &Phrase| {
            phrase
                .iter()
                .map(|word| word.text.as_str())
                .collect::<Vec<_>>()
                .join("·")
        };
        let shown = |clause: &Clause| {
            let others: String = clause
                .synonyms
                .iter()
                .map(|other| format!("|{}", text(other)))
                .collect();
            format!(
                "{}{}{others}",
                if clause.exact { "=" } else { "" },
                text(&clause.phrase)
            )
        };
        parsed.clauses.iter().map(shown).collect()
    }

    #[test]
    fn queries_of_teachers_are_parsed() {
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
            assert_eq!(clauses(line), expected, "{line}");
        }
    }

    #[test]
    fn every_input_parses() {
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
            let _ = clauses(line);
        }
        assert!(clauses("，。！？").is_empty());
        assert_eq!(
            clauses("\"没有结束的引号").len(),
            clauses("没有结束的引号").len()
        );
        assert!(clauses(&"数学题".repeat(500)).len() <= MAX_CLAUSES);
    }

    #[test]
    fn a_relaxed_query_has_one_clause_per_word() {
        let parsed = ParsedQuery::parse("教圆柱", &Synonyms::default());
        assert_eq!(parsed.clauses.len(), 1);
        assert_eq!(parsed.relaxed().clauses.len(), 2);
    }
}
