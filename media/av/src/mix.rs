//! Subcommand `voices`: all audio tracks of a lesson mixed to one fragmented MP4 with AAC, from the
//! start of the lesson to its end.

use std::path::Path;

use ffmpeg_next::Dictionary;
use serde_json::{Value, json};

use crate::audio::{Mixer, SAMPLE_RATE};
use crate::encode::{AudioEncoder, create};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::report::Progress;

/// Duration of a fragment in microseconds; each becomes a segment of a playlist.
const FRAGMENT_US: &str = "4000000";

/// Runs the job; returns the `done` report.
pub fn run(manifest: &Path, output: &Path) -> Result<Value, Error> {
    let manifest = Manifest::read(manifest)?;
    let mut file = create(output)?;
    let mut encoder = AudioEncoder::add(&mut file)?;
    encoder.skip_priming();
    let mut options = Dictionary::new();
    options.set("movflags", "empty_moov+default_base_moof+frag_discont");
    options.set("frag_duration", FRAGMENT_US);
    file.write_header_with(options)
        .map_err(Error::output(output))?;
    let mut mixer = Mixer::new(&manifest.audio);
    let mut progress = Progress::default();
    let (mut left, mut right) = (
        vec![0.0; encoder.frame_size()],
        vec![0.0; encoder.frame_size()],
    );
    let end = manifest.duration_ms * u64::from(SAMPLE_RATE) / 1000;
    for position in (0..end).step_by(encoder.frame_size()) {
        mixer.mix(position as i64, &mut left, &mut right)?;
        encoder.encode(position as i64, &left, &right, &mut file)?;
        progress.update(position, end);
    }
    encoder.finish(&mut file)?;
    file.write_trailer().map_err(Error::output(output))?;
    Ok(json!({ "duration_ms": manifest.duration_ms }))
}
