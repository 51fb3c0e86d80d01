//! What a lesson's MP4 is made of. The server writes it; times are milliseconds since the lesson started.
//!
//! ```json
//! { "duration_ms": 60000,
//!   "pictures": { "lead": [{"path": "lead-0.mp4"}], "screen": [{"path": "screen-0.mp4"}] },
//!   "sounds":   { "lead-voice": [{"path": "voice-0.mp4"}] },
//!   "stills":   { "page-3": "page-3.webp" },
//!   "scenes":   [ {"from_ms": 0, "main": "lead"}, {"from_ms": 20000, "main": "screen", "inset": "lead"},
//!                 {"from_ms": 40000, "main": "page-3", "inset": "lead"} ] }
//! ```
//!
//! A clip's frames carry lesson time; the clips of one track are in order and do not overlap. A still is one picture, as the page of a deck.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;

/// A lesson longer than this is a mistake in the manifest.
const LONGEST_MS: u64 = 24 * 3600 * 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub duration_ms: u64,
    #[serde(default)]
    pub pictures: BTreeMap<String, Vec<Clip>>,
    #[serde(default)]
    pub sounds: BTreeMap<String, Vec<Clip>>,
    /// Relative to the manifest.
    #[serde(default)]
    pub stills: BTreeMap<String, PathBuf>,
    #[serde(default)]
    pub scenes: Vec<Scene>,
}

/// One file of one track: an init part and whole segments.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// Relative to the manifest.
    pub path: PathBuf,
}

/// What is seen from a moment on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    pub from_ms: u64,
    /// Fills the canvas, or its left half beside `beside`; nothing is a black canvas.
    pub main: Option<String>,
    /// Small, in the lower right corner.
    pub inset: Option<String>,
    /// As large as `main`, on the right.
    pub beside: Option<String>,
}

impl Manifest {
    pub fn read(path: &Path) -> Result<Manifest, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|error| Error::Manifest(error.to_string()))?;
        let mut manifest: Manifest =
            serde_json::from_str(&text).map_err(|error| Error::Manifest(error.to_string()))?;
        manifest.check()?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let clips = manifest
            .pictures
            .values_mut()
            .chain(manifest.sounds.values_mut())
            .flatten();
        let paths = clips
            .map(|clip| &mut clip.path)
            .chain(manifest.stills.values_mut());
        paths.for_each(|path| *path = folder.join(&path));
        Ok(manifest)
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |why: &str| Err(Error::Manifest(why.to_owned()));
        if self.duration_ms == 0 || self.duration_ms > LONGEST_MS {
            return wrong("the duration is zero or longer than a day");
        }
        if self.pictures.is_empty() && self.sounds.is_empty() {
            return wrong("there is neither picture nor sound");
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
            .any(|name| !self.pictures.contains_key(name) && !self.stills.contains_key(name))
        {
            return wrong("a scene names a track that is not there");
        }
        let clips = self.pictures.values().chain(self.sounds.values()).flatten();
        let mut paths = clips.map(|clip| &clip.path).chain(self.stills.values());
        if paths.any(|path| {
            path.components()
                .any(|part| !matches!(part, std::path::Component::Normal(_)))
        }) {
            return wrong("a file lies outside of the manifest's folder");
        }
        Ok(())
    }

    /// The only clip that is ever seen, filling the canvas: it can be copied instead of composed.
    pub fn only_clip(&self) -> Option<&Clip> {
        let [scene] = &self.scenes[..] else {
            return None;
        };
        let main = scene
            .main
            .as_ref()
            .filter(|_| scene.inset.is_none() && scene.beside.is_none())?;
        match &self.pictures.get(main)?[..] {
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
        manifest.check().map(|()| manifest)
    }

    #[test]
    fn a_manifest_that_reaches_out_of_its_folder_is_refused() {
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
    fn a_scene_of_an_unknown_track_is_refused() {
        let json = r#"{"duration_ms":1,"pictures":{"a":[]},"scenes":[{"from_ms":0,"main":"b"}]}"#;
        assert!(matches!(checked(json), Err(Error::Manifest(_))));
    }
}
