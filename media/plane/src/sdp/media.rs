//! One m-line of a peer's description: what it says, before anyone decides anything.

use super::attributes::{Direction, Payload, TransportLines, is_rid, is_token};
use super::extension::Extension;
use super::{ExtensionIds, MediaKind, NegotiationError};
use crate::ids::Ssrc;

/// Sources read per m-line. Three layers with RTX are six; a description with thousands is no reason to search thousands.
const MAX_SOURCES: usize = 32;

/// Layers read per m-line, whatever is used of them.
const MAX_RIDS: usize = 16;

/// An m-line and its attributes.
#[derive(Clone, Debug)]
pub(super) struct Media {
    pub(super) mid: String,
    /// Whether the peer wrote the mid, or we counted.
    pub(super) has_mid: bool,
    /// `None` for what we do not relay: data channels, text.
    pub(super) kind: Option<MediaKind>,
    /// The m-line's first, third and further words, to reject it with.
    pub(super) media: String,
    pub(super) protocol: String,
    pub(super) formats: String,
    /// Port 0 without bundle-only: the peer itself has no use for it.
    pub(super) is_rejected: bool,
    pub(super) direction: Direction,
    /// In the m-line's order, the peer's preference.
    pub(super) payloads: Vec<Payload>,
    pub(super) extensions: ExtensionIds,
    /// RIDs that it sends, in the order of `a=simulcast`, else of `a=rid`.
    pub(super) rids: Vec<String>,
    pub(super) stream: Option<String>,
    pub(super) track: Option<String>,
    pub(super) sources: Vec<Ssrc>,
    /// FID groups: media source, retransmission source.
    pub(super) retransmissions: Vec<(Ssrc, Ssrc)>,
    /// The SIM group: layers of old-style simulcast.
    pub(super) layers: Vec<Ssrc>,
    pub(super) has_rtcp_mux: bool,
    pub(super) ptime: Option<u16>,
    pub(super) transport: TransportLines,
    simulcast: Option<Vec<String>>,
    bundle_only: bool,
    port: u32,
}

impl Media {
    /// Reads `<media> <port>[/n] <protocol> <formats>` (RFC 8866 §5.14).
    pub(super) fn parse(
        value: &str,
        index: usize,
        default: Direction,
    ) -> Result<Media, &'static str> {
        let mut words = value.splitn(4, ' ');
        let (Some(media), Some(port), Some(protocol)) = (words.next(), words.next(), words.next())
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
        let kind = match media {
            "audio" if is_rtp => Some(MediaKind::Audio),
            "video" if is_rtp => Some(MediaKind::Video),
            _ => None,
        };
        let pts = formats
            .split(' ')
            .filter_map(|pt| pt.parse().ok())
            .filter(|pt| *pt < 128);
        let mut payloads: Vec<Payload> = Vec::new();
        for pt in pts.filter(|_| kind.is_some()) {
            if payloads.iter().all(|payload| payload.pt != pt) {
                payloads.push(Payload {
                    pt,
                    ..Payload::default()
                });
            }
        }
        Ok(Media {
            mid: index.to_string(),
            has_mid: false,
            kind,
            media: media.to_owned(),
            protocol: protocol.to_owned(),
            formats: formats.to_owned(),
            is_rejected: port == 0,
            direction: default,
            payloads,
            extensions: ExtensionIds::default(),
            rids: Vec::new(),
            stream: None,
            track: None,
            sources: Vec::new(),
            retransmissions: Vec::new(),
            layers: Vec::new(),
            has_rtcp_mux: false,
            ptime: None,
            transport: TransportLines::default(),
            simulcast: None,
            bundle_only: false,
            port,
        })
    }

    /// Takes up one attribute; unknown ones are ignored (RFC 8866 §6).
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let Some((name, value)) = self.transport.take(name, value) else {
            return Ok(());
        };
        match name {
            "mid" => self.take_mid(value)?,
            "rtpmap" => self.take_rtpmap(value),
            "fmtp" => self.take_for_payload(value, |payload, value| {
                payload.parameters = value.to_owned()
            }),
            "rtcp-fb" => self.take_feedback(value),
            "extmap" => self.take_extension(value),
            "rid" => self.take_rid(value),
            "simulcast" => self.take_simulcast(value),
            "msid" => self.take_msid(value),
            "ssrc" => self.take_source(value),
            "ssrc-group" => self.take_group(value),
            "rtcp-mux" | "rtcp-mux-only" => self.has_rtcp_mux = true,
            "bundle-only" => self.bundle_only = true,
            "ptime" => self.ptime = value.parse().ok(),
            _ => self.direction = Direction::parse(name).unwrap_or(self.direction),
        }
        Ok(())
    }

    /// What was said about a payload type.
    pub(super) fn payload(&self, pt: u8) -> Option<&Payload> {
        self.payloads.iter().find(|payload| payload.pt == pt)
    }

    /// Draws the conclusions that need all attributes.
    pub(super) fn finish(mut self) -> Media {
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

    fn take_mid(&mut self, value: &str) -> Result<(), &'static str> {
        if !is_token(value) || value.len() > 32 {
            return Err("a mid is a short token");
        }
        (self.mid, self.has_mid) = (value.to_owned(), true);
        Ok(())
    }

    /// `<pt> <name>/<clock rate>[/<channels>]`.
    fn take_rtpmap(&mut self, value: &str) {
        self.take_for_payload(value, |payload, value| {
            let mut parts = value.trim().split('/');
            payload.name = parts.next().unwrap_or_default().to_ascii_lowercase();
            payload.clock_rate = parts.next().and_then(|rate| rate.parse().ok()).unwrap_or(0);
            payload.channels = parts
                .next()
                .and_then(|channels| channels.parse().ok())
                .unwrap_or(1);
        });
    }

    /// `<pt or *> <feedback>`.
    fn take_feedback(&mut self, value: &str) {
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

    fn take_for_payload(&mut self, value: &str, take: impl FnOnce(&mut Payload, &str)) {
        let Some((pt, value)) = value.split_once(' ') else {
            return;
        };
        let Ok(pt) = pt.parse::<u8>() else { return };
        if let Some(payload) = self.payloads.iter_mut().find(|payload| payload.pt == pt) {
            take(payload, value);
        }
    }

    /// `<id>[/<direction>] <uri>`.
    fn take_extension(&mut self, value: &str) {
        let mut words = value.split(' ');
        let id = words
            .next()
            .and_then(|id| id.split('/').next())
            .and_then(|id| id.parse().ok());
        if let (Some(id), Some(extension)) = (id, words.next().and_then(Extension::from_uri)) {
            self.extensions.offer(extension, id);
        }
    }

    /// `<rid> send …` (RFC 8851 §4). An id must fit the one-byte header extension that carries it.
    fn take_rid(&mut self, value: &str) {
        let mut words = value.split(' ');
        let (Some(rid), Some("send")) = (words.next(), words.next()) else {
            return;
        };
        if is_rid(rid) && self.rids.len() < MAX_RIDS && !self.rids.iter().any(|known| known == rid)
        {
            self.rids.push(rid.to_owned());
        }
    }

    /// `send <list> [recv <list>]`: streams apart by `;`, alternatives by `,`, paused with `~` (RFC 8853 §5.1).
    fn take_simulcast(&mut self, value: &str) {
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

    /// `<stream> [<track>]` (RFC 8830 §2); `-` is no stream.
    fn take_msid(&mut self, value: &str) {
        let mut words = value.split(' ').filter(|word| is_token(word));
        self.stream = words
            .next()
            .filter(|stream| *stream != "-")
            .map(str::to_owned);
        self.track = words.next().map(str::to_owned);
    }

    /// `<ssrc> <attribute>`; its msid speaks for the m-line when there is no `a=msid`.
    fn take_source(&mut self, value: &str) {
        let (ssrc, attribute) = value.split_once(' ').unwrap_or((value, ""));
        let Ok(ssrc) = ssrc.parse().map(Ssrc) else {
            return;
        };
        if !self.sources.contains(&ssrc) && self.sources.len() < MAX_SOURCES {
            self.sources.push(ssrc);
        }
        if let Some(msid) = attribute
            .strip_prefix("msid:")
            .filter(|_| self.stream.is_none())
        {
            self.take_msid(msid);
        }
    }

    /// `<semantics> <ssrc>…` (RFC 5576 §4.2).
    fn take_group(&mut self, value: &str) {
        let mut words = value.split(' ');
        let semantics = words.next();
        let members: Vec<Ssrc> = words
            .filter_map(|ssrc| ssrc.parse().ok())
            .map(Ssrc)
            .take(MAX_SOURCES)
            .collect();
        match (semantics, members.as_slice()) {
            (Some("FID"), [media, rtx]) if self.retransmissions.len() < MAX_SOURCES => {
                self.retransmissions.push((*media, *rtx));
            }
            (Some("SIM"), _) => self.layers = members,
            _ => {}
        }
    }
}

impl From<(usize, &'static str)> for NegotiationError {
    fn from((line, reason): (usize, &'static str)) -> NegotiationError {
        NegotiationError::Malformed { line, reason }
    }
}
