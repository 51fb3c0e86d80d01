//! What a lesson's MP4 is made of, for `tongke-av` (the format is described in `media/av/src/manifest.rs`): which tracks are seen when, and
//! which segments that takes.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::catalogue::{Codec, Kind, Layer, Purpose, RENDITION_LAYER, Recorded, Segment, Track};
use super::programme::{self, Piece};
use super::timeline::{ShownPage, stage};
use crate::bus::{ParticipantKind, TimelineEvent};
use crate::ids::{DeckId, TrackKey};

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
        Some(Clip {
            track: track.id,
            codec: track.codec,
            layer: layer.number,
            init,
            segments,
        })
    }
}

/// What to fetch and what to say about it.
#[derive(Debug)]
pub struct Plan {
    pub duration_ms: i64,
    pub scenes: Vec<Scene>,
    pub pictures: BTreeMap<String, Vec<Clip>>,
    pub sounds: BTreeMap<String, Vec<Clip>>,
    /// Pages of decks.
    pub stills: BTreeMap<String, (DeckId, i64)>,
}

/// Plans the lesson's MP4. `pages` are those that can be shown.
pub fn plan(recorded: &Recorded, events: &[TimelineEvent], pages: &[ShownPage]) -> Plan {
    let duration_ms = recorded
        .duration_ms
        .unwrap_or_else(|| recorded.recorded_ms())
        .max(1);
    let scenes = scenes(recorded, events, pages, duration_ms);
    let stills = pages
        .iter()
        .map(|page| (still(page), (page.deck, page.page)))
        .collect();
    let mut pictures = BTreeMap::new();
    for (name, stretches) in shown(&scenes, duration_ms) {
        let Some(track) = recorded
            .tracks
            .iter()
            .find(|track| track.id.to_string() == name)
        else {
            continue;
        };
        pictures.insert(name, clips(recorded, track, &stretches));
    }
    let voices = recorded
        .tracks
        .iter()
        .filter(|track| track.kind == Kind::Audio);
    let sounds = voices
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
        pictures,
        sounds,
        stills,
    }
}

/// The recorded layers, the one with the largest picture first. Layers made by a job are copies of them.
fn recorded_layers(track: &Track) -> Vec<&Layer> {
    let recorded = track
        .layers
        .iter()
        .filter(|layer| layer.number < RENDITION_LAYER && !layer.segments.is_empty());
    let mut layers: Vec<&Layer> = recorded.collect();
    layers.sort_by_key(|layer| -layer.pixels());
    layers
}

/// The recorded layer with the largest picture.
pub fn best_layer(track: &Track) -> Option<&Layer> {
    recorded_layers(track).first().copied()
}

/// The name of a clip's file.
pub fn file_name(clip: &Clip, index: usize) -> String {
    let extension = if clip.codec == Codec::Vp8 {
        "ivf"
    } else {
        "mp4"
    };
    format!("{}-{index}.{extension}", clip.track)
}

fn scenes(
    recorded: &Recorded,
    events: &[TimelineEvent],
    pages: &[ShownPage],
    duration_ms: i64,
) -> Vec<Scene> {
    let pictures: Vec<&Track> = recorded
        .tracks
        .iter()
        .filter(|track| track.kind == Kind::Video && best_layer(track).is_some())
        .collect();
    let stages = stage(events);
    let mut edges: Vec<i64> = pictures
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
            .map(still);
        let scene = scene(recorded, &pictures, page, from_ms, |id| {
            on_stage.is_some_and(|ids| ids.contains(&id))
        });
        let empty = scene.main.is_none();
        let same = |last: &Scene| {
            (&last.main, &last.inset, &last.beside) == (&scene.main, &scene.inset, &scene.beside)
        };
        if scenes
            .last()
            .is_some_and(|last| same(last) || (empty && next - from_ms < BRIDGE_MS))
        {
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

/// What a page is called among the pictures.
fn still(page: &ShownPage) -> String {
    format!("{}-{}", page.deck, page.page)
}

fn end(page: &ShownPage) -> i64 {
    page.to_ms.unwrap_or(i64::MAX)
}

/// Screen or page with the room on stage, or else the lead, in its corner; without them the lead, and beside it the room on stage.
fn scene(
    recorded: &Recorded,
    pictures: &[&Track],
    page: Option<String>,
    at_ms: i64,
    on_stage: impl Fn(Uuid) -> bool,
) -> Scene {
    let on = || {
        pictures
            .iter()
            .filter(|track| track.from_ms <= at_ms && at_ms < until(track))
    };
    let name = |track: &&&Track| track.id.to_string();
    let screen = on().find(|track| track.purpose == Purpose::Screen);
    let lead = on().rfind(|track| recorded.is_lead(track) && track.purpose == Purpose::Camera);
    let called = on().find(|track| {
        track.purpose == Purpose::Camera
            && !recorded.is_lead(track)
            && on_stage(track.participant.id)
    });
    let any = on().min_by_key(|track| {
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

/// When each track is seen.
fn shown(scenes: &[Scene], duration_ms: i64) -> BTreeMap<String, Vec<(i64, i64)>> {
    let mut shown: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for (index, scene) in scenes.iter().enumerate() {
        let until = scenes
            .get(index + 1)
            .map_or(duration_ms, |next| next.from_ms);
        for name in [&scene.main, &scene.inset, &scene.beside]
            .into_iter()
            .flatten()
        {
            shown
                .entry(name.clone())
                .or_default()
                .push((scene.from_ms, until));
        }
    }
    shown
}

/// The segments that these stretches take, a clip for each run of one format.
fn clips(recorded: &Recorded, track: &Track, stretches: &[(i64, i64)]) -> Vec<Clip> {
    let layers = recorded_layers(track);
    let mut pieces: Vec<Piece> = Vec::new();
    for (from_ms, to_ms) in joined(stretches) {
        pieces.extend(programme::run(
            recorded,
            track,
            &layers,
            from_ms * 1000,
            to_ms.saturating_mul(1000),
        ));
    }
    // Where one stretch ends and the next begins within a segment, it is there twice.
    pieces.dedup_by_key(|piece| (piece.layer, piece.segment.number));
    let same = |a: &Piece, b: &Piece| (a.layer, a.segment.init) == (b.layer, b.segment.init);
    let clip = |run: &[Piece]| Clip {
        track: track.id,
        codec: track.codec,
        layer: run[0].layer,
        init: run[0].segment.init,
        segments: run.iter().map(|piece| piece.segment.number).collect(),
    };
    pieces.chunk_by(same).map(clip).collect()
}

/// Stretches that touch are one.
fn joined(stretches: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in stretches {
        match joined.last_mut() {
            Some(last) if *from <= last.1 => last.1 = last.1.max(*to),
            _ => joined.push((*from, *to)),
        }
    }
    joined
}
