//! Metadata stripping for images: removes EXIF, XMP, comments and data after the end of the image.
//!
//! The pixels stay bit for bit. Each function returns `None` if the file structure is invalid; the
//! caller then encodes the image again.

/// Strips JPEG (ISO/IEC 10918-1 annex B): segments, then entropy-coded data in which only restart
/// markers and stuffed zeros follow 0xff.
pub fn jpeg(file: &[u8]) -> Option<Vec<u8>> {
    let mut stripped = file.get(..2)?.to_vec();
    let mut at = 2;
    loop {
        let [0xff, marker] = *file.get(at..at + 2)? else {
            return None;
        };
        match marker {
            // Fill bytes.
            0xff => at += 1,
            0xd9 => {
                stripped.extend_from_slice(&[0xff, 0xd9]);
                return Some(stripped);
            }
            marker => {
                let length = usize::from(u16::from_be_bytes(
                    file.get(at + 2..at + 4)?.try_into().ok()?,
                ));
                let segment = file.get(at..at + 2 + length.max(2))?;
                if is_kept_segment(marker, segment.get(4..)?) {
                    stripped.extend_from_slice(segment);
                }
                at += segment.len();
                if marker == 0xda {
                    let coded = coded_length(file.get(at..)?);
                    stripped.extend_from_slice(file.get(at..at + coded)?);
                    at += coded;
                }
            }
        }
    }
}

/// Keeps JFIF, the colour profile, Adobe's colour transform and all segments but APPn and comments.
fn is_kept_segment(marker: u8, body: &[u8]) -> bool {
    match marker {
        0xe0 => body.starts_with(b"JFIF\0"),
        0xe2 => body.starts_with(b"ICC_PROFILE\0"),
        0xee => body.starts_with(b"Adobe"),
        0xe1..=0xef | 0xfe => false,
        _ => true,
    }
}

/// Length of entropy-coded data up to the next marker.
fn coded_length(coded: &[u8]) -> usize {
    let is_end = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7);
    coded.windows(2).position(is_end).unwrap_or(coded.len())
}

/// Strips PNG (ISO/IEC 15948 §11): keeps the chunks of rendering and of animation.
pub fn png(file: &[u8]) -> Option<Vec<u8>> {
    const KEPT: &[&[u8; 4]] = &[
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT",
        b"bKGD", b"pHYs", b"cICP", b"acTL", b"fcTL", b"fdAT",
    ];
    let mut stripped = file.get(..8)?.to_vec();
    let mut at = 8;
    loop {
        let length = u32::from_be_bytes(file.get(at..at + 4)?.try_into().ok()?) as usize;
        let chunk_type: &[u8; 4] = file.get(at + 4..at + 8)?.try_into().ok()?;
        let chunk = file.get(at..at.checked_add(length)?.checked_add(12)?)?;
        if KEPT.contains(&chunk_type) {
            stripped.extend_from_slice(chunk);
        }
        if chunk_type == b"IEND" {
            return Some(stripped);
        }
        at += chunk.len();
    }
}

/// Strips WebP (RFC 9649 §2): removes chunks and clears their flags in VP8X.
pub fn webp(file: &[u8]) -> Option<Vec<u8>> {
    const EXIF_AND_XMP: u8 = 0x0c;
    let end = u32::from_le_bytes(file.get(4..8)?.try_into().ok()?) as usize + 8;
    let file = file.get(..end.min(file.len()))?;
    let mut stripped = file.get(..12)?.to_vec();
    let mut at = 12;
    while at < file.len() {
        let chunk_type = file.get(at..at + 4)?;
        let length = u32::from_le_bytes(file.get(at + 4..at + 8)?.try_into().ok()?) as usize;
        // Chunks are padded to even lengths; many writers omit the padding of the last one.
        let chunk = file.get(at..at.checked_add(8 + length)?)?;
        if chunk_type != b"EXIF" && chunk_type != b"XMP " {
            let flags = stripped.len() + 8;
            stripped.extend_from_slice(chunk);
            stripped.resize(stripped.len() + length % 2, 0);
            if chunk_type == b"VP8X" {
                *stripped.get_mut(flags)? &= !EXIF_AND_XMP;
            }
        }
        at += chunk.len() + length % 2;
    }
    let size = (stripped.len() as u32).checked_sub(8)?;
    stripped[4..8].copy_from_slice(&size.to_le_bytes());
    Some(stripped)
}

/// Strips GIF89a: removes comments and application extensions except the loop count.
pub fn gif(file: &[u8]) -> Option<Vec<u8>> {
    let mut at = 13 + color_table_bytes(*file.get(10)?);
    let mut stripped = file.get(..at)?.to_vec();
    loop {
        let start = at;
        let is_kept = match *file.get(at)? {
            0x3b => {
                stripped.push(0x3b);
                return Some(stripped);
            }
            0x21 => {
                at = sub_blocks_end(file, at + 2)?;
                match *file.get(start + 1)? {
                    0xfe => false,
                    0xff => matches!(
                        file.get(start + 3..start + 14)?,
                        b"NETSCAPE2.0" | b"ANIMEXTS1.0"
                    ),
                    _ => true,
                }
            }
            0x2c => {
                at = sub_blocks_end(file, at + 11 + color_table_bytes(*file.get(at + 9)?))?;
                true
            }
            _ => return None,
        };
        if is_kept {
            stripped.extend_from_slice(file.get(start..at)?);
        }
    }
}

/// Size of a colour table in bytes.
fn color_table_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Offset after a sequence of sub-blocks, terminator included (GIF89a §15).
fn sub_blocks_end(file: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*file.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, RgbImage};

    use super::*;

    fn image(format: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        let image = RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 20, y as u8 * 30, 7]));
        image.write_to(&mut file, format).expect("written");
        file.into_inner()
    }

    fn pixels(file: &[u8]) -> Vec<u8> {
        image::load_from_memory(file)
            .expect("an image")
            .to_rgb8()
            .into_raw()
    }

    #[test]
    fn the_location_of_a_photo_is_not_shared() {
        let plain = image(ImageFormat::Jpeg);
        let location = b"Exif\0\0 31.2304N 121.4737E";
        let mut photo = plain[..2].to_vec();
        photo.extend_from_slice(&[0xff, 0xe1, 0, location.len() as u8 + 2]);
        photo.extend_from_slice(location);
        photo.extend_from_slice(&plain[2..]);
        photo.extend_from_slice(b"a film behind the end");
        let stripped = jpeg(&photo).expect("stripped");
        assert!(
            memchr::memmem::find(&stripped, b"31.2304N").is_none()
                && memchr::memmem::find(&stripped, b"film").is_none()
        );
        assert_eq!(pixels(&stripped), pixels(&plain));
    }

    #[test]
    fn png_gif_and_webp_keep_their_pixels_and_lose_their_metadata() {
        let png_file = image(ImageFormat::Png);
        let mut tagged = png_file[..33].to_vec();
        tagged.extend_from_slice(&[0, 0, 0, 9]);
        tagged.extend_from_slice(b"tEXtAuthor\0Li____");
        tagged.extend_from_slice(&png_file[33..]);
        let stripped = png(&tagged).expect("stripped");
        assert_eq!(stripped, png_file);

        let gif_file = image(ImageFormat::Gif);
        let first_block = 13 + color_table_bytes(gif_file[10]);
        let mut tagged = gif_file[..first_block].to_vec();
        tagged.extend_from_slice(b"\x21\xfe\x05hello\0");
        tagged.extend_from_slice(&gif_file[first_block..]);
        assert_eq!(gif(&tagged).expect("stripped"), gif_file);

        let webp_file = image(ImageFormat::WebP);
        let mut tagged = webp_file.clone();
        tagged.extend_from_slice(b"EXIF\x04\0\0\0home");
        let size = tagged.len() as u32 - 8;
        tagged[4..8].copy_from_slice(&size.to_le_bytes());
        assert_eq!(
            pixels(&webp(&tagged).expect("stripped")),
            pixels(&webp_file)
        );
        assert!(memchr::memmem::find(&webp(&tagged).expect("stripped"), b"home").is_none());
    }

    #[test]
    fn a_truncated_image_causes_no_panic() {
        for format in [
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::Gif,
            ImageFormat::WebP,
        ] {
            let file = image(format);
            for length in 0..file.len() {
                for strip in [jpeg, png, gif, webp] {
                    strip(&file[..length]);
                }
            }
        }
    }
}
