//! Files of a recording by their URL below `/media/{lesson}/`, from the spool or the object store.
//!
//! ```text
//! master.m3u8                  the main programme      TRACK/LAYER/playlist.m3u8
//! main/video-N.m3u8            one video variant       TRACK/LAYER/init-N.mp4
//! main/audio.m3u8              its audio               TRACK/LAYER/N.m4s
//! fill/…                       placeholder media for gaps
//! poster.jpg  lesson.mp4  voices.mp4
//! ```

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;

use super::catalogue::{MediaKind, Recorded};
use super::placeholder::Placeholder;
use super::spool::{LayerFile, LayerKey};
use super::upload::object_key;
use super::{Recordings, playlist};
use crate::download::{self, Object};
use crate::error::{Error, Result};
use crate::ids::{LessonId, TrackKey};
use crate::storage::{Key, StorageError, is_missing};

/// File of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaFile {
    Master,
    Main {
        kind: MediaKind,
        variant: usize,
    },
    Playlist {
        track: TrackKey,
        layer: u8,
    },
    Init {
        track: TrackKey,
        layer: u8,
        number: u32,
    },
    Segment {
        track: TrackKey,
        layer: u8,
        number: u32,
    },
    Placeholder(Placeholder),
    AudioMix,
    Poster,
    Mp4,
}

impl MediaFile {
    /// Parses a path below the lesson.
    pub fn parse(path: &str) -> Option<MediaFile> {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["master.m3u8"] => Some(MediaFile::Master),
            ["poster.jpg"] => Some(MediaFile::Poster),
            [playlist::AUDIO_MIX_FILE] => Some(MediaFile::AudioMix),
            ["lesson.mp4"] => Some(MediaFile::Mp4),
            ["main", "audio.m3u8"] => Some(MediaFile::Main {
                kind: MediaKind::Audio,
                variant: 0,
            }),
            ["main", name] => {
                let variant = name
                    .strip_prefix("video-")?
                    .strip_suffix(".m3u8")?
                    .parse()
                    .ok()?;
                Some(MediaFile::Main {
                    kind: MediaKind::Video,
                    variant,
                })
            }
            ["fill", name] => Placeholder::parse(name).map(MediaFile::Placeholder),
            [track, layer, name] => {
                MediaFile::of_layer(track.parse().ok()?, layer.parse().ok()?, name)
            }
            _ => None,
        }
    }

    fn of_layer(track: TrackKey, layer: u8, name: &str) -> Option<MediaFile> {
        if name == "playlist.m3u8" {
            return Some(MediaFile::Playlist { track, layer });
        }
        if let Some(number) = name.strip_suffix(".m4s") {
            return Some(MediaFile::Segment {
                track,
                layer,
                number: number.parse().ok()?,
            });
        }
        let number = name
            .strip_prefix("init-")?
            .strip_suffix(".mp4")?
            .parse()
            .ok()?;
        Some(MediaFile::Init {
            track,
            layer,
            number,
        })
    }
}

impl Recordings {
    /// Responds with a file; the caller has checked access.
    pub async fn serve_file(
        &self,
        lesson: LessonId,
        file: MediaFile,
        headers: &HeaderMap,
    ) -> Result<Response<Body>> {
        if let MediaFile::Placeholder(placeholder) = file {
            return Ok(response(placeholder.bytes().into(), "video/mp4", IMMUTABLE));
        }
        let recorded = self.recorded(lesson).await?.ok_or_else(missing)?;
        match file {
            MediaFile::Master => playlist_response(playlist::master(&recorded)),
            MediaFile::Main {
                kind: MediaKind::Audio,
                ..
            } if recorded.has_audio_mix => {
                let key = Key::in_lesson(lesson, &[playlist::AUDIO_MIX_PLAYLIST]);
                let bytes = self.inner.storage.get(&key).await.map_err(storage_error)?;
                Ok(response(bytes, PLAYLIST_TYPE, "no-store"))
            }
            MediaFile::AudioMix if recorded.has_audio_mix => {
                self.serve_object(
                    &Key::in_lesson(lesson, &[playlist::AUDIO_MIX_FILE]),
                    "video/mp4",
                    SHORT_LIVED,
                    headers,
                )
                .await
            }
            MediaFile::Main { kind, variant } => {
                playlist_response(Some(playlist::main(&recorded, kind, variant)))
            }
            MediaFile::Playlist { track, layer } => {
                let track = recorded.track(track).ok_or_else(missing)?;
                playlist_response(
                    track
                        .layer(layer)
                        .map(|layer| playlist::track(&recorded, track, layer)),
                )
            }
            MediaFile::Init {
                track,
                layer,
                number,
            } => {
                let init = recorded
                    .track(track)
                    .and_then(|track| track.layer(layer))
                    .and_then(|layer| layer.init(number));
                init.ok_or_else(missing)?;
                self.serve_layer_file(
                    LayerKey {
                        lesson,
                        track,
                        layer,
                    },
                    LayerFile::Init(number),
                )
                .await
            }
            MediaFile::Segment {
                track,
                layer,
                number,
            } => {
                let layer_key = LayerKey {
                    lesson,
                    track,
                    layer,
                };
                self.serve_layer_file(
                    layer_key,
                    find_segment(&recorded, layer_key, number).ok_or_else(missing)?,
                )
                .await
            }
            MediaFile::Poster if recorded.has_poster => {
                self.serve_object(&Key::poster(lesson), "image/jpeg", SHORT_LIVED, headers)
                    .await
            }
            MediaFile::Mp4 if recorded.mp4_bytes.is_some() => {
                let mut response = self
                    .serve_object(&Key::mp4(lesson), "video/mp4", SHORT_LIVED, headers)
                    .await?;
                response.headers_mut().insert(
                    CONTENT_DISPOSITION,
                    HeaderValue::from_static("inline; filename=\"lesson.mp4\""),
                );
                Ok(response)
            }
            MediaFile::Placeholder(_)
            | MediaFile::AudioMix
            | MediaFile::Poster
            | MediaFile::Mp4 => Err(missing()),
        }
    }

    /// Returns a complete file of a layer, from the spool if it is there, else from the object
    /// store.
    pub async fn fetch(
        &self,
        layer_key: LayerKey,
        layer_file: LayerFile,
    ) -> Result<Bytes, StorageError> {
        match tokio::fs::read(self.inner.spool.path(layer_key, layer_file)).await {
            Ok(bytes) => Ok(bytes.into()),
            Err(_) => {
                self.inner
                    .storage
                    .get(&object_key(layer_key, layer_file))
                    .await
            }
        }
    }

    async fn serve_layer_file(
        &self,
        layer_key: LayerKey,
        layer_file: LayerFile,
    ) -> Result<Response<Body>> {
        let bytes = self
            .fetch(layer_key, layer_file)
            .await
            .map_err(storage_error)?;
        Ok(response(bytes, "video/mp4", IMMUTABLE))
    }

    /// Responds with a large object or the requested range of it.
    async fn serve_object(
        &self,
        key: &Key,
        kind: &'static str,
        cache: &'static str,
        headers: &HeaderMap,
    ) -> Result<Response<Body>> {
        let size_bytes = self
            .inner
            .storage
            .size_bytes(key)
            .await
            .map_err(storage_error)?;
        let object = Object {
            key,
            size_bytes,
            mime: kind,
            cache,
            etag: None,
        };
        download::serve_object(&self.inner.storage, object, headers).await
    }
}

const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";
/// Cache-Control of media segments, which never change.
const IMMUTABLE: &str = "private, max-age=31536000, immutable";
/// Cache-Control of exported files, which a repeated export replaces.
const SHORT_LIVED: &str = "private, max-age=60";

fn find_segment(recorded: &Recorded, layer_key: LayerKey, number: u32) -> Option<LayerFile> {
    let segments = &recorded
        .track(layer_key.track)?
        .layer(layer_key.layer)?
        .segments;
    let index = segments
        .binary_search_by_key(&number, |segment| segment.number)
        .ok()?;
    Some(LayerFile::Segment {
        number,
        init: segments[index].init,
    })
}

fn response(bytes: Bytes, kind: &'static str, cache: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// Responds with a playlist, which is never cached because it grows during the lesson.
fn playlist_response(playlist: Option<String>) -> Result<Response<Body>> {
    Ok(response(
        playlist.ok_or_else(missing)?.into(),
        PLAYLIST_TYPE,
        "no-store",
    ))
}

fn missing() -> Error {
    Error::not_found("录像中没有这一部分。", "The recording has no such part.")
}

fn storage_error(error: StorageError) -> Error {
    if is_missing(&error) {
        return missing();
    }
    tracing::warn!(%error, "the object store does not answer");
    Error::Unavailable(crate::error::Text::new(
        "录像存储暂时不可用，请稍后再试。",
        "The recordings' storage is away. Please try again in a moment.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_paths_parse_and_invalid_paths_do_not() {
        let track = TrackKey::fresh();
        assert_eq!(MediaFile::parse("master.m3u8"), Some(MediaFile::Master));
        assert_eq!(
            MediaFile::parse(&format!("{track}/2/7.m4s")),
            Some(MediaFile::Segment {
                track,
                layer: 2,
                number: 7
            })
        );
        assert_eq!(
            MediaFile::parse(&format!("{track}/0/init-1.mp4")),
            Some(MediaFile::Init {
                track,
                layer: 0,
                number: 1
            })
        );
        assert_eq!(
            MediaFile::parse("main/video-2.m3u8"),
            Some(MediaFile::Main {
                kind: MediaKind::Video,
                variant: 2
            })
        );
        for path in [
            "",
            "../../etc/passwd",
            "x/0/1.m4s",
            "main/video-.m3u8",
            "fill/../v.mp4",
            "lesson.mp4/x",
        ] {
            assert_eq!(MediaFile::parse(path), None, "{path}");
        }
    }
}
