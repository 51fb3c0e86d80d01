//! Curriculum vocabulary: the terms as Chinese schools print them on textbooks, with their
//! synonyms.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::library::{Library, ResourceKind};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(list_vocabulary))
}

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

/// Synonyms, with the term they stand for.
pub(super) const SUBJECT_ALIASES: [(&str, &str); 8] = [
    ("体育", "体育与健康"),
    ("信息技术", "信息科技"),
    ("品德与社会", "道德与法治"),
    ("道法", "道德与法治"),
    ("生物", "生物学"),
    ("政治", "思想政治"),
    ("心理", "心理健康"),
    ("劳技", "劳动"),
];
pub(super) const GRADE_ALIASES: [(&str, &str); 9] = [
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
pub(super) const EDITION_ALIASES: [(&str, &str); 5] = [
    ("部编", "统编版"),
    ("统编", "统编版"),
    ("人教", "人教版"),
    ("北师大", "北师大版"),
    ("苏教", "苏教版"),
];
pub(super) const KIND_TERMS: [(ResourceKind, &[&str]); 5] = [
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

/// Terms offered for each field of a description; other text is accepted too.
#[derive(Serialize, ToSchema)]
struct Vocabulary {
    stages: Vec<&'static str>,
    grades: Vec<&'static str>,
    subjects: Vec<&'static str>,
    editions: Vec<&'static str>,
    volumes: Vec<&'static str>,
    licences: Vec<&'static str>,
    types: Vec<ResourceKind>,
}

/// Lists the curriculum vocabulary.
#[utoipa::path(get, path = "/api/resources/words", tag = "library", responses((status = 200, body = Vocabulary)))]
async fn list_vocabulary() -> Json<Vocabulary> {
    use ResourceKind::{Courseware, Exercise, LessonPlan, MicroLesson, Other, Recording};
    Json(Vocabulary {
        stages: STAGES.into(),
        grades: GRADES.into(),
        subjects: SUBJECTS.into(),
        editions: EDITIONS.into(),
        volumes: VOLUMES.into(),
        licences: LICENCES.into(),
        types: vec![
            Courseware,
            LessonPlan,
            Exercise,
            MicroLesson,
            Recording,
            Other,
        ],
    })
}
