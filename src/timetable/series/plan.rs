//! Expansion of a series into its lessons.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use sqlx::{Any, Transaction};

use crate::error::{Error, Result};
use crate::extract::now;
use crate::ids::{PeriodId, SeriesId, TermId};
use crate::timetable::calendar;
use crate::timetable::new_lesson::{NewLesson, insert};

use super::{SELECT, Series, query_series};

impl Series {
    /// Writes the roster and recreates the lessons that have not begun.
    pub async fn save_roster_and_lessons(
        &self,
        tx: &mut Transaction<'static, Any>,
        zone: &TimeZone,
    ) -> Result<()> {
        self.roster()
            .write(tx, "series", &self.id.to_string())
            .await?;
        self.replan_lessons(tx, zone).await
    }

    /// Deletes the planned lessons and recreates them from the term, weekday and period.
    async fn replan_lessons(
        &self,
        tx: &mut Transaction<'static, Any>,
        zone: &TimeZone,
    ) -> Result<()> {
        delete_planned(tx, self.id).await?;
        let (Some((from, to)), Some((name, starts, ends))) = (
            term_dates(tx, self.term_id).await?,
            period_hours(tx, self.period_id).await?,
        ) else {
            return Ok(());
        };
        let now = now();
        for day in calendar::weekdays(from, to, self.weekday) {
            let (starts_at, ends_at) = (
                calendar::moment(zone, day, starts),
                calendar::moment(zone, day, ends),
            );
            let Some((starts_at, ends_at)) =
                starts_at.zip(ends_at).filter(|(_, ends_at)| *ends_at > now)
            else {
                continue;
            };
            let lesson = NewLesson {
                title: self.name.clone(),
                subject: self.subject.clone(),
                grade: self.grade.clone(),
                series: Some(self.id),
                period: Some(name.clone()),
                starts_at,
                ends_at,
                roster: self.roster(),
            };
            insert(tx, &lesson).await?;
        }
        Ok(())
    }
}

/// Deletes the lessons of a series that have not begun.
pub async fn delete_planned(tx: &mut Transaction<'static, Any>, id: SeriesId) -> Result<()> {
    sqlx::query("DELETE FROM lessons WHERE series_id = $1 AND phase = 'planned'")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Returns the first and last day of a term.
pub async fn term_dates(
    tx: &mut Transaction<'static, Any>,
    id: TermId,
) -> Result<Option<(Date, Date)>> {
    let row: Option<(String, String)> =
        sqlx::query_as("SELECT starts_on, ends_on FROM terms WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut **tx)
            .await?;
    let Some((from, to)) = row else {
        return Ok(None);
    };
    Ok(Some((
        from.parse().map_err(Error::internal)?,
        to.parse().map_err(Error::internal)?,
    )))
}

/// Returns the name, start and end of a period.
pub async fn period_hours(
    tx: &mut Transaction<'static, Any>,
    id: PeriodId,
) -> Result<Option<(String, Time, Time)>> {
    let row: Option<(String, String, String)> =
        sqlx::query_as("SELECT name, starts, ends FROM periods WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut **tx)
            .await?;
    let Some((name, starts, ends)) = row else {
        return Ok(None);
    };
    Ok(Some((
        name,
        starts.parse().map_err(Error::internal)?,
        ends.parse().map_err(Error::internal)?,
    )))
}

/// Recreates the planned lessons of every series whose `column` (a term or a period) is `id`.
pub async fn replan_series_of(
    tx: &mut Transaction<'static, Any>,
    column: &'static str,
    id: &str,
    zone: &TimeZone,
) -> Result<()> {
    for series in query_series(tx, &format!("{SELECT} WHERE {column} = $1"), Some(id)).await? {
        series.replan_lessons(tx, zone).await?;
    }
    Ok(())
}
