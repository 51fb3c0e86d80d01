//! The attributes that need a shape of their own: direction, payload type, transport.

/// Which way media flows, from the describing peer's side (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub(super) fn parse(name: &str) -> Option<Direction> {
        match name {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        }
    }

    pub(super) fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    pub(super) fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }
}

/// A payload type with all that was said about it.
#[derive(Clone, Debug, Default)]
pub(super) struct Payload {
    pub(super) pt: u8,
    /// Encoding name in lower case.
    pub(super) name: String,
    pub(super) clock_rate: u32,
    pub(super) channels: u8,
    /// The whole `a=fmtp` value.
    pub(super) parameters: String,
    pub(super) feedback: Vec<String>,
}

impl Payload {
    /// A parameter of `a=fmtp`; names are case-insensitive.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// What a description says about the transport, on session or media level.
#[derive(Clone, Debug, Default)]
pub(super) struct TransportLines {
    pub(super) ufrag: Option<String>,
    pub(super) pwd: Option<String>,
    /// Hash name in lower case, and the hash.
    pub(super) fingerprints: Vec<(String, String)>,
    pub(super) setup: Option<String>,
}

impl TransportLines {
    /// Takes an attribute that is its own; otherwise gives it back.
    pub(super) fn take<'a>(&mut self, name: &'a str, value: &'a str) -> Option<(&'a str, &'a str)> {
        match name {
            "ice-ufrag" => self.ufrag = Some(value.to_owned()),
            "ice-pwd" => self.pwd = Some(value.to_owned()),
            "setup" => self.setup = Some(value.to_owned()),
            "fingerprint" => {
                let (hash, digest) = value.split_once(' ').unwrap_or((value, ""));
                if self.fingerprints.len() < 8 {
                    self.fingerprints
                        .push((hash.to_ascii_lowercase(), digest.trim().to_owned()));
                }
            }
            _ => return Some((name, value)),
        }
        None
    }
}

/// A token of RFC 8866 §9, as far as mids, streams and tracks go: no spaces, no quotes, nothing to break a line with.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A layer's id that fits the one-byte header extension carrying it (RFC 8852 §3.1).
pub(super) fn is_rid(text: &str) -> bool {
    (1..=16).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
