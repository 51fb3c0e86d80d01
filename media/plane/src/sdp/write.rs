//! Writing descriptions: the lines that all of ours have in common.

use std::fmt::{Display, Write};
use std::net::SocketAddr;

use super::extension::Extension;
use super::media::Media;
use super::{ExtensionIds, LocalParameters, Outgoing};

/// The text of a description in the making.
pub(super) struct Writer(String);

impl Writer {
    /// Begins a description of ours: ICE-lite, one BUNDLE group. The session id says nothing; the version grows (RFC 8866 §5.2).
    pub(super) fn session(version: u64, mids: &[&str]) -> Writer {
        let mut writer = Writer(String::with_capacity(4096));
        writer.line("v=0");
        writer.line(format_args!("o=- 1 {version} IN IP4 0.0.0.0"));
        writer.line("s=-");
        writer.line("t=0 0");
        if !mids.is_empty() {
            writer.line(format_args!("a=group:BUNDLE {}", mids.join(" ")));
        }
        writer.line("a=msid-semantic: WMS *");
        writer.line("a=ice-lite");
        writer
    }

    /// Begins a fragment: no session lines but ICE-lite.
    pub(super) fn fragment() -> Writer {
        let mut writer = Writer(String::with_capacity(512));
        writer.line("a=ice-lite");
        writer
    }

    pub(super) fn line(&mut self, line: impl Display) {
        write!(self.0, "{line}\r\n").expect("a String takes every text");
    }

    /// The m-line and what every m-line of ours says about the transport.
    pub(super) fn media(
        &mut self,
        local: &LocalParameters<'_>,
        medium: &str,
        pts: &[u8],
        mid: Option<&str>,
        setup: &str,
    ) {
        let default = local.candidates.first();
        let port = default.map_or(9, SocketAddr::port);
        let pts: Vec<String> = pts.iter().map(u8::to_string).collect();
        self.line(format_args!(
            "m={medium} {port} UDP/TLS/RTP/SAVPF {}",
            pts.join(" ")
        ));
        match default {
            Some(SocketAddr::V4(address)) => self.line(format_args!("c=IN IP4 {}", address.ip())),
            Some(SocketAddr::V6(address)) => self.line(format_args!("c=IN IP6 {}", address.ip())),
            None => self.line("c=IN IP4 0.0.0.0"),
        }
        if let Some(mid) = mid {
            self.line(format_args!("a=mid:{mid}"));
        }
        self.ice(local);
        self.line(format_args!("a=fingerprint:sha-256 {}", local.fingerprint));
        self.line(format_args!("a=setup:{setup}"));
        self.line("a=rtcp-mux");
        self.line("a=rtcp-rsize");
    }

    /// Credentials and all candidates: a lite agent knows them from the start (RFC 8839 §4, RFC 8445 §5.1.2).
    pub(super) fn ice(&mut self, local: &LocalParameters<'_>) {
        self.line(format_args!("a=ice-ufrag:{}", local.ice.ufrag));
        self.line(format_args!("a=ice-pwd:{}", local.ice.pwd));
        let mut foundation = 0;
        for (index, address) in local.candidates.iter().enumerate() {
            foundation += 1;
            let priority = priority(UDP_HOST_PREFERENCE, 65_535 - index.min(65_535) as u32);
            let (ip, port) = (address.ip(), address.port());
            self.line(format_args!(
                "a=candidate:{foundation} 1 udp {priority} {ip} {port} typ host"
            ));
        }
        for (index, address) in local.tcp_candidates.iter().enumerate() {
            foundation += 1;
            let priority = priority(
                TCP_HOST_PREFERENCE,
                TCP_PASSIVE + 8_191 - index.min(8_191) as u32,
            );
            let (ip, port) = (address.ip(), address.port());
            self.line(format_args!(
                "a=candidate:{foundation} 1 tcp {priority} {ip} {port} typ host tcptype passive"
            ));
        }
        self.line("a=end-of-candidates");
    }

    pub(super) fn extensions(&mut self, ids: &ExtensionIds) {
        for extension in Extension::ALL {
            if let Some(id) = ids.get(extension) {
                self.line(format_args!("a=extmap:{id} {}", extension.uri()));
            }
        }
    }

    /// A payload type; `parameters` may be empty.
    pub(super) fn payload(
        &mut self,
        pt: u8,
        encoding: impl Display,
        feedback: &[&str],
        parameters: &str,
    ) {
        self.line(format_args!("a=rtpmap:{pt} {encoding}"));
        for kind in feedback {
            self.line(format_args!("a=rtcp-fb:{pt} {kind}"));
        }
        if !parameters.is_empty() {
            self.line(format_args!("a=fmtp:{pt} {parameters}"));
        }
    }

    /// What we send: stream, track, source and, where there is retransmission, its source (RFC 8830, RFC 5576).
    pub(super) fn outgoing(&mut self, outgoing: &Outgoing, has_rtx: bool) {
        let Outgoing {
            ssrc,
            rtx_ssrc,
            stream,
            track,
        } = outgoing;
        self.line(format_args!("a=msid:{stream} {track}"));
        if has_rtx {
            self.line(format_args!("a=ssrc-group:FID {} {}", ssrc.0, rtx_ssrc.0));
        }
        // One CNAME per stream: sources that share it are played in sync (RFC 8834 §4.9).
        self.line(format_args!("a=ssrc:{} cname:{stream}", ssrc.0));
        self.line(format_args!("a=ssrc:{} msid:{stream} {track}", ssrc.0));
        if has_rtx {
            self.line(format_args!("a=ssrc:{} cname:{stream}", rtx_ssrc.0));
            self.line(format_args!("a=ssrc:{} msid:{stream} {track}", rtx_ssrc.0));
        }
    }

    /// Refuses an m-line in its place (RFC 3264 §6).
    pub(super) fn reject(&mut self, media: &Media) {
        self.line(format_args!(
            "m={} 0 {} {}",
            media.media, media.protocol, media.formats
        ));
        self.line("c=IN IP4 0.0.0.0");
        if media.has_mid {
            self.line(format_args!("a=mid:{}", media.mid));
        }
        self.line("a=inactive");
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// RFC 8445 §5.1.2.2 recommends 126 for host candidates.
const UDP_HOST_PREFERENCE: u32 = 126;

/// RFC 6544 §4.2: below UDP, so that TCP is used only where UDP does not pass.
const TCP_HOST_PREFERENCE: u32 = 90;

/// RFC 6544 §4.2: the direction preference of a passive host candidate, 4, in the upper three bits of the local preference.
const TCP_PASSIVE: u32 = 4 << 13;

/// RFC 8445 §5.1.2.1 for component 1.
fn priority(type_preference: u32, local_preference: u32) -> u32 {
    type_preference << 24 | local_preference << 8 | (256 - 1)
}
