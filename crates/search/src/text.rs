//! Text normalization ("folding"): one form for all variants of width, case, accent and script
//! (traditional, simplified).
//!
//! Each character folds independently of its neighbours. Therefore a substring of a text folds to a
//! substring of the folded text, which substring search relies on. Phrase-based conversion (乾坤 but
//! 干燥) was rejected for that reason: documents and queries share one table, so it has to be
//! consistent, not idiomatic Chinese.

use std::iter::once;
use std::sync::LazyLock;

use hanconv::RawDictionary;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// CJK blocks with nearly all characters in use; outside of them the two scripts do not differ.
const CJK_RANGE: std::ops::Range<u32> = 0x3400..0xA000;

/// Maximum length of a run; longer ones are split. Nobody types more, and encoded data would
/// inflate the index.
const MAX_RUN_CHARS: usize = 32;

/// Smallest unit of the index: one CJK character, or a run of letters and digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lexeme<'a> {
    pub text: &'a str,
    /// Byte offset in the folded text.
    pub offset: usize,
    /// True for a CJK character, false for a run of letters and digits.
    pub is_cjk: bool,
}

/// Folds a whole text.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    text.chars().for_each(|c| fold_char(c, |c| folded.push(c)));
    folded
}

/// Folds one character into none, one or several.
pub(crate) fn fold_char(c: char, mut emit: impl FnMut(char)) {
    if c.is_ascii() {
        return emit(c.to_ascii_lowercase());
    }
    if CJK_RANGE.contains(&u32::from(c)) {
        return emit(simplified(c));
    }
    for part in once(c).nfkd().filter(|part| !is_combining_mark(*part)) {
        part.to_lowercase().map(simplified).for_each(&mut emit);
    }
}

fn simplified(c: char) -> char {
    static SIMPLIFIED: LazyLock<Vec<char>> = LazyLock::new(|| {
        let mut table: Vec<char> = CJK_RANGE
            .map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        for (traditional, simple) in RawDictionary::TSCharacters.iter() {
            if let (Some(from), Some(to)) = (traditional.chars().next(), simple.chars().next())
                && CJK_RANGE.contains(&u32::from(from))
            {
                table[(u32::from(from) - CJK_RANGE.start) as usize] = to;
            }
        }
        table
    });
    if CJK_RANGE.contains(&u32::from(c)) {
        SIMPLIFIED[(u32::from(c) - CJK_RANGE.start) as usize]
    } else {
        c
    }
}

/// Splits a folded text into lexemes. Punctuation and white space separate runs and are dropped.
pub(crate) fn lexemes(folded: &str) -> impl Iterator<Item = Lexeme<'_>> {
    let mut rest = folded.char_indices().peekable();
    std::iter::from_fn(move || {
        loop {
            let (at, c) = rest.next()?;
            if is_cjk(c) {
                return Some(Lexeme {
                    text: &folded[at..at + c.len_utf8()],
                    offset: at,
                    is_cjk: true,
                });
            }
            if !c.is_alphanumeric() {
                continue;
            }
            let (mut end, mut length) = (at + c.len_utf8(), 1);
            while let Some((next, c)) =
                rest.next_if(|(_, c)| length < MAX_RUN_CHARS && is_run_char(*c))
            {
                (end, length) = (next + c.len_utf8(), length + 1);
            }
            return Some(Lexeme {
                text: &folded[at..end],
                offset: at,
                is_cjk: false,
            });
        }
    })
}

/// Splits a folded text into single characters, each a lexeme. Punctuation and white space are
/// dropped.
pub(crate) fn characters(folded: &str) -> impl Iterator<Item = Lexeme<'_>> {
    let searched = folded
        .char_indices()
        .filter(|(_, c)| is_cjk(*c) || c.is_alphanumeric());
    searched.map(|(at, c)| Lexeme {
        text: &folded[at..at + c.len_utf8()],
        offset: at,
        is_cjk: is_cjk(c),
    })
}

/// True for characters of scripts without spaces between words: Chinese and kana.
pub(crate) fn is_cjk(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{20000}'..='\u{3FFFF}' | '\u{3007}' | '\u{3041}'..='\u{30FF}')
}

/// True for letters and digits outside of [`is_cjk`].
pub(crate) fn is_run_char(c: char) -> bool {
    c.is_alphanumeric() && !is_cjk(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_of_a_text_fold_to_the_same_form() {
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
    fn a_substring_folds_to_a_substring_of_the_folded_text() {
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
    fn cjk_characters_are_single_and_letters_form_runs() {
        let found: Vec<(String, bool)> = lexemes("第3课:用ppt2016讲 h2o。")
            .map(|lexeme| (lexeme.text.to_owned(), lexeme.is_cjk))
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
            lexemes(&"x".repeat(70))
                .map(|lexeme| lexeme.text.len())
                .collect::<Vec<_>>(),
            [32, 32, 6]
        );
    }
}
