//! Sealing packets in place.

use super::header::{RTCP_ENCRYPTED, RTCP_HEADER_LEN, RTCP_INDEX_LEN, rtcp_ssrc};
use super::keys::{Cipher, SessionKeys};
use super::{cm, gcm};

/// Bytes that a caller keeps free behind a packet: the longest trailer (SRTCP under GCM: tag 16, index 4).
pub const MAX_TRAILER: usize = gcm::TAG_LEN + RTCP_INDEX_LEN;

/// Seals packets for one peer. The hot path reads [`Outbound::rtp`] and nothing else.
pub struct Outbound {
    /// RTP: a key and a salt.
    pub rtp: RtpSealer,
    /// RTCP: its own key and salt, and the index.
    pub rtcp: RtcpSealer,
}

impl Outbound {
    pub(super) fn new(keys: SessionKeys) -> Outbound {
        Outbound {
            rtp: RtpSealer { cipher: keys.rtp },
            rtcp: RtcpSealer {
                cipher: keys.rtcp,
                next_index: 0,
            },
        }
    }
}

/// Seals RTP packets: key and salt, no counters.
pub struct RtpSealer {
    cipher: Cipher,
}

impl RtpSealer {
    /// Seals the packet in `buffer[..len]` in place and returns its new length; its first `header_len` bytes stay readable.
    ///
    /// Sequence number and SSRC are read from the header, the rollover counter is the caller's. **The caller never seals two
    /// different packets under one SSRC, rollover and sequence number**: that would give away the key stream.
    ///
    /// # Panics
    ///
    /// When `buffer` has not [`MAX_TRAILER`] bytes behind `len`, or `12 <= header_len <= len` does not hold.
    pub fn protect(
        &mut self,
        buffer: &mut [u8],
        header_len: usize,
        len: usize,
        rollover: u32,
    ) -> usize {
        let seq = [buffer[2], buffer[3]];
        let ssrc = [buffer[8], buffer[9], buffer[10], buffer[11]];
        match &mut self.cipher {
            Cipher::Gcm(key) => {
                let (header, rest) = buffer.split_at_mut(header_len);
                let (plain, spare) = rest.split_at_mut(len - header_len);
                let tag = key.seal(key.rtp_nonce(ssrc, rollover, seq), header, plain);
                spare[..gcm::TAG_LEN].copy_from_slice(&tag);
                len + gcm::TAG_LEN
            }
            Cipher::Cm(key) => {
                let index = u64::from(rollover) << 16 | u64::from(u16::from_be_bytes(seq));
                key.apply_keystream(ssrc, index, &mut buffer[header_len..len]);
                let tag = key.tag(&buffer[..len], &rollover.to_be_bytes());
                buffer[len..len + cm::TAG_LEN].copy_from_slice(&tag);
                len + cm::TAG_LEN
            }
        }
    }
}

/// Seals RTCP packets and numbers them. One index serves all of our SSRCs: each peer sees it grow for every one of them.
pub struct RtcpSealer {
    cipher: Cipher,
    next_index: u32,
}

impl RtcpSealer {
    /// Seals the compound packet in `buffer[..len]` in place and returns its new length.
    ///
    /// `None` after 2³¹ packets, when the key is used up (RFC 3711 §9.2): seven years at ten a second.
    ///
    /// # Panics
    ///
    /// When `buffer` has not [`MAX_TRAILER`] bytes behind `len`, or `len` is less than an RTCP header's 8 bytes.
    pub fn protect(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        if self.next_index >= RTCP_ENCRYPTED {
            return None;
        }
        let index = self.next_index;
        self.next_index += 1;
        let ssrc = rtcp_ssrc(buffer);
        let index_word = (RTCP_ENCRYPTED | index).to_be_bytes();
        Some(match &mut self.cipher {
            Cipher::Gcm(key) => {
                // RFC 7714 §9.2: header and index word are authenticated, the tag stands before the index word.
                let mut aad = [0; RTCP_HEADER_LEN + RTCP_INDEX_LEN];
                aad[..RTCP_HEADER_LEN].copy_from_slice(&buffer[..RTCP_HEADER_LEN]);
                aad[RTCP_HEADER_LEN..].copy_from_slice(&index_word);
                let tag = key.seal(
                    key.rtcp_nonce(ssrc, index),
                    &aad,
                    &mut buffer[RTCP_HEADER_LEN..len],
                );
                buffer[len..len + gcm::TAG_LEN].copy_from_slice(&tag);
                buffer[len + gcm::TAG_LEN..len + MAX_TRAILER].copy_from_slice(&index_word);
                len + MAX_TRAILER
            }
            Cipher::Cm(key) => {
                key.apply_keystream(ssrc, u64::from(index), &mut buffer[RTCP_HEADER_LEN..len]);
                let end = len + RTCP_INDEX_LEN;
                buffer[len..end].copy_from_slice(&index_word);
                let tag = key.tag(&buffer[..end], &[]);
                buffer[end..end + cm::TAG_LEN].copy_from_slice(&tag);
                end + cm::TAG_LEN
            }
        })
    }
}
