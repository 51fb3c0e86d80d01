//! A track as a shard hosts it: the track itself, and everybody who gets its packets.

use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer};

use super::audience::Audience;
use super::patience::Patience;
use crate::command::{Relayed, RelayedBody};
use crate::index::{MediaIx, PeerIx, ShardIx};
use crate::publish::track::{ClockReport, Track};
use crate::stats::Counters;
use crate::tap::TapSink;
use crate::units::SeqNo;

/// Levels are told at most this often.
const LEVEL_PACE: Duration = Duration::from_millis(200);

/// A level must change by this much to be told, in dB: less is not seen on a meter.
const LEVEL_STEP: i8 = 3;

/// See the module.
pub struct Hosted {
    pub track: Track,
    pub origin: Origin,
    pub audience: Audience,
    pub taps: Vec<TapSink>,
    /// Other shards that import it.
    pub exports: Vec<(ShardIx, Producer<Relayed>)>,
    /// Whether something went to them since they were last woken.
    pub exported: bool,
    /// Whether the server was told that it flows.
    pub live: bool,
    pub level: LevelMeter,
    pub patience: Patience,
}

/// Where a track's packets come from.
pub enum Origin {
    /// An m-line of a publisher of this shard.
    Local { peer: PeerIx, media: MediaIx },
    /// Another shard.
    Remote {
        owner: ShardIx,
        source: Consumer<Relayed>,
    },
}

impl Hosted {
    pub fn new(track: Track, origin: Origin) -> Hosted {
        Hosted {
            track,
            origin,
            audience: Audience::default(),
            taps: Vec::new(),
            exports: Vec::new(),
            exported: false,
            live: false,
            level: LevelMeter::default(),
            patience: Patience::default(),
        }
    }

    /// Copies a stored packet to recorders and other shards.
    pub fn relay_packet(&mut self, layer: u8, seq: SeqNo, counters: &Counters) {
        if self.taps.is_empty() && self.exports.is_empty() {
            return;
        }
        let Some((meta, bytes)) = self
            .track
            .layers
            .get(usize::from(layer))
            .and_then(|l| l.ring.get(seq))
        else {
            return;
        };
        let mut payload = [0; crate::publish::ring::MAX_PAYLOAD];
        payload[..bytes.len()].copy_from_slice(bytes);
        let item = Relayed {
            layer,
            body: RelayedBody::Packet {
                meta: *meta,
                payload,
            },
        };
        self.relay(item, counters);
    }

    /// Passes a clock report on, and keeps it.
    pub fn set_clock(&mut self, layer: u8, clock: ClockReport, counters: &Counters) {
        if let Some(held) = self.track.layers.get_mut(usize::from(layer)) {
            held.clock = Some(clock);
        }
        let ClockReport {
            ntp,
            rtp_time,
            arrival,
        } = clock;
        self.relay(
            Relayed {
                layer,
                body: RelayedBody::Clock {
                    ntp,
                    rtp_time,
                    arrival,
                },
            },
            counters,
        );
    }

    /// The layer begins another source.
    pub fn restart_layer(&mut self, layer: u8, counters: &Counters) {
        self.track.restart_layer(layer);
        for forward in self.audience.iter_mut() {
            forward.source_restarted(layer);
        }
        self.relay(
            Relayed {
                layer,
                body: RelayedBody::Restart,
            },
            counters,
        );
    }

    fn relay(&mut self, item: Relayed, counters: &Counters) {
        for sink in &mut self.taps {
            if !sink.push(item) {
                Counters::add(&counters.relay_overruns, 1);
            }
        }
        self.exported = !self.exports.is_empty();
        for (_, sink) in &mut self.exports {
            if sink.push(item).is_err() {
                Counters::add(&counters.relay_overruns, 1);
            }
        }
    }
}

/// The loudest level since the last that was told.
#[derive(Default)]
pub struct LevelMeter {
    loudest: Option<i8>,
    told: Option<(Instant, i8)>,
}

impl LevelMeter {
    /// Counts one packet's level; returns one to tell when it is time and it has changed.
    pub fn count(&mut self, now: Instant, level_dbov: i8) -> Option<i8> {
        let loudest = self.loudest.map_or(level_dbov, |held| held.max(level_dbov));
        self.loudest = Some(loudest);
        let due = self
            .told
            .is_none_or(|(at, _)| now.saturating_duration_since(at) >= LEVEL_PACE);
        if !due {
            return None;
        }
        let changed = self
            .told
            .is_none_or(|(_, level)| level.abs_diff(loudest) >= LEVEL_STEP as u8);
        self.loudest = None;
        self.told = Some((
            now,
            if changed {
                loudest
            } else {
                self.told.map_or(loudest, |(_, level)| level)
            },
        ));
        changed.then_some(loudest)
    }
}
