//! Highlighting: match ranges in titles, and the best excerpts of long texts.

use std::collections::{BTreeSet, HashMap};

use crate::parsed_query::{ParsedQuery, PhraseTerm, max_edits, phrase_text};
use crate::pinyin::matched_chars;
use crate::text::{Lexeme, fold, fold_char, lexemes};

/// Length of an excerpt, and of the context before its first match, in UTF-16 units.
const EXCERPT_LEN: u32 = 110;
const LEAD_LEN: u32 = 24;
/// Characters per window, and how many more its last sentence may take. An excerpt comes from one
/// window; a book has many.
const WINDOW_CHARS: usize = 1500;
const MAX_SENTENCE_CHARS: usize = 200;
/// Windows searched per document; a common word occurs on every page of a book.
const MAX_WINDOWS: usize = 40;

/// A text with the ranges to highlight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Highlighted {
    /// Text to display.
    pub text: String,
    /// Start and end in UTF-16 units, as JavaScript counts; sorted and disjoint.
    pub ranges: Vec<(u32, u32)>,
}

/// A part of a text with the ranges to highlight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Excerpt with its ranges.
    pub highlighted: Highlighted,
    /// Sum of the scores of the distinct phrases in it; 0 without any match.
    pub score: u32,
}

/// Searches texts for the phrases of a query.
pub(crate) struct Highlighter<'a> {
    needles: Vec<Needle<'a>>,
    /// Indices of needles by their first lexeme.
    by_first: HashMap<&'a str, Vec<usize>>,
}

struct Needle<'a> {
    phrase: &'a [PhraseTerm],
    /// Folded text of the phrase, for a substring check.
    folded: String,
    score: u32,
    /// Word that may match as a substring of a run, with typos, or as pinyin.
    letters: Option<&'a str>,
}

/// Part of a text that an excerpt is taken from.
#[derive(Clone, Copy)]
struct Window<'t> {
    text: &'t str,
    /// True for the first and the last window of a text.
    first: bool,
    last: bool,
}

/// A match of a needle, in UTF-16 units.
#[derive(Clone, Copy)]
struct Match {
    from: u32,
    to: u32,
    needle: usize,
}

/// A folded text with the origin of each character.
struct FoldedText {
    folded: String,
    /// Origin of each folded character: byte offset in the folded text, start and end of the
    /// original in UTF-16 units.
    origins: Vec<(usize, u32, u32)>,
}

impl<'a> Highlighter<'a> {
    pub(crate) fn new(parsed: &'a ParsedQuery) -> Self {
        let mut needles = Vec::new();
        for clause in &parsed.clauses {
            needles.push(Needle {
                letters: clause.letters(),
                ..Needle::of(&clause.phrase, 2)
            });
            needles.extend(clause.synonyms.iter().map(|phrase| Needle::of(phrase, 1)));
        }
        needles.extend(parsed.adjacent.iter().map(|phrase| Needle::of(phrase, 4)));
        let mut by_first: HashMap<&str, Vec<usize>> = HashMap::new();
        for (n, needle) in needles.iter().enumerate() {
            if let Some(first) = needle.phrase.first() {
                by_first.entry(&first.text).or_default().push(n);
            }
        }
        Self { needles, by_first }
    }

    /// Highlights a whole title or name, pinyin matches included.
    pub(crate) fn highlight(&self, text: &str) -> Highlighted {
        let folded = FoldedText::new(text);
        let mut matches = self.matches(&folded);
        self.match_pinyin(&folded, &mut matches);
        Highlighted {
            text: text.to_owned(),
            ranges: merged_ranges(matches),
        }
    }

    /// The best excerpts of some texts, at most `limit`; of equal ones the earlier comes first.
    /// Without any match it is the beginning of the first text. Each excerpt carries the label of
    /// its text.
    pub(crate) fn excerpts<'t, P: Copy>(
        &self,
        texts: impl Iterator<Item = (P, &'t str)>,
        limit: usize,
    ) -> Vec<(P, Excerpt)> {
        let all: Vec<(P, Window<'_>)> = texts
            .flat_map(|(label, text)| windows(text).into_iter().map(move |window| (label, window)))
            .collect();
        let mut excerpts: Vec<(P, Excerpt)> = Vec::new();
        let likely = all.iter().filter(|(_, window)| self.may_match(window.text));
        excerpts.extend(
            likely
                .take(MAX_WINDOWS)
                .map(|(label, window)| (*label, self.excerpt(*window))),
        );
        if excerpts.is_empty() {
            // Only a closer look finds typos, pinyin, and phrases with punctuation inside.
            excerpts.extend(
                all.iter()
                    .take(MAX_WINDOWS)
                    .map(|(label, window)| (*label, self.excerpt(*window))),
            );
        }
        excerpts.sort_by_key(|(_, excerpt)| std::cmp::Reverse(excerpt.score));
        let matching = excerpts
            .iter()
            .take_while(|(_, excerpt)| excerpt.score > 0)
            .count();
        excerpts.truncate(matching.clamp(1, limit));
        excerpts
    }

    /// Cheap filter: true if the folded text contains a needle verbatim.
    fn may_match(&self, text: &str) -> bool {
        let folded = fold(text);
        self.needles
            .iter()
            .any(|needle| folded.contains(&needle.folded))
    }

    fn excerpt(&self, window: Window<'_>) -> Excerpt {
        let matches = self.matches(&FoldedText::new(window.text));
        let (from, score) = self.best_start(&matches);
        let inside = matches
            .into_iter()
            .filter(|matched| matched.from >= from && matched.to <= from + EXCERPT_LEN)
            .collect();
        Excerpt {
            highlighted: excerpt_text(window, from, merged_ranges(inside)),
            score,
        }
    }

    fn best_start(&self, matches: &[Match]) -> (u32, u32) {
        let mut best = (0, 0);
        for (n, first) in matches.iter().enumerate() {
            let from = first.from.saturating_sub(LEAD_LEN);
            let inside = matches[n..]
                .iter()
                .take_while(|matched| matched.to <= from + EXCERPT_LEN);
            let distinct: BTreeSet<usize> = inside.map(|matched| matched.needle).collect();
            let score = distinct
                .into_iter()
                .map(|needle| self.needles[needle].score)
                .sum();
            if score > best.1 {
                best = (from, score);
            }
        }
        best
    }

    fn matches(&self, text: &FoldedText) -> Vec<Match> {
        let all: Vec<Lexeme<'_>> = lexemes(&text.folded).collect();
        let mut matches = Vec::new();
        for (n, lexeme) in all.iter().enumerate() {
            for needle in self.by_first.get(lexeme.text).into_iter().flatten() {
                let phrase = self.needles[*needle].phrase;
                let follows = all.len() >= n + phrase.len()
                    && phrase
                        .iter()
                        .zip(&all[n..])
                        .all(|(word, lexeme)| word.text == lexeme.text);
                if follows {
                    let last = all[n + phrase.len() - 1];
                    matches.push(text.span(lexeme.offset, last.offset + last.text.len(), *needle));
                }
            }
            if !lexeme.is_cjk {
                self.match_letters(text, *lexeme, &mut matches);
            }
        }
        matches
    }

    fn match_letters(&self, text: &FoldedText, lexeme: Lexeme<'_>, matches: &mut Vec<Match>) {
        for (n, needle) in self.needles.iter().enumerate() {
            let Some(letters) = needle.letters.filter(|letters| *letters != lexeme.text) else {
                continue;
            };
            if letters.len() > 1
                && let Some(at) = lexeme.text.find(letters)
            {
                matches.push(text.span(lexeme.offset + at, lexeme.offset + at + letters.len(), n));
            } else if max_edits(letters) > 0
                && strsim::osa_distance(letters, lexeme.text) <= max_edits(letters).into()
            {
                matches.push(text.span(lexeme.offset, lexeme.offset + lexeme.text.len(), n));
            }
        }
    }

    fn match_pinyin(&self, text: &FoldedText, matches: &mut Vec<Match>) {
        let typed = self
            .needles
            .iter()
            .enumerate()
            .filter_map(|(n, needle)| Some((n, needle.letters?)));
        for (n, letters) in
            typed.filter(|(_, letters)| letters.bytes().all(|b| b.is_ascii_lowercase()))
        {
            let mut offsets = text.folded.char_indices().map(|(at, _)| at);
            let found =
                offsets.find_map(|at| Some((at, matched_chars(&text.folded[at..], letters)?)));
            if let Some((at, characters)) = found {
                let length: usize = text.folded[at..]
                    .chars()
                    .take(characters)
                    .map(char::len_utf8)
                    .sum();
                matches.push(text.span(at, at + length, n));
            }
        }
    }
}

impl<'a> Needle<'a> {
    fn of(phrase: &'a [PhraseTerm], score: u32) -> Self {
        Self {
            phrase,
            folded: phrase_text(phrase),
            score,
            letters: None,
        }
    }
}

impl FoldedText {
    fn new(text: &str) -> Self {
        let mut this = Self {
            folded: String::with_capacity(text.len()),
            origins: Vec::with_capacity(text.len() / 2),
        };
        let mut from = 0;
        for c in text.chars() {
            let to = from + c.len_utf16() as u32;
            fold_char(c, |folded| {
                this.origins.push((this.folded.len(), from, to));
                this.folded.push(folded);
            });
            from = to;
        }
        this
    }

    /// Converts a byte range of the folded text to a match.
    fn span(&self, from: usize, to: usize, needle: usize) -> Match {
        let first = self.origins.partition_point(|(at, ..)| *at < from);
        let last = self.origins.partition_point(|(at, ..)| *at < to) - 1;
        Match {
            from: self.origins[first].1,
            to: self.origins[last].2,
            needle,
        }
    }
}

/// Sorted ranges, with overlapping and adjacent ones merged.
fn merged_ranges(mut matches: Vec<Match>) -> Vec<(u32, u32)> {
    matches.sort_unstable_by_key(|matched| (matched.from, matched.to));
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for matched in matches {
        match ranges.last_mut() {
            Some((_, to)) if matched.from <= *to => *to = matched.to.max(*to),
            _ => ranges.push((matched.from, matched.to)),
        }
    }
    ranges
}

/// Splits a text into windows that end after a sentence, so that few phrases are split.
fn windows(text: &str) -> Vec<Window<'_>> {
    let (mut windows, mut from, mut length) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        length += 1;
        if length >= WINDOW_CHARS + MAX_SENTENCE_CHARS
            || (length >= WINDOW_CHARS && !c.is_alphanumeric())
        {
            windows.push(Window {
                text: &text[from..at + c.len_utf8()],
                first: from == 0,
                last: false,
            });
            (from, length) = (at + c.len_utf8(), 0);
        }
    }
    match windows.last_mut() {
        Some(last) if text[from..].trim().is_empty() => last.last = true,
        _ if text.trim().is_empty() => {}
        _ => windows.push(Window {
            text: &text[from..],
            first: from == 0,
            last: true,
        }),
    }
    windows
}

/// Cuts an excerpt out, on one line, with an ellipsis for omitted text.
fn excerpt_text(window: Window<'_>, from: u32, ranges: Vec<(u32, u32)>) -> Highlighted {
    let mut excerpt = String::new();
    let (mut at, mut start, mut shift) = (0, from, 0);
    let mut is_cut = !window.last;
    for c in window.text.chars() {
        let length = c.len_utf16() as u32;
        if at >= from && at + length <= from + EXCERPT_LEN {
            if excerpt.is_empty() && (at > 0 || !window.first) {
                excerpt.push('…');
                (start, shift) = (at, 1);
            }
            excerpt.push(if c.is_control() && length == 1 {
                ' '
            } else {
                c
            });
        } else if at + length > from + EXCERPT_LEN {
            is_cut = true;
            break;
        }
        at += length;
    }
    if is_cut {
        excerpt.push('…');
    }
    let shifted = |place: u32| place.saturating_sub(start) + shift;
    Highlighted {
        text: excerpt,
        ranges: ranges
            .into_iter()
            .map(|(from, to)| (shifted(from), shifted(to)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synonyms::Synonyms;

    /// Text with its matches in brackets.
    fn shown(highlighted: &Highlighted) -> String {
        let units: Vec<u16> = highlighted.text.encode_utf16().collect();
        let (mut shown, mut at) = (String::new(), 0);
        for (from, to) in &highlighted.ranges {
            shown += &String::from_utf16_lossy(&units[at..*from as usize]);
            shown += &format!(
                "[{}]",
                String::from_utf16_lossy(&units[*from as usize..*to as usize])
            );
            at = *to as usize;
        }
        shown + &String::from_utf16_lossy(&units[at..])
    }

    fn name(line: &str, text: &str) -> String {
        let parsed = ParsedQuery::parse(line, &Synonyms::parse("课件,PPT").0);
        shown(&Highlighter::new(&parsed).highlight(text))
    }

    #[test]
    fn matches_are_highlighted_in_the_original_spelling() {
        for (line, text, expected) in [
            ("分数", "《分數的意義》", "《[分數]的意義》"),
            ("分数意义", "分数的意义", "[分数]的[意义]"),
            ("ppt", "💡ＰＰＴ课件", "💡[ＰＰＴ课件]"),
            ("scholl", "My school day", "My [school] day"),
            ("hool", "My school day", "My sc[hool] day"),
            ("fs", "认识分数", "认识[分数]"),
            ("fenshu", "认识分数", "认识[分数]"),
            ("平方", "㎡ 和平方米", "㎡ 和[平方]米"),
        ] {
            assert_eq!(name(line, text), expected, "{line}");
        }
    }

    #[test]
    fn an_excerpt_shows_the_best_match() {
        let text = format!(
            "分数。{}\n这里讲分数的意义和性质。{}",
            "无关的话，".repeat(40),
            "后面还有，".repeat(40)
        );
        let parsed = ParsedQuery::parse("分数的意义", &Synonyms::default());
        let first = |text: &str| {
            Highlighter::new(&parsed)
                .excerpts([((), text)].into_iter(), 1)
                .remove(0)
                .1
        };
        let shown = shown(&first(&text).highlighted);
        assert!(
            shown.starts_with('…')
                && shown.ends_with('…')
                && shown.contains("这里讲[分数的意义]和性质"),
            "{shown}"
        );
        assert!(!shown.contains('\n'));
        let nothing = first("没有");
        assert_eq!(
            (nothing.score, nothing.highlighted.text.as_str()),
            (0, "没有")
        );
    }

    #[test]
    fn a_match_deep_in_a_book_is_shown_and_no_phrase_is_split() {
        let sentence = "这一句与所问无关，只是让书厚起来。\n";
        for before in [0, 80, 88, 89, 90, 3000] {
            let text = format!(
                "{}这里讲分数的意义和性质。{}",
                sentence.repeat(before),
                sentence.repeat(2000)
            );
            let parsed = ParsedQuery::parse("分数的意义", &Synonyms::default());
            let excerpts = Highlighter::new(&parsed).excerpts([(7, text.as_str())].into_iter(), 2);
            assert_eq!(excerpts.len(), 1, "{before}");
            let shown = shown(&excerpts[0].1.highlighted);
            assert!(
                shown.contains("这里讲[分数的意义]和性质"),
                "{before}: {shown}"
            );
            assert_eq!(shown.starts_with('…'), before > 0, "{before}: {shown}");
        }
    }
}
