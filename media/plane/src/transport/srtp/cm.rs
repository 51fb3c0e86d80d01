//! AES_CM_128_HMAC_SHA1_80 for RTP and RTCP (RFC 3711 §4), the fallback profile.

use ring::hmac;
use rtc_crypto::{RTCCryptoProvider, StreamCipher, StreamCipherAlgorithm};

use super::gcm::Unauthentic;
use super::keys::KeyError;

/// Length of the authentication tag of the _80 profile in bytes, for RTP and RTCP (RFC 5764
/// §4.1.2).
pub(super) const TAG_LEN: usize = 10;

/// Encryption key, salt and authentication key of a session.
pub(super) struct CmKey {
    cipher: Box<dyn StreamCipher>,
    salt: [u8; 14],
    auth: hmac::Key,
}

impl CmKey {
    pub(super) fn new(
        crypto: &dyn RTCCryptoProvider,
        key: [u8; 16],
        salt: [u8; 14],
        auth: [u8; 20],
    ) -> Result<CmKey, KeyError> {
        let cipher = crypto
            .crypto()
            .new_stream_cipher(StreamCipherAlgorithm::Aes128Ctr, &key);
        Ok(CmKey {
            cipher: cipher.map_err(KeyError::crypto)?,
            salt,
            auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth),
        })
    }

    /// Encrypts or decrypts in place. `index` is the 48-bit packet index, or the SRTCP index.
    pub(super) fn apply_keystream(&mut self, ssrc: [u8; 4], index: u64, data: &mut [u8]) {
        let iv = self.iv(ssrc, index);
        self.cipher
            .apply_keystream(&iv, data)
            .expect("AES-CTR takes every 16-byte counter block");
    }

    /// Returns the tag over `packet` followed by `trailer` (the rollover counter for RTP, empty for
    /// RTCP; RFC 3711 §4.2).
    pub(super) fn tag(&self, packet: &[u8], trailer: &[u8]) -> [u8; TAG_LEN] {
        let mut mac = hmac::Context::with_key(&self.auth);
        mac.update(packet);
        mac.update(trailer);
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&mac.sign().as_ref()[..TAG_LEN]);
        tag
    }

    /// Compares in constant time: the duration must not reveal the position of a wrong byte.
    pub(super) fn verify(
        &self,
        packet: &[u8],
        trailer: &[u8],
        tag: &[u8],
    ) -> Result<(), Unauthentic> {
        let expected = self.tag(packet, trailer);
        let difference = expected
            .iter()
            .zip(tag)
            .fold(0, |seen, (ours, theirs)| seen | (ours ^ theirs));
        if difference == 0 && tag.len() == TAG_LEN {
            Ok(())
        } else {
            Err(Unauthentic)
        }
    }

    /// Returns the initial counter block (RFC 3711 §4.1.1): salt, SSRC and index above a 16-bit
    /// block counter.
    fn iv(&self, ssrc: [u8; 4], index: u64) -> [u8; 16] {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        for (byte, part) in iv[4..8].iter_mut().zip(ssrc) {
            *byte ^= part;
        }
        for (byte, part) in iv[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
            *byte ^= part;
        }
        iv
    }
}
