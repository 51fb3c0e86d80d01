//! Opening of media files with libav.

use std::path::Path;

use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Dictionary, format};

use crate::error::Error;

/// Demuxers of recordings, page images and uploaded video and audio. None of them opens further
/// files.
const FORMATS: &str = "mov,webp_pipe,ivf,matroska,ogg,mp3,wav,avi,asf,flv,mpegts,mpeg,aac,flac,amr";

/// Opens a local file. Network protocols and playlists that reference other files are disabled.
pub fn open(path: &Path) -> Result<Input, Error> {
    let mut options = Dictionary::new();
    options.set("protocol_whitelist", "file");
    options.set("format_whitelist", FORMATS);
    format::input_with_dictionary(path, options).map_err(Error::broken(path))
}
