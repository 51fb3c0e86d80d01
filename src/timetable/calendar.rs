//! Dates and times of day in the configured time zone.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Returns the current date.
pub fn today(zone: &TimeZone, now: Timestamp) -> Date {
    now.to_zoned(zone.clone()).date()
}

/// Returns the first instants of a day and of the next day.
pub fn day_bounds(zone: &TimeZone, day: Date) -> Option<(Timestamp, Timestamp)> {
    Some((
        moment(zone, day, Time::midnight())?,
        moment(
            zone,
            day.checked_add(Span::new().days(1)).ok()?,
            Time::midnight(),
        )?,
    ))
}

/// Returns the instant of a time of day; `None` outside the calendar.
pub fn moment(zone: &TimeZone, day: Date, time: Time) -> Option<Timestamp> {
    Some(
        day.to_datetime(time)
            .to_zoned(zone.clone())
            .ok()?
            .timestamp(),
    )
}

/// Returns every date of a weekday (1 Monday … 7 Sunday) between two dates, both included.
pub fn weekdays(from: Date, to: Date, weekday: i8) -> impl Iterator<Item = Date> {
    let ahead = (weekday - from.weekday().to_monday_one_offset()).rem_euclid(7);
    let first = from.checked_add(Span::new().days(ahead));
    let next = |day: &Date| day.checked_add(Span::new().days(7)).ok();
    std::iter::successors(first.ok(), next).take_while(move |day| *day <= to)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_term_has_its_wednesdays_and_no_others() {
        let days: Vec<Date> = weekdays(date(2026, 9, 1), date(2026, 9, 30), 3).collect();
        assert_eq!(days, [2, 9, 16, 23, 30].map(|day| date(2026, 9, day)));
        assert_eq!(weekdays(date(2026, 9, 1), date(2026, 9, 1), 2).count(), 1);
        assert_eq!(weekdays(date(2026, 9, 1), date(2026, 9, 1), 1).count(), 0);
    }

    #[test]
    fn today_is_the_schools_day_and_not_the_servers() {
        let zone = TimeZone::get("Asia/Shanghai").expect("the zone is built in");
        let now: Timestamp = "2026-11-21T23:50:00Z".parse().expect("a time");
        assert_eq!(today(&zone, now), date(2026, 11, 22));
        let (from, to) = day_bounds(&zone, date(2026, 11, 22)).expect("in the calendar");
        assert_eq!(
            (from.to_string(), to.to_string()),
            ("2026-11-21T16:00:00Z".into(), "2026-11-22T16:00:00Z".into())
        );
    }
}
