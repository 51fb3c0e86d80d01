//! Reasons for dropping a datagram or packet. Each drop is counted under exactly one reason.

/// Lists each reason with its docs and the `reason` label of its counter.
macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $reason:ident = $label:literal,)+) => {
        /// The reason for which a datagram or packet was not forwarded.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $reason,)+
        }

        impl DropReason {
            /// All reasons in the order of declaration, for arrays indexed by `reason as usize`.
            pub const ALL: &[DropReason] = &[$(DropReason::$reason,)+];

            /// Returns the value of the label `reason` of the counter ([`crate::stats::DROPPED`]).
            pub fn label(self) -> &'static str {
                match self {
                    $(DropReason::$reason => $label,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// Neither STUN, DTLS, RTP nor RTCP by the first byte (RFC 7983 §7), or empty.
    UnknownProtocol = "not_for_us",
    /// The transport is closed, but the shard has not removed it yet.
    TransportClosed = "transport_closed",
    /// Not a well-formed STUN message (RFC 8489 §5), or its FINGERPRINT is wrong.
    StunMalformed = "stun_malformed",
    /// A well-formed STUN message other than a Binding request; a lite agent handles no other.
    StunUnexpected = "stun_unexpected",
    /// USERNAME or PRIORITY is missing from an ICE check (RFC 8445 §7.1). Answered with 400.
    StunIncomplete = "stun_incomplete",
    /// The check's USERNAME matches no credentials. Answered with 401.
    StunUnknownPeer = "stun_unknown_peer",
    /// MESSAGE-INTEGRITY was not computed with the server's password. Answered with 401.
    StunBadIntegrity = "stun_bad_integrity",
    /// An unknown comprehension-required attribute (RFC 8489 §6.3.1). Answered with 420.
    StunUnknownAttribute = "stun_unknown_attribute",
    /// The client claims the controlled role, which a lite agent always has (RFC 8445 §7.3.1.1).
    /// Answered with 487.
    StunRoleConflict = "stun_role_conflict",
    /// DTLS on a path that never passed a connectivity check.
    DtlsUnknownPath = "dtls_unknown_path",
    /// No DTLS records, or records that the handshake refused.
    DtlsMalformed = "dtls_malformed",
    /// The unauthenticated handshake bytes of a peer exceed their budget.
    DtlsBudget = "dtls_too_much",
    /// Too short for SRTP or SRTCP, or the RTP header exceeds the packet.
    SrtpTooShort = "srtp_too_short",
    /// The authentication tag is wrong.
    SrtpAuth = "srtp_auth",
    /// A replay, or older than the replay window (RFC 3711 §3.3.2).
    SrtpReplay = "srtp_replay",
    /// The peer exceeds its maximum number of SSRCs.
    SrtpTooManySources = "srtp_too_many_sources",
    /// Media before the handshake was complete.
    NoKeys = "no_keys",
    /// Media on a path that never passed a connectivity check.
    MediaUnknownPath = "media_unknown_path",
    /// Not a well-formed RTP packet (RFC 3550 §5.1).
    RtpMalformed = "rtp_malformed",
    /// RTP from a peer that only receives.
    RtpUnexpected = "rtp_unexpected",
    /// An SSRC that neither the description nor a header extension assigns to a track.
    RtpUnknownSource = "rtp_unknown_source",
    /// A payload type that was not negotiated for the track.
    RtpPayloadType = "rtp_payload_type",
    /// A payload that its codec's format does not allow.
    RtpPayload = "rtp_payload",
    /// The payload is larger than the path MTU allows.
    RtpTooLarge = "rtp_too_large",
    /// A retransmission that arrived before the first packet of its layer.
    RtpTooOld = "rtp_too_old",
    /// The ring already holds the packet, or has overwritten it.
    RtpDuplicate = "rtp_duplicate",
    /// A retransmission without payload: the publisher probes its bandwidth. Normal.
    RtpPaddingOnly = "rtp_padding_only",
    /// Not a well-formed RTCP packet; the packets before it in the compound were handled.
    RtcpMalformed = "rtcp_malformed",
    /// The retransmission exceeds the subscriber's budget ([`crate::subscribe::resend_budget`]).
    ResendBudget = "resend_budget",
    /// The queue of STUN, DTLS and RTCP datagrams to send was full.
    ControlOverflow = "control_overflow",
    /// The queue of retransmissions and padding was full.
    ResendOverflow = "owed_overflow",
}

#[cfg(test)]
mod tests {
    use super::DropReason;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_its_own_counter_and_label() {
        let labels: HashSet<_> = DropReason::ALL
            .iter()
            .map(|reason| reason.label())
            .collect();
        assert_eq!(labels.len(), DropReason::ALL.len());
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{reason:?} is out of order in ALL");
        }
    }
}
