//! One form for every way of writing the same thing: width, case, accents, traditional or simplified.
//!
//! Every character is folded by itself, never by its neighbours. A piece cut out of a text therefore folds to a piece of the folded text,
//! which is what finding any substring rests on. Conversion by phrases (乾坤 but 干燥) was turned down for that reason: what is indexed and
//! what is asked for go through the same table, so it need not be good Chinese, only the same on both sides.

use std::iter::once;
use std::sync::LazyLock;

use hanconv::RawDictionary;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The blocks with nearly all characters in use; beyond them the two scripts do not differ.
const TABLE: std::ops::Range<u32> = 0x3400..0xA000;

/// A run of letters and digits longer than this is cut: nobody types more, and encoded data would swell the index.
const LONGEST_RUN: usize = 32;

/// What is one unit of meaning for the index: a single Chinese character, or a run of letters and digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub text: &'a str,
    /// Where it begins in the folded text, in bytes.
    pub at: usize,
    /// One character that stands for itself; otherwise a run of letters and digits.
    pub single: bool,
}

/// Folds a whole text.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    text.chars().for_each(|c| fold_char(c, |c| folded.push(c)));
    folded
}

/// Folds one character into none, one or several.
pub fn fold_char(c: char, mut emit: impl FnMut(char)) {
    if c.is_ascii() {
        return emit(c.to_ascii_lowercase());
    }
    if TABLE.contains(&u32::from(c)) {
        return emit(simplified(c));
    }
    for part in once(c).nfkd().filter(|part| !is_combining_mark(*part)) {
        part.to_lowercase().map(simplified).for_each(&mut emit);
    }
}

fn simplified(c: char) -> char {
    static SIMPLIFIED: LazyLock<Vec<char>> = LazyLock::new(|| {
        let mut table: Vec<char> = TABLE
            .map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        for (traditional, simple) in RawDictionary::TSCharacters.iter() {
            if let (Some(from), Some(to)) = (traditional.chars().next(), simple.chars().next())
                && TABLE.contains(&u32::from(from))
            {
                table[(u32::from(from) - TABLE.start) as usize] = to;
            }
        }
        table
    });
    if TABLE.contains(&u32::from(c)) {
        SIMPLIFIED[(u32::from(c) - TABLE.start) as usize]
    } else {
        c
    }
}

/// The pieces of a folded text, in order; punctuation and space separate runs and are nothing themselves.
pub fn pieces(folded: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = folded.char_indices().peekable();
    std::iter::from_fn(move || {
        loop {
            let (at, c) = rest.next()?;
            if is_single(c) {
                return Some(Piece {
                    text: &folded[at..at + c.len_utf8()],
                    at,
                    single: true,
                });
            }
            if !c.is_alphanumeric() {
                continue;
            }
            let (mut end, mut length) = (at + c.len_utf8(), 1);
            while let Some((next, c)) = rest.next_if(|(_, c)| length < LONGEST_RUN && in_run(*c)) {
                (end, length) = (next + c.len_utf8(), length + 1);
            }
            return Some(Piece {
                text: &folded[at..end],
                at,
                single: false,
            });
        }
    })
}

/// The characters of a folded text that are pieces or parts of them, in order, each as a piece of its own.
pub fn characters(folded: &str) -> impl Iterator<Item = Piece<'_>> {
    let searched = folded
        .char_indices()
        .filter(|(_, c)| is_single(*c) || c.is_alphanumeric());
    searched.map(|(at, c)| Piece {
        text: &folded[at..at + c.len_utf8()],
        at,
        single: is_single(c),
    })
}

/// A character that is searched for by itself: Chinese, and kana, which are written without spaces too.
pub fn is_single(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{20000}'..='\u{3FFFF}' | '\u{3007}' | '\u{3041}'..='\u{30FF}')
}

/// A letter or digit that is written in runs.
pub fn in_run(c: char) -> bool {
    c.is_alphanumeric() && !is_single(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_of_writing_the_same_fold_to_the_same() {
        for (written, folded) in [
            ("數學課件", "数学课件"),
            ("ＰＰＴ２０１６", "ppt2016"),
            ("Fēn Shù", "fen shu"),
            ("⽔的循環", "水的循环"),
            ("①㈠", "1(一)"),
            ("臺灣裡裏", "台湾里里"),
            ("Straße", "straße"),
        ] {
            assert_eq!(fold(written), folded, "{written}");
        }
    }

    #[test]
    fn a_piece_of_a_text_folds_to_a_piece_of_the_folded_text() {
        let text = "《分數的意義》第３課：Ｕｎｉｔ ２ café ①";
        let whole = fold(text);
        let chars: Vec<char> = text.chars().collect();
        for from in 0..chars.len() {
            for to in from + 1..=chars.len() {
                let cut: String = chars[from..to].iter().collect();
                assert!(whole.contains(&fold(&cut)), "{cut}");
            }
        }
    }

    #[test]
    fn characters_stand_alone_and_letters_run_together() {
        let found: Vec<(String, bool)> = pieces("第3课:用ppt2016讲 h2o。")
            .map(|piece| (piece.text.to_owned(), piece.single))
            .collect();
        let expected = [
            ("第", true),
            ("3", false),
            ("课", true),
            ("用", true),
            ("ppt2016", false),
            ("讲", true),
            ("h2o", false),
        ];
        assert_eq!(
            found,
            expected.map(|(text, single)| (text.to_owned(), single))
        );
        assert_eq!(
            pieces(&"x".repeat(70))
                .map(|piece| piece.text.len())
                .collect::<Vec<_>>(),
            [32, 32, 6]
        );
    }
}
