//! Unprotects packets in place, with rollover and replay state per SSRC.

use super::header::{RTCP_ENCRYPTED, RTCP_HEADER_LEN, RTCP_INDEX_LEN, RtpFields, rtcp_ssrc};
use super::keys::{Cipher, SessionKeys};
use super::window::Window;
use super::{cm, gcm};
use crate::drop_reason::DropReason;
use crate::ids::Ssrc;
use crate::units::SeqNo;

/// Maximum number of SSRCs per peer, for RTP and for RTCP each. A camera with three layers and RTX
/// plus a microphone has 7; the rest allows for SSRCs that a client replaces. The bound limits
/// memory.
pub const MAX_SOURCES: usize = 64;

/// Maximum datagram size on an Ethernet path, in bytes. Only the first packet of a source is
/// copied.
const FIRST_PACKET_MAX: usize = 2048;

/// Unprotects the packets of one peer.
pub struct Inbound {
    rtp: Cipher,
    rtcp: Cipher,
    rtp_sources: Vec<Source>,
    rtcp_sources: Vec<Source>,
}

struct Source {
    ssrc: u32,
    window: Window,
}

/// An RTP packet that was decrypted in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprotected {
    /// Length of header and decrypted payload; the bytes after it are undefined.
    pub len: usize,
    /// Length of the RTP header with CSRCs and extension, in bytes.
    pub header_len: usize,
    /// Sequence number with rollovers.
    pub seq: SeqNo,
}

impl Inbound {
    pub(super) fn new(keys: SessionKeys) -> Inbound {
        Inbound {
            rtp: keys.rtp,
            rtcp: keys.rtcp,
            rtp_sources: Vec::new(),
            rtcp_sources: Vec::new(),
        }
    }

    /// Authenticates and decrypts an RTP packet in place. After an error the content of `packet` is
    /// undefined.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<Unprotected, DropReason> {
        let fields = RtpFields::read(packet, rtp_tag_len(&self.rtp))?;
        let opened = |index: SeqNo, len| Unprotected {
            len,
            header_len: fields.header_len,
            seq: index,
        };
        let Some(source) = self
            .rtp_sources
            .iter_mut()
            .find(|source| source.ssrc == fields.ssrc)
        else {
            return self
                .open_first(packet, fields)
                .map(|(index, len)| opened(index, len));
        };
        let index = source.window.estimate(fields.seq);
        if !source.window.is_fresh(index.0) {
            return Err(DropReason::SrtpReplay);
        }
        let len = open_rtp(&mut self.rtp, packet, fields, index)?;
        source.window.accept(index.0);
        Ok(opened(index, len))
    }

    /// Authenticates and decrypts an RTCP compound in place. Returns its length in bytes.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        if packet.len() < RTCP_HEADER_LEN + rtcp_trailer_len(&self.rtcp) || packet[0] >> 6 != 2 {
            return Err(DropReason::SrtpTooShort);
        }
        let ssrc = u32::from_be_bytes(rtcp_ssrc(packet));
        let index = rtcp_index(&self.rtcp, packet)?;
        let source = self
            .rtcp_sources
            .iter_mut()
            .find(|source| source.ssrc == ssrc);
        if source
            .as_ref()
            .is_some_and(|source| !source.window.is_fresh(u64::from(index)))
        {
            return Err(DropReason::SrtpReplay);
        }
        if source.is_none() && self.rtcp_sources.len() == MAX_SOURCES {
            return Err(DropReason::SrtpTooManySources);
        }
        let len = open_rtcp(&mut self.rtcp, packet, index)?;
        match self
            .rtcp_sources
            .iter_mut()
            .find(|source| source.ssrc == ssrc)
        {
            Some(source) => source.window.accept(u64::from(index)),
            None => self.rtcp_sources.push(Source {
                ssrc,
                window: Window::starting_at(u64::from(index)),
            }),
        }
        Ok(len)
    }

    /// Unprotects the first packet of a source, which defines the start of its replay window. A
    /// stream that began just below the wrap and lost its first packets may already have rollover
    /// 1. GCM destroys a packet that fails authentication, so the second attempt uses a copy.
    fn open_first(
        &mut self,
        packet: &mut [u8],
        fields: RtpFields,
    ) -> Result<(SeqNo, usize), DropReason> {
        if self.rtp_sources.len() == MAX_SOURCES {
            return Err(DropReason::SrtpTooManySources);
        }
        let mut buffer = [0; FIRST_PACKET_MAX];
        let mut copy = buffer
            .get_mut(..packet.len())
            .filter(|_| fields.seq < 0x8000);
        if let Some(copy) = &mut copy {
            copy.copy_from_slice(packet);
        }
        let mut index = SeqNo(u64::from(fields.seq));
        let len = match (open_rtp(&mut self.rtp, packet, fields, index), copy) {
            (Err(_), Some(copy)) => {
                index = SeqNo(0x1_0000 | index.0);
                let len = open_rtp(&mut self.rtp, copy, fields, index)?;
                packet.copy_from_slice(copy);
                len
            }
            (result, _) => result?,
        };
        self.rtp_sources.push(Source {
            ssrc: fields.ssrc,
            window: Window::starting_at(index.0),
        });
        Ok((index, len))
    }

    /// Removes a source. Its packets could be replayed afterwards, so call this only when packets
    /// with this SSRC are no longer forwarded.
    pub fn forget(&mut self, ssrc: Ssrc) {
        self.rtp_sources.retain(|source| source.ssrc != ssrc.0);
        self.rtcp_sources.retain(|source| source.ssrc != ssrc.0);
    }
}

fn rtp_tag_len(cipher: &Cipher) -> usize {
    match cipher {
        Cipher::Gcm(_) => gcm::TAG_LEN,
        Cipher::Cm(_) => cm::TAG_LEN,
    }
}

fn rtcp_trailer_len(cipher: &Cipher) -> usize {
    rtp_tag_len(cipher) + RTCP_INDEX_LEN
}

/// Authenticates and decrypts. Returns the plaintext length.
fn open_rtp(
    cipher: &mut Cipher,
    packet: &mut [u8],
    fields: RtpFields,
    index: SeqNo,
) -> Result<usize, DropReason> {
    let ssrc = fields.ssrc.to_be_bytes();
    match cipher {
        Cipher::Gcm(key) => {
            let nonce = key.rtp_nonce(ssrc, index.rollover(), fields.seq.to_be_bytes());
            let (header, sealed) = packet.split_at_mut(fields.header_len);
            key.open(nonce, header, sealed)
                .map_err(|_| DropReason::SrtpAuth)?;
            Ok(packet.len() - gcm::TAG_LEN)
        }
        Cipher::Cm(key) => {
            let len = packet.len() - cm::TAG_LEN;
            let (body, tag) = packet.split_at_mut(len);
            key.verify(body, &index.rollover().to_be_bytes(), tag)
                .map_err(|_| DropReason::SrtpAuth)?;
            key.apply_keystream(ssrc, index.0, &mut body[fields.header_len..]);
            Ok(len)
        }
    }
}

/// Returns the SRTCP index of a packet that has at least a header and a trailer.
///
/// Unencrypted SRTCP is rejected: RFC 8827 §6.5 does not allow it, and no browser sends it.
fn rtcp_index(cipher: &Cipher, packet: &[u8]) -> Result<u32, DropReason> {
    let end = match cipher {
        Cipher::Gcm(_) => packet.len(),
        Cipher::Cm(_) => packet.len() - cm::TAG_LEN,
    };
    let word = &packet[end - RTCP_INDEX_LEN..end];
    let word = u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
    if word & RTCP_ENCRYPTED == 0 {
        return Err(DropReason::SrtpAuth);
    }
    Ok(word & !RTCP_ENCRYPTED)
}

/// Authenticates and decrypts. Returns the plaintext length.
fn open_rtcp(cipher: &mut Cipher, packet: &mut [u8], index: u32) -> Result<usize, DropReason> {
    let ssrc = rtcp_ssrc(packet);
    match cipher {
        Cipher::Gcm(key) => {
            let (body, index_word) = packet.split_at_mut(packet.len() - RTCP_INDEX_LEN);
            let (header, sealed) = body.split_at_mut(RTCP_HEADER_LEN);
            let mut aad = [0; RTCP_HEADER_LEN + RTCP_INDEX_LEN];
            aad[..RTCP_HEADER_LEN].copy_from_slice(header);
            aad[RTCP_HEADER_LEN..].copy_from_slice(index_word);
            key.open(key.rtcp_nonce(ssrc, index), &aad, sealed)
                .map_err(|_| DropReason::SrtpAuth)?;
            Ok(body.len() - gcm::TAG_LEN)
        }
        Cipher::Cm(key) => {
            let (body, tag) = packet.split_at_mut(packet.len() - cm::TAG_LEN);
            key.verify(body, &[], tag)
                .map_err(|_| DropReason::SrtpAuth)?;
            let len = body.len() - RTCP_INDEX_LEN;
            key.apply_keystream(ssrc, u64::from(index), &mut body[RTCP_HEADER_LEN..len]);
            Ok(len)
        }
    }
}
