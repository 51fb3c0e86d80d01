//! Documents as features submit them to the index.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Primary key of a document: kind and id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Kind of the document, as the server names it: `resource`, `person`.
    pub kind: String,
    /// Id, unique within the kind.
    pub id: Uuid,
}

impl Key {
    /// Creates the key of a document.
    pub fn new(kind: impl Into<String>, id: Uuid) -> Self {
        Self {
            kind: kind.into(),
            id,
        }
    }

    /// Parses `kind:id`, the form that [`Display`](std::fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, id) = text.split_once(':')?;
        Some(Self::new(kind, id.parse().ok()?))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

/// One searchable document. Texts are submitted as written; the index normalizes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Title of a document; name of a person or a school.
    pub title: String,
    /// Name of the author.
    pub author: Option<String>,
    /// Id of the author.
    pub author_id: Option<Uuid>,
    /// Name of the author's school.
    pub school: Option<String>,
    /// Id of the author's school.
    pub school_id: Option<Uuid>,
    /// Text that belongs to no page.
    pub body: String,
    /// Text of each page, starting with page 1. A hit in one of them reports its page.
    pub pages: Vec<String>,
    /// Additional search terms, not displayed.
    pub keywords: Vec<String>,
    /// Facet values. They are searchable text as well.
    pub facets: BTreeMap<Facet, String>,
    /// Members of any of these groups may find the document; to others it does not exist.
    #[serde(rename = "visibility")]
    pub acl: Vec<AclGroup>,
    /// Creation time in milliseconds since 1970.
    pub created_at: i64,
    /// Time of the last change in milliseconds since 1970.
    pub updated_at: i64,
    /// Number of uses.
    pub uses: u64,
    /// Mean rating; 0 without any rating.
    pub rating: f64,
}

/// Document attribute that results are filtered and counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facet {
    /// Kind of the key; set by the index.
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
    /// 授权方式
    Licence,
    /// 文件格式: `pptx`, `pdf`.
    FileType,
    /// Name of the school; set by the index.
    School,
}

impl Facet {
    /// All facets, in the order of their discriminants.
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

    /// Name in URLs and JSON, and of the index column.
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

    /// Looks a facet up by its [`name`](Facet::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|facet| facet.name() == name)
    }
}

/// Group of viewers in access control. A viewer sees a document when both share at least one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AclGroup {
    /// Everyone, without signing in.
    Public,
    /// Every signed-in account of the county.
    County,
    /// Accounts of all schools of a community.
    Community(Uuid),
    /// Accounts of a school.
    School(Uuid),
    /// One person, or one classroom.
    #[serde(rename = "One")]
    Individual(Uuid),
    /// Accounts with a role.
    Role(String),
}

impl AclGroup {
    /// Index term of the group.
    pub(crate) fn term(&self) -> String {
        match self {
            AclGroup::Public => "public".into(),
            AclGroup::County => "county".into(),
            AclGroup::Community(id) => format!("community:{id}"),
            AclGroup::School(id) => format!("school:{id}"),
            AclGroup::Individual(id) => format!("one:{id}"),
            AclGroup::Role(role) => format!("role:{role}"),
        }
    }
}
