//! Parsing a description (RFC 8866), leniently in what we do not need, strictly in what we do.
//!
//! Our own, not `rtc-sdp`'s: foreign encoders write lines that a strict grammar refuses, and what we need of a description are
//! a dozen attributes.

use std::collections::HashSet;

use super::NegotiationError;
use super::attributes::{Direction, TransportLines, is_token};
use super::media::Media;
use crate::transport::{Fingerprint, IceCredentials, RemoteParameters};

/// No description is longer: Chromium's offer of sixty m-lines has 200 kB.
pub const MAX_DESCRIPTION: usize = 256 * 1024;

/// A subscriber of the largest wall has 61 m-lines: thirty rooms with audio and video, and a screen.
pub const MAX_MLINES: usize = 64;

/// A parsed description of a peer, with what every WebRTC description must have.
#[derive(Clone, Debug)]
pub struct Description {
    remote: RemoteParameters,
    /// Session version of the o-line; an answer repeats it.
    pub(super) version: u64,
    pub(super) bundles: Vec<Vec<String>>,
    pub(super) media: Vec<Media>,
    pub(super) setup: Option<String>,
}

impl Description {
    /// The peer's ICE credentials and DTLS fingerprint.
    pub fn remote(&self) -> &RemoteParameters {
        &self.remote
    }

    /// How many m-lines it has, rejected ones included.
    pub fn mlines(&self) -> usize {
        self.media.len()
    }

    /// Whether the peer leaves the DTLS server's role to us (RFC 8842 §5.3; a missing line means active, RFC 4145 §4).
    pub(super) fn check_setup(&self) -> Result<(), NegotiationError> {
        match self.setup.as_deref() {
            Some("passive" | "holdconn") => Err(NegotiationError::SetupConflict),
            _ => Ok(()),
        }
    }

    /// The m-lines that share the transport of the first one that `is_usable` says yes to, which is the only transport we
    /// give a peer (RFC 9143; without a BUNDLE group: that m-line alone).
    pub(super) fn usable(&self, is_usable: impl Fn(&Media) -> bool) -> Vec<bool> {
        let fits = |media: &Media| !media.is_rejected && media.kind.is_some() && is_usable(media);
        let Some(first) = self.media.iter().find(|media| fits(media)) else {
            return vec![false; self.media.len()];
        };
        let bundle = self
            .bundles
            .iter()
            .find(|bundle| bundle.contains(&first.mid));
        let shares = |media: &Media| {
            media.mid == first.mid || bundle.is_some_and(|bundle| bundle.contains(&media.mid))
        };
        self.media
            .iter()
            .map(|media| fits(media) && shares(media))
            .collect()
    }
}

/// Parses a peer's offer or answer. At most [`MAX_DESCRIPTION`] bytes and [`MAX_MLINES`] m-lines.
pub fn parse(text: &str) -> Result<Description, NegotiationError> {
    if text.len() > MAX_DESCRIPTION {
        return Err(NegotiationError::TooLong(text.len(), MAX_DESCRIPTION));
    }
    let session = Session::read(text)?;
    let first_live = session
        .media
        .iter()
        .find(|media| !media.is_rejected)
        .or(session.media.first());
    let first = first_live
        .map(|media| &media.transport)
        .ok_or(NegotiationError::NoMedia)?;
    let ice = ice_of(first, &session.transport).ok_or(NegotiationError::NoIceCredentials)?;
    let lines = if first.fingerprints.is_empty() {
        &session.transport
    } else {
        first
    };
    let fingerprint = fingerprint_of(lines)?;
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

/// A description before anything is concluded from it.
pub(super) struct Session {
    version: u64,
    bundles: Vec<Vec<String>>,
    direction: Direction,
    pub(super) transport: TransportLines,
    pub(super) media: Vec<Media>,
}

impl Session {
    fn read(text: &str) -> Result<Session, NegotiationError> {
        let mut session = Session {
            version: 1,
            bundles: Vec::new(),
            direction: Direction::SendRecv,
            transport: TransportLines::default(),
            media: Vec::new(),
        };
        for (number, line) in lines(text) {
            let (kind, value) = split_line(line).map_err(|reason| (number, reason))?;
            if number == 1 && (kind, value) != ('v', "0") {
                return Err((number, "a description begins with v=0").into());
            }
            session
                .take(kind, value)
                .map_err(|reason| (number, reason))?;
            if session.media.len() > MAX_MLINES {
                return Err(NegotiationError::TooManyMedia(MAX_MLINES));
            }
        }
        session.media = session.media.into_iter().map(Media::finish).collect();
        Ok(session)
    }

    fn take(&mut self, kind: char, value: &str) -> Result<(), &'static str> {
        match kind {
            'm' => self
                .media
                .push(Media::parse(value, self.media.len(), self.direction)?),
            'a' => {
                let (name, value) = value.split_once(':').unwrap_or((value, ""));
                match self.media.last_mut() {
                    Some(media) => media.take(name, value)?,
                    None => self.take_attribute(name, value),
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

    fn take_attribute(&mut self, name: &str, value: &str) {
        match self.transport.take(name, value) {
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

/// Lines with their numbers, whatever ends them; empty ones are skipped.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let trimmed = text
        .split('\n')
        .map(|line| line.trim_end_matches(['\r', ' ', '\t']));
    trimmed
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.is_empty())
}

/// `<letter>=<value>`.
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
pub(super) fn ice_of(media: &TransportLines, session: &TransportLines) -> Option<IceCredentials> {
    let ufrag = media.ufrag.as_ref().or(session.ufrag.as_ref())?;
    let pwd = media.pwd.as_ref().or(session.pwd.as_ref())?;
    let is_ice = |text: &str| is_token(text) && !text.contains(':');
    (is_ice(ufrag) && is_ice(pwd)).then(|| IceCredentials {
        ufrag: ufrag.clone(),
        pwd: pwd.clone(),
    })
}

fn fingerprint_of(lines: &TransportLines) -> Result<Fingerprint, NegotiationError> {
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
