//! Pages as pictures: drawn by hayro in a thread of their own, so that a page that panics or never ends costs only itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_interpret::font::{FontData, FontQuery};
use hayro::hayro_interpret::hayro_cmap::CidFamily;
use hayro::hayro_syntax::Pdf;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings, render};
use image::RgbaImage;
use serde::Serialize;

use crate::error::Error;
use crate::limits::{LARGE, PAGE_SECONDS, SLOW_PAGES, SMALL};
use crate::words::Notes;
use crate::{pdf, report};

/// A page and its pictures' file names; without them it could not be drawn.
#[derive(Debug, Serialize)]
pub struct Page {
    /// From 1.
    pub n: usize,
    pub width: u32,
    pub height: u32,
    pub large: Option<String>,
    pub small: Option<String>,
    pub text: String,
}

/// Lossy WebP: text stays sharp, and a page of a deck takes 30 to 80 KB.
const QUALITY: f32 = 80.0;

/// What is drawn, where to, and until when.
pub struct Order<'a> {
    pub data: Arc<Vec<u8>>,
    /// How many pages from the first.
    pub wanted: usize,
    pub out_dir: &'a Path,
    pub deadline: Instant,
    /// Between which values the progress goes meanwhile.
    pub progress: (f64, f64),
}

/// Draws the pages of a PDF.
pub fn pages(order: &Order, notes: &mut Notes) -> Result<Vec<Page>, Error> {
    let mut pages: Vec<Page> = Vec::new();
    let mut slow = 0;
    let mut drawn = start(order, 0);
    while pages.len() < order.wanted {
        let patience = order
            .deadline
            .saturating_duration_since(Instant::now())
            .min(Duration::from_secs(PAGE_SECONDS));
        match drawn.recv_timeout(patience) {
            Ok(page) => pages.push(page?),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                pages.push(Page::undrawn(pages.len() + 1, String::new()));
                slow += 1;
                if slow > SLOW_PAGES || Instant::now() >= order.deadline {
                    notes.insert("pages_cut");
                    break;
                }
                // Nobody listens to the one that is stuck any more: it ends with its page, or with the process.
                drawn = start(order, pages.len());
            }
        }
        let (from, to) = order.progress;
        report::progress(from + (to - from) * pages.len() as f64 / order.wanted as f64);
    }
    if pages.iter().any(|page| page.large.is_none()) {
        notes.insert("page_failed");
    }
    Ok(pages)
}

/// Draws from the page with this index on, in a new thread.
fn start(order: &Order, from: usize) -> Receiver<Result<Page, Error>> {
    let (sender, receiver) = sync_channel(1);
    let (data, out_dir, wanted) = (order.data.clone(), order.out_dir.to_owned(), order.wanted);
    let work = move || {
        // It was opened before; were it not, the sender would be dropped, and the pages end.
        if let Ok(pdf) = pdf::open(data) {
            draw_all(&pdf, from..wanted.min(pdf.pages().len()), &out_dir, &sender);
        }
    };
    // As much stack as the first thread has: forms nest.
    let _ = std::thread::Builder::new().stack_size(64 << 20).spawn(work);
    receiver
}

fn draw_all(
    pdf: &Pdf,
    wanted: std::ops::Range<usize>,
    out_dir: &Path,
    to: &SyncSender<Result<Page, Error>>,
) {
    let settings = settings();
    let mut cache = RenderCache::new();
    for index in wanted {
        let page = catch_unwind(AssertUnwindSafe(|| {
            draw(pdf, index, &cache, &settings, out_dir)
        }));
        let page = page.unwrap_or_else(|_| {
            // What it left behind is in nobody knows what state.
            cache = RenderCache::new();
            Ok(Page::undrawn(index + 1, String::new()))
        });
        if to.send(page).is_err() {
            return;
        }
    }
}

fn draw<'a>(
    pdf: &'a Pdf,
    index: usize,
    cache: &RenderCache<'a>,
    settings: &InterpreterSettings,
    out_dir: &Path,
) -> Result<Page, Error> {
    let page = &pdf.pages()[index];
    let text = pdf::text(pdf, page, &Default::default(), settings);
    let (width, height) = page.render_dimensions();
    let scale = (LARGE.0 as f32 / width).min(LARGE.1 as f32 / height);
    // A page a thousand times as long as wide is a line of one pixel.
    if !scale.is_finite() || width * scale < 1.0 || height * scale < 1.0 {
        return Ok(Page::undrawn(index + 1, text));
    }
    let to_size = PixmapSettings {
        x_scale: scale,
        y_scale: scale,
        bg_color: WHITE,
    };
    let drawn = render(page, cache, settings, &RenderSettings::default(), &to_size);
    let (width, height) = (u32::from(drawn.width()), u32::from(drawn.height()));
    // Premultiplied, but on white nothing is transparent.
    match RgbaImage::from_raw(width, height, drawn.data_as_u8_slice().to_vec()) {
        Some(picture) => Page::save(index + 1, &picture, text, out_dir),
        None => Ok(Page::undrawn(index + 1, text)),
    }
}

impl Page {
    /// Writes a picture in both sizes.
    pub fn save(
        n: usize,
        picture: &RgbaImage,
        text: String,
        out_dir: &Path,
    ) -> Result<Page, Error> {
        let (large, small) = (format!("p{n}-l.webp"), format!("p{n}-s.webp"));
        write_webp(&fitted(picture, LARGE), &out_dir.join(&large))?;
        write_webp(&fitted(picture, SMALL), &out_dir.join(&small))?;
        let (width, height) = fit(picture.dimensions(), LARGE);
        Ok(Page {
            n,
            width,
            height,
            large: Some(large),
            small: Some(small),
            text,
        })
    }

    fn undrawn(n: usize, text: String) -> Page {
        Page {
            n,
            width: 0,
            height: 0,
            large: None,
            small: None,
            text,
        }
    }
}

/// The size that fits into a box, never larger than it is.
fn fit((width, height): (u32, u32), into: (u32, u32)) -> (u32, u32) {
    let scale = (f64::from(into.0) / f64::from(width))
        .min(f64::from(into.1) / f64::from(height))
        .min(1.0);
    let scaled = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    (scaled(width), scaled(height))
}

fn fitted(picture: &RgbaImage, into: (u32, u32)) -> std::borrow::Cow<'_, RgbaImage> {
    let (width, height) = fit(picture.dimensions(), into);
    match picture.dimensions() == (width, height) {
        true => std::borrow::Cow::Borrowed(picture),
        false => std::borrow::Cow::Owned(image::imageops::thumbnail(picture, width, height)),
    }
}

/// Writes lossy WebP. There is no encoder for it in pure Rust under a licence that we may use.
pub fn write_webp(picture: &RgbaImage, path: &Path) -> Result<(), Error> {
    let (width, height) = picture.dimensions();
    let mut packed = std::ptr::null_mut();
    // SAFETY: the buffer holds width × height × 4 bytes (RgbaImage's invariant) and is only read.
    let size = unsafe {
        libwebp_sys::WebPEncodeRGBA(
            picture.as_ptr(),
            width as i32,
            height as i32,
            width as i32 * 4,
            QUALITY,
            &mut packed,
        )
    };
    if packed.is_null() || size == 0 {
        return Err(Error::TooLarge("a page could not be packed as WebP".into()));
    }
    // SAFETY: libwebp says where the bytes are and how many; they are freed once, after the last use.
    let written = unsafe {
        let written = std::fs::write(path, std::slice::from_raw_parts(packed, size));
        libwebp_sys::WebPFree(packed.cast());
        written
    };
    written.map_err(Error::output(path))
}

/// How pages are read and drawn.
pub fn settings() -> InterpreterSettings {
    InterpreterSettings {
        font_resolver: Arc::new(font),
        ..InterpreterSettings::default()
    }
}

/// Fonts that a PDF names but does not bring: Chinese ones from this machine, others as hayro has them.
fn font(query: &FontQuery) -> Option<(FontData, u32)> {
    match query {
        FontQuery::Standard(standard) => Some(standard.get_font_data()),
        FontQuery::Fallback(wanted) => {
            let family = wanted
                .character_collection
                .as_ref()
                .map(|collection| &collection.family);
            let chinese = matches!(
                family,
                Some(
                    CidFamily::AdobeGB1
                        | CidFamily::AdobeCNS1
                        | CidFamily::AdobeJapan1
                        | CidFamily::AdobeKorea1
                        | CidFamily::AdobeIdentity
                )
            );
            let found = if chinese { chinese_font() } else { None };
            found.or_else(|| Some(wanted.pick_standard_font().get_font_data()))
        }
    }
}

fn chinese_font() -> Option<(FontData, u32)> {
    /// With the index of the simplified Chinese face in the collection.
    const PLACES: &[(&str, u32)] = &[
        ("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc", 0),
        ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", 2),
        ("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc", 0),
    ];
    static FONT: OnceLock<Option<(FontData, u32)>> = OnceLock::new();
    let load = |(path, index): &(&str, u32)| {
        Some((Arc::new(std::fs::read(path).ok()?) as FontData, *index))
    };
    FONT.get_or_init(|| PLACES.iter().find_map(load)).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_fit_and_never_grow() {
        assert_eq!(fit((3200, 1800), LARGE), (1600, 900));
        assert_eq!(fit((100, 50), LARGE), (100, 50));
        assert_eq!(fit((10, 100_000), SMALL), (1, 600));
    }
}
