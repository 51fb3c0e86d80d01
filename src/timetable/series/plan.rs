//! From a series to its lessons.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use sqlx::{Any, Transaction};

use crate::error::{Error, Result};
use crate::extract::now;
use crate::ids::{PeriodId, SeriesId, TermId};
use crate::timetable::calendar;
use crate::timetable::planned::{NewLesson, insert};

use super::{SELECT, Series, find};

impl Series {
    /// Writes who takes part, and plans the lessons to come anew.
    pub async fn write(&self, tx: &mut Transaction<'static, Any>, zone: &TimeZone) -> Result<()> {
        self.cast()
            .write(tx, "series", &self.id.to_string())
            .await?;
        self.plan(tx, zone).await
    }

    /// Replaces the lessons that have not begun by what the term, weekday and period say now.
    async fn plan(&self, tx: &mut Transaction<'static, Any>, zone: &TimeZone) -> Result<()> {
        remove_planned(tx, self.id).await?;
        let (Some((from, to)), Some((name, starts, ends))) = (
            dates_of(tx, self.term_id).await?,
            hours_of(tx, self.period_id).await?,
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
                cast: self.cast(),
            };
            insert(tx, &lesson).await?;
        }
        Ok(())
    }
}

/// Removes the lessons of a series that have not begun.
pub async fn remove_planned(tx: &mut Transaction<'static, Any>, id: SeriesId) -> Result<()> {
    sqlx::query("DELETE FROM lessons WHERE series_id = $1 AND phase = 'planned'")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// First and last day of a term.
pub async fn dates_of(
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

/// Name, start and end of a period.
pub async fn hours_of(
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

/// Plans every series anew that uses a term or period (`column`) which changed.
pub async fn plan_anew(
    tx: &mut Transaction<'static, Any>,
    column: &'static str,
    id: &str,
    zone: &TimeZone,
) -> Result<()> {
    for series in find(tx, &format!("{SELECT} WHERE {column} = $1"), Some(id)).await? {
        series.plan(tx, zone).await?;
    }
    Ok(())
}
