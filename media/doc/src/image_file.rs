//! Image files: an upright copy without metadata, and a page image in two sizes.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use serde::Serialize;

use crate::error::Error;
use crate::file_type::FileType;
use crate::limits::IMAGE_PIXELS;
use crate::render::{Page, write_webp};
use crate::strip_metadata;

/// Shareable copy of an image: upright, without metadata.
#[derive(Debug, Serialize)]
pub struct StrippedImage {
    /// Width of the upright image in pixels.
    pub width: u32,
    /// Height of the upright image in pixels.
    pub height: u32,
    /// File name of the copy.
    pub stripped: String,
    /// MIME type of the copy.
    pub mime: &'static str,
}

/// Quality at which a rotated photo is encoded again: visually lossless.
const JPEG_QUALITY: u8 = 92;

/// Writes the shareable copy and the page images of an image file.
pub fn read(
    file: &[u8],
    file_type: FileType,
    out_dir: &Path,
) -> Result<(StrippedImage, Page), Error> {
    let format = image_format(file_type)?;
    let (image, orientation) = decode(file, format)?;
    let upright = image.to_rgba8();
    let page = Page::save(1, &upright, String::new(), out_dir)?;
    let stripped = match orientation {
        Orientation::NoTransforms => strip(file, format),
        _ => None,
    };
    let (name, mime, bytes) = match (stripped, format) {
        (Some(bytes), ImageFormat::Jpeg) => ("image.jpg", "image/jpeg", bytes),
        (Some(bytes), ImageFormat::Gif) => ("image.gif", "image/gif", bytes),
        (Some(bytes), ImageFormat::WebP) => ("image.webp", "image/webp", bytes),
        (Some(bytes), _) => ("image.png", "image/png", bytes),
        (None, ImageFormat::Jpeg) => ("image.jpg", "image/jpeg", encode_jpeg(&image)?),
        (None, ImageFormat::WebP) => {
            write_webp(&upright, &out_dir.join("image.webp"))?;
            return Ok((StrippedImage::new(&image, "image.webp", "image/webp"), page));
        }
        (None, _) => ("image.png", "image/png", encode_png(&image)?),
    };
    let path = out_dir.join(name);
    std::fs::write(&path, bytes).map_err(Error::output(&path))?;
    Ok((StrippedImage::new(&image, name, mime), page))
}

impl StrippedImage {
    fn new(image: &DynamicImage, name: &str, mime: &'static str) -> StrippedImage {
        StrippedImage {
            width: image.width(),
            height: image.height(),
            stripped: name.to_owned(),
            mime,
        }
    }
}

fn image_format(file_type: FileType) -> Result<ImageFormat, Error> {
    match file_type {
        FileType::Jpeg => Ok(ImageFormat::Jpeg),
        FileType::Png => Ok(ImageFormat::Png),
        FileType::Gif => Ok(ImageFormat::Gif),
        FileType::WebP => Ok(ImageFormat::WebP),
        FileType::Bmp => Ok(ImageFormat::Bmp),
        _ => Err(Error::Unsupported("this kind of picture cannot be shown")),
    }
}

/// Decodes the pixels upright; returns the EXIF orientation that was applied.
fn decode(file: &[u8], format: ImageFormat) -> Result<(DynamicImage, Orientation), Error> {
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(IMAGE_PIXELS * 8);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(map_image_error)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > IMAGE_PIXELS {
        return Err(Error::TooLarge(format!("{width} × {height} pixels")));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(map_image_error)?;
    image.apply_orientation(orientation);
    Ok((image, orientation))
}

fn map_image_error(error: ImageError) -> Error {
    match error {
        ImageError::Limits(_) => {
            Error::TooLarge("its pixels need more memory than an image may have".into())
        }
        other => Error::broken(other),
    }
}

/// Strips the metadata without decoding; `None` if the file structure is invalid.
fn strip(file: &[u8], format: ImageFormat) -> Option<Vec<u8>> {
    match format {
        ImageFormat::Jpeg => strip_metadata::jpeg(file),
        ImageFormat::Png => strip_metadata::png(file),
        ImageFormat::Gif => strip_metadata::gif(file),
        ImageFormat::WebP => strip_metadata::webp(file),
        _ => None,
    }
}

fn encode_jpeg(image: &DynamicImage) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    image
        .to_rgb8()
        .write_with_encoder(encoder)
        .map_err(Error::broken)?;
    Ok(bytes)
}

fn encode_png(image: &DynamicImage) -> Result<Vec<u8>, Error> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(Error::broken)?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    /// Photo of a phone held upright: the sensor rows are vertical, and EXIF orientation is 6
    /// (rotate clockwise).
    fn rotated_photo() -> Vec<u8> {
        let image = RgbImage::from_fn(64, 32, |x, _| {
            if x < 32 {
                Rgb([255, 0, 0])
            } else {
                Rgb([0, 0, 255])
            }
        });
        let mut plain = Cursor::new(Vec::new());
        image
            .write_to(&mut plain, ImageFormat::Jpeg)
            .expect("written");
        let plain = plain.into_inner();
        let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        [&plain[..2], exif, &plain[2..]].concat()
    }

    #[test]
    fn a_rotated_photo_is_shared_upright_and_without_exif() {
        let folder = tempfile::tempdir().expect("a folder");
        let (image, page) = read(&rotated_photo(), FileType::Jpeg, folder.path()).expect("read");
        assert_eq!((image.width, image.height), (32, 64));
        assert_eq!((page.width, page.height), (32, 64));
        let shared = std::fs::read(folder.path().join(&image.stripped)).expect("written");
        assert!(memchr::memmem::find(&shared, b"Exif").is_none());
        let shared = image::load_from_memory(&shared)
            .expect("an image")
            .to_rgb8();
        assert!(
            shared.get_pixel(16, 8)[0] > 200,
            "red was left and is now on top"
        );
    }

    #[test]
    fn an_image_of_huge_claimed_size_is_rejected_before_decoding() {
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
            read(&huge, FileType::Bmp, folder.path())
                .expect_err("rejected")
                .code(),
            "too_large"
        );
    }
}
