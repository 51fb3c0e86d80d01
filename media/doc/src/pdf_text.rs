//! Text extraction from positioned glyphs: a PDF has no words or lines, so they follow from
//! distances.

use crate::limits::PAGE_TEXT_BYTES;

/// Glyph on the upright page in points; y grows downwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Glyph {
    /// Origin on the baseline.
    pub x: f64,
    /// Baseline.
    pub y: f64,
    /// Font size.
    pub size: f64,
    /// Advance width.
    pub advance: f64,
    /// Characters that the glyph stands for.
    pub text: String,
}

/// Text of a page in drawing order. Writers draw in reading order, which keeps columns together.
#[derive(Default)]
pub struct PageText {
    text: String,
    last: Option<Glyph>,
    /// Origin and text of the last run: some writers draw a run twice for bold.
    last_run: Option<(f64, f64, String)>,
}

impl PageText {
    /// Adds a run of glyphs.
    pub fn add_run(&mut self, glyphs: Vec<Glyph>) {
        let whole: String = glyphs.iter().map(|glyph| glyph.text.as_str()).collect();
        let Some(first) = glyphs.first() else { return };
        let is_repeat = self.last_run.as_ref().is_some_and(|(x, y, text)| {
            *text == whole
                && (first.x - x).abs() < first.size * 0.1
                && (first.y - y).abs() < first.size * 0.1
        });
        self.last_run = Some((first.x, first.y, whole));
        if is_repeat {
            return;
        }
        for glyph in glyphs {
            self.add(glyph);
        }
    }

    fn add(&mut self, glyph: Glyph) {
        if self.text.len() + glyph.text.len() > PAGE_TEXT_BYTES
            || glyph.text.chars().any(char::is_control)
        {
            return;
        }
        if let Some(last) = &self.last {
            self.text.push_str(separator(last, &glyph));
        }
        self.text.push_str(&glyph.text);
        self.last = Some(glyph);
    }

    /// Returns the text as trimmed, non-empty lines.
    pub fn into_text(self) -> String {
        let lines: Vec<&str> = self
            .text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines.join("\n")
    }
}

/// Separator between two glyphs: none, space, tab or line break.
fn separator(last: &Glyph, next: &Glyph) -> &'static str {
    let size = last.size.max(next.size);
    // A superscript is less than 0.6 of the font size away, the next line at least one.
    let is_same_line = (next.y - last.y).abs() < size * 0.6;
    if !is_same_line {
        return "\n";
    }
    let gap = next.x - (last.x + last.advance);
    if gap < -size * 1.5 || gap > size * 4.0 {
        return "\t";
    }
    // Chinese has no spaces and is often stretched to justify a line. Writers leave a quarter of
    // the font size between Chinese characters and Latin letters or digits.
    let min_gap = match (is_wide(&last.text), is_wide(&next.text)) {
        (true, true) => 0.7,
        (false, false) => 0.2,
        _ => 0.35,
    };
    if gap > size * min_gap { " " } else { "" }
}

/// Returns true for full-width characters: CJK ideographs, kana, punctuation.
fn is_wide(text: &str) -> bool {
    text.chars().all(|character| matches!(character, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(x: f64, y: f64, text: &str) -> Vec<Glyph> {
        let place = |(n, character): (usize, char)| Glyph {
            x: x + n as f64 * 10.0,
            y,
            size: 10.0,
            advance: 10.0,
            text: character.into(),
        };
        text.chars().enumerate().map(place).collect()
    }

    fn text(runs: &[Vec<Glyph>]) -> String {
        let mut page = PageText::default();
        runs.iter().cloned().for_each(|run| page.add_run(run));
        page.into_text()
    }

    #[test]
    fn words_and_lines_follow_from_distances() {
        assert_eq!(
            text(&[
                run(0.0, 0.0, "page"),
                run(45.0, 0.0, "one"),
                run(0.0, 15.0, "two")
            ]),
            "page one\ntwo"
        );
    }

    #[test]
    fn justified_chinese_stays_one_word() {
        assert_eq!(
            text(&[
                run(0.0, 0.0, "勾"),
                run(15.0, 0.0, "股"),
                run(0.0, 20.0, "定理")
            ]),
            "勾股\n定理"
        );
    }

    #[test]
    fn a_run_drawn_twice_for_bold_is_extracted_once() {
        assert_eq!(
            text(&[run(0.0, 0.0, "粗体"), run(0.3, 0.0, "粗体")]),
            "粗体"
        );
    }

    #[test]
    fn nan_coordinates_end_the_line() {
        assert_eq!(
            text(&[run(0.0, 0.0, "a"), run(f64::NAN, f64::NAN, "b")]),
            "a\nb"
        );
    }
}
