//! IVF: a header of 32 bytes, then frames behind their length and time. Cut at any byte it stays readable up to there.

use crate::Duration;

/// Bytes before each frame: its length (u32) and its time (u64), little-endian.
pub(crate) const FRAME_HEADER: usize = 12;

/// The header of a VP8 stream whose times are milliseconds of the lesson.
pub(crate) fn header(width: u16, height: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    out.extend_from_slice(b"DKIF\0\0\x20\0VP80");
    out.extend_from_slice(&width.to_le_bytes());
    out.extend_from_slice(&height.to_le_bytes());
    out.extend_from_slice(&1000u32.to_le_bytes()); // ticks per second
    out.extend_from_slice(&1u32.to_le_bytes());
    out.extend_from_slice(&[0; 8]); // frame count: not known, and readers do not ask
    out
}

pub(crate) fn put_frame(time: Duration, data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(data.len() as u32).to_le_bytes());
    out.extend_from_slice(&((time.as_micros() as u64 + 500) / 1000).to_le_bytes());
    out.extend_from_slice(data);
}
