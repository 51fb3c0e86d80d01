//! PDF reader on top of hayro: title, author, outline and the text of each page. Module `render`
//! renders the pages.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use encoding_rs::{GB18030, UTF_16BE};
use hayro::hayro_interpret::font::GlyphRun;
use hayro::hayro_interpret::hayro_cmap::BfString;
use hayro::hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps,
    InterpreterCache, InterpreterSettings, SoftMask, TransformExt, interpret_page,
};
use hayro::hayro_syntax::object::{
    Array, Dict, Name, ObjRef, Object, ObjectIdentifier, String as PdfString,
};
use hayro::hayro_syntax::page::Page;
use hayro::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro::kurbo::{Affine, BezPath, Point, Rect};

use crate::content::{Content, single_line};
use crate::error::Error;
use crate::limits::OUTLINE;
use crate::pdf_text::{Glyph, PageText};

/// Depth of an outline that is read.
const OUTLINE_DEPTH: usize = 8;
/// Nodes of a name tree that are visited for one destination.
const NAME_TREE_NODES: usize = 20_000;

/// Parses a PDF; fails if it has no pages.
pub fn open(data: Arc<Vec<u8>>) -> Result<Pdf, Error> {
    let pdf = Pdf::new(data).map_err(|error| match error {
        LoadPdfError::Decryption(
            DecryptionError::PasswordProtected | DecryptionError::UnsupportedAlgorithm,
        ) => Error::Encrypted,
        LoadPdfError::Decryption(_) => Error::Broken("its encryption makes no sense".into()),
        LoadPdfError::Invalid => Error::Broken("it has no pages that could be found".into()),
    })?;
    match pdf.pages().is_empty() {
        true => Err(Error::Broken("it has no pages that could be found".into())),
        false => Ok(pdf),
    }
}

/// Reads title, author and outline.
pub fn read_metadata(pdf: &Pdf, content: &mut Content) {
    let metadata = pdf.metadata();
    content.title = metadata
        .title
        .as_deref()
        .and_then(|bytes| single_line(&decode_text_string(bytes)));
    content.author = metadata
        .author
        .as_deref()
        .and_then(|bytes| single_line(&decode_text_string(bytes)));
    read_outline(pdf, content);
}

/// Extracts the text of a page.
pub fn page_text<'a>(
    pdf: &'a Pdf,
    page: &Page<'a>,
    cache: &InterpreterCache<'a>,
    settings: &InterpreterSettings,
) -> String {
    let (width, height) = page.render_dimensions();
    let area = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
    let upright = page.initial_transform(true).to_kurbo();
    let mut context = Context::new(upright, area, cache, pdf.xref(), settings.clone());
    let mut collector = TextCollector::default();
    interpret_page(page, &mut context, &mut collector);
    collector.0.into_text()
}

/// Extracts the text of all pages until the deadline. A page whose interpretation panics has none.
pub fn read_text(
    pdf: &Pdf,
    settings: &InterpreterSettings,
    deadline: Instant,
    content: &mut Content,
) {
    for page in pdf.pages().iter().take_while(|_| Instant::now() < deadline) {
        let text = catch_unwind(AssertUnwindSafe(|| {
            page_text(pdf, page, &Default::default(), settings)
        }));
        content.text.push(&text.unwrap_or_default());
        content.text.push("\n\n");
    }
}

/// Output device that collects glyphs and ignores graphics.
#[derive(Default)]
struct TextCollector(PageText);

impl Device<'_> for TextCollector {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, '_>, props: DrawProps<'_>, _: &DrawMode) {
        let glyph = |glyph: &hayro::hayro_interpret::font::PositionedGlyph| {
            let text = match glyph.as_unicode()? {
                BfString::Char(character) => character.to_string(),
                BfString::String(text) => text,
            };
            Some(positioned(
                props.transform * glyph.transform(),
                advance(glyph),
                text,
            ))
        };
        self.0
            .add_run(run.glyphs().iter().filter_map(glyph).collect());
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'_>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'_>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'_, '_>, _: ImageDrawProps<'_>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}

/// Advance width in thousandths of the font size; 1000 if unknown, as of Chinese characters.
fn advance(glyph: &hayro::hayro_interpret::font::Glyph) -> f64 {
    use hayro::hayro_interpret::font::Glyph;
    let known = match glyph {
        Glyph::Outline(glyph) => glyph.advance_width(),
        Glyph::Type3(glyph) => glyph.advance_width(),
    };
    known.map_or(1000.0, f64::from)
}

fn positioned(transform: Affine, advance: f64, text: String) -> Glyph {
    let [a, b, c, d, _, _] = transform.as_coeffs();
    let at = transform * Point::ZERO;
    Glyph {
        x: at.x,
        y: at.y,
        size: c.hypot(d) * 1000.0,
        advance: a.hypot(b) * advance,
        text,
    }
}

/// Reads the outline (ISO 32000-1 §12.3.3). Lists may be cyclic: every item is visited once.
fn read_outline(pdf: &Pdf, content: &mut Content) {
    let Some(catalog) = pdf.xref().get::<Dict>(pdf.xref().root_id()) else {
        return;
    };
    let Some(first) = catalog
        .get::<Dict>("Outlines")
        .and_then(|outlines| outlines.get_ref("First"))
    else {
        return;
    };
    let pages: Vec<Option<ObjectIdentifier>> =
        pdf.pages().iter().map(|page| page.raw().obj_id()).collect();
    let (mut visited, mut stack) = (HashSet::new(), vec![(first, 1)]);
    while let Some((at, level)) = stack.pop() {
        if !visited.insert((at.obj_number, at.gen_number)) || visited.len() > OUTLINE {
            continue;
        }
        let Some(item) = pdf.xref().get::<Dict>(at.into()) else {
            continue;
        };
        let title = item
            .get::<PdfString>("Title")
            .map(|title| decode_text_string(title.as_bytes()))
            .unwrap_or_default();
        content.push_heading(level, &title, page_of(pdf, &catalog, &item, &pages));
        stack.extend(item.get_ref("Next").map(|next| (next, level)));
        stack.extend(
            item.get_ref("First")
                .filter(|_| level < OUTLINE_DEPTH)
                .map(|child| (child, level + 1)),
        );
    }
}

/// Page number from 1 of an outline item. Its destination is an array, a name of one, or part of an
/// action (ISO 32000-1 §12.3.2).
fn page_of(
    pdf: &Pdf,
    catalog: &Dict,
    item: &Dict,
    pages: &[Option<ObjectIdentifier>],
) -> Option<usize> {
    let destination = item
        .get::<Object>("Dest")
        .or_else(|| item.get::<Dict>("A")?.get::<Object>("D"))?;
    let array = match destination {
        Object::Array(array) => array,
        Object::Name(name) => as_array(
            catalog
                .get::<Dict>("Dests")?
                .get::<Object>(name_bytes(&name))?,
        )?,
        Object::String(name) => as_array(named_destination(pdf, catalog, name.as_bytes())?)?,
        _ => return None,
    };
    let target: ObjRef = array.raw_iter().next()?.as_obj_ref()?;
    let wanted = ObjectIdentifier::from(target);
    pages
        .iter()
        .position(|page| *page == Some(wanted))
        .map(|index| index + 1)
}

fn name_bytes<'a>(name: &'a Name<'a>) -> &'a [u8] {
    name.as_str().as_bytes()
}

/// Array of a destination, or of the dictionary that has it in `D`.
fn as_array(object: Object) -> Option<Array> {
    match object {
        Object::Array(array) => Some(array),
        Object::Dict(dict) => dict.get::<Array>("D"),
        _ => None,
    }
}

/// Looks up a destination in the name tree (ISO 32000-1 §7.9.6). Ignores the limits of its nodes,
/// which may be wrong, and bounds the number of visited nodes.
fn named_destination<'a>(pdf: &'a Pdf, catalog: &Dict<'a>, wanted: &[u8]) -> Option<Object<'a>> {
    let mut stack = vec![catalog.get::<Dict>("Names")?.get::<Dict>("Dests")?];
    for _ in 0..NAME_TREE_NODES {
        let node = stack.pop()?;
        if let Some(names) = node.get::<Array>("Names") {
            let mut pairs = names.flex_iter();
            while let Some(name) = pairs.next::<PdfString>() {
                let value = pairs.next::<Object>();
                if name.as_bytes() == wanted {
                    return value;
                }
            }
        }
        if let Some(kids) = node.get::<Array>("Kids") {
            let kids = kids.raw_iter().filter_map(|kid| kid.as_obj_ref());
            stack.extend(
                kids.filter_map(|kid| pdf.xref().get::<Dict>(kid.into()))
                    .take(NAME_TREE_NODES),
            );
        }
    }
    None
}

/// Decodes a text string (ISO 32000-1 §7.9.2.2), UTF-8 and, against the standard, the GBK of
/// Chinese programs.
pub fn decode_text_string(bytes: &[u8]) -> String {
    match bytes {
        [0xfe, 0xff, rest @ ..] => UTF_16BE.decode_without_bom_handling(rest).0.into_owned(),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        plain => match std::str::from_utf8(plain) {
            Ok(text) => text.to_owned(),
            Err(_) => GB18030.decode_without_bom_handling(plain).0.into_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_decoded_from_three_encodings() {
        let utf_16: Vec<u8> = [0xfe, 0xff]
            .into_iter()
            .chain("课本".encode_utf16().flat_map(u16::to_be_bytes))
            .collect();
        for bytes in [
            &utf_16[..],
            "课本".as_bytes(),
            &encoding_rs::GBK.encode("课本").0,
        ] {
            assert_eq!(decode_text_string(bytes), "课本");
        }
    }
}
