//! Plan of an export for `tongke-av`: the scenes, and the segments of each track that they need.
//! The format of the manifest is documented in `media/av/src/manifest.rs`.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use crate::bus::{ParticipantKind, TimelineEvent};
use crate::ids::{DeckId, TrackKey};
use crate::recording::catalogue::{
    Codec, Layer, MediaKind, Purpose, RENDITION_LAYER, Recorded, Segment, Track,
};
use crate::recording::programme::{self, TrimmedSegment};
use crate::recording::timeline::{ShownPage, stage_changes};

/// Longest time without video that the previous scene bridges, such as a reload of the lead's
/// client.
const MAX_BRIDGE_MS: i64 = 10_000;

/// Layout of the canvas from a time on; each field names a video track or a still.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Scene {
    pub from_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
}

/// Input file of the worker: an initialization segment and media segments in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Clip {
    pub track: TrackKey,
    pub codec: Codec,
    pub layer: u8,
    pub init: u32,
    /// Segment numbers.
    pub segments: Vec<u32>,
}

impl Clip {
    pub fn new(track: &Track, layer: &Layer, run: &[&Segment]) -> Option<Clip> {
        let segments = run.iter().map(|segment| segment.number).collect();
        let init = run.first()?.init;
        Some(Clip {
            track: track.id,
            codec: track.codec,
            layer: layer.number,
            init,
            segments,
        })
    }

    /// Name of the clip's file in the scratch directory.
    pub fn file_name(&self, index: usize) -> String {
        let extension = if self.codec == Codec::Vp8 {
            "ivf"
        } else {
            "mp4"
        };
        format!("{}-{index}.{extension}", self.track)
    }
}

/// Scenes and inputs of an export.
#[derive(Debug)]
pub struct Plan {
    pub duration_ms: i64,
    pub scenes: Vec<Scene>,
    /// Clips by track.
    pub video: BTreeMap<String, Vec<Clip>>,
    /// Clips by track.
    pub audio: BTreeMap<String, Vec<Clip>>,
    /// Page images by name.
    pub stills: BTreeMap<String, (DeckId, i64)>,
}

/// Plans the lesson's MP4. `pages` are the shown pages that have an image.
pub fn plan(recorded: &Recorded, events: &[TimelineEvent], pages: &[ShownPage]) -> Plan {
    let duration_ms = recorded
        .duration_ms
        .unwrap_or_else(|| recorded.recorded_ms())
        .max(1);
    let scenes = scenes(recorded, events, pages, duration_ms);
    let stills = pages
        .iter()
        .map(|page| (still_name(page), (page.deck, page.page)))
        .collect();
    let mut video = BTreeMap::new();
    for (name, ranges) in visible_ranges(&scenes, duration_ms) {
        let Some(track) = recorded
            .tracks
            .iter()
            .find(|track| track.id.to_string() == name)
        else {
            continue;
        };
        video.insert(name, clips(recorded, track, &ranges));
    }
    let audio_tracks = recorded
        .tracks
        .iter()
        .filter(|track| track.kind == MediaKind::Audio);
    let audio = audio_tracks
        .map(|track| {
            (
                track.id.to_string(),
                clips(recorded, track, &[(0, duration_ms)]),
            )
        })
        .filter(|(_, clips)| !clips.is_empty())
        .collect();
    Plan {
        duration_ms,
        scenes,
        video,
        audio,
        stills,
    }
}

/// Returns the recorded layers, largest frame size first, without renditions.
fn recorded_layers(track: &Track) -> Vec<&Layer> {
    let recorded = track
        .layers
        .iter()
        .filter(|layer| layer.number < RENDITION_LAYER && !layer.segments.is_empty());
    let mut layers: Vec<&Layer> = recorded.collect();
    layers.sort_by_key(|layer| -layer.pixels());
    layers
}

/// Returns the recorded layer with the largest frame size.
pub fn best_layer(track: &Track) -> Option<&Layer> {
    recorded_layers(track).first().copied()
}

fn scenes(
    recorded: &Recorded,
    events: &[TimelineEvent],
    pages: &[ShownPage],
    duration_ms: i64,
) -> Vec<Scene> {
    let videos: Vec<&Track> = recorded
        .tracks
        .iter()
        .filter(|track| track.kind == MediaKind::Video && best_layer(track).is_some())
        .collect();
    let stages = stage_changes(events);
    let mut edges: Vec<i64> = videos
        .iter()
        .flat_map(|track| [track.from_ms, until(track)])
        .collect();
    edges.extend(stages.iter().map(|(at, _)| *at));
    edges.extend(pages.iter().flat_map(|page| [page.from_ms, end(page)]));
    edges.push(0);
    edges.retain(|edge| (0..duration_ms).contains(edge));
    edges.sort_unstable();
    edges.dedup();
    let mut scenes: Vec<Scene> = Vec::new();
    for (index, from_ms) in edges.iter().copied().enumerate() {
        let next = edges.get(index + 1).copied().unwrap_or(duration_ms);
        let on_stage = stages
            .iter()
            .rev()
            .find(|(at, _)| *at <= from_ms)
            .map(|(_, ids)| ids);
        let page = pages
            .iter()
            .find(|page| page.from_ms <= from_ms && from_ms < end(page))
            .map(still_name);
        let scene = scene(recorded, &videos, page, from_ms, |id| {
            on_stage.is_some_and(|ids| ids.contains(&id))
        });
        let empty = scene.main.is_none();
        let same = |last: &Scene| {
            (&last.main, &last.inset, &last.beside) == (&scene.main, &scene.inset, &scene.beside)
        };
        if scenes
            .last()
            .is_some_and(|last| same(last) || (empty && next - from_ms < MAX_BRIDGE_MS))
        {
            continue;
        }
        scenes.push(scene);
    }
    start_with_video(scenes)
}

/// Extends the first scene with video back to the start, before which the camera was starting.
fn start_with_video(mut scenes: Vec<Scene>) -> Vec<Scene> {
    if let [first, second, ..] = &scenes[..]
        && first.main.is_none()
        && second.from_ms < MAX_BRIDGE_MS
    {
        scenes.remove(0);
        scenes[0].from_ms = 0;
    }
    scenes
}

/// Name of a page image in the manifest.
fn still_name(page: &ShownPage) -> String {
    format!("{}-{}", page.deck, page.page)
}

fn end(page: &ShownPage) -> i64 {
    page.to_ms.unwrap_or(i64::MAX)
}

/// Selects the layout at a time.
///
/// A screen or page fills the canvas, with the classroom on stage or else the lead as the inset.
/// Without them the lead is shown, beside the classroom on stage.
fn scene(
    recorded: &Recorded,
    videos: &[&Track],
    page: Option<String>,
    at_ms: i64,
    on_stage: impl Fn(Uuid) -> bool,
) -> Scene {
    let available = || {
        videos
            .iter()
            .filter(|track| track.from_ms <= at_ms && at_ms < until(track))
    };
    let name = |track: &&&Track| track.id.to_string();
    let screen = available().find(|track| track.purpose == Purpose::Screen);
    let lead =
        available().rfind(|track| recorded.is_lead(track) && track.purpose == Purpose::Camera);
    let called = available().find(|track| {
        track.purpose == Purpose::Camera
            && !recorded.is_lead(track)
            && on_stage(track.participant.id)
    });
    let any = available().min_by_key(|track| {
        (
            track.purpose != Purpose::Whip,
            track.participant.kind != ParticipantKind::Person,
        )
    });
    if let (None, Some(page)) = (screen, &page) {
        let inset = called.or(lead).or(any).as_ref().map(name);
        return Scene {
            from_ms: at_ms,
            main: Some(page.clone()),
            inset,
            beside: None,
        };
    }
    let (main, inset, beside) = match (screen, lead.or(any)) {
        (Some(screen), lead) => (
            Some(screen),
            called.or(lead.filter(|lead| lead.id != screen.id)),
            None,
        ),
        (None, Some(lead)) => (
            Some(lead),
            None,
            called.filter(|called| called.id != lead.id),
        ),
        (None, None) => (None, None, None),
    };
    Scene {
        from_ms: at_ms,
        main: main.as_ref().map(name),
        inset: inset.as_ref().map(name),
        beside: beside.as_ref().map(name),
    }
}

fn until(track: &Track) -> i64 {
    track.to_ms.unwrap_or(i64::MAX)
}

/// Returns the time ranges in which each track or still is visible.
fn visible_ranges(scenes: &[Scene], duration_ms: i64) -> BTreeMap<String, Vec<(i64, i64)>> {
    let mut ranges: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for (index, scene) in scenes.iter().enumerate() {
        let until = scenes
            .get(index + 1)
            .map_or(duration_ms, |next| next.from_ms);
        for name in [&scene.main, &scene.inset, &scene.beside]
            .into_iter()
            .flatten()
        {
            ranges
                .entry(name.clone())
                .or_default()
                .push((scene.from_ms, until));
        }
    }
    ranges
}

/// Returns the segments of these time ranges, one clip per run of the same layer and format.
fn clips(recorded: &Recorded, track: &Track, ranges: &[(i64, i64)]) -> Vec<Clip> {
    let layers = recorded_layers(track);
    let mut segments: Vec<TrimmedSegment> = Vec::new();
    for (from_ms, to_ms) in merged(ranges) {
        segments.extend(programme::select_segments(
            recorded,
            track,
            &layers,
            from_ms * 1000,
            to_ms.saturating_mul(1000),
        ));
    }
    // A segment that spans two ranges is selected twice.
    segments.dedup_by_key(|trimmed| (trimmed.layer, trimmed.segment.number));
    let same = |a: &TrimmedSegment, b: &TrimmedSegment| {
        (a.layer, a.segment.init) == (b.layer, b.segment.init)
    };
    let clip = |run: &[TrimmedSegment]| Clip {
        track: track.id,
        codec: track.codec,
        layer: run[0].layer,
        init: run[0].segment.init,
        segments: run.iter().map(|trimmed| trimmed.segment.number).collect(),
    };
    segments.chunk_by(same).map(clip).collect()
}

/// Merges ranges that touch or overlap.
fn merged(ranges: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from, to) in ranges {
        match merged.last_mut() {
            Some(last) if *from <= last.1 => last.1 = last.1.max(*to),
            _ => merged.push((*from, *to)),
        }
    }
    merged
}
