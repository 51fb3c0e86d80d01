//! Who speaks and how each line does: collected as it comes, said no oftener than a page can use it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tongke_plane::ids::TrackId;
use tongke_plane::units::Bitrate;

use crate::live::protocol::{Level, ParticipantId, Purpose, Quality};

/// A page is told of its line once a second at most (protocol).
const QUALITY_EVERY: Duration = Duration::from_secs(1);

/// A change of level below this is not seen on a meter.
const LEVEL_STEP_DB: i8 = 3;

#[derive(Default)]
pub struct Meters {
    /// Whose microphone a track is.
    speakers: HashMap<TrackId, ParticipantId>,
    /// Loudest since the last round.
    levels: BTreeMap<ParticipantId, i8>,
    told_levels: HashMap<ParticipantId, i8>,
    qualities: BTreeMap<ParticipantId, Quality>,
    told_qualities: HashMap<ParticipantId, Quality>,
    last_round: Option<Instant>,
}

impl Meters {
    pub fn listen(&mut self, track: TrackId, who: &str) {
        self.speakers.insert(track, who.to_owned());
    }

    pub fn level(&mut self, track: TrackId, level_dbov: i8) {
        let Some(who) = self.speakers.get(&track) else {
            return;
        };
        let loudest = self.levels.entry(who.clone()).or_insert(level_dbov);
        *loudest = level_dbov.max(*loudest);
    }

    /// Levels that changed visibly since the last call.
    pub fn take_levels(&mut self) -> Vec<Level> {
        let mut changed = Vec::new();
        for (participant, level_dbov) in std::mem::take(&mut self.levels) {
            let told = self.told_levels.get(&participant);
            if told.is_none_or(|told| told.abs_diff(level_dbov) >= LEVEL_STEP_DB.unsigned_abs()) {
                self.told_levels.insert(participant.clone(), level_dbov);
                changed.push(Level {
                    participant,
                    level_dbov,
                });
            }
        }
        changed
    }

    /// A report about a line: of the receiver, or of the publisher for a purpose (the camera's speaks for the line).
    pub fn line(
        &mut self,
        who: ParticipantId,
        publishing: Option<Purpose>,
        estimate: Bitrate,
        loss: f32,
        rtt: Duration,
    ) {
        let quality = self.qualities.entry(who).or_default();
        match publishing {
            None => {
                quality.down_kbps = estimate.as_kbps().try_into().unwrap_or(u32::MAX);
                quality.down_loss = loss;
                quality.rtt_ms = rtt.as_millis().try_into().unwrap_or(u32::MAX);
            }
            Some(Purpose::Camera) => quality.up_loss = loss,
            Some(Purpose::Screen) => {}
        }
    }

    /// Lines that changed since they were last told; empty when the last round was less than a second ago.
    pub fn take_qualities(&mut self, now: Instant) -> Vec<(ParticipantId, Quality)> {
        if self
            .last_round
            .is_some_and(|last| now < last + QUALITY_EVERY)
        {
            return Vec::new();
        }
        self.last_round = Some(now);
        let news: Vec<_> = self
            .qualities
            .iter()
            .filter(|(who, q)| self.told_qualities.get(*who) != Some(q))
            .map(|(who, q)| (who.clone(), *q))
            .collect();
        self.told_qualities.extend(news.iter().cloned());
        news
    }

    pub fn forget_track(&mut self, track: TrackId) {
        self.speakers.remove(&track);
    }

    pub fn forget_participant(&mut self, who: &str) {
        self.levels.remove(who);
        self.told_levels.remove(who);
        self.qualities.remove(who);
        self.told_qualities.remove(who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_moves_with_the_loudest_and_rests_while_nothing_changes() {
        let mut meters = Meters::default();
        meters.listen(TrackId(1), "liulin");
        meters.level(TrackId(1), -50);
        meters.level(TrackId(1), -20);
        meters.level(TrackId(1), -40);
        assert_eq!(
            meters.take_levels(),
            [Level {
                participant: "liulin".into(),
                level_dbov: -20
            }]
        );
        meters.level(TrackId(1), -21);
        assert_eq!(meters.take_levels(), []);
        meters.level(TrackId(2), -10);
        assert_eq!(meters.take_levels(), [], "a track of nobody moves nothing");
    }

    #[test]
    fn a_line_is_told_of_once_a_second_and_only_when_it_changed() {
        let mut meters = Meters::default();
        let start = Instant::now();
        let report = |meters: &mut Meters| {
            meters.line(
                "liulin".into(),
                None,
                Bitrate::kbps(900),
                0.1,
                Duration::from_millis(40),
            )
        };
        report(&mut meters);
        assert_eq!(meters.take_qualities(start).len(), 1);
        meters.line(
            "liulin".into(),
            Some(Purpose::Camera),
            Bitrate::ZERO,
            0.2,
            Duration::ZERO,
        );
        assert_eq!(
            meters.take_qualities(start + Duration::from_millis(400)),
            []
        );
        let told = meters.take_qualities(start + Duration::from_secs(1));
        assert_eq!(
            told[0].1,
            Quality {
                down_kbps: 900,
                down_loss: 0.1,
                up_loss: 0.2,
                rtt_ms: 40
            }
        );
        report(&mut meters);
        assert_eq!(meters.take_qualities(start + Duration::from_secs(2)), []);
    }
}
