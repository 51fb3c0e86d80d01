//! PDF through hayro: title, author, outline, and the text of each page. Drawing is next door.

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

use crate::error::Error;
use crate::glyphs::{Glyph, Lines};
use crate::limits::OUTLINE;
use crate::words::{Content, line};

/// Levels of an outline that are followed.
const LEVELS: usize = 8;
/// Nodes of a name tree that are looked at for one destination.
const NAMES: usize = 20_000;

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

/// Title, author and outline.
pub fn describe(pdf: &Pdf, content: &mut Content) {
    let metadata = pdf.metadata();
    content.title = metadata
        .title
        .as_deref()
        .and_then(|bytes| line(&text_string(bytes)));
    content.author = metadata
        .author
        .as_deref()
        .and_then(|bytes| line(&text_string(bytes)));
    outline(pdf, content);
}

/// What a page says.
pub fn text<'a>(
    pdf: &'a Pdf,
    page: &Page<'a>,
    cache: &InterpreterCache<'a>,
    settings: &InterpreterSettings,
) -> String {
    let (width, height) = page.render_dimensions();
    let area = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
    let upright = page.initial_transform(true).to_kurbo();
    let mut context = Context::new(upright, area, cache, pdf.xref(), settings.clone());
    let mut listener = Listener::default();
    interpret_page(page, &mut context, &mut listener);
    listener.0.into_text()
}

/// What all pages say, as far as there is time. A page on which reading panics says nothing.
pub fn read(pdf: &Pdf, settings: &InterpreterSettings, deadline: Instant, content: &mut Content) {
    for page in pdf.pages().iter().take_while(|_| Instant::now() < deadline) {
        let said = catch_unwind(AssertUnwindSafe(|| {
            text(pdf, page, &Default::default(), settings)
        }));
        content.text.push(&said.unwrap_or_default());
        content.text.push("\n\n");
    }
}

#[derive(Default)]
struct Listener(Lines);

impl Device<'_> for Listener {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, '_>, props: DrawProps<'_>, _: &DrawMode) {
        let glyph = |glyph: &hayro::hayro_interpret::font::PositionedGlyph| {
            let text = match glyph.as_unicode()? {
                BfString::Char(character) => character.to_string(),
                BfString::String(text) => text,
            };
            Some(placed(
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

/// In thousandths of the font's height; Chinese characters are as wide as high.
fn advance(glyph: &hayro::hayro_interpret::font::Glyph) -> f64 {
    use hayro::hayro_interpret::font::Glyph;
    let known = match glyph {
        Glyph::Outline(glyph) => glyph.advance_width(),
        Glyph::Type3(glyph) => glyph.advance_width(),
    };
    known.map_or(1000.0, f64::from)
}

fn placed(transform: Affine, advance: f64, text: String) -> Glyph {
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

/// ISO 32000-1 §12.3.3. A list of siblings may point back at itself: every item is visited once.
fn outline(pdf: &Pdf, content: &mut Content) {
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
    let (mut seen, mut waiting) = (HashSet::new(), vec![(first, 1)]);
    while let Some((at, level)) = waiting.pop() {
        if !seen.insert((at.obj_number, at.gen_number)) || seen.len() > OUTLINE {
            continue;
        }
        let Some(item) = pdf.xref().get::<Dict>(at.into()) else {
            continue;
        };
        let title = item
            .get::<PdfString>("Title")
            .map(|title| text_string(title.as_bytes()))
            .unwrap_or_default();
        content.heading(level, &title, page_of(pdf, &catalog, &item, &pages));
        waiting.extend(item.get_ref("Next").map(|next| (next, level)));
        waiting.extend(
            item.get_ref("First")
                .filter(|_| level < LEVELS)
                .map(|child| (child, level + 1)),
        );
    }
}

/// ISO 32000-1 §12.3.2: a destination is an array, or the name of one, or an action that has one.
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
        Object::String(name) => as_array(named(pdf, catalog, name.as_bytes())?)?,
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

fn as_array(object: Object) -> Option<Array> {
    match object {
        Object::Array(array) => Some(array),
        Object::Dict(dict) => dict.get::<Array>("D"),
        _ => None,
    }
}

/// ISO 32000-1 §7.9.6, walked without trusting its limits or its shape.
fn named<'a>(pdf: &'a Pdf, catalog: &Dict<'a>, wanted: &[u8]) -> Option<Object<'a>> {
    let mut waiting = vec![catalog.get::<Dict>("Names")?.get::<Dict>("Dests")?];
    for _ in 0..NAMES {
        let node = waiting.pop()?;
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
            waiting.extend(
                kids.filter_map(|kid| pdf.xref().get::<Dict>(kid.into()))
                    .take(NAMES),
            );
        }
    }
    None
}

/// ISO 32000-1 §7.9.2.2; and, against it, the GBK that Chinese programs write.
pub fn text_string(bytes: &[u8]) -> String {
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
    fn titles_come_in_three_encodings() {
        let utf_16: Vec<u8> = [0xfe, 0xff]
            .into_iter()
            .chain("课本".encode_utf16().flat_map(u16::to_be_bytes))
            .collect();
        for bytes in [
            &utf_16[..],
            "课本".as_bytes(),
            &encoding_rs::GBK.encode("课本").0,
        ] {
            assert_eq!(text_string(bytes), "课本");
        }
    }
}
