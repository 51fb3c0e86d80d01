//! Analysis of audio and video by `tongke-av`.

use std::path::Path;

use serde_json::Value;

use super::analyzer::{Analyzer, WORKER_SHARE, argument};
use super::derived::POSTER;
use super::facts::{Facts, MediaFacts, MediaStream, PlayableFile};
use super::{Analysis, AnalysisError};
use crate::jobs::RunningJob;
use crate::library::content::sniff;
use crate::worker::{ScratchDir, WorkerError};

/// Second of the poster frame; the first frames are often black.
const POSTER_AT: &str = "3";
/// Streams listed in the facts of a file.
const MAX_STREAMS: usize = 16;

impl Analyzer {
    /// Probes audio or video and stores a poster image.
    pub(super) async fn probe_media(
        &self,
        hash: &str,
        input: &Path,
        scratch: &ScratchDir,
        job: &RunningJob,
    ) -> Result<Analysis, AnalysisError> {
        let probe = self
            .media
            .run(
                &["probe", argument(input)],
                scratch.path(),
                &job.cancel,
                job.progress_between(0.0, WORKER_SHARE),
            )
            .await?;
        let streams = streams(&probe);
        let has = |kind: &str| streams.iter().any(|stream| stream.kind == kind);
        let has_video = has("video");
        if !has_video && !has("audio") {
            return Err(WorkerError::BadInput {
                code: "broken".into(),
                message: "neither audio nor video".into(),
            }
            .into());
        }
        let has_poster = has_video && self.poster(hash, input, scratch, job).await?;
        let mut head = vec![0; 64];
        let read =
            tokio::io::AsyncReadExt::read(&mut tokio::fs::File::open(input).await?, &mut head)
                .await?;
        let mime = media_type(
            sniff::sniff(&head[..read]).mime,
            probe["format"].as_str().unwrap_or_default(),
            has_video,
        );
        let duration_ms = probe["duration_ms"].as_i64();
        let plays = browsers_can_play(mime, &streams).then_some(PlayableFile::Original);
        let media = MediaFacts {
            duration_ms,
            streams,
            has_poster,
            plays,
        };
        Ok(Analysis {
            kind: if has_video { "video" } else { "audio" }.into(),
            mime: mime.into(),
            facts: Facts {
                media: Some(media),
                ..Facts::default()
            },
            ..Analysis::default()
        })
    }

    /// Returns false if no video frame can be decoded; the audio may still be usable.
    async fn poster(
        &self,
        hash: &str,
        input: &Path,
        scratch: &ScratchDir,
        job: &RunningJob,
    ) -> Result<bool, AnalysisError> {
        let arguments = [
            "poster",
            "--input",
            argument(input),
            "--output",
            POSTER,
            "--at",
            POSTER_AT,
        ];
        match self
            .media
            .run(
                &arguments,
                scratch.path(),
                &job.cancel,
                job.progress_between(0.0, WORKER_SHARE),
            )
            .await
        {
            Ok(_) => {
                self.store_derived(hash, POSTER, &scratch.file(POSTER))
                    .await?;
                Ok(true)
            }
            Err(WorkerError::BadInput { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn streams(probe: &Value) -> Vec<MediaStream> {
    let all = probe["streams"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let streams = all.iter().take(MAX_STREAMS).map(|stream| MediaStream {
        kind: stream["kind"].as_str().unwrap_or_default().to_owned(),
        codec: stream["codec"].as_str().unwrap_or_default().to_owned(),
        width: stream["width"].as_i64(),
        height: stream["height"].as_i64(),
    });
    streams.collect()
}

/// Returns the sniffed media type, corrected by the container format that libav detected.
fn media_type(sniffed: &'static str, format: &str, has_video: bool) -> &'static str {
    match (sniffed, has_video) {
        ("video/mp4", false) => "audio/mp4",
        ("video/webm", false) => "audio/webm",
        ("audio/ogg", true) => "video/ogg",
        // Matroska files also keep `video/webm`; `browsers_can_play` rejects codecs that WebM does
        // not allow.
        ("application/octet-stream" | "text/plain", _) if format.contains("mpegts") => "video/mp2t",
        ("application/octet-stream" | "text/plain", _) if format.contains("mp3") => "audio/mpeg",
        _ => sniffed,
    }
}

/// Returns true for containers and codecs that Chromium, Firefox and WebKit play; other files get a
/// rendition.
fn browsers_can_play(mime: &str, streams: &[MediaStream]) -> bool {
    let (video, audio): (&[&str], &[&str]) = match mime {
        "video/mp4" | "audio/mp4" => (&["h264", "av1", "vp9"], &["aac", "mp3", "opus", "flac"]),
        "video/webm" | "audio/webm" => (&["vp8", "vp9", "av1"], &["opus", "vorbis"]),
        "audio/mpeg" => (&["mjpeg", "png"], &["mp3"]),
        "audio/aac" => (&[], &["aac"]),
        "audio/ogg" => (&[], &["opus", "vorbis", "flac"]),
        "audio/flac" => (&["mjpeg", "png"], &["flac"]),
        "audio/wav" => (&[], &["pcm_s16le", "pcm_u8", "pcm_f32le", "pcm_s24le"]),
        _ => return false,
    };
    streams.iter().all(|stream| match stream.kind.as_str() {
        "video" => video.contains(&stream.codec.as_str()),
        "audio" => audio.contains(&stream.codec.as_str()),
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(kind: &str, codec: &str) -> MediaStream {
        MediaStream {
            kind: kind.into(),
            codec: codec.into(),
            ..MediaStream::default()
        }
    }

    #[test]
    fn browsers_play_common_codecs_and_nothing_else() {
        let common = [stream("video", "h264"), stream("audio", "aac")];
        assert!(browsers_can_play("video/mp4", &common));
        assert!(!browsers_can_play("video/x-msvideo", &common));
        assert!(!browsers_can_play("video/mp4", &[stream("video", "mpeg4")]));
        assert!(browsers_can_play(
            "audio/mpeg",
            &[stream("audio", "mp3"), stream("video", "mjpeg")]
        ));
        // Matroska with H.264 is not WebM.
        assert!(!browsers_can_play("video/webm", &common));
    }
}
