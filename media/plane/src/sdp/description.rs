//! Parser of descriptions (RFC 8866): lenient in unused attributes, strict in used ones.
//!
//! It replaces `rtc-sdp` here because foreign encoders write lines that a strict grammar rejects,
//! and the plane needs only a dozen attributes.

use std::collections::HashSet;

use super::NegotiationError;
use super::attributes::{Direction, TransportAttributes, is_token};
use super::media_section::MediaSection;
use crate::transport::{Fingerprint, IceCredentials, RemoteParameters};

/// Maximum length of a description in bytes; Chromium's offer of sixty m-sections has 200 kB.
pub const MAX_DESCRIPTION_BYTES: usize = 256 * 1024;

/// Maximum number of m-sections. A subscriber of the largest wall has 61: audio and video of thirty
/// rooms, and a screen.
pub const MAX_MLINES: usize = 64;

/// Parsed description of a peer; its mandatory attributes were checked.
#[derive(Clone, Debug)]
pub struct Description {
    remote: RemoteParameters,
    /// Session version of the o-line; an answer repeats it.
    pub(super) version: u64,
    pub(super) bundles: Vec<Vec<String>>,
    pub(super) media: Vec<MediaSection>,
    pub(super) setup: Option<String>,
}

impl Description {
    /// ICE credentials and DTLS fingerprint of the peer.
    pub fn remote(&self) -> &RemoteParameters {
        &self.remote
    }

    /// Number of m-sections, rejected ones included.
    pub fn mlines(&self) -> usize {
        self.media.len()
    }

    /// Checks that the peer accepts the DTLS client role (RFC 8842 §5.3; a missing `a=setup` means
    /// active, RFC 4145 §4).
    pub(super) fn check_setup(&self) -> Result<(), NegotiationError> {
        match self.setup.as_deref() {
            Some("passive" | "holdconn") => Err(NegotiationError::SetupConflict),
            _ => Ok(()),
        }
    }

    /// Marks the usable m-sections on the transport of the first usable one. A peer has one
    /// transport: a BUNDLE group (RFC 9143), or without a group one m-section.
    pub(super) fn usable_sections(&self, is_usable: impl Fn(&MediaSection) -> bool) -> Vec<bool> {
        let fits =
            |media: &MediaSection| !media.is_rejected && media.kind.is_some() && is_usable(media);
        let Some(first) = self.media.iter().find(|media| fits(media)) else {
            return vec![false; self.media.len()];
        };
        let bundle = self
            .bundles
            .iter()
            .find(|bundle| bundle.contains(&first.mid));
        let shares = |media: &MediaSection| {
            media.mid == first.mid || bundle.is_some_and(|bundle| bundle.contains(&media.mid))
        };
        self.media
            .iter()
            .map(|media| fits(media) && shares(media))
            .collect()
    }
}

/// Parses an offer or answer of at most [`MAX_DESCRIPTION_BYTES`] bytes and [`MAX_MLINES`]
/// m-sections.
pub fn parse(text: &str) -> Result<Description, NegotiationError> {
    if text.len() > MAX_DESCRIPTION_BYTES {
        return Err(NegotiationError::TooLong(text.len(), MAX_DESCRIPTION_BYTES));
    }
    let session = Session::parse(text)?;
    let first_live = session
        .media
        .iter()
        .find(|media| !media.is_rejected)
        .or(session.media.first());
    let first = first_live
        .map(|media| &media.transport)
        .ok_or(NegotiationError::NoMedia)?;
    let ice =
        ice_credentials(first, &session.transport).ok_or(NegotiationError::NoIceCredentials)?;
    let lines = if first.fingerprints.is_empty() {
        &session.transport
    } else {
        first
    };
    let fingerprint = sha256_fingerprint(lines)?;
    let mut mids = HashSet::new();
    if let Some(twice) = session
        .media
        .iter()
        .find(|media| !mids.insert(media.mid.as_str()))
    {
        return Err(NegotiationError::DuplicateMid(twice.mid.clone()));
    }
    Ok(Description {
        remote: RemoteParameters { ice, fingerprint },
        version: session.version,
        bundles: session.bundles,
        setup: first.setup.clone().or(session.transport.setup),
        media: session.media,
    })
}

/// Description before the checks of [`parse`].
pub(super) struct Session {
    version: u64,
    bundles: Vec<Vec<String>>,
    direction: Direction,
    pub(super) transport: TransportAttributes,
    pub(super) media: Vec<MediaSection>,
}

impl Session {
    fn parse(text: &str) -> Result<Session, NegotiationError> {
        let mut session = Session {
            version: 1,
            bundles: Vec::new(),
            direction: Direction::SendRecv,
            transport: TransportAttributes::default(),
            media: Vec::new(),
        };
        for (number, line) in lines(text) {
            let (kind, value) = split_line(line).map_err(|reason| (number, reason))?;
            if number == 1 && (kind, value) != ('v', "0") {
                return Err((number, "a description begins with v=0").into());
            }
            session
                .parse_line(kind, value)
                .map_err(|reason| (number, reason))?;
            if session.media.len() > MAX_MLINES {
                return Err(NegotiationError::TooManyMedia(MAX_MLINES));
            }
        }
        session.media = session
            .media
            .into_iter()
            .map(MediaSection::finish)
            .collect();
        Ok(session)
    }

    fn parse_line(&mut self, kind: char, value: &str) -> Result<(), &'static str> {
        match kind {
            'm' => self.media.push(MediaSection::parse(
                value,
                self.media.len(),
                self.direction,
            )?),
            'a' => {
                let (name, value) = value.split_once(':').unwrap_or((value, ""));
                match self.media.last_mut() {
                    Some(media) => media.parse_attribute(name, value)?,
                    None => self.parse_session_attribute(name, value),
                }
            }
            'o' => {
                self.version = value
                    .split(' ')
                    .nth(2)
                    .and_then(|version| version.parse().ok())
                    .unwrap_or(1)
            }
            _ => {}
        }
        Ok(())
    }

    fn parse_session_attribute(&mut self, name: &str, value: &str) {
        match self.transport.parse_attribute(name, value) {
            Some(("group", value)) => {
                if let Some(mids) = value
                    .strip_prefix("BUNDLE ")
                    .filter(|_| self.bundles.len() < MAX_MLINES)
                {
                    self.bundles
                        .push(mids.split(' ').map(str::to_owned).collect());
                }
            }
            Some((name, _)) => self.direction = Direction::parse(name).unwrap_or(self.direction),
            None => {}
        }
    }
}

/// Iterates over the lines with their numbers, for CRLF and LF; empty lines are skipped.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let trimmed = text
        .split('\n')
        .map(|line| line.trim_end_matches(['\r', ' ', '\t']));
    trimmed
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.is_empty())
}

/// Splits `<letter>=<value>`.
pub(super) fn split_line(line: &str) -> Result<(char, &str), &'static str> {
    let mut characters = line.chars();
    match (characters.next(), characters.next()) {
        (Some(kind), Some('=')) if kind.is_ascii_lowercase() => {
            let value = characters.as_str();
            if value.contains(char::is_control) {
                Err("a line holds no control characters")
            } else {
                Ok((kind, value))
            }
        }
        _ => Err("a line is a letter, an equals sign and a value"),
    }
}

/// The m-line's credentials, else the session's (RFC 8839 §5.4).
pub(super) fn ice_credentials(
    media: &TransportAttributes,
    session: &TransportAttributes,
) -> Option<IceCredentials> {
    let ufrag = media.ufrag.as_ref().or(session.ufrag.as_ref())?;
    let pwd = media.pwd.as_ref().or(session.pwd.as_ref())?;
    let is_ice = |text: &str| is_token(text) && !text.contains(':');
    (is_ice(ufrag) && is_ice(pwd)).then(|| IceCredentials {
        ufrag: ufrag.clone(),
        pwd: pwd.clone(),
    })
}

fn sha256_fingerprint(lines: &TransportAttributes) -> Result<Fingerprint, NegotiationError> {
    let Some((hash, _)) = lines.fingerprints.first() else {
        return Err(NegotiationError::NoFingerprint);
    };
    let Some((_, digest)) = lines
        .fingerprints
        .iter()
        .find(|(hash, _)| hash == "sha-256")
    else {
        return Err(NegotiationError::UnsupportedFingerprint(
            hash.chars().take(32).collect(),
        ));
    };
    digest.parse().map_err(|_| NegotiationError::BadFingerprint)
}
