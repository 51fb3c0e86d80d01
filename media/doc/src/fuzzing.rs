//! What the fuzz targets call: our own reading of bytes from outside. The libraries' are bounded by the process around them.

use std::collections::HashMap;

use crate::grid::Grid;
use crate::words::{Content, Text};
use crate::{html, kind, legacy, odf, pdf, plain, separated, slides, strip, word};

/// Parts of office packages.
pub fn xml(part: &[u8]) {
    let levels = word::levels(part).unwrap_or_else(|_| HashMap::new());
    let _ = word::paragraphs(part, &levels, &mut Content::default());
    let _ = slides::slide(part);
    let _ = odf::body(part, &mut Content::default());
}

/// Streams of the older binary formats.
pub fn records(stream: &[u8]) {
    let (main, table) = stream.split_at(stream.len() / 2);
    let _ = legacy::document_head(main);
    legacy::document_text(main, table, &mut Text::default());
    legacy::presentation_text(stream, &mut Content::default());
    legacy::is_encrypted_presentation(stream);
    legacy::summary(stream);
    pdf::text_string(stream);
}

/// Text of any kind.
pub fn text(file: &[u8]) {
    kind::by_magic(file);
    plain::kind(file);
    plain::read_markdown(file, &mut Content::default());
    separated::read(&plain::decode(file), &mut Grid::default());
    html::read(&plain::decode_html(file), &mut Content::default());
}

/// Pictures: what is stripped is never longer than what it came from by more than its padding.
pub fn pictures(file: &[u8]) {
    for strip in [strip::jpeg, strip::png, strip::webp, strip::gif] {
        if let Some(clean) = strip(file) {
            assert!(
                clean.len() <= file.len() + 1,
                "{} bytes of {}",
                clean.len(),
                file.len()
            );
        }
    }
}
