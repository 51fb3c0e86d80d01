//! A track in a shard: its media, its origin and its outputs.

use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer};

use super::fanout::Fanout;
use super::frame_coalescer::FrameCoalescer;
use crate::command::{RelayBody, RelayItem};
use crate::index::{MediaIx, PeerIx, ShardIx};
use crate::publish::ring::MAX_PAYLOAD;
use crate::publish::track::{ClockReport, Track};
use crate::stats::Counters;
use crate::tap::TapSink;
use crate::units::SeqNo;

/// Minimum interval between two audio level events of a track.
const LEVEL_INTERVAL: Duration = Duration::from_millis(200);

/// Minimum change of an audio level event, in dB. A level meter does not show less.
const LEVEL_STEP: i8 = 3;

/// A local or imported track.
pub(super) struct ShardTrack {
    pub(super) media: Track,
    pub(super) origin: Origin,
    pub(super) fanout: Fanout,
    pub(super) taps: Vec<TapSink>,
    /// Queues to the shards that import the track.
    pub(super) exports: Vec<(ShardIx, Producer<RelayItem>)>,
    /// True if items were exported since the importing shards were last woken.
    pub(super) exported: bool,
    /// True between [`TrackLive`](crate::Event::TrackLive) and
    /// [`TrackSilent`](crate::Event::TrackSilent).
    pub(super) live: bool,
    pub(super) level: LevelMeter,
    pub(super) coalescer: FrameCoalescer,
}

/// The source of a track's packets.
pub(super) enum Origin {
    /// An m-line of a publisher of this shard.
    Local { peer: PeerIx, media: MediaIx },
    /// Another shard, which relays the packets through a queue.
    Remote {
        owner: ShardIx,
        source: Consumer<RelayItem>,
    },
}

impl ShardTrack {
    pub(super) fn new(media: Track, origin: Origin) -> ShardTrack {
        ShardTrack {
            media,
            origin,
            fanout: Fanout::default(),
            taps: Vec::new(),
            exports: Vec::new(),
            exported: false,
            live: false,
            level: LevelMeter::default(),
            coalescer: FrameCoalescer::default(),
        }
    }

    /// Copies a stored packet to recorders and other shards.
    pub(super) fn relay_packet(&mut self, layer: u8, seq: SeqNo, counters: &Counters) {
        if self.taps.is_empty() && self.exports.is_empty() {
            return;
        }
        let Some((meta, bytes)) = self
            .media
            .layers
            .get(usize::from(layer))
            .and_then(|l| l.ring.get(seq))
        else {
            return;
        };
        let mut payload = [0; MAX_PAYLOAD];
        payload[..bytes.len()].copy_from_slice(bytes);
        let item = RelayItem {
            layer,
            body: RelayBody::Packet {
                meta: *meta,
                payload,
            },
        };
        self.relay(item, counters);
    }

    /// Stores a clock report of the publisher and relays it.
    pub(super) fn set_clock(&mut self, layer: u8, clock: ClockReport, counters: &Counters) {
        if let Some(held) = self.media.layers.get_mut(usize::from(layer)) {
            held.clock = Some(clock);
        }
        let ClockReport {
            ntp,
            rtp_time,
            arrival,
        } = clock;
        self.relay(
            RelayItem {
                layer,
                body: RelayBody::Clock {
                    ntp,
                    rtp_time,
                    arrival,
                },
            },
            counters,
        );
    }

    /// Resets a layer whose publisher switched to another SSRC.
    pub(super) fn restart_layer(&mut self, layer: u8, counters: &Counters) {
        self.media.restart_layer(layer);
        for forwarder in self.fanout.iter_mut() {
            forwarder.layer_restarted(layer);
        }
        self.relay(
            RelayItem {
                layer,
                body: RelayBody::Restart,
            },
            counters,
        );
    }

    fn relay(&mut self, item: RelayItem, counters: &Counters) {
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

/// Rate limiter of audio level events.
#[derive(Default)]
pub(super) struct LevelMeter {
    /// The maximum since the last report, in dBov.
    loudest: Option<i8>,
    /// Time of the last evaluation, and the level that was last reported.
    reported: Option<(Instant, i8)>,
}

impl LevelMeter {
    /// Adds the level of one packet, in dBov. Returns the maximum since the last report if the
    /// interval is over and the level has changed enough.
    pub(super) fn add(&mut self, now: Instant, level_dbov: i8) -> Option<i8> {
        let loudest = self.loudest.map_or(level_dbov, |held| held.max(level_dbov));
        self.loudest = Some(loudest);
        let due = self
            .reported
            .is_none_or(|(at, _)| now.saturating_duration_since(at) >= LEVEL_INTERVAL);
        if !due {
            return None;
        }
        let changed = self
            .reported
            .is_none_or(|(_, level)| level.abs_diff(loudest) >= LEVEL_STEP as u8);
        self.loudest = None;
        self.reported = Some((
            now,
            if changed {
                loudest
            } else {
                self.reported.map_or(loudest, |(_, level)| level)
            },
        ));
        changed.then_some(loudest)
    }
}
