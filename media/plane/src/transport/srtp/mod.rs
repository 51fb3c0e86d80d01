//! SRTP and SRTCP (RFC 3711, RFC 7714). Packets are protected in place, with AES-GCM also without
//! allocation.
//!
//! AEAD_AES_128_GCM is preferred: it costs a fifth of AES_CM_128_HMAC_SHA1_80, the fallback that
//! every WebRTC endpoint must support (RFC 8827 §6.5). Keys are never renewed: 2⁴⁸ packets outlast
//! any lesson.

mod cm;
mod gcm;
mod header;
mod inbound;
mod keys;
mod outbound;
mod window;

pub use header::rtp_header_len;
pub use inbound::{Inbound, MAX_SOURCES, Unprotected};
pub use keys::{KeyError, Profile};
pub use outbound::{MAX_TRAILER, Outbound, RtcpSealer, RtpSealer};

use keys::{MasterKeys, SessionKeys};

/// Keys of one connected peer, both directions.
pub struct SrtpSession {
    /// Unprotects packets from the peer.
    pub inbound: Inbound,
    /// Protects packets to the peer.
    pub outbound: Outbound,
}

/// End of the DTLS handshake. It selects the half of the keying material that is used for sending
/// (RFC 5764 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The DTLS client: a browser, or the load generator.
    Client,
    /// The DTLS server: the plane.
    Server,
}

impl SrtpSession {
    /// Derives the session from the keying material that the DTLS handshake exports under
    /// `EXTRACTOR-dtls_srtp`. Its length must be [`Profile::keying_material_len`].
    pub fn from_keying_material(
        profile: Profile,
        material: &[u8],
        role: Role,
    ) -> Result<SrtpSession, KeyError> {
        let (client, server) = MasterKeys::split(profile, material)?;
        let (ours, theirs) = match role {
            Role::Client => (client, server),
            Role::Server => (server, client),
        };
        Ok(SrtpSession {
            inbound: Inbound::new(SessionKeys::derive(profile, &theirs)?),
            outbound: Outbound::new(SessionKeys::derive(profile, &ours)?),
        })
    }
}

#[cfg(test)]
mod tests;
