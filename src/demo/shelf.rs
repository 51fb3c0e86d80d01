//! Library of the demo: a few lesson plans, exercises and a deck, written for it.

use crate::error::Result;
use crate::http::Services;
use crate::ids::PersonId;
use crate::library::{Description, ResourceKind, Visibility};

use super::community::Community;
use super::deck;

/// File name, kind, subject, unit, index of the owner, visibility and text.
type Sheet = (
    &'static str,
    ResourceKind,
    &'static str,
    &'static str,
    usize,
    Visibility,
    &'static str,
);

const SHEETS: [Sheet; 5] = [
    (
        "富饶的西沙群岛 第一课时 教学设计.md",
        ResourceKind::LessonPlan,
        "语文",
        "第六单元",
        0,
        Visibility::County,
        include_str!("shelf/xisha.md"),
    ),
    (
        "富饶的西沙群岛 课堂练习.txt",
        ResourceKind::Exercise,
        "语文",
        "第六单元",
        0,
        Visibility::Community,
        include_str!("shelf/xisha-exercise.txt"),
    ),
    (
        "认识分数 教学设计.md",
        ResourceKind::LessonPlan,
        "数学",
        "第八单元",
        1,
        Visibility::County,
        include_str!("shelf/fractions.md"),
    ),
    (
        "我们的校园 活动单.html",
        ResourceKind::Courseware,
        "音乐",
        "",
        1,
        Visibility::County,
        include_str!("shelf/campus.html"),
    ),
    (
        "专递课堂助教工作手册.md",
        ResourceKind::Other,
        "",
        "",
        2,
        Visibility::Public,
        include_str!("shelf/assistant.md"),
    ),
];

/// Adds the resources unless a demo account owns any.
pub async fn fill(services: &Services, community: &Community) -> Result<()> {
    let people = [community.leads[0], community.leads[1], community.assistant];
    if has_something(services, &people).await? {
        return Ok(());
    }
    for (name, kind, subject, unit, person, visibility, text) in SHEETS {
        put(
            services,
            people[person],
            (name, kind, subject, unit),
            visibility,
            text.as_bytes().to_vec(),
        )
        .await?;
    }
    let about = (
        "富饶的西沙群岛 第一课时 课件.odp",
        ResourceKind::Courseware,
        "语文",
        "第六单元",
    );
    put(services, people[0], about, Visibility::County, deck::odp()?).await
}

async fn put(
    services: &Services,
    person: PersonId,
    (name, kind, subject, unit): (&str, ResourceKind, &str, &str),
    visibility: Visibility,
    content: Vec<u8>,
) -> Result<()> {
    let taught = !subject.is_empty();
    let said = |text: &str| Some(text.to_owned()).filter(|text| taught && !text.is_empty());
    let description = Description {
        kind: Some(kind),
        stage: said("小学"),
        grade: said("三年级"),
        subject: said(subject),
        volume: said("上册"),
        unit: said(unit),
        licence: Some("CC BY 4.0".into()),
        source: Some("演示数据".into()),
        ..Description::default()
    };
    services
        .library
        .add_file(person, name, content, visibility, description)
        .await?;
    Ok(())
}

async fn has_something(services: &Services, people: &[PersonId]) -> Result<bool> {
    for person in people {
        if services.library.has_resources(*person).await? {
            return Ok(true);
        }
    }
    Ok(false)
}
