//! Encoding of STUN messages: header, attributes, integrity and fingerprint (RFC 8489 §5, §14).

use ring::hmac;

/// Length of the header in bytes: type, length, magic cookie, transaction id.
pub(super) const HEADER_LEN: usize = 20;

/// The magic cookie (RFC 8489 §5).
pub(super) const COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();

/// Attribute types (RFC 8489 §18.3, RFC 8445 §16.1).
pub(super) mod attribute {
    pub(crate) const USERNAME: u16 = 0x0006;
    pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(crate) const ERROR_CODE: u16 = 0x0009;
    pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(crate) const PRIORITY: u16 = 0x0024;
    pub(crate) const USE_CANDIDATE: u16 = 0x0025;
    pub(crate) const FINGERPRINT: u16 = 0x8028;
    pub(crate) const ICE_CONTROLLED: u16 = 0x8029;
}

/// Length of MESSAGE-INTEGRITY in bytes: type, length, HMAC-SHA1.
pub(super) const INTEGRITY_LEN: usize = 24;

/// Length of FINGERPRINT in bytes: type, length, CRC.
const FINGERPRINT_LEN: usize = 8;

/// Yields type, value and offset of each attribute. An item is None if the attribute exceeds the
/// message.
pub(super) fn attributes_of(
    message: &[u8],
) -> Option<impl Iterator<Item = Option<(u16, &[u8], usize)>>> {
    let whole = message.len() >= HEADER_LEN
        && message[0] & 0xC0 == 0
        && message[4..8] == COOKIE
        && usize::from(u16_at(message, 2)) + HEADER_LEN == message.len()
        && message.len().is_multiple_of(4);
    let mut at = if whole { HEADER_LEN } else { return None };
    Some(std::iter::from_fn(move || {
        if at >= message.len() {
            return None;
        }
        // The total length and the offset are multiples of 4, so type and length are present.
        let (start, kind, len) = (
            at,
            u16_at(message, at),
            usize::from(u16_at(message, at + 2)),
        );
        let value = message.get(start + 4..start + 4 + len);
        at = match value {
            Some(_) => start + 4 + len.next_multiple_of(4),
            None => message.len(),
        };
        Some(value.map(|value| (kind, value, start)))
    }))
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn is_fingerprint(message: &[u8], at: usize, value: &[u8]) -> bool {
    at + FINGERPRINT_LEN == message.len() && value == fingerprint(&message[..at])
}

/// Returns the value of FINGERPRINT (RFC 8489 §14.7).
fn fingerprint(covered: &[u8]) -> [u8; 4] {
    (crc32(covered) ^ 0x5354_554E).to_be_bytes()
}

/// Returns the CRC-32 of ISO 3309, computed bitwise: 100 bytes every other second per peer need no
/// table.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0xEDB8_8320
        } else {
            crc >> 1
        }
    };
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc))
    })
}

pub(super) fn push_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&(value.len() as u16).to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

pub(super) fn set_length(message: &mut [u8], total: usize) {
    let length = (total - HEADER_LEN) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

/// Appends MESSAGE-INTEGRITY (with a key) and FINGERPRINT. Each covers a length field that already
/// counts it.
pub(super) fn finish(mut message: Vec<u8>, pwd: Option<&str>) -> Vec<u8> {
    if let Some(pwd) = pwd {
        let total = message.len() + INTEGRITY_LEN;
        set_length(&mut message, total);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd.as_bytes());
        let tag = hmac::sign(&key, &message);
        push_attribute(&mut message, attribute::MESSAGE_INTEGRITY, tag.as_ref());
    }
    let total = message.len() + FINGERPRINT_LEN;
    set_length(&mut message, total);
    let crc = fingerprint(&message);
    push_attribute(&mut message, attribute::FINGERPRINT, &crc);
    message
}
