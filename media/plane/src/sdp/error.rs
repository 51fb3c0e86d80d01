//! Errors of the negotiation. Their text is English, for logs; the server translates by
//! [`NegotiationError::code`].

/// Error of a description that the plane cannot use.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    /// The description exceeds the maximum length: its length and the maximum in bytes.
    #[error("the description is {0} bytes long; at most {1} are read")]
    TooLong(usize, usize),
    /// The description exceeds the maximum number of m-sections.
    #[error("the description has more than {0} media sections")]
    TooManyMedia(usize),
    /// A line violates the grammar of SDP.
    #[error("line {line} of the description cannot be read: {reason}")]
    Malformed {
        /// Line number, beginning at 1.
        line: usize,
        /// Expected form.
        reason: &'static str,
    },
    /// The description has no m-section.
    #[error("the description has no media section")]
    NoMedia,
    /// Two m-sections have the same MID.
    #[error("two media sections have the mid {0:?}")]
    DuplicateMid(String),
    /// `a=ice-ufrag` or `a=ice-pwd` is missing.
    #[error("the description lacks a=ice-ufrag or a=ice-pwd")]
    NoIceCredentials,
    /// `a=fingerprint` is missing.
    #[error("the description lacks a=fingerprint")]
    NoFingerprint,
    /// No fingerprint uses SHA-256.
    #[error("the DTLS fingerprint must be sha-256, not {0}")]
    UnsupportedFingerprint(String),
    /// The fingerprint is not 32 hexadecimal pairs.
    #[error("the sha-256 fingerprint is not 32 hexadecimal pairs separated by colons")]
    BadFingerprint,
    /// The peer insists on the DTLS server role, which the plane takes itself.
    #[error("the peer must be able to take the DTLS client's role (a=setup:active or actpass)")]
    SetupConflict,
    /// RTCP on a separate port.
    #[error("media section {0:?} lacks a=rtcp-mux")]
    NoRtcpMux(String),
    /// No m-section has a supported codec and a usable direction.
    #[error("no media section offers a codec and a direction that can be used here")]
    NothingUsable,
    /// The answer does not fit the offer.
    #[error("the answer does not fit the offer: {0}")]
    AnswerMismatch(&'static str),
}

impl NegotiationError {
    /// Stable error code for the API.
    pub fn code(&self) -> &'static str {
        match self {
            NegotiationError::TooLong(..) => "sdp_too_long",
            NegotiationError::TooManyMedia(_) => "sdp_too_many_media",
            NegotiationError::Malformed { .. } => "sdp_malformed",
            NegotiationError::NoMedia => "sdp_no_media",
            NegotiationError::DuplicateMid(_) => "sdp_duplicate_mid",
            NegotiationError::NoIceCredentials => "sdp_no_ice_credentials",
            NegotiationError::NoFingerprint => "sdp_no_fingerprint",
            NegotiationError::UnsupportedFingerprint(_) => "sdp_unsupported_fingerprint",
            NegotiationError::BadFingerprint => "sdp_bad_fingerprint",
            NegotiationError::SetupConflict => "sdp_setup_conflict",
            NegotiationError::NoRtcpMux(_) => "sdp_no_rtcp_mux",
            NegotiationError::NothingUsable => "sdp_nothing_usable",
            NegotiationError::AnswerMismatch(_) => "sdp_answer_mismatch",
        }
    }
}
