//! The main programme: the single video and audio stream that a player gets by default.
//!
//! The video is the shared screen, else the lead teacher's camera, else the next best track; the
//! audio is selected likewise. The programme is a schedule of tracks, and its entries are their
//! segments. Gaps of the scheduled track, such as a camera that is off, are filled with placeholder
//! media ([`super::placeholder`]): players stop or skip at gaps, and would lose the audio with the
//! video. Playlists of single tracks keep the gaps.
//!
//! A published entry never changes: a track enters the schedule with its first fragment, half a
//! second after its start, and the segment that it truncates is published only when complete.
//!
//! A playlist cannot carry several audio tracks at once. During the lesson and for some seconds
//! after it, the programme's audio is the lead's; then it is the mix of all tracks
//! ([`super::export`]).

use super::catalogue::{Layer, MediaKind, Purpose, Recorded, Segment, Track};
use crate::bus::ParticipantKind;

/// Longest gap that players play over.
pub const GAP_TOLERANCE_US: i64 = 100_000;
/// Longest playlist entry, as announced by EXT-X-TARGETDURATION.
pub const MAX_ENTRY_US: i64 = 6_000_000;

/// Playlist entry from `start_us` to `end_us` on the lesson's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub start_us: i64,
    pub end_us: i64,
    pub source: EntrySource<'a>,
}

/// Source of an entry's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntrySource<'a> {
    Segment {
        track: &'a Track,
        layer: u8,
        segment: &'a Segment,
    },
    /// Nothing was recorded; the playlist has an EXT-X-GAP.
    Gap,
    /// Nothing was recorded; the server generates placeholder media.
    Placeholder,
}

/// Time recorded after a gap from which the gap is final during a lesson: the longest segment plus
/// writing it.
const GAP_FINAL_AFTER_US: i64 = 8_000_000;

/// Returns the number of video variants: the most playable layers of a track. Variant 0 is the
/// smallest.
pub fn variant_count(recorded: &Recorded) -> usize {
    candidates(recorded, MediaKind::Video)
        .iter()
        .map(|track| track.playable_layers().count())
        .max()
        .unwrap_or(0)
}

/// Returns the entries of the programme: one video variant, or the audio.
pub fn entries(recorded: &Recorded, kind: MediaKind, variant: usize) -> Vec<Entry<'_>> {
    let mut out = Vec::new();
    let mut cursor = 0;
    for slot in schedule(recorded, kind) {
        let layers = layers_by_preference(slot.track, variant);
        let segments = select_segments(
            recorded,
            slot.track,
            &layers,
            slot.from_us.max(cursor),
            slot.to_us,
        );
        append_segments(
            slot.track,
            segments,
            EntrySource::Placeholder,
            &mut cursor,
            &mut out,
        );
    }
    if let Some(end) = recorded.end_us() {
        fill_gap(&mut out, &mut cursor, end, EntrySource::Placeholder);
    }
    out
}

/// Returns the entries of one track, preferring this layer; gaps stay gaps.
pub fn track_entries<'a>(
    recorded: &'a Recorded,
    track: &'a Track,
    layer: &'a Layer,
) -> Vec<Entry<'a>> {
    let rank = ranked(track)
        .iter()
        .position(|ranked| ranked.number == layer.number)
        .unwrap_or(0);
    let layers = layers_by_preference(track, rank);
    let mut cursor = track.from_ms * 1000;
    let mut out = Vec::new();
    let segments = select_segments(recorded, track, &layers, cursor, track.until_us());
    append_segments(track, segments, EntrySource::Gap, &mut cursor, &mut out);
    out
}

/// Returns the best playable layer of a track.
pub fn best_playable_layer(track: &Track) -> Option<&Layer> {
    ranked(track).last().copied()
}

/// Appends segments of a track, with `gap` entries between them.
fn append_segments<'a>(
    track: &'a Track,
    segments: Vec<TrimmedSegment<'a>>,
    gap: EntrySource<'a>,
    cursor: &mut i64,
    out: &mut Vec<Entry<'a>>,
) {
    for trimmed in segments {
        fill_gap(out, cursor, trimmed.start_us, gap);
        let source = EntrySource::Segment {
            track,
            layer: trimmed.layer,
            segment: trimmed.segment,
        };
        out.push(Entry {
            start_us: *cursor,
            end_us: trimmed.end_us,
            source,
        });
        *cursor = trimmed.end_us;
    }
}

/// Segment, trimmed to the range that is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimmedSegment<'a> {
    pub layer: u8,
    pub segment: &'a Segment,
    pub start_us: i64,
    pub end_us: i64,
}

/// Selects the segments of a time range from the first layer that has one at each moment.
///
/// `layers` are in order of preference. Publishers drop their best layer when bandwidth or
/// processor time is short.
pub fn select_segments<'a>(
    recorded: &Recorded,
    track: &Track,
    layers: &[&'a Layer],
    from_us: i64,
    to_us: i64,
) -> Vec<TrimmedSegment<'a>> {
    let mut out: Vec<TrimmedSegment> = Vec::new();
    let mut cursor = from_us;
    let Some(preferred) = layers.first() else {
        return out;
    };
    while cursor < to_us {
        let found = layers
            .iter()
            .position(|layer| segment_at(layer, cursor, out.last()).is_some());
        // The preferred layer's segment may not be written yet.
        if found != Some(0) && !is_gap_final(recorded, track, preferred, cursor) {
            break;
        }
        match found.and_then(|index| {
            Some((
                layers[index],
                segment_at(layers[index], cursor, out.last())?,
            ))
        }) {
            Some((layer, segment)) => {
                let end_us = segment.end_us().min(to_us);
                out.push(TrimmedSegment {
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

/// Returns the segment of a layer that covers this time and can be decoded after `before`.
fn segment_at<'a>(
    layer: &'a Layer,
    cursor: i64,
    before: Option<&TrimmedSegment>,
) -> Option<&'a Segment> {
    let index = layer
        .segments
        .partition_point(|segment| segment.start_us <= cursor + GAP_TOLERANCE_US)
        .checked_sub(1)?;
    let segment = &layer.segments[index];
    let follows = |before: &TrimmedSegment| {
        (before.layer, before.segment.init, before.segment.number + 1)
            == (layer.number, segment.init, segment.number)
    };
    // A short remainder does not justify a change of layer.
    let long_enough = segment.end_us() - cursor.max(segment.start_us)
        > GAP_TOLERANCE_US.min(segment.duration_us / 2);
    (long_enough && (segment.keyframe || before.is_some_and(follows))).then_some(segment)
}

fn next_start(layer: &Layer, cursor: i64) -> Option<i64> {
    let after = layer
        .segments
        .partition_point(|segment| segment.start_us <= cursor + GAP_TOLERANCE_US);
    layer.segments[after..]
        .iter()
        .find(|segment| segment.keyframe)
        .map(|segment| segment.start_us)
}

fn is_gap_final(recorded: &Recorded, track: &Track, layer: &Layer, cursor: i64) -> bool {
    let later = layer
        .segments
        .last()
        .is_some_and(|last| last.start_us > cursor);
    recorded.is_over()
        || track.to_ms.is_some()
        || later
        || recorded.recorded_ms() * 1000 - cursor > GAP_FINAL_AFTER_US
}

/// Returns the playable layers, smallest frame size first.
fn ranked(track: &Track) -> Vec<&Layer> {
    let mut layers: Vec<&Layer> = track.playable_layers().collect();
    layers.sort_by_key(|layer| layer.pixels());
    layers
}

/// Returns the layer of this rank, then the lower ones from the top, then the higher ones.
fn layers_by_preference(track: &Track, rank: usize) -> Vec<&Layer> {
    let mut layers = ranked(track);
    let above = layers.split_off(layers.len().min(rank.saturating_add(1)));
    layers.reverse();
    layers.extend(above);
    layers
}

/// Time range in which the programme shows one track.
#[derive(Debug, PartialEq, Eq)]
struct Slot<'a> {
    from_us: i64,
    to_us: i64,
    track: &'a Track,
}

/// Returns the schedule: at each moment the best of the available tracks.
fn schedule(recorded: &Recorded, kind: MediaKind) -> Vec<Slot<'_>> {
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

/// Returns the tracks that the programme may show, best first.
fn candidates(recorded: &Recorded, kind: MediaKind) -> Vec<&Track> {
    let mut tracks: Vec<&Track> = recorded
        .tracks
        .iter()
        .filter(|track| track.kind == kind && track.playable_layers().next().is_some())
        .collect();
    // Later tracks first among equals: a reloading client briefly has two.
    tracks.sort_by_key(|track| (rank(recorded, track), -track.from_ms));
    // Classrooms and assistants are shown only if the lead never published: a classroom must not
    // appear briefly while the lead's camera starts.
    let others = |track: &&Track| rank(recorded, track) > LAST_LEAD_RANK;
    if !recorded.is_over() || !tracks.iter().all(&others) {
        tracks.retain(|track| !others(track));
    }
    tracks
}

/// Highest rank of the lead's tracks: screen, camera, hardware encoder (WHIP).
const LAST_LEAD_RANK: u8 = 2;

fn rank(recorded: &Recorded, track: &Track) -> u8 {
    let lead = recorded.is_lead(track);
    match (track.purpose, track.participant.kind) {
        (Purpose::Screen, _) if track.kind == MediaKind::Video => 0,
        (Purpose::Camera, _) if lead => 1,
        (Purpose::Whip, _) => 2,
        (Purpose::Camera, ParticipantKind::Person) => 3,
        (Purpose::Camera, _) => 4,
        (Purpose::Screen, _) => 5,
    }
}

/// Appends entries of at most [`MAX_ENTRY_US`] from the cursor to `until`, unless the gap is within
/// the tolerance.
fn fill_gap<'a>(out: &mut Vec<Entry<'a>>, cursor: &mut i64, until: i64, source: EntrySource<'a>) {
    if until - *cursor <= GAP_TOLERANCE_US {
        return;
    }
    while *cursor < until {
        let end = until.min(*cursor + MAX_ENTRY_US);
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
        let (kind, codec) = (MediaKind::Video, Codec::H264);
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
            has_audio_mix: false,
            mp4_bytes,
            lead: vec![lead],
            tracks,
        }
    }

    /// Start and end in seconds and the layer of each entry.
    fn shown(entries: &[Entry]) -> Vec<(i64, i64, Option<u8>)> {
        let layer = |source: &EntrySource| match source {
            EntrySource::Segment { layer, .. } => Some(*layer),
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
    fn a_dropped_layer_is_replaced_by_the_next_lower_one() {
        let lead = Uuid::now_v7();
        let (low, high) = (
            layer(0, 320, &[(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]),
            layer(2, 1280, &[(0, 2), (7, 9), (9, 10)]),
        );
        let camera = track(lead, Purpose::Camera, 0, Some(10), vec![low, high]);
        let recorded = lesson(lead, RecordingState::Ready, vec![camera]);
        let best = shown(&entries(&recorded, MediaKind::Video, 1));
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
            shown(&entries(&recorded, MediaKind::Video, 0))
                .iter()
                .all(|(_, _, layer)| *layer == Some(0))
        );
    }

    #[test]
    fn published_entries_stay_when_more_is_recorded() {
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
                MediaKind::Video,
                1,
            ))
        };
        // The low layer's segment is written before the high layer's.
        let before = on(&[(0, 2), (2, 4)], &[(0, 2)]);
        let after = on(&[(0, 2), (2, 4)], &[(0, 2), (2, 4)]);
        assert_eq!(before, [(0, 2, Some(2))]);
        assert!(after.starts_with(&before));
        // A layer that stays absent is replaced.
        let replaced = on(
            &[(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 12)],
            &[(0, 2)],
        );
        assert_eq!(replaced[..2], [(0, 2, Some(2)), (2, 4, Some(0))]);
    }

    #[test]
    fn a_shared_screen_is_shown_and_no_classroom_before_the_lead() {
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
        assert_eq!(shown(&entries(&recorded, MediaKind::Video, 0)), expected);
    }
}
