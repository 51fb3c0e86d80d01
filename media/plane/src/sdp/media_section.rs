//! One m-section of a peer's description, as written by the peer.

use super::attributes::{Direction, PayloadFormat, TransportAttributes, is_rid, is_token};
use super::extension::Extension;
use super::{ExtensionIds, MediaKind, NegotiationError};
use crate::ids::Ssrc;

/// Limit of SSRCs per m-section. Three layers with RTX are six; the limit bounds the linear
/// searches.
const MAX_SSRCS: usize = 32;

/// Limit of RIDs per m-section, before the selection of layers.
const MAX_RIDS: usize = 16;

/// m-section: its m-line and attributes (RFC 8829 calls it "m= section").
#[derive(Clone, Debug)]
pub(super) struct MediaSection {
    pub(super) mid: String,
    /// True if the peer wrote the MID; otherwise it is the index.
    pub(super) has_mid: bool,
    /// `None` for unsupported media: data channels, text.
    pub(super) kind: Option<MediaKind>,
    /// Media type, protocol and formats of the m-line, repeated in a rejection.
    pub(super) media_type: String,
    pub(super) protocol: String,
    pub(super) formats: String,
    /// Port 0 without bundle-only: the peer disabled the m-section.
    pub(super) is_rejected: bool,
    pub(super) direction: Direction,
    /// In the order of the m-line, which is the peer's preference.
    pub(super) payloads: Vec<PayloadFormat>,
    pub(super) extensions: ExtensionIds,
    /// RIDs of sent layers, in the order of `a=simulcast`, else of `a=rid`.
    pub(super) rids: Vec<String>,
    pub(super) stream: Option<String>,
    pub(super) track: Option<String>,
    pub(super) ssrcs: Vec<Ssrc>,
    /// FID groups (RFC 5576): media SSRC and retransmission SSRC.
    pub(super) fid_groups: Vec<(Ssrc, Ssrc)>,
    /// SIM group: SSRCs of the layers in simulcast without RIDs.
    pub(super) sim_group: Vec<Ssrc>,
    pub(super) has_rtcp_mux: bool,
    pub(super) ptime: Option<u16>,
    pub(super) transport: TransportAttributes,
    simulcast: Option<Vec<String>>,
    bundle_only: bool,
    port: u32,
}

impl MediaSection {
    /// Parses `<media> <port>[/n] <protocol> <formats>` (RFC 8866 §5.14).
    pub(super) fn parse(
        value: &str,
        index: usize,
        default: Direction,
    ) -> Result<MediaSection, &'static str> {
        let mut words = value.splitn(4, ' ');
        let (Some(media_type), Some(port), Some(protocol)) =
            (words.next(), words.next(), words.next())
        else {
            return Err("an m-line needs a medium, a port, a protocol and formats");
        };
        let formats = words.next().unwrap_or("0");
        let port = port
            .split('/')
            .next()
            .and_then(|port| port.parse().ok())
            .ok_or("the port of an m-line is a number")?;
        let is_rtp = protocol.ends_with("RTP/SAVPF") || protocol.ends_with("RTP/SAVP");
        let kind = match media_type {
            "audio" if is_rtp => Some(MediaKind::Audio),
            "video" if is_rtp => Some(MediaKind::Video),
            _ => None,
        };
        let pts = formats
            .split(' ')
            .filter_map(|pt| pt.parse().ok())
            .filter(|pt| *pt < 128);
        let mut payloads: Vec<PayloadFormat> = Vec::new();
        for pt in pts.filter(|_| kind.is_some()) {
            if payloads.iter().all(|payload| payload.pt != pt) {
                payloads.push(PayloadFormat {
                    pt,
                    ..PayloadFormat::default()
                });
            }
        }
        Ok(MediaSection {
            mid: index.to_string(),
            has_mid: false,
            kind,
            media_type: media_type.to_owned(),
            protocol: protocol.to_owned(),
            formats: formats.to_owned(),
            is_rejected: port == 0,
            direction: default,
            payloads,
            extensions: ExtensionIds::default(),
            rids: Vec::new(),
            stream: None,
            track: None,
            ssrcs: Vec::new(),
            fid_groups: Vec::new(),
            sim_group: Vec::new(),
            has_rtcp_mux: false,
            ptime: None,
            transport: TransportAttributes::default(),
            simulcast: None,
            bundle_only: false,
            port,
        })
    }

    /// Parses one attribute; unknown ones are ignored (RFC 8866 §6).
    pub(super) fn parse_attribute(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let Some((name, value)) = self.transport.parse_attribute(name, value) else {
            return Ok(());
        };
        match name {
            "mid" => self.parse_mid(value)?,
            "rtpmap" => self.parse_rtpmap(value),
            "fmtp" => self.update_payload(value, |payload, value| {
                payload.parameters = value.to_owned()
            }),
            "rtcp-fb" => self.parse_rtcp_fb(value),
            "extmap" => self.parse_extmap(value),
            "rid" => self.parse_rid(value),
            "simulcast" => self.parse_simulcast(value),
            "msid" => self.parse_msid(value),
            "ssrc" => self.parse_ssrc(value),
            "ssrc-group" => self.parse_ssrc_group(value),
            "rtcp-mux" | "rtcp-mux-only" => self.has_rtcp_mux = true,
            "bundle-only" => self.bundle_only = true,
            "ptime" => self.ptime = value.parse().ok(),
            _ => self.direction = Direction::parse(name).unwrap_or(self.direction),
        }
        Ok(())
    }

    /// Returns the attributes of a payload type.
    pub(super) fn payload(&self, pt: u8) -> Option<&PayloadFormat> {
        self.payloads.iter().find(|payload| payload.pt == pt)
    }

    /// Resolves port and simulcast order, which need all attributes.
    pub(super) fn finish(mut self) -> MediaSection {
        self.is_rejected = self.port == 0 && !self.bundle_only;
        if let Some(order) = self.simulcast.take() {
            let mut rids = Vec::new();
            for rid in order {
                if self.rids.contains(&rid) && !rids.contains(&rid) {
                    rids.push(rid);
                }
            }
            self.rids = rids;
        }
        self
    }

    fn parse_mid(&mut self, value: &str) -> Result<(), &'static str> {
        if !is_token(value) || value.len() > 32 {
            return Err("a mid is a short token");
        }
        (self.mid, self.has_mid) = (value.to_owned(), true);
        Ok(())
    }

    /// Parses `<pt> <name>/<clock rate>[/<channels>]`.
    fn parse_rtpmap(&mut self, value: &str) {
        self.update_payload(value, |payload, value| {
            let mut parts = value.trim().split('/');
            payload.name = parts.next().unwrap_or_default().to_ascii_lowercase();
            payload.clock_rate = parts.next().and_then(|rate| rate.parse().ok()).unwrap_or(0);
            payload.channels = parts
                .next()
                .and_then(|channels| channels.parse().ok())
                .unwrap_or(1);
        });
    }

    /// Parses `<pt or *> <feedback>`.
    fn parse_rtcp_fb(&mut self, value: &str) {
        let Some((target, feedback)) = value.split_once(' ') else {
            return;
        };
        let pt: Option<u8> = target.parse().ok();
        for payload in self
            .payloads
            .iter_mut()
            .filter(|payload| target == "*" || pt == Some(payload.pt))
        {
            if payload.feedback.len() < 16 {
                payload.feedback.push(feedback.trim().to_owned());
            }
        }
    }

    fn update_payload(&mut self, value: &str, update: impl FnOnce(&mut PayloadFormat, &str)) {
        let Some((pt, value)) = value.split_once(' ') else {
            return;
        };
        let Ok(pt) = pt.parse::<u8>() else { return };
        if let Some(payload) = self.payloads.iter_mut().find(|payload| payload.pt == pt) {
            update(payload, value);
        }
    }

    /// Parses `<id>[/<direction>] <uri>`.
    fn parse_extmap(&mut self, value: &str) {
        let mut words = value.split(' ');
        let id = words
            .next()
            .and_then(|id| id.split('/').next())
            .and_then(|id| id.parse().ok());
        if let (Some(id), Some(extension)) = (id, words.next().and_then(Extension::from_uri)) {
            self.extensions.set_first(extension, id);
        }
    }

    /// Parses `<rid> send …` (RFC 8851 §4).
    fn parse_rid(&mut self, value: &str) {
        let mut words = value.split(' ');
        let (Some(rid), Some("send")) = (words.next(), words.next()) else {
            return;
        };
        if is_rid(rid) && self.rids.len() < MAX_RIDS && !self.rids.iter().any(|known| known == rid)
        {
            self.rids.push(rid.to_owned());
        }
    }

    /// Parses `send <list> [recv <list>]` (RFC 8853 §5.1): `;` separates streams, `,` alternatives,
    /// `~` marks a paused one.
    fn parse_simulcast(&mut self, value: &str) {
        let mut words = value.split(' ');
        while let (Some(direction), Some(list)) = (words.next(), words.next()) {
            if direction == "send" {
                let first = |stream: &str| {
                    stream
                        .split(',')
                        .next()
                        .unwrap_or_default()
                        .trim_start_matches('~')
                        .to_owned()
                };
                self.simulcast = Some(list.split(';').take(MAX_RIDS).map(first).collect());
            }
        }
    }

    /// Parses `<stream> [<track>]` (RFC 8830 §2); `-` means no stream.
    fn parse_msid(&mut self, value: &str) {
        let mut words = value.split(' ').filter(|word| is_token(word));
        self.stream = words
            .next()
            .filter(|stream| *stream != "-")
            .map(str::to_owned);
        self.track = words.next().map(str::to_owned);
    }

    /// Parses `<ssrc> <attribute>`; its msid applies to the m-section without `a=msid`.
    fn parse_ssrc(&mut self, value: &str) {
        let (ssrc, attribute) = value.split_once(' ').unwrap_or((value, ""));
        let Ok(ssrc) = ssrc.parse().map(Ssrc) else {
            return;
        };
        if !self.ssrcs.contains(&ssrc) && self.ssrcs.len() < MAX_SSRCS {
            self.ssrcs.push(ssrc);
        }
        if let Some(msid) = attribute
            .strip_prefix("msid:")
            .filter(|_| self.stream.is_none())
        {
            self.parse_msid(msid);
        }
    }

    /// Parses `<semantics> <ssrc>…` (RFC 5576 §4.2).
    fn parse_ssrc_group(&mut self, value: &str) {
        let mut words = value.split(' ');
        let semantics = words.next();
        let members: Vec<Ssrc> = words
            .filter_map(|ssrc| ssrc.parse().ok())
            .map(Ssrc)
            .take(MAX_SSRCS)
            .collect();
        match (semantics, members.as_slice()) {
            (Some("FID"), [media, rtx]) if self.fid_groups.len() < MAX_SSRCS => {
                self.fid_groups.push((*media, *rtx));
            }
            (Some("SIM"), _) => self.sim_group = members,
            _ => {}
        }
    }
}

impl From<(usize, &'static str)> for NegotiationError {
    fn from((line, reason): (usize, &'static str)) -> NegotiationError {
        NegotiationError::Malformed { line, reason }
    }
}
