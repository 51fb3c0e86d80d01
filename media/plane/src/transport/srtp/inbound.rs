//! Opening packets in place, with rollover and replay state per source.

use super::header::{RTCP_ENCRYPTED, RTCP_HEADER_LEN, RTCP_INDEX_LEN, RtpFields, rtcp_ssrc};
use super::keys::{Cipher, SessionKeys};
use super::window::Window;
use super::{cm, gcm};
use crate::drop_reason::DropReason;
use crate::ids::Ssrc;
use crate::units::SeqNo;

/// How many sources a peer may send RTP from, and as many for RTCP. A camera with three layers and their RTX plus a
/// microphone has 7; what a page replaces within one connection fits many times over, and memory stays bounded.
pub const MAX_SOURCES: usize = 64;

/// No datagram on an Ethernet path is longer; only the very first packet of a source is ever copied.
const FIRST_PACKET_MAX: usize = 2048;

/// Opens packets of one peer.
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

/// An RTP packet that was opened in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprotected {
    /// Length of header and plain payload; the bytes behind it are waste.
    pub len: usize,
    /// Length of the RTP header with CSRCs and extension.
    pub header_len: usize,
    /// Its sequence number, rollovers counted.
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

    /// Opens an RTP packet in place. On an error its bytes are worthless.
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

    /// Opens an RTCP packet in place and returns the length of the plain compound packet.
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

    /// The first packet of a source fixes where its window starts. A stream that began just below the wrap and lost its first
    /// packets is already in rollover 1 when we see it; GCM destroys what it fails to open, so that guess works on a copy.
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

    /// Forgets a source that is gone for good, which frees its place. Its packets could be replayed afterwards, so only call
    /// this when packets with this SSRC are no longer forwarded.
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

/// Authenticates and decrypts; returns the plain length.
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

/// The SRTCP index of a packet that is at least header and trailer long.
///
/// RFC 8827 §6.5 has no unencrypted SRTCP, and no browser sends it: what claims to be is not authentic.
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

/// Authenticates and decrypts; returns the plain length.
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
