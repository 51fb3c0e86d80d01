//! Pinyin search: 分数 is found by `fenshu`, `fens` or `fs`, from any character of a title on.

use std::collections::BTreeSet;

use pinyin::ToPinyinMulti;

use crate::text::lexemes;

/// Length that spellings are truncated to in the index. A longer input matches by this prefix, and
/// ranking sorts the results.
pub(crate) const MAX_SPELLING_LEN: usize = 12;
/// Number of initials kept.
pub(crate) const MAX_INITIALS: usize = 6;
/// Limit on spellings from one character on: 重庆 is chongqing and zhongqing, and combinations of
/// such characters must not multiply without bound.
const MAX_SPELLINGS: usize = 6;

/// Index terms for prefix search: full spellings and initials, starting at each character of a
/// folded text.
pub(crate) fn prefix_keys(text: &str) -> Vec<String> {
    let mut keys = BTreeSet::new();
    for run in crate::tokenizer::runs(text)
        .into_iter()
        .filter(|run| run.is_cjk)
    {
        let readings: Vec<Vec<&'static str>> = run.text.chars().map(readings).collect();
        for from in 0..readings.len() {
            keys.extend(spellings(&readings[from..], MAX_SPELLING_LEN, |syllable| {
                syllable
            }));
            keys.extend(spellings(&readings[from..], MAX_INITIALS, |syllable| {
                &syllable[..1]
            }));
        }
    }
    keys.remove("");
    keys.into_iter().collect()
}

/// Readings of a character, most common first.
fn readings(c: char) -> Vec<&'static str> {
    let mut readings: Vec<&'static str> = Vec::new();
    for reading in c
        .to_pinyin_multi()
        .into_iter()
        .flatten()
        .map(|reading| reading.plain())
    {
        // Some rare readings are spelled with letters beyond a to z; nobody types them.
        if !reading.is_empty()
            && reading.bytes().all(|b| b.is_ascii_lowercase())
            && !readings.contains(&reading)
        {
            readings.push(reading);
        }
    }
    readings
}

fn spellings(
    readings: &[Vec<&'static str>],
    letters: usize,
    part: fn(&'static str) -> &'static str,
) -> Vec<String> {
    let mut spellings = vec![String::new()];
    for of_character in readings {
        if spellings.iter().all(|spelling| spelling.len() >= letters) || of_character.is_empty() {
            break;
        }
        let longer = of_character.iter().flat_map(|reading| {
            spellings
                .iter()
                .map(|before| before.clone() + part(reading))
        });
        let distinct: BTreeSet<String> = longer.collect();
        spellings = distinct.into_iter().take(MAX_SPELLINGS).collect();
    }
    spellings
        .iter_mut()
        .for_each(|spelling| spelling.truncate(letters));
    spellings
}

/// Number of leading characters of a folded text that `typed` spells: as a possibly unfinished
/// spelling, or by their initials.
pub(crate) fn matched_chars(text: &str, typed: &str) -> Option<usize> {
    let readings: Vec<Vec<&'static str>> = lexemes(text)
        .take_while(|lexeme| lexeme.is_cjk)
        .filter_map(|lexeme| lexeme.text.chars().next())
        .map(readings)
        .collect();
    let by_initials = typed.chars().count() <= readings.len()
        && typed.bytes().zip(&readings).all(|(letter, readings)| {
            readings
                .iter()
                .any(|reading| reading.as_bytes()[0] == letter)
        });
    if by_initials {
        return Some(typed.len());
    }
    match_spelling(&readings, typed, 0)
}

fn match_spelling(readings: &[Vec<&'static str>], typed: &str, characters: usize) -> Option<usize> {
    if typed.is_empty() {
        return Some(characters).filter(|characters| *characters > 0);
    }
    let (first, rest) = readings.split_first()?;
    first
        .iter()
        .find_map(|reading| match typed.strip_prefix(reading) {
            Some(left) => match_spelling(rest, left, characters + 1),
            None => reading.starts_with(typed).then_some(characters + 1),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_found(text: &str, typed: &str) -> bool {
        prefix_keys(text).iter().any(|key| key.starts_with(typed))
    }

    #[test]
    fn a_title_is_found_by_pinyin_and_by_initials() {
        for typed in ["fenshu", "fensh", "fs", "fsdyy", "yiyi", "deyiyi", "sdyy"] {
            assert!(is_found("分数的意义", typed), "{typed}");
        }
        assert!(!is_found("分数的意义", "yuwen"));
    }

    #[test]
    fn characters_with_several_readings_are_found_by_each() {
        assert!(is_found("重庆路小学", "chongqing") && is_found("重庆路小学", "zhongqing"));
        assert!(is_found("单雄信", "shan") && is_found("曾老师", "zenglaoshi"));
        assert!(
            prefix_keys("长乐重行数得了着和都").len() < 200,
            "combinations of readings are bounded"
        );
    }

    #[test]
    fn matched_spellings_are_counted_in_characters() {
        assert_eq!(matched_chars("分数的意义", "fs"), Some(2));
        assert_eq!(matched_chars("分数的意义", "fenshu"), Some(2));
        assert_eq!(matched_chars("分数的意义", "fens"), Some(2));
        assert_eq!(matched_chars("分数的意义", "shu"), None);
        assert_eq!(matched_chars("unit 2", "u"), None);
    }
}
