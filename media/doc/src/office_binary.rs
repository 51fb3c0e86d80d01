//! Binary Office formats of Office 97 to 2003: piece table of MS-DOC, text atoms of MS-PPT,
//! property sets of MS-OLEPS.
//!
//! Every offset comes from the file and is bounds-checked: an invalid one ends parsing without a
//! panic.

use encoding_rs::{BIG5, EUC_KR, Encoding, GB18030, SHIFT_JIS, UTF_8, UTF_16LE, WINDOWS_1252};

use crate::content::{Content, Text, single_line};

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

/// File information block of a Word document (FibBase, MS-DOC §2.5.2).
pub struct FibBase {
    /// `fEncrypted`.
    pub encrypted: bool,
    /// Name of the stream with the piece table (`fWhichTblStm`).
    pub table_stream: &'static str,
}

/// Parses the FibBase at the start of the WordDocument stream; `None` if its magic number is wrong.
pub fn fib_base(main: &[u8]) -> Option<FibBase> {
    const WORD_97: u16 = 0xa5ec;
    const WORD_95: u16 = 0xa5dc;
    let magic = u16_at(main, 0)?;
    let flags = u16_at(main, 0x0a)?;
    (magic == WORD_97 || magic == WORD_95).then_some(FibBase {
        encrypted: flags & 0x0100 != 0,
        table_stream: if flags & 0x0200 != 0 {
            "1Table"
        } else {
            "0Table"
        },
    })
}

/// Reads the text of a Word document (MS-DOC §2.4.1).
///
/// The piece table lists runs of 8-bit or 16-bit characters in the main stream. `None` if an offset
/// is invalid; the text up to there is kept.
pub fn read_doc_text(main: &[u8], table: &[u8], text: &mut Text) -> Option<()> {
    let (at, length) = (u32_at(main, 0x01a2)?, u32_at(main, 0x01a6)?);
    let pieces = piece_table(slice(table, at, length)?)?;
    let count = pieces.len().checked_sub(4)? / 12;
    let mut fields = 0_usize;
    for piece in 0..count {
        let characters = u32_at(pieces, piece * 4 + 4)?.checked_sub(u32_at(pieces, piece * 4)?)?;
        let place = u32_at(pieces, (count + 1) * 4 + piece * 8 + 2)?;
        let piece_text = match place & 0x4000_0000 {
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
        text.push(&strip_fields(&piece_text, &mut fields));
        if text.is_truncated() {
            break;
        }
    }
    Some(())
}

/// Finds the piece table in a Clx: property blocks (type 1), then the table (type 2) (MS-DOC
/// §2.9.38).
fn piece_table(mut clx: &[u8]) -> Option<&[u8]> {
    loop {
        match clx.first()? {
            1 => clx = clx.get(3 + usize::from(u16_at(clx, 1)?)..)?,
            2 => return slice(clx, 5, u32_at(clx, 1)?),
            _ => return None,
        }
    }
}

/// Replaces control characters of Word and removes field codes.
///
/// A field is its code (after 0x13) and its result (after 0x14), ended by 0x15; only the result is
/// text. `in_code` is the number of open field codes, kept between pieces.
fn strip_fields(piece: &str, in_code: &mut usize) -> String {
    let mut text = String::with_capacity(piece.len());
    for character in piece.chars() {
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

/// Returns true if the header token of the Current User stream means encryption (MS-PPT §2.3.2).
pub fn is_encrypted_ppt(user: &[u8]) -> bool {
    u32_at(user, 12) == Some(0xf3d1_c4df)
}

/// Reads the text of the PowerPoint Document stream, a tree of records (MS-PPT §2.3.1). Slide
/// masters are skipped: their text is not the author's.
pub fn read_ppt_text(records: &[u8], content: &mut Content) {
    // Record types (MS-PPT §2.13.24).
    const MAIN_MASTER: u16 = 0x03f8;
    const SLIDE_LIST_WITH_TEXT: u16 = 0x0ff0;
    const TEXT_HEADER_ATOM: u16 = 0x0f9f;
    const TEXT_CHARS_ATOM: u16 = 0x0fa0;
    const TEXT_BYTES_ATOM: u16 = 0x0fa8;
    let (mut at, mut in_title) = (0, false);
    while let (Some(version), Some(record_type), Some(length)) = (
        u16_at(records, at),
        u16_at(records, at + 2),
        u32_at(records, at + 4),
    ) {
        let body = slice(records, at + 8, length).unwrap_or_default();
        let text = match record_type {
            TEXT_CHARS_ATOM => UTF_16LE.decode_without_bom_handling(body).0,
            TEXT_BYTES_ATOM => WINDOWS_1252.decode_without_bom_handling(body).0,
            _ => "".into(),
        };
        if record_type == TEXT_HEADER_ATOM {
            // TextTypeEnum: 0 is a title, 6 a centred title (MS-PPT §2.13.33).
            in_title = matches!(u32_at(body, 0), Some(0 | 6));
        } else if !text.is_empty() {
            if in_title {
                content.push_heading(1, &text, None);
            }
            content.text.push(&text.replace(['\r', '\u{b}'], "\n"));
            content.text.end_line();
            in_title = false;
        }
        // Instance 1 of the list is the list of masters.
        let is_master =
            record_type == MAIN_MASTER || record_type == SLIDE_LIST_WITH_TEXT && version >> 4 == 1;
        let is_container = version & 0xf == 0xf && !is_master;
        at = at
            .saturating_add(8)
            .saturating_add(if is_container { 0 } else { length });
    }
}

/// Reads title and author of a SummaryInformation stream (MS-OLEPS §2.21).
pub fn summary_information(set: &[u8]) -> (Option<String>, Option<String>) {
    const CODE_PAGE: usize = 1;
    const TITLE: usize = 2;
    const AUTHOR: usize = 4;
    let Some(section) = u32_at(set, 44).and_then(|at| set.get(at..)) else {
        return (None, None);
    };
    let value_of = |wanted: usize| {
        let count = u32_at(section, 4)?.min(64);
        let entry = (0..count)
            .map(|n| 8 + n * 8)
            .find(|at| u32_at(section, *at) == Some(wanted))?;
        section.get(u32_at(section, entry + 4)?..)
    };
    let encoding = code_page(
        value_of(CODE_PAGE)
            .and_then(|value| u16_at(value, 4))
            .unwrap_or_default(),
    );
    let text = |wanted| {
        value_of(wanted)
            .and_then(|value| string_property(value, encoding))
            .and_then(|text| single_line(&text))
    };
    (text(TITLE), text(AUTHOR))
}

/// Decodes a string property: VT_LPSTR (0x1e) or VT_LPWSTR (0x1f) (MS-OLEPS §2.15).
fn string_property(value: &[u8], encoding: &'static Encoding) -> Option<String> {
    let length = u32_at(value, 4)?;
    let decoded = match u32_at(value, 0)? {
        0x1e => encoding.decode(slice(value, 8, length)?).0,
        0x1f => UTF_16LE.decode(slice(value, 8, length.checked_mul(2)?)?).0,
        _ => return None,
    };
    Some(decoded.trim_end_matches('\0').to_owned())
}

/// Encoding of a Windows code page.
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

    /// Main and table stream of a document whose piece table has one 8-bit and one 16-bit piece.
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
    fn a_word_97_lesson_plan_is_read_piece_by_piece() {
        let (main, table) = document();
        let mut text = Text::default();
        read_doc_text(&main, &table, &mut text).expect("read");
        assert_eq!(text.as_str(), "Plan 教案\n7");
    }

    #[test]
    fn a_truncated_document_causes_no_panic() {
        let (main, table) = document();
        for length in 0..main.len() {
            read_doc_text(&main[..length], &table, &mut Text::default());
        }
        for length in 0..table.len() {
            read_doc_text(&main, &table[..length], &mut Text::default());
        }
    }

    #[test]
    fn titles_of_a_powerpoint_97_deck_are_its_outline() {
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
        read_ppt_text(&records, &mut content);
        assert_eq!(content.text.as_str(), "分数的加法\n1/2 + 1/3");
        assert_eq!(content.outline.len(), 1);
    }
}
