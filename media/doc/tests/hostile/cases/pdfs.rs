//! PDF files: cycles, bombs, depth, sizes and damage.

use super::{BROKEN, Case, DAMAGED, DONE, ENCRYPTED};
use crate::make::{self, stream};

const SLOW: &[&str] = &["done", "broken", "too_large", "too_slow"];
const FONT: &str = "/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>";
const HELLO: &str = "BT /F 12 Tf 20 50 Td (Hello) Tj ET";

pub fn all() -> Vec<Case> {
    [cycles(), bombs(), sizes(), damage()]
        .into_iter()
        .flatten()
        .collect()
}

fn object(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// A valid page with further objects and a catalog entry that refers to them.
fn with_catalog(catalog: &str, more: &[Vec<u8>]) -> Vec<u8> {
    let mut objects = make::page(HELLO, FONT, more);
    objects[0] = object(&format!("<</Type/Catalog/Pages 2 0 R{catalog}>>"));
    make::pdf(&objects, "")
}

/// A page whose resource dictionary is object 5.
fn with_resources(content: &str, more: &[Vec<u8>]) -> Vec<u8> {
    make::pdf(&make::page(content, "/Resources 5 0 R", more), "")
}

/// A PDF of a catalog, a page tree node and one page.
fn page_tree(pages: &str, page: &str) -> Vec<u8> {
    make::pdf(
        &[
            object("<</Type/Catalog/Pages 2 0 R>>"),
            object(pages),
            object(page),
        ],
        "",
    )
}

fn cycles() -> Vec<Case> {
    let form = |name: &str| {
        stream(
            &format!(
                "/Type/XObject/Subtype/Form/BBox[0 0 200 100]/Resources<</XObject<</X {name} 0 R>>>>"
            ),
            b"/X Do /X Do",
        )
    };
    let glyph = stream("", b"100 0 d0 BT /T 10 Tf (a) Tj ET");
    let type3 = object(
        "<</Type/Font/Subtype/Type3/FontBBox[0 0 10 10]/FontMatrix[.1 0 0 .1 0 0]/CharProcs<</a 7 0 R>>/Encoding<</Differences[97/a]>>/FirstChar 97/LastChar 97/Widths[10]/Resources 5 0 R>>",
    );
    let pattern = stream(
        "/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 10 10]/XStep 10/YStep 10/Resources 5 0 R",
        b"/Pattern cs /P scn 0 0 10 10 re f",
    );
    let mask = object("<</Type/ExtGState/SMask<</S/Luminosity/G 7 0 R>>>>");
    let group = stream(
        "/Type/XObject/Subtype/Form/BBox[0 0 200 100]/Group<</S/Transparency>>/Resources 5 0 R",
        b"/G gs 0 0 100 100 re f",
    );
    let names = object("<</Kids[5 0 R 5 0 R]/Names[(x) 5 0 R]>>");
    let outline = [
        object("<</First 6 0 R/Last 6 0 R>>"),
        object("<</Title(A)/Next 7 0 R/First 5 0 R/Dest[3 0 R/Fit]>>"),
        object("<</Title(B)/Next 6 0 R/First 6 0 R>>"),
    ];
    let plain = make::pdf(&make::page(HELLO, FONT, &[]), "");
    let table = memchr::memmem::find(&plain, b"xref\n").expect("there");
    let previous = make::pdf(&make::page(HELLO, FONT, &[]), &format!("/Prev {table}"));
    vec![
        Case::new(
            "a page tree node that is its own child",
            page_tree("<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9>>", "null"),
            BROKEN,
        ),
        Case::new(
            "two page tree nodes as children of each other",
            page_tree(
                "<</Type/Pages/Kids[3 0 R]/Count 1>>",
                "<</Type/Pages/Kids[2 0 R 3 0 R]/Count 1>>",
            ),
            BROKEN,
        ),
        Case::new(
            "a page that is its own parent",
            page_tree(
                "<</Type/Pages/Kids[3 0 R]/Count 1/Parent 3 0 R>>",
                "<</Type/Page/Parent 3 0 R>>",
            ),
            DAMAGED,
        ),
        Case::new(
            "an object that refers to itself",
            page_tree("2 0 R", "3 0 R"),
            BROKEN,
        ),
        Case::new("a cyclic chain of xref tables", previous, DONE)
            .checked(|output| output.contains_text("Hello")),
        Case::new(
            "a cyclic outline",
            with_catalog("/Outlines 5 0 R", &outline),
            DONE,
        )
        .checked(|output| {
            let outline = &output.result["outline"];
            output.expect(
                outline
                    .as_array()
                    .is_some_and(|items| (2..=3).contains(&items.len())),
                outline.to_string(),
            )
        }),
        Case::new(
            "a cyclic name tree",
            with_catalog(
                "/Names<</Dests 5 0 R>>/Outlines 6 0 R",
                &[
                    names,
                    object("<</First 7 0 R>>"),
                    object("<</Title(A)/Dest(zzz)>>"),
                ],
            ),
            DONE,
        ),
        Case::new(
            "a form that draws itself",
            with_resources("/X Do", &[object("<</XObject<</X 6 0 R>>>>"), form("6")]),
            DONE,
        ),
        Case::new(
            "two forms that draw each other",
            with_resources(
                "/X Do",
                &[object("<</XObject<</X 6 0 R>>>>"), form("7"), form("6")],
            ),
            DONE,
        ),
        Case::new(
            "a Type 3 glyph that shows itself",
            with_resources(
                "BT /T 10 Tf 9 9 Td (aaa) Tj ET",
                &[object("<</Font<</T 6 0 R>>>>"), type3, glyph],
            ),
            DAMAGED,
        ),
        Case::new(
            "a pattern that fills with itself",
            with_resources(
                "/Pattern cs /P scn 0 0 200 100 re f",
                &[object("<</Pattern<</P 6 0 R>>>>"), pattern],
            ),
            DONE,
        ),
        Case::new(
            "a soft mask that uses itself",
            with_resources(
                "/G gs 0 0 100 100 re f",
                &[object("<</ExtGState<</G 6 0 R>>>>"), mask, group],
            ),
            DONE,
        ),
        Case::new(
            "a stream whose length is the stream",
            make::pdf(
                &[
                    make::page("", "", &[])[..3].to_vec(),
                    vec![object("<</Length 4 0 R>>\nstream\nx\nendstream")],
                ]
                .concat(),
                "",
            ),
            DAMAGED,
        ),
    ]
}

fn bombs() -> Vec<Case> {
    let packed = |dictionary: &str, bytes: u64| {
        stream(
            &format!("/Filter/FlateDecode{dictionary}"),
            &make::zlib_zeros(bytes),
        )
    };
    let content = |bytes| {
        let mut objects = make::page("", "", &[]);
        objects[3] = packed("", bytes);
        make::pdf(&objects, "")
    };
    let image = |dictionary: &str, data: &[u8]| {
        let picture = stream(
            &format!(
                "/Type/XObject/Subtype/Image/ColorSpace/DeviceRGB/BitsPerComponent 8{dictionary}"
            ),
            data,
        );
        with_resources(
            "200 0 0 100 0 0 cm /X Do",
            &[object("<</XObject<</X 6 0 R>>>>"), picture],
        )
    };
    let flate = |dictionary: &str, bytes| {
        image(
            &format!("/Filter/FlateDecode{dictionary}"),
            &make::zlib_zeros(bytes),
        )
    };
    // Each form draws the next one ten times: 10^9 drawings of the last.
    let mut fan: Vec<Vec<u8>> = vec![object("<</XObject<</X 6 0 R>>>>")];
    for next in 7..16 {
        fan.push(stream(
            &format!("/Type/XObject/Subtype/Form/BBox[0 0 200 100]/Resources<</XObject<</X {next} 0 R>>>>"),
            "/X Do ".repeat(10).as_bytes(),
        ));
    }
    fan.push(stream(
        "/Type/XObject/Subtype/Form/BBox[0 0 200 100]",
        b"0 0 100 100 re f",
    ));
    let chain = "/Filter[/FlateDecode/FlateDecode/FlateDecode/FlateDecode]";
    let kids = "3 0 R ".repeat(100_000);
    vec![
        Case::new("a content stream of 1 GB", content(1 << 30), SLOW),
        Case::new(
            "an image of 10^10 pixels",
            image("/Width 100000/Height 100000", b"x"),
            SLOW,
        ),
        Case::new(
            "an image of 2^31 by 2^31",
            image("/Width 2147483647/Height 2147483647", b"x"),
            SLOW,
        ),
        Case::new(
            "an image of negative size",
            image("/Width -1/Height -1", b"x"),
            DONE,
        ),
        Case::new(
            "a compressed image of 1 GB",
            flate("/Width 20000/Height 18000", 1 << 30),
            SLOW,
        ),
        Case::new(
            "a predictor with 2^30 columns",
            flate(
                "/Width 10/Height 10/DecodeParms<</Predictor 15/Columns 1073741823/Colors 255/BitsPerComponent 16>>",
                1 << 20,
            ),
            SLOW,
        ),
        Case::new(
            "an image compressed four times",
            image(
                &format!("{chain}/Width 9/Height 9"),
                &make::zlib_zeros(1 << 20),
            ),
            DONE,
        ),
        Case::new(
            "forms that draw ten forms that draw ten",
            with_resources("/X Do", &fan),
            SLOW,
        ),
        Case::new(
            "the same page 100 000 times",
            page_tree(
                &format!("<</Type/Pages/Kids[{kids}]/Count 100000>>"),
                "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
            ),
            SLOW,
        ),
        Case::new(
            "noise as JBIG2",
            image("/Filter/JBIG2Decode/Width 99/Height 99", &[0xa5; 999]),
            DONE,
        ),
        Case::new(
            "noise as JPEG 2000",
            image("/Filter/JPXDecode/Width 99/Height 99", &[0xff; 999]),
            DONE,
        ),
        Case::new(
            "noise as CCITT fax",
            image(
                "/Filter/CCITTFaxDecode/DecodeParms<</K -1/Columns 2000000000/Rows 2000000000>>/Width 99/Height 99",
                &[0x55; 999],
            ),
            SLOW,
        ),
        Case::new(
            "noise as LZW",
            image(
                "/Filter/LZWDecode/Width 99/Height 99",
                &[0x80, 0xff, 0xff, 0x01],
            ),
            DONE,
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let page = |size: &str| {
        let mut objects = make::page(HELLO, "", &[]);
        objects[2] = format!("<</Type/Page/Parent 2 0 R/Contents 4 0 R/MediaBox[{size}]{FONT}>>")
            .into_bytes();
        make::pdf(&objects, "")
    };
    let drawn = |content: &str| make::pdf(&make::page(content, FONT, &[]), "");
    vec![
        Case::new(
            "a page of 4 billion points",
            page("0 0 4000000000 4000000000"),
            DONE,
        ),
        Case::new("a page of zero size", page("0 0 0 0"), DONE),
        Case::new("a page with swapped corners", page("200 100 0 0"), DONE),
        Case::new("a page of 1 by 1 000 000", page("0 0 1 1000000"), DONE),
        Case::new(
            "a page box without numbers",
            page("/a (b) null nan"),
            DAMAGED,
        ),
        Case::new(
            "a page rotated by 37 degrees",
            make::pdf(&make::page(HELLO, &format!("/Rotate 37{FONT}"), &[]), ""),
            DONE,
        ),
        Case::new(
            "text of 10^30 points",
            drawn("BT /F 1e30 Tf 20 50 Td (Hello) Tj ET"),
            DONE,
        ),
        Case::new(
            "a zero matrix",
            drawn("0 0 0 0 0 0 cm BT /F 12 Tf (Hello) Tj ET 0 0 9 9 re f"),
            DONE,
        ),
        Case::new(
            "dashes of almost zero length",
            drawn("[0.0001 0.0001] 0 d 0 0 m 200 100 l S"),
            SLOW,
        ),
        Case::new(
            "a line of width 10^30",
            drawn("1e30 w 0 0 m 1e30 1e30 l S [1e-30] 0 d 0 0 m 1e30 0 l S"),
            SLOW,
        ),
        Case::new("300 000 times q", drawn(&"q ".repeat(300_000)), SLOW),
        Case::new("300 000 times Q", drawn(&"Q ".repeat(300_000)), DONE),
        Case::new(
            "100 000 clips",
            drawn(&"0 0 9 9 re W n ".repeat(100_000)),
            SLOW,
        ),
        Case::new(
            "a text of 5 MB",
            drawn(&format!("BT /F 1 Tf ({}) Tj ET", "a".repeat(5 << 20))),
            SLOW,
        ),
    ]
}

fn damage() -> Vec<Case> {
    let valid = make::hello_pdf();
    let replaced = |from: &str, to: &str| {
        let at = memchr::memmem::find(&valid, from.as_bytes()).expect("there");
        [&valid[..at], to.as_bytes(), &valid[at + from.len()..]].concat()
    };
    let encrypted = "/ID[(0123456789abcdef)(0123456789abcdef)]/Encrypt<</Filter/Standard/V 2/R 3/Length 128/P -4/O(0123456789abcdef0123456789abcdef)/U(fedcba9876543210fedcba9876543210)>>";
    let strange = "/ID[(a)(a)]/Encrypt<</Filter/Adobe.PubSec/V 9/R 9>>";
    let action = with_catalog(
        "/OpenAction<</S/Launch/F(calc.exe)>>/AA<</WC<</S/JavaScript/JS(app.alert(1))>>>>/Names<</JavaScript<</Names[(x)<</S/JavaScript/JS(while(1);)>>]>>>>",
        &[],
    );
    let embedded = with_catalog(
        "/Names<</EmbeddedFiles<</Names[(a.exe)<</EF<</F 5 0 R>>>>]>>>>",
        &[stream("", b"MZ")],
    );
    vec![
        Case::new("an encrypted PDF", make::pdf(&make::page(HELLO, FONT, &[]), encrypted), ENCRYPTED),
        Case::new("a PDF with an unknown security handler", make::pdf(&make::page(HELLO, FONT, &[]), strange), &["encrypted", "broken"]),
        Case::new("only a header", b"%PDF-1.7\n".to_vec(), BROKEN),
        Case::new("a header and NULs", [&b"%PDF-1.7\n"[..], &[0; 9999]].concat(), BROKEN),
        Case::new("no pages", page_tree("<</Type/Pages/Kids[]/Count 0>>", "null"), BROKEN),
        Case::new("a negative page count", replaced("/Count 1", "/Count -1"), DAMAGED),
        Case::new("an xref offset beyond the end", replaced("startxref\n", "startxref\n99999999999999999999"), DONE).checked(|output| output.contains_text("Hello, class")),
        Case::new("wrong offsets in the xref table", replaced("0000000009 00000 n", "9999999999 99999 n"), DAMAGED),
        Case::new("objects without endobj", replaced("endobj", "xxxxxx"), DAMAGED),
        Case::new("an unterminated string", replaced("class)", "class "), DONE),
        Case::new("a stream with a claimed length of 10^16 bytes", replaced("/Length 4", "/Length 1152921504606846"), DAMAGED),
        Case::new("100 000 nested arrays", with_catalog(&format!("/X {}{}", "[".repeat(100_000), "]".repeat(100_000)), &[]), DAMAGED),
        Case::new("100 000 nested dictionaries", with_catalog(&format!("/X {}{}", "<</A ".repeat(100_000), ">>".repeat(100_000)), &[]), DAMAGED),
        Case::new("100 000 array starts in a content stream", make::pdf(&make::page(&"[".repeat(100_000), FONT, &[]), ""), DONE),
        Case::new("a PDF with launch and JavaScript actions", action, DONE).checked(|output| output.contains_text("Hello")),
        Case::new("a PDF with an embedded program", embedded, DONE).checked(|output| output.contains_text("Hello")),
        Case::new("a title in GBK", make::pdf(&make::page(HELLO, FONT, &[]), "/Info<</Title<BFCEBCFE>>>"), DONE)
            .checked(|output| output.expect(output.result["title"] == "课件", output.result["title"].to_string())),
        Case::new("a Chinese font that is not embedded", with_resources("BT /F 40 Tf 20 30 Td <52FE80A1> Tj ET", &[
            object("<</Font<</F<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/UniGB-UCS2-H/DescendantFonts[<</Type/Font/Subtype/CIDFontType0/BaseFont/STSong-Light/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 2>>/FontDescriptor<</Type/FontDescriptor/FontName/STSong-Light/Flags 6>>>>]>>>>>>"),
        ]), DONE).checked(|output| {
            let ink = output.first_page().pixels().filter(|pixel| pixel[0] < 100).count();
            output.expect(ink > 1000, format!("{ink} dark pixels"))
        }),
    ]
}
