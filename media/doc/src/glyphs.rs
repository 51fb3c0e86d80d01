//! Text from a page's glyphs: a PDF places glyphs, and words and lines are a matter of their distances.

use crate::limits::PAGE_TEXT_BYTES;

/// A glyph on the upright page; y grows downwards. Lengths are in points.
#[derive(Clone, Debug, PartialEq)]
pub struct Glyph {
    pub x: f64,
    pub y: f64,
    /// Height of the font.
    pub size: f64,
    /// How far the pen moves to the right.
    pub advance: f64,
    pub text: String,
}

/// The text of a page, in the order it was drawn: writers draw in reading order, and columns stay whole.
#[derive(Default)]
pub struct Lines {
    said: String,
    last: Option<Glyph>,
    /// Where the run began that was added last: bold is often the same run drawn twice.
    run: Option<(f64, f64, String)>,
}

impl Lines {
    /// Adds glyphs that were drawn together.
    pub fn add_run(&mut self, glyphs: Vec<Glyph>) {
        let whole: String = glyphs.iter().map(|glyph| glyph.text.as_str()).collect();
        let Some(first) = glyphs.first() else { return };
        let again = self.run.as_ref().is_some_and(|(x, y, text)| {
            *text == whole
                && (first.x - x).abs() < first.size * 0.1
                && (first.y - y).abs() < first.size * 0.1
        });
        self.run = Some((first.x, first.y, whole));
        if again {
            return;
        }
        for glyph in glyphs {
            self.add(glyph);
        }
    }

    fn add(&mut self, glyph: Glyph) {
        if self.said.len() + glyph.text.len() > PAGE_TEXT_BYTES
            || glyph.text.chars().any(char::is_control)
        {
            return;
        }
        if let Some(last) = &self.last {
            self.said.push_str(between(last, &glyph));
        }
        self.said.push_str(&glyph.text);
        self.last = Some(glyph);
    }

    /// Lines without spaces at their ends.
    pub fn into_text(self) -> String {
        let lines: Vec<&str> = self
            .said
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines.join("\n")
    }
}

fn between(last: &Glyph, next: &Glyph) -> &'static str {
    let size = last.size.max(next.size);
    // Superscripts stay within half a line; the next line is more than one away.
    let is_same_line = (next.y - last.y).abs() < size * 0.6;
    if !is_same_line {
        return "\n";
    }
    let gap = next.x - (last.x + last.advance);
    if gap < -size * 1.5 || gap > size * 4.0 {
        return "\t";
    }
    // Chinese is set without spaces and often stretched to fill the line; next to digits and letters a quarter is left free.
    let wanted = match (is_wide(&last.text), is_wide(&next.text)) {
        (true, true) => 0.7,
        (false, false) => 0.2,
        _ => 0.35,
    };
    if gap > size * wanted { " " } else { "" }
}

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
        let mut lines = Lines::default();
        runs.iter().cloned().for_each(|run| lines.add_run(run));
        lines.into_text()
    }

    #[test]
    fn words_and_lines_are_a_matter_of_distance() {
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
    fn stretched_chinese_stays_one_word() {
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
    fn a_run_drawn_twice_for_bold_is_read_once() {
        assert_eq!(
            text(&[run(0.0, 0.0, "粗体"), run(0.3, 0.0, "粗体")]),
            "粗体"
        );
    }

    #[test]
    fn places_that_are_no_numbers_end_lines() {
        assert_eq!(
            text(&[run(0.0, 0.0, "a"), run(f64::NAN, f64::NAN, "b")]),
            "a\nb"
        );
    }
}
