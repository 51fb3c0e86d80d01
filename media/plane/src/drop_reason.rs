//! Why a datagram or packet went nowhere. Nothing vanishes silently: every drop is one of these, and each has a counter.

/// The reason a datagram or packet was not forwarded.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Neither STUN, DTLS, RTP nor RTCP by its first byte (RFC 7983), or empty.
    NotForUs,
    /// The transport is closed; its owner has not removed it yet.
    TransportClosed,
    /// Not a well-formed STUN message (RFC 8489 §5), or its FINGERPRINT is wrong.
    StunMalformed,
    /// A well-formed STUN message of a kind that a lite agent has no use for (indication, response, other method).
    StunUnexpected,
    /// USERNAME or PRIORITY is missing, so the request cannot be an ICE check (RFC 8445 §7.1). Answered with 400.
    StunIncomplete,
    /// The check names credentials that this peer does not have. Answered with 401.
    StunUnknownPeer,
    /// MESSAGE-INTEGRITY is not made with our password. Answered with 401.
    StunBadIntegrity,
    /// A comprehension-required attribute that we do not know. Answered with 420.
    StunUnknownAttribute,
    /// The peer claims the controlled role; we are lite and always controlled. Answered with 487.
    StunRoleConflict,
    /// DTLS from an address that never passed a connectivity check.
    DtlsUnknownPath,
    /// Bytes that are no DTLS records, or records the handshake refused.
    DtlsMalformed,
    /// More handshake bytes than an honest ClientHello needs before it was whole, or before the peer's answer arrived.
    DtlsTooMuch,
    /// Too short to be an SRTP or SRTCP packet, or a header that runs past the end.
    SrtpTooShort,
    /// The authentication tag is wrong.
    SrtpAuth,
    /// Seen before, or older than the replay window (RFC 3711 §3.3.2).
    SrtpReplay,
    /// One source more than a peer may send.
    SrtpTooManySources,
    /// Media before the handshake finished.
    NoKeys,
    /// Media from an address that never passed a connectivity check.
    MediaUnknownPath,
    /// Not a well-formed RTP packet (RFC 3550 §5.1).
    RtpMalformed,
    /// RTP from a peer that only receives.
    RtpUnexpected,
    /// An SSRC that neither description nor header extensions tie to a track.
    RtpUnknownSource,
    /// A payload type that was not negotiated for its track.
    RtpPayloadType,
    /// A payload that is no payload of its codec.
    RtpPayload,
    /// A payload that is larger than a path carries.
    RtpTooLarge,
    /// A retransmission of something that came before the first packet of its layer.
    RtpTooOld,
    /// A packet that is held already, or older than its ring reaches.
    RtpDuplicate,
    /// A retransmission without content: a probe of the publisher's line. Normal.
    RtpPaddingOnly,
    /// Not a well-formed RTCP packet; what stood before it in the compound was taken.
    RtcpMalformed,
    /// A NACK that would have taken more of the line than retransmissions may.
    ResendBudget,
    /// A STUN, DTLS or RTCP datagram of ours for which the queue had no room.
    ControlOverflow,
    /// A retransmission or padding for which the queue had no room.
    OwedOverflow,
}

impl DropReason {
    /// Every reason, in the order of declaration, for counters indexed by `reason as usize`.
    pub const ALL: &[DropReason] = &[
        DropReason::NotForUs,
        DropReason::TransportClosed,
        DropReason::StunMalformed,
        DropReason::StunUnexpected,
        DropReason::StunIncomplete,
        DropReason::StunUnknownPeer,
        DropReason::StunBadIntegrity,
        DropReason::StunUnknownAttribute,
        DropReason::StunRoleConflict,
        DropReason::DtlsUnknownPath,
        DropReason::DtlsMalformed,
        DropReason::DtlsTooMuch,
        DropReason::SrtpTooShort,
        DropReason::SrtpAuth,
        DropReason::SrtpReplay,
        DropReason::SrtpTooManySources,
        DropReason::NoKeys,
        DropReason::MediaUnknownPath,
        DropReason::RtpMalformed,
        DropReason::RtpUnexpected,
        DropReason::RtpUnknownSource,
        DropReason::RtpPayloadType,
        DropReason::RtpPayload,
        DropReason::RtpTooLarge,
        DropReason::RtpTooOld,
        DropReason::RtpDuplicate,
        DropReason::RtpPaddingOnly,
        DropReason::RtcpMalformed,
        DropReason::ResendBudget,
        DropReason::ControlOverflow,
        DropReason::OwedOverflow,
    ];

    /// The name under which the counter is exported.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::NotForUs => "not_for_us",
            DropReason::TransportClosed => "transport_closed",
            DropReason::StunMalformed => "stun_malformed",
            DropReason::StunUnexpected => "stun_unexpected",
            DropReason::StunIncomplete => "stun_incomplete",
            DropReason::StunUnknownPeer => "stun_unknown_peer",
            DropReason::StunBadIntegrity => "stun_bad_integrity",
            DropReason::StunUnknownAttribute => "stun_unknown_attribute",
            DropReason::StunRoleConflict => "stun_role_conflict",
            DropReason::DtlsUnknownPath => "dtls_unknown_path",
            DropReason::DtlsMalformed => "dtls_malformed",
            DropReason::DtlsTooMuch => "dtls_too_much",
            DropReason::SrtpTooShort => "srtp_too_short",
            DropReason::SrtpAuth => "srtp_auth",
            DropReason::SrtpReplay => "srtp_replay",
            DropReason::SrtpTooManySources => "srtp_too_many_sources",
            DropReason::NoKeys => "no_keys",
            DropReason::MediaUnknownPath => "media_unknown_path",
            DropReason::RtpMalformed => "rtp_malformed",
            DropReason::RtpUnexpected => "rtp_unexpected",
            DropReason::RtpUnknownSource => "rtp_unknown_source",
            DropReason::RtpPayloadType => "rtp_payload_type",
            DropReason::RtpPayload => "rtp_payload",
            DropReason::RtpTooLarge => "rtp_too_large",
            DropReason::RtpTooOld => "rtp_too_old",
            DropReason::RtpDuplicate => "rtp_duplicate",
            DropReason::RtpPaddingOnly => "rtp_padding_only",
            DropReason::RtcpMalformed => "rtcp_malformed",
            DropReason::ResendBudget => "resend_budget",
            DropReason::ControlOverflow => "control_overflow",
            DropReason::OwedOverflow => "owed_overflow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DropReason;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let names: HashSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{reason:?} is out of order in ALL");
        }
    }
}
