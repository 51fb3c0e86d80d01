//! One lesson's recording: the public face of this crate.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::Duration;
use crate::clock::{PeerClock, ntp_nanos};
use crate::frame::Codec;
use crate::layer::{Layer, Stats};
use crate::made::{Fragment, Gap, Init, Made, SegmentEnd};
use crate::payload::Ordered;

/// A received RTP packet, decrypted, its header taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Simulcast layer; 0 where there is one.
    pub layer: u8,
    /// Sequence number with its rollovers counted. Padding-only packets count and come with an empty payload.
    pub seq: u64,
    pub rtp_time: u32,
    pub marker: bool,
    /// Since the lesson started.
    pub arrival: Duration,
    pub payload: &'a [u8],
}

/// What a sender says about its clocks (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug)]
pub struct SenderReport {
    pub layer: u8,
    /// 32.32 seconds.
    pub ntp: u64,
    pub rtp_time: u32,
    /// Since the lesson started.
    pub arrival: Duration,
}

/// Something to be written down or done, for one layer of one track. For each layer the order is: `Init`, then `Fragment`s of a segment,
/// then its `SegmentEnd`, and so on; a new `Init` comes between segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub track: u64,
    pub layer: u8,
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Init(Init),
    Fragment(Fragment),
    SegmentEnd(SegmentEnd),
    Gap(Gap),
    /// The publisher should be asked for a keyframe of this track.
    WantKeyframe,
}

/// Long enough for a keyframe in each to cost little, short enough to wait for.
const SEGMENT: Duration = Duration::from_secs(2);
const SEGMENT_SHORTEST: Duration = Duration::from_millis(500);
const SEGMENT_LONGEST: Duration = Duration::from_secs(5);

struct Track {
    peer: u64,
    codec: Codec,
    layers: BTreeMap<u8, Layer>,
}

/// Records the tracks of one lesson. Tracks and peers go by the caller's numbers.
pub struct Recorder {
    segment: Duration,
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
    /// Segments of about two seconds.
    pub fn new() -> Recorder {
        Recorder::with_segments_of(SEGMENT)
    }

    /// Segments of about this length; what is out of reason is brought into it.
    pub fn with_segments_of(length: Duration) -> Recorder {
        let segment = length.clamp(SEGMENT_SHORTEST, SEGMENT_LONGEST);
        Recorder {
            segment,
            tracks: HashMap::new(),
            peers: HashMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Starts a track. Tracks of one `peer` share the clock that their sender reports refer to.
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

    /// Takes a packet; one of an unknown track is ignored.
    pub fn handle_packet(&mut self, track: u64, packet: Packet) {
        let Packet {
            layer,
            seq,
            rtp_time,
            marker,
            arrival,
            payload,
        } = packet;
        self.with_layer(track, layer, |layer, peer, made| {
            layer.handle_packet(
                seq,
                Ordered {
                    rtp_time,
                    marker,
                    arrival,
                    payload,
                },
                peer,
                made,
            );
        });
    }

    pub fn handle_sender_report(&mut self, track: u64, report: SenderReport) {
        let Some(peer) = self.tracks.get(&track).map(|track| track.peer) else {
            return;
        };
        self.peers
            .entry(peer)
            .or_default()
            .observe(ntp_nanos(report.ntp), report.arrival);
        self.with_layer(track, report.layer, |layer, _, _| {
            layer.handle_report(report.rtp_time, report.ntp)
        });
    }

    /// The layer of a track begins another source: sequence numbers and RTP times start anew.
    pub fn restart_layer(&mut self, track: u64, layer: u8) {
        self.with_layer(track, layer, |layer, peer, made| layer.restart(peer, made));
    }

    /// Lets time pass; to be called about ten times a second.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.with_all_layers(None, |layer, peer, made| {
            layer.handle_timeout(now, peer, made)
        });
    }

    /// Ends a track: everything that waits is passed on, its last segment ended. Returns what became of its packets.
    pub fn remove_track(&mut self, track: u64) -> BTreeMap<u8, Stats> {
        self.with_all_layers(Some(track), |layer, peer, made| layer.finish(peer, made));
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

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn with_layer(
        &mut self,
        id: u64,
        layer: u8,
        act: impl FnOnce(&mut Layer, &PeerClock, &mut Vec<Made>),
    ) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let Some(peer) = self.peers.get(&track.peer) else {
            return;
        };
        let (codec, segment) = (track.codec, self.segment);
        let mut made = Vec::new();
        act(
            track
                .layers
                .entry(layer)
                .or_insert_with(|| Layer::new(codec, segment)),
            peer,
            &mut made,
        );
        self.outputs.extend(made.into_iter().map(|made| Output {
            track: id,
            layer,
            event: made.into(),
        }));
    }

    fn with_all_layers(
        &mut self,
        only: Option<u64>,
        mut act: impl FnMut(&mut Layer, &PeerClock, &mut Vec<Made>),
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

impl From<Made> for Event {
    fn from(made: Made) -> Event {
        match made {
            Made::Init(init) => Event::Init(init),
            Made::Fragment(fragment) => Event::Fragment(fragment),
            Made::SegmentEnd(end) => Event::SegmentEnd(end),
            Made::Gap(gap) => Event::Gap(gap),
            Made::WantKeyframe => Event::WantKeyframe,
        }
    }
}
