//! Synonyms such as 教案 and 教学设计. Each line of the file is one group; `#` starts a comment.
//!
//! Groups expand queries, never documents, so an edited file applies to the next query without
//! reindexing.

use std::collections::HashMap;

use crate::text::{fold, lexemes};

/// More than a person keeps up by hand; what comes after is not read.
const MAX_GROUPS: usize = 10_000;

/// The groups of one file.
#[derive(Clone, Debug, Default)]
pub struct Synonyms {
    groups: Vec<Vec<Vec<String>>>,
    /// From a word's pieces to its group.
    by_word: HashMap<Vec<String>, usize>,
    /// Pieces of the longest word.
    longest: usize,
}

impl Synonyms {
    /// Reads a file's text. Lines that are no group of two words or more are left out and returned with their numbers.
    pub fn parse(text: &str) -> (Self, Vec<usize>) {
        let (mut synonyms, mut invalid) = (Self::default(), Vec::new());
        for (line, number) in text.lines().zip(1..) {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<Vec<String>> = line
                .split([',', '，', '、', '=', ';', '；'])
                .map(lexeme_texts)
                .filter(|word| !word.is_empty())
                .collect();
            match words.len() {
                0 if line.trim().is_empty() => {}
                0 | 1 => invalid.push(number),
                _ if synonyms.groups.len() >= MAX_GROUPS => invalid.push(number),
                _ => synonyms.add(words),
            }
        }
        (synonyms, invalid)
    }

    fn add(&mut self, words: Vec<Vec<String>>) {
        let group = self.groups.len();
        for word in &words {
            self.longest = self.longest.max(word.len());
            self.by_word.entry(word.clone()).or_insert(group);
        }
        self.groups.push(words);
    }

    /// Finds the longest word with synonyms at the start of `lexemes`. Returns its length in lexemes and
    /// the other words of its group.
    pub(crate) fn longest_match(&self, lexemes: &[&str]) -> Option<(usize, Vec<Vec<String>>)> {
        (1..=self.longest.min(lexemes.len()))
            .rev()
            .find_map(|length| {
                let word: Vec<String> = lexemes[..length]
                    .iter()
                    .map(|lexeme| (*lexeme).to_owned())
                    .collect();
                let group = &self.groups[*self.by_word.get(&word)?];
                Some((
                    length,
                    group
                        .iter()
                        .filter(|other| **other != word)
                        .cloned()
                        .collect(),
                ))
            })
    }
}

fn lexeme_texts(text: &str) -> Vec<String> {
    lexemes(&fold(text))
        .map(|lexeme| lexeme.text.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_parsed_by_line_and_invalid_lines_are_reported() {
        let (synonyms, invalid) = Synonyms::parse(
            "# 类型\n教案, 教學設計、备课教案\n课件 = PPT # 幻灯片\n孤单\n\n , ，\n",
        );
        assert_eq!(invalid, [4, 6]);
        let (length, others) = synonyms
            .longest_match(&["教", "学", "设", "计", "好"])
            .expect("a word with synonyms");
        assert_eq!((length, others.len()), (4, 2));
        assert_eq!(
            synonyms.longest_match(&["ppt"]).expect("folded").1,
            [["课".to_owned(), "件".to_owned()]]
        );
        assert!(
            synonyms.longest_match(&["幻", "灯", "片"]).is_none(),
            "a comment is no word"
        );
    }
}
