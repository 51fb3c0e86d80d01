//! What can be wrong with a description. The text is English and for logs; the server translates by [`NegotiationError::code`].

/// A description that we cannot work with.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    /// Longer than any honest description.
    #[error("the description is {0} bytes long; at most {1} are read")]
    TooLong(usize, usize),
    /// More m-lines than we handle.
    #[error("the description has more than {0} media sections")]
    TooManyMedia(usize),
    /// A line that is not SDP.
    #[error("line {line} of the description cannot be read: {reason}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What was expected.
        reason: &'static str,
    },
    /// No m-line at all.
    #[error("the description has no media section")]
    NoMedia,
    /// Two m-lines with one mid.
    #[error("two media sections have the mid {0:?}")]
    DuplicateMid(String),
    /// No ice-ufrag or ice-pwd.
    #[error("the description lacks a=ice-ufrag or a=ice-pwd")]
    NoIceCredentials,
    /// No fingerprint.
    #[error("the description lacks a=fingerprint")]
    NoFingerprint,
    /// A fingerprint that is not SHA-256.
    #[error("the DTLS fingerprint must be sha-256, not {0}")]
    UnsupportedFingerprint(String),
    /// Not 32 hexadecimal pairs.
    #[error("the sha-256 fingerprint is not 32 hexadecimal pairs separated by colons")]
    BadFingerprint,
    /// The peer insists on the DTLS server's role, which is ours.
    #[error("the peer must be able to take the DTLS client's role (a=setup:active or actpass)")]
    SetupConflict,
    /// RTCP on a port of its own.
    #[error("media section {0:?} lacks a=rtcp-mux")]
    NoRtcpMux(String),
    /// No m-line is usable: no codec of ours, no direction that fits.
    #[error("no media section offers a codec and a direction that can be used here")]
    NothingUsable,
    /// The answer does not fit the offer.
    #[error("the answer does not fit the offer: {0}")]
    AnswerMismatch(&'static str),
}

impl NegotiationError {
    /// A stable name for the API.
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
