//! Reassembly of the ClientHello, and selection of the SRTP profile.
//!
//! rtc-dtls selects the first of the *client's* profiles that the server supports, and browsers
//! list the slow one first. Therefore the ClientHello is parsed before rtc-dtls sees it, and
//! rtc-dtls is configured with the selected profile only. The ClientHello of a browser with a
//! post-quantum key share spans two datagrams, which is why it is buffered until it is complete.

use super::srtp::Profile;

/// Supported profiles in order of preference.
const PREFERENCE: [(u16, Profile); 2] = [
    (0x0007, Profile::AeadAes128Gcm),
    (0x0001, Profile::Aes128CmHmacSha1_80),
];

/// Maximum length of a ClientHello in bytes; one with all existing extensions is far below.
const MAX_HELLO: usize = 16 * 1024;

/// Maximum number of buffered datagrams: two contain a ClientHello, and each may be repeated before
/// the other arrives.
const MAX_DATAGRAMS: usize = 8;

const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const USE_SRTP: u16 = 14;

/// One DTLS record (RFC 6347 §4.1).
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    content: u8,
    pub(super) epoch: u16,
    pub(super) body: &'a [u8],
}

impl Record<'_> {
    fn is_handshake(&self) -> bool {
        self.content == HANDSHAKE
    }

    /// Returns true for a ClientHello or a fragment of one.
    pub(super) fn is_client_hello(&self) -> bool {
        self.is_handshake() && self.epoch == 0 && self.body.first() == Some(&CLIENT_HELLO)
    }
}

/// Parses the records of a datagram. None unless they fill it exactly and all are DTLS 1.x.
pub(super) fn records(datagram: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let header = rest.get(..RECORD_HEADER)?;
        let end = RECORD_HEADER + usize::from(u16::from_be_bytes([header[11], header[12]]));
        if !(20..=23).contains(&header[0]) || header[1] != 0xFE {
            return None;
        }
        let body = rest.get(RECORD_HEADER..end)?;
        records.push(Record {
            content: header[0],
            epoch: u16::from_be_bytes([header[3], header[4]]),
            body,
        });
        rest = &rest[end..];
    }
    Some(records).filter(|records| !records.is_empty())
}

/// State of the reassembly.
pub(super) enum Progress {
    /// Parts are missing.
    Incomplete,
    /// The ClientHello is complete.
    Complete,
    /// More datagrams than a ClientHello needs; all are discarded.
    TooMuch,
}

/// The datagrams of a ClientHello that is not answered yet.
#[derive(Default)]
pub(super) struct ClientHelloBuffer {
    datagrams: Vec<Vec<u8>>,
    /// Once it is complete: the best common profile, if there is one.
    profile: Option<Option<Profile>>,
}

impl ClientHelloBuffer {
    /// Adds a datagram.
    pub(super) fn push(&mut self, datagram: &[u8]) -> Progress {
        if self.profile.is_some() {
            // A retransmission before the peer's answer has arrived.
            return Progress::Complete;
        }
        self.datagrams.push(datagram.to_vec());
        if let Some(hello) = assemble(&self.datagrams) {
            self.profile = Some(best_profile(&hello));
            return Progress::Complete;
        }
        if self.datagrams.len() < MAX_DATAGRAMS {
            return Progress::Incomplete;
        }
        self.datagrams.clear();
        Progress::TooMuch
    }

    /// Returns the best common profile, if there is one, once the ClientHello is complete.
    pub(super) fn profile(&self) -> Option<Option<Profile>> {
        self.profile
    }

    /// Returns the datagrams in their order of arrival.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.datagrams)
    }
}

/// Returns the body of the ClientHello if its fragments are complete.
fn assemble(datagrams: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let mut have = Vec::new();
    for record in datagrams
        .iter()
        .filter_map(|datagram| records(datagram))
        .flatten()
        .filter(Record::is_handshake)
    {
        let mut rest = record.body;
        while let Some((fragment, behind)) = Fragment::read(rest) {
            fragment.copy_into(&mut body, &mut have);
            rest = behind;
        }
    }
    (!body.is_empty() && have.iter().all(|have| *have)).then_some(body)
}

/// A fragment of a handshake message (RFC 6347 §4.2.2).
struct Fragment<'a> {
    kind: u8,
    sequence: u16,
    length: usize,
    offset: usize,
    bytes: &'a [u8],
}

impl Fragment<'_> {
    fn read(bytes: &[u8]) -> Option<(Fragment<'_>, &[u8])> {
        let header = bytes.get(..MESSAGE_HEADER)?;
        let u24 = |at: usize| {
            usize::from(header[at]) << 16
                | usize::from(header[at + 1]) << 8
                | usize::from(header[at + 2])
        };
        let end = MESSAGE_HEADER + u24(9);
        let fragment = Fragment {
            kind: header[0],
            sequence: u16::from_be_bytes([header[4], header[5]]),
            length: u24(1),
            offset: u24(6),
            bytes: bytes.get(MESSAGE_HEADER..end)?,
        };
        Some((fragment, &bytes[end..]))
    }

    fn copy_into(&self, body: &mut Vec<u8>, have: &mut Vec<bool>) {
        let end = self.offset + self.bytes.len();
        let fits = self.kind == CLIENT_HELLO
            && self.sequence == 0
            && self.length <= MAX_HELLO
            && end <= self.length;
        let agrees = have.is_empty() || have.len() == self.length;
        if !fits || !agrees {
            return;
        }
        body.resize(self.length, 0);
        have.resize(self.length, false);
        body[self.offset..end].copy_from_slice(self.bytes);
        have[self.offset..end].fill(true);
    }
}

fn best_profile(hello: &[u8]) -> Option<Profile> {
    let offered = offered_profiles(hello)?;
    PREFERENCE
        .into_iter()
        .find(|(id, _)| offered.contains(id))
        .map(|(_, profile)| profile)
}

/// Returns the profiles in the `use_srtp` extension of a ClientHello (RFC 5764 §4.1.1, RFC 5246
/// §7.4.1.2).
fn offered_profiles(hello: &[u8]) -> Option<Vec<u16>> {
    let mut cursor = Cursor(hello);
    cursor.take(2 + 32)?; // version, random
    for _ in ["session id", "cookie"] {
        let len = cursor.u8()?;
        cursor.take(usize::from(len))?;
    }
    let suites = cursor.u16()?;
    cursor.take(usize::from(suites))?;
    let compressions = cursor.u8()?;
    cursor.take(usize::from(compressions))?;
    cursor.u16()?; // length of all extensions
    loop {
        let (kind, len) = (cursor.u16()?, cursor.u16()?);
        let mut extension = Cursor(cursor.take(usize::from(len))?);
        if kind == USE_SRTP {
            let len = extension.u16()?;
            let profiles = extension.take(usize::from(len))?;
            return Some(
                profiles
                    .chunks_exact(2)
                    .map(|id| u16::from_be_bytes([id[0], id[1]]))
                    .collect(),
            );
        }
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }
}
