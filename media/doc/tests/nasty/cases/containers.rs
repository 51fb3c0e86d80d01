//! Zip and OLE containers, and files that are not what they are called.

use super::{BROKEN, Case, DAMAGED, DONE, ENCRYPTED, TOO_LARGE, TOO_MANY, UNSUPPORTED};
use crate::make::{self, Entry};

const GIB: u64 = 1 << 30;

pub fn all() -> Vec<Case> {
    [strangers(), archives(), old_office()]
        .into_iter()
        .flatten()
        .collect()
}

fn strangers() -> Vec<Case> {
    let program = [&b"\x7fELF\x02\x01\x01\0"[..], &[0; 500]].concat();
    let windows = [&b"MZ\x90\0\x03\0\0\0"[..], &[0xff; 500]].concat();
    let noise: Vec<u8> = (0..70_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8)
        .collect();
    let film = [&b"\0\0\0\x18ftypmp42\0\0\0\0"[..], &[0; 100]].concat();
    let polyglot = [
        make::hello(),
        make::zip(&[Entry::stored("evil.exe", b"MZ")]),
    ]
    .concat();
    vec![
        Case::new("nothing at all", Vec::new(), &["empty"]),
        Case::new("one zero", vec![0], UNSUPPORTED),
        Case::new("a megabyte of zeros", vec![0; 1 << 20], UNSUPPORTED),
        Case::new("noise", noise.clone(), UNSUPPORTED),
        Case::new("a program called a deck", program, UNSUPPORTED).called("--help.pptx"),
        Case::new("a Windows program called a plan", windows, UNSUPPORTED).called("教案.docx"),
        Case::new("noise called a deck", noise, UNSUPPORTED).called("课件.pptx"),
        Case::new("a picture called a deck", make::red(), DONE)
            .called("课件.pptx")
            .checked(|found| [found.is("png"), found.notes("mislabelled")].concat()),
        Case::new("a PDF called a plan", make::hello(), DONE)
            .called("教案.docx")
            .checked(|found| {
                [
                    found.is("pdf"),
                    found.notes("mislabelled"),
                    found.says("Hello, class"),
                ]
                .concat()
            }),
        Case::new("a PDF and a zip in one", polyglot, DONE).checked(|found| found.is("pdf")),
        Case::new("a film", film, DONE).checked(|found| found.is("video")),
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
    // APPNOTE 4.3.14: the large end claims a number that no file can hold.
    let mut large_end = b"PK\x03\x04".to_vec();
    large_end.extend_from_slice(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0");
    large_end.extend_from_slice(&[0xff; 32]);
    large_end.extend_from_slice(b"PK\x06\x07\0\0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0");
    large_end.extend_from_slice(
        b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0",
    );
    vec![
        Case::new("a zip of nothing", make::zip(&[]), DONE).checked(|found| found.is("zip")),
        Case::new(
            "a zip that climbs",
            make::zip(&[
                named("../../etc/passwd"),
                named("/etc/shadow"),
                named("a/../../b"),
            ]),
            DONE,
        )
        .checked(|found| {
            let paths: Vec<&str> = found.result["entries"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|entry| entry["path"].as_str())
                .collect();
            [
                found.notes("unsafe_paths"),
                found.fault(
                    paths == ["etc/passwd", "etc/shadow", "a/b"],
                    format!("{paths:?}"),
                ),
            ]
            .concat()
        }),
        Case::new(
            "a zip for Windows",
            make::zip(&[named("C:\\Windows\\x.dll"), named("..\\..\\x")]),
            DONE,
        )
        .checked(|found| found.notes("unsafe_paths")),
        Case::new(
            "a name with zeros",
            make::zip(&[raw(b"a\0b.txt"), raw(b"\x1b[2J.txt")]),
            DONE,
        )
        .checked(|found| found.notes("unsafe_paths")),
        Case::new(
            "a name of 60 000 letters",
            make::zip(&[raw(&[b'a'; 60_000])]),
            DONE,
        )
        .checked(|found| found.is("zip")),
        Case::new(
            "names in GBK",
            make::zip(&[raw(b"\xbf\xce\xbc\xfe.ppt")]),
            DONE,
        )
        .checked(|found| {
            found.fault(
                found.result["entries"][0]["path"] == "课件.ppt",
                found.result["entries"].to_string(),
            )
        }),
        Case::new(
            "the same name twice",
            make::zip(&[named("a.txt"), named("a.txt")]),
            DONE,
        ),
        Case::new("a bomb", bomb.clone(), DONE).checked(|found| found.notes("suspicious_ratio")),
        Case::new(
            "bombs in a zip",
            make::zip(&[Entry {
                name: "b.zip".into(),
                ..Entry::stored("b.zip", &bomb)
            }]),
            DONE,
        ),
        Case::new(
            "five hundred names of one bomb",
            make::overlapping_zip(&Entry::zeros("zeros", 1 << 24), 500),
            DONE,
        )
        .checked(|found| found.notes("suspicious_ratio")),
        Case::new("a locked zip", make::zip(&[encrypted]), DONE)
            .checked(|found| found.notes("encrypted_entries")),
        Case::new("25 000 files", make::zip(&many), TOO_MANY),
        Case::new("a directory without end", large_end, TOO_MANY),
        Case::new(
            "an end that counts 65 000",
            make::zip_claiming(&[named("a.txt")], 65_000),
            TOO_MANY,
        ),
        Case::new(
            "an end that counts 10 000",
            make::zip_claiming(&[named("a.txt")], 10_000),
            BROKEN,
        ),
        Case::new("a comment of 64 KB", with_comment, DONE),
        Case::new("a directory elsewhere", far, BROKEN),
        Case::new(
            "a zip behind a program",
            [vec![b'x'; 999], make::zip(&[named("a.txt")])].concat(),
            UNSUPPORTED,
        ),
        Case::new("only the end of a zip", b"PK\x05\x06".to_vec(), BROKEN),
    ]
}

fn old_office() -> Vec<Case> {
    let word = |flags, table_bytes, table: &[u8]| {
        make::ole(&[
            ("WordDocument", &make::word_stream(flags, table_bytes)),
            ("0Table", table),
        ])
    };
    let mut far_piece = make::pieces();
    far_piece[15..19].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let mut backwards = make::pieces();
    backwards[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
    let slides = |records: &[u8], user: &[u8]| {
        make::ole(&[("PowerPoint Document", records), ("Current User", user)])
    };
    let mut locked_user = vec![0; 20];
    locked_user[12..16].copy_from_slice(&0xf3d1_c4df_u32.to_le_bytes());
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
        ("0Table", &make::pieces()),
        ("\u{5}SummaryInformation", &summary),
    ]);
    let sector = |at: usize, value: &[u8]| {
        let mut file = make::doc();
        file[at..at + value.len()].copy_from_slice(value);
        file
    };
    vec![
        Case::new("a plan of Word 97", word(0, 21, &make::pieces()), DONE)
            .checked(|found| found.says("Lesson plan")),
        Case::new(
            "a locked package",
            make::ole(&[
                ("EncryptedPackage", &[1; 99]),
                ("EncryptionInfo", &[4, 0, 4, 0]),
            ]),
            ENCRYPTED,
        ),
        Case::new(
            "a locked plan",
            word(0x0100, 21, &make::pieces()),
            ENCRYPTED,
        ),
        Case::new("a locked deck", slides(&[], &locked_user), ENCRYPTED),
        Case::new(
            "a locked sheet",
            make::xls(&[0x2f, 0, 6, 0, 1, 0, 1, 0, 1, 0]),
            ENCRYPTED,
        ),
        Case::new(
            "a plan without its table",
            make::ole(&[("WordDocument", &make::word_stream(0, 21))]),
            BROKEN,
        ),
        Case::new(
            "a plan with a table of 4 GB",
            word(0, u32::MAX, &make::pieces()),
            BROKEN,
        ),
        Case::new(
            "a plan with a piece far away",
            word(0, 21, &far_piece),
            BROKEN,
        ),
        Case::new(
            "a plan that runs backwards",
            word(0, 21, &backwards),
            BROKEN,
        ),
        Case::new(
            "a plan of five bytes",
            make::ole(&[("WordDocument", &[0xec, 0xa5, 0, 0, 0])]),
            BROKEN,
        ),
        Case::new("a plan with an endless summary", with_summary, DONE),
        Case::new("a deck of 3000 boxes in boxes", slides(&deep, &[]), DONE)
            .checked(|found| found.says("deep")),
        Case::new("a deck with an endless record", slides(&endless, &[]), DONE)
            .checked(|found| found.says("first")),
        Case::new("an empty deck", slides(&[], &[]), BROKEN),
        Case::new("an empty book", make::ole(&[("Workbook", &[])]), BROKEN),
        Case::new("a container of nothing", make::ole(&[]), UNSUPPORTED),
        // MS-CFB §2.2: the shift of its sectors, their count, where the directory and the tables begin.
        Case::new("sectors of 2^64 bytes", sector(30, &[64, 0]), BROKEN),
        Case::new("tables without end", sector(44, &[0xff; 4]), DAMAGED),
        Case::new("a directory in itself", sector(48, &[0; 4]), DAMAGED),
        Case::new(
            "a chain of tables to itself",
            sector(68, &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0x0f]),
            BROKEN,
        ),
        Case::new(
            "sectors that follow themselves",
            sector(512, &[0; 64]),
            DAMAGED,
        ),
        Case::new(
            "a bomb in a deck",
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
