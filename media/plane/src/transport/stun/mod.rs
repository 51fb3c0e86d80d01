//! STUN Binding requests and responses (RFC 8489), as far as an ICE-lite agent needs them.
//!
//! `rtc-stun` is not used: it copies each attribute of each check, and does not report which
//! attributes precede MESSAGE-INTEGRITY. Only those are authenticated, and a USE-CANDIDATE after it
//! must not move a peer's media.

use std::net::{IpAddr, SocketAddr};

use ring::hmac;

mod wire;

use crate::drop_reason::DropReason;
use wire::{
    COOKIE, HEADER_LEN, INTEGRITY_LEN, attribute, attributes_of, finish, is_fingerprint,
    push_attribute, set_length, u16_at,
};

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

/// Maximum number of unknown attributes that a 420 response lists; the list is informative only.
const MAX_UNKNOWN: usize = 8;

/// A well-formed Binding request with a correct FINGERPRINT. Nothing in it is authenticated before
/// [`Request::has_valid_integrity`].
#[derive(Debug)]
pub(super) struct Request<'a> {
    message: &'a [u8],
    /// USERNAME of the check: the server's ufrag, then the client's.
    pub(super) username: Option<(&'a str, &'a str)>,
    /// Offset of MESSAGE-INTEGRITY.
    integrity_at: Option<usize>,
    /// True if the client nominates this path (USE-CANDIDATE).
    pub(super) use_candidate: bool,
    /// True if PRIORITY is present; it is mandatory in a check (RFC 8445 §7.1.1).
    pub(super) has_priority: bool,
    /// True if the client claims the controlled role (ICE-CONTROLLED).
    pub(super) is_controlled: bool,
    /// Unknown comprehension-required attributes.
    pub(super) unknown: Vec<u16>,
}

impl<'a> Request<'a> {
    /// Parses a Binding request. Attributes after MESSAGE-INTEGRITY, except FINGERPRINT, are
    /// ignored (RFC 8489 §14.5).
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
                request.read_attribute(kind, value, at)?;
            }
        }
        if fingerprint.is_some_and(|(at, value)| is_fingerprint(message, at, value)) {
            Ok(request)
        } else {
            Err(DropReason::StunMalformed)
        }
    }

    fn read_attribute(&mut self, kind: u16, value: &'a [u8], at: usize) -> Result<(), DropReason> {
        match kind {
            attribute::USERNAME => {
                self.username = std::str::from_utf8(value)
                    .ok()
                    .and_then(|name| name.split_once(':'))
            }
            attribute::MESSAGE_INTEGRITY if value.len() == INTEGRITY_LEN - 4 => {
                self.integrity_at = Some(at)
            }
            attribute::MESSAGE_INTEGRITY => return Err(DropReason::StunMalformed),
            attribute::PRIORITY => self.has_priority = value.len() == 4,
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::ICE_CONTROLLED => self.is_controlled = true,
            // RFC 8489 §14: types below 0x8000 are comprehension-required.
            kind if kind < 0x8000 && self.unknown.len() < MAX_UNKNOWN => self.unknown.push(kind),
            _ => {}
        }
        Ok(())
    }

    /// Returns true if MESSAGE-INTEGRITY is present.
    pub(super) fn has_integrity(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// Returns true if MESSAGE-INTEGRITY was computed with this password.
    pub(super) fn has_valid_integrity(&self, pwd: &str) -> bool {
        let Some(at) = self.integrity_at else {
            return false;
        };
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd.as_bytes());
        // The length field counts up to and including MESSAGE-INTEGRITY (RFC 8489 §14.5).
        // `ring::hmac::verify` takes one slice; a check has about 100 bytes, so the copy is cheap.
        let mut covered = self.message[..at].to_vec();
        set_length(&mut covered, at + INTEGRITY_LEN);
        hmac::verify(&key, &covered, &self.message[at + 4..at + INTEGRITY_LEN]).is_ok()
    }

    /// Builds a success response with the client's address, authenticated with the server's
    /// password.
    pub(super) fn success(&self, mapped: SocketAddr, pwd: &str) -> Vec<u8> {
        let mut response = self.response(BINDING_SUCCESS);
        push_attribute(
            &mut response,
            attribute::XOR_MAPPED_ADDRESS,
            &self.xor_address(mapped),
        );
        finish(response, Some(pwd))
    }

    /// Builds an error response. 400 and 401 have no MESSAGE-INTEGRITY, because there is no agreed
    /// key (RFC 8489 §9.1.3).
    pub(super) fn error(&self, error: StunError, pwd: Option<&str>) -> Vec<u8> {
        let (code, reason) = error.code_and_reason();
        let mut response = self.response(BINDING_ERROR);
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend_from_slice(reason.as_bytes());
        push_attribute(&mut response, attribute::ERROR_CODE, &value);
        if error == StunError::UnknownAttribute {
            let unknown: Vec<u8> = self
                .unknown
                .iter()
                .flat_map(|kind| kind.to_be_bytes())
                .collect();
            push_attribute(&mut response, attribute::UNKNOWN_ATTRIBUTES, &unknown);
        }
        finish(response, pwd)
    }

    fn response(&self, kind: u16) -> Vec<u8> {
        let mut response = Vec::with_capacity(128);
        response.extend_from_slice(&kind.to_be_bytes());
        response.extend_from_slice(&[0, 0]);
        response.extend_from_slice(&self.message[4..HEADER_LEN]);
        response
    }

    /// Returns the value of XOR-MAPPED-ADDRESS (RFC 8489 §14.2): port and address, XORed with the
    /// magic cookie and (IPv6) the transaction id.
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

/// Error responses of RFC 8489 and RFC 8445.
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

/// Returns the server's ufrag in the USERNAME of a Binding request (RFC 8445 §7.2.2). The shard
/// uses it to find the peer of an unknown path.
///
/// None unless the datagram is a well-formed Binding request with a USERNAME. Nothing is
/// authenticated here.
pub fn local_ufrag_of(datagram: &[u8]) -> Option<&str> {
    Request::parse(datagram)
        .ok()?
        .username
        .map(|(local, _)| local)
}
