//! Retransmission payload (RFC 4588 §4): the original sequence number (OSN) followed by the
//! original payload.

/// Size in bytes of the original sequence number.
pub const OSN_LEN: usize = 2;

/// Returns the original sequence number and payload; `None` for a probe: padding only, or an OSN
/// without payload.
pub fn original(payload: &[u8]) -> Option<(u16, &[u8])> {
    let (osn, original) = payload.split_first_chunk::<OSN_LEN>()?;
    (!original.is_empty()).then(|| (u16::from_be_bytes(*osn), original))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retransmission_carries_the_lost_sequence_number() {
        assert_eq!(original(&[0x12, 0x34, 9, 8]), Some((0x1234, &[9, 8][..])));
    }

    #[test]
    fn a_probe_carries_no_retransmission() {
        assert_eq!(original(&[]), None);
        assert_eq!(original(&[1]), None);
        assert_eq!(original(&[1, 2]), None);
    }
}
