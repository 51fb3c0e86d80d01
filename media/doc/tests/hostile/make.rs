//! Builders of hostile files: byte by byte, with false headers where a test needs them.

use std::io::{Cursor, Write};

use image::{ImageFormat, RgbImage};

/// Entry of a zip; its header fields may be false.
#[derive(Clone)]
pub struct Entry {
    /// Raw file name.
    pub name: Vec<u8>,
    /// General purpose bit flags (APPNOTE 4.4.4).
    pub flags: u16,
    /// Compression method: 0 stored, 8 deflated.
    pub method: u16,
    /// Compressed data.
    pub packed: Vec<u8>,
    /// Claimed uncompressed size in bytes.
    pub size: u32,
    /// Claimed CRC-32.
    pub crc: u32,
}

impl Entry {
    /// An uncompressed entry with valid header fields.
    pub fn stored(name: &str, data: &[u8]) -> Entry {
        let (packed, size) = (data.to_vec(), data.len() as u32);
        Entry {
            name: name.into(),
            flags: 0x0800,
            method: 0,
            packed,
            size,
            crc: crc32(data),
        }
    }

    /// A zip bomb: about `bytes` zeros, compressed 158 to 1. Its CRC is wrong: a reader must stop
    /// before it checks the CRC.
    pub fn zeros(name: &str, bytes: u64) -> Entry {
        let (packed, size) = deflated_zeros(bytes);
        Entry {
            name: name.into(),
            flags: 0,
            method: 8,
            packed,
            size: size as u32,
            crc: 0,
        }
    }
}

/// A zip file of these entries.
pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut file = Vec::new();
    let places: Vec<u32> = entries
        .iter()
        .map(|entry| local_entry(&mut file, entry))
        .collect();
    with_directory(file, entries, &places, None)
}

/// A zip file with many central directory entries for the data of one.
pub fn overlapping_zip(entry: &Entry, names: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let place = local_entry(&mut file, entry);
    let entries = vec![entry.clone(); names];
    with_directory(file, &entries, &vec![place; names], None)
}

/// A zip file whose end record claims `count` entries.
pub fn zip_claiming(entries: &[Entry], count: u16) -> Vec<u8> {
    let mut file = Vec::new();
    let places: Vec<u32> = entries
        .iter()
        .map(|entry| local_entry(&mut file, entry))
        .collect();
    with_directory(file, entries, &places, Some(count))
}

/// Appends a local header and the data; returns the offset.
fn local_entry(file: &mut Vec<u8>, entry: &Entry) -> u32 {
    let at = file.len() as u32;
    file.extend_from_slice(b"PK\x03\x04\x14\x00");
    common_fields(file, entry);
    file.extend_from_slice(&[0, 0]);
    file.extend_from_slice(&entry.name);
    file.extend_from_slice(&entry.packed);
    at
}

/// Appends the fields common to local and central headers, from the flags to the name length.
fn common_fields(file: &mut Vec<u8>, entry: &Entry) {
    for number in [entry.flags, entry.method, 0, 0x21] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    for number in [entry.crc, entry.packed.len() as u32, entry.size] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file.extend_from_slice(&(entry.name.len() as u16).to_le_bytes());
}

/// Appends the central directory and the end record.
fn with_directory(
    mut file: Vec<u8>,
    entries: &[Entry],
    places: &[u32],
    count: Option<u16>,
) -> Vec<u8> {
    let start = file.len() as u32;
    for (entry, place) in entries.iter().zip(places) {
        file.extend_from_slice(b"PK\x01\x02\x14\x00\x14\x00");
        common_fields(&mut file, entry);
        file.extend_from_slice(&[0; 12]);
        file.extend_from_slice(&place.to_le_bytes());
        file.extend_from_slice(&entry.name);
    }
    let length = file.len() as u32 - start;
    let count = count.unwrap_or(entries.len() as u16).to_le_bytes();
    file.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    file.extend_from_slice(&[count, count].concat());
    file.extend_from_slice(&[length.to_le_bytes(), start.to_le_bytes()].concat());
    file.extend_from_slice(&[0, 0]);
    file
}

/// CRC-32 of zip and PNG.
fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    };
    !data.iter().fold(!0, step)
}

/// Deflated zeros (RFC 1951) and their number: one literal zero, then copies of 258 bytes at
/// distance 1. A copy takes 13 bits, so 13 bytes have eight of them.
fn deflated_zeros(bytes: u64) -> (Vec<u8>, u64) {
    let mut bits = vec![true, true, false];
    bits.extend([false, false, true, true, false, false, false, false]);
    let copy = [
        true, true, false, false, false, true, false, true, false, false, false, false, false,
    ];
    let copies = bytes / 258 / 8 * 8;
    // The byte pattern repeats after eight copies, which are 104 bits.
    (0..24).for_each(|_| bits.extend(copy));
    let byte = |bits: &[bool]| {
        bits.iter()
            .enumerate()
            .fold(0_u8, |byte, (at, bit)| byte | (u8::from(*bit) << at))
    };
    let packed: Vec<u8> = bits.chunks_exact(8).map(byte).collect();
    let (head, period) = (&packed[..2], &packed[2..15]);
    let mut file = head.to_vec();
    (0..copies / 8).for_each(|_| file.extend_from_slice(period));
    // The rest of the last copy, and the end-of-block symbol.
    file.extend_from_slice(&[5, 0]);
    (file, 1 + 258 * (copies + 1))
}

/// A zlib stream (RFC 1950) of about `bytes` zeros; its checksum is wrong: a reader must stop
/// before it checks it.
pub fn zlib_zeros(bytes: u64) -> Vec<u8> {
    [&[0x78, 0x9c][..], &deflated_zeros(bytes).0].concat()
}

/// Content type of the main part of a document.
pub const WORD: &str =
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml";
/// Content type of the main part of a presentation.
pub const SLIDES: &str =
    "application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml";
/// Content type of the main part of a workbook.
pub const SHEETS: &str =
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml";

/// An OOXML package with these parts: adds content types and package relationships.
pub fn office(main: &str, content_type: &str, parts: &[(&str, &str)]) -> Vec<Entry> {
    let types = format!(
        r#"<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="png" ContentType="image/png"/><Override PartName="/{main}" ContentType="{content_type}"/></Types>"#
    );
    let relationships = relationships(&format!(
        r#"<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="{main}"/>"#
    ));
    let mut entries = vec![
        Entry::stored("[Content_Types].xml", types.as_bytes()),
        Entry::stored("_rels/.rels", relationships.as_bytes()),
    ];
    entries.extend(
        parts
            .iter()
            .map(|(name, text)| Entry::stored(name, text.as_bytes())),
    );
    entries
}

/// A relationships part.
pub fn relationships(relationships: &str) -> String {
    format!(
        r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{relationships}</Relationships>"#
    )
}

const W: &str = r#"xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main""#;

/// A WordprocessingML paragraph.
pub fn paragraph(text: &str) -> String {
    format!("<w:p><w:r><w:t>{text}</w:t></w:r></w:p>")
}

/// Main part of a document with this body.
pub fn document(body: &str) -> String {
    format!("<w:document {W}><w:body>{body}</w:body></w:document>")
}

/// A document with this body.
pub fn docx(body: &str) -> Vec<Entry> {
    office(
        "word/document.xml",
        WORD,
        &[("word/document.xml", &document(body))],
    )
}

/// A presentation of one slide with these shapes.
pub fn pptx(slide: &str) -> Vec<Entry> {
    const NS: &str = r#"xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships""#;
    let main = format!(
        r#"<p:presentation {NS}><p:sldIdLst><p:sldId id="256" r:id="s1"/></p:sldIdLst></p:presentation>"#
    );
    let link =
        relationships(r#"<Relationship Id="s1" Type="x/slide" Target="slides/slide1.xml"/>"#);
    let slide = format!("<p:sld {NS}><p:cSld><p:spTree>{slide}</p:spTree></p:cSld></p:sld>");
    let parts = [
        ("ppt/presentation.xml", &*main),
        ("ppt/_rels/presentation.xml.rels", &*link),
        ("ppt/slides/slide1.xml", &*slide),
    ];
    office("ppt/presentation.xml", SLIDES, &parts)
}

/// A text box of a slide.
pub fn text_box(text: &str) -> String {
    format!("<p:sp><p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>")
}

/// A workbook of one sheet with these rows.
pub fn xlsx(rows: &str) -> Vec<Entry> {
    const NS: &str = r#"xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships""#;
    let book = format!(
        r#"<workbook {NS}><sheets><sheet name="表" sheetId="1" r:id="s1"/></sheets></workbook>"#
    );
    let link = relationships(
        r#"<Relationship Id="s1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/>"#,
    );
    let sheet = format!("<worksheet {NS}><sheetData>{rows}</sheetData></worksheet>");
    let parts = [
        ("xl/workbook.xml", &*book),
        ("xl/_rels/workbook.xml.rels", &*link),
        ("xl/worksheets/sheet1.xml", &*sheet),
    ];
    office("xl/workbook.xml", SHEETS, &parts)
}

/// A cell with an inline string.
pub fn cell(reference: &str, text: &str) -> String {
    format!(r#"<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>"#)
}

/// An OpenDocument package; `kind` is `text`, `presentation` or `spreadsheet`.
pub fn odf(kind: &str, body: &str) -> Vec<Entry> {
    const NS: &str = r#"xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0" office:version="1.2""#;
    let mimetype = format!("application/vnd.oasis.opendocument.{kind}");
    let content = format!(
        "<office:document-content {NS}><office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"
    );
    let manifest = format!(
        r#"<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"><manifest:file-entry manifest:full-path="/" manifest:media-type="{mimetype}"/><manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/></manifest:manifest>"#
    );
    vec![
        Entry::stored("mimetype", mimetype.as_bytes()),
        Entry::stored("META-INF/manifest.xml", manifest.as_bytes()),
        Entry::stored("content.xml", content.as_bytes()),
    ]
}

/// A PDF of these objects, numbered from 1; object 1 is the catalog. `trailer` adds entries to the
/// trailer dictionary.
pub fn pdf(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        places.push(file.len());
        writeln!(file, "{} 0 obj", number + 1).expect("memory");
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let start = file.len();
    write!(file, "xref\n0 {}\n0000000000 65535 f \n", places.len() + 1).expect("memory");
    places
        .iter()
        .for_each(|place| writeln!(file, "{place:010} 00000 n ").expect("memory"));
    let size = places.len() + 1;
    write!(
        file,
        "trailer\n<</Size {size}/Root 1 0 R{trailer}>>\nstartxref\n{start}\n%%EOF\n"
    )
    .expect("memory");
    file
}

/// Objects of a PDF with one page: catalog, page tree, page, content stream, and `more` from object
/// 5 on.
pub fn page(content: &str, page: &str, more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut objects = vec![
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>".to_vec(),
        format!("<</Type/Page/Parent 2 0 R/Contents 4 0 R/MediaBox[0 0 200 100]{page}>>")
            .into_bytes(),
        stream("", content.as_bytes()),
    ];
    objects.extend_from_slice(more);
    objects
}

/// A stream object with additional dictionary entries.
pub fn stream(dictionary: &str, data: &[u8]) -> Vec<u8> {
    let head = format!("<</Length {}{dictionary}>>\nstream\n", data.len());
    [head.as_bytes(), data, b"\nendstream"].concat()
}

/// A valid PDF with the text "Hello, class".
pub fn hello_pdf() -> Vec<u8> {
    let font = "/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>";
    pdf(
        &page("BT /F 12 Tf 20 50 Td (Hello, class) Tj ET", font, &[]),
        "",
    )
}

/// A valid image of 60 × 40 pixels.
pub fn image(format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let image = RgbImage::from_fn(60, 40, |x, y| {
        image::Rgb([(x * 4) as u8, (y * 6) as u8, (x * y) as u8])
    });
    image.write_to(&mut file, format).expect("written");
    file.into_inner()
}

/// A red PNG of 300 × 300 pixels.
pub fn red_png() -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    RgbImage::from_pixel(300, 300, image::Rgb([255, 0, 0]))
        .write_to(&mut file, ImageFormat::Png)
        .expect("written");
    file.into_inner()
}

/// A PNG chunk.
pub fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind, data].concat();
    [
        &(data.len() as u32).to_be_bytes()[..],
        &body,
        &crc32(&body).to_be_bytes(),
    ]
    .concat()
}

/// A PNG with a claimed size in pixels.
pub fn png_of(width: u32, height: u32, more: &[u8]) -> Vec<u8> {
    let header = [
        &width.to_be_bytes()[..],
        &height.to_be_bytes(),
        &[8, 2, 0, 0, 0],
    ]
    .concat();
    let parts = [
        chunk(b"IHDR", &header),
        more.to_vec(),
        chunk(b"IDAT", &zlib_zeros(100_000)),
        chunk(b"IEND", &[]),
    ];
    [&b"\x89PNG\r\n\x1a\n"[..], &parts.concat()].concat()
}

/// An OLE compound file of these streams.
pub fn ole(streams: &[(&str, &[u8])]) -> Vec<u8> {
    let mut container = cfb::CompoundFile::create(Cursor::new(Vec::new())).expect("memory");
    for (name, bytes) in streams {
        container
            .create_stream(name)
            .expect("memory")
            .write_all(bytes)
            .expect("memory");
    }
    container.flush().expect("memory");
    container.into_inner().into_inner()
}

/// Main stream of a Word 97 document; its piece table is at the start of `0Table`.
pub fn word_stream(flags: u16, table_bytes: u32) -> Vec<u8> {
    let mut main = vec![0; 0x400];
    main[..2].copy_from_slice(&0xa5ec_u16.to_le_bytes());
    main[2..4].copy_from_slice(&0x00c1_u16.to_le_bytes());
    main[10..12].copy_from_slice(&flags.to_le_bytes());
    main[0x1a6..0x1aa].copy_from_slice(&table_bytes.to_le_bytes());
    main[0x200..0x20b].copy_from_slice(b"Lesson plan");
    main
}

/// A piece table with one piece of eleven 8-bit characters at offset 0x200.
pub fn piece_table() -> Vec<u8> {
    let mut table = vec![2, 16, 0, 0, 0];
    for number in [0_u32, 11] {
        table.extend_from_slice(&number.to_le_bytes());
    }
    table.extend_from_slice(&[0, 0]);
    table.extend_from_slice(&(0x4000_0000_u32 | 0x400).to_le_bytes());
    table.extend_from_slice(&[0, 0]);
    table
}

/// A valid Word 97 document.
pub fn doc() -> Vec<u8> {
    ole(&[
        ("WordDocument", &word_stream(0, 21)),
        ("0Table", &piece_table()),
    ])
}

/// A PowerPoint 97 record.
pub fn record(version: u16, kind: u16, body: &[u8]) -> Vec<u8> {
    [
        &version.to_le_bytes()[..],
        &kind.to_le_bytes(),
        &(body.len() as u32).to_le_bytes(),
        body,
    ]
    .concat()
}

/// A valid PowerPoint 97 deck.
pub fn ppt() -> Vec<u8> {
    let records = record(
        0xf,
        0x0ff0,
        &[record(0, 0x0f9f, &[0; 4]), record(0, 0x0fa8, b"A lesson")].concat(),
    );
    ole(&[
        ("PowerPoint Document", &records),
        ("Current User", &[0; 20]),
    ])
}

/// A BIFF8 workbook: one sheet with one number. `more` are further records of the globals.
pub fn xls(more: &[u8]) -> Vec<u8> {
    let record = |kind: u16, body: &[u8]| {
        [
            &kind.to_le_bytes()[..],
            &(body.len() as u16).to_le_bytes(),
            body,
        ]
        .concat()
    };
    let bof = |kind: u8| record(0x0809, &[0, 6, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let globals = [bof(5), more.to_vec()].concat();
    let sheet_at = (globals.len() + 4 + 9 + 4) as u32;
    let sheet = record(
        0x0085,
        &[&sheet_at.to_le_bytes()[..], &[0, 0, 1, 0, b'S']].concat(),
    );
    let number = record(
        0x0203,
        &[&[0, 0, 0, 0, 0, 0][..], &42_f64.to_le_bytes()].concat(),
    );
    let book = [
        globals,
        sheet,
        record(0x000a, &[]),
        bof(0x10),
        number,
        record(0x000a, &[]),
    ]
    .concat();
    ole(&[("Workbook", &book)])
}
