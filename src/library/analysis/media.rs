//! What `tongke-av` says of sound and moving pictures, a poster, and a copy that browsers play where they do not play the original.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::{Any, Transaction};

use super::{Desk, Findings, INPUT, POSTER, READ, RENDITION, UnderstandError, argument, rows};
use crate::db::DbError;
use crate::ids::{JobId, PersonId};
use crate::jobs::{Failure, Jobs, NewJob, Owner, RunningJob};
use crate::library::analysis::facts::{Facts, Media, Plays, Stream};
use crate::library::content::sniff;
use crate::worker::{ScratchDir, WorkerError};

/// A picture from here on: the first frames are often black.
const POSTER_AT: &str = "3";
/// Streams that a card tells of.
const MOST_STREAMS: usize = 16;

/// What no browser plays gets a copy that all do; in the lane of long jobs.
pub(super) async fn order_playable(
    jobs: &Jobs,
    tx: &mut Transaction<'static, Any>,
    hash: &str,
    person: Option<PersonId>,
) -> Result<JobId, DbError> {
    let key = format!("playable:{hash}");
    jobs.submit_in(
        tx,
        NewJob {
            kind: "playable",
            key,
            owner: person.map(Owner::Person),
        },
    )
    .await
}

impl Desk {
    pub(super) async fn look(
        &self,
        hash: &str,
        input: &Path,
        scratch: &ScratchDir,
        job: &RunningJob,
    ) -> Result<Findings, UnderstandError> {
        let said = self
            .media
            .run(
                &["probe", argument(input)],
                scratch.path(),
                &job.cancel,
                job.progress_between(0.0, READ),
            )
            .await?;
        let streams = streams(&said);
        let has = |kind: &str| streams.iter().any(|stream| stream.kind == kind);
        let (moves, sounds) = (has("video"), has("audio"));
        if !moves && !sounds {
            return Err(WorkerError::BadInput {
                code: "broken".into(),
                message: "no sound and no picture".into(),
            }
            .into());
        }
        let has_poster = moves && self.poster(hash, input, scratch, job).await?;
        let mut head = vec![0; 64];
        let read =
            tokio::io::AsyncReadExt::read(&mut tokio::fs::File::open(input).await?, &mut head)
                .await?;
        let mime = mime(
            sniff::sniff(&head[..read]).mime,
            said["format"].as_str().unwrap_or_default(),
            moves,
        );
        let duration_ms = said["duration_ms"].as_i64();
        let plays = browsers_play(mime, &streams).then_some(Plays::Original);
        let media = Media {
            duration_ms,
            streams,
            has_poster,
            plays,
        };
        Ok(Findings {
            kind: if moves { "video" } else { "audio" }.into(),
            mime: mime.into(),
            facts: Facts {
                media: Some(media),
                ..Facts::default()
            },
            ..Findings::default()
        })
    }

    /// False when the file has no picture that can be decoded: its sound may still be fine.
    async fn poster(
        &self,
        hash: &str,
        input: &Path,
        scratch: &ScratchDir,
        job: &RunningJob,
    ) -> Result<bool, UnderstandError> {
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
                job.progress_between(0.0, READ),
            )
            .await
        {
            Ok(_) => {
                self.store(hash, POSTER, &scratch.file(POSTER)).await?;
                Ok(true)
            }
            Err(WorkerError::BadInput { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn make_playable(self, job: RunningJob) -> Result<(), Failure> {
        let Some(hash) = job.key.strip_prefix("playable:") else {
            return Err(Failure::Permanent("the job names no content".into()));
        };
        self.rendition(hash, &job).await.map_err(|error| {
            let why = error.to_string();
            match error {
                UnderstandError::Worker(
                    WorkerError::BadInput { .. } | WorkerError::Limit(_) | WorkerError::TooLong(_),
                )
                | UnderstandError::Nonsense(_)
                | UnderstandError::Gone => Failure::Permanent(why),
                _ => Failure::Retry(why),
            }
        })
    }

    /// One clip on one canvas, with its sound.
    async fn rendition(&self, hash: &str, job: &RunningJob) -> Result<(), UnderstandError> {
        let facts = rows::facts(&self.db, hash)
            .await?
            .ok_or(UnderstandError::Gone)?;
        let media = facts.media.clone().ok_or(UnderstandError::Gone)?;
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        self.bring(hash, &scratch).await?;
        let has = |kind: &str| media.streams.iter().any(|stream| stream.kind == kind);
        let clip = json!([{ "path": INPUT }]);
        let manifest = json!({
            "duration_ms": media.duration_ms.filter(|ms| *ms > 0).ok_or(UnderstandError::Nonsense("no duration"))?,
            "pictures": if has("video") { json!({ "lead": clip }) } else { json!({}) },
            "sounds": if has("audio") { json!({ "lead-voice": clip }) } else { json!({}) },
            "scenes": if has("video") { json!([{ "from_ms": 0, "main": "lead" }]) } else { json!([]) },
        });
        tokio::fs::write(scratch.file("manifest.json"), manifest.to_string()).await?;
        let program = if has("video") { "mp4" } else { "voices" };
        let arguments = [
            program,
            "--manifest",
            "manifest.json",
            "--output",
            RENDITION,
        ];
        self.media
            .run(
                &arguments,
                scratch.path(),
                &job.cancel,
                job.progress_between(0.0, READ),
            )
            .await?;
        self.store(hash, RENDITION, &scratch.file(RENDITION))
            .await?;
        let media = Some(Media {
            plays: Some(Plays::Rendition),
            ..media
        });
        rows::set_facts(&self.db, hash, &Facts { media, ..facts }).await?;
        Ok(())
    }
}

fn streams(said: &Value) -> Vec<Stream> {
    let all = said["streams"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let streams = all.iter().take(MOST_STREAMS).map(|stream| Stream {
        kind: stream["kind"].as_str().unwrap_or_default().to_owned(),
        codec: stream["codec"].as_str().unwrap_or_default().to_owned(),
        width: stream["width"].as_i64(),
        height: stream["height"].as_i64(),
    });
    streams.collect()
}

/// The media type by the head, corrected by what libav found in the container.
fn mime(sniffed: &'static str, format: &str, moves: bool) -> &'static str {
    match (sniffed, moves) {
        ("video/mp4", false) => "audio/mp4",
        ("video/webm", false) => "audio/webm",
        ("audio/ogg", true) => "video/ogg",
        // Matroska with codecs that WebM does not have is named so, and no browser is asked to play it.
        ("application/octet-stream" | "text/plain", _) if format.contains("mpegts") => "video/mp2t",
        ("application/octet-stream" | "text/plain", _) if format.contains("mp3") => "audio/mpeg",
        _ => sniffed,
    }
}

/// What Chromium, Firefox and WebKit play between them; the rest gets a rendition.
fn browsers_play(mime: &str, streams: &[Stream]) -> bool {
    let (pictures, sounds): (&[&str], &[&str]) = match mime {
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
        "video" => pictures.contains(&stream.codec.as_str()),
        "audio" => sounds.contains(&stream.codec.as_str()),
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(kind: &str, codec: &str) -> Stream {
        Stream {
            kind: kind.into(),
            codec: codec.into(),
            ..Stream::default()
        }
    }

    #[test]
    fn browsers_play_what_they_know_and_nothing_else() {
        let usual = [stream("video", "h264"), stream("audio", "aac")];
        assert!(browsers_play("video/mp4", &usual));
        assert!(!browsers_play("video/x-msvideo", &usual));
        assert!(!browsers_play("video/mp4", &[stream("video", "mpeg4")]));
        assert!(browsers_play(
            "audio/mpeg",
            &[stream("audio", "mp3"), stream("video", "mjpeg")]
        ));
        // A Matroska file with H264 is no WebM.
        assert!(!browsers_play("video/webm", &usual));
    }
}
