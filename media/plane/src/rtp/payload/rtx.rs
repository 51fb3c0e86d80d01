//! Retransmission payloads (RFC 4588 §4): the original sequence number in front of the original payload.

/// Bytes of the original sequence number.
pub const OSN_LEN: usize = 2;

/// The original sequence number and payload. `None` for a probe: padding alone, or the number with nothing behind it.
pub fn original(payload: &[u8]) -> Option<(u16, &[u8])> {
    let (osn, original) = payload.split_first_chunk::<OSN_LEN>()?;
    (!original.is_empty()).then(|| (u16::from_be_bytes(*osn), original))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resent_packet_names_the_one_that_was_lost() {
        assert_eq!(original(&[0x12, 0x34, 9, 8]), Some((0x1234, &[9, 8][..])));
    }

    #[test]
    fn a_probe_resends_nothing() {
        assert_eq!(original(&[]), None);
        assert_eq!(original(&[1]), None);
        assert_eq!(original(&[1, 2]), None);
    }
}
