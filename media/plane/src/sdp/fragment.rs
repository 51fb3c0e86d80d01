//! ICE fragments, `application/trickle-ice-sdpfrag` (RFC 8840 §9), used by WHIP and WHEP in PATCH
//! (RFC 9725 §4.3).

use super::attributes::TransportAttributes;
use super::description::{ice_credentials, lines, split_line};
use super::write::Writer;
use super::{LocalParameters, NegotiationError};
use crate::transport::IceCredentials;

/// MIME type of a fragment.
pub const FRAGMENT_TYPE: &str = "application/trickle-ice-sdpfrag";

/// Maximum length of a fragment in bytes; honest ones have a few dozen candidates.
pub const MAX_FRAGMENT_BYTES: usize = 64 * 1024;

/// Content of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// ICE credentials of the sender; changed credentials start an ICE restart.
    pub ice: IceCredentials,
    /// Number of candidates. The plane is ICE-lite and uses none: it learns the peer's address from
    /// connectivity checks.
    pub candidates: usize,
    /// True if the fragment has `a=end-of-candidates`.
    pub is_complete: bool,
}

/// Parses a fragment of at most [`MAX_FRAGMENT_BYTES`] bytes.
pub fn parse_fragment(text: &str) -> Result<Fragment, NegotiationError> {
    if text.len() > MAX_FRAGMENT_BYTES {
        return Err(NegotiationError::TooLong(text.len(), MAX_FRAGMENT_BYTES));
    }
    // Credentials stand before the m-lines or in each m-section; WHIP has one transport, so all are
    // equal.
    let mut transport = TransportAttributes::default();
    let (mut candidates, mut is_complete) = (0, false);
    for (number, line) in lines(text) {
        let (kind, value) = split_line(line).map_err(|reason| (number, reason))?;
        if kind != 'a' {
            continue;
        }
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        match transport.parse_attribute(name, value) {
            Some(("candidate", _)) => candidates += 1,
            Some(("end-of-candidates", _)) => is_complete = true,
            _ => {}
        }
    }
    let ice = ice_credentials(&transport, &TransportAttributes::default())
        .ok_or(NegotiationError::NoIceCredentials)?;
    Ok(Fragment {
        ice,
        candidates,
        is_complete,
    })
}

/// Writes the fragment that answers an ICE restart; `mid` is that of the first accepted m-section.
pub fn write_fragment(local: &LocalParameters<'_>, mid: &str) -> String {
    let mut writer = Writer::fragment();
    // RFC 8840 §9: a pseudo m-line; it only ties the candidates to a BUNDLE group.
    writer.line("m=audio 9 RTP/AVP 0");
    writer.line(format_args!("a=mid:{mid}"));
    writer.ice(local);
    writer.finish()
}
