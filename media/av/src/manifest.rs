//! Manifest of a lesson's MP4, written by the server. Times are milliseconds since the start of the
//! lesson.
//!
//! ```json
//! { "duration_ms": 60000,
//!   "pictures": { "lead": [{"path": "lead-0.mp4"}], "screen": [{"path": "screen-0.mp4"}] },
//!   "sounds":   { "lead-voice": [{"path": "voice-0.mp4"}] },
//!   "stills":   { "page-3": "page-3.webp" },
//!   "scenes":   [ {"from_ms": 0, "main": "lead"},
//!                 {"from_ms": 20000, "main": "screen", "inset": "lead"},
//!                 {"from_ms": 40000, "main": "page-3", "inset": "lead"} ] }
//! ```
//!
//! The timestamps of a clip are lesson time. The clips of one track are in order and do not
//! overlap. A still is one image, for example a page of a deck.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;

/// Longest valid lesson in milliseconds: one day.
const MAX_DURATION_MS: u64 = 24 * 3600 * 1000;

/// Sources and layout of a lesson's MP4.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Duration of the lesson in milliseconds.
    pub duration_ms: u64,
    /// Clips of the video tracks by track name.
    #[serde(default, rename = "pictures")]
    pub video: BTreeMap<String, Vec<Clip>>,
    /// Clips of the audio tracks by track name.
    #[serde(default, rename = "sounds")]
    pub audio: BTreeMap<String, Vec<Clip>>,
    /// Paths of still images by name, relative to the manifest.
    #[serde(default)]
    pub stills: BTreeMap<String, PathBuf>,
    /// Layouts of the canvas in order of time.
    #[serde(default)]
    pub scenes: Vec<Scene>,
}

/// One file of a track: an init part and complete segments.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// Path relative to the manifest.
    pub path: PathBuf,
}

/// Layout of the canvas from a time on. Each place names a video track or a still.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// Start of the scene in milliseconds.
    pub from_ms: u64,
    /// Fills the canvas, or its left half if `beside` is set; the canvas is black without it.
    pub main: Option<String>,
    /// Small, in the bottom right corner.
    pub inset: Option<String>,
    /// Fills the right half.
    pub beside: Option<String>,
}

impl Manifest {
    /// Reads and validates a manifest; resolves its paths against its folder.
    pub fn read(path: &Path) -> Result<Manifest, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|error| Error::Manifest(error.to_string()))?;
        let mut manifest: Manifest =
            serde_json::from_str(&text).map_err(|error| Error::Manifest(error.to_string()))?;
        manifest.validate()?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let clips = manifest
            .video
            .values_mut()
            .chain(manifest.audio.values_mut())
            .flatten();
        let paths = clips
            .map(|clip| &mut clip.path)
            .chain(manifest.stills.values_mut());
        paths.for_each(|path| *path = folder.join(&path));
        Ok(manifest)
    }

    fn validate(&self) -> Result<(), Error> {
        let wrong = |why: &str| Err(Error::Manifest(why.to_owned()));
        if self.duration_ms == 0 || self.duration_ms > MAX_DURATION_MS {
            return wrong("the duration is zero or longer than a day");
        }
        if self.video.is_empty() && self.audio.is_empty() {
            return wrong("there is neither video nor audio");
        }
        if !self.scenes.is_sorted_by_key(|scene| scene.from_ms) {
            return wrong("the scenes are not in order");
        }
        let named = self
            .scenes
            .iter()
            .flat_map(|scene| [&scene.main, &scene.inset, &scene.beside])
            .flatten();
        if named
            .into_iter()
            .any(|name| !self.video.contains_key(name) && !self.stills.contains_key(name))
        {
            return wrong("a scene names an unknown track");
        }
        let clips = self.video.values().chain(self.audio.values()).flatten();
        let mut paths = clips.map(|clip| &clip.path).chain(self.stills.values());
        if paths.any(|path| {
            path.components()
                .any(|part| !matches!(part, std::path::Component::Normal(_)))
        }) {
            return wrong("a path leaves the folder of the manifest");
        }
        Ok(())
    }

    /// Returns the only clip of the only scene if it fills the canvas: it can be remuxed instead of
    /// composed.
    pub fn full_canvas_clip(&self) -> Option<&Clip> {
        let [scene] = &self.scenes[..] else {
            return None;
        };
        let main = scene
            .main
            .as_ref()
            .filter(|_| scene.inset.is_none() && scene.beside.is_none())?;
        match &self.video.get(main)?[..] {
            [clip] => Some(clip),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(json: &str) -> Result<Manifest, Error> {
        let manifest: Manifest =
            serde_json::from_str(json).map_err(|error| Error::Manifest(error.to_string()))?;
        manifest.validate().map(|()| manifest)
    }

    #[test]
    fn a_path_outside_of_the_folder_is_rejected() {
        for path in ["/etc/passwd", "../secret.mp4", "a/../../b.mp4"] {
            let json = format!(r#"{{"duration_ms":1,"sounds":{{"a":[{{"path":"{path}"}}]}}}}"#);
            assert!(matches!(checked(&json), Err(Error::Manifest(_))), "{path}");
            let json =
                format!(r#"{{"duration_ms":1,"sounds":{{"a":[]}},"stills":{{"a":"{path}"}}}}"#);
            assert!(matches!(checked(&json), Err(Error::Manifest(_))), "{path}");
        }
        assert!(checked(r#"{"duration_ms":1,"sounds":{"a":[{"path":"a.mp4"}]}}"#).is_ok());
    }

    #[test]
    fn a_scene_of_an_unknown_track_is_rejected() {
        let json = r#"{"duration_ms":1,"pictures":{"a":[]},"scenes":[{"from_ms":0,"main":"b"}]}"#;
        assert!(matches!(checked(json), Err(Error::Manifest(_))));
    }
}
