//! Ids of every entity, so that engines and features name an entity without importing its feature.

/// Declares a UUIDv7 newtype: a string in JSON, in the database and in URLs.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[schema(value_type = String)]
        pub struct $name(pub uuid::Uuid);

        impl $name {
            /// A new id; later ids sort after earlier ones.
            pub fn fresh() -> Self {
                Self(uuid::Uuid::now_v7())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        $crate::stored_as_text!($name);
    };
}

id! {
    /// An education community 教育共同体: a core school and its members.
    CommunityId
}
id! {
    /// A school.
    SchoolId
}
id! {
    /// A classroom: a device with a pass of its own, not a person.
    ClassroomId
}
id! {
    /// A person with an account.
    PersonId
}
id! {
    /// A school term 学期.
    TermId
}
id! {
    /// A period 节次 of the school day.
    PeriodId
}
id! {
    /// A lesson series 课程系列: its place in the timetable of a term.
    SeriesId
}
id! {
    /// A lesson: one occurrence in the timetable.
    LessonId
}
id! {
    /// A WHIP or WHEP bearer token: its name, not the secret.
    TokenId
}
id! {
    /// A recorded track. Unique for ever, unlike the number that the media plane gives it.
    TrackKey
}
id! {
    /// A resource 资源 of the library.
    ResourceId
}
id! {
    /// An upload (tus 1.0).
    UploadId
}
id! {
    /// A collection of resources.
    CollectionId
}
id! {
    /// A comment on a resource.
    CommentId
}
id! {
    /// A deck 课件 in one lesson.
    DeckId
}
id! {
    /// A background job.
    JobId
}
