//! STUN binding requests and the answers to them (RFC 8489), as far as an ICE-lite agent needs them.
//!
//! Our own, not `rtc-stun`'s: it copies each attribute of each check, and it does not say which attributes stand before
//! MESSAGE-INTEGRITY. Only those are authenticated, and a USE-CANDIDATE behind it must not move anyone's media.

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
        let Some(at) = self.integrity_at else {
            return false;
        };
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
        push_attribute(
            &mut answer,
            attribute::XOR_MAPPED_ADDRESS,
            &self.xor_address(mapped),
        );
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
            let unknown: Vec<u8> = self
                .unknown
                .iter()
                .flat_map(|kind| kind.to_be_bytes())
                .collect();
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
    Request::parse(datagram)
        .ok()?
        .username
        .map(|(local, _)| local)
}
