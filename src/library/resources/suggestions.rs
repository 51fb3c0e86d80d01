//! What a resource is about, read from its name, its folder and the beginning of its text, and where those are silent from what its owner
//! shared last. A suggestion fills an empty field, is marked as one, and is corrected in one click.

use std::collections::HashMap;

use sqlx::{Any, Transaction};

use crate::db::DbError;
use crate::ids::PersonId;
use crate::library::ResourceKind;
use crate::library::resources::description::Description;

/// The words of the curriculum, as Chinese schools print them on books.
pub const STAGES: [&str; 5] = ["学前", "小学", "初中", "高中", "中职"];
pub const GRADES: [&str; 12] = [
    "一年级",
    "二年级",
    "三年级",
    "四年级",
    "五年级",
    "六年级",
    "七年级",
    "八年级",
    "九年级",
    "高一",
    "高二",
    "高三",
];
pub const SUBJECTS: [&str; 20] = [
    "语文",
    "数学",
    "英语",
    "道德与法治",
    "科学",
    "音乐",
    "美术",
    "体育与健康",
    "信息科技",
    "劳动",
    "物理",
    "化学",
    "生物学",
    "历史",
    "地理",
    "思想政治",
    "书法",
    "综合实践",
    "心理健康",
    "通用技术",
];
pub const EDITIONS: [&str; 14] = [
    "统编版",
    "人教版",
    "北师大版",
    "苏教版",
    "外研版",
    "沪教版",
    "冀教版",
    "湘教版",
    "西师大版",
    "浙教版",
    "青岛版",
    "鲁教版",
    "译林版",
    "教科版",
];
pub const VOLUMES: [&str; 6] = ["上册", "下册", "全一册", "必修", "选择性必修", "选修"];
pub const LICENCES: [&str; 5] = [
    "仅供教学使用",
    "CC BY 4.0",
    "CC BY-SA 4.0",
    "CC BY-NC 4.0",
    "CC BY-NC-SA 4.0",
];

/// Other words for the same thing.
const SUBJECT_ALIASES: [(&str, &str); 8] = [
    ("体育", "体育与健康"),
    ("信息技术", "信息科技"),
    ("品德与社会", "道德与法治"),
    ("道法", "道德与法治"),
    ("生物", "生物学"),
    ("政治", "思想政治"),
    ("心理", "心理健康"),
    ("劳技", "劳动"),
];
const GRADE_ALIASES: [(&str, &str); 9] = [
    ("初一", "七年级"),
    ("初二", "八年级"),
    ("初三", "九年级"),
    ("高一年级", "高一"),
    ("高二年级", "高二"),
    ("高三年级", "高三"),
    ("高中一年级", "高一"),
    ("高中二年级", "高二"),
    ("高中三年级", "高三"),
];
const EDITION_ALIASES: [(&str, &str); 5] = [
    ("部编", "统编版"),
    ("统编", "统编版"),
    ("人教", "人教版"),
    ("北师大", "北师大版"),
    ("苏教", "苏教版"),
];
const KINDS: [(ResourceKind, &[&str]); 5] = [
    (
        ResourceKind::LessonPlan,
        &["教案", "教学设计", "说课稿", "导学案", "教学反思"],
    ),
    (
        ResourceKind::Exercise,
        &[
            "习题",
            "练习",
            "试卷",
            "试题",
            "测试",
            "作业",
            "检测",
            "单元卷",
        ],
    ),
    (
        ResourceKind::Recording,
        &["录课", "课堂实录", "公开课", "录像课"],
    ),
    (ResourceKind::MicroLesson, &["微课"]),
    (ResourceKind::Courseware, &["课件", "幻灯片", "PPT", "ppt"]),
];

/// The head of a document says what it is for; its body speaks of other things as well.
const HEAD_CHARS: usize = 600;
/// What somebody shared last says what they share next.
const HABIT_RESOURCES: i64 = 20;

/// What is known of a file.
pub struct Hints<'a> {
    pub name: &'a str,
    pub folder: &'a str,
    pub file_type: &'a str,
    /// Title and beginning of the text.
    pub text: &'a str,
}

/// What the owner's last resources had most often.
#[derive(Default)]
pub struct Habits {
    common: HashMap<&'static str, String>,
}

#[derive(sqlx::FromRow)]
struct Shared {
    stage: String,
    grade: String,
    subject: String,
    edition: String,
    volume: String,
}

/// A field by its name.
type Field = (&'static str, fn(&Shared) -> &String);

impl Habits {
    pub async fn of(
        tx: &mut Transaction<'static, Any>,
        person: PersonId,
    ) -> Result<Habits, DbError> {
        let last: Vec<Shared> = sqlx::query_as(
            "SELECT stage, grade, subject, edition, volume FROM resources WHERE owner_id = $1 AND removed_at IS NULL
             ORDER BY created_at DESC LIMIT $2",
        )
        .bind(person)
        .bind(HABIT_RESOURCES)
        .fetch_all(&mut **tx)
        .await?;
        Ok(Habits::from(&last))
    }

    fn from(last: &[Shared]) -> Habits {
        let mut common = HashMap::new();
        let fields: [Field; 5] = [
            ("stage", |shared| &shared.stage),
            ("grade", |shared| &shared.grade),
            ("subject", |shared| &shared.subject),
            ("edition", |shared| &shared.edition),
            ("volume", |shared| &shared.volume),
        ];
        for (name, field) in fields {
            if let Some(value) = most_common(last.iter().map(field)) {
                common.insert(name, value);
            }
        }
        Habits { common }
    }

    fn get(&self, name: &str) -> Option<String> {
        self.common.get(name).cloned()
    }
}

/// What at least half of them agree on.
fn most_common<'a>(values: impl Iterator<Item = &'a String>) -> Option<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut all = 0;
    for value in values.filter(|value| !value.is_empty()) {
        *counts.entry(value).or_default() += 1;
        all += 1;
    }
    let (value, count) = counts
        .into_iter()
        .max_by_key(|(value, count)| (*count, *value))?;
    (count * 2 >= all).then(|| value.to_owned())
}

/// What the fields should be.
pub fn suggest(hints: &Hints, habits: &Habits) -> Description {
    let head: String = hints.text.chars().take(HEAD_CHARS).collect();
    // The name is the surest, then the folder, then the text.
    let sources = [hints.name, hints.folder, head.as_str()];
    let find = |of: &dyn Fn(&str) -> Option<String>| sources.iter().find_map(|source| of(source));
    let grade = find(&|text| one_of(text, &GRADES, &GRADE_ALIASES));
    let stage =
        find(&|text| one_of(text, &STAGES, &[])).or_else(|| grade.as_deref().and_then(stage_of));
    let subject = find(&|text| one_of(text, &SUBJECTS, &SUBJECT_ALIASES));
    let named_grade = grade.is_some();
    Description {
        kind: find(&|text| kind_of(text).map(|kind| kind.as_str().to_owned()))
            .and_then(|word| word.parse().ok())
            .or_else(|| kind_of_file(hints.file_type)),
        stage: stage.or_else(|| habits.get("stage").filter(|_| !named_grade)),
        grade: grade.or_else(|| habits.get("grade")),
        subject: subject.or_else(|| habits.get("subject")),
        edition: find(&|text| one_of(text, &EDITIONS, &EDITION_ALIASES))
            .or_else(|| habits.get("edition")),
        volume: find(&volume_of).or_else(|| habits.get("volume")),
        unit: find(&|text| numbered(text, &["单元", "章"])),
        period: find(&|text| numbered(text, &["课时"])),
        ..Description::default()
    }
}

/// The fields that `guess` fills where nothing was said.
pub fn filled(said: &Description, guess: &Description) -> Vec<&'static str> {
    let said = said.fields();
    guess
        .fields()
        .into_iter()
        .filter(|field| !said.contains(field))
        .collect()
}

/// The known word that comes first in the text.
fn one_of(text: &str, words: &[&str], aliases: &[(&str, &str)]) -> Option<String> {
    let known = words
        .iter()
        .map(|word| (*word, *word))
        .chain(aliases.iter().copied());
    let found = known.filter_map(|(seen, meant)| {
        text.find(seen)
            .map(|at| (at, std::cmp::Reverse(seen.len()), meant))
    });
    found.min().map(|(_, _, meant)| meant.to_owned())
}

fn kind_of(text: &str) -> Option<ResourceKind> {
    let found = KINDS
        .iter()
        .flat_map(|(kind, words)| words.iter().map(move |word| (kind, word)));
    let found = found.filter_map(|(kind, word)| text.find(word).map(|at| (at, *kind)));
    found.min_by_key(|(at, _)| *at).map(|(_, kind)| kind)
}

fn kind_of_file(file_type: &str) -> Option<ResourceKind> {
    match file_type {
        "pptx" | "ppt" | "odp" | "dps" => Some(ResourceKind::Courseware),
        "video" => Some(ResourceKind::MicroLesson),
        _ => None,
    }
}

fn stage_of(grade: &str) -> Option<String> {
    let place = GRADES.iter().position(|known| *known == grade)?;
    Some(
        STAGES[match place {
            0..=5 => 1,
            6..=8 => 2,
            _ => 3,
        }]
        .to_owned(),
    )
}

/// 上册 and 下册, also as the 上 and 下 after a grade: 三年级上, 三上.
fn volume_of(text: &str) -> Option<String> {
    if let Some(found) = one_of(text, &VOLUMES, &[]) {
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

/// 第三单元, 第2课时: a number between 第 and one of the words.
fn numbered(text: &str, words: &[&str]) -> Option<String> {
    text.match_indices('第').find_map(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        let digits: String = rest
            .chars()
            .take_while(|c| c.is_ascii_digit() || "一二三四五六七八九十".contains(*c))
            .collect();
        let after = &rest[digits.len()..];
        let word = words.iter().find(|word| after.starts_with(**word))?;
        (!digits.is_empty() && digits.chars().count() <= 3).then(|| format!("第{digits}{word}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints<'a>(name: &'a str, folder: &'a str, text: &'a str) -> Hints<'a> {
        Hints {
            name,
            folder,
            file_type: "docx",
            text,
        }
    }

    #[test]
    fn a_teachers_file_name_says_almost_everything() {
        let said = suggest(
            &hints(
                "部编版三年级上册语文第六单元《富饶的西沙群岛》第2课时教学设计",
                "",
                "",
            ),
            &Habits::default(),
        );
        assert_eq!(said.kind, Some(ResourceKind::LessonPlan));
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        assert_eq!(
            [
                &said.stage,
                &said.grade,
                &said.subject,
                &said.edition,
                &said.volume,
                &said.unit,
                &said.period
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
    fn what_the_name_leaves_out_is_in_the_folder_or_the_text() {
        let said = suggest(
            &hints("课件1", "八年级物理/第二章", "人教版\n声音的特性"),
            &Habits::default(),
        );
        assert_eq!(said.kind, Some(ResourceKind::Courseware));
        assert_eq!(
            (said.stage.as_deref(), said.subject.as_deref()),
            (Some("初中"), Some("物理"))
        );
        assert_eq!(
            (said.unit.as_deref(), said.edition.as_deref()),
            (Some("第二章"), Some("人教版"))
        );
    }

    #[test]
    fn habits_fill_what_nothing_says_and_are_no_habit_when_they_vary() {
        let shared = |grade: &str, subject: &str| Shared {
            stage: "小学".into(),
            grade: grade.into(),
            subject: subject.into(),
            edition: String::new(),
            volume: String::new(),
        };
        let habits = Habits::from(&[
            shared("三年级", "语文"),
            shared("三年级", "语文"),
            shared("四年级", "数学"),
        ]);
        let said = suggest(&hints("古诗三首", "", ""), &habits);
        assert_eq!(
            (said.grade.as_deref(), said.subject.as_deref(), said.edition),
            (Some("三年级"), Some("语文"), None)
        );
        let mixed = Habits::from(&[
            shared("一年级", "语文"),
            shared("二年级", "数学"),
            shared("三年级", "英语"),
        ]);
        assert_eq!(suggest(&hints("古诗三首", "", ""), &mixed).grade, None);
        // The name is surer than any habit.
        let said = suggest(&hints("高一数学 函数", "", ""), &habits);
        assert_eq!(
            (
                said.stage.as_deref(),
                said.grade.as_deref(),
                said.subject.as_deref()
            ),
            (Some("高中"), Some("高一"), Some("数学"))
        );
    }

    #[test]
    fn what_somebody_said_is_not_suggested() {
        let said = Description {
            subject: Some("数学".into()),
            ..Description::default()
        };
        let guess = suggest(&hints("三年级语文", "", ""), &Habits::default());
        assert_eq!(filled(&said, &guess), ["stage", "grade"]);
    }

    #[test]
    fn numbers_are_taken_only_between_their_words() {
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
