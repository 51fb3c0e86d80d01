//! The main programme: what a player that knows one address sees and hears.
//!
//! The screen while one is shared, else the lead teacher's picture, else the next best; the lead teacher's voice likewise. Tracks come and
//! go, so the programme is a schedule of tracks, and its entries are their segments. Where the scheduled track has nothing — a camera
//! switched off — an entry is a still picture or silence made by the server ([`super::filler`]): players stop or skip at holes, and then
//! the voice would be lost together with the picture. Per-track playlists keep the hole.
//!
//! An entry is never changed once a playlist has shown it: a track's place in the schedule is known with its first fragment, half a second
//! after it begins, and the segment that it cuts short is published only when whole.

use super::catalogue::{Kind, Layer, Purpose, Recorded, Segment, Track};
use crate::bus::ParticipantKind;

/// A hole shorter than this is nothing that a player notices.
pub const SEAM_US: i64 = 100_000;
/// Longest entry of a playlist; EXT-X-TARGETDURATION promises it.
pub const LONGEST_US: i64 = 6_000_000;

/// One entry of a playlist: it lasts from `start_us` to `end_us` on the lesson's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub start_us: i64,
    pub end_us: i64,
    pub source: Source<'a>,
}

/// Where an entry's media come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    Segment {
        track: &'a Track,
        layer: u8,
        segment: &'a Segment,
    },
    /// Nothing was recorded, and the playlist says so.
    Hole,
    /// Nothing was recorded, and the server fills in.
    Filler,
}

/// Renditions of the programme's picture: as many as its richest track has layers; 0 is the smallest.
pub fn variants(recorded: &Recorded) -> usize {
    candidates(recorded, Kind::Video).iter().map(|track| track.playable_layers().count()).max().unwrap_or(0)
}

/// The programme's picture in one rendition, or its sound.
pub fn entries(recorded: &Recorded, kind: Kind, variant: usize) -> Vec<Entry<'_>> {
    let mut out = Vec::new();
    let mut cursor = 0;
    for slot in schedule(recorded, kind) {
        let Some(layer) = layer_of(slot.track, variant) else { continue };
        for segment in layer.segments.iter().filter(|segment| segment.touches(slot.from_us, slot.to_us)) {
            let (start, end) = (segment.start_us.max(slot.from_us), segment.end_us().min(slot.to_us));
            fill(&mut out, &mut cursor, start, Source::Filler);
            if end > cursor {
                let source = Source::Segment { track: slot.track, layer: layer.number, segment };
                out.push(Entry { start_us: cursor, end_us: end, source });
                cursor = end;
            }
        }
    }
    if let Some(end) = recorded.end_us() {
        fill(&mut out, &mut cursor, end, Source::Filler);
    }
    out
}

/// One layer of one track, from its beginning on, holes left open.
pub fn track_entries<'a>(track: &'a Track, layer: &'a Layer) -> Vec<Entry<'a>> {
    let mut out = Vec::new();
    let mut cursor = track.from_ms * 1000;
    for segment in &layer.segments {
        fill(&mut out, &mut cursor, segment.start_us, Source::Hole);
        if segment.end_us() > cursor {
            let source = Source::Segment { track, layer: layer.number, segment };
            out.push(Entry { start_us: cursor, end_us: segment.end_us(), source });
            cursor = segment.end_us();
        }
    }
    out
}

/// The layer that stands for a rendition of the programme: the same rank from below, or the best there is.
pub fn layer_of(track: &Track, variant: usize) -> Option<&Layer> {
    let mut layers: Vec<&Layer> = track.playable_layers().collect();
    layers.sort_by_key(|layer| layer.pixels());
    let last = layers.len().checked_sub(1)?;
    Some(layers[variant.min(last)])
}

/// A stretch of the lesson that shows one track.
#[derive(Debug, PartialEq, Eq)]
struct Slot<'a> {
    from_us: i64,
    to_us: i64,
    track: &'a Track,
}

/// Who is on when: at every moment the best of the tracks that are there.
fn schedule(recorded: &Recorded, kind: Kind) -> Vec<Slot<'_>> {
    let tracks = candidates(recorded, kind);
    let mut edges: Vec<i64> = tracks.iter().flat_map(|track| [track.from_ms * 1000, track.until_us()]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut slots: Vec<Slot> = Vec::new();
    for pair in edges.windows(2) {
        let (from_us, to_us) = (pair[0], pair[1]);
        let on = |track: &&&Track| track.from_ms * 1000 <= from_us && track.until_us() >= to_us;
        let Some(track) = tracks.iter().find(on) else { continue };
        match slots.last_mut() {
            Some(last) if last.track.id == track.id && last.to_us == from_us => last.to_us = to_us,
            _ => slots.push(Slot { from_us, to_us, track }),
        }
    }
    slots
}

/// The tracks that the programme may show, best first.
fn candidates(recorded: &Recorded, kind: Kind) -> Vec<&Track> {
    let mut tracks: Vec<&Track> =
        recorded.tracks.iter().filter(|track| track.kind == kind && track.playable_layers().next().is_some()).collect();
    // Later tracks first among equals: who reloads the page has two for a moment.
    tracks.sort_by_key(|track| (rank(recorded, track), -track.from_ms));
    tracks
}

fn rank(recorded: &Recorded, track: &Track) -> u8 {
    let lead = recorded.is_lead(track);
    match (track.purpose, track.participant.kind) {
        (Purpose::Screen, _) if track.kind == Kind::Video => 0,
        (Purpose::Camera, _) if lead => 1,
        (Purpose::Whip, _) => 2,
        (Purpose::Camera, ParticipantKind::Person) => 3,
        (Purpose::Camera, _) => 4,
        (Purpose::Screen, _) => 5,
    }
}

/// Appends entries of at most [`LONGEST_US`] from the cursor up to `until`, unless the hole is too short to matter.
fn fill<'a>(out: &mut Vec<Entry<'a>>, cursor: &mut i64, until: i64, source: Source<'a>) {
    if until - *cursor <= SEAM_US {
        return;
    }
    while *cursor < until {
        let end = until.min(*cursor + LONGEST_US);
        out.push(Entry { start_us: *cursor, end_us: end, source });
        *cursor = end;
    }
}
