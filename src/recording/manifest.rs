//! What a lesson's MP4 is made of, for `tongke-av` (the format is described in `media/av/src/manifest.rs`): which tracks are seen when, and
//! which segments that takes.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::catalogue::{Codec, Kind, Layer, Purpose, Recorded, Segment, Track, TrackKey};
use super::timeline::{TimelineEvent, stage};
use crate::bus::ParticipantKind;

/// A moment with nobody to show is bridged with the last picture up to this; the lead reloads the page.
const BRIDGE_MS: i64 = 10_000;

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

/// A file to be put together: an init part and segments, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Clip {
    pub track: TrackKey,
    pub codec: Codec,
    pub layer: u8,
    pub init: u32,
    /// Numbers of the segments.
    pub segments: Vec<u32>,
}

impl Clip {
    pub fn new(track: &Track, layer: &Layer, run: &[&Segment]) -> Option<Clip> {
        let segments = run.iter().map(|segment| segment.number).collect();
        let init = run.first()?.init;
        Some(Clip { track: track.id, codec: track.codec, layer: layer.number, init, segments })
    }
}

/// What to fetch and what to say about it.
#[derive(Debug)]
pub struct Plan {
    pub duration_ms: i64,
    pub scenes: Vec<Scene>,
    pub pictures: BTreeMap<String, Vec<Clip>>,
    pub sounds: BTreeMap<String, Vec<Clip>>,
}

/// Plans the lesson's MP4.
pub fn plan(recorded: &Recorded, events: &[TimelineEvent]) -> Plan {
    let duration_ms = recorded.duration_ms.unwrap_or_else(|| recorded.recorded_ms()).max(1);
    let scenes = scenes(recorded, events, duration_ms);
    let mut pictures = BTreeMap::new();
    for (name, stretches) in shown(&scenes, duration_ms) {
        let Some(track) = recorded.tracks.iter().find(|track| track.id.to_string() == name) else { continue };
        let clips = best_layer(track).map(|layer| clips(track, layer, &stretches)).unwrap_or_default();
        pictures.insert(name, clips);
    }
    let voices = recorded.tracks.iter().filter(|track| track.kind == Kind::Audio);
    let sounds = voices
        .filter_map(|track| Some((track.id.to_string(), clips(track, best_layer(track)?, &[(0, duration_ms)]))))
        .filter(|(_, clips)| !clips.is_empty())
        .collect();
    Plan { duration_ms, scenes, pictures, sounds }
}

/// The recorded layer with the largest picture. Layers made by a job are copies of it.
pub fn best_layer(track: &Track) -> Option<&Layer> {
    let recorded = track.layers.iter().filter(|layer| layer.number < super::catalogue::RENDITION_LAYER);
    recorded.filter(|layer| !layer.segments.is_empty()).max_by_key(|layer| layer.pixels())
}

/// The name of a clip's file.
pub fn file_name(clip: &Clip, index: usize) -> String {
    let extension = if clip.codec == Codec::Vp8 { "ivf" } else { "mp4" };
    format!("{}-{index}.{extension}", clip.track)
}

fn scenes(recorded: &Recorded, events: &[TimelineEvent], duration_ms: i64) -> Vec<Scene> {
    let pictures: Vec<&Track> =
        recorded.tracks.iter().filter(|track| track.kind == Kind::Video && best_layer(track).is_some()).collect();
    let stages = stage(events);
    let mut edges: Vec<i64> = pictures.iter().flat_map(|track| [track.from_ms, until(track)]).collect();
    edges.extend(stages.iter().map(|(at, _)| *at));
    edges.push(0);
    edges.retain(|edge| (0..duration_ms).contains(edge));
    edges.sort_unstable();
    edges.dedup();
    let mut scenes: Vec<Scene> = Vec::new();
    for (index, from_ms) in edges.iter().copied().enumerate() {
        let next = edges.get(index + 1).copied().unwrap_or(duration_ms);
        let on_stage = stages.iter().rev().find(|(at, _)| *at <= from_ms).map(|(_, ids)| ids);
        let scene = scene(recorded, &pictures, from_ms, |id| on_stage.is_some_and(|ids| ids.contains(&id)));
        let empty = scene.main.is_none();
        let same = |last: &Scene| (&last.main, &last.inset, &last.beside) == (&scene.main, &scene.inset, &scene.beside);
        if scenes.last().is_some_and(|last| same(last) || (empty && next - from_ms < BRIDGE_MS)) {
            continue;
        }
        scenes.push(scene);
    }
    open_with_a_picture(scenes)
}

/// The first second, in which the camera comes on, is its picture's too.
fn open_with_a_picture(mut scenes: Vec<Scene>) -> Vec<Scene> {
    if let [first, second, ..] = &scenes[..]
        && first.main.is_none()
        && second.from_ms < BRIDGE_MS
    {
        scenes.remove(0);
        scenes[0].from_ms = 0;
    }
    scenes
}

/// Screen with the room on stage, or else the lead, in its corner; without a screen the lead, and beside it the room on stage.
fn scene(recorded: &Recorded, pictures: &[&Track], at_ms: i64, on_stage: impl Fn(Uuid) -> bool) -> Scene {
    let on = || pictures.iter().filter(|track| track.from_ms <= at_ms && at_ms < until(track));
    let name = |track: &&&Track| track.id.to_string();
    let screen = on().find(|track| track.purpose == Purpose::Screen);
    let lead = on().rfind(|track| recorded.is_lead(track) && track.purpose == Purpose::Camera);
    let called = on()
        .find(|track| track.purpose == Purpose::Camera && !recorded.is_lead(track) && on_stage(track.participant.id));
    let any =
        on().min_by_key(|track| (track.purpose != Purpose::Whip, track.participant.kind != ParticipantKind::Person));
    let (main, inset, beside) = match (screen, lead.or(any)) {
        (Some(screen), lead) => (Some(screen), called.or(lead.filter(|lead| lead.id != screen.id)), None),
        (None, Some(lead)) => (Some(lead), None, called.filter(|called| called.id != lead.id)),
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

/// When each track is seen.
fn shown(scenes: &[Scene], duration_ms: i64) -> BTreeMap<String, Vec<(i64, i64)>> {
    let mut shown: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for (index, scene) in scenes.iter().enumerate() {
        let until = scenes.get(index + 1).map_or(duration_ms, |next| next.from_ms);
        for name in [&scene.main, &scene.inset, &scene.beside].into_iter().flatten() {
            shown.entry(name.clone()).or_default().push((scene.from_ms, until));
        }
    }
    shown
}

/// The segments that these stretches take, from a keyframe on, a clip for each run of one init part.
fn clips(track: &Track, layer: &Layer, stretches: &[(i64, i64)]) -> Vec<Clip> {
    let needed = needed(layer, stretches);
    // A run breaks where the format changes, and where the next segment leans on one that is left out.
    let runs = needed.chunk_by(|a, b| a.1.init == b.1.init && (a.0 + 1 == b.0 || b.1.keyframe));
    runs.filter_map(|run| {
        let segments: Vec<&Segment> = run.iter().map(|(_, segment)| *segment).collect();
        Clip::new(track, layer, &segments)
    })
    .collect()
}

fn needed<'a>(layer: &'a Layer, stretches: &[(i64, i64)]) -> Vec<(usize, &'a Segment)> {
    let seen = |segment: &Segment| stretches.iter().any(|(from, to)| segment.touches(from * 1000, to * 1000));
    let mut wanted: Vec<bool> = layer.segments.iter().map(seen).collect();
    // A segment that does not begin with a keyframe needs the one before.
    for index in (1..wanted.len()).rev() {
        if wanted[index]
            && !layer.segments[index].keyframe
            && layer.segments[index].init == layer.segments[index - 1].init
        {
            wanted[index - 1] = true;
        }
    }
    layer.segments.iter().enumerate().filter(|(index, _)| wanted[*index]).collect()
}
