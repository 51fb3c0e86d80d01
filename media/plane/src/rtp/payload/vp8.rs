//! VP8 payload descriptor (RFC 7741 §4.2): parsing, and rewriting of picture IDs at layer switches.

use super::FrameInfo;

/// Fields of the payload descriptor that a decoder expects to be continuous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureIds {
    /// PictureID, 7 or 15 bits wide; the sender chooses the width.
    pub picture_id: u16,
    /// TL0PICIDX: running index of frames of temporal layer 0.
    pub tl0picidx: u8,
}

/// Offsets of the fields of a payload descriptor; presence and widths vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Descriptor {
    /// Offset of PictureID; true if it has 15 bits.
    picture_id: Option<(usize, bool)>,
    tl0picidx: Option<usize>,
    /// Offset of the byte with TID, Y and KEYIDX.
    tid: Option<usize>,
    /// Length of the descriptor: the offset of the VP8 payload header.
    len: usize,
}

/// Describes the frame of one packet.
pub fn describe(payload: &[u8]) -> Option<FrameInfo> {
    let descriptor = parse(payload)?;
    let first = *payload.get(descriptor.len)?;
    // RFC 7741 §4.2: S is set at the start of a partition; partition 0 is the first.
    let frame_start = payload[0] & 0x10 != 0 && payload[0] & 0x07 == 0;
    let tid = descriptor
        .tid
        .filter(|_| payload[1] & 0x20 != 0)
        .map_or(0, |at| payload[at]);
    Some(FrameInfo {
        frame_start,
        // RFC 7741 §4.3: the inverse key frame flag P is the lowest bit of the frame's first byte.
        keyframe: frame_start && first & 0x01 == 0,
        temporal: tid >> 6,
        spatial: 0,
        switch_up: tid & 0x20 != 0,
        discardable: payload[0] & 0x20 != 0,
        vp8: descriptor.picture_id.map(|(at, wide)| PictureIds {
            picture_id: read_picture_id(payload, at, wide),
            tl0picidx: descriptor.tl0picidx.map_or(0, |at| payload[at]),
        }),
    })
}

/// Overwrites PictureID and TL0PICIDX in the sender's widths; an absent field stays absent.
///
/// A payload that [`describe`] rejects for its descriptor is left unchanged.
pub fn rewrite(payload: &mut [u8], ids: PictureIds) {
    let Some(descriptor) = parse(payload) else {
        return;
    };
    match descriptor.picture_id {
        Some((at, true)) => {
            payload[at..at + 2].copy_from_slice(&(ids.picture_id | 0x8000).to_be_bytes())
        }
        Some((at, false)) => payload[at] = (ids.picture_id & 0x7f) as u8,
        None => {}
    }
    if let Some(at) = descriptor.tl0picidx {
        payload[at] = ids.tl0picidx;
    }
}

/// Parses the descriptor (RFC 7741 §4.2): X announces the extension byte, whose bits announce the
/// following fields in this order.
fn parse(payload: &[u8]) -> Option<Descriptor> {
    let mut descriptor = Descriptor {
        picture_id: None,
        tl0picidx: None,
        tid: None,
        len: 1,
    };
    if *payload.first()? & 0x80 == 0 {
        return Some(descriptor);
    }
    let extension = *payload.get(1)?;
    descriptor.len = 2;
    if extension & 0x80 != 0 {
        let wide = payload.get(descriptor.len)? & 0x80 != 0;
        descriptor.picture_id = Some((descriptor.len, wide));
        descriptor.len += 1 + usize::from(wide);
    }
    if extension & 0x40 != 0 {
        descriptor.tl0picidx = Some(descriptor.len);
        descriptor.len += 1;
    }
    if extension & 0x30 != 0 {
        descriptor.tid = Some(descriptor.len);
        descriptor.len += 1;
    }
    (descriptor.len <= payload.len()).then_some(descriptor)
}

fn read_picture_id(payload: &[u8], at: usize, wide: bool) -> u16 {
    if wide {
        u16::from_be_bytes([payload[at], payload[at + 1]]) & 0x7fff
    } else {
        u16::from(payload[at] & 0x7f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// X and S; I, L and T; PictureID 0x1234 in 15 bits; TL0PICIDX 7; TID 2 with Y.
    const LAYERED: [u8; 7] = [0x90, 0xe0, 0x92, 0x34, 7, 0xa0, 0x01];

    #[test]
    fn picture_id_and_layer_of_a_temporal_layer_frame_are_parsed() {
        let info = describe(&LAYERED).unwrap();
        assert_eq!(
            info.vp8,
            Some(PictureIds {
                picture_id: 0x1234,
                tl0picidx: 7
            })
        );
        assert_eq!(
            (info.temporal, info.switch_up, info.discardable),
            (2, true, false)
        );
        assert!(info.frame_start && !info.keyframe);
    }

    #[test]
    fn a_keyframe_begins_in_the_first_packet_of_its_first_partition() {
        assert!(describe(&[0x10, 0x00]).unwrap().keyframe);
        assert!(
            !describe(&[0x00, 0x00]).unwrap().frame_start,
            "a continuation packet"
        );
        assert!(
            !describe(&[0x11, 0x00]).unwrap().frame_start,
            "the second partition"
        );
        assert!(describe(&[0x30, 0x01]).unwrap().discardable);
    }

    #[test]
    fn rewriting_keeps_the_width_the_sender_chose() {
        let mut wide = LAYERED;
        rewrite(
            &mut wide,
            PictureIds {
                picture_id: 0x0001,
                tl0picidx: 9,
            },
        );
        assert_eq!(wide, [0x90, 0xe0, 0x80, 0x01, 9, 0xa0, 0x01]);
        let mut narrow = [0x90, 0x80, 0x12, 0x01];
        rewrite(
            &mut narrow,
            PictureIds {
                picture_id: 0x01ff,
                tl0picidx: 9,
            },
        );
        assert_eq!(narrow, [0x90, 0x80, 0x7f, 0x01]);
        let mut bare = [0x10, 0x00];
        rewrite(
            &mut bare,
            PictureIds {
                picture_id: 1,
                tl0picidx: 1,
            },
        );
        assert_eq!(bare, [0x10, 0x00]);
    }

    #[test]
    fn a_truncated_descriptor_is_rejected_and_left_unchanged() {
        for len in 0..LAYERED.len() {
            assert_eq!(describe(&LAYERED[..len]), None, "{len} bytes");
            let mut cut = LAYERED[..len].to_vec();
            rewrite(&mut cut, PictureIds::default());
            assert_eq!(cut.len(), len);
        }
    }
}
