//! VP9 payload descriptor (RFC 9628 §4.2) in flexible and non-flexible mode.

use super::FrameInfo;

/// Bits of the descriptor's first byte.
mod bit {
    pub(super) const PICTURE_ID: u8 = 0x80;
    pub(super) const INTER_PREDICTED: u8 = 0x40;
    pub(super) const LAYERS: u8 = 0x20;
    pub(super) const FLEXIBLE: u8 = 0x10;
    pub(super) const BEGIN: u8 = 0x08;
    pub(super) const SCALABILITY: u8 = 0x02;
}

/// Describes the frame of one packet. With SVC, a frame is one spatial layer; a picture begins with
/// the frame of layer 0.
pub fn describe(payload: &[u8]) -> Option<FrameInfo> {
    let head = *payload.first()?;
    let mut at = 1;
    if head & bit::PICTURE_ID != 0 {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    let mut layers = 0;
    if head & bit::LAYERS != 0 {
        layers = *payload.get(at)?;
        // RFC 9628 §4.2: TL0PICIDX follows in non-flexible mode only.
        at += if head & bit::FLEXIBLE != 0 { 1 } else { 2 };
    }
    if head & bit::FLEXIBLE != 0 && head & bit::INTER_PREDICTED != 0 {
        at = skip_references(payload, at)?;
    }
    if head & bit::SCALABILITY != 0 {
        at = skip_scalability(payload, at)?;
    }
    payload.get(at)?;
    Some(info(head, layers))
}

fn info(head: u8, layers: u8) -> FrameInfo {
    let spatial = layers >> 1 & 0x07;
    let frame_start = head & bit::BEGIN != 0 && spatial == 0;
    FrameInfo {
        frame_start,
        // P = 0: the frame has no inter-picture prediction. Only spatial layer 0 decodes
        // independently.
        keyframe: head & bit::INTER_PREDICTED == 0 && spatial == 0,
        temporal: layers >> 5,
        spatial,
        switch_up: layers & 0x10 != 0,
        // The Z bit is about upper spatial layers only, so it does not make a frame discardable.
        discardable: false,
        vp8: None,
    }
}

/// RFC 9628 §4.2: up to three P_DIFF bytes; the N bit announces another.
fn skip_references(payload: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..3 {
        let more = payload.get(at)? & 0x01 != 0;
        at += 1;
        if !more {
            return Some(at);
        }
    }
    None
}

/// RFC 9628 §4.2.1: the scalability structure: resolutions if Y is set, a picture group if G is
/// set.
fn skip_scalability(payload: &[u8], mut at: usize) -> Option<usize> {
    let head = *payload.get(at)?;
    at += 1;
    if head & 0x10 != 0 {
        at += 4 * (usize::from(head >> 5) + 1);
    }
    if head & 0x08 != 0 {
        let pictures = *payload.get(at)?;
        at += 1;
        for _ in 0..pictures {
            at += 1 + usize::from(payload.get(at)? >> 2 & 0x03);
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_begins_at_the_base_layer() {
        // I, L, B, E and V; 15-bit picture ID; layer indices; TL0PICIDX; SS with one resolution.
        let key = [0xae, 0x81, 0x02, 0x00, 5, 0x10, 5, 0, 2, 0xd0, 0x82];
        let info = describe(&key).unwrap();
        assert!(info.frame_start && info.keyframe);
        let upper = [0xac, 0x81, 0x02, 0x03, 5, 0x82];
        let info = describe(&upper).unwrap();
        assert!(!info.frame_start && !info.keyframe && info.spatial == 1);
    }

    #[test]
    fn the_layers_of_a_following_frame_are_read_in_both_modes() {
        let non_flexible = [0xe8, 0x05, 0x50, 9, 0x86];
        let flexible = [0xf8, 0x05, 0x50, 0x03, 0x04, 0x86];
        for payload in [&non_flexible[..], &flexible] {
            let info = describe(payload).unwrap();
            assert!(info.frame_start && !info.keyframe && info.switch_up);
            assert_eq!((info.temporal, info.spatial), (2, 0));
        }
    }

    #[test]
    fn a_packet_in_the_middle_of_a_frame_does_not_start_a_frame() {
        assert!(!describe(&[0xc0, 0x05, 0x86]).unwrap().frame_start);
    }

    #[test]
    fn truncated_descriptors_and_endless_references_are_rejected() {
        let key = [
            0xae, 0x81, 0x02, 0x00, 5, 0x18, 5, 0, 2, 0xd0, 2, 0x04, 1, 0x08, 1, 2, 0x82,
        ];
        assert!(describe(&key).is_some());
        for len in 0..key.len() {
            assert_eq!(describe(&key[..len]), None, "{len} bytes");
        }
        assert_eq!(describe(&[0x50, 1, 1, 1, 1, 1]), None);
    }
}
