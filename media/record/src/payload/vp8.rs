//! VP8 (RFC 7741): payloads without their descriptors → one frame.

use std::mem;

use super::{CodedFrame, Depacketizer};
use crate::Malformed;
use crate::frame::Format;

#[derive(Default)]
pub(super) struct Vp8 {
    data: Vec<u8>,
}

impl Depacketizer for Vp8 {
    fn starts_frame(&self, payload: &[u8]) -> bool {
        is_frame_start(payload)
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let body = strip_descriptor(payload)?;
        if self.data.is_empty() && !is_frame_start(payload) {
            return Err(Malformed(
                "a VP8 frame does not begin with its first partition",
            ));
        }
        self.data.extend_from_slice(body);
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<CodedFrame>, Malformed> {
        let data = mem::take(&mut self.data);
        // RFC 6386 §9.1: the lowest bit of the first byte is zero on keyframes.
        let keyframe = data.first().is_some_and(|byte| byte & 1 == 0);
        let format = if keyframe {
            Some(keyframe_format(&data)?)
        } else {
            None
        };
        Ok(Some(CodedFrame {
            data,
            keyframe,
            format,
        }))
    }

    fn clear(&mut self) {
        self.data.clear();
    }

    fn len(&self) -> usize {
        self.data.len()
    }
}

/// Returns true for the first packet of a frame: S bit set, partition index 0 (RFC 7741 §4.2).
fn is_frame_start(payload: &[u8]) -> bool {
    payload
        .first()
        .is_some_and(|byte| byte & 0x10 != 0 && byte & 0x07 == 0)
}

/// Strips the payload descriptor (RFC 7741 §4.2).
fn strip_descriptor(payload: &[u8]) -> Result<&[u8], Malformed> {
    const CUT: Malformed = Malformed("a VP8 payload descriptor is cut");
    let first = *payload.first().ok_or(CUT)?;
    let mut length = 1;
    if first & 0x80 != 0 {
        let extensions = *payload.get(1).ok_or(CUT)?;
        length += 1;
        if extensions & 0x80 != 0 {
            let long = payload.get(2).ok_or(CUT)? & 0x80 != 0;
            length += if long { 2 } else { 1 };
        }
        length += usize::from(extensions & 0x40 != 0); // TL0PICIDX
        length += usize::from(extensions & 0x30 != 0); // TID, Y, KEYIDX share a byte
    }
    payload
        .get(length..)
        .filter(|body| !body.is_empty())
        .ok_or(CUT)
}

/// Reads the frame size from a keyframe header (RFC 6386 §9.1).
fn keyframe_format(data: &[u8]) -> Result<Format, Malformed> {
    let header = data
        .get(..10)
        .ok_or(Malformed("a VP8 keyframe header is cut"))?;
    if header[3..6] != [0x9d, 0x01, 0x2a] {
        return Err(Malformed("a VP8 keyframe has no start code"));
    }
    let size = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]) & 0x3fff;
    Ok(Format::Vp8 {
        width: size(6),
        height: size(8),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_every_length_are_stripped() {
        assert_eq!(strip_descriptor(&[0x10, 7]), Ok(&[7u8][..]));
        assert_eq!(strip_descriptor(&[0x90, 0x80, 0x11, 7]), Ok(&[7u8][..]));
        assert_eq!(
            strip_descriptor(&[0x90, 0xf0, 0x81, 0x11, 0, 0, 7]),
            Ok(&[7u8][..])
        );
        assert!(strip_descriptor(&[0x90, 0xf0, 0x81]).is_err());
        assert!(strip_descriptor(&[0x10]).is_err());
    }

    #[test]
    fn the_size_is_read_from_a_keyframe_header() {
        let frame = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x41];
        assert_eq!(
            keyframe_format(&frame),
            Ok(Format::Vp8 {
                width: 640,
                height: 480
            })
        );
    }
}
