//! STUN (RFC 8489) as far as an ICE client needs it: connectivity checks and responses.

use std::net::SocketAddrV4;

use bytes::Bytes;
use rand::Rng;
use rand::distr::Alphanumeric;
use ring::hmac;

const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLING: u16 = 0x802a;

/// Priority of a peer-reflexive host candidate (RFC 8445 §5.1.2.1).
const CHECK_PRIORITY: u32 = 110 << 24 | 65_535 << 8 | 255;

/// ICE username fragment and password of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub ufrag: String,
    pub pwd: String,
}

impl Credentials {
    /// Random credentials; RFC 8445 §5.3 requires at least 24 and 128 bits.
    pub(crate) fn random() -> Credentials {
        let text = |length| {
            rand::rng()
                .sample_iter(Alphanumeric)
                .take(length)
                .map(char::from)
                .collect()
        };
        Credentials {
            ufrag: text(8),
            pwd: text(24),
        }
    }
}

/// Connectivity check that nominates its pair at once (RFC 8445 §7.1), as there is only one.
pub(super) fn check(transaction: &[u8; 12], local: &Credentials, remote: &Credentials) -> Bytes {
    let mut message = Message::new(BINDING_REQUEST, transaction);
    message.attribute(
        USERNAME,
        format!("{}:{}", remote.ufrag, local.ufrag).as_bytes(),
    );
    message.attribute(PRIORITY, &CHECK_PRIORITY.to_be_bytes());
    message.attribute(ICE_CONTROLLING, &transaction[..8]);
    message.attribute(USE_CANDIDATE, &[]);
    message.finish(&remote.pwd)
}

/// Response to a check from `server`, a full ICE agent; `None` when `datagram` is no request. The
/// message integrity is not verified, as the response reveals nothing else.
pub(super) fn respond(datagram: &[u8], local: &Credentials, server: SocketAddrV4) -> Option<Bytes> {
    let (head, transaction) = (datagram.get(..8)?, datagram.get(8..20)?.try_into().ok()?);
    if u16::from_be_bytes([head[0], head[1]]) != BINDING_REQUEST || head[4..] != MAGIC {
        return None;
    }
    let mut message = Message::new(BINDING_SUCCESS, transaction);
    message.attribute(XOR_MAPPED_ADDRESS, &xor_mapped(server));
    Some(message.finish(&local.pwd))
}

/// Value of XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
fn xor_mapped(address: SocketAddrV4) -> [u8; 8] {
    let magic = u32::from_be_bytes(MAGIC);
    let port = (address.port() ^ (magic >> 16) as u16).to_be_bytes();
    let ip = (u32::from(*address.ip()) ^ magic).to_be_bytes();
    [0, 1, port[0], port[1], ip[0], ip[1], ip[2], ip[3]]
}

/// True if `datagram` is the success response to our check.
pub(super) fn is_success(datagram: &[u8], transaction: &[u8; 12]) -> bool {
    datagram.starts_with(&BINDING_SUCCESS.to_be_bytes())
        && datagram.get(8..20) == Some(&transaction[..])
}

struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, transaction: &[u8; 12]) -> Message {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(transaction);
        Message { bytes }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes
            .extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(value);
        // RFC 8489 §14: padded to 32 bits; the length excludes the padding.
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.set_length(0);
    }

    fn set_length(&mut self, ahead: usize) {
        let length = (self.bytes.len() - 20 + ahead) as u16;
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }

    /// Adds MESSAGE-INTEGRITY and FINGERPRINT (RFC 8489 §14.5, §14.7); the length includes each
    /// before it is computed.
    fn finish(mut self, pwd: &str) -> Bytes {
        self.set_length(24);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd.as_bytes());
        let tag = hmac::sign(&key, &self.bytes);
        self.attribute(MESSAGE_INTEGRITY, tag.as_ref());
        self.set_length(8);
        let crc = crc32(&self.bytes) ^ 0x5354_554e;
        self.attribute(FINGERPRINT, &crc.to_be_bytes());
        self.bytes.into()
    }
}

/// CRC-32 (ITU V.42, RFC 8489 §14.7). A few checks per second need no table.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_matches_its_check_value() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn xor_mapped_address_matches_the_test_vectors_of_rfc_5769() {
        assert_eq!(
            xor_mapped("192.0.2.1:32853".parse().unwrap()),
            [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]
        );
    }

    #[test]
    fn a_check_gets_a_response_that_is_recognized() {
        let (one, other) = (Credentials::random(), Credentials::random());
        let server = "192.0.2.1:32853".parse().unwrap();
        let transaction = [7; 12];
        let request = check(&transaction, &one, &other);
        assert_eq!(
            request.len() - 20,
            usize::from(u16::from_be_bytes([request[2], request[3]]))
        );
        let success = respond(&request, &other, server).expect("a request is answered");
        assert!(is_success(&success, &transaction));
        assert!(
            respond(&success, &one, server).is_none(),
            "an answer is not answered"
        );
        assert!(!is_success(&request, &transaction));
    }
}
