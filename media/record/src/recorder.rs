//! Recorder of one lesson: entry point of this crate.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::Duration;
use crate::clock::{PeerClock, ntp_nanos};
use crate::event::Event;
use crate::frame::Codec;
use crate::layer::{Layer, LayerStats};
use crate::payload::OrderedPacket;

/// Received RTP packet: decrypted, with its header parsed (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Simulcast layer; 0 for a track without simulcast.
    pub layer: u8,
    /// Extended sequence number, rollovers included. Padding-only packets have an empty payload.
    pub seq: u64,
    /// RTP timestamp in ticks of [`Codec::clock_rate`].
    pub rtp_time: u32,
    /// Marker bit; set on the last packet of a video frame.
    pub marker: bool,
    /// Arrival time since the start of the lesson.
    pub arrival: Duration,
    /// RTP payload without header extensions and padding.
    pub payload: &'a [u8],
}

/// RTCP sender report: maps RTP timestamps to the sender's wall clock (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug)]
pub struct SenderReport {
    /// Simulcast layer that the report describes.
    pub layer: u8,
    /// NTP timestamp: seconds in 32.32 fixed point (RFC 3550 §4).
    pub ntp: u64,
    /// RTP timestamp of the same instant.
    pub rtp_time: u32,
    /// Arrival time since the start of the lesson.
    pub arrival: Duration,
}

/// Event of one layer of one track.
///
/// Order within a layer: `Init`, the `Fragment`s of a segment, its `SegmentEnd`, the next segment.
/// A new `Init` comes only between segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Track number given to [`Recorder::add_track`].
    pub track: u64,
    /// Simulcast layer.
    pub layer: u8,
    /// Event to store or to act on.
    pub event: Event,
}

/// Long enough that one keyframe per segment costs little, short enough to wait for.
const DEFAULT_SEGMENT_DURATION: Duration = Duration::from_secs(2);
/// Duration of one fragment.
const MIN_SEGMENT_DURATION: Duration = Duration::from_millis(500);
/// Below the 6 s after which the segmenter ends a segment without a keyframe.
const MAX_SEGMENT_DURATION: Duration = Duration::from_secs(5);

struct Track {
    peer: u64,
    codec: Codec,
    layers: BTreeMap<u8, Layer>,
}

/// Recorder of all tracks of one lesson. The caller assigns the track and peer numbers.
pub struct Recorder {
    segment_duration: Duration,
    tracks: HashMap<u64, Track>,
    peers: HashMap<u64, PeerClock>,
    outputs: VecDeque<Output>,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new()
    }
}

impl Recorder {
    /// Creates a recorder with segments of about two seconds.
    pub fn new() -> Recorder {
        Recorder::with_segment_duration(DEFAULT_SEGMENT_DURATION)
    }

    /// Creates a recorder with segments of about `duration`, clamped to 0.5–5 s.
    pub fn with_segment_duration(duration: Duration) -> Recorder {
        Recorder {
            segment_duration: duration.clamp(MIN_SEGMENT_DURATION, MAX_SEGMENT_DURATION),
            tracks: HashMap::new(),
            peers: HashMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Adds a track. The tracks of one `peer` share the clock that their sender reports refer to.
    pub fn add_track(&mut self, track: u64, peer: u64, codec: Codec) {
        self.tracks.insert(
            track,
            Track {
                peer,
                codec,
                layers: BTreeMap::new(),
            },
        );
        self.peers.entry(peer).or_default();
    }

    /// Processes a packet; ignores packets of unknown tracks.
    pub fn handle_packet(&mut self, track: u64, packet: Packet) {
        let Packet {
            layer,
            seq,
            rtp_time,
            marker,
            arrival,
            payload,
        } = packet;
        self.with_layer(track, layer, |layer, peer, events| {
            layer.handle_packet(
                seq,
                OrderedPacket {
                    rtp_time,
                    marker,
                    arrival,
                    payload,
                },
                peer,
                events,
            );
        });
    }

    /// Processes a sender report; ignores reports of unknown tracks.
    pub fn handle_sender_report(&mut self, track: u64, report: SenderReport) {
        let Some(peer) = self.tracks.get(&track).map(|track| track.peer) else {
            return;
        };
        self.peers
            .entry(peer)
            .or_default()
            .observe(ntp_nanos(report.ntp), report.arrival);
        self.with_layer(track, report.layer, |layer, _, _| {
            layer.handle_sender_report(report.rtp_time, report.ntp)
        });
    }

    /// Resets sequence numbers and RTP time of a layer that continues from another source (SSRC).
    pub fn restart_layer(&mut self, track: u64, layer: u8) {
        self.with_layer(track, layer, |layer, peer, events| {
            layer.restart(peer, events)
        });
    }

    /// Expires the timeouts of all layers. The caller runs it about ten times a second.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.with_all_layers(None, |layer, peer, events| {
            layer.handle_timeout(now, peer, events)
        });
    }

    /// Flushes a track, ends its last segment and returns its statistics by layer.
    pub fn remove_track(&mut self, track: u64) -> BTreeMap<u8, LayerStats> {
        self.with_all_layers(Some(track), |layer, peer, events| {
            layer.finish(peer, events)
        });
        let Some(removed) = self.tracks.remove(&track) else {
            return BTreeMap::new();
        };
        if !self.tracks.values().any(|other| other.peer == removed.peer) {
            self.peers.remove(&removed.peer);
        }
        removed
            .layers
            .iter()
            .map(|(layer, state)| (*layer, state.stats()))
            .collect()
    }

    /// Returns the next event; `None` if there is none at present.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn with_layer(
        &mut self,
        id: u64,
        layer: u8,
        act: impl FnOnce(&mut Layer, &PeerClock, &mut Vec<Event>),
    ) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let Some(peer) = self.peers.get(&track.peer) else {
            return;
        };
        let (codec, segment) = (track.codec, self.segment_duration);
        let mut events = Vec::new();
        act(
            track
                .layers
                .entry(layer)
                .or_insert_with(|| Layer::new(codec, segment)),
            peer,
            &mut events,
        );
        self.outputs.extend(events.into_iter().map(|event| Output {
            track: id,
            layer,
            event,
        }));
    }

    fn with_all_layers(
        &mut self,
        only: Option<u64>,
        mut act: impl FnMut(&mut Layer, &PeerClock, &mut Vec<Event>),
    ) {
        let all = self
            .tracks
            .iter()
            .filter(|(id, _)| only.is_none_or(|only| only == **id));
        let keys: Vec<(u64, u8)> = all
            .flat_map(|(id, track)| track.layers.keys().map(|layer| (*id, *layer)))
            .collect();
        for (id, layer) in keys {
            self.with_layer(id, layer, &mut act);
        }
    }
}
