//! `application/trickle-ice-sdpfrag` (RFC 8840 §9), as WHIP and WHEP use it in PATCH (RFC 9725 §4.3).

use super::attributes::TransportLines;
use super::description::{ice_of, lines, split_line};
use super::write::Writer;
use super::{LocalParameters, NegotiationError};
use crate::transport::IceCredentials;

/// The MIME type of a fragment.
pub const FRAGMENT_TYPE: &str = "application/trickle-ice-sdpfrag";

/// No fragment is longer: a few dozen candidates.
pub const MAX_FRAGMENT: usize = 64 * 1024;

/// What a fragment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The sender's ICE credentials. Others than before start an ICE restart.
    pub ice: IceCredentials,
    /// How many candidates it lists. We are lite and need none of them: the peer's checks show where it is.
    pub candidates: usize,
    /// Whether these were all.
    pub is_complete: bool,
}

/// Parses a fragment. At most [`MAX_FRAGMENT`] bytes.
pub fn parse_fragment(text: &str) -> Result<Fragment, NegotiationError> {
    if text.len() > MAX_FRAGMENT {
        return Err(NegotiationError::TooLong(text.len(), MAX_FRAGMENT));
    }
    // Credentials may stand before the m-lines or under each; WHIP has one transport, so all are the same.
    let mut transport = TransportLines::default();
    let (mut candidates, mut is_complete) = (0, false);
    for (number, line) in lines(text) {
        let (kind, value) = split_line(line).map_err(|reason| (number, reason))?;
        if kind != 'a' {
            continue;
        }
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        match transport.take(name, value) {
            Some(("candidate", _)) => candidates += 1,
            Some(("end-of-candidates", _)) => is_complete = true,
            _ => {}
        }
    }
    let ice =
        ice_of(&transport, &TransportLines::default()).ok_or(NegotiationError::NoIceCredentials)?;
    Ok(Fragment {
        ice,
        candidates,
        is_complete,
    })
}

/// Writes our fragment for the answer to an ICE restart; `mid` is the first accepted m-line's.
pub fn write_fragment(local: &LocalParameters<'_>, mid: &str) -> String {
    let mut writer = Writer::fragment();
    // RFC 8840 §9: a pseudo m-line that only says which BUNDLE the candidates belong to.
    writer.line("m=audio 9 RTP/AVP 0");
    writer.line(format_args!("a=mid:{mid}"));
    writer.ice(local);
    writer.finish()
}
