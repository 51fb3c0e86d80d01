//! Content that a reader extracts from a file: bounded, clean text and headings.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::grid::Grid;
use crate::limits::{LINE_CHARS, OUTLINE, TEXT_BYTES};

/// Text, metadata and outline of a file.
#[derive(Default)]
pub struct Content {
    /// Title from the metadata, or else from the first heading.
    pub title: Option<String>,
    /// Author from the metadata.
    pub author: Option<String>,
    /// Headings in document order.
    pub outline: Vec<Heading>,
    /// Whole text.
    pub text: Text,
    /// Text of each visible slide in order; empty for formats without pages of their own.
    pub slides: Vec<String>,
    /// Codes of everything that was omitted or looked suspicious.
    pub notes: Notes,
    /// Cells of a spreadsheet.
    pub grid: Grid,
}

/// Codes in the `notes` field of result.json.
pub type Notes = BTreeSet<&'static str>;

/// Entry of the outline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Heading {
    /// Level from 1.
    pub level: usize,
    /// One line of text.
    pub text: String,
    /// Page number from 1.
    pub page: Option<usize>,
}

impl Content {
    /// Appends a heading unless its text is empty.
    pub fn push_heading(&mut self, level: usize, text: &str, page: Option<usize>) {
        let Some(text) = single_line(text) else {
            return;
        };
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

/// Text of bounded size. Text beyond [`TEXT_BYTES`] is dropped and [`Text::is_truncated`] is set.
#[derive(Default)]
pub struct Text {
    text: String,
    truncated: bool,
}

impl Text {
    /// Appends text without control characters, noncharacters and byte order marks.
    pub fn push(&mut self, text: &str) {
        if self.text.len() + text.len() > TEXT_BYTES {
            self.truncated = true;
            return;
        }
        self.text
            .extend(text.chars().filter(|character| is_text(*character)));
    }

    /// Ends a line. Two calls make one empty line, further calls have no effect.
    pub fn end_line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Returns true if there is no text but white space.
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Returns true if text was dropped.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Text without leading and trailing white space.
    pub fn as_str(&self) -> &str {
        self.text.trim()
    }
}

fn is_text(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        || matches!(character, '\n' | '\t')
}

/// Joins text to one clean line of at most [`LINE_CHARS`] characters; `None` if nothing is left.
pub fn single_line(text: &str) -> Option<String> {
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

/// Returns the longest prefix of at most `bytes` bytes.
pub fn truncated(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_clean_line() {
        assert_eq!(
            single_line(" 勾股\u{b}定理\r\n 第一课时\0 ").as_deref(),
            Some("勾股 定理 第一课时")
        );
        assert_eq!(single_line("\u{feff} \n"), None);
        assert_eq!(
            single_line(&"长".repeat(5000)).map(|line| line.chars().count()),
            Some(LINE_CHARS)
        );
    }

    #[test]
    fn text_beyond_the_limit_is_dropped_and_marked() {
        let mut text = Text::default();
        text.push("第一行");
        text.push(&"x".repeat(TEXT_BYTES));
        assert!(text.is_truncated());
        assert_eq!(text.as_str(), "第一行");
    }

    #[test]
    fn truncation_never_splits_a_character() {
        assert_eq!(truncated("课课", 4), "课");
    }
}
