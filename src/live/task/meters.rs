//! Audio levels and link quality: aggregated from plane events, sent at the limited rates of the
//! protocol.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tongke_plane::ids::TrackId;
use tongke_plane::units::Bitrate;

use crate::live::protocol::{AudioLevel, LinkQuality, ParticipantId, Purpose};

/// Smallest interval between link quality messages to a client (protocol).
const QUALITY_EVERY: Duration = Duration::from_secs(1);

/// Smallest level change that is visible on a meter.
const LEVEL_STEP_DB: i8 = 3;

#[derive(Default)]
pub struct Meters {
    /// Participant of each audio track.
    speakers: HashMap<TrackId, ParticipantId>,
    /// Loudest level since the last [`Meters::take_levels`].
    levels: BTreeMap<ParticipantId, i8>,
    sent_levels: HashMap<ParticipantId, i8>,
    qualities: BTreeMap<ParticipantId, LinkQuality>,
    sent_qualities: HashMap<ParticipantId, LinkQuality>,
    last_round: Option<Instant>,
}

impl Meters {
    pub fn add_track(&mut self, track: TrackId, who: &str) {
        self.speakers.insert(track, who.to_owned());
    }

    pub fn level(&mut self, track: TrackId, level_dbov: i8) {
        let Some(who) = self.speakers.get(&track) else {
            return;
        };
        let loudest = self.levels.entry(who.clone()).or_insert(level_dbov);
        *loudest = level_dbov.max(*loudest);
    }

    /// Returns the levels that changed visibly since the last call.
    pub fn take_levels(&mut self) -> Vec<AudioLevel> {
        let mut changed = Vec::new();
        for (participant, level_dbov) in std::mem::take(&mut self.levels) {
            let sent = self.sent_levels.get(&participant);
            if sent.is_none_or(|sent| sent.abs_diff(level_dbov) >= LEVEL_STEP_DB.unsigned_abs()) {
                self.sent_levels.insert(participant.clone(), level_dbov);
                changed.push(AudioLevel {
                    participant,
                    level_dbov,
                });
            }
        }
        changed
    }

    /// Records a link report of a subscriber, or of a publisher with its purpose. Only the camera's
    /// report counts as uplink quality.
    pub fn record_link(
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

    /// Returns the qualities that changed since they were last sent; empty within a second of the
    /// last non-empty interval.
    pub fn take_qualities(&mut self, now: Instant) -> Vec<(ParticipantId, LinkQuality)> {
        if self
            .last_round
            .is_some_and(|last| now < last + QUALITY_EVERY)
        {
            return Vec::new();
        }
        self.last_round = Some(now);
        let changed: Vec<_> = self
            .qualities
            .iter()
            .filter(|(who, q)| self.sent_qualities.get(*who) != Some(q))
            .map(|(who, q)| (who.clone(), *q))
            .collect();
        self.sent_qualities.extend(changed.iter().cloned());
        changed
    }

    pub fn forget_track(&mut self, track: TrackId) {
        self.speakers.remove(&track);
    }

    pub fn forget_participant(&mut self, who: &str) {
        self.levels.remove(who);
        self.sent_levels.remove(who);
        self.qualities.remove(who);
        self.sent_qualities.remove(who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_report_the_loudest_and_nothing_without_change() {
        let mut meters = Meters::default();
        meters.add_track(TrackId(1), "liulin");
        meters.level(TrackId(1), -50);
        meters.level(TrackId(1), -20);
        meters.level(TrackId(1), -40);
        assert_eq!(
            meters.take_levels(),
            [AudioLevel {
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
    fn link_quality_is_sent_once_a_second_and_only_when_it_changed() {
        let mut meters = Meters::default();
        let start = Instant::now();
        let report = |meters: &mut Meters| {
            meters.record_link(
                "liulin".into(),
                None,
                Bitrate::kbps(900),
                0.1,
                Duration::from_millis(40),
            )
        };
        report(&mut meters);
        assert_eq!(meters.take_qualities(start).len(), 1);
        meters.record_link(
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
        let sent = meters.take_qualities(start + Duration::from_secs(1));
        assert_eq!(
            sent[0].1,
            LinkQuality {
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
