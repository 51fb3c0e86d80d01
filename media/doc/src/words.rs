//! What every reader gathers: bounded, clean text and headings.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::grid::Grid;
use crate::limits::{LINE_CHARS, OUTLINE, TEXT_BYTES};

/// What a reader found in a file.
#[derive(Default)]
pub struct Content {
    pub title: Option<String>,
    pub author: Option<String>,
    pub outline: Vec<Heading>,
    pub text: Text,
    /// The text of each slide that is shown, in order; empty where the format has no pages of its own.
    pub slides: Vec<String>,
    pub notes: Notes,
    /// The cells of a spreadsheet.
    pub grid: Grid,
}

/// Codes of what was left out or found strange.
pub type Notes = BTreeSet<&'static str>;

/// A line of the outline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Heading {
    /// From 1.
    pub level: usize,
    pub text: String,
    /// From 1.
    pub page: Option<usize>,
}

impl Content {
    /// Adds a heading if it has any text.
    pub fn heading(&mut self, level: usize, text: &str, page: Option<usize>) {
        let Some(text) = line(text) else { return };
        match self.outline.len() < OUTLINE {
            true => self.outline.push(Heading {
                level: level.clamp(1, 9),
                text,
                page,
            }),
            false => drop(self.notes.insert("outline_cut")),
        }
    }
}

/// Text with an end: what is beyond it is dropped, and that is known.
#[derive(Default)]
pub struct Text {
    said: String,
    cut: bool,
}

impl Text {
    /// Appends without what no reader wants: control characters, noncharacters, the byte order mark.
    pub fn push(&mut self, text: &str) {
        if self.said.len() + text.len() > TEXT_BYTES {
            self.cut = true;
            return;
        }
        self.said
            .extend(text.chars().filter(|character| is_text(*character)));
    }

    /// Ends a paragraph. Two ends make one empty line, more make no more.
    pub fn end_line(&mut self) {
        if !self.said.is_empty() && !self.said.ends_with("\n\n") {
            self.said.push('\n');
        }
    }

    pub fn is_empty(&self) -> bool {
        self.said.trim().is_empty()
    }

    pub fn is_cut(&self) -> bool {
        self.cut
    }

    pub fn as_str(&self) -> &str {
        self.said.trim()
    }
}

fn is_text(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        || matches!(character, '\n' | '\t')
}

/// One clean line of bounded length; `None` if nothing is left.
pub fn line(text: &str) -> Option<String> {
    let words = text.split(|character: char| character.is_whitespace() || character.is_control());
    let mut line = String::new();
    for word in words.filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(
            word.chars()
                .filter(|character| is_text(*character))
                .take(LINE_CHARS),
        );
        if line.chars().count() > LINE_CHARS {
            break;
        }
    }
    let line: String = line.chars().take(LINE_CHARS).collect();
    (!line.trim().is_empty()).then_some(line)
}

/// The longest beginning of at most so many bytes.
pub fn start_of(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_clean_line() {
        assert_eq!(
            line(" 勾股\u{b}定理\r\n 第一课时\0 ").as_deref(),
            Some("勾股 定理 第一课时")
        );
        assert_eq!(line("\u{feff} \n"), None);
        assert_eq!(
            line(&"长".repeat(5000)).map(|line| line.chars().count()),
            Some(LINE_CHARS)
        );
    }

    #[test]
    fn text_beyond_the_limit_is_dropped_and_told() {
        let mut text = Text::default();
        text.push("第一行");
        text.push(&"x".repeat(TEXT_BYTES));
        assert!(text.is_cut());
        assert_eq!(text.as_str(), "第一行");
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(start_of("课课", 4), "课");
    }
}
