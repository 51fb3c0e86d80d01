//! H264 (RFC 6184 §5) in packetization modes 0 and 1: single NAL units, aggregates (STAP-A) and
//! fragments (FU-A).

use super::FrameInfo;

/// NAL unit types (ITU-T H.264 table 7-1; RFC 6184 table 1 from 24).
mod nal {
    pub(super) const SLICE: u8 = 1;
    pub(super) const PARTITION_A: u8 = 2;
    pub(super) const IDR: u8 = 5;
    pub(super) const SEI: u8 = 6;
    pub(super) const SPS: u8 = 7;
    pub(super) const PPS: u8 = 8;
    pub(super) const DELIMITER: u8 = 9;
    pub(super) const STAP_A: u8 = 24;
    pub(super) const FU_A: u8 = 28;
}

/// Describes the frame of one packet. These headers have no temporal layer; `discardable` marks
/// non-reference pictures.
pub fn describe(payload: &[u8]) -> Option<FrameInfo> {
    match payload.first()? & 0x1f {
        nal::STAP_A => aggregate(payload),
        nal::FU_A => fragment(payload),
        1..=23 => Some(unit(payload)),
        // 0, 30 and 31 are reserved; STAP-B, MTAP and FU-B belong to interleaved mode, which is
        // never negotiated.
        _ => None,
    }
}

fn unit(nal_unit: &[u8]) -> FrameInfo {
    let slice_data = nal_unit.get(1..).unwrap_or_default();
    nal_info(nal_unit[0], begins_picture(nal_unit[0] & 0x1f, slice_data))
}

/// Describes a STAP-A (RFC 6184 §5.7.1): each NAL unit follows its 16-bit length.
fn aggregate(payload: &[u8]) -> Option<FrameInfo> {
    let mut info = FrameInfo {
        discardable: payload[0] & 0x60 == 0,
        ..FrameInfo::default()
    };
    let mut rest = &payload[1..];
    while let Some((len, tail)) = rest.split_first_chunk() {
        let (nal_unit, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        if nal_unit.is_empty() {
            return None;
        }
        let unit_info = unit(nal_unit);
        info.frame_start |= unit_info.frame_start;
        info.keyframe |= unit_info.keyframe;
        rest = tail;
    }
    (payload.len() > 3 && rest.is_empty()).then_some(info)
}

/// Describes an FU-A (RFC 6184 §5.8): the FU header has the start bit and the type of the
/// fragmented NAL unit.
fn fragment(payload: &[u8]) -> Option<FrameInfo> {
    let [indicator, header, data @ ..] = payload else {
        return None;
    };
    let nal_type = header & 0x1f;
    let start = header & 0x80 != 0 && begins_picture(nal_type, data);
    Some(nal_info(indicator & 0x60 | nal_type, start))
}

fn nal_info(head: u8, frame_start: bool) -> FrameInfo {
    let keyframe = matches!(head & 0x1f, nal::IDR | nal::SPS);
    // nal_ref_idc zero: not used for reference (ITU-T H.264 §7.4.1). Delimiters and SEI always have
    // it but are not pictures.
    let discardable = head & 0x60 == 0 && matches!(head & 0x1f, nal::SLICE | nal::PARTITION_A);
    FrameInfo {
        frame_start,
        keyframe,
        discardable,
        ..FrameInfo::default()
    }
}

/// Returns true if a NAL unit can be the first of a picture (ITU-T H.264 §7.4.1.2.3).
fn begins_picture(nal_type: u8, data: &[u8]) -> bool {
    match nal_type {
        nal::DELIMITER | nal::SPS | nal::PPS | nal::SEI => true,
        // first_mb_in_slice is the first field, Exp-Golomb coded: zero is the single bit 1 (§7.3.3,
        // §9.1).
        nal::SLICE | nal::PARTITION_A | nal::IDR => {
            data.first().is_some_and(|byte| byte & 0x80 != 0)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(payload: &[u8]) -> (bool, bool, bool) {
        let info = describe(payload).unwrap();
        (info.frame_start, info.keyframe, info.discardable)
    }

    #[test]
    fn a_keyframe_comes_as_parameter_sets_and_then_fragments() {
        let stap = [0x78, 0, 3, 0x67, 0x42, 0xe0, 0, 2, 0x68, 0xce];
        assert_eq!(info(&stap), (true, true, false));
        assert_eq!(
            info(&[0x7c, 0x85, 0x88, 0x84]),
            (true, true, false),
            "first fragment of an IDR slice"
        );
        assert_eq!(
            info(&[0x7c, 0x05, 0x88, 0x84]),
            (false, true, false),
            "a fragment in the middle"
        );
        assert_eq!(
            info(&[0x7c, 0x45, 0x88]),
            (false, true, false),
            "the last fragment"
        );
    }

    #[test]
    fn a_later_slice_of_the_same_picture_does_not_start_a_frame() {
        assert_eq!(
            info(&[0x41, 0x9a, 0]),
            (true, false, false),
            "first_mb_in_slice is 0"
        );
        assert_eq!(
            info(&[0x41, 0x4a, 0]),
            (false, false, false),
            "first_mb_in_slice is 1"
        );
        assert_eq!(
            info(&[0x65, 0x4a, 0]),
            (false, true, false),
            "second slice of an IDR picture"
        );
        assert_eq!(
            info(&[0x5c, 0x81, 0x4a]),
            (false, false, false),
            "a fragmented second slice"
        );
    }

    #[test]
    fn a_non_reference_picture_is_discardable() {
        assert_eq!(info(&[0x01, 0x9a]), (true, false, true));
        assert_eq!(
            info(&[0x06, 5, 1]),
            (true, false, false),
            "SEI is not a picture"
        );
    }

    #[test]
    fn malformed_payloads_are_rejected() {
        for payload in [
            &[][..],
            &[0x78],
            &[0x78, 0, 0],
            &[0x78, 0, 9, 0x67],
            &[0x78, 0, 1, 0x67, 0],
            &[0x7c],
            &[0x60],
            &[0x79, 0, 0],
        ] {
            assert_eq!(describe(payload), None, "{payload:?}");
        }
    }
}
