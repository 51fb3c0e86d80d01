//! Takes from a picture what it says about whoever took it: EXIF, XMP, comments, and whatever follows its end. The pixels stay
//! bit for bit. `None`: its structure is not what it should be, and it has to be written anew.

/// ISO 10918-1 annex B: segments, then coded data in which only restarts and stuffed bytes follow 0xff.
pub fn jpeg(file: &[u8]) -> Option<Vec<u8>> {
    let mut clean = file.get(..2)?.to_vec();
    let mut at = 2;
    loop {
        let [0xff, marker] = *file.get(at..at + 2)? else {
            return None;
        };
        match marker {
            // Fill bytes.
            0xff => at += 1,
            0xd9 => {
                clean.extend_from_slice(&[0xff, 0xd9]);
                return Some(clean);
            }
            marker => {
                let length = usize::from(u16::from_be_bytes(
                    file.get(at + 2..at + 4)?.try_into().ok()?,
                ));
                let segment = file.get(at..at + 2 + length.max(2))?;
                if is_shared_segment(marker, segment.get(4..)?) {
                    clean.extend_from_slice(segment);
                }
                at += segment.len();
                if marker == 0xda {
                    let coded = coded_length(file.get(at..)?);
                    clean.extend_from_slice(file.get(at..at + coded)?);
                    at += coded;
                }
            }
        }
    }
}

/// JFIF, colour profile, Adobe's colour transform and everything that is not an application's.
fn is_shared_segment(marker: u8, body: &[u8]) -> bool {
    match marker {
        0xe0 => body.starts_with(b"JFIF\0"),
        0xe2 => body.starts_with(b"ICC_PROFILE\0"),
        0xee => body.starts_with(b"Adobe"),
        0xe1..=0xef | 0xfe => false,
        _ => true,
    }
}

fn coded_length(coded: &[u8]) -> usize {
    let is_end = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7);
    coded.windows(2).position(is_end).unwrap_or(coded.len())
}

/// PNG (ISO 15948 §11): what draws it, and the animation.
pub fn png(file: &[u8]) -> Option<Vec<u8>> {
    const SHARED: &[&[u8; 4]] = &[
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT",
        b"bKGD", b"pHYs", b"cICP", b"acTL", b"fcTL", b"fdAT",
    ];
    let mut clean = file.get(..8)?.to_vec();
    let mut at = 8;
    loop {
        let length = u32::from_be_bytes(file.get(at..at + 4)?.try_into().ok()?) as usize;
        let kind: &[u8; 4] = file.get(at + 4..at + 8)?.try_into().ok()?;
        let chunk = file.get(at..at.checked_add(length)?.checked_add(12)?)?;
        if SHARED.contains(&kind) {
            clean.extend_from_slice(chunk);
        }
        if kind == b"IEND" {
            return Some(clean);
        }
        at += chunk.len();
    }
}

/// WebP (RFC 9649 §2): chunks, and flags that say which are there.
pub fn webp(file: &[u8]) -> Option<Vec<u8>> {
    const EXIF_AND_XMP: u8 = 0x0c;
    let end = u32::from_le_bytes(file.get(4..8)?.try_into().ok()?) as usize + 8;
    let file = file.get(..end.min(file.len()))?;
    let mut clean = file.get(..12)?.to_vec();
    let mut at = 12;
    while at < file.len() {
        let kind = file.get(at..at + 4)?;
        let length = u32::from_le_bytes(file.get(at + 4..at + 8)?.try_into().ok()?) as usize;
        // Chunks are padded to even lengths; the last pad is often forgotten.
        let chunk = file.get(at..at.checked_add(8 + length)?)?;
        if kind != b"EXIF" && kind != b"XMP " {
            let flags = clean.len() + 8;
            clean.extend_from_slice(chunk);
            clean.resize(clean.len() + length % 2, 0);
            if kind == b"VP8X" {
                *clean.get_mut(flags)? &= !EXIF_AND_XMP;
            }
        }
        at += chunk.len() + length % 2;
    }
    let size = (clean.len() as u32).checked_sub(8)?;
    clean[4..8].copy_from_slice(&size.to_le_bytes());
    Some(clean)
}

/// GIF89a: comments and applications' blocks go, except the one that says how often it repeats.
pub fn gif(file: &[u8]) -> Option<Vec<u8>> {
    let mut at = 13 + color_table(*file.get(10)?);
    let mut clean = file.get(..at)?.to_vec();
    loop {
        let start = at;
        let shared = match *file.get(at)? {
            0x3b => {
                clean.push(0x3b);
                return Some(clean);
            }
            0x21 => {
                at = blocks_end(file, at + 2)?;
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
                at = blocks_end(file, at + 11 + color_table(*file.get(at + 9)?))?;
                true
            }
            _ => return None,
        };
        if shared {
            clean.extend_from_slice(file.get(start..at)?);
        }
    }
}

fn color_table(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Where a row of length-prefixed blocks ends, its empty last one included.
fn blocks_end(file: &[u8], mut at: usize) -> Option<usize> {
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

    fn picture(format: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        let picture = RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 20, y as u8 * 30, 7]));
        picture.write_to(&mut file, format).expect("written");
        file.into_inner()
    }

    fn pixels(file: &[u8]) -> Vec<u8> {
        image::load_from_memory(file)
            .expect("a picture")
            .to_rgb8()
            .into_raw()
    }

    #[test]
    fn where_a_photo_was_taken_is_not_shared() {
        let plain = picture(ImageFormat::Jpeg);
        let place = b"Exif\0\0 31.2304N 121.4737E";
        let mut photo = plain[..2].to_vec();
        photo.extend_from_slice(&[0xff, 0xe1, 0, place.len() as u8 + 2]);
        photo.extend_from_slice(place);
        photo.extend_from_slice(&plain[2..]);
        photo.extend_from_slice(b"a film behind the end");
        let clean = jpeg(&photo).expect("clean");
        assert!(
            memchr::memmem::find(&clean, b"31.2304N").is_none()
                && memchr::memmem::find(&clean, b"film").is_none()
        );
        assert_eq!(pixels(&clean), pixels(&plain));
    }

    #[test]
    fn the_others_keep_their_pixels_and_lose_their_words() {
        let png_file = picture(ImageFormat::Png);
        let mut told = png_file[..33].to_vec();
        told.extend_from_slice(&[0, 0, 0, 9]);
        told.extend_from_slice(b"tEXtAuthor\0Li____");
        told.extend_from_slice(&png_file[33..]);
        let clean = png(&told).expect("clean");
        assert_eq!(clean, png_file);

        let gif_file = picture(ImageFormat::Gif);
        let first_block = 13 + color_table(gif_file[10]);
        let mut told = gif_file[..first_block].to_vec();
        told.extend_from_slice(b"\x21\xfe\x05hello\0");
        told.extend_from_slice(&gif_file[first_block..]);
        assert_eq!(gif(&told).expect("clean"), gif_file);

        let webp_file = picture(ImageFormat::WebP);
        let mut told = webp_file.clone();
        told.extend_from_slice(b"EXIF\x04\0\0\0home");
        let size = told.len() as u32 - 8;
        told[4..8].copy_from_slice(&size.to_le_bytes());
        assert_eq!(pixels(&webp(&told).expect("clean")), pixels(&webp_file));
        assert!(memchr::memmem::find(&webp(&told).expect("clean"), b"home").is_none());
    }

    #[test]
    fn a_cut_picture_is_no_panic() {
        for format in [
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::Gif,
            ImageFormat::WebP,
        ] {
            let file = picture(format);
            for length in 0..file.len() {
                for strip in [jpeg, png, gif, webp] {
                    strip(&file[..length]);
                }
            }
        }
    }
}
