//! Page rendering: hayro renders the pages of a PDF in a separate thread, so a page that panics or
//! hangs affects no other page.

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

use crate::content::Notes;
use crate::error::Error;
use crate::limits::{LARGE, PAGE_SECONDS, SLOW_PAGES, SMALL};
use crate::{pdf, report};

/// Page of a document with the file names of its images; `None` if it could not be rendered.
#[derive(Debug, Serialize)]
pub struct Page {
    /// Page number from 1.
    pub n: usize,
    /// Width of the large image in pixels.
    pub width: u32,
    /// Height of the large image in pixels.
    pub height: u32,
    /// File name of the image that fits [`LARGE`].
    pub large: Option<String>,
    /// File name of the image that fits [`SMALL`].
    pub small: Option<String>,
    /// Text of the page.
    pub text: String,
}

/// Quality of lossy WebP: text stays sharp, and a page of a deck has 30 to 80 KB.
const WEBP_QUALITY: f32 = 80.0;

/// Rendering task.
pub struct RenderTask<'a> {
    /// PDF file.
    pub data: Arc<Vec<u8>>,
    /// Number of pages to render, from the first.
    pub page_count: usize,
    /// Folder of the images.
    pub out_dir: &'a Path,
    /// Time at which rendering stops.
    pub deadline: Instant,
    /// Progress values at start and end.
    pub progress: (f64, f64),
}

/// Renders the pages of a PDF; adds notes for pages that failed or were left out.
pub fn render_pages(task: &RenderTask, notes: &mut Notes) -> Result<Vec<Page>, Error> {
    let mut pages: Vec<Page> = Vec::new();
    let mut slow = 0;
    let mut rendered = start(task, 0);
    while pages.len() < task.page_count {
        let timeout = task
            .deadline
            .saturating_duration_since(Instant::now())
            .min(Duration::from_secs(PAGE_SECONDS));
        match rendered.recv_timeout(timeout) {
            Ok(page) => pages.push(page?),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                pages.push(Page::unrendered(pages.len() + 1, String::new()));
                slow += 1;
                if slow > SLOW_PAGES || Instant::now() >= task.deadline {
                    notes.insert("pages_cut");
                    break;
                }
                // The stuck thread ends with its page, when its channel is closed, or with the
                // process.
                rendered = start(task, pages.len());
            }
        }
        let (from, to) = task.progress;
        report::progress(from + (to - from) * pages.len() as f64 / task.page_count as f64);
    }
    if pages.iter().any(|page| page.large.is_none()) {
        notes.insert("page_failed");
    }
    Ok(pages)
}

/// Starts a thread that renders the pages from index `from` on.
fn start(task: &RenderTask, from: usize) -> Receiver<Result<Page, Error>> {
    let (sender, receiver) = sync_channel(1);
    let (data, out_dir, page_count) = (task.data.clone(), task.out_dir.to_owned(), task.page_count);
    let work = move || {
        // The caller has opened it before. An error would drop the sender and end the pages.
        if let Ok(pdf) = pdf::open(data) {
            render_range(
                &pdf,
                from..page_count.min(pdf.pages().len()),
                &out_dir,
                &sender,
            );
        }
    };
    // Same stack size as the first thread: forms nest.
    let _ = std::thread::Builder::new().stack_size(64 << 20).spawn(work);
    receiver
}

fn render_range(
    pdf: &Pdf,
    range: std::ops::Range<usize>,
    out_dir: &Path,
    to: &SyncSender<Result<Page, Error>>,
) {
    let settings = interpreter_settings();
    let mut cache = RenderCache::new();
    for index in range {
        let page = catch_unwind(AssertUnwindSafe(|| {
            render_page(pdf, index, &cache, &settings, out_dir)
        }));
        let page = page.unwrap_or_else(|_| {
            // A panic may have left the cache in an inconsistent state.
            cache = RenderCache::new();
            Ok(Page::unrendered(index + 1, String::new()))
        });
        if to.send(page).is_err() {
            return;
        }
    }
}

fn render_page<'a>(
    pdf: &'a Pdf,
    index: usize,
    cache: &RenderCache<'a>,
    settings: &InterpreterSettings,
    out_dir: &Path,
) -> Result<Page, Error> {
    let page = &pdf.pages()[index];
    let text = pdf::page_text(pdf, page, &Default::default(), settings);
    let (width, height) = page.render_dimensions();
    let scale = (LARGE.0 as f32 / width).min(LARGE.1 as f32 / height);
    // A page thousands of times as long as wide would be less than one pixel wide.
    if !scale.is_finite() || width * scale < 1.0 || height * scale < 1.0 {
        return Ok(Page::unrendered(index + 1, text));
    }
    let to_size = PixmapSettings {
        x_scale: scale,
        y_scale: scale,
        bg_color: WHITE,
    };
    let pixmap = render(page, cache, settings, &RenderSettings::default(), &to_size);
    let (width, height) = (u32::from(pixmap.width()), u32::from(pixmap.height()));
    // The pixels are premultiplied; on a white background all of them are opaque.
    match RgbaImage::from_raw(width, height, pixmap.data_as_u8_slice().to_vec()) {
        Some(image) => Page::save(index + 1, &image, text, out_dir),
        None => Ok(Page::unrendered(index + 1, text)),
    }
}

impl Page {
    /// Writes the image of a page in both sizes.
    pub fn save(n: usize, image: &RgbaImage, text: String, out_dir: &Path) -> Result<Page, Error> {
        let (large, small) = (format!("p{n}-l.webp"), format!("p{n}-s.webp"));
        write_webp(&shrink_to_fit(image, LARGE), &out_dir.join(&large))?;
        write_webp(&shrink_to_fit(image, SMALL), &out_dir.join(&small))?;
        let (width, height) = fit(image.dimensions(), LARGE);
        Ok(Page {
            n,
            width,
            height,
            large: Some(large),
            small: Some(small),
            text,
        })
    }

    fn unrendered(n: usize, text: String) -> Page {
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

/// Size inside a bounding box with the same aspect ratio, never enlarged.
fn fit((width, height): (u32, u32), into: (u32, u32)) -> (u32, u32) {
    let scale = (f64::from(into.0) / f64::from(width))
        .min(f64::from(into.1) / f64::from(height))
        .min(1.0);
    let scaled = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    (scaled(width), scaled(height))
}

fn shrink_to_fit(image: &RgbaImage, into: (u32, u32)) -> std::borrow::Cow<'_, RgbaImage> {
    let (width, height) = fit(image.dimensions(), into);
    match image.dimensions() == (width, height) {
        true => std::borrow::Cow::Borrowed(image),
        false => std::borrow::Cow::Owned(image::imageops::thumbnail(image, width, height)),
    }
}

/// Writes lossy WebP with libwebp: no pure Rust encoder has a suitable licence.
pub fn write_webp(image: &RgbaImage, path: &Path) -> Result<(), Error> {
    let (width, height) = image.dimensions();
    let mut encoded = std::ptr::null_mut();
    // SAFETY: the buffer holds width × height × 4 bytes (RgbaImage's invariant) and is only read.
    let size = unsafe {
        libwebp_sys::WebPEncodeRGBA(
            image.as_ptr(),
            width as i32,
            height as i32,
            width as i32 * 4,
            WEBP_QUALITY,
            &mut encoded,
        )
    };
    if encoded.is_null() || size == 0 {
        return Err(Error::TooLarge("a page could not be packed as WebP".into()));
    }
    // SAFETY: libwebp returned the pointer and the size; the buffer is freed once, after its last
    // use.
    let written = unsafe {
        let written = std::fs::write(path, std::slice::from_raw_parts(encoded, size));
        libwebp_sys::WebPFree(encoded.cast());
        written
    };
    written.map_err(Error::output(path))
}

/// Settings of the PDF interpreter.
pub fn interpreter_settings() -> InterpreterSettings {
    InterpreterSettings {
        font_resolver: Arc::new(resolve_font),
        ..InterpreterSettings::default()
    }
}

/// Font for text whose font is not embedded: a Chinese system font, or a standard font of hayro.
fn resolve_font(query: &FontQuery) -> Option<(FontData, u32)> {
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

/// First installed Chinese font.
fn chinese_font() -> Option<(FontData, u32)> {
    /// Font files, and the index of the simplified Chinese face in the collection.
    const FONT_FILES: &[(&str, u32)] = &[
        ("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc", 0),
        ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", 2),
        ("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc", 0),
    ];
    static FONT: OnceLock<Option<(FontData, u32)>> = OnceLock::new();
    let load = |(path, index): &(&str, u32)| {
        Some((Arc::new(std::fs::read(path).ok()?) as FontData, *index))
    };
    FONT.get_or_init(|| FONT_FILES.iter().find_map(load))
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_fit_into_the_box_and_are_never_enlarged() {
        assert_eq!(fit((3200, 1800), LARGE), (1600, 900));
        assert_eq!(fit((100, 50), LARGE), (100, 50));
        assert_eq!(fit((10, 100_000), SMALL), (1, 600));
    }
}
