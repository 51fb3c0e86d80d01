//! Text files: encodings, depth, length, formulas and scripts.

use encoding_rs::{BIG5, GB18030, GBK};

use super::{Case, DONE, TOO_LARGE, UNSUPPORTED};

const POEM: &str = "静夜思\n床前明月光，疑是地上霜。\n举头望明月，低头思故乡。\n";
const RARE: &str = "生僻字：㐂𠮷，数学课。";

pub fn all() -> Vec<Case> {
    [encodings(), shapes()].into_iter().flatten().collect()
}

fn encodings() -> Vec<Case> {
    let utf_16 =
        |to_bytes: fn(u16) -> [u8; 2]| POEM.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
    let page = format!(
        "<html><head><meta charset=gbk><title>课件</title></head><body><p>{POEM}</p></body></html>"
    );
    let moon = |name: &str, file: Vec<u8>| {
        Case::new(name, file, DONE).checked(|output| output.contains_text("举头望明月"))
    };
    vec![
        moon("a poem in GBK", GBK.encode(POEM).0.into_owned()),
        moon("a poem in UTF-16", utf_16(u16::to_le_bytes)),
        moon("a poem in big-endian UTF-16", utf_16(u16::to_be_bytes)),
        moon(
            "a poem with a byte order mark",
            ["\u{feff}".as_bytes(), POEM.as_bytes()].concat(),
        ),
        moon("an HTML file in GBK", GBK.encode(&page).0.into_owned()),
        moon(
            "an HTML file with a wrong charset",
            page.clone().into_bytes(),
        ),
        Case::new(
            "rare characters in GB18030",
            GB18030.encode(&format!("{POEM}{RARE}")).0.into_owned(),
            DONE,
        )
        .checked(|output| output.contains_text("𠮷")),
        Case::new(
            "a poem in Big5",
            BIG5.encode("床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。")
                .0
                .into_owned(),
            DONE,
        ),
        Case::new(
            "a byte order mark and half a code unit",
            vec![0xff, 0xfe, 0x41],
            DONE,
        ),
        Case::new(
            "truncated UTF-8",
            POEM.as_bytes()[..POEM.len() - 2].to_vec(),
            DONE,
        ),
        Case::new(
            "a UTF-8 sequence of five bytes",
            [POEM.as_bytes(), &[0xf8, 0x88, 0x80, 0x80, 0x80]].concat(),
            &["done", "unsupported"],
        ),
        Case::new(
            "a poem with a NUL",
            [POEM.as_bytes(), &[0], POEM.as_bytes()].concat(),
            UNSUPPORTED,
        ),
        Case::new(
            "unpaired surrogates",
            [0xff, 0xfe]
                .into_iter()
                .chain([0xd800_u16; 99].into_iter().flat_map(u16::to_le_bytes))
                .collect(),
            &["done", "unsupported"],
        ),
        Case::new(
            "a right-to-left override and control characters",
            "\u{202e}txt.exe \u{feff}\u{fffe}课\u{7}".into(),
            UNSUPPORTED,
        ),
    ]
}

fn shapes() -> Vec<Case> {
    let line = "一".repeat(5 << 20 >> 2);
    let attack = "姓名,分数\n=cmd|' /C calc'!A0,1\n@SUM(1+1)*cmd|' /C calc'!A0,2\n";
    let divs = format!(
        "<!DOCTYPE html>{}deep{}",
        "<div>".repeat(300_000),
        "</div>".repeat(300_000)
    );
    let scripted = "<html><body onload=alert(1)><p>shown</p><script>document.write('hidden')</script><style>hidden</style><iframe src=file:///etc/passwd></iframe></body></html>";
    let quotes = format!("# 题\n\n- a\n\n{}x\n", "> ".repeat(20_000));
    let brackets = format!("# 题\n\n- a\n\n{}\n", "[".repeat(50_000));
    let stars = format!("# 题\n\n- a\n\n{}\n", "*a_ ".repeat(50_000));
    let links = format!("# 题\n\n- a\n\n{}\n", "[a](".repeat(50_000));
    let lists: String = (0..3000)
        .map(|depth| format!("{}- a\n", "  ".repeat(depth)))
        .collect();
    vec![
        Case::new("one line of 4 MB", line.into_bytes(), DONE),
        Case::new(
            "text above TEXT_BYTES",
            POEM.repeat(250_000).into_bytes(),
            DONE,
        )
        .checked(|output| output.has_note("text_cut")),
        Case::new(
            "text above FILE_BYTES",
            vec![b'a'; (513 << 20) as usize],
            TOO_LARGE,
        ),
        Case::new("formulas in a CSV", attack.into(), DONE)
            .checked(|output| [output.is("txt"), output.contains_text("=cmd|")].concat()),
        Case::new("300 000 nested elements", divs.into_bytes(), DONE)
            .checked(|output| output.contains_text("deep")),
        Case::new("an HTML file with scripts", scripted.into(), DONE).checked(|output| {
            [
                output.contains_text("shown"),
                output.expect(
                    !output.text.contains("hidden") && !output.text.contains("root:"),
                    output.text.clone(),
                ),
            ]
            .concat()
        }),
        Case::new("an unclosed script", "<html><script>".into(), DONE),
        Case::new(
            "an unclosed tag",
            format!("<html><p {}", "a=b ".repeat(200_000)).into_bytes(),
            DONE,
        ),
        Case::new(
            "an HTML file of 250 000 character references",
            format!("<html>{}", "&lt;".repeat(250_000)).into_bytes(),
            DONE,
        ),
        Case::new("20 000 nested block quotes", quotes.into_bytes(), DONE),
        Case::new("50 000 brackets", brackets.into_bytes(), DONE),
        Case::new("50 000 emphasis marks", stars.into_bytes(), DONE),
        Case::new("50 000 unclosed links", links.into_bytes(), DONE),
        Case::new(
            "3000 nested lists",
            format!("# 题\n\n{lists}").into_bytes(),
            DONE,
        ),
        Case::new(
            "an SVG with a script",
            "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>".into(),
            DONE,
        )
        .checked(|output| output.is("txt")),
        Case::new(
            "3000 headings",
            "# 题\n\n- a\n\n".repeat(3000).into_bytes(),
            DONE,
        )
        .checked(|output| output.has_note("outline_cut")),
    ]
}
