//! File names: sanitized on upload, with and without extension.

/// Sanitizes an uploaded file's name: last path component, no control or bidirectional characters,
/// none that file systems reject.
pub fn sanitize_file_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let forbidden = |c: char| matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|');
    let name: String = last
        .chars()
        .filter(|c| !invisible(*c))
        .map(|c| if forbidden(c) { '_' } else { c })
        .collect();
    let name = truncate_file_name(name.trim().trim_matches('.').trim());
    if name.is_empty() {
        "未命名".into()
    } else {
        name
    }
}

/// Truncates to 200 bytes, which every file system accepts, and keeps the extension.
fn truncate_file_name(name: &str) -> String {
    const MAX_BYTES: usize = 200;
    if name.len() <= MAX_BYTES {
        return name.to_owned();
    }
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if extension.len() <= 10 => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    let mut end = MAX_BYTES - extension.len();
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", &stem[..end])
}

/// Returns the file name without its extension.
pub fn file_stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 5 => stem,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_chinese_name_without_deceptive_characters() {
        assert_eq!(
            sanitize_file_name("三年级语文/第五单元/富饶的西沙群岛.pptx"),
            "富饶的西沙群岛.pptx"
        );
        assert_eq!(sanitize_file_name(r"C:\课件\..\a.ppt"), "a.ppt");
        assert_eq!(sanitize_file_name("../../etc/passwd"), "passwd");
        assert_eq!(sanitize_file_name("课件\u{202e}xtp.exe"), "课件xtp.exe");
        assert_eq!(sanitize_file_name("a:b?.doc"), "a_b_.doc");
        assert_eq!(sanitize_file_name(" .. "), "未命名");
        let long = sanitize_file_name(&format!("{}.pptx", "课".repeat(200)));
        assert!(long.len() <= 200 && long.ends_with("课.pptx"), "{long}");
    }
}
