//! Opus (RFC 7587): every packet is an independent frame.

use super::FrameInfo;

/// Describes a payload of at least its TOC byte (RFC 6716 §3.1).
pub fn describe(payload: &[u8]) -> Option<FrameInfo> {
    payload.first()?;
    Some(FrameInfo {
        frame_start: true,
        keyframe: true,
        ..FrameInfo::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_can_join_at_any_audio_packet() {
        assert!(describe(&[0x78, 1, 2]).unwrap().keyframe);
        assert_eq!(describe(&[]), None);
    }
}
