//! Words that mean the same to a teacher: 教案 and 教学设计. A line of the file is one group; `#` begins a comment.
//!
//! Groups are applied to what is asked, never to what is indexed, so an edited file counts from the next question on.

use std::collections::HashMap;

use crate::text::{fold, pieces};

/// More than a person keeps up by hand; what comes after is not read.
const MOST_GROUPS: usize = 10_000;

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
        let (mut synonyms, mut odd) = (Self::default(), Vec::new());
        for (line, number) in text.lines().zip(1..) {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<Vec<String>> = line
                .split([',', '，', '、', '=', ';', '；'])
                .map(word)
                .filter(|word| !word.is_empty())
                .collect();
            match words.len() {
                0 if line.trim().is_empty() => {}
                0 | 1 => odd.push(number),
                _ if synonyms.groups.len() >= MOST_GROUPS => odd.push(number),
                _ => synonyms.add(words),
            }
        }
        (synonyms, odd)
    }

    fn add(&mut self, words: Vec<Vec<String>>) {
        let group = self.groups.len();
        for word in &words {
            self.longest = self.longest.max(word.len());
            self.by_word.entry(word.clone()).or_insert(group);
        }
        self.groups.push(words);
    }

    /// The longest word with synonyms that `pieces` begin with: how many pieces it has, and the other words of its group.
    pub fn at_start(&self, pieces: &[&str]) -> Option<(usize, Vec<Vec<String>>)> {
        (1..=self.longest.min(pieces.len()))
            .rev()
            .find_map(|length| {
                let word: Vec<String> = pieces[..length]
                    .iter()
                    .map(|piece| (*piece).to_owned())
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

fn word(text: &str) -> Vec<String> {
    pieces(&fold(text))
        .map(|piece| piece.text.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_line_by_line_and_what_makes_no_sense_is_named() {
        let (synonyms, odd) = Synonyms::parse(
            "# 类型\n教案, 教學設計、备课教案\n课件 = PPT # 幻灯片\n孤单\n\n , ，\n",
        );
        assert_eq!(odd, [4, 6]);
        let (length, others) = synonyms
            .at_start(&["教", "学", "设", "计", "好"])
            .expect("a word with synonyms");
        assert_eq!((length, others.len()), (4, 2));
        assert_eq!(
            synonyms.at_start(&["ppt"]).expect("folded").1,
            [["课".to_owned(), "件".to_owned()]]
        );
        assert!(
            synonyms.at_start(&["幻", "灯", "片"]).is_none(),
            "a comment is no word"
        );
    }
}
