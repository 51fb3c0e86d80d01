//! Suggested descriptions, from the file name, the folder and the beginning of the text; failing
//! those, from the owner's previous resources. A suggestion fills an empty field, is marked as one,
//! and is corrected in one click.

use super::description::Description;
use super::habits::Habits;
use super::vocabulary::{
    EDITION_ALIASES, EDITIONS, GRADE_ALIASES, GRADES, KIND_TERMS, STAGES, SUBJECT_ALIASES,
    SUBJECTS, VOLUMES,
};
use crate::library::ResourceKind;

/// The head of a document states its purpose; terms further down are often about other topics.
const HEAD_CHARS: usize = 600;

/// Evidence of a file's topic.
pub struct Hints<'a> {
    /// File name without its extension.
    pub name: &'a str,
    pub folder: &'a str,
    pub file_type: &'a str,
    /// Title and beginning of the text.
    pub text: &'a str,
}

/// Returns the fields that the hints and habits suggest.
pub fn suggest(hints: &Hints, habits: &Habits) -> Description {
    let head: String = hints.text.chars().take(HEAD_CHARS).collect();
    // By reliability: name, folder, text.
    let sources = [hints.name, hints.folder, head.as_str()];
    let find = |of: &dyn Fn(&str) -> Option<String>| sources.iter().find_map(|source| of(source));
    let grade = find(&|text| first_term(text, &GRADES, &GRADE_ALIASES));
    let stage = find(&|text| first_term(text, &STAGES, &[]))
        .or_else(|| grade.as_deref().and_then(stage_of));
    let subject = find(&|text| first_term(text, &SUBJECTS, &SUBJECT_ALIASES));
    let has_grade = grade.is_some();
    Description {
        kind: find(&|text| kind_of(text).map(|kind| kind.as_str().to_owned()))
            .and_then(|word| word.parse().ok())
            .or_else(|| kind_of_file_type(hints.file_type)),
        stage: stage.or_else(|| habits.get("stage").filter(|_| !has_grade)),
        grade: grade.or_else(|| habits.get("grade")),
        subject: subject.or_else(|| habits.get("subject")),
        edition: find(&|text| first_term(text, &EDITIONS, &EDITION_ALIASES))
            .or_else(|| habits.get("edition")),
        volume: find(&volume_of).or_else(|| habits.get("volume")),
        unit: find(&|text| numbered(text, &["单元", "章"])),
        period: find(&|text| numbered(text, &["课时"])),
        ..Description::default()
    }
}

/// Returns the names of the fields that `suggestion` has and `given` does not.
pub fn suggested_fields(given: &Description, suggestion: &Description) -> Vec<&'static str> {
    let given = given.fields();
    suggestion
        .fields()
        .into_iter()
        .filter(|field| !given.contains(field))
        .collect()
}

/// Returns the term that occurs first in the text; of two at the same place, the longer one.
fn first_term(text: &str, terms: &[&str], aliases: &[(&str, &str)]) -> Option<String> {
    let known = terms
        .iter()
        .map(|term| (*term, *term))
        .chain(aliases.iter().copied());
    let found = known.filter_map(|(seen, meant)| {
        text.find(seen)
            .map(|at| (at, std::cmp::Reverse(seen.len()), meant))
    });
    found.min().map(|(_, _, meant)| meant.to_owned())
}

fn kind_of(text: &str) -> Option<ResourceKind> {
    let found = KIND_TERMS
        .iter()
        .flat_map(|(kind, terms)| terms.iter().map(move |term| (kind, term)));
    let found = found.filter_map(|(kind, term)| text.find(term).map(|at| (at, *kind)));
    found.min_by_key(|(at, _)| *at).map(|(_, kind)| kind)
}

fn kind_of_file_type(file_type: &str) -> Option<ResourceKind> {
    match file_type {
        "pptx" | "ppt" | "odp" | "dps" => Some(ResourceKind::Courseware),
        "video" => Some(ResourceKind::MicroLesson),
        _ => None,
    }
}

fn stage_of(grade: &str) -> Option<String> {
    let index = GRADES.iter().position(|known| *known == grade)?;
    Some(
        STAGES[match index {
            0..=5 => 1,
            6..=8 => 2,
            _ => 3,
        }]
        .to_owned(),
    )
}

/// Finds 上册 and 下册, also abbreviated to 上 and 下 after a grade: 三年级上, 三上.
fn volume_of(text: &str) -> Option<String> {
    if let Some(found) = first_term(text, &VOLUMES, &[]) {
        return Some(found);
    }
    for (short, volume) in [("年级上", "上册"), ("年级下", "下册")] {
        if text.contains(short) {
            return Some(volume.to_owned());
        }
    }
    let digits = ["一", "二", "三", "四", "五", "六", "七", "八", "九"];
    let starts = |mark: &str| {
        digits
            .iter()
            .any(|digit| text.starts_with(&format!("{digit}{mark}")))
    };
    [("上", "上册"), ("下", "下册")]
        .into_iter()
        .find(|(mark, _)| starts(mark))
        .map(|(_, volume)| volume.to_owned())
}

/// Finds 第三单元 or 第2课时: a number between 第 and one of the units.
fn numbered(text: &str, units: &[&str]) -> Option<String> {
    text.match_indices('第').find_map(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        let digits: String = rest
            .chars()
            .take_while(|c| c.is_ascii_digit() || "一二三四五六七八九十".contains(*c))
            .collect();
        let after = &rest[digits.len()..];
        let unit = units.iter().find(|unit| after.starts_with(**unit))?;
        (!digits.is_empty() && digits.chars().count() <= 3).then(|| format!("第{digits}{unit}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::resources::habits::PreviousResource;

    fn hints<'a>(name: &'a str, folder: &'a str, text: &'a str) -> Hints<'a> {
        Hints {
            name,
            folder,
            file_type: "docx",
            text,
        }
    }

    #[test]
    fn a_teachers_file_name_names_almost_every_field() {
        let suggested = suggest(
            &hints(
                "部编版三年级上册语文第六单元《富饶的西沙群岛》第2课时教学设计",
                "",
                "",
            ),
            &Habits::default(),
        );
        assert_eq!(suggested.kind, Some(ResourceKind::LessonPlan));
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        assert_eq!(
            [
                &suggested.stage,
                &suggested.grade,
                &suggested.subject,
                &suggested.edition,
                &suggested.volume,
                &suggested.unit,
                &suggested.period
            ]
            .map(text),
            [
                "小学",
                "三年级",
                "语文",
                "统编版",
                "上册",
                "第六单元",
                "第2课时"
            ]
        );
    }

    #[test]
    fn fields_missing_in_the_name_come_from_the_folder_or_the_text() {
        let suggested = suggest(
            &hints("课件1", "八年级物理/第二章", "人教版\n声音的特性"),
            &Habits::default(),
        );
        assert_eq!(suggested.kind, Some(ResourceKind::Courseware));
        assert_eq!(
            (suggested.stage.as_deref(), suggested.subject.as_deref()),
            (Some("初中"), Some("物理"))
        );
        assert_eq!(
            (suggested.unit.as_deref(), suggested.edition.as_deref()),
            (Some("第二章"), Some("人教版"))
        );
    }

    #[test]
    fn previous_resources_fill_missing_fields_only_if_half_of_them_agree() {
        let previous = |grade: &str, subject: &str| PreviousResource {
            stage: "小学".into(),
            grade: grade.into(),
            subject: subject.into(),
            edition: String::new(),
            volume: String::new(),
        };
        let habits = Habits::of_resources(&[
            previous("三年级", "语文"),
            previous("三年级", "语文"),
            previous("四年级", "数学"),
        ]);
        let suggested = suggest(&hints("古诗三首", "", ""), &habits);
        assert_eq!(
            (
                suggested.grade.as_deref(),
                suggested.subject.as_deref(),
                suggested.edition
            ),
            (Some("三年级"), Some("语文"), None)
        );
        let mixed = Habits::of_resources(&[
            previous("一年级", "语文"),
            previous("二年级", "数学"),
            previous("三年级", "英语"),
        ]);
        assert_eq!(suggest(&hints("古诗三首", "", ""), &mixed).grade, None);
        // The name takes precedence over habits.
        let suggested = suggest(&hints("高一数学 函数", "", ""), &habits);
        assert_eq!(
            (
                suggested.stage.as_deref(),
                suggested.grade.as_deref(),
                suggested.subject.as_deref()
            ),
            (Some("高中"), Some("高一"), Some("数学"))
        );
    }

    #[test]
    fn given_fields_are_not_suggested() {
        let given = Description {
            subject: Some("数学".into()),
            ..Description::default()
        };
        let suggestion = suggest(&hints("三年级语文", "", ""), &Habits::default());
        assert_eq!(suggested_fields(&given, &suggestion), ["stage", "grade"]);
    }

    #[test]
    fn numbers_count_only_between_prefix_and_unit() {
        assert_eq!(
            numbered("第十二单元", &["单元"]).as_deref(),
            Some("第十二单元")
        );
        assert_eq!(
            numbered("第一中学第三单元", &["单元"]).as_deref(),
            Some("第三单元")
        );
        assert_eq!(numbered("单元第", &["单元"]), None);
    }
}
