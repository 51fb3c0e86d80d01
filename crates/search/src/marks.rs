//! Where a text has what was asked for: ranges to be shown, and the stretch of a long text that is worth showing.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use crate::asked::{Asked, Word, slips, written};
use crate::pinyin::heard;
use crate::text::{Piece, fold, fold_char, pieces};

/// Length of an excerpt, and what stands before its first mark, in UTF-16 units.
const EXCERPT: u32 = 110;
const LEAD: u32 = 24;
/// Characters of a text that an excerpt is chosen from, and how much further its sentence may go on. A book is many such windows.
const WINDOW: usize = 1500;
const SENTENCE: usize = 200;
/// Windows looked at closely; a common word stands on every page of a book.
const MOST_WINDOWS: usize = 40;

/// A text with its marks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Marked {
    pub text: String,
    /// From and to, in UTF-16 units, as pages count; in order, without overlap.
    pub marks: Vec<(u32, u32)>,
}

/// A stretch of a text with its marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    pub marked: Marked,
    /// How much of what was asked for it has.
    pub weight: u32,
}

/// What is looked for in texts.
pub struct Marker<'a> {
    needles: Vec<Needle<'a>>,
    /// Phrases by the text of their first piece.
    by_first: HashMap<&'a str, Vec<usize>>,
}

struct Needle<'a> {
    phrase: &'a [Word],
    /// As it stands in a folded text that has nothing in between.
    written: String,
    weight: u32,
    /// Letters that may be part of a run, or misspelt.
    letters: Option<&'a str>,
}

/// A part of a text, as long as a person would look through at a time.
#[derive(Clone, Copy)]
struct Window<'t> {
    text: &'t str,
    /// Whether the text begins and ends with it.
    first: bool,
    last: bool,
}

/// A place in a text, in UTF-16 units.
#[derive(Clone, Copy)]
struct Mark {
    from: u32,
    to: u32,
    needle: usize,
}

/// A text, folded, and where each of its characters came from.
struct Traced {
    folded: String,
    /// Of each folded character: its place in the folded text in bytes, and from where to where its original stood in UTF-16 units.
    origins: Vec<(usize, u32, u32)>,
}

impl<'a> Marker<'a> {
    pub fn new(asked: &'a Asked) -> Self {
        let mut needles = Vec::new();
        for part in &asked.parts {
            needles.push(Needle {
                letters: part.letters(),
                ..Needle::of(&part.phrase, 2)
            });
            needles.extend(part.synonyms.iter().map(|phrase| Needle::of(phrase, 1)));
        }
        needles.extend(asked.together.iter().map(|phrase| Needle::of(phrase, 4)));
        let mut by_first: HashMap<&str, Vec<usize>> = HashMap::new();
        for (n, needle) in needles.iter().enumerate() {
            if let Some(first) = needle.phrase.first() {
                by_first.entry(&first.text).or_default().push(n);
            }
        }
        Self { needles, by_first }
    }

    /// A whole title or name, with what sounds like the question marked too.
    pub fn name(&self, text: &str) -> Marked {
        let traced = Traced::new(text);
        let mut marks = self.marks(&traced);
        self.add_sounds(&traced, &mut marks);
        Marked {
            text: text.to_owned(),
            marks: joined(marks),
        }
    }

    /// The `most` stretches of some texts that have most of what was asked for, the best first and of equals the earlier; the beginning of the
    /// first text if nothing has any of it. Each comes with what its text was told with.
    pub fn excerpts<'t, P: Copy>(
        &self,
        texts: impl Iterator<Item = (P, &'t str)>,
        most: usize,
    ) -> Vec<(P, Excerpt)> {
        let all: Vec<(P, Window<'_>)> = texts
            .flat_map(|(of, text)| windows(text).into_iter().map(move |window| (of, window)))
            .collect();
        let mut excerpts: Vec<(P, Excerpt)> = Vec::new();
        let likely = all
            .iter()
            .filter(|(_, window)| self.is_written_in(window.text));
        excerpts.extend(
            likely
                .take(MOST_WINDOWS)
                .map(|(of, window)| (*of, self.excerpt(*window))),
        );
        if excerpts.is_empty() {
            // Misspelt, heard, or with a comma in it.
            excerpts.extend(
                all.iter()
                    .take(MOST_WINDOWS)
                    .map(|(of, window)| (*of, self.excerpt(*window))),
            );
        }
        excerpts.sort_by_key(|(_, excerpt)| std::cmp::Reverse(excerpt.weight));
        let telling = excerpts
            .iter()
            .take_while(|(_, excerpt)| excerpt.weight > 0)
            .count();
        excerpts.truncate(telling.clamp(1, most));
        excerpts
    }

    /// Whether something that was asked for stands there in one piece: a quick look that saves most of the close ones.
    fn is_written_in(&self, text: &str) -> bool {
        let folded = fold(text);
        self.needles
            .iter()
            .any(|needle| folded.contains(&needle.written))
    }

    fn excerpt(&self, window: Window<'_>) -> Excerpt {
        let marks = self.marks(&Traced::new(window.text));
        let (from, weight) = self.best_start(&marks);
        let inside = marks
            .into_iter()
            .filter(|mark| mark.from >= from && mark.to <= from + EXCERPT)
            .collect();
        Excerpt {
            marked: cut_out(window, from, joined(inside)),
            weight,
        }
    }

    fn best_start(&self, marks: &[Mark]) -> (u32, u32) {
        let mut best = (0, 0);
        for (n, first) in marks.iter().enumerate() {
            let from = first.from.saturating_sub(LEAD);
            let inside = marks[n..]
                .iter()
                .take_while(|mark| mark.to <= from + EXCERPT);
            let distinct: BTreeSet<usize> = inside.map(|mark| mark.needle).collect();
            let weight = distinct
                .into_iter()
                .map(|needle| self.needles[needle].weight)
                .sum();
            if weight > best.1 {
                best = (from, weight);
            }
        }
        best
    }

    fn marks(&self, text: &Traced) -> Vec<Mark> {
        let all: Vec<Piece<'_>> = pieces(&text.folded).collect();
        let mut marks = Vec::new();
        for (n, piece) in all.iter().enumerate() {
            for needle in self.by_first.get(piece.text).into_iter().flatten() {
                let phrase = self.needles[*needle].phrase;
                let follows = all.len() >= n + phrase.len()
                    && phrase
                        .iter()
                        .zip(&all[n..])
                        .all(|(word, piece)| word.text == piece.text);
                if follows {
                    let last = all[n + phrase.len() - 1];
                    marks.push(text.mark(piece.at, last.at + last.text.len(), *needle));
                }
            }
            if !piece.single {
                self.mark_letters(text, *piece, &mut marks);
            }
        }
        marks
    }

    fn mark_letters(&self, text: &Traced, piece: Piece<'_>, marks: &mut Vec<Mark>) {
        for (n, needle) in self.needles.iter().enumerate() {
            let Some(letters) = needle.letters.filter(|letters| *letters != piece.text) else {
                continue;
            };
            if letters.len() > 1
                && let Some(at) = piece.text.find(letters)
            {
                marks.push(text.mark(piece.at + at, piece.at + at + letters.len(), n));
            } else if slips(letters) > 0
                && strsim::osa_distance(letters, piece.text) <= slips(letters).into()
            {
                marks.push(text.mark(piece.at, piece.at + piece.text.len(), n));
            }
        }
    }

    fn add_sounds(&self, text: &Traced, marks: &mut Vec<Mark>) {
        let typed = self
            .needles
            .iter()
            .enumerate()
            .filter_map(|(n, needle)| Some((n, needle.letters?)));
        for (n, letters) in
            typed.filter(|(_, letters)| letters.bytes().all(|b| b.is_ascii_lowercase()))
        {
            let mut at_character = text.folded.char_indices().map(|(at, _)| at);
            let found = at_character.find_map(|at| Some((at, heard(&text.folded[at..], letters)?)));
            if let Some((at, characters)) = found {
                let length: usize = text.folded[at..]
                    .chars()
                    .take(characters)
                    .map(char::len_utf8)
                    .sum();
                marks.push(text.mark(at, at + length, n));
            }
        }
    }
}

impl<'a> Needle<'a> {
    fn of(phrase: &'a [Word], weight: u32) -> Self {
        Self {
            phrase,
            written: written(phrase),
            weight,
            letters: None,
        }
    }
}

impl Traced {
    fn new(text: &str) -> Self {
        let mut traced = Self {
            folded: String::with_capacity(text.len()),
            origins: Vec::with_capacity(text.len() / 2),
        };
        let mut from = 0;
        for c in text.chars() {
            let to = from + c.len_utf16() as u32;
            fold_char(c, |folded| {
                traced.origins.push((traced.folded.len(), from, to));
                traced.folded.push(folded);
            });
            from = to;
        }
        traced
    }

    /// The mark of a stretch of the folded text, in bytes.
    fn mark(&self, from: usize, to: usize, needle: usize) -> Mark {
        let first = self.origins.partition_point(|(at, ..)| *at < from);
        let last = self.origins.partition_point(|(at, ..)| *at < to) - 1;
        Mark {
            from: self.origins[first].1,
            to: self.origins[last].2,
            needle,
        }
    }
}

/// Ranges in order, overlapping and touching ones as one.
fn joined(mut marks: Vec<Mark>) -> Vec<(u32, u32)> {
    marks.sort_unstable_by_key(|mark| (mark.from, mark.to));
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for mark in marks {
        match joined.last_mut() {
            Some((_, to)) if mark.from <= *to => *to = mark.to.max(*to),
            _ => joined.push((mark.from, mark.to)),
        }
    }
    joined
}

/// The windows of a text: cut after a sentence, where nothing is likely to be torn apart.
fn windows(text: &str) -> Vec<Window<'_>> {
    let (mut windows, mut from, mut length) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        length += 1;
        if length >= WINDOW + SENTENCE || (length >= WINDOW && !c.is_alphanumeric()) {
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

/// An excerpt of one line; an ellipsis stands for what is left out.
fn cut_out(window: Window<'_>, from: u32, marks: Vec<(u32, u32)>) -> Marked {
    let mut excerpt = String::new();
    let (mut at, mut begun, mut shift) = (0, from, 0);
    let mut left_out = !window.last;
    for c in window.text.chars() {
        let length = c.len_utf16() as u32;
        if at >= from && at + length <= from + EXCERPT {
            if excerpt.is_empty() && (at > 0 || !window.first) {
                excerpt.push('…');
                (begun, shift) = (at, 1);
            }
            excerpt.push(if c.is_control() && length == 1 {
                ' '
            } else {
                c
            });
        } else if at + length > from + EXCERPT {
            left_out = true;
            break;
        }
        at += length;
    }
    if left_out {
        excerpt.push('…');
    }
    let moved = |place: u32| place.saturating_sub(begun) + shift;
    Marked {
        text: excerpt,
        marks: marks
            .into_iter()
            .map(|(from, to)| (moved(from), moved(to)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synonyms::Synonyms;

    /// The text with its marks in brackets.
    fn shown(marked: &Marked) -> String {
        let units: Vec<u16> = marked.text.encode_utf16().collect();
        let (mut shown, mut at) = (String::new(), 0);
        for (from, to) in &marked.marks {
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
        let asked = Asked::understand(line, &Synonyms::parse("课件,PPT").0);
        shown(&Marker::new(&asked).name(text))
    }

    #[test]
    fn what_was_asked_for_is_marked_as_it_was_written() {
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
    fn an_excerpt_shows_the_place_that_has_most() {
        let text = format!(
            "分数。{}\n这里讲分数的意义和性质。{}",
            "无关的话，".repeat(40),
            "后面还有，".repeat(40)
        );
        let asked = Asked::understand("分数的意义", &Synonyms::default());
        let first = |text: &str| {
            Marker::new(&asked)
                .excerpts([((), text)].into_iter(), 1)
                .remove(0)
                .1
        };
        let shown = shown(&first(&text).marked);
        assert!(
            shown.starts_with('…')
                && shown.ends_with('…')
                && shown.contains("这里讲[分数的意义]和性质"),
            "{shown}"
        );
        assert!(!shown.contains('\n'));
        let nothing = first("没有");
        assert_eq!((nothing.weight, nothing.marked.text.as_str()), (0, "没有"));
    }

    #[test]
    fn a_place_deep_in_a_book_is_shown_and_nothing_is_torn_apart() {
        let sentence = "这一句与所问无关，只是让书厚起来。\n";
        for before in [0, 80, 88, 89, 90, 3000] {
            let text = format!(
                "{}这里讲分数的意义和性质。{}",
                sentence.repeat(before),
                sentence.repeat(2000)
            );
            let asked = Asked::understand("分数的意义", &Synonyms::default());
            let excerpts = Marker::new(&asked).excerpts([(7, text.as_str())].into_iter(), 2);
            assert_eq!(excerpts.len(), 1, "{before}");
            let shown = shown(&excerpts[0].1.marked);
            assert!(
                shown.contains("这里讲[分数的意义]和性质"),
                "{before}: {shown}"
            );
            assert_eq!(shown.starts_with('…'), before > 0, "{before}: {shown}");
        }
    }
}
