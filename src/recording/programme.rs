//! The main programme: what a player that knows one address sees and hears.
//!
//! The screen while one is shared, else the lead teacher's picture, else the next best; the lead teacher's voice likewise. Tracks come and
//! go, so the programme is a schedule of tracks, and its entries are their segments. Where the scheduled track has nothing — a camera
//! switched off — an entry is a still picture or silence made by the server ([`super::filler`]): players stop or skip at holes, and then
//! the voice would be lost together with the picture. Per-track playlists keep the hole.
//!
//! An entry is never changed once a playlist has shown it: a track's place in the schedule is known with its first fragment, half a second
//! after it begins, and the segment that it cuts short is published only when whole.
//!
//! One playlist cannot carry several voices at once. While the lesson is on, and for some seconds after, the programme's voice is the
//! lead's; then a job has mixed all of them ([`super::export`]) and the programme has everybody's.

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

/// A hole is believed in a lesson that is on once this much more has been recorded: the longest segment and its writing.
const PATIENCE_US: i64 = 8_000_000;

/// Renditions of the programme's picture: as many as its richest track has layers; 0 is the smallest.
pub fn variants(recorded: &Recorded) -> usize {
    candidates(recorded, Kind::Video)
        .iter()
        .map(|track| track.playable_layers().count())
        .max()
        .unwrap_or(0)
}

/// The programme's picture in one rendition, or its sound.
pub fn entries(recorded: &Recorded, kind: Kind, variant: usize) -> Vec<Entry<'_>> {
    let mut out = Vec::new();
    let mut cursor = 0;
    for slot in schedule(recorded, kind) {
        let layers = preference(slot.track, variant);
        let pieces = run(
            recorded,
            slot.track,
            &layers,
            slot.from_us.max(cursor),
            slot.to_us,
        );
        append(slot.track, pieces, Source::Filler, &mut cursor, &mut out);
    }
    if let Some(end) = recorded.end_us() {
        fill(&mut out, &mut cursor, end, Source::Filler);
    }
    out
}

/// One track from its beginning on, in this layer where it can be, holes left open.
pub fn track_entries<'a>(
    recorded: &'a Recorded,
    track: &'a Track,
    layer: &'a Layer,
) -> Vec<Entry<'a>> {
    let rank = ranked(track)
        .iter()
        .position(|ranked| ranked.number == layer.number)
        .unwrap_or(0);
    let layers = preference(track, rank);
    let mut cursor = track.from_ms * 1000;
    let mut out = Vec::new();
    let pieces = run(recorded, track, &layers, cursor, track.until_us());
    append(track, pieces, Source::Hole, &mut cursor, &mut out);
    out
}

/// The best layer of a track that plays.
pub fn best_layer_of(track: &Track) -> Option<&Layer> {
    ranked(track).last().copied()
}

/// Appends a stretch of a track, with `hole` where it has nothing.
fn append<'a>(
    track: &'a Track,
    pieces: Vec<Piece<'a>>,
    hole: Source<'a>,
    cursor: &mut i64,
    out: &mut Vec<Entry<'a>>,
) {
    for piece in pieces {
        fill(out, cursor, piece.start_us, hole);
        let source = Source::Segment {
            track,
            layer: piece.layer,
            segment: piece.segment,
        };
        out.push(Entry {
            start_us: *cursor,
            end_us: piece.end_us,
            source,
        });
        *cursor = piece.end_us;
    }
}

/// A segment, and the part of it that is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub layer: u8,
    pub segment: &'a Segment,
    pub start_us: i64,
    pub end_us: i64,
}

/// A stretch of a track in its most wanted layer, and where that has nothing — senders drop their best layer when line or processor are
/// short — in the next one that has.
pub fn run<'a>(
    recorded: &Recorded,
    track: &Track,
    layers: &[&'a Layer],
    from_us: i64,
    to_us: i64,
) -> Vec<Piece<'a>> {
    let mut out: Vec<Piece> = Vec::new();
    let mut cursor = from_us;
    let Some(wanted) = layers.first() else {
        return out;
    };
    while cursor < to_us {
        let found = layers
            .iter()
            .position(|layer| at(layer, cursor, out.last()).is_some());
        // What the wanted layer lacks may still be on its way.
        if found != Some(0) && !is_final(recorded, track, wanted, cursor) {
            break;
        }
        match found.and_then(|index| Some((layers[index], at(layers[index], cursor, out.last())?)))
        {
            Some((layer, segment)) => {
                let end_us = segment.end_us().min(to_us);
                out.push(Piece {
                    layer: layer.number,
                    segment,
                    start_us: cursor.max(segment.start_us),
                    end_us,
                });
                cursor = end_us;
            }
            None => match layers
                .iter()
                .filter_map(|layer| next_start(layer, cursor))
                .min()
            {
                Some(next) => cursor = next,
                None => break,
            },
        }
    }
    out
}

/// The segment of a layer that covers this moment and can be decoded after what was played before.
fn at<'a>(layer: &'a Layer, cursor: i64, before: Option<&Piece>) -> Option<&'a Segment> {
    let index = layer
        .segments
        .partition_point(|segment| segment.start_us <= cursor + SEAM_US)
        .checked_sub(1)?;
    let segment = &layer.segments[index];
    let follows = |before: &Piece| {
        (before.layer, before.segment.init, before.segment.number + 1)
            == (layer.number, segment.init, segment.number)
    };
    // A scrap that ends at once is not worth a change of layer.
    let lasts =
        segment.end_us() - cursor.max(segment.start_us) > SEAM_US.min(segment.duration_us / 2);
    (lasts && (segment.keyframe || before.is_some_and(follows))).then_some(segment)
}

fn next_start(layer: &Layer, cursor: i64) -> Option<i64> {
    let after = layer
        .segments
        .partition_point(|segment| segment.start_us <= cursor + SEAM_US);
    layer.segments[after..]
        .iter()
        .find(|segment| segment.keyframe)
        .map(|segment| segment.start_us)
}

fn is_final(recorded: &Recorded, track: &Track, wanted: &Layer, cursor: i64) -> bool {
    let later = wanted
        .segments
        .last()
        .is_some_and(|last| last.start_us > cursor);
    recorded.is_over()
        || track.to_ms.is_some()
        || later
        || recorded.recorded_ms() * 1000 - cursor > PATIENCE_US
}

/// The layers that play, smallest picture first.
fn ranked(track: &Track) -> Vec<&Layer> {
    let mut layers: Vec<&Layer> = track.playable_layers().collect();
    layers.sort_by_key(|layer| layer.pixels());
    layers
}

/// The layer of this rank first, then the ones below it, then the ones above.
fn preference(track: &Track, rank: usize) -> Vec<&Layer> {
    let mut layers = ranked(track);
    let above = layers.split_off(layers.len().min(rank.saturating_add(1)));
    layers.reverse();
    layers.extend(above);
    layers
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
    let mut edges: Vec<i64> = tracks
        .iter()
        .flat_map(|track| [track.from_ms * 1000, track.until_us()])
        .collect();
    edges.sort_unstable();
    edges.dedup();
    let mut slots: Vec<Slot> = Vec::new();
    for pair in edges.windows(2) {
        let (from_us, to_us) = (pair[0], pair[1]);
        let on = |track: &&&Track| track.from_ms * 1000 <= from_us && track.until_us() >= to_us;
        let Some(track) = tracks.iter().find(on) else {
            continue;
        };
        match slots.last_mut() {
            Some(last) if last.track.id == track.id && last.to_us == from_us => last.to_us = to_us,
            _ => slots.push(Slot {
                from_us,
                to_us,
                track,
            }),
        }
    }
    slots
}

/// The tracks that the programme may show, best first.
fn candidates(recorded: &Recorded, kind: Kind) -> Vec<&Track> {
    let mut tracks: Vec<&Track> = recorded
        .tracks
        .iter()
        .filter(|track| track.kind == kind && track.playable_layers().next().is_some())
        .collect();
    // Later tracks first among equals: who reloads the page has two for a moment.
    tracks.sort_by_key(|track| (rank(recorded, track), -track.from_ms));
    // Rooms and assistants stand in only where no lead ever came: a room must not flash up while the lead's camera starts.
    let others = |track: &&Track| rank(recorded, track) > LAST_OF_LEAD;
    if !recorded.is_over() || !tracks.iter().all(&others) {
        tracks.retain(|track| !others(track));
    }
    tracks
}

/// The last rank of those who lead: screen, lead, encoder.
const LAST_OF_LEAD: u8 = 2;

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
        out.push(Entry {
            start_us: *cursor,
            end_us: end,
            source,
        });
        *cursor = end;
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::bus::ParticipantRef;
    use crate::ids::{LessonId, TrackKey};
    use crate::recording::catalogue::{Codec, Init};
    use crate::timetable::RecordingState;

    const SECOND: i64 = 1_000_000;

    fn layer(number: u8, width: i64, segments: &[(i64, i64)]) -> Layer {
        let init = Init {
            number: 0,
            codec: "avc1.42e01f".into(),
            width,
            height: width * 9 / 16,
            playable: true,
        };
        let segment = |(number, (from, to)): (usize, &(i64, i64))| Segment {
            number: number as u32,
            init: 0,
            start_us: from * SECOND,
            duration_us: (to - from) * SECOND,
            size_bytes: 1000,
            keyframe: true,
            stored: true,
        };
        Layer {
            number,
            inits: vec![init],
            segments: segments.iter().enumerate().map(segment).collect(),
            gaps: vec![],
        }
    }

    fn track(who: Uuid, purpose: Purpose, from: i64, to: Option<i64>, layers: Vec<Layer>) -> Track {
        let participant = ParticipantRef {
            id: who,
            name: "王雪梅".into(),
            kind: ParticipantKind::Person,
        };
        let (kind, codec) = (Kind::Video, Codec::H264);
        let (from_ms, to_ms) = (from * 1000, to.map(|to| to * 1000));
        Track {
            id: TrackKey::fresh(),
            participant,
            purpose,
            kind,
            codec,
            from_ms,
            to_ms,
            layers,
        }
    }

    fn lesson(lead: Uuid, state: RecordingState, tracks: Vec<Track>) -> Recorded {
        let started_at = crate::db::millis(Timestamp::now());
        let (duration_ms, has_poster, mp4_bytes) = (Some(10_000), false, None);
        Recorded {
            lesson: LessonId::fresh(),
            state,
            started_at,
            duration_ms,
            has_poster,
            has_voices: false,
            mp4_bytes,
            lead: vec![lead],
            tracks,
        }
    }

    /// Each entry as seconds and the layer that is shown.
    fn shown(entries: &[Entry]) -> Vec<(i64, i64, Option<u8>)> {
        let layer = |source: &Source| match source {
            Source::Segment { layer, .. } => Some(*layer),
            _ => None,
        };
        entries
            .iter()
            .map(|entry| {
                (
                    entry.start_us / SECOND,
                    entry.end_us / SECOND,
                    layer(&entry.source),
                )
            })
            .collect()
    }

    #[test]
    fn where_the_best_layer_was_dropped_the_next_one_is_shown() {
        let lead = Uuid::now_v7();
        let (low, high) = (
            layer(0, 320, &[(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]),
            layer(2, 1280, &[(0, 2), (7, 9), (9, 10)]),
        );
        let camera = track(lead, Purpose::Camera, 0, Some(10), vec![low, high]);
        let recorded = lesson(lead, RecordingState::Ready, vec![camera]);
        let best = shown(&entries(&recorded, Kind::Video, 1));
        assert_eq!(
            best,
            [
                (0, 2, Some(2)),
                (2, 4, Some(0)),
                (4, 6, Some(0)),
                (6, 8, Some(0)),
                (8, 9, Some(2)),
                (9, 10, Some(2))
            ]
        );
        assert!(
            shown(&entries(&recorded, Kind::Video, 0))
                .iter()
                .all(|(_, _, layer)| *layer == Some(0))
        );
    }

    #[test]
    fn what_a_playlist_has_shown_stays_when_more_is_recorded() {
        let lead = Uuid::now_v7();
        let on = |low: &[(i64, i64)], high: &[(i64, i64)]| {
            let camera = track(
                lead,
                Purpose::Camera,
                0,
                None,
                vec![layer(0, 320, low), layer(2, 1280, high)],
            );
            shown(&entries(
                &lesson(lead, RecordingState::Recording, vec![camera]),
                Kind::Video,
                1,
            ))
        };
        // The low layer's segment is written first; the high one's follows.
        let before = on(&[(0, 2), (2, 4)], &[(0, 2)]);
        let after = on(&[(0, 2), (2, 4)], &[(0, 2), (2, 4)]);
        assert_eq!(before, [(0, 2, Some(2))]);
        assert!(after.starts_with(&before));
        // A layer that stays away is given up.
        let given_up = on(
            &[(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 12)],
            &[(0, 2)],
        );
        assert_eq!(given_up[..2], [(0, 2, Some(2)), (2, 4, Some(0))]);
    }

    #[test]
    fn the_screen_is_shown_while_it_is_shared_and_no_room_before_the_lead() {
        let (lead, room) = (Uuid::now_v7(), Uuid::now_v7());
        let camera = track(
            lead,
            Purpose::Camera,
            1,
            Some(10),
            vec![layer(0, 320, &[(1, 4), (4, 7), (7, 10)])],
        );
        let screen = track(
            lead,
            Purpose::Screen,
            5,
            Some(8),
            vec![layer(1, 1920, &[(5, 8)])],
        );
        let listening = track(
            room,
            Purpose::Camera,
            0,
            Some(10),
            vec![layer(2, 320, &[(0, 10)])],
        );
        let recorded = lesson(lead, RecordingState::Ready, vec![listening, camera, screen]);
        let expected = [
            (0, 1, None),
            (1, 4, Some(0)),
            (4, 5, Some(0)),
            (5, 8, Some(1)),
            (8, 10, Some(0)),
        ];
        assert_eq!(shown(&entries(&recorded, Kind::Video, 0)), expected);
    }
}
