//! Entry points of the fuzz targets: our own parsers of untrusted bytes. The parsers of libraries
//! are bounded by the limits of the process.

use std::collections::HashMap;

use crate::content::{Content, Text};
use crate::grid::Grid;
use crate::{
    csv, docx, file_type, html, odf, office_binary, pdf, plain_text, pptx, strip_metadata,
};

/// Parses bytes as XML parts of office packages.
pub fn xml(part: &[u8]) {
    let levels = docx::heading_styles(part).unwrap_or_else(|_| HashMap::new());
    let _ = docx::read_paragraphs(part, &levels, &mut Content::default());
    let _ = pptx::parse_slide(part);
    let _ = odf::read_body(part, &mut Content::default());
}

/// Parses bytes as streams of the binary Office formats.
pub fn records(stream: &[u8]) {
    let (main, table) = stream.split_at(stream.len() / 2);
    let _ = office_binary::fib_base(main);
    office_binary::read_doc_text(main, table, &mut Text::default());
    office_binary::read_ppt_text(stream, &mut Content::default());
    office_binary::is_encrypted_ppt(stream);
    office_binary::summary_information(stream);
    pdf::decode_text_string(stream);
}

/// Parses bytes as text of any format and encoding.
pub fn text(file: &[u8]) {
    file_type::by_magic(file);
    plain_text::detect(file);
    plain_text::read_markdown(file, &mut Content::default());
    csv::read(&plain_text::decode(file), &mut Grid::default());
    html::read(&plain_text::decode_html(file), &mut Content::default());
}

/// Strips metadata from images: the output exceeds the input by at most the padding.
pub fn images(file: &[u8]) {
    for strip in [
        strip_metadata::jpeg,
        strip_metadata::png,
        strip_metadata::webp,
        strip_metadata::gif,
    ] {
        if let Some(stripped) = strip(file) {
            assert!(
                stripped.len() <= file.len() + 1,
                "{} bytes of {}",
                stripped.len(),
                file.len()
            );
        }
    }
}
