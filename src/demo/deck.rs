//! Five slides for the running demo lesson, as an OpenDocument presentation (ODF 1.2).

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::{Error, Result};

/// Background colour, title, lines of text.
type Slide = (&'static str, &'static str, &'static [&'static str]);

const SLIDES: [Slide; 5] = [
    (
        "#1d5c4e",
        "富饶的西沙群岛",
        &["三年级语文上册　第六单元", "第一课时"],
    ),
    (
        "#e8f4ee",
        "西沙群岛在哪里？",
        &[
            "我国海南省三沙市的一群岛屿",
            "海水五光十色：深蓝、淡青、浅绿、杏黄",
            "想一想：海水为什么有这么多颜色？",
        ],
    ),
    (
        "#eef4fb",
        "海底有什么？",
        &[
            "珊瑚：像绽开的花朵，像分枝的鹿角",
            "海参、大龙虾、成群结队的鱼",
            "说一说：你最喜欢哪一种？为什么？",
        ],
    ),
    (
        "#fdf5e4",
        "海滩和海岛",
        &[
            "海滩上有拣不完的美丽的贝壳",
            "树林里是海鸟的天下",
            "读一读：用自己的话介绍一处风光",
        ],
    ),
    (
        "#f3eefa",
        "小结与作业",
        &[
            "课文围绕“风景优美、物产丰富”来写",
            "作业：围绕一个意思，写一写你的家乡",
        ],
    ),
];

const MIMETYPE: &str = "application/vnd.oasis.opendocument.presentation";

/// Returns the bytes of the file.
pub fn odp() -> Result<Vec<u8>> {
    // ODF 1.2 part 3 §3.3: the entry `mimetype` comes first and uncompressed, for detection by magic.
    let entries = [
        ("mimetype", MIMETYPE.to_owned()),
        ("META-INF/manifest.xml", manifest()),
        ("content.xml", content()),
    ];
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, text) in entries {
        zip.start_file(name, stored).map_err(Error::internal)?;
        zip.write_all(text.as_bytes()).map_err(Error::internal)?;
    }
    Ok(zip.finish().map_err(Error::internal)?.into_inner())
}

fn manifest() -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" manifest:version="1.2">
<manifest:file-entry manifest:full-path="/" manifest:media-type="{MIMETYPE}"/>
<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>
</manifest:manifest>"#
    )
}

fn content() -> String {
    let pages: String = SLIDES
        .iter()
        .enumerate()
        .map(|(n, slide)| page(n, slide))
        .collect();
    let grounds: String = SLIDES
        .iter()
        .enumerate()
        .map(|(n, (ground, ..))| background_style(n, ground))
        .collect();
    format!(
        r##"<?xml version="1.0" encoding="UTF-8"?>
<office:document-content office:version="1.2" xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
 xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0"
 xmlns:fo="urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0">
<office:automatic-styles>{grounds}
<style:style style:name="box" style:family="graphic"><style:graphic-properties draw:fill="none" draw:stroke="none"/></style:style>
{}{}{}</office:automatic-styles>
<office:body><office:presentation>{pages}</office:presentation></office:body></office:document-content>"##,
        text_style("light", 54, "#ffffff"),
        text_style("title", 44, "#14604a"),
        text_style("line", 30, "#1c2b26"),
    )
}

fn background_style(n: usize, colour: &str) -> String {
    format!(
        r#"<style:style style:name="ground{n}" style:family="drawing-page"><style:drawing-page-properties draw:fill="solid" draw:fill-color="{colour}"/></style:style>"#
    )
}

fn text_style(name: &str, points: u32, colour: &str) -> String {
    format!(
        r#"<style:style style:name="{name}" style:family="paragraph"><style:paragraph-properties fo:margin-bottom="0.4cm"/><style:text-properties fo:font-size="{points}pt" style:font-size-asian="{points}pt" fo:color="{colour}"/></style:style>"#
    )
}

fn page(n: usize, (_, title, lines): &Slide) -> String {
    let (title_style, line_style) = if n == 0 {
        ("light", "light")
    } else {
        ("title", "line")
    };
    let lines: String = lines
        .iter()
        .map(|line| paragraph(line_style, line))
        .collect();
    format!(
        r#"<draw:page draw:name="page{n}" draw:style-name="ground{n}">{}{}</draw:page>"#,
        frame(2.0, 3.0, &paragraph(title_style, title)),
        frame(6.0, 8.0, &lines),
    )
}

fn paragraph(style: &str, text: &str) -> String {
    format!(r#"<text:p text:style-name="{style}">{text}</text:p>"#)
}

/// A text box as wide as the page; `y` and `height` in centimetres.
fn frame(y: f32, height: f32, content: &str) -> String {
    format!(
        r#"<draw:frame draw:style-name="box" svg:x="2cm" svg:y="{y}cm" svg:width="24cm" svg:height="{height}cm"><draw:text-box>{content}</draw:text-box></draw:frame>"#
    )
}
