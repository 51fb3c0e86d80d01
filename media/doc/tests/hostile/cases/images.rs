//! Images: false sizes, compressed chunks and false headers.

use image::ImageFormat;

use super::{BROKEN, Case, DAMAGED, DONE, TOO_LARGE};
use crate::make::{self, chunk};

pub fn all() -> Vec<Case> {
    let patched = |format, at: usize, bytes: &[u8]| {
        let mut file = make::image(format);
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    // SOF0 of a JPEG: marker, length, precision, height, width.
    let mut wide_jpeg = make::image(ImageFormat::Jpeg);
    let frame = memchr::memmem::find(&wide_jpeg, b"\xff\xc0").expect("there");
    wide_jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    let mut no_jpeg = make::image(ImageFormat::Jpeg);
    no_jpeg[frame + 5..frame + 9].copy_from_slice(&[0; 4]);
    let endless_exif = {
        let plain = make::image(ImageFormat::Jpeg);
        // The first IFD refers to itself as the next one.
        let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\x08";
        [&plain[..2], exif, &plain[2..]].concat()
    };
    let text_bomb = chunk(
        b"zTXt",
        &[&b"Comment\0\0"[..], &make::zlib_zeros(1 << 30)].concat(),
    );
    let profile_bomb = chunk(
        b"iCCP",
        &[&b"x\0\0"[..], &make::zlib_zeros(1 << 30)].concat(),
    );
    let frames = chunk(b"acTL", &[0xff; 8]);
    let with_trailer = [
        make::image(ImageFormat::Gif),
        b"<script>alert(1)</script>".to_vec(),
    ]
    .concat();
    vec![
        Case::new(
            "a PNG of 10^10 pixels",
            make::png_of(100_000, 100_000, &[]),
            TOO_LARGE,
        ),
        Case::new(
            "a PNG of 2^62 pixels",
            make::png_of(0x7fff_ffff, 0x7fff_ffff, &[]),
            &["too_large", "broken"],
        ),
        Case::new("a PNG without pixels", make::png_of(0, 0, &[]), BROKEN),
        Case::new(
            "a PNG with a compressed text of 1 GB",
            make::png_of(60, 40, &text_bomb),
            DAMAGED,
        ),
        Case::new(
            "a PNG with a compressed colour profile of 1 GB",
            make::png_of(60, 40, &profile_bomb),
            DAMAGED,
        ),
        Case::new(
            "a PNG of 4 billion frames",
            make::png_of(60, 40, &frames),
            DAMAGED,
        ),
        Case::new(
            "a PNG with a wrong CRC",
            patched(ImageFormat::Png, 30, &[0, 0]),
            BROKEN,
        ),
        Case::new(
            "a PNG with a chunk of 4 GB",
            patched(ImageFormat::Png, 33, &[0xff; 4]),
            BROKEN,
        ),
        Case::new(
            "a GIF of 4 billion pixels",
            patched(ImageFormat::Gif, 6, &[0xff; 4]),
            TOO_LARGE,
        ),
        Case::new("a GIF followed by HTML", with_trailer, DONE).checked(|output| {
            let shared = std::fs::read(output.out_dir.join("image.gif")).expect("written");
            output.expect(
                memchr::memmem::find(&shared, b"script").is_none(),
                "the HTML is shared".into(),
            )
        }),
        Case::new("a JPEG of 4 billion pixels", wide_jpeg, TOO_LARGE),
        Case::new("a JPEG without pixels", no_jpeg, BROKEN),
        Case::new("a cyclic EXIF directory", endless_exif, DONE).checked(|output| {
            output.expect(
                output.result["image"]["width"] == 40,
                "the image is not upright".into(),
            )
        }),
        Case::new(
            "only the start of a JPEG",
            vec![0xff, 0xd8, 0xff, 0xe0],
            BROKEN,
        ),
        Case::new(
            "a BMP of 2^62 pixels",
            patched(
                ImageFormat::Bmp,
                18,
                &[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f],
            ),
            &["too_large", "broken"],
        ),
        Case::new(
            "a BMP of minus 2^31 rows",
            patched(ImageFormat::Bmp, 22, &[0, 0, 0, 0x80]),
            &["too_large", "broken"],
        ),
        Case::new(
            "a BMP with a pixel offset beyond its end",
            patched(ImageFormat::Bmp, 10, &[0xff; 4]),
            DAMAGED,
        ),
        Case::new(
            "a WebP with a claimed size of 4 GB",
            patched(ImageFormat::WebP, 4, &[0xff; 4]),
            DAMAGED,
        ),
        Case::new(
            "a WebP of 16 384 by 16 384",
            patched(ImageFormat::WebP, 21, &[0xff, 0xff, 0xff, 0x0f]),
            &["too_large", "broken"],
        ),
        Case::new(
            "a photo from an iPhone",
            [&b"\0\0\0\x18ftypheic\0\0\0\0"[..], &[0; 99]].concat(),
            &["unsupported"],
        ),
    ]
}
