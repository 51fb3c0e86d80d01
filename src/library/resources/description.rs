//! What a teacher says about a resource: the words of the curriculum, checked where they come in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result, Text};
use crate::extract::line;
use crate::library::ResourceKind;

/// Keywords of one resource, and the length of one.
const MOST_KEYWORDS: usize = 20;
const KEYWORD_CHARS: usize = 30;
/// A description is a paragraph or two.
const DESCRIPTION_CHARS: usize = 4000;

/// Fields to set; absent ones stay as they are, empty texts clear.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Description {
    pub title: Option<String>,
    pub description: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<ResourceKind>,
    /// 学段
    pub stage: Option<String>,
    /// 年级
    pub grade: Option<String>,
    /// 学科
    pub subject: Option<String>,
    /// 教材版本
    pub edition: Option<String>,
    /// 册次
    pub volume: Option<String>,
    /// 单元或章节
    pub unit: Option<String>,
    /// 课时
    pub period: Option<String>,
    pub keywords: Option<Vec<String>>,
    /// 许可
    pub licence: Option<String>,
    /// 来源
    pub source: Option<String>,
}

impl Description {
    /// Trims and checks what was typed.
    pub fn check(self) -> Result<Self> {
        let short =
            |field, text: Option<String>| text.map(|text| line(field, &text, 0..=60)).transpose();
        Ok(Self {
            title: self
                .title
                .map(|text| line("title", &text, 1..=200))
                .transpose()?,
            description: self
                .description
                .map(|text| paragraph("description", &text, DESCRIPTION_CHARS))
                .transpose()?,
            kind: self.kind,
            stage: short("stage", self.stage)?,
            grade: short("grade", self.grade)?,
            subject: short("subject", self.subject)?,
            edition: short("edition", self.edition)?,
            volume: short("volume", self.volume)?,
            unit: self
                .unit
                .map(|text| line("unit", &text, 0..=200))
                .transpose()?,
            period: short("period", self.period)?,
            keywords: self.keywords.map(check_keywords).transpose()?,
            licence: self
                .licence
                .map(|text| line("licence", &text, 0..=100))
                .transpose()?,
            source: self
                .source
                .map(|text| line("source", &text, 0..=300))
                .transpose()?,
        })
    }

    /// From an upload's metadata; keywords are parted by commas, Chinese or Western.
    pub fn of_metadata(metadata: &BTreeMap<String, String>) -> Result<Self> {
        let text = |key: &str| {
            metadata
                .get(key)
                .filter(|text| !text.trim().is_empty())
                .cloned()
        };
        let kind = text("type").map(|word| word.parse()).transpose();
        let keywords =
            text("keywords").map(|all| all.split([',', '，', '、']).map(str::to_owned).collect());
        let said = Self {
            title: text("title"),
            description: text("description"),
            kind: kind.map_err(|_| {
                Error::field(
                    "type",
                    "没有这种资源类型。",
                    "There is no such type of resource.",
                )
            })?,
            stage: text("stage"),
            grade: text("grade"),
            subject: text("subject"),
            edition: text("edition"),
            volume: text("volume"),
            unit: text("unit"),
            period: text("period"),
            keywords,
            licence: text("licence"),
            source: text("source"),
        };
        said.check()
    }

    /// The names of the fields that are set.
    pub fn fields(&self) -> Vec<&'static str> {
        let set = [
            ("title", self.title.is_some()),
            ("description", self.description.is_some()),
            ("type", self.kind.is_some()),
            ("stage", self.stage.is_some()),
            ("grade", self.grade.is_some()),
            ("subject", self.subject.is_some()),
            ("edition", self.edition.is_some()),
            ("volume", self.volume.is_some()),
            ("unit", self.unit.is_some()),
            ("period", self.period.is_some()),
            ("keywords", self.keywords.is_some()),
            ("licence", self.licence.is_some()),
            ("source", self.source.is_some()),
        ];
        set.into_iter()
            .filter(|(_, is_set)| *is_set)
            .map(|(name, _)| name)
            .collect()
    }
}

/// Text of several lines: trimmed, bounded, without control characters other than line ends and tabs.
pub fn paragraph(field: &'static str, text: &str, most: usize) -> Result<String> {
    let text = text.trim().replace("\r\n", "\n");
    if text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
    {
        return Err(Error::field(
            field,
            "这一项含有无法显示的控制字符。",
            "This field has control characters in it.",
        ));
    }
    if text.chars().count() > most {
        let text = Text::with(
            format!("这一项最多 {most} 个字。"),
            format!("This field takes at most {most} characters."),
        );
        return Err(Error::Field {
            field: field.into(),
            text,
        });
    }
    Ok(text)
}

fn check_keywords(all: Vec<String>) -> Result<Vec<String>> {
    let mut checked: Vec<String> = Vec::new();
    for keyword in all {
        let keyword = line("keywords", &keyword, 0..=KEYWORD_CHARS)?;
        if !keyword.is_empty() && !checked.contains(&keyword) {
            checked.push(keyword);
        }
    }
    if checked.len() > MOST_KEYWORDS {
        return Err(Error::field(
            "keywords",
            "关键词最多 20 个。",
            "At most 20 keywords.",
        ));
    }
    Ok(checked)
}

/// A file's name as it is kept and offered again: the last part of a path, without what could deceive a reader or a file system.
pub fn file_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let deceives = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let forbidden = |c: char| matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|');
    let name: String = last
        .chars()
        .filter(|c| !deceives(*c))
        .map(|c| if forbidden(c) { '_' } else { c })
        .collect();
    let name = shortened(name.trim().trim_matches('.').trim());
    if name.is_empty() {
        "未命名".into()
    } else {
        name
    }
}

/// At most 200 bytes, which every file system takes, with the extension kept.
fn shortened(name: &str) -> String {
    const MOST: usize = 200;
    if name.len() <= MOST {
        return name.to_owned();
    }
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if extension.len() <= 10 => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    let mut end = MOST - extension.len();
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", &stem[..end])
}

/// A file's name without its extension: the first guess of a title.
pub fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 5 => stem,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_chinese_name_and_nothing_that_deceives() {
        assert_eq!(
            file_name("三年级语文/第五单元/富饶的西沙群岛.pptx"),
            "富饶的西沙群岛.pptx"
        );
        assert_eq!(file_name(r"C:\课件\..\a.ppt"), "a.ppt");
        assert_eq!(file_name("../../etc/passwd"), "passwd");
        assert_eq!(file_name("课件\u{202e}xtp.exe"), "课件xtp.exe");
        assert_eq!(file_name("a:b?.doc"), "a_b_.doc");
        assert_eq!(file_name(" .. "), "未命名");
        let long = file_name(&format!("{}.pptx", "课".repeat(200)));
        assert!(long.len() <= 200 && long.ends_with("课.pptx"), "{long}");
    }

    #[test]
    fn keywords_are_parted_trimmed_and_once_each() {
        let metadata =
            BTreeMap::from([("keywords".to_owned(), "西沙群岛， 写景、写景,".to_owned())]);
        let said = Description::of_metadata(&metadata).expect("fits");
        assert_eq!(
            said.keywords.as_deref(),
            Some(&["西沙群岛".to_owned(), "写景".to_owned()][..])
        );
        assert_eq!(said.fields(), ["keywords"]);
    }

    #[test]
    fn an_unknown_type_is_refused() {
        let metadata = BTreeMap::from([("type".to_owned(), "virus".to_owned())]);
        assert!(Description::of_metadata(&metadata).is_err());
    }
}
