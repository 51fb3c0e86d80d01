//! HLS playlists (RFC 8216, version 7), generated from the catalogue at every request.
//!
//! Every segment in the catalogue is complete on disk, so a playlist is valid during the lesson,
//! after it, and after a crash.
//!
//! `master.m3u8` is the main programme ([`super::programme`]) on the lesson's clock: the player's
//! 0:00 is the start of the lesson. Each track has its own playlist, which starts at the track's
//! `from_ms`. Gaps in a track are EXT-X-GAP entries, so that the track's clock stays aligned.
//!
//! A change of the video's parameters or source adds a new EXT-X-MAP but no EXT-X-DISCONTINUITY:
//! media timestamps are continuous, and RFC 8216 §4.3.2.3 requires the tag only for a break in
//! them. Players that align audio and video by discontinuity numbers would look for breaks that the
//! audio lacks.

use std::collections::BTreeMap;
use std::fmt::Write;

use tongke_record::scan::FragmentRange;

use super::catalogue::{Layer, MediaKind, Recorded, Track};
use super::programme::{self, Entry, EntrySource, MAX_ENTRY_US};

/// Master playlist (RFC 8216 §4.3.4); `None` while nothing is playable.
pub fn master(recorded: &Recorded) -> Option<String> {
    let variants = programme::variant_count(recorded);
    let has_audio = !programme::entries(recorded, MediaKind::Audio, 0).is_empty()
        && recorded.has_playable(MediaKind::Audio);
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:7\n");
    let mut codecs = String::new();
    let audio_codec = if recorded.has_audio_mix {
        "mp4a.40.2"
    } else {
        "opus"
    };
    if has_audio {
        out.push_str("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"voice\",NAME=\"voice\",DEFAULT=YES,AUTOSELECT=YES,URI=\"main/audio.m3u8\"\n");
        codecs = format!(",{audio_codec}");
    }
    // The best variant first: players start with the first one.
    for variant in (0..variants).rev() {
        let Some(info) = VariantInfo::of(recorded, variant) else {
            continue;
        };
        let group = if has_audio { ",AUDIO=\"voice\"" } else { "" };
        let VariantInfo {
            bandwidth,
            average,
            width,
            height,
            codec,
        } = info;
        let _ = writeln!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},AVERAGE-BANDWIDTH={average},RESOLUTION={width}x{height},CODECS=\"{codec}{codecs}\"{group}\nmain/video-{variant}.m3u8"
        );
    }
    if variants == 0 && has_audio {
        let _ = writeln!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH=128000,CODECS=\"{audio_codec}\",AUDIO=\"voice\"\nmain/audio.m3u8"
        );
    }
    (variants > 0 || has_audio).then_some(out)
}

/// Media playlist of the main programme: one video variant, or the audio.
pub fn main(recorded: &Recorded, kind: MediaKind, variant: usize) -> String {
    write_media(
        &programme::entries(recorded, kind, variant),
        kind,
        recorded.is_over(),
        "..",
    )
}

/// Media playlist of the audio mix, as byte ranges of [`AUDIO_MIX_FILE`] (RFC 8216 §4.3.2.2).
pub fn audio_mix(init_bytes: usize, fragments: &[FragmentRange]) -> String {
    let mut out = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n\
         #EXT-X-MAP:URI=\"../{AUDIO_MIX_FILE}\",BYTERANGE=\"{init_bytes}@0\"\n",
        MAX_ENTRY_US / 1_000_000 + 1
    );
    for FragmentRange {
        bytes, duration, ..
    } in fragments
    {
        let (length, start) = (bytes.len(), bytes.start);
        let _ = writeln!(
            out,
            "#EXTINF:{:.6},\n#EXT-X-BYTERANGE:{length}@{start}\n../{AUDIO_MIX_FILE}",
            duration.as_secs_f64()
        );
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

/// Audio mix of all tracks of a lesson.
pub const AUDIO_MIX_FILE: &str = "voices.mp4";
/// Playlist of the audio mix.
pub const AUDIO_MIX_PLAYLIST: &str = "voices.m3u8";

/// Media playlist of one layer of a track.
pub fn track(recorded: &Recorded, track: &Track, layer: &Layer) -> String {
    let over = recorded.is_over() || track.to_ms.is_some();
    write_media(
        &programme::track_entries(recorded, track, layer),
        track.kind,
        over,
        "../..",
    )
}

/// EXT-X-STREAM-INF attributes of a variant (RFC 8216 §4.3.4.2).
struct VariantInfo {
    bandwidth: i64,
    average: i64,
    width: i64,
    height: i64,
    codec: String,
}

impl VariantInfo {
    fn of(recorded: &Recorded, variant: usize) -> Option<VariantInfo> {
        let entries = programme::entries(recorded, MediaKind::Video, variant);
        let segments = entries.iter().filter_map(|entry| match entry.source {
            EntrySource::Segment {
                track,
                layer,
                segment,
            } => Some((track, layer, segment)),
            _ => None,
        });
        let (mut bits, mut time_us, mut peak) = (0, 0, 0);
        // Time each format is shown.
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
        // The format shown longest represents the variant; players distinguish variants by its
        // size.
        let ((width, height, codec), _) = shown.into_iter().max_by_key(|(_, time_us)| *time_us)?;
        let average = (bits * 1_000_000 / time_us.max(1)).max(1);
        Some(VariantInfo {
            bandwidth: peak.max(average),
            average,
            width,
            height,
            codec: codec.to_owned(),
        })
    }
}

fn write_media(entries: &[Entry], kind: MediaKind, over: bool, base: &str) -> String {
    let mut out = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:EVENT\n",
        // A segment ends with the frame that passes 6 s.
        MAX_ENTRY_US / 1_000_000 + 1
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

fn write_entry(entry: &Entry, kind: MediaKind, base: &str, map: &mut String, out: &mut String) {
    let letter = if kind == MediaKind::Audio { 'a' } else { 'v' };
    let length_us = entry.end_us - entry.start_us;
    let (init, uri) = match entry.source {
        EntrySource::Segment {
            track,
            layer,
            segment,
        } => (
            format!("{base}/{}/{layer}/init-{}.mp4", track.id, segment.init),
            format!("{base}/{}/{layer}/{}.m4s", track.id, segment.number),
        ),
        EntrySource::Placeholder => (
            format!("{base}/fill/{letter}.mp4"),
            format!("{base}/fill/{letter}-{}-{length_us}.m4s", entry.start_us),
        ),
        EntrySource::Gap => (map.clone(), format!("{base}/gap")),
    };
    if init != *map {
        let _ = writeln!(out, "#EXT-X-MAP:URI=\"{init}\"");
        *map = init;
    }
    if entry.source == EntrySource::Gap {
        out.push_str("#EXT-X-GAP\n");
    }
    let _ = writeln!(
        out,
        "#EXTINF:{}.{:06},\n{uri}",
        length_us / 1_000_000,
        length_us % 1_000_000
    );
}
