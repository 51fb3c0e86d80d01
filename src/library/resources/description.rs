//! Description of a resource in curriculum terms, validated on input.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result, Text};
use crate::extract::line;
use crate::library::ResourceKind;

/// Keywords of one resource, and characters of one keyword.
const MAX_KEYWORDS: usize = 20;
const KEYWORD_CHARS: usize = 30;
/// A description is a paragraph or two.
const DESCRIPTION_CHARS: usize = 4000;

/// Fields to set. Absent fields stay unchanged; empty text clears a field.
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
    /// Trims and validates all fields.
    pub fn validate(self) -> Result<Self> {
        let short =
            |field, text: Option<String>| text.map(|text| line(field, &text, 0..=60)).transpose();
        Ok(Self {
            title: self
                .title
                .map(|text| line("title", &text, 1..=200))
                .transpose()?,
            description: self
                .description
                .map(|text| multiline("description", &text, DESCRIPTION_CHARS))
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
            keywords: self.keywords.map(validate_keywords).transpose()?,
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

    /// Parses a tus upload's metadata; keywords are separated by Chinese or Western commas.
    pub fn parse_metadata(metadata: &BTreeMap<String, String>) -> Result<Self> {
        let text = |key: &str| {
            metadata
                .get(key)
                .filter(|text| !text.trim().is_empty())
                .cloned()
        };
        let kind = text("type").map(|kind| kind.parse()).transpose();
        let keywords =
            text("keywords").map(|all| all.split([',', '，', '、']).map(str::to_owned).collect());
        let description = Self {
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
        description.validate()
    }

    /// Returns the names of the fields that are present.
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

/// Validates multi-line text: trimmed, at most `max_chars` long, no control characters except line
/// feed and tab.
pub fn multiline(field: &'static str, text: &str, max_chars: usize) -> Result<String> {
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
    if text.chars().count() > max_chars {
        let text = Text::with(
            format!("这一项最多 {max_chars} 个字。"),
            format!("This field takes at most {max_chars} characters."),
        );
        return Err(Error::Field {
            field: field.into(),
            text,
        });
    }
    Ok(text)
}

fn validate_keywords(all: Vec<String>) -> Result<Vec<String>> {
    let mut checked: Vec<String> = Vec::new();
    for keyword in all {
        let keyword = line("keywords", &keyword, 0..=KEYWORD_CHARS)?;
        if !keyword.is_empty() && !checked.contains(&keyword) {
            checked.push(keyword);
        }
    }
    if checked.len() > MAX_KEYWORDS {
        return Err(Error::field(
            "keywords",
            "关键词最多 20 个。",
            "At most 20 keywords.",
        ));
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_split_trimmed_and_deduplicated() {
        let metadata =
            BTreeMap::from([("keywords".to_owned(), "西沙群岛， 写景、写景,".to_owned())]);
        let description = Description::parse_metadata(&metadata).expect("fits");
        assert_eq!(
            description.keywords.as_deref(),
            Some(&["西沙群岛".to_owned(), "写景".to_owned()][..])
        );
        assert_eq!(description.fields(), ["keywords"]);
    }

    #[test]
    fn an_unknown_type_is_rejected() {
        let metadata = BTreeMap::from([("type".to_owned(), "virus".to_owned())]);
        assert!(Description::parse_metadata(&metadata).is_err());
    }
}
