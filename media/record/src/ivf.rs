//! IVF writer: a 32-byte header, then frames with length and time. A file truncated at any byte
//! stays readable up to there.

use crate::Duration;

/// Size of a frame header in bytes: length (u32) and time (u64), little-endian.
pub(crate) const FRAME_HEADER: usize = 12;

/// Writes the file header of a VP8 stream with a timescale of milliseconds.
pub(crate) fn header(width: u16, height: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    out.extend_from_slice(b"DKIF\0\0\x20\0VP80");
    out.extend_from_slice(&width.to_le_bytes());
    out.extend_from_slice(&height.to_le_bytes());
    out.extend_from_slice(&1000u32.to_le_bytes()); // ticks per second
    out.extend_from_slice(&1u32.to_le_bytes());
    out.extend_from_slice(&[0; 8]); // frame count: unknown, and readers ignore it
    out
}

/// Appends a frame; `time` is lesson time.
pub(crate) fn put_frame(time: Duration, data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(data.len() as u32).to_le_bytes());
    out.extend_from_slice(&((time.as_micros() as u64 + 500) / 1000).to_le_bytes());
    out.extend_from_slice(data);
}
