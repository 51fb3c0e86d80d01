//! Protects packets in place.

use super::header::{RTCP_ENCRYPTED, RTCP_HEADER_LEN, RTCP_INDEX_LEN, rtcp_ssrc};
use super::keys::{Cipher, SessionKeys};
use super::{cm, gcm};

/// Maximum number of bytes that protection appends: 20 for SRTCP with GCM (tag 16, index 4).
pub const MAX_TRAILER: usize = gcm::TAG_LEN + RTCP_INDEX_LEN;

/// Protects the packets to one peer. The forwarding path uses only [`Outbound::rtp`].
pub struct Outbound {
    /// Key and salt for RTP.
    pub rtp: RtpSealer,
    /// Key, salt and index for RTCP.
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

/// Protects RTP packets. It has a key and a salt, but no counters.
pub struct RtpSealer {
    cipher: Cipher,
}

impl RtpSealer {
    /// Protects the packet in `buffer[..len]` in place and returns its new length in bytes. The
    /// first `header_len` bytes are not encrypted.
    ///
    /// Sequence number and SSRC are read from the header; the caller passes the rollover counter.
    /// **The caller must never protect two different packets with the same SSRC, rollover and
    /// sequence number**: that would reveal the key stream.
    ///
    /// # Panics
    ///
    /// If `buffer` has fewer than [`MAX_TRAILER`] bytes after `len`, or unless `12 <= header_len <=
    /// len`.
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

/// Protects RTCP packets and numbers them. One index serves all SSRCs of the server: it increases
/// for each of them.
pub struct RtcpSealer {
    cipher: Cipher,
    next_index: u32,
}

impl RtcpSealer {
    /// Protects the compound in `buffer[..len]` in place and returns its new length in bytes.
    ///
    /// None after 2³¹ packets, when the key is used up (RFC 3711 §9.2): seven years at ten packets
    /// per second.
    ///
    /// # Panics
    ///
    /// If `buffer` has fewer than [`MAX_TRAILER`] bytes after `len`, or if `len` is less than the 8
    /// bytes of an RTCP header.
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
                // RFC 7714 §9.2: header and index word are authenticated; the tag precedes the
                // index word.
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
