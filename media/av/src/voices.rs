//! All voices of the lesson as one track of fragmented MP4 with AAC, from the lesson's first moment to its last.

use std::path::Path;

use ffmpeg_next::Dictionary;
use serde_json::{Value, json};

use crate::encode::{SoundEncoder, create};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::report::Progress;
use crate::sound::{Mixer, RATE};

/// A fragment becomes a segment of a playlist; in microseconds.
const FRAGMENT_US: &str = "4000000";

pub fn run(manifest: &Path, output: &Path) -> Result<Value, Error> {
    let manifest = Manifest::read(manifest)?;
    let mut file = create(output)?;
    let mut encoder = SoundEncoder::add(&mut file)?;
    encoder.leave_out_priming();
    let mut options = Dictionary::new();
    options.set("movflags", "empty_moov+default_base_moof+frag_discont");
    options.set("frag_duration", FRAGMENT_US);
    file.write_header_with(options)
        .map_err(Error::output(output))?;
    let mut mixer = Mixer::new(&manifest.sounds);
    let mut progress = Progress::default();
    let (mut left, mut right) = (
        vec![0.0; encoder.frame_size()],
        vec![0.0; encoder.frame_size()],
    );
    let end = manifest.duration_ms * u64::from(RATE) / 1000;
    for position in (0..end).step_by(encoder.frame_size()) {
        mixer.mix(position as i64, &mut left, &mut right)?;
        encoder.encode(position as i64, &left, &right, &mut file)?;
        progress.tell(position, end);
    }
    encoder.finish(&mut file)?;
    file.write_trailer().map_err(Error::output(output))?;
    Ok(json!({ "duration_ms": manifest.duration_ms }))
}
