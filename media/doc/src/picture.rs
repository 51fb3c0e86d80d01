//! Pictures: upright, without what they say about whoever took them, and as a page in two sizes.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use serde::Serialize;

use crate::draw::{Page, write_webp};
use crate::error::Error;
use crate::kind::Kind;
use crate::limits::PIXELS;
use crate::strip;

/// The picture that may be shared.
#[derive(Debug, Serialize)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    /// A file without EXIF and the like.
    pub stripped: String,
    pub mime: &'static str,
}

/// A photo that has to be turned is packed again at this quality: nobody sees a difference to the original.
const JPEG_QUALITY: u8 = 92;

pub fn read(file: &[u8], kind: Kind, out_dir: &Path) -> Result<(Picture, Page), Error> {
    let format = format(kind)?;
    let (picture, orientation) = decode(file, format)?;
    let upright = picture.to_rgba8();
    let page = Page::save(1, &upright, String::new(), out_dir)?;
    let clean = match orientation {
        Orientation::NoTransforms => without_words(file, format),
        _ => None,
    };
    let (name, mime, bytes) = match (clean, format) {
        (Some(bytes), ImageFormat::Jpeg) => ("image.jpg", "image/jpeg", bytes),
        (Some(bytes), ImageFormat::Gif) => ("image.gif", "image/gif", bytes),
        (Some(bytes), ImageFormat::WebP) => ("image.webp", "image/webp", bytes),
        (Some(bytes), _) => ("image.png", "image/png", bytes),
        (None, ImageFormat::Jpeg) => ("image.jpg", "image/jpeg", jpeg(&picture)?),
        (None, ImageFormat::WebP) => {
            write_webp(&upright, &out_dir.join("image.webp"))?;
            return Ok((Picture::new(&picture, "image.webp", "image/webp"), page));
        }
        (None, _) => ("image.png", "image/png", png(&picture)?),
    };
    let path = out_dir.join(name);
    std::fs::write(&path, bytes).map_err(Error::output(&path))?;
    Ok((Picture::new(&picture, name, mime), page))
}

impl Picture {
    fn new(picture: &DynamicImage, name: &str, mime: &'static str) -> Picture {
        Picture {
            width: picture.width(),
            height: picture.height(),
            stripped: name.to_owned(),
            mime,
        }
    }
}

fn format(kind: Kind) -> Result<ImageFormat, Error> {
    match kind {
        Kind::Jpeg => Ok(ImageFormat::Jpeg),
        Kind::Png => Ok(ImageFormat::Png),
        Kind::Gif => Ok(ImageFormat::Gif),
        Kind::WebP => Ok(ImageFormat::WebP),
        Kind::Bmp => Ok(ImageFormat::Bmp),
        _ => Err(Error::Unsupported("this kind of picture cannot be shown")),
    }
}

/// Its pixels the right way up, and how they had to be turned.
fn decode(file: &[u8], format: ImageFormat) -> Result<(DynamicImage, Orientation), Error> {
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(PIXELS * 8);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS {
        return Err(Error::TooLarge(format!("{width} × {height} pixels")));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    picture.apply_orientation(orientation);
    Ok((picture, orientation))
}

fn unreadable(error: ImageError) -> Error {
    match error {
        ImageError::Limits(_) => {
            Error::TooLarge("its pixels need more memory than a picture may have".into())
        }
        other => Error::broken(other),
    }
}

fn without_words(file: &[u8], format: ImageFormat) -> Option<Vec<u8>> {
    match format {
        ImageFormat::Jpeg => strip::jpeg(file),
        ImageFormat::Png => strip::png(file),
        ImageFormat::Gif => strip::gif(file),
        ImageFormat::WebP => strip::webp(file),
        _ => None,
    }
}

fn jpeg(picture: &DynamicImage) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    picture
        .to_rgb8()
        .write_with_encoder(encoder)
        .map_err(Error::broken)?;
    Ok(bytes)
}

fn png(picture: &DynamicImage) -> Result<Vec<u8>, Error> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(Error::broken)?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    /// A photo taken with the telephone upright: the sensor's rows lie, and EXIF says "turn me right".
    fn lying_photo() -> Vec<u8> {
        let picture = RgbImage::from_fn(64, 32, |x, _| {
            if x < 32 {
                Rgb([255, 0, 0])
            } else {
                Rgb([0, 0, 255])
            }
        });
        let mut plain = Cursor::new(Vec::new());
        picture
            .write_to(&mut plain, ImageFormat::Jpeg)
            .expect("written");
        let plain = plain.into_inner();
        let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        [&plain[..2], exif, &plain[2..]].concat()
    }

    #[test]
    fn a_lying_photo_is_shared_upright_and_without_its_exif() {
        let folder = tempfile::tempdir().expect("a folder");
        let (picture, page) = read(&lying_photo(), Kind::Jpeg, folder.path()).expect("read");
        assert_eq!((picture.width, picture.height), (32, 64));
        assert_eq!((page.width, page.height), (32, 64));
        let shared = std::fs::read(folder.path().join(&picture.stripped)).expect("written");
        assert!(memchr::memmem::find(&shared, b"Exif").is_none());
        let shared = image::load_from_memory(&shared)
            .expect("a picture")
            .to_rgb8();
        assert!(
            shared.get_pixel(16, 8)[0] > 200,
            "red was left, and is on top now"
        );
    }

    #[test]
    fn a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded() {
        let mut huge = b"BM".to_vec();
        huge.resize(54, 0);
        huge[10] = 54;
        huge[14] = 40;
        huge[18..22].copy_from_slice(&60_000_u32.to_le_bytes());
        huge[22..26].copy_from_slice(&60_000_u32.to_le_bytes());
        huge[26] = 1;
        huge[28] = 24;
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(
            read(&huge, Kind::Bmp, folder.path())
                .expect_err("refused")
                .code(),
            "too_large"
        );
    }
}
