//! Structured attributes: direction, payload format, transport.

/// Direction of media from the describing peer's side (RFC 8866 §6.7).
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

/// Payload type with its `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` attributes.
#[derive(Clone, Debug, Default)]
pub(super) struct PayloadFormat {
    pub(super) pt: u8,
    /// Encoding name in lower case.
    pub(super) name: String,
    pub(super) clock_rate: u32,
    pub(super) channels: u8,
    /// The complete `a=fmtp` value.
    pub(super) parameters: String,
    pub(super) feedback: Vec<String>,
}

impl PayloadFormat {
    /// Returns a parameter of `a=fmtp`; names are case-insensitive.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// Transport attributes on session or media level.
#[derive(Clone, Debug, Default)]
pub(super) struct TransportAttributes {
    pub(super) ufrag: Option<String>,
    pub(super) pwd: Option<String>,
    /// Hash name in lower case, and digest.
    pub(super) fingerprints: Vec<(String, String)>,
    pub(super) setup: Option<String>,
}

impl TransportAttributes {
    /// Stores a transport attribute; returns any other attribute to the caller.
    pub(super) fn parse_attribute<'a>(
        &mut self,
        name: &'a str,
        value: &'a str,
    ) -> Option<(&'a str, &'a str)> {
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

/// Returns true for a printable ASCII token of at most 256 bytes (RFC 8866 §9, as far as MIDs,
/// streams and tracks need it). Spaces and line breaks are excluded, so a token cannot inject a
/// line.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns true for a RID that fits the one-byte header extension (RFC 8852 §3.1).
pub(super) fn is_rid(text: &str) -> bool {
    (1..=16).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
