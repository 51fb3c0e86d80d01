//! Roster of a lesson or a series: its people and classrooms, checked and stored the same way for
//! both.

use sqlx::{Any, Transaction};

use crate::db::placeholders;
use crate::error::{Error, Result};
use crate::identity::Role;
use crate::ids::{ClassroomId, PersonId};

/// Largest lesson that the wall of the lead can show; more rooms would be a broadcast.
const MAX_CLASSROOMS: usize = 50;
const MAX_ASSISTANTS: usize = 20;

/// People and classrooms of a lesson or a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    pub lead: PersonId,
    pub assistants: Vec<PersonId>,
    pub lead_room: Option<ClassroomId>,
    pub listening: Vec<ClassroomId>,
}

impl Roster {
    /// Rejects people and classrooms that do not exist, have the wrong role or appear twice.
    pub async fn check(&self, tx: &mut Transaction<'static, Any>) -> Result<()> {
        self.check_shape()?;
        if !is_teacher(tx, self.lead).await? {
            return Err(Error::field(
                "lead_id",
                "请选择一位教师作为主讲。",
                "Choose a teacher as the lead.",
            ));
        }
        for assistant in &self.assistants {
            if !is_teacher(tx, *assistant).await? {
                return Err(Error::field(
                    "assistant_ids",
                    "助教必须是教师。",
                    "Assistants must be teachers.",
                ));
            }
        }
        if let Some(room) = self.lead_room
            && !exist(tx, &[room]).await?
        {
            return Err(unknown_classroom("lead_classroom_id"));
        }
        if !exist(tx, &self.listening).await? {
            return Err(unknown_classroom("classroom_ids"));
        }
        Ok(())
    }

    fn check_shape(&self) -> Result<()> {
        if self.assistants.len() > MAX_ASSISTANTS || self.listening.len() > MAX_CLASSROOMS {
            let field = if self.assistants.len() > MAX_ASSISTANTS {
                "assistant_ids"
            } else {
                "classroom_ids"
            };
            return Err(Error::field(
                field,
                "选择得太多了：最多 20 位助教、50 间听讲教室。",
                "Too many: at most 20 assistants and 50 classrooms.",
            ));
        }
        if self.assistants.contains(&self.lead) || has_duplicates(&self.assistants) {
            return Err(Error::field(
                "assistant_ids",
                "同一位教师只能选择一次。",
                "A teacher can be chosen only once.",
            ));
        }
        if self
            .lead_room
            .is_some_and(|room| self.listening.contains(&room))
            || has_duplicates(&self.listening)
        {
            return Err(Error::field(
                "classroom_ids",
                "同一间教室只能选择一次。",
                "A classroom can be chosen only once.",
            ));
        }
        Ok(())
    }

    /// Reads the roster of a lesson or a series (`table`) whose row names this lead and lead room.
    pub async fn read(
        tx: &mut Transaction<'static, Any>,
        table: &'static str,
        id: &str,
        lead: PersonId,
        lead_room: Option<ClassroomId>,
    ) -> Result<Self> {
        let assistants = format!(
            "SELECT person_id FROM {table}_assistants WHERE {table}_id = $1 ORDER BY place"
        );
        let assistants: Vec<(PersonId,)> = sqlx::query_as(sqlx::AssertSqlSafe(assistants))
            .bind(id)
            .fetch_all(&mut **tx)
            .await?;
        let listening = format!(
            "SELECT classroom_id FROM {table}_classrooms WHERE {table}_id = $1 ORDER BY place"
        );
        let listening: Vec<(ClassroomId,)> = sqlx::query_as(sqlx::AssertSqlSafe(listening))
            .bind(id)
            .fetch_all(&mut **tx)
            .await?;
        Ok(Self {
            lead,
            assistants: assistants.into_iter().map(|(id,)| id).collect(),
            lead_room,
            listening: listening.into_iter().map(|(id,)| id).collect(),
        })
    }

    /// Replaces the stored assistants and listening rooms of a lesson or a series (`table` is
    /// `lesson` or `series`).
    pub async fn write(
        &self,
        tx: &mut Transaction<'static, Any>,
        table: &'static str,
        id: &str,
    ) -> Result<()> {
        for (list, column) in [("assistants", "person_id"), ("classrooms", "classroom_id")] {
            let delete = format!("DELETE FROM {table}_{list} WHERE {table}_id = $1");
            sqlx::query(sqlx::AssertSqlSafe(delete))
                .bind(id)
                .execute(&mut **tx)
                .await?;
            let members: Vec<String> = match list {
                "assistants" => self.assistants.iter().map(ToString::to_string).collect(),
                _ => self.listening.iter().map(ToString::to_string).collect(),
            };
            for (place, member) in members.into_iter().enumerate() {
                let insert = format!(
                    "INSERT INTO {table}_{list} ({table}_id, {column}, place) VALUES ($1, $2, $3)"
                );
                sqlx::query(sqlx::AssertSqlSafe(insert))
                    .bind(id)
                    .bind(member)
                    .bind(place as i64)
                    .execute(&mut **tx)
                    .await?;
            }
        }
        Ok(())
    }
}

fn unknown_classroom(field: &'static str) -> Error {
    Error::field(
        field,
        "没有找到所选的教室。",
        "A chosen classroom does not exist.",
    )
}

fn has_duplicates<T: PartialEq>(list: &[T]) -> bool {
    list.iter()
        .enumerate()
        .any(|(n, item)| list[..n].contains(item))
}

async fn is_teacher(tx: &mut Transaction<'static, Any>, id: PersonId) -> Result<bool> {
    let found: Option<(Role,)> =
        sqlx::query_as("SELECT role FROM people WHERE id = $1 AND removed_at IS NULL")
            .bind(id)
            .fetch_optional(&mut **tx)
            .await?;
    Ok(found.is_some_and(|(role,)| role == Role::Teacher))
}

async fn exist(tx: &mut Transaction<'static, Any>, rooms: &[ClassroomId]) -> Result<bool> {
    if rooms.is_empty() {
        return Ok(true);
    }
    let query = format!(
        "SELECT COUNT(*) FROM classrooms WHERE removed_at IS NULL AND id IN ({})",
        placeholders(1, rooms.len())
    );
    let mut query = sqlx::query_as(sqlx::AssertSqlSafe(query));
    for room in rooms {
        query = query.bind(*room);
    }
    let (count,): (i64,) = query.fetch_one(&mut **tx).await?;
    Ok(count == rooms.len() as i64)
}
