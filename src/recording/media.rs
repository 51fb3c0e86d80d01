//! The files of a recording by their URL below `/media/{lesson}/`, from the spool or from the object store.
//!
//! ```text
//! master.m3u8                  the main programme      TRACK/LAYER/playlist.m3u8
//! main/video-N.m3u8            in one rendition        TRACK/LAYER/init-N.mp4
//! main/audio.m3u8              its sound               TRACK/LAYER/N.m4s
//! fill/…                       where nothing was recorded
//! poster.jpg  lesson.mp4  voices.mp4
//! ```

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;

use super::catalogue::{Kind, Recorded};
use super::filler::Filler;
use super::spool::{Piece, Place};
use super::upload::key;
use super::{Recordings, playlist};
use crate::download::{self, Object};
use crate::error::{Error, Result};
use crate::ids::{LessonId, TrackKey};
use crate::storage::{Key, StorageError, is_missing};

/// A file of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaFile {
    Master,
    Main {
        kind: Kind,
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
    Fill(Filler),
    Voices,
    Poster,
    Mp4,
}

impl MediaFile {
    /// The file that a path below the lesson names.
    pub fn parse(path: &str) -> Option<MediaFile> {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["master.m3u8"] => Some(MediaFile::Master),
            ["poster.jpg"] => Some(MediaFile::Poster),
            [playlist::VOICES_FILE] => Some(MediaFile::Voices),
            ["lesson.mp4"] => Some(MediaFile::Mp4),
            ["main", "audio.m3u8"] => Some(MediaFile::Main {
                kind: Kind::Audio,
                variant: 0,
            }),
            ["main", name] => {
                let variant = name
                    .strip_prefix("video-")?
                    .strip_suffix(".m3u8")?
                    .parse()
                    .ok()?;
                Some(MediaFile::Main {
                    kind: Kind::Video,
                    variant,
                })
            }
            ["fill", name] => Filler::parse(name).map(MediaFile::Fill),
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
    /// Answers a request for a file; who may have it was decided before.
    pub async fn serve(
        &self,
        lesson: LessonId,
        file: MediaFile,
        headers: &HeaderMap,
    ) -> Result<Response<Body>> {
        if let MediaFile::Fill(filler) = file {
            return Ok(whole(filler.bytes().into(), "video/mp4", FOREVER));
        }
        let recorded = self.recorded(lesson).await?.ok_or_else(missing)?;
        match file {
            MediaFile::Master => text(playlist::master(&recorded)),
            MediaFile::Main {
                kind: Kind::Audio, ..
            } if recorded.has_voices => {
                let key = Key::in_lesson(lesson, &[playlist::VOICES_PLAYLIST]);
                let bytes = self.inner.storage.get(&key).await.map_err(away)?;
                Ok(whole(bytes, PLAYLIST, "no-store"))
            }
            MediaFile::Voices if recorded.has_voices => {
                self.stored(
                    &Key::in_lesson(lesson, &[playlist::VOICES_FILE]),
                    "video/mp4",
                    SHORTLY,
                    headers,
                )
                .await
            }
            MediaFile::Main { kind, variant } => {
                text(Some(playlist::main(&recorded, kind, variant)))
            }
            MediaFile::Playlist { track, layer } => {
                let track = recorded.track(track).ok_or_else(missing)?;
                text(
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
                let known = recorded
                    .track(track)
                    .and_then(|track| track.layer(layer))
                    .and_then(|layer| layer.init(number));
                known.ok_or_else(missing)?;
                self.piece(
                    Place {
                        lesson,
                        track,
                        layer,
                    },
                    Piece::Init(number),
                )
                .await
            }
            MediaFile::Segment {
                track,
                layer,
                number,
            } => {
                let place = Place {
                    lesson,
                    track,
                    layer,
                };
                self.piece(
                    place,
                    segment(&recorded, place, number).ok_or_else(missing)?,
                )
                .await
            }
            MediaFile::Poster if recorded.has_poster => {
                self.stored(&Key::poster(lesson), "image/jpeg", SHORTLY, headers)
                    .await
            }
            MediaFile::Mp4 if recorded.mp4_bytes.is_some() => {
                let mut response = self
                    .stored(&Key::mp4(lesson), "video/mp4", SHORTLY, headers)
                    .await?;
                response.headers_mut().insert(
                    CONTENT_DISPOSITION,
                    HeaderValue::from_static("inline; filename=\"lesson.mp4\""),
                );
                Ok(response)
            }
            MediaFile::Fill(_) | MediaFile::Voices | MediaFile::Poster | MediaFile::Mp4 => {
                Err(missing())
            }
        }
    }

    /// A whole piece, from the spool while it is there, else from the store.
    pub async fn fetch(&self, place: Place, piece: Piece) -> Result<Bytes, StorageError> {
        match tokio::fs::read(self.inner.spool.path(place, piece)).await {
            Ok(bytes) => Ok(bytes.into()),
            Err(_) => self.inner.storage.get(&key(place, piece)).await,
        }
    }

    async fn piece(&self, place: Place, piece: Piece) -> Result<Response<Body>> {
        let bytes = self.fetch(place, piece).await.map_err(away)?;
        Ok(whole(bytes, "video/mp4", FOREVER))
    }

    /// A large object, or the part of it that was asked for.
    async fn stored(
        &self,
        key: &Key,
        kind: &'static str,
        cache: &'static str,
        headers: &HeaderMap,
    ) -> Result<Response<Body>> {
        let size_bytes = self.inner.storage.size_bytes(key).await.map_err(away)?;
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

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
/// Media never change once they are written.
const FOREVER: &str = "private, max-age=31536000, immutable";
/// Made once, and made anew when somebody asks for it.
const SHORTLY: &str = "private, max-age=60";

fn segment(recorded: &Recorded, place: Place, number: u32) -> Option<Piece> {
    let segments = &recorded.track(place.track)?.layer(place.layer)?.segments;
    let at = segments
        .binary_search_by_key(&number, |segment| segment.number)
        .ok()?;
    Some(Piece::Segment {
        number,
        init: segments[at].init,
    })
}

fn whole(bytes: Bytes, kind: &'static str, cache: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// A playlist grows while the lesson is on, and is always asked for anew.
fn text(playlist: Option<String>) -> Result<Response<Body>> {
    Ok(whole(
        playlist.ok_or_else(missing)?.into(),
        PLAYLIST,
        "no-store",
    ))
}

fn missing() -> Error {
    Error::not_found("录像中没有这一部分。", "The recording has no such part.")
}

fn away(error: StorageError) -> Error {
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
    fn paths_name_files_and_nothing_else() {
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
                kind: Kind::Video,
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
