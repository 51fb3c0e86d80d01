//! What characters sound like, for people who type 分数 as `fenshu` or `fs`, begun anywhere in a title and not finished yet.

use std::collections::BTreeSet;

use pinyin::ToPinyinMulti;

use crate::text::pieces;

/// Letters kept of a spelling. Whoever has typed more is found by these and is shown the right ones first.
pub const LETTERS: usize = 12;
/// Initials kept.
pub const INITIALS: usize = 6;
/// Spellings kept from one character on: 重庆 is chongqing and zhongqing, and a row of such characters must not multiply without end.
const SPELLINGS: usize = 6;

/// The beginnings by which a folded text is found: full spellings and initials, from each of its characters on.
pub fn keys(text: &str) -> Vec<String> {
    let mut keys = BTreeSet::new();
    for run in crate::words::runs(text)
        .into_iter()
        .filter(|run| run.single)
    {
        let readings: Vec<Vec<&'static str>> = run.text.chars().map(readings).collect();
        for from in 0..readings.len() {
            keys.extend(spelled(&readings[from..], LETTERS, |syllable| syllable));
            keys.extend(spelled(&readings[from..], INITIALS, |syllable| {
                &syllable[..1]
            }));
        }
    }
    keys.remove("");
    keys.into_iter().collect()
}

/// How a character is read, most common first.
fn readings(c: char) -> Vec<&'static str> {
    let mut readings: Vec<&'static str> = Vec::new();
    for reading in c
        .to_pinyin_multi()
        .into_iter()
        .flatten()
        .map(|reading| reading.plain())
    {
        // Some rare readings are written with letters beyond a to z; nobody types them.
        if !reading.is_empty()
            && reading.bytes().all(|b| b.is_ascii_lowercase())
            && !readings.contains(&reading)
        {
            readings.push(reading);
        }
    }
    readings
}

fn spelled(
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
        spellings = distinct.into_iter().take(SPELLINGS).collect();
    }
    spellings
        .iter_mut()
        .for_each(|spelling| spelling.truncate(letters));
    spellings
}

/// How many characters from the start of a folded text sound like `typed`: as a spelling that may be unfinished, or by their initials.
pub fn heard(text: &str, typed: &str) -> Option<usize> {
    let readings: Vec<Vec<&'static str>> = pieces(text)
        .take_while(|piece| piece.single)
        .filter_map(|piece| piece.text.chars().next())
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
    spelled_out(&readings, typed, 0)
}

fn spelled_out(readings: &[Vec<&'static str>], typed: &str, characters: usize) -> Option<usize> {
    if typed.is_empty() {
        return Some(characters).filter(|characters| *characters > 0);
    }
    let (first, rest) = readings.split_first()?;
    first
        .iter()
        .find_map(|reading| match typed.strip_prefix(reading) {
            Some(left) => spelled_out(rest, left, characters + 1),
            None => reading.starts_with(typed).then_some(characters + 1),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_found(text: &str, typed: &str) -> bool {
        keys(text).iter().any(|key| key.starts_with(typed))
    }

    #[test]
    fn a_title_is_found_by_its_sound_and_by_initials() {
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
            keys("长乐重行数得了着和都").len() < 200,
            "readings do not multiply without end"
        );
    }

    #[test]
    fn what_was_heard_is_counted_in_characters() {
        assert_eq!(heard("分数的意义", "fs"), Some(2));
        assert_eq!(heard("分数的意义", "fenshu"), Some(2));
        assert_eq!(heard("分数的意义", "fens"), Some(2));
        assert_eq!(heard("分数的意义", "shu"), None);
        assert_eq!(heard("unit 2", "u"), None);
    }
}
