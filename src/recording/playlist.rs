//! HLS playlists (RFC 8216, version 7), made anew from the catalogue at every request: whatever the catalogue holds is whole on disk, so a
//! playlist is valid at every moment, during the lesson, after it, and after a crash.
//!
//! `master.m3u8` is the main programme ([`super::programme`]) on the lesson's clock: a player's 0:00 is the lesson's. Each track has its own
//! playlist, whose 0:00 is the track's `from_ms`. Holes in a track are EXT-X-GAP entries, so a track's clock never slips.
//!
//! No EXT-X-DISCONTINUITY is written when the picture's parameters or its source change, only a new EXT-X-MAP: the times in the media
//! run on (RFC 8216 §4.3.2.3 demands the tag for a break in the times), and players that align sound and picture by discontinuity
//! numbers would look for breaks in the sound that are not there.

use std::collections::BTreeMap;
use std::fmt::Write;

use tongke_record::scan::FragmentRange;

use super::catalogue::{Kind, Layer, Recorded, Track};
use super::programme::{self, Entry, LONGEST_US, Source};

/// The playlist of playlists; `None` while nothing can be played.
pub fn master(recorded: &Recorded) -> Option<String> {
    let variants = programme::variants(recorded);
    let sound = !programme::entries(recorded, Kind::Audio, 0).is_empty()
        && recorded.has_playable(Kind::Audio);
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:7\n");
    let mut codecs = String::new();
    let voice = if recorded.has_voices {
        "mp4a.40.2"
    } else {
        "opus"
    };
    if sound {
        out.push_str("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"voice\",NAME=\"voice\",DEFAULT=YES,AUTOSELECT=YES,URI=\"main/audio.m3u8\"\n");
        codecs = format!(",{voice}");
    }
    // The best first: a player begins there.
    for variant in (0..variants).rev() {
        let Some(shape) = Shape::of(recorded, variant) else {
            continue;
        };
        let group = if sound { ",AUDIO=\"voice\"" } else { "" };
        let Shape {
            bandwidth,
            average,
            width,
            height,
            codec,
        } = shape;
        let _ = writeln!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},AVERAGE-BANDWIDTH={average},RESOLUTION={width}x{height},CODECS=\"{codec}{codecs}\"{group}\nmain/video-{variant}.m3u8"
        );
    }
    if variants == 0 && sound {
        let _ = writeln!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH=128000,CODECS=\"{voice}\",AUDIO=\"voice\"\nmain/audio.m3u8"
        );
    }
    (variants > 0 || sound).then_some(out)
}

/// The programme's picture in one rendition, or its sound.
pub fn main(recorded: &Recorded, kind: Kind, variant: usize) -> String {
    write_media(
        &programme::entries(recorded, kind, variant),
        kind,
        recorded.is_over(),
        "..",
    )
}

/// The playlist of all voices in one file ([`VOICES_FILE`]): parts of it by their bytes (RFC 8216 §4.3.2.2).
pub fn voices(init_bytes: usize, fragments: &[FragmentRange]) -> String {
    let mut out = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n\
         #EXT-X-MAP:URI=\"../{VOICES_FILE}\",BYTERANGE=\"{init_bytes}@0\"\n",
        LONGEST_US / 1_000_000 + 1
    );
    for FragmentRange {
        bytes, duration, ..
    } in fragments
    {
        let (length, start) = (bytes.len(), bytes.start);
        let _ = writeln!(
            out,
            "#EXTINF:{:.6},\n#EXT-X-BYTERANGE:{length}@{start}\n../{VOICES_FILE}",
            duration.as_secs_f64()
        );
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

/// All voices of a lesson, mixed.
pub const VOICES_FILE: &str = "voices.mp4";
/// Its playlist, made with it.
pub const VOICES_PLAYLIST: &str = "voices.m3u8";

/// One layer of one track.
pub fn track(recorded: &Recorded, track: &Track, layer: &Layer) -> String {
    let over = recorded.is_over() || track.to_ms.is_some();
    write_media(
        &programme::track_entries(recorded, track, layer),
        track.kind,
        over,
        "../..",
    )
}

/// What a rendition needs of its viewer.
struct Shape {
    bandwidth: i64,
    average: i64,
    width: i64,
    height: i64,
    codec: String,
}

impl Shape {
    fn of(recorded: &Recorded, variant: usize) -> Option<Shape> {
        let entries = programme::entries(recorded, Kind::Video, variant);
        let segments = entries.iter().filter_map(|entry| match entry.source {
            Source::Segment {
                track,
                layer,
                segment,
            } => Some((track, layer, segment)),
            _ => None,
        });
        let (mut bits, mut time_us, mut peak) = (0, 0, 0);
        // How long each format is shown.
        let mut shown: BTreeMap<(i64, i64, &str), i64> = BTreeMap::new();
        for (track, layer, segment) in segments {
            let size_bits = segment.size_bytes * 8;
            bits += size_bits;
            time_us += segment.duration_us;
            if segment.duration_us > 500_000 {
                peak = peak.max(size_bits * 1_000_000 / segment.duration_us);
            }
            let init = track
                .layer(layer)
                .and_then(|layer| layer.init(segment.init))?;
            *shown
                .entry((init.width, init.height, &init.codec))
                .or_default() += segment.duration_us;
        }
        // The format that is on the longest stands for all: by its size a player tells the renditions apart.
        let ((width, height, codec), _) = shown.into_iter().max_by_key(|(_, time_us)| *time_us)?;
        let average = (bits * 1_000_000 / time_us.max(1)).max(1);
        Some(Shape {
            bandwidth: peak.max(average),
            average,
            width,
            height,
            codec: codec.to_owned(),
        })
    }
}

fn write_media(entries: &[Entry], kind: Kind, over: bool, base: &str) -> String {
    let mut out = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:EVENT\n",
        // A segment is cut when it passes 6 s, at the end of the frame that passes it.
        LONGEST_US / 1_000_000 + 1
    );
    let mut map = String::new();
    for entry in entries {
        write_entry(entry, kind, base, &mut map, &mut out);
    }
    if over {
        out.push_str("#EXT-X-ENDLIST\n");
    }
    out
}

fn write_entry(entry: &Entry, kind: Kind, base: &str, map: &mut String, out: &mut String) {
    let letter = if kind == Kind::Audio { 'a' } else { 'v' };
    let length_us = entry.end_us - entry.start_us;
    let (init, uri) = match entry.source {
        Source::Segment {
            track,
            layer,
            segment,
        } => (
            format!("{base}/{}/{layer}/init-{}.mp4", track.id, segment.init),
            format!("{base}/{}/{layer}/{}.m4s", track.id, segment.number),
        ),
        Source::Filler => (
            format!("{base}/fill/{letter}.mp4"),
            format!("{base}/fill/{letter}-{}-{length_us}.m4s", entry.start_us),
        ),
        Source::Hole => (map.clone(), format!("{base}/gap")),
    };
    if init != *map {
        let _ = writeln!(out, "#EXT-X-MAP:URI=\"{init}\"");
        *map = init;
    }
    if entry.source == Source::Hole {
        out.push_str("#EXT-X-GAP\n");
    }
    let _ = writeln!(
        out,
        "#EXTINF:{}.{:06},\n{uri}",
        length_us / 1_000_000,
        length_us % 1_000_000
    );
}
