//! Zip and OLE containers, and files with a wrong extension.

use super::{BROKEN, Case, DAMAGED, DONE, ENCRYPTED, TOO_LARGE, TOO_MANY, UNSUPPORTED};
use crate::make::{self, Entry};

const GIB: u64 = 1 << 30;

pub fn all() -> Vec<Case> {
    [wrong_types(), archives(), compound_files()]
        .into_iter()
        .flatten()
        .collect()
}

fn wrong_types() -> Vec<Case> {
    let program = [&b"\x7fELF\x02\x01\x01\0"[..], &[0; 500]].concat();
    let windows = [&b"MZ\x90\0\x03\0\0\0"[..], &[0xff; 500]].concat();
    let noise: Vec<u8> = (0..70_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8)
        .collect();
    let video = [&b"\0\0\0\x18ftypmp42\0\0\0\0"[..], &[0; 100]].concat();
    let polyglot = [
        make::hello_pdf(),
        make::zip(&[Entry::stored("evil.exe", b"MZ")]),
    ]
    .concat();
    vec![
        Case::new("an empty file", Vec::new(), &["empty"]),
        Case::new("one NUL", vec![0], UNSUPPORTED),
        Case::new("a megabyte of NULs", vec![0; 1 << 20], UNSUPPORTED),
        Case::new("noise", noise.clone(), UNSUPPORTED),
        Case::new("an ELF program named as a deck", program, UNSUPPORTED).called("--help.pptx"),
        Case::new(
            "a Windows program named as a document",
            windows,
            UNSUPPORTED,
        )
        .called("教案.docx"),
        Case::new("noise named as a deck", noise, UNSUPPORTED).called("课件.pptx"),
        Case::new("an image named as a deck", make::red_png(), DONE)
            .called("课件.pptx")
            .checked(|output| [output.is("png"), output.has_note("mislabelled")].concat()),
        Case::new("a PDF named as a document", make::hello_pdf(), DONE)
            .called("教案.docx")
            .checked(|output| {
                [
                    output.is("pdf"),
                    output.has_note("mislabelled"),
                    output.contains_text("Hello, class"),
                ]
                .concat()
            }),
        Case::new("a PDF followed by a zip", polyglot, DONE).checked(|output| output.is("pdf")),
        Case::new("a video", video, DONE).checked(|output| output.is("video")),
    ]
}

fn archives() -> Vec<Case> {
    let named = |name: &str| Entry::stored(name, b"x");
    let raw = |name: &[u8]| Entry {
        name: name.to_vec(),
        flags: 0,
        ..named("")
    };
    let encrypted = Entry {
        flags: 1,
        ..named("secret.docx")
    };
    let bomb = make::zip(&[Entry::zeros("zeros", GIB)]);
    let mut with_comment = make::zip(&[named("a.txt")]);
    let end = with_comment.len();
    with_comment[end - 2..].copy_from_slice(&[0xff, 0xff]);
    with_comment.extend_from_slice(&[b'P'; 65_535]);
    let mut far = make::zip(&[named("a.txt")]);
    far[end - 6..end - 2].copy_from_slice(&[0xff; 4]);
    let many: Vec<Entry> = (0..25_000)
        .map(|n| raw(format!("{n}").as_bytes()))
        .collect();
    // Zip64 end of central directory with an impossible number of entries (APPNOTE 4.3.14).
    let mut zip64_end = b"PK\x03\x04".to_vec();
    zip64_end.extend_from_slice(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0");
    zip64_end.extend_from_slice(&[0xff; 32]);
    zip64_end.extend_from_slice(b"PK\x06\x07\0\0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0");
    zip64_end.extend_from_slice(
        b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0",
    );
    vec![
        Case::new("an empty zip", make::zip(&[]), DONE).checked(|output| output.is("zip")),
        Case::new(
            "a zip with path traversal",
            make::zip(&[
                named("../../etc/passwd"),
                named("/etc/shadow"),
                named("a/../../b"),
            ]),
            DONE,
        )
        .checked(|output| {
            let paths: Vec<&str> = output.result["entries"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|entry| entry["path"].as_str())
                .collect();
            [
                output.has_note("unsafe_paths"),
                output.expect(
                    paths == ["etc/passwd", "etc/shadow", "a/b"],
                    format!("{paths:?}"),
                ),
            ]
            .concat()
        }),
        Case::new(
            "a zip with Windows paths",
            make::zip(&[named("C:\\Windows\\x.dll"), named("..\\..\\x")]),
            DONE,
        )
        .checked(|output| output.has_note("unsafe_paths")),
        Case::new(
            "names with NUL and escape sequences",
            make::zip(&[raw(b"a\0b.txt"), raw(b"\x1b[2J.txt")]),
            DONE,
        )
        .checked(|output| output.has_note("unsafe_paths")),
        Case::new(
            "a name of 60 000 characters",
            make::zip(&[raw(&[b'a'; 60_000])]),
            DONE,
        )
        .checked(|output| output.is("zip")),
        Case::new(
            "names in GBK",
            make::zip(&[raw(b"\xbf\xce\xbc\xfe.ppt")]),
            DONE,
        )
        .checked(|output| {
            output.expect(
                output.result["entries"][0]["path"] == "课件.ppt",
                output.result["entries"].to_string(),
            )
        }),
        Case::new(
            "the same name twice",
            make::zip(&[named("a.txt"), named("a.txt")]),
            DONE,
        ),
        Case::new("a zip bomb", bomb.clone(), DONE)
            .checked(|output| output.has_note("suspicious_ratio")),
        Case::new(
            "a zip bomb in a zip",
            make::zip(&[Entry {
                name: "b.zip".into(),
                ..Entry::stored("b.zip", &bomb)
            }]),
            DONE,
        ),
        Case::new(
            "five hundred overlapping entries",
            make::overlapping_zip(&Entry::zeros("zeros", 1 << 24), 500),
            DONE,
        )
        .checked(|output| output.has_note("suspicious_ratio")),
        Case::new("an encrypted zip", make::zip(&[encrypted]), DONE)
            .checked(|output| output.has_note("encrypted_entries")),
        Case::new("25 000 files", make::zip(&many), TOO_MANY),
        Case::new("a Zip64 directory of 2^64 entries", zip64_end, TOO_MANY),
        Case::new(
            "a claim of 65 000 entries",
            make::zip_claiming(&[named("a.txt")], 65_000),
            TOO_MANY,
        ),
        Case::new(
            "a claim of 10 000 entries",
            make::zip_claiming(&[named("a.txt")], 10_000),
            BROKEN,
        ),
        Case::new("an archive comment of 64 KB", with_comment, DONE),
        Case::new("a central directory beyond the end", far, BROKEN),
        Case::new(
            "a zip behind other bytes",
            [vec![b'x'; 999], make::zip(&[named("a.txt")])].concat(),
            UNSUPPORTED,
        ),
        Case::new(
            "only the end record of a zip",
            b"PK\x05\x06".to_vec(),
            BROKEN,
        ),
    ]
}

fn compound_files() -> Vec<Case> {
    let word = |flags, table_bytes, table: &[u8]| {
        make::ole(&[
            ("WordDocument", &make::word_stream(flags, table_bytes)),
            ("0Table", table),
        ])
    };
    let mut far_piece = make::piece_table();
    far_piece[15..19].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let mut backwards = make::piece_table();
    backwards[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
    let slides = |records: &[u8], user: &[u8]| {
        make::ole(&[("PowerPoint Document", records), ("Current User", user)])
    };
    let mut encrypted_user = vec![0; 20];
    encrypted_user[12..16].copy_from_slice(&0xf3d1_c4df_u32.to_le_bytes());
    let mut deep = make::record(0, 0x0fa8, b"deep");
    for _ in 0..3000 {
        deep = make::record(0xf, 0x03ee, &deep);
    }
    let endless = [
        make::record(0, 0x0fa8, b"first"),
        vec![0, 0, 0xa8, 0x0f, 0xff, 0xff, 0xff, 0xff],
    ]
    .concat();
    let summary: Vec<u8> = (0..200).map(|n| if n < 44 { 0 } else { 0xff }).collect();
    let with_summary = make::ole(&[
        ("WordDocument", &make::word_stream(0, 21)),
        ("0Table", &make::piece_table()),
        ("\u{5}SummaryInformation", &summary),
    ]);
    let sector = |at: usize, value: &[u8]| {
        let mut file = make::doc();
        file[at..at + value.len()].copy_from_slice(value);
        file
    };
    vec![
        Case::new(
            "a Word 97 document",
            word(0, 21, &make::piece_table()),
            DONE,
        )
        .checked(|output| output.contains_text("Lesson plan")),
        Case::new(
            "an encrypted OOXML package",
            make::ole(&[
                ("EncryptedPackage", &[1; 99]),
                ("EncryptionInfo", &[4, 0, 4, 0]),
            ]),
            ENCRYPTED,
        ),
        Case::new(
            "an encrypted Word 97 document",
            word(0x0100, 21, &make::piece_table()),
            ENCRYPTED,
        ),
        Case::new(
            "an encrypted PowerPoint 97 deck",
            slides(&[], &encrypted_user),
            ENCRYPTED,
        ),
        Case::new(
            "an encrypted Excel 97 workbook",
            make::xls(&[0x2f, 0, 6, 0, 1, 0, 1, 0, 1, 0]),
            ENCRYPTED,
        ),
        Case::new(
            "a document without its table stream",
            make::ole(&[("WordDocument", &make::word_stream(0, 21))]),
            BROKEN,
        ),
        Case::new(
            "a document with a piece table of 4 GB",
            word(0, u32::MAX, &make::piece_table()),
            BROKEN,
        ),
        Case::new(
            "a document with a piece beyond the end",
            word(0, 21, &far_piece),
            BROKEN,
        ),
        Case::new(
            "a document with decreasing positions",
            word(0, 21, &backwards),
            BROKEN,
        ),
        Case::new(
            "a document of five bytes",
            make::ole(&[("WordDocument", &[0xec, 0xa5, 0, 0, 0])]),
            BROKEN,
        ),
        Case::new(
            "a document with an invalid property set",
            with_summary,
            DONE,
        ),
        Case::new("a deck of 3000 nested records", slides(&deep, &[]), DONE)
            .checked(|output| output.contains_text("deep")),
        Case::new("a deck with a record of 4 GB", slides(&endless, &[]), DONE)
            .checked(|output| output.contains_text("first")),
        Case::new("an empty deck", slides(&[], &[]), BROKEN),
        Case::new("an empty workbook", make::ole(&[("Workbook", &[])]), BROKEN),
        Case::new("an empty compound file", make::ole(&[]), UNSUPPORTED),
        // Header fields of MS-CFB §2.2: sector shift, FAT sectors, first directory and DIFAT
        // sectors.
        Case::new("sectors of 2^64 bytes", sector(30, &[64, 0]), BROKEN),
        Case::new("4 billion FAT sectors", sector(44, &[0xff; 4]), DAMAGED),
        Case::new("a directory at sector 0", sector(48, &[0; 4]), DAMAGED),
        Case::new(
            "a cyclic DIFAT chain",
            sector(68, &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0x0f]),
            BROKEN,
        ),
        Case::new("cyclic FAT chains", sector(512, &[0; 64]), DAMAGED),
        Case::new(
            "a zip bomb in a deck",
            make::zip(
                &[
                    make::pptx(""),
                    vec![Entry::zeros("ppt/media/a.png", 2 * GIB)],
                ]
                .concat(),
            ),
            TOO_LARGE,
        ),
    ]
}
