//! STUN binding requests and the answers to them (RFC 8489), as far as an ICE-lite agent needs them.
//!
//! Our own, not `rtc-stun`'s: it copies each attribute of each check, and it does not say which attributes stand before
//! MESSAGE-INTEGRITY. Only those are authenticated, and a USE-CANDIDATE behind it must not move anyone's media.

use std::net::{IpAddr, SocketAddr};

use ring::hmac;

use crate::drop_reason::DropReason;

const HEADER_LEN: usize = 20;
const COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

mod attribute {
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const PRIORITY: u16 = 0x0024;
    pub const USE_CANDIDATE: u16 = 0x0025;
    pub const FINGERPRINT: u16 = 0x8028;
    pub const ICE_CONTROLLED: u16 = 0x8029;
}

/// Everything of MESSAGE-INTEGRITY: type, length, HMAC-SHA1.
const INTEGRITY_LEN: usize = 24;

/// Everything of FINGERPRINT: type, length, CRC.
const FINGERPRINT_LEN: usize = 8;

/// More unknown attributes than this need not be told back (420 is a courtesy).
const MAX_UNKNOWN: usize = 8;

/// A binding request, well-formed and with a right FINGERPRINT. Nothing of it is authenticated before [`Request::is_made_with`].
#[derive(Debug)]
pub(super) struct Request<'a> {
    message: &'a [u8],
    /// Whose check this is: our ufrag, then theirs.
    pub(super) username: Option<(&'a str, &'a str)>,
    /// Where MESSAGE-INTEGRITY starts.
    integrity_at: Option<usize>,
    /// Whether the peer nominates this path.
    pub(super) use_candidate: bool,
    /// Whether it carries the PRIORITY that every check has (RFC 8445 §7.1.1).
    pub(super) has_priority: bool,
    /// Whether it claims to be the controlled agent.
    pub(super) is_controlled: bool,
    /// Comprehension-required attributes that we do not know.
    pub(super) unknown: Vec<u16>,
}

impl<'a> Request<'a> {
    /// Parses a binding request. Attributes behind MESSAGE-INTEGRITY are ignored but for FINGERPRINT (RFC 8489 §14.5).
    pub(super) fn parse(message: &'a [u8]) -> Result<Request<'a>, DropReason> {
        let attributes = attributes_of(message).ok_or(DropReason::StunMalformed)?;
        if u16_at(message, 0) != BINDING_REQUEST {
            return Err(DropReason::StunUnexpected);
        }
        let mut request = Request {
            message,
            username: None,
            integrity_at: None,
            use_candidate: false,
            has_priority: false,
            is_controlled: false,
            unknown: Vec::new(),
        };
        let mut fingerprint = None;
        for attribute in attributes {
            let (kind, value, at) = attribute.ok_or(DropReason::StunMalformed)?;
            if kind == attribute::FINGERPRINT {
                fingerprint = Some((at, value));
            } else if request.integrity_at.is_none() {
                request.take(kind, value, at)?;
            }
        }
        if fingerprint.is_some_and(|(at, value)| is_fingerprint(message, at, value)) {
            Ok(request)
        } else {
            Err(DropReason::StunMalformed)
        }
    }

    fn take(&mut self, kind: u16, value: &'a [u8], at: usize) -> Result<(), DropReason> {
        match kind {
            attribute::USERNAME => {
                self.username = std::str::from_utf8(value).ok().and_then(|name| name.split_once(':'))
            }
            attribute::MESSAGE_INTEGRITY if value.len() == INTEGRITY_LEN - 4 => self.integrity_at = Some(at),
            attribute::MESSAGE_INTEGRITY => return Err(DropReason::StunMalformed),
            attribute::PRIORITY => self.has_priority = value.len() == 4,
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::ICE_CONTROLLED => self.is_controlled = true,
            // RFC 8489 §14: types below 0x8000 must be understood.
            kind if kind < 0x8000 && self.unknown.len() < MAX_UNKNOWN => self.unknown.push(kind),
            _ => {}
        }
        Ok(())
    }

    /// Whether it has a MESSAGE-INTEGRITY at all.
    pub(super) fn has_integrity(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// Whether MESSAGE-INTEGRITY was made with this password.
    pub(super) fn is_made_with(&self, pwd: &str) -> bool {
        let Some(at) = self.integrity_at else { return false };
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd.as_bytes());
        // The length field counts up to and including MESSAGE-INTEGRITY (RFC 8489 §14.5). The verifying form of ring's HMAC
        // takes one slice; a check is about 100 bytes, so copying it once is nothing.
        let mut covered = self.message[..at].to_vec();
        set_length(&mut covered, at + INTEGRITY_LEN);
        hmac::verify(&key, &covered, &self.message[at + 4..at + INTEGRITY_LEN]).is_ok()
    }

    /// The success answer: the address we see the peer at, authenticated with our password.
    pub(super) fn success(&self, mapped: SocketAddr, pwd: &str) -> Vec<u8> {
        let mut answer = self.answer(BINDING_SUCCESS);
        push_attribute(&mut answer, attribute::XOR_MAPPED_ADDRESS, &self.xor_address(mapped));
        finish(answer, Some(pwd))
    }

    /// An error answer. 400 and 401 go without MESSAGE-INTEGRITY, as there is no agreed key (RFC 8489 §9.1.3).
    pub(super) fn error(&self, error: StunError, pwd: Option<&str>) -> Vec<u8> {
        let (code, reason) = error.code_and_reason();
        let mut answer = self.answer(BINDING_ERROR);
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend_from_slice(reason.as_bytes());
        push_attribute(&mut answer, attribute::ERROR_CODE, &value);
        if error == StunError::UnknownAttribute {
            let unknown: Vec<u8> = self.unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
            push_attribute(&mut answer, attribute::UNKNOWN_ATTRIBUTES, &unknown);
        }
        finish(answer, pwd)
    }

    fn answer(&self, kind: u16) -> Vec<u8> {
        let mut answer = Vec::with_capacity(128);
        answer.extend_from_slice(&kind.to_be_bytes());
        answer.extend_from_slice(&[0, 0]);
        answer.extend_from_slice(&self.message[4..HEADER_LEN]);
        answer
    }

    /// RFC 8489 §14.2: the port and address, XORed with the cookie and (IPv6) the transaction id.
    fn xor_address(&self, address: SocketAddr) -> Vec<u8> {
        let family = if address.is_ipv4() { 1 } else { 2 };
        let mut value = vec![0, family];
        value.extend_from_slice(&address.port().to_be_bytes());
        match address.ip() {
            IpAddr::V4(ip) => value.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => value.extend_from_slice(&ip.octets()),
        }
        let (port, ip) = value[2..].split_at_mut(2);
        for (byte, key) in port.iter_mut().zip(&COOKIE) {
            *byte ^= key;
        }
        for (byte, key) in ip.iter_mut().zip(&self.message[4..HEADER_LEN]) {
            *byte ^= key;
        }
        value
    }
}

/// The errors that RFC 8489 and RFC 8445 want answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StunError {
    BadRequest,
    Unauthenticated,
    UnknownAttribute,
    RoleConflict,
}

impl StunError {
    fn code_and_reason(self) -> (u16, &'static str) {
        match self {
            StunError::BadRequest => (400, "Bad Request"),
            StunError::Unauthenticated => (401, "Unauthenticated"),
            StunError::UnknownAttribute => (420, "Unknown Attribute"),
            StunError::RoleConflict => (487, "Role Conflict"),
        }
    }
}

/// Our ufrag in the USERNAME of a binding request (RFC 8445 §7.2.2): how the shard finds the peer of an unknown address.
///
/// `None` for anything that is no well-formed binding request with a USERNAME. Nothing is authenticated here.
pub fn local_ufrag_of(datagram: &[u8]) -> Option<&str> {
    Request::parse(datagram).ok()?.username.map(|(local, _)| local)
}

/// Kind, value and offset of each attribute; an item is `None` when it runs past the end.
fn attributes_of(message: &[u8]) -> Option<impl Iterator<Item = Option<(u16, &[u8], usize)>>> {
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
        // Length and start are multiples of 4, so that a type and a length are there.
        let (start, kind, len) = (at, u16_at(message, at), usize::from(u16_at(message, at + 2)));
        let value = message.get(start + 4..start + 4 + len);
        at = match value {
            Some(_) => start + 4 + len.next_multiple_of(4),
            None => message.len(),
        };
        Some(value.map(|value| (kind, value, start)))
    }))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn is_fingerprint(message: &[u8], at: usize, value: &[u8]) -> bool {
    at + FINGERPRINT_LEN == message.len() && value == fingerprint(&message[..at])
}

/// RFC 8489 §14.7.
fn fingerprint(covered: &[u8]) -> [u8; 4] {
    (crc32(covered) ^ 0x5354_554E).to_be_bytes()
}

/// CRC-32 of ISO 3309, bit by bit: 100 bytes every other second per peer need no table.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

fn push_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&(value.len() as u16).to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn set_length(message: &mut [u8], total: usize) {
    let length = (total - HEADER_LEN) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

/// Adds MESSAGE-INTEGRITY (with a key) and FINGERPRINT; each covers a length field that already counts it.
fn finish(mut message: Vec<u8>, pwd: Option<&str>) -> Vec<u8> {
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
