//! Office packages: zip bombs, entities, depth, formulas and links to other files.

use super::{BROKEN, Case, DAMAGED, DONE, ENCRYPTED, HOSTILE, Output, TOO_LARGE, TOO_MANY};
use crate::make::{self, Entry};

const GIB: u64 = 1 << 30;
/// CRC-32 of the zeros of a zip bomb of 2^28 bytes.
const QUARTER_GIB_CRC: u32 = 0x52b9dad4;
/// Document type of the "billion laughs" entity expansion attack.
const BILLION_LAUGHS: &str = r#"<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>"#;
/// Document type with an external entity (XXE).
const EXTERNAL_ENTITY: &str = r#"<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>"#;

pub fn all() -> Vec<Case> {
    [entities(), bombs(), shapes(), formulas(), links()]
        .into_iter()
        .flatten()
        .collect()
}

/// A docx file whose main part is this text.
fn docx_with_main_part(main: &str) -> Vec<u8> {
    make::zip(&make::office(
        "word/document.xml",
        make::WORD,
        &[("word/document.xml", main)],
    ))
}

fn entities() -> Vec<Case> {
    let with = |name: &str, text: &[u8]| {
        make::zip(
            &[
                make::docx(&make::paragraph("x")),
                vec![Entry::stored(name, text)],
            ]
            .concat(),
        )
    };
    let wide: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(
            format!("{BILLION_LAUGHS}<x>&c;</x>")
                .encode_utf16()
                .flat_map(u16::to_le_bytes),
        )
        .collect();
    let sheet = make::office(
        "xl/workbook.xml",
        make::SHEETS,
        &[(
            "xl/workbook.xml",
            &*format!("{BILLION_LAUGHS}<workbook>&c;</workbook>"),
        )],
    );
    let slides = make::office(
        "ppt/presentation.xml",
        make::SLIDES,
        &[(
            "ppt/presentation.xml",
            &*format!("{EXTERNAL_ENTITY}<p>&a;</p>"),
        )],
    );
    let mut odt = make::odf("text", "<text:p>x</text:p>");
    odt[2] = Entry::stored(
        "content.xml",
        format!("{EXTERNAL_ENTITY}<x>&a;</x>").as_bytes(),
    );
    vec![
        Case::new(
            "billion laughs",
            docx_with_main_part(&format!("{BILLION_LAUGHS}{}", make::document("&c;"))),
            HOSTILE,
        ),
        Case::new(
            "an external entity in a document",
            docx_with_main_part(&format!("{EXTERNAL_ENTITY}{}", make::document("&a;"))),
            HOSTILE,
        ),
        Case::new(
            "billion laughs in UTF-16",
            with("word/settings.xml", &wide),
            HOSTILE,
        ),
        Case::new(
            "billion laughs in relationships",
            with(
                "word/_rels/document.xml.rels",
                format!("{BILLION_LAUGHS}<x>&c;</x>").as_bytes(),
            ),
            HOSTILE,
        ),
        Case::new(
            "billion laughs in VML",
            with(
                "word/drawing.VML",
                format!("{BILLION_LAUGHS}<x>&c;</x>").as_bytes(),
            ),
            HOSTILE,
        ),
        Case::new("billion laughs in a workbook", make::zip(&sheet), HOSTILE),
        Case::new("an external entity in a deck", make::zip(&slides), HOSTILE),
        Case::new(
            "an external entity in an OpenDocument file",
            make::zip(&odt),
            HOSTILE,
        ),
        Case::new(
            "a document type declaration",
            docx_with_main_part(&format!(
                "<!DOCTYPE x SYSTEM 'http://127.0.0.1/x'>{}",
                make::document("")
            )),
            HOSTILE,
        ),
        Case::new(
            "an unknown entity",
            docx_with_main_part(&make::document(&make::paragraph("a&unknown;b"))),
            DONE,
        )
        .checked(|output| output.contains_text("ab")),
    ]
}

fn bombs() -> Vec<Case> {
    let docx = make::docx(&make::paragraph("x"));
    let with = |entry: Entry| make::zip(&[docx.clone(), vec![entry]].concat());
    let mut small = Entry::zeros("word/media/a.png", 2 * GIB);
    small.size = 10;
    let main = |entry: Entry| make::zip(&[docx[..2].to_vec(), vec![entry]].concat());
    let pictures = (0..8)
        .map(|n| Entry {
            crc: QUARTER_GIB_CRC,
            ..Entry::zeros(&format!("word/media/{n}.png"), 1 << 28)
        })
        .collect();
    let together = make::zip(&[docx.clone(), pictures].concat());
    let many: Vec<Entry> = (0..21_000)
        .map(|n| Entry::stored(&format!("word/{n}.bin"), b""))
        .collect();
    let encrypted: Vec<Entry> = docx
        .iter()
        .map(|entry| Entry {
            flags: entry.flags | 1,
            ..entry.clone()
        })
        .collect();
    let partly_encrypted: Vec<Entry> = docx
        .iter()
        .enumerate()
        .map(|(n, entry)| Entry {
            flags: entry.flags | u16::from(n == 2),
            ..entry.clone()
        })
        .collect();
    let strange = Entry {
        method: 99,
        ..Entry::stored("word/media/a.png", b"x")
    };
    let wrong = Entry {
        crc: 1,
        ..Entry::stored("word/media/a.png", b"x")
    };
    let quadratic = format!("<w:p>{}</w:p>", "<w:r/>".repeat(500_000));
    vec![
        Case::new(
            "2 GB of zeros as an image",
            with(Entry::zeros("word/media/a.png", 2 * GIB)),
            TOO_LARGE,
        ),
        Case::new("2 GB that claim to be 10 bytes", with(small), BROKEN),
        Case::new(
            "a main part of 1 GB",
            main(Entry::zeros("word/document.xml", GIB)),
            TOO_LARGE,
        ),
        Case::new(
            "a settings part of 200 MB",
            with(Entry::zeros("word/settings.xml", 200 << 20)),
            TOO_LARGE,
        ),
        Case::new("eight images of 256 MB", together, TOO_LARGE),
        Case::new(
            "21 000 parts",
            make::zip(&[docx.clone(), many].concat()),
            TOO_MANY,
        ),
        Case::new(
            "a document with all parts encrypted",
            make::zip(&encrypted),
            &["encrypted", "done"],
        ),
        Case::new(
            "a document with one part encrypted",
            make::zip(&partly_encrypted),
            ENCRYPTED,
        ),
        Case::new(
            "a part of unknown compression method",
            with(strange),
            &["broken", "unsupported"],
        ),
        Case::new("a part with a wrong CRC", with(wrong), BROKEN),
        Case::new(
            "half a million runs",
            make::zip(&make::docx(&quadratic)),
            DAMAGED,
        ),
    ]
}

fn shapes() -> Vec<Case> {
    let nested = |depth: usize| {
        let table = "<w:tbl><w:tr><w:tc>";
        let end = "</w:tc></w:tr></w:tbl>";
        make::zip(&make::docx(&format!(
            "{}{}{}",
            table.repeat(depth),
            make::paragraph("deep"),
            end.repeat(depth)
        )))
    };
    let without = |part: usize| {
        let mut parts = make::docx("");
        parts.remove(part);
        make::zip(&parts)
    };
    let cyclic = {
        let link = make::relationships(
            r#"<Relationship Id="s1" Type="x/slide" Target="../ppt/presentation.xml"/>"#,
        );
        let main = r#"<p:presentation xmlns:p="p" xmlns:r="r"><p:sldIdLst><p:sldId r:id="s1"/><p:sldId r:id="s1"/></p:sldIdLst></p:presentation>"#;
        make::office(
            "ppt/presentation.xml",
            make::SLIDES,
            &[
                ("ppt/presentation.xml", main),
                ("ppt/_rels/presentation.xml.rels", &*link),
            ],
        )
    };
    let traversing = {
        let link = make::relationships(
            r#"<Relationship Id="s1" Type="x/slide" Target="../../../../../etc/passwd"/>"#,
        );
        let main = r#"<p:presentation xmlns:p="p" xmlns:r="r"><p:sldIdLst><p:sldId r:id="s1"/></p:sldIdLst></p:presentation>"#;
        make::office(
            "ppt/presentation.xml",
            make::SLIDES,
            &[
                ("ppt/presentation.xml", main),
                ("ppt/_rels/presentation.xml.rels", &*link),
            ],
        )
    };
    let mut encrypted_odt = make::odf("text", "<text:p>x</text:p>");
    encrypted_odt[1] = Entry::stored(
        "META-INF/manifest.xml",
        b"<manifest:manifest xmlns:manifest='m'><manifest:encryption-data/></manifest:manifest>",
    );
    vec![
        Case::new("60 nested tables", nested(60), DONE)
            .checked(|output| output.contains_text("deep")),
        Case::new("1000 nested tables", nested(1000), HOSTILE),
        Case::new("300 000 nested tables", nested(300_000), HOSTILE),
        Case::new("a document without its main part", without(2), BROKEN),
        Case::new("a document without content types", without(0), DONE)
            .checked(|output| output.is("zip")),
        Case::new(
            "tags that do not match",
            docx_with_main_part("<w:document><w:body></w:document></w:body>"),
            BROKEN,
        ),
        Case::new(
            "a main part that is not XML",
            docx_with_main_part("hello"),
            DAMAGED,
        ),
        Case::new(
            "a main part of NULs",
            docx_with_main_part(&"\0".repeat(999)),
            DAMAGED,
        ),
        Case::new(
            "an attribute of 10 MB",
            docx_with_main_part(&make::document(&format!(
                "<w:p w:x='{}'/>",
                "a".repeat(10 << 20)
            ))),
            DAMAGED,
        ),
        Case::new(
            "100 000 attributes",
            {
                let many: String = (0..100_000).map(|n| format!(" a{n}=''")).collect();
                docx_with_main_part(&make::document(&format!(
                    "<w:p><w:pPr><w:pStyle{many}/></w:pPr></w:p>"
                )))
            },
            DAMAGED,
        ),
        Case::new(
            "a slide relationship to the presentation part",
            make::zip(&cyclic),
            DAMAGED,
        ),
        Case::new(
            "a slide relationship to /etc/passwd",
            make::zip(&traversing),
            DAMAGED,
        )
        .checked(|output| {
            output.expect(
                !output.text.contains("root:"),
                "it reads a file of the server".into(),
            )
        }),
        Case::new(
            "an encrypted OpenDocument file",
            make::zip(&encrypted_odt),
            ENCRYPTED,
        ),
        Case::new(
            "an OpenDocument file without content",
            make::zip(&make::odf("text", "")[..2]),
            BROKEN,
        ),
    ]
}

fn formulas() -> Vec<Case> {
    let attack = concat!(
        r#"<row r="1"><c r="A1" t="str"><f>WEBSERVICE("http://127.0.0.1:9/"&amp;A2)</f><v>kept</v></c>"#,
        r#"<c r="B1" t="str"><f>cmd|' /C calc'!A0</f><v>old value</v></c></row>"#
    );
    let corners = format!(
        "<row r=\"1\">{}</row><row r=\"1048576\">{}</row>",
        make::cell("A1", "first"),
        make::cell("XFD1048576", "last")
    );
    let outside = r#"<row r="1"><c r="A1" t="s"><v>99999</v></c><c r="ZZZZZZ99999999999" t="n"><v>1</v></c></row>"#;
    let repeated = r#"<table:table table:name="t"><table:table-row table:number-rows-repeated="1048576"><table:table-cell table:number-columns-repeated="16384" office:value-type="string"><text:p>many</text:p></table:table-cell></table:table-row></table:table>"#;
    let long = format!(
        "<row r=\"1\"><c r=\"A1\"><f>{}1{}</f><v>1</v></c></row>",
        "(".repeat(100_000),
        ")".repeat(100_000)
    );
    vec![
        Case::new(
            "formulas with network and shell access",
            make::zip(&make::xlsx(attack)),
            DONE,
        )
        .checked(|output| {
            [
                output.contains_text("kept"),
                output.contains_text("old value"),
            ]
            .concat()
        }),
        Case::new(
            "two cells in opposite corners",
            make::zip(&make::xlsx(&corners)),
            DONE,
        )
        .checked(|output| [output.contains_text("first"), output.contains_text("last")].concat()),
        Case::new(
            "invalid shared strings and cell references",
            make::zip(&make::xlsx(outside)),
            DAMAGED,
        ),
        Case::new(
            "17 billion cells",
            make::zip(&make::odf("spreadsheet", repeated)),
            DONE,
        )
        .checked(|output| output.contains_text("many")),
        Case::new(
            "100 000 nested brackets in a formula",
            make::zip(&make::xlsx(&long)),
            DONE,
        ),
        Case::new(
            "17 billion cells in LibreOffice",
            make::zip(&make::odf("spreadsheet", repeated)),
            DONE,
        )
        .with_office(),
        Case::new(
            "formulas with network and shell access in LibreOffice",
            make::zip(&make::xlsx(attack)),
            DONE,
        )
        .with_office()
        .checked(|output| {
            output.expect(
                !output.result["pages"][0]["large"].is_null(),
                "there is no page".into(),
            )
        }),
    ]
}

/// Links to files of the server. A document must not show the red image beside the input or any
/// other file.
fn links() -> Vec<Case> {
    let odt = make::odf(
        "text",
        concat!(
            r#"<text:section text:name="s"><text:section-source xlink:href="file:///etc/passwd" text:filter-name="Text"/><text:p>own</text:p></text:section>"#,
            r#"<text:p><draw:frame svg:width="15cm" svg:height="15cm"><draw:image xlink:href="../red.png"/></draw:frame>"#,
            r#"<draw:frame svg:width="15cm" svg:height="15cm"><draw:image xlink:href="../../red.png"/></draw:frame>"#,
            r#"<draw:frame svg:width="15cm" svg:height="15cm"><draw:image xlink:href="../../../red.png"/></draw:frame></text:p>"#
        ),
    );
    let field = r#"<w:p><w:r><w:t>own</w:t></w:r><w:fldSimple w:instr=" INCLUDETEXT &quot;/etc/passwd&quot; "><w:r><w:t>old</w:t></w:r></w:fldSimple></w:p>"#;
    let garbage = make::ole(&[("WordDocument", &[0xa5; 5000]), ("0Table", &[0xff; 5000])]);
    let groups = format!(
        "{}{}{}",
        "<p:grpSp>".repeat(200),
        make::text_box("deep"),
        "</p:grpSp>".repeat(200)
    );
    let rtf = format!(
        "{{\\rtf1 {}deep{}}}",
        "{".repeat(50_000),
        "}".repeat(50_000)
    );
    vec![
        Case::new("links to files of the server", make::zip(&odt), DONE)
            .with_office()
            .checked(shows_no_other_file),
        Case::new(
            "a field that includes a file",
            make::zip(&make::docx(field)),
            DONE,
        )
        .with_office()
        .checked(shows_no_other_file),
        Case::new("a document of noise in LibreOffice", garbage, BROKEN).with_office(),
        Case::new(
            "200 nested groups in LibreOffice",
            make::zip(&make::pptx(&groups)),
            DONE,
        )
        .with_office(),
        Case::new(
            "50 000 nested groups in RTF",
            rtf.into_bytes(),
            &["done", "broken", "too_slow"],
        )
        .with_office(),
        Case::new(
            "RTF without LibreOffice",
            b"{\\rtf1 hello}".to_vec(),
            BROKEN,
        ),
        Case::new(
            "an OpenDocument type without a reader",
            make::zip(&make::odf("graphics", "")),
            DONE,
        )
        .checked(|output| output.is("zip")),
    ]
}

fn shows_no_other_file(output: &Output) -> Vec<String> {
    let is_red = |pixel: &image::Rgb<u8>| pixel[0] > 200 && pixel[1] < 60 && pixel[2] < 60;
    let red = output.first_page().pixels().any(is_red);
    let pages = output.result["pages"].to_string() + &output.text;
    [
        output.contains_text("own"),
        output.expect(!red, "it shows the image beside the input".into()),
        output.expect(!pages.contains("root:"), "it shows /etc/passwd".into()),
    ]
    .concat()
}
