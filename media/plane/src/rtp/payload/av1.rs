//! AV1 (RTP Payload Format For AV1 v1.0 §4.4): the aggregation header and the first OBU.

use super::FrameInfo;

/// Bits of the aggregation header: `Z Y W W N - - -`.
const CONTINUES_AN_OBU: u8 = 0x80;
const NEW_SEQUENCE: u8 = 0x08;

/// OBU types (AV1 Bitstream specification §6.2.2) that can be first in a temporal unit. Temporal
/// delimiters are not sent (RTP Payload Format §5).
mod obu {
    pub(super) const SEQUENCE_HEADER: u8 = 1;
    pub(super) const FRAME_HEADER: u8 = 3;
    pub(super) const METADATA: u8 = 5;
    pub(super) const FRAME: u8 = 6;
}

/// Describes the frame of one packet. Frame references are in the dependency descriptor, which is
/// not negotiated.
pub fn describe(payload: &[u8]) -> Option<FrameInfo> {
    let (&head, rest) = payload.split_first()?;
    if head & CONTINUES_AN_OBU != 0 {
        return (!rest.is_empty()).then(FrameInfo::default);
    }
    let first = first_obu(head, rest)?;
    let frame_start = matches!(
        first.kind,
        obu::SEQUENCE_HEADER | obu::FRAME_HEADER | obu::METADATA | obu::FRAME
    );
    Some(FrameInfo {
        frame_start,
        // §4.4: N marks the first packet of a coded video sequence, which begins with a keyframe.
        keyframe: head & NEW_SEQUENCE != 0,
        temporal: first.temporal,
        spatial: first.spatial,
        ..FrameInfo::default()
    })
}

struct Obu {
    kind: u8,
    temporal: u8,
    spatial: u8,
}

/// Parses the first OBU (§4.4): W is the number of elements, the last of them without a length;
/// with W = 0 every element has a length.
fn first_obu(head: u8, rest: &[u8]) -> Option<Obu> {
    let element = if head >> 4 & 0x03 == 1 {
        rest
    } else {
        sized_element(rest)?
    };
    let &header = element.first()?;
    // AV1 §5.3.2: the extension byte has three bits of temporal and two of spatial ID.
    let extension = if header & 0x04 != 0 {
        *element.get(1)?
    } else {
        0
    };
    Some(Obu {
        kind: header >> 3 & 0x0f,
        temporal: extension >> 5,
        spatial: extension >> 3 & 0x03,
    })
}

/// Returns the element behind its LEB128 length (AV1 §4.10.5). A length of more than four bytes
/// exceeds any packet.
fn sized_element(bytes: &[u8]) -> Option<&[u8]> {
    let mut len = 0;
    for (at, &byte) in bytes.iter().enumerate().take(4) {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return bytes.get(at + 1..at + 1 + len);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_classroom_can_join_at_a_new_sequence() {
        let key = [0x28, 0x03, 0x0a, 0x0b, 0x00, 0x30, 0x10];
        let info = describe(&key).unwrap();
        assert!(info.frame_start && info.keyframe);
        let delta = [0x10, 0x30, 0x10, 0x11];
        let info = describe(&delta).unwrap();
        assert!(info.frame_start && !info.keyframe);
    }

    #[test]
    fn a_continuation_packet_does_not_start_a_frame() {
        assert_eq!(describe(&[0x90, 1, 2]), Some(FrameInfo::default()));
        assert!(
            !describe(&[0x10, 0x20, 0x10]).unwrap().frame_start,
            "a tile group"
        );
    }

    #[test]
    fn the_layer_is_in_the_extension_of_the_obu() {
        let info = describe(&[0x10, 0x34, 0x48, 0x11]).unwrap();
        assert_eq!((info.temporal, info.spatial), (2, 1));
    }

    #[test]
    fn wrong_lengths_are_rejected() {
        for payload in [
            &[][..],
            &[0x90],
            &[0x10],
            &[0x00, 0x05, 0x30],
            &[0x00, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x10, 0x34],
        ] {
            assert_eq!(describe(payload), None, "{payload:?}");
        }
    }
}
