//! AEAD_AES_128_GCM for RTP and RTCP (RFC 7714).

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Length of the authentication tag in bytes (RFC 7714 §5.2).
pub(super) const TAG_LEN: usize = 16;

/// Session key and salt.
pub(super) struct GcmKey {
    key: LessSafeKey,
    salt: [u8; 12],
}

/// The authentication tag is wrong.
pub(super) struct Unauthentic;

impl GcmKey {
    pub(super) fn new(key: [u8; 16], salt: [u8; 12]) -> GcmKey {
        let key = UnboundKey::new(&AES_128_GCM, &key).expect("AES-128 takes every key of 16 bytes");
        GcmKey {
            key: LessSafeKey::new(key),
            salt,
        }
    }

    /// Returns the SRTP nonce (RFC 7714 §8.1): two zero bytes, SSRC, rollover counter and sequence
    /// number, XORed with the salt.
    pub(super) fn rtp_nonce(&self, ssrc: [u8; 4], rollover: u32, seq: [u8; 2]) -> [u8; 12] {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc);
        xor(&mut nonce[6..10], &rollover.to_be_bytes());
        xor(&mut nonce[10..], &seq);
        nonce
    }

    /// Returns the SRTCP nonce (RFC 7714 §9.1): two zero bytes, SSRC, two zero bytes and SRTCP
    /// index, XORed with the salt.
    pub(super) fn rtcp_nonce(&self, ssrc: [u8; 4], index: u32) -> [u8; 12] {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc);
        xor(&mut nonce[8..], &index.to_be_bytes());
        nonce
    }

    /// Encrypts `plain` in place and returns the tag.
    pub(super) fn seal(&self, nonce: [u8; 12], aad: &[u8], plain: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), plain);
        let tag = tag.expect("AES-GCM seals everything shorter than 64 GiB");
        tag.as_ref()
            .try_into()
            .expect("the tag of AES-128-GCM has 16 bytes")
    }

    /// Authenticates and decrypts `sealed` (ciphertext, then tag) in place. The plaintext is
    /// [`TAG_LEN`] bytes shorter.
    pub(super) fn open(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), Unauthentic> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        match self.key.open_in_place(nonce, Aad::from(aad), sealed) {
            Ok(_) => Ok(()),
            Err(_) => Err(Unauthentic),
        }
    }
}

fn xor(target: &mut [u8], with: &[u8]) {
    for (byte, other) in target.iter_mut().zip(with) {
        *byte ^= other;
    }
}
