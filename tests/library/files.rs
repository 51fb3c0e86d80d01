//! Minimal valid files of common types, each with one sentence of text.

use std::io::Write;

/// Parts of an OOXML package: main part, its content type, and all parts.
type Office<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";
const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const OFFICE_TYPE: &str = "application/vnd.openxmlformats-officedocument";

/// A file with the sentence in its text, by file name extension.
pub fn file(kind: &str, sentence: &str) -> Vec<u8> {
    match kind {
        "docx" => docx(sentence),
        "pptx" => pptx(sentence),
        "pdf" => pdf(sentence),
        "html" => format!("<!doctype html><meta charset=utf-8><title>材料</title><p>{sentence}")
            .into_bytes(),
        _ => sentence.to_owned().into_bytes(),
    }
}

fn docx(sentence: &str) -> Vec<u8> {
    let document = format!(
        r#"<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>{sentence}</w:t></w:r></w:p></w:body></w:document>"#
    );
    let kind = format!("{OFFICE_TYPE}.wordprocessingml.document.main+xml");
    office((
        "word/document.xml",
        &kind,
        &[("word/document.xml", &document)],
    ))
}

/// A deck of the size of a lesson, with the sentence on the last slide.
fn pptx(sentence: &str) -> Vec<u8> {
    const SLIDES: usize = 20;
    let names = format!(
        r#"xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" xmlns:r="{OFFICE}""#
    );
    let slide = |text: &str| {
        let place = r#"<p:spPr><a:xfrm><a:off x="900000" y="900000"/><a:ext cx="9000000" cy="2000000"/></a:xfrm></p:spPr>"#;
        format!(
            r#"<p:sld {names}><p:cSld><p:spTree><p:sp>{place}<p:txBody><a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp></p:spTree></p:cSld></p:sld>"#
        )
    };
    let (mut listed, mut linked, mut parts) = (String::new(), String::new(), Vec::new());
    for n in 1..=SLIDES {
        listed += &format!(r#"<p:sldId id="{}" r:id="s{n}"/>"#, 255 + n);
        linked += &format!(
            r#"<Relationship Id="s{n}" Type="{OFFICE}/slide" Target="slides/slide{n}.xml"/>"#
        );
        let text = if n == SLIDES {
            sentence.to_owned()
        } else {
            format!("第{n}页")
        };
        parts.push((format!("ppt/slides/slide{n}.xml"), slide(&text)));
    }
    let main =
        format!(r#"<p:presentation {names}><p:sldIdLst>{listed}</p:sldIdLst></p:presentation>"#);
    parts.push(("ppt/presentation.xml".into(), main));
    parts.push(("ppt/_rels/presentation.xml.rels".into(), relations(&linked)));
    let parts: Vec<(&str, &str)> = parts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let kind = format!("{OFFICE_TYPE}.presentationml.presentation.main+xml");
    office(("ppt/presentation.xml", &kind, &parts))
}

fn office((main, kind, parts): Office) -> Vec<u8> {
    let types = format!(
        r#"<Types xmlns="{PACKAGE}/content-types"><Default Extension="xml" ContentType="application/xml"/><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/{main}" ContentType="{kind}"/></Types>"#
    );
    let links = relations(&format!(
        r#"<Relationship Id="r1" Type="{OFFICE}/officeDocument" Target="{main}"/>"#
    ));
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [("[Content_Types].xml", &*types), ("_rels/.rels", &links)]
        .iter()
        .chain(parts)
    {
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        archive.start_file(*name, options).expect("a name");
        archive.write_all(text.as_bytes()).expect("memory");
    }
    archive.finish().expect("memory").into_inner()
}

fn relations(links: &str) -> String {
    format!(r#"<Relationships xmlns="{PACKAGE}/relationships">{links}</Relationships>"#)
}

/// One page in a Chinese font that is not embedded, as many programs write it.
fn pdf(sentence: &str) -> Vec<u8> {
    let codes: String = sentence
        .encode_utf16()
        .map(|unit| format!("{unit:04X}"))
        .collect();
    let content = format!("BT /F 20 Tf 20 50 Td <{codes}> Tj ET");
    let meanings: String = sentence
        .encode_utf16()
        .map(|unit| format!("<{unit:04X}> <{unit:04X}>\n"))
        .collect();
    let map = format!(
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /Words def /CMapType 2 def\n\
         1 begincodespacerange <0000> <FFFF> endcodespacerange\n{} beginbfchar\n{meanings}endbfchar\nendcmap end end",
        sentence.encode_utf16().count()
    );
    let stream = |text: String| format!("<</Length {}>>\nstream\n{text}\nendstream", text.len());
    let objects = [
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        "<</Type/Page/Parent 2 0 R/Contents 4 0 R/MediaBox[0 0 600 100]/Resources<</Font<</F 5 0 R>>>>>>".to_owned(),
        stream(content),
        "<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/Identity-H/DescendantFonts[6 0 R]/ToUnicode 7 0 R>>".to_owned(),
        "<</Type/Font/Subtype/CIDFontType0/BaseFont/STSong-Light/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 2>>\
         /FontDescriptor<</Type/FontDescriptor/FontName/STSong-Light/Flags 6>>>>"
            .to_owned(),
        stream(map),
    ];
    let (mut file, mut places) = ("%PDF-1.7\n".to_owned(), String::new());
    for (number, object) in objects.iter().enumerate() {
        places += &format!("{:010} 00000 n \n", file.len());
        file += &format!("{} 0 obj\n{object}\nendobj\n", number + 1);
    }
    let (start, count) = (file.len(), objects.len() + 1);
    file += &format!(
        "xref\n0 {count}\n0000000000 65535 f \n{places}trailer\n<</Size {count}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n"
    );
    file.into_bytes()
}
