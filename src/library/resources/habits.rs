//! Prevailing values of a person's previous resources: a teacher of one subject mostly shares for
//! that subject.

use std::collections::HashMap;

use sqlx::{Any, Transaction};

use crate::db::DbError;
use crate::ids::PersonId;

/// Previous resources that are considered.
const HABIT_RESOURCES: i64 = 20;

/// Values that prevail in a person's previous resources.
#[derive(Default)]
pub struct Habits {
    prevailing: HashMap<&'static str, String>,
}

#[derive(sqlx::FromRow)]
pub(super) struct PreviousResource {
    pub(super) stage: String,
    pub(super) grade: String,
    pub(super) subject: String,
    pub(super) edition: String,
    pub(super) volume: String,
}

/// Name and accessor of a field.
type Field = (&'static str, fn(&PreviousResource) -> &String);

impl Habits {
    /// Reads the person's previous resources.
    pub async fn load(
        tx: &mut Transaction<'static, Any>,
        person: PersonId,
    ) -> Result<Habits, DbError> {
        let last: Vec<PreviousResource> = sqlx::query_as(
            "SELECT stage, grade, subject, edition, volume FROM resources WHERE owner_id = $1 AND removed_at IS NULL
             ORDER BY created_at DESC LIMIT $2",
        )
        .bind(person)
        .bind(HABIT_RESOURCES)
        .fetch_all(&mut **tx)
        .await?;
        Ok(Habits::of_resources(&last))
    }

    pub(super) fn of_resources(last: &[PreviousResource]) -> Habits {
        let mut prevailing = HashMap::new();
        let fields: [Field; 5] = [
            ("stage", |resource| &resource.stage),
            ("grade", |resource| &resource.grade),
            ("subject", |resource| &resource.subject),
            ("edition", |resource| &resource.edition),
            ("volume", |resource| &resource.volume),
        ];
        for (name, field) in fields {
            if let Some(value) = most_common(last.iter().map(field)) {
                prevailing.insert(name, value);
            }
        }
        Habits { prevailing }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.prevailing.get(name).cloned()
    }
}

/// Returns the most common non-empty value if at least half of the non-empty values are equal to
/// it.
fn most_common<'a>(values: impl Iterator<Item = &'a String>) -> Option<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut total = 0;
    for value in values.filter(|value| !value.is_empty()) {
        *counts.entry(value).or_default() += 1;
        total += 1;
    }
    let (value, count) = counts
        .into_iter()
        .max_by_key(|(value, count)| (*count, *value))?;
    (count * 2 >= total).then(|| value.to_owned())
}
