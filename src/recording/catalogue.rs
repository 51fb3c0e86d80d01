//! Catalogue of recordings in the database. [`Recorded`] is the complete catalogue of one lesson.

use std::collections::HashMap;

use uuid::Uuid;

use crate::bus::{ParticipantKind, ParticipantRef};
use crate::db::{Db, DbError};
use crate::ids::{LessonId, TrackKey};
use crate::timetable::RecordingState;

pub use crate::bus::Purpose;

crate::string_enum! {
    /// Audio or video.
    MediaKind { Audio = "audio", Video = "video" }
}

crate::string_enum! {
    /// Codec of a track as it was published.
    Codec { Opus = "opus", H264 = "h264", Vp8 = "vp8", Vp9 = "vp9", Av1 = "av1" }
}

impl From<Codec> for tongke_record::Codec {
    fn from(codec: Codec) -> tongke_record::Codec {
        match codec {
            Codec::Opus => tongke_record::Codec::Opus,
            Codec::H264 => tongke_record::Codec::H264,
            Codec::Vp8 => tongke_record::Codec::Vp8,
            Codec::Vp9 => tongke_record::Codec::Vp9,
            Codec::Av1 => tongke_record::Codec::Av1,
        }
    }
}

impl Codec {
    pub fn kind(self) -> MediaKind {
        if self == Codec::Opus {
            MediaKind::Audio
        } else {
            MediaKind::Video
        }
    }
}

/// Number of the layer that the rendition job creates; recorded layers have lower numbers.
pub const RENDITION_LAYER: u8 = 100;

/// Recording of one lesson.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub lesson: LessonId,
    pub state: RecordingState,
    /// Milliseconds since 1970.
    pub started_at: i64,
    pub duration_ms: Option<i64>,
    pub has_poster: bool,
    /// The audio mix of all tracks exists.
    pub has_audio_mix: bool,
    pub mp4_bytes: Option<i64>,
    /// Ids of the lead teacher and of the classroom they teach from.
    pub lead: Vec<Uuid>,
    pub tracks: Vec<Track>,
}

/// Recorded track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    pub id: TrackKey,
    pub participant: ParticipantRef,
    pub purpose: Purpose,
    pub kind: MediaKind,
    pub codec: Codec,
    pub from_ms: i64,
    pub to_ms: Option<i64>,
    pub layers: Vec<Layer>,
}

/// Simulcast layer of a track, or a rendition of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    pub number: u8,
    pub inits: Vec<Init>,
    /// Ordered by number.
    pub segments: Vec<Segment>,
    /// Start and end of each gap in milliseconds.
    pub gaps: Vec<(i64, i64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    pub number: u32,
    pub codec: String,
    pub width: i64,
    pub height: i64,
    pub playable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub number: u32,
    pub init: u32,
    pub start_us: i64,
    pub duration_us: i64,
    pub size_bytes: i64,
    pub keyframe: bool,
    pub stored: bool,
}

impl Recorded {
    /// Reads one lesson's catalogue; `None` if the lesson has no recording.
    pub async fn read(db: &Db, lesson: LessonId) -> Result<Option<Recorded>, DbError> {
        let row: Option<RecordingRow> = sqlx::query_as(
            "SELECT r.state, r.started_at, r.duration_ms, r.has_poster, r.has_voices, r.mp4_bytes, l.lead_id, l.lead_classroom_id
             FROM recordings r JOIN lessons l ON l.id = r.lesson_id WHERE r.lesson_id = $1",
        )
        .bind(lesson)
        .fetch_optional(db.pool())
        .await?;
        let Some((
            state,
            started_at,
            duration_ms,
            has_poster,
            has_audio_mix,
            mp4_bytes,
            lead,
            room,
        )) = row
        else {
            return Ok(None);
        };
        let lead = [Some(lead), room]
            .into_iter()
            .flatten()
            .filter_map(|id| id.parse().ok())
            .collect();
        let tracks = read_tracks(db, lesson).await?;
        Ok(Some(Recorded {
            lesson,
            state,
            started_at,
            duration_ms,
            has_poster: has_poster != 0,
            has_audio_mix: has_audio_mix != 0,
            mp4_bytes,
            lead,
            tracks,
        }))
    }

    pub fn is_lead(&self, track: &Track) -> bool {
        self.lead.contains(&track.participant.id)
    }

    pub fn is_over(&self) -> bool {
        self.state != RecordingState::Recording
    }

    /// Returns the end of the recording once the lesson is over.
    pub fn end_us(&self) -> Option<i64> {
        self.is_over()
            .then(|| self.duration_ms.unwrap_or_else(|| self.recorded_ms()) * 1000)
    }

    /// Returns the end of the last recorded segment.
    pub fn recorded_ms(&self) -> i64 {
        let layers = self.tracks.iter().flat_map(|track| &track.layers);
        layers
            .filter_map(|layer| layer.segments.last())
            .map(|segment| segment.end_us() / 1000)
            .max()
            .unwrap_or(0)
    }

    pub fn has_playable(&self, kind: MediaKind) -> bool {
        self.tracks
            .iter()
            .any(|track| track.kind == kind && track.playable_layers().next().is_some())
    }

    pub fn track(&self, id: TrackKey) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }
}

impl Track {
    pub fn layer(&self, number: u8) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.number == number)
    }

    /// Returns the layers that have segments in a format HLS can carry.
    pub fn playable_layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| {
            !layer.segments.is_empty() && layer.inits.iter().all(|init| init.playable)
        })
    }

    /// Returns the end of the track, or a time in the far future while it is being recorded.
    pub fn until_us(&self) -> i64 {
        self.to_ms.map_or(i64::MAX / 2, |to_ms| to_ms * 1000)
    }
}

impl Layer {
    pub fn init(&self, number: u32) -> Option<&Init> {
        self.inits.iter().find(|init| init.number == number)
    }

    /// Returns the area of its largest frame size.
    pub fn pixels(&self) -> i64 {
        self.inits
            .iter()
            .map(|init| init.width * init.height)
            .max()
            .unwrap_or(0)
    }
}

impl Segment {
    pub fn end_us(&self) -> i64 {
        self.start_us + self.duration_us
    }
}

type RecordingRow = (
    RecordingState,
    i64,
    Option<i64>,
    i64,
    i64,
    Option<i64>,
    String,
    Option<String>,
);
/// Columns: track, layer, number, init, start, duration, size, keyframe, stored.
type SegmentRow = (TrackKey, i64, i64, i64, i64, i64, i64, i64, i64);
type TrackRow = (
    TrackKey,
    String,
    String,
    ParticipantKind,
    Purpose,
    MediaKind,
    Codec,
    i64,
    Option<i64>,
);

async fn read_tracks(db: &Db, lesson: LessonId) -> Result<Vec<Track>, DbError> {
    let rows: Vec<TrackRow> = sqlx::query_as(
        "SELECT id, participant_id, participant_name, participant_kind, purpose, kind, codec, from_ms, to_ms
         FROM recording_tracks WHERE lesson_id = $1 ORDER BY from_ms, id",
    )
    .bind(lesson)
    .fetch_all(db.pool())
    .await?;
    let mut layers = read_layers(db, lesson).await?;
    let tracks = rows.into_iter().map(
        |(id, participant, name, participant_kind, purpose, kind, codec, from_ms, to_ms)| {
            let participant = ParticipantRef {
                id: participant.parse().unwrap_or_default(),
                name,
                kind: participant_kind,
            };
            let mut layers = layers.remove(&id).unwrap_or_default();
            layers.sort_by_key(|layer| layer.number);
            Track {
                id,
                participant,
                purpose,
                kind,
                codec,
                from_ms,
                to_ms,
                layers,
            }
        },
    );
    Ok(tracks.collect())
}

async fn read_layers(db: &Db, lesson: LessonId) -> Result<HashMap<TrackKey, Vec<Layer>>, DbError> {
    let mut layers: HashMap<TrackKey, Vec<Layer>> = HashMap::new();
    let inits: Vec<(TrackKey, i64, i64, String, i64, i64, i64)> = sqlx::query_as(
        "SELECT i.track_id, i.layer, i.number, i.codec, i.width, i.height, i.playable FROM recording_inits i
         JOIN recording_tracks t ON t.id = i.track_id WHERE t.lesson_id = $1 ORDER BY i.number",
    )
    .bind(lesson)
    .fetch_all(db.pool())
    .await?;
    for (track, layer, number, codec, width, height, playable) in inits {
        let init = Init {
            number: number as u32,
            codec,
            width,
            height,
            playable: playable != 0,
        };
        layer_mut(&mut layers, track, layer).inits.push(init);
    }
    let segments: Vec<SegmentRow> = sqlx::query_as(
        "SELECT s.track_id, s.layer, s.number, s.init, s.start_us, s.duration_us, s.size_bytes, s.keyframe, s.stored
         FROM recording_segments s JOIN recording_tracks t ON t.id = s.track_id WHERE t.lesson_id = $1 ORDER BY s.number",
    )
    .bind(lesson)
    .fetch_all(db.pool())
    .await?;
    for (track, layer, number, init, start_us, duration_us, size_bytes, keyframe, stored) in
        segments
    {
        let (number, init, keyframe, stored) =
            (number as u32, init as u32, keyframe != 0, stored != 0);
        let segment = Segment {
            number,
            init,
            start_us,
            duration_us,
            size_bytes,
            keyframe,
            stored,
        };
        layer_mut(&mut layers, track, layer).segments.push(segment);
    }
    let gaps: Vec<(TrackKey, i64, i64, i64)> = sqlx::query_as(
        "SELECT g.track_id, g.layer, g.from_ms, g.to_ms FROM recording_gaps g
         JOIN recording_tracks t ON t.id = g.track_id WHERE t.lesson_id = $1 ORDER BY g.from_ms",
    )
    .bind(lesson)
    .fetch_all(db.pool())
    .await?;
    for (track, layer, from_ms, to_ms) in gaps {
        layer_mut(&mut layers, track, layer)
            .gaps
            .push((from_ms, to_ms));
    }
    Ok(layers)
}

fn layer_mut(
    layers: &mut HashMap<TrackKey, Vec<Layer>>,
    track: TrackKey,
    number: i64,
) -> &mut Layer {
    let number = number as u8;
    let of_track = layers.entry(track).or_default();
    let index = of_track
        .iter()
        .position(|layer| layer.number == number)
        .unwrap_or_else(|| {
            of_track.push(Layer {
                number,
                ..Layer::default()
            });
            of_track.len() - 1
        });
    &mut of_track[index]
}
