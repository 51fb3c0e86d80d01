//! The records inside the older binary formats: MS-DOC's piece table, MS-PPT's text atoms, MS-OLEPS' property sets.
//! Every offset comes from the file and is looked up with `get`: a wrong one ends the reading, never the program.

use encoding_rs::{BIG5, EUC_KR, Encoding, GB18030, SHIFT_JIS, UTF_8, UTF_16LE, WINDOWS_1252};

use crate::words::{Content, Text, line};

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(
        bytes.get(at..at.checked_add(2)?)?.try_into().ok()?,
    ))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?) as usize)
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}

/// What MS-DOC §2.5.2 (FibBase) says of the rest.
pub struct Head {
    pub encrypted: bool,
    /// The stream with the piece table.
    pub table: &'static str,
}

pub fn document_head(main: &[u8]) -> Option<Head> {
    const WORD_97: u16 = 0xa5ec;
    const WORD_95: u16 = 0xa5dc;
    let magic = u16_at(main, 0)?;
    let flags = u16_at(main, 0x0a)?;
    (magic == WORD_97 || magic == WORD_95).then_some(Head {
        encrypted: flags & 0x0100 != 0,
        table: if flags & 0x0200 != 0 {
            "1Table"
        } else {
            "0Table"
        },
    })
}

/// MS-DOC §2.4.1: the text is in pieces, each of 8-bit or 16-bit characters somewhere in the main stream.
pub fn document_text(main: &[u8], table: &[u8], text: &mut Text) -> Option<()> {
    let (at, length) = (u32_at(main, 0x01a2)?, u32_at(main, 0x01a6)?);
    let pieces = piece_table(slice(table, at, length)?)?;
    let count = pieces.len().checked_sub(4)? / 12;
    let mut fields = 0_usize;
    for piece in 0..count {
        let characters = u32_at(pieces, piece * 4 + 4)?.checked_sub(u32_at(pieces, piece * 4)?)?;
        let place = u32_at(pieces, (count + 1) * 4 + piece * 8 + 2)?;
        let said = match place & 0x4000_0000 {
            0 => {
                UTF_16LE
                    .decode_without_bom_handling(slice(main, place, characters.checked_mul(2)?)?)
                    .0
            }
            _ => {
                WINDOWS_1252
                    .decode_without_bom_handling(slice(
                        main,
                        (place & 0x3fff_ffff) / 2,
                        characters,
                    )?)
                    .0
            }
        };
        text.push(&without_fields(&said, &mut fields));
        if text.is_cut() {
            break;
        }
    }
    Some(())
}

/// MS-DOC §2.9.38: after any number of property blocks (1) comes the table (2).
fn piece_table(mut clx: &[u8]) -> Option<&[u8]> {
    loop {
        match clx.first()? {
            1 => clx = clx.get(3 + usize::from(u16_at(clx, 1)?)..)?,
            2 => return slice(clx, 5, u32_at(clx, 1)?),
            _ => return None,
        }
    }
}

/// Word's control characters: fields are code (0x13) and result (0x14) up to 0x15; only results are text.
fn without_fields(said: &str, in_code: &mut usize) -> String {
    let mut text = String::with_capacity(said.len());
    for character in said.chars() {
        match character {
            '\u{13}' => *in_code += 1,
            '\u{14}' | '\u{15}' => *in_code = in_code.saturating_sub(1),
            _ if *in_code > 0 => {}
            '\r' | '\u{b}' | '\u{c}' => text.push('\n'),
            '\u{7}' => text.push('\t'),
            '\u{1}' | '\u{8}' => {}
            character => text.push(character),
        }
    }
    text
}

/// MS-PPT §2.3.2: the current user's header token.
pub fn is_encrypted_presentation(user: &[u8]) -> bool {
    u32_at(user, 12) == Some(0xf3d1_c4df)
}

/// MS-PPT §2.3.1: a stream of records; containers are walked into, masters are not the author's words.
pub fn presentation_text(records: &[u8], content: &mut Content) {
    const MASTER: u16 = 0x03f8;
    const LIST: u16 = 0x0ff0;
    const HEADER: u16 = 0x0f9f;
    const CHARACTERS: u16 = 0x0fa0;
    const BYTES: u16 = 0x0fa8;
    let (mut at, mut in_title) = (0, false);
    while let (Some(head), Some(kind), Some(length)) = (
        u16_at(records, at),
        u16_at(records, at + 2),
        u32_at(records, at + 4),
    ) {
        let body = slice(records, at + 8, length).unwrap_or_default();
        let said = match kind {
            CHARACTERS => UTF_16LE.decode_without_bom_handling(body).0,
            BYTES => WINDOWS_1252.decode_without_bom_handling(body).0,
            _ => "".into(),
        };
        if kind == HEADER {
            // MS-PPT §2.13.33: 0 is a title, 6 a centred one.
            in_title = matches!(u32_at(body, 0), Some(0 | 6));
        } else if !said.is_empty() {
            if in_title {
                content.heading(1, &said, None);
            }
            content.text.push(&said.replace(['\r', '\u{b}'], "\n"));
            content.text.end_line();
            in_title = false;
        }
        // The list's instance 1 is of masters.
        let foreign = kind == MASTER || kind == LIST && head >> 4 == 1;
        let is_container = head & 0xf == 0xf && !foreign;
        at = at
            .saturating_add(8)
            .saturating_add(if is_container { 0 } else { length });
    }
}

/// Title and author of a SummaryInformation stream (MS-OLEPS §2.21).
pub fn summary(set: &[u8]) -> (Option<String>, Option<String>) {
    const CODE_PAGE: usize = 1;
    const TITLE: usize = 2;
    const AUTHOR: usize = 4;
    let Some(section) = u32_at(set, 44).and_then(|at| set.get(at..)) else {
        return (None, None);
    };
    let place = |wanted: usize| {
        let count = u32_at(section, 4)?.min(64);
        let entry = (0..count)
            .map(|n| 8 + n * 8)
            .find(|at| u32_at(section, *at) == Some(wanted))?;
        section.get(u32_at(section, entry + 4)?..)
    };
    let encoding = code_page(
        place(CODE_PAGE)
            .and_then(|value| u16_at(value, 4))
            .unwrap_or_default(),
    );
    let text = |wanted| {
        place(wanted)
            .and_then(|value| property(value, encoding))
            .and_then(|text| line(&text))
    };
    (text(TITLE), text(AUTHOR))
}

/// MS-OLEPS §2.15: the two kinds of string.
fn property(value: &[u8], encoding: &'static Encoding) -> Option<String> {
    let length = u32_at(value, 4)?;
    let decoded = match u32_at(value, 0)? {
        0x1e => encoding.decode(slice(value, 8, length)?).0,
        0x1f => UTF_16LE.decode(slice(value, 8, length.checked_mul(2)?)?).0,
        _ => return None,
    };
    Some(decoded.trim_end_matches('\0').to_owned())
}

fn code_page(number: u16) -> &'static Encoding {
    match number {
        936 | 54936 => GB18030,
        950 => BIG5,
        932 => SHIFT_JIS,
        949 => EUC_KR,
        65001 => UTF_8,
        1200 => UTF_16LE,
        _ => WINDOWS_1252,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A main stream whose piece table (in the table stream) has one 8-bit and one 16-bit piece.
    fn document() -> (Vec<u8>, Vec<u8>) {
        let chinese: Vec<u8> = "教案\r\u{13} PAGE \u{14}7\u{15}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let mut main = vec![0; 0x200];
        main[..2].copy_from_slice(&0xa5ec_u16.to_le_bytes());
        main.extend_from_slice(b"Plan ");
        main.extend_from_slice(&chinese);
        let mut pieces = Vec::new();
        for position in [0_u32, 5, 5 + chinese.len() as u32 / 2] {
            pieces.extend_from_slice(&position.to_le_bytes());
        }
        for place in [0x4000_0000 | (0x200 * 2_u32), 0x205] {
            pieces.extend_from_slice(&[0, 0]);
            pieces.extend_from_slice(&place.to_le_bytes());
            pieces.extend_from_slice(&[0, 0]);
        }
        let mut table = vec![2];
        table.extend_from_slice(&(pieces.len() as u32).to_le_bytes());
        table.extend_from_slice(&pieces);
        main[0x1a6..0x1aa].copy_from_slice(&(table.len() as u32).to_le_bytes());
        (main, table)
    }

    #[test]
    fn an_old_lesson_plan_is_read_piece_by_piece() {
        let (main, table) = document();
        let mut text = Text::default();
        document_text(&main, &table, &mut text).expect("read");
        assert_eq!(text.as_str(), "Plan 教案\n7");
    }

    #[test]
    fn a_cut_document_is_no_panic() {
        let (main, table) = document();
        for length in 0..main.len() {
            document_text(&main[..length], &table, &mut Text::default());
        }
        for length in 0..table.len() {
            document_text(&main, &table[..length], &mut Text::default());
        }
    }

    #[test]
    fn titles_of_an_old_deck_are_its_outline() {
        let atom = |kind: u16, body: &[u8]| {
            [
                &[0, 0],
                &kind.to_le_bytes()[..],
                &(body.len() as u32).to_le_bytes(),
                body,
            ]
            .concat()
        };
        let utf_16: Vec<u8> = "分数的加法"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let list = [
            atom(0x0f9f, &0_u32.to_le_bytes()),
            atom(0x0fa0, &utf_16),
            atom(0x0fa8, b"1/2 + 1/3"),
        ]
        .concat();
        let mut records = vec![0x0f, 0x00, 0xf0, 0x0f];
        records.extend_from_slice(&(list.len() as u32).to_le_bytes());
        records.extend_from_slice(&list);
        let mut content = Content::default();
        presentation_text(&records, &mut content);
        assert_eq!(content.text.as_str(), "分数的加法\n1/2 + 1/3");
        assert_eq!(content.outline.len(), 1);
    }
}
