//! DTLS identity of the process: one certificate and its fingerprint, shared by all peers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rtc_crypto::{HashAlgorithm, RTCCryptoProvider};
use rtc_dtls::config::{ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;

use super::TransportError;

/// The certificate of every DTLS handshake of the process, and its SHA-256 fingerprint for the SDP.
pub struct Identity {
    certificate: Certificate,
    fingerprint: Fingerprint,
    crypto: Arc<dyn RTCCryptoProvider>,
    dormant: Arc<HandshakeConfig>,
}

impl Identity {
    /// Generates a self-signed certificate. WebRTC authenticates it by the fingerprint in the SDP,
    /// so no authority signs it (RFC 8827 §6.5).
    pub fn generate() -> Result<Identity, TransportError> {
        let crypto = rtc_crypto::default_provider().map_err(TransportError::certificate)?;
        let certificate =
            Certificate::generate_self_signed(vec!["tongke".to_owned()], crypto.crypto())
                .map_err(TransportError::certificate)?;
        let der = certificate
            .certificate
            .first()
            .ok_or(TransportError::NoCertificate)?;
        let fingerprint = Fingerprint::of(der, &crypto)?;
        let dormant = ConfigBuilder::default()
            .with_crypto_provider(crypto.clone())
            .with_insecure_skip_verify(true);
        let dormant = Arc::new(
            dormant
                .build(true, None)
                .map_err(TransportError::certificate)?,
        );
        Ok(Identity {
            certificate,
            fingerprint,
            crypto,
            dormant,
        })
    }

    /// Returns the value of `a=fingerprint` in every description of the server (RFC 8122 §5).
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(super) fn crypto(&self) -> &Arc<dyn RTCCryptoProvider> {
        &self.crypto
    }

    /// Returns the configuration for rehydrating established connections. It does not affect what
    /// they send.
    pub(super) fn dormant_config(&self) -> &Arc<HandshakeConfig> {
        &self.dormant
    }
}

/// The SHA-256 hash of a certificate (RFC 8122 §5). Displayed as the `AB:CD:…` of an SDP attribute,
/// without the name of the hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    pub(super) fn of(
        der: &[u8],
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> Result<Fingerprint, TransportError> {
        let hash = crypto
            .crypto()
            .hash(HashAlgorithm::Sha256, der)
            .map_err(TransportError::certificate)?;
        hash.as_slice()
            .try_into()
            .map(Fingerprint)
            .map_err(|_| TransportError::NoCertificate)
    }
}

/// The text is not 32 hexadecimal pairs separated by colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sha-256 fingerprint is 32 hexadecimal pairs separated by colons")]
pub struct BadFingerprint;

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Fingerprint, BadFingerprint> {
        let mut hash = [0; 32];
        let mut pairs = text.split(':');
        for byte in &mut hash {
            let pair = pairs
                .next()
                .filter(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = pair
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or(BadFingerprint)?;
        }
        match pairs.next() {
            None => Ok(Fingerprint(hash)),
            Some(_) => Err(BadFingerprint),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_survives_its_own_text() {
        let identity = Identity::generate().expect("a certificate");
        let text = identity.fingerprint().to_string();
        assert_eq!(text.len(), 32 * 3 - 1);
        assert_eq!(text.parse(), Ok(identity.fingerprint()));
        assert_eq!(text.to_lowercase().parse(), Ok(identity.fingerprint()));
    }

    #[test]
    fn text_that_is_no_fingerprint_is_refused() {
        let good = Fingerprint([7; 32]).to_string();
        for bad in [
            "",
            "AB",
            &good[3..],
            &format!("{good}:00"),
            &good.replace('0', "+"),
            &good.replace(':', ""),
        ] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(BadFingerprint), "{bad}");
        }
    }
}
