//! SRTP and SRTCP (RFC 3711, RFC 7714): in place, without allocation for AES-GCM.
//!
//! AEAD_AES_128_GCM is the profile for everyone who offers it: it costs a fifth of AES_CM_128_HMAC_SHA1_80, which stays as the
//! fallback that every WebRTC endpoint must have (RFC 8827 §6.5). Keys are never renewed: 2⁴⁸ packets outlast any lesson.

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

/// The keys of one connected peer, both directions.
pub struct SrtpSession {
    /// Opens what the peer sends.
    pub inbound: Inbound,
    /// Seals what we send.
    pub outbound: Outbound,
}

/// Which end of the DTLS handshake a session belongs to; decides which half of the keying material is whose (RFC 5764 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The DTLS client: a browser, or our own load generator.
    Client,
    /// The DTLS server: this plane.
    Server,
}

impl SrtpSession {
    /// Derives the session from the bytes that the DTLS handshake exported under `EXTRACTOR-dtls_srtp`,
    /// [`Profile::keying_material_len`] of them.
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
