//! Plain text and Markdown in UTF-8, UTF-16, GBK and GB18030; other encodings are guessed.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, GB18030, GBK, UTF_8, UTF_16BE, UTF_16LE};
use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use crate::content::Content;
use crate::file_type::FileType;

/// Detects plain text, Markdown or HTML by the beginning of a file; `Unknown` if it is not text.
pub fn detect(head: &[u8]) -> FileType {
    let (text, _) = detect_encoding(head).decode_with_bom_removal(head);
    let is_control = |character: char| {
        character.is_control() && !matches!(character, '\n' | '\r' | '\t' | '\u{c}' | '\u{1b}')
    };
    // One in a hundred characters may be invalid, and the last one may be truncated.
    let invalid = text
        .chars()
        .filter(|character| *character == '\u{fffd}')
        .count();
    if invalid > 1 + text.chars().count() / 100 || text.chars().any(is_control) {
        return FileType::Unknown;
    }
    match () {
        () if is_html(&text) => FileType::Html,
        () if is_markdown(&text) => FileType::Markdown,
        () => FileType::Text,
    }
}

/// Decodes text in a detected encoding.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    detect_encoding(bytes).decode_with_bom_removal(bytes).0
}

/// Reads plain text.
pub fn read(bytes: &[u8], content: &mut Content) {
    for line in decode(bytes).lines() {
        content.text.push(line);
        content.text.push("\n");
    }
}

/// Reads Markdown: the source as text, its headings as outline.
pub fn read_markdown(bytes: &[u8], content: &mut Content) {
    read(bytes, content);
    let mut heading: Option<(usize, String)> = None;
    for event in Parser::new(&decode(bytes)) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                heading = Some((level as usize, String::new()))
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((level, text)) = heading.take() {
                    content.push_heading(level, &text, None);
                }
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some((_, heading)) = &mut heading {
                    *heading += &text;
                }
            }
            _ => {}
        }
    }
    content.title = content
        .outline
        .iter()
        .find(|heading| heading.level == 1)
        .map(|heading| heading.text.clone());
}

fn detect_encoding(bytes: &[u8]) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return encoding;
    }
    if let Some(encoding) = detect_utf_16(bytes) {
        return encoding;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, false);
    match detector.guess(Some(b"cn"), Utf8Detection::Allow) {
        // GB18030 is a superset of GBK.
        encoding if encoding == GBK => GB18030,
        encoding => encoding,
    }
}

/// Detects UTF-16 without a byte order mark: spaces, digits and line ends have one zero byte, which
/// other encodings never have.
fn detect_utf_16(bytes: &[u8]) -> Option<&'static Encoding> {
    let zeros = |offset: usize| {
        bytes
            .iter()
            .skip(offset)
            .step_by(2)
            .filter(|byte| **byte == 0)
            .count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    let encoding = match () {
        () if even + odd < bytes.len() / 200 + 1 => return None,
        () if odd > even * 8 => UTF_16LE,
        () if even > odd * 8 => UTF_16BE,
        () => return None,
    };
    let sample = &bytes[..bytes.len().min(4096) & !1];
    let text = encoding.decode_without_bom_handling_and_without_replacement(sample)?;
    // Random byte pairs decode to any code point; text stays in the blocks of common scripts.
    let is_common = |character: &char| matches!(*character, ' '..='\u{24f}' | '\n' | '\r' | '\t' | '\u{2000}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}');
    (text.chars().filter(is_common).count() * 10 > text.chars().count() * 9).then_some(encoding)
}

fn is_html(text: &str) -> bool {
    let start: String = text
        .trim_start()
        .chars()
        .take(1024)
        .collect::<String>()
        .to_ascii_lowercase();
    ["<!doctype html", "<html", "<head", "<body"]
        .iter()
        .any(|tag| start.starts_with(tag))
        || (start.starts_with("<?xml") || start.starts_with("<!--")) && start.contains("<html")
}

/// Returns true for at least two different constructs of Markdown: a single "heading" may be a
/// comment of a script.
fn is_markdown(text: &str) -> bool {
    let has =
        |construct: fn(&str) -> bool| text.lines().take(400).any(|line| construct(line.trim()));
    let heading = |line: &str| {
        line.trim_start_matches('#').starts_with(' ')
            && line.starts_with('#')
            && !line.starts_with("#######")
    };
    let constructs = [
        has(heading),
        has(|line| line.starts_with("```")),
        has(|line| line.starts_with("- ") || line.starts_with("* ")),
        has(|line| line.contains("](")),
        has(|line| line.contains("|--") || line.contains("| --") || line.contains("|:-")),
        has(|line| line.matches("**").count() >= 2),
        has(|line| line.starts_with("> ")),
    ];
    constructs.iter().filter(|found| **found).count() >= 2
}

/// Decodes HTML. Uses the charset declared in the first kilobyte unless the bytes contradict it.
pub fn decode_html(bytes: &[u8]) -> Cow<'_, str> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_ascii_lowercase();
    let label = head
        .split("charset=")
        .nth(1)
        .map(|rest| rest.trim_start_matches(['"', '\'']));
    let label = label.and_then(|rest| {
        rest.split(|end: char| !end.is_ascii_alphanumeric() && end != '-')
            .next()
    });
    match label.and_then(|label| Encoding::for_label(label.as_bytes())) {
        Some(encoding)
            if Encoding::for_bom(bytes).is_none()
                && detect_utf_16(bytes).is_none()
                && !is_utf_8(bytes) =>
        {
            encoding.decode_with_bom_removal(bytes).0
        }
        _ => decode(bytes),
    }
}

fn is_utf_8(bytes: &[u8]) -> bool {
    UTF_8
        .decode_without_bom_handling_and_without_replacement(bytes)
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POEM: &str = "静夜思\r\n床前明月光，疑是地上霜。\r\n举头望明月，低头思故乡。\r\n";

    fn text_of(bytes: &[u8]) -> String {
        let mut content = Content::default();
        read(bytes, &mut content);
        content.text.as_str().to_owned()
    }

    #[test]
    fn a_poem_is_the_same_in_every_encoding() {
        let utf_16 = |to_bytes: fn(u16) -> [u8; 2]| {
            POEM.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>()
        };
        let files = [
            POEM.as_bytes().to_vec(),
            ["\u{feff}".as_bytes(), POEM.as_bytes()].concat(),
            GBK.encode(POEM).0.into_owned(),
            GB18030.encode(POEM).0.into_owned(),
            utf_16(u16::to_le_bytes),
            utf_16(u16::to_be_bytes),
            [vec![0xff, 0xfe], utf_16(u16::to_le_bytes)].concat(),
        ];
        for (number, file) in files.iter().enumerate() {
            assert_eq!(detect(file), FileType::Text, "file {number}");
            assert_eq!(
                text_of(file),
                POEM.replace("\r\n", "\n").trim(),
                "file {number}"
            );
        }
    }

    #[test]
    fn a_character_truncated_at_the_end_of_the_sample_is_not_invalid() {
        let long = POEM.repeat(100);
        assert_eq!(detect(&long.as_bytes()[..1001]), FileType::Text);
    }

    #[test]
    fn random_bytes_are_not_text() {
        let noise: Vec<u8> = (0..4000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        assert_eq!(detect(&noise), FileType::Unknown);
    }

    #[test]
    fn a_plan_in_markdown_has_an_outline_and_a_script_has_none() {
        let plan = "# 勾股定理\n\n- 目标\n\n## 导入\n\n```\n# 不是标题\n```\n";
        assert_eq!(detect(plan.as_bytes()), FileType::Markdown);
        assert_eq!(detect(b"# a comment\nprint(1)\n"), FileType::Text);
        let mut content = Content::default();
        read_markdown(plan.as_bytes(), &mut content);
        assert_eq!(content.title.as_deref(), Some("勾股定理"));
        assert_eq!(
            content
                .outline
                .iter()
                .map(|heading| heading.level)
                .collect::<Vec<_>>(),
            [1, 2]
        );
    }

    #[test]
    fn a_declared_charset_applies_unless_the_bytes_contradict_it() {
        let page = "<html><meta charset=\"gb2312\"><p>课件</p></html>";
        assert!(decode_html(&GBK.encode(page).0).contains("课件"));
        assert!(
            decode_html(page.as_bytes()).contains("课件"),
            "the declaration is wrong"
        );
    }
}
