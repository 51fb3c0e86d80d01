//! What a feature tells the index of one thing that can be found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names one thing: its kind's word and its id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    pub kind: String,
    pub id: Uuid,
}

impl Key {
    pub fn new(kind: impl Into<String>, id: Uuid) -> Self {
        Self {
            kind: kind.into(),
            id,
        }
    }

    /// The key that was written as `word`.
    pub fn parse(word: &str) -> Option<Self> {
        let (kind, id) = word.split_once(':')?;
        Some(Self::new(kind, id.parse().ok()?))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

/// One thing as it is found. Texts are given as they were written; the index folds them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The title; of a person or a school, the name.
    pub title: String,
    /// Who made it, by name and id.
    pub author: Option<String>,
    pub author_id: Option<Uuid>,
    /// The author's school.
    pub school: Option<String>,
    pub school_id: Option<Uuid>,
    /// The text that does not stand on a page.
    pub body: String,
    /// The text of each page, from page 1 on. A hit in one of them names its page.
    pub pages: Vec<String>,
    /// Other words that it should be found by; not shown.
    pub keywords: Vec<String>,
    /// What lists are narrowed by. The values can be searched for as well.
    pub facets: BTreeMap<Facet, String>,
    /// Whoever is one of these may find it; nobody else learns that it exists.
    pub visibility: Vec<Visibility>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    pub updated_at: i64,
    /// How often it was used.
    pub uses: u64,
    /// Mean rating; 0 without any.
    pub rating: f64,
}

/// What lists are narrowed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facet {
    /// Its kind; set by the index.
    Kind,
    /// 学段
    Stage,
    /// 年级
    Grade,
    /// 学科
    Subject,
    /// 教材版本
    Edition,
    /// 册次
    Volume,
    /// 单元、章节
    Unit,
    /// 类型: `courseware`, `lesson_plan`, `exercise`, `micro_lesson`, `recording`, `other`.
    ResourceType,
    Licence,
    FileType,
    /// Name of the school; set by the index.
    School,
}

impl Facet {
    pub const ALL: [Facet; 11] = [
        Facet::Kind,
        Facet::Stage,
        Facet::Grade,
        Facet::Subject,
        Facet::Edition,
        Facet::Volume,
        Facet::Unit,
        Facet::ResourceType,
        Facet::Licence,
        Facet::FileType,
        Facet::School,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Facet::Kind => "kind",
            Facet::Stage => "stage",
            Facet::Grade => "grade",
            Facet::Subject => "subject",
            Facet::Edition => "edition",
            Facet::Volume => "volume",
            Facet::Unit => "unit",
            Facet::ResourceType => "resource_type",
            Facet::Licence => "licence",
            Facet::FileType => "file_type",
            Facet::School => "school",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|facet| facet.name() == name)
    }
}

/// A circle of readers. A document is shown to a reader when one of its circles is one of theirs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Everybody who is signed in.
    County,
    /// The schools of a community.
    Community(Uuid),
    School(Uuid),
    /// One person, or one classroom.
    One(Uuid),
    /// Everybody with that role in the house.
    Role(String),
}

impl Visibility {
    /// The word of the circle in the index.
    pub fn word(&self) -> String {
        match self {
            Visibility::Public => "public".into(),
            Visibility::County => "county".into(),
            Visibility::Community(id) => format!("community:{id}"),
            Visibility::School(id) => format!("school:{id}"),
            Visibility::One(id) => format!("one:{id}"),
            Visibility::Role(role) => format!("role:{role}"),
        }
    }
}
