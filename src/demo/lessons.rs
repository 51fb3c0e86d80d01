//! Today's demo lessons: six consecutive periods, one of them running.

use jiff::{SignedDuration, Timestamp};

use crate::db::millis;
use crate::error::{Error, Result};
use crate::http::Services;
use crate::ids::LessonId;
use crate::timetable::{self, NewLesson, Roster};

use super::Lesson;
use super::community::Community;

/// Length of a demo period; 32 of them cover the day, so that one is running at any hour.
const PERIOD_MINUTES: i64 = 45;
const PERIODS_A_DAY: i64 = 24 * 60 / PERIOD_MINUTES;

/// Title, subject and index of the lead: the running lesson, then those around it.
const NOW: (&str, &str, usize) = ("富饶的西沙群岛", "语文", 0);
const AROUND: [(&str, &str, usize); 5] = [
    ("认识分数", "数学", 1),
    ("古诗三首", "语文", 0),
    ("我们的校园", "音乐", 1),
    ("测量身边的物体", "数学", 1),
    ("大自然的声音", "语文", 0),
];

/// Plans today's lessons unless one is running, and returns the running one.
pub async fn plan_today(
    services: &Services,
    community: &Community,
    now: Timestamp,
) -> Result<Lesson> {
    if let Some(lesson) = running(services, community, now).await? {
        return Ok(lesson);
    }
    let zone = services.config.time_zone();
    let day = timetable::today(&zone, now);
    let (from, to) = timetable::day_bounds(&zone, day)
        .ok_or_else(|| Error::internal("the clock is out of range"))?;
    sqlx::query(
        "DELETE FROM lessons WHERE phase = 'planned' AND starts_at >= $1 AND starts_at < $2",
    )
    .bind(millis(from))
    .bind(millis(to))
    .execute(services.db.pool())
    .await?;
    let mut around = AROUND.into_iter();
    let mut current = None;
    for (place, starts_at, ends_at) in periods(from, now) {
        let runs = starts_at <= now && now < ends_at;
        let what = if runs {
            NOW
        } else {
            around.next().expect("six periods, one of them now")
        };
        let id = timetable::add_lesson(
            &services.db,
            lesson(community, what, place, starts_at, ends_at),
        )
        .await?;
        if runs {
            current = Some(Lesson {
                id: id.to_string(),
                title: what.0.into(),
            });
        }
    }
    current.ok_or_else(|| Error::internal("one of the periods is now"))
}

async fn running(
    services: &Services,
    community: &Community,
    now: Timestamp,
) -> Result<Option<Lesson>> {
    let row: Option<(LessonId, String)> = sqlx::query_as(
        "SELECT id, title FROM lessons WHERE lead_id = $1 AND phase <> 'ended' AND starts_at <= $2 AND ends_at > $2 ORDER BY id",
    )
    .bind(community.leads[NOW.2])
    .bind(millis(now))
    .fetch_optional(services.db.pool())
    .await?;
    Ok(row.map(|(id, title)| Lesson {
        id: id.to_string(),
        title,
    }))
}

/// Returns position, start and end of six periods around `now`, on the day that began at `midnight`.
fn periods(midnight: Timestamp, now: Timestamp) -> Vec<(usize, Timestamp, Timestamp)> {
    let length = SignedDuration::from_mins(PERIOD_MINUTES);
    let present = now.duration_since(midnight).as_mins() / PERIOD_MINUTES;
    // Two before and three after, shifted to stay within the day.
    let first = (present - 2).clamp(0, PERIODS_A_DAY - 6);
    (0..6)
        .map(|place| {
            let starts_at = midnight + length * (first + place) as i32;
            (place as usize, starts_at, starts_at + length)
        })
        .collect()
}

fn lesson(
    community: &Community,
    (title, subject, lead): (&str, &str, usize),
    place: usize,
    starts_at: Timestamp,
    ends_at: Timestamp,
) -> NewLesson {
    const NAMES: [&str; 6] = ["第一节", "第二节", "第三节", "第四节", "第五节", "第六节"];
    NewLesson {
        title: title.into(),
        subject: subject.into(),
        grade: "三年级".into(),
        series: None,
        period: Some(NAMES[place].into()),
        starts_at,
        ends_at,
        roster: Roster {
            lead: community.leads[lead],
            assistants: vec![community.assistant],
            lead_room: Some(community.rooms[0]),
            listening: community.rooms[1..].to_vec(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_any_hour_one_of_six_periods_of_today_is_running() {
        let midnight: Timestamp = "2026-11-21T16:00:00Z".parse().expect("a time");
        for minute in 0..24 * 60 {
            let now = midnight + SignedDuration::from_mins(minute);
            let periods = periods(midnight, now);
            assert_eq!(periods.len(), 6);
            assert_eq!(
                periods
                    .iter()
                    .filter(|(_, starts, ends)| *starts <= now && now < *ends)
                    .count(),
                1,
                "{minute}"
            );
            assert!(periods.iter().all(|(_, starts, ends)| {
                *starts >= midnight && *ends <= midnight + SignedDuration::from_hours(24)
            }));
        }
    }
}
