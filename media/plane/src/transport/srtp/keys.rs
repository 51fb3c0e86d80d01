//! Derivation of session keys from the exported master keys (RFC 3711 §4.3, RFC 7714 §11).

use rtc_crypto::{BlockCipherAlgorithm, RTCCryptoProvider};

use super::cm::CmKey;
use super::gcm::GcmKey;

/// A supported SRTP protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// SRTP_AEAD_AES_128_GCM.
    AeadAes128Gcm,
    /// SRTP_AES128_CM_HMAC_SHA1_80.
    Aes128CmHmacSha1_80,
}

impl Profile {
    /// Returns the number of bytes to export from the DTLS handshake: two keys and two salts.
    pub fn keying_material_len(self) -> usize {
        2 * (KEY_LEN + self.salt_len())
    }

    fn salt_len(self) -> usize {
        match self {
            Profile::AeadAes128Gcm => 12,
            Profile::Aes128CmHmacSha1_80 => 14,
        }
    }
}

const KEY_LEN: usize = 16;

/// Key derivation failed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The keying material does not have the length that the profile requires.
    #[error("keying material of {0} bytes does not fit the SRTP profile")]
    Length(usize),
    /// The crypto provider does not support AES, or rejects the key.
    #[error("deriving SRTP keys: {0}")]
    Crypto(String),
}

impl KeyError {
    pub(super) fn crypto(error: impl std::fmt::Display) -> KeyError {
        KeyError::Crypto(error.to_string())
    }
}

/// Master key and salt of one direction.
pub(super) struct MasterKeys {
    key: [u8; KEY_LEN],
    /// A 12-byte salt is followed by two zero bytes: RFC 7714 §11 aligns it with the 14-byte salt
    /// of AES-CM.
    salt: [u8; 14],
}

impl MasterKeys {
    /// Splits keying material into the client's and the server's keys, in the order of RFC 5764
    /// §4.2: both keys, then both salts.
    pub(super) fn split(
        profile: Profile,
        material: &[u8],
    ) -> Result<(MasterKeys, MasterKeys), KeyError> {
        if material.len() != profile.keying_material_len() {
            return Err(KeyError::Length(material.len()));
        }
        let (keys, salts) = material.split_at(2 * KEY_LEN);
        let (client_key, server_key) = keys.split_at(KEY_LEN);
        let (client_salt, server_salt) = salts.split_at(profile.salt_len());
        Ok((
            MasterKeys::new(client_key, client_salt),
            MasterKeys::new(server_key, server_salt),
        ))
    }

    fn new(key: &[u8], salt: &[u8]) -> MasterKeys {
        let mut master = MasterKeys {
            key: [0; KEY_LEN],
            salt: [0; 14],
        };
        master.key.copy_from_slice(key);
        master.salt[..salt.len()].copy_from_slice(salt);
        master
    }

    /// Derives a session key with the AES-CM pseudo-random function at key derivation rate zero
    /// (RFC 3711 §4.3.1, §4.3.3).
    fn derive<const N: usize>(
        &self,
        crypto: &dyn RTCCryptoProvider,
        label: Label,
    ) -> Result<[u8; N], KeyError> {
        let mut output = [0; N];
        for (counter, chunk) in output.chunks_mut(16).enumerate() {
            let mut block = [0; 16];
            block[..14].copy_from_slice(&self.salt);
            block[7] ^= label as u8;
            block[15] = counter as u8; // at most two blocks: the longest key has 20 bytes
            crypto
                .crypto()
                .block_encrypt(BlockCipherAlgorithm::Aes128, &self.key, &mut block)
                .map_err(KeyError::crypto)?;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(output)
    }
}

/// Key derivation labels (RFC 3711 §4.3.2).
#[derive(Clone, Copy)]
enum Label {
    RtpKey = 0,
    RtpAuth = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuth = 4,
    RtcpSalt = 5,
}

/// Session keys of one direction, for RTP and for RTCP.
pub(super) struct SessionKeys {
    pub(super) rtp: Cipher,
    pub(super) rtcp: Cipher,
}

/// A keyed cipher of either profile. GCM is stored inline, so that the forwarding path does not
/// follow a pointer to its key.
#[expect(
    clippy::large_enum_variant,
    reason = "the large variant is the one that is used"
)]
pub(super) enum Cipher {
    Gcm(GcmKey),
    Cm(Box<CmKey>),
}

impl SessionKeys {
    pub(super) fn derive(profile: Profile, master: &MasterKeys) -> Result<SessionKeys, KeyError> {
        let provider = rtc_crypto::default_provider().map_err(KeyError::crypto)?;
        let crypto = provider.as_ref();
        Ok(match profile {
            Profile::AeadAes128Gcm => SessionKeys {
                rtp: Cipher::Gcm(GcmKey::new(
                    master.derive(crypto, Label::RtpKey)?,
                    master.derive(crypto, Label::RtpSalt)?,
                )),
                rtcp: Cipher::Gcm(GcmKey::new(
                    master.derive(crypto, Label::RtcpKey)?,
                    master.derive(crypto, Label::RtcpSalt)?,
                )),
            },
            Profile::Aes128CmHmacSha1_80 => SessionKeys {
                rtp: Cipher::Cm(Box::new(CmKey::new(
                    crypto,
                    master.derive(crypto, Label::RtpKey)?,
                    master.derive(crypto, Label::RtpSalt)?,
                    master.derive(crypto, Label::RtpAuth)?,
                )?)),
                rtcp: Cipher::Cm(Box::new(CmKey::new(
                    crypto,
                    master.derive(crypto, Label::RtcpKey)?,
                    master.derive(crypto, Label::RtcpSalt)?,
                    master.derive(crypto, Label::RtcpAuth)?,
                )?)),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of RFC 3711 appendix B.3.
    #[test]
    fn session_keys_are_those_of_rfc_3711_appendix_b3() {
        let key = 0xE1F9_7A0D_3E01_8BE0_D64F_A32C_06DE_4139_u128.to_be_bytes();
        let salt = &0x0EC6_75AD_498A_FEEB_B696_0B3A_ABE6_u128.to_be_bytes()[2..];
        let master = MasterKeys::new(&key, salt);
        let provider = rtc_crypto::default_provider().expect("a provider is compiled in");
        let crypto = provider.as_ref();
        let session_key: [u8; 16] = master.derive(crypto, Label::RtpKey).expect("AES works");
        let session_salt: [u8; 14] = master.derive(crypto, Label::RtpSalt).expect("AES works");
        let session_auth: [u8; 20] = master.derive(crypto, Label::RtpAuth).expect("AES works");
        assert_eq!(
            u128::from_be_bytes(session_key),
            0xC61E_7A93_744F_39EE_1073_4AFE_3FF7_A087
        );
        assert_eq!(
            session_salt[..],
            0x30CB_BC08_863D_8C85_D49D_B34A_9AE1_u128.to_be_bytes()[2..]
        );
        assert_eq!(
            session_auth[..16],
            0xCEBE_321F_6FF7_716B_6FD4_AB49_AF25_6A15_u128.to_be_bytes()
        );
        assert_eq!(session_auth[16..], 0x6D38_BAA4_u32.to_be_bytes());
    }

    #[test]
    fn keying_material_of_another_length_is_refused() {
        for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmHmacSha1_80] {
            let material = vec![1; profile.keying_material_len() + 1];
            assert!(matches!(
                MasterKeys::split(profile, &material),
                Err(KeyError::Length(_))
            ));
        }
    }
}
