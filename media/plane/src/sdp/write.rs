//! Writer of descriptions: lines common to offers, answers and fragments.

use std::fmt::{Display, Write};
use std::net::SocketAddr;

use super::extension::Extension;
use super::media_section::MediaSection;
use super::{ExtensionIds, LocalParameters, OutgoingStream};

/// Text of a description under construction.
pub(super) struct Writer(String);

impl Writer {
    /// Begins a description: ICE-lite, one BUNDLE group. The session ID is constant; the version
    /// grows with each offer (RFC 8866 §5.2).
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

    /// Begins a fragment, which has no session lines except ICE-lite.
    pub(super) fn fragment() -> Writer {
        let mut writer = Writer(String::with_capacity(512));
        writer.line("a=ice-lite");
        writer
    }

    pub(super) fn line(&mut self, line: impl Display) {
        write!(self.0, "{line}\r\n").expect("a String takes every text");
    }

    /// Writes the m-line and the transport attributes of an m-section.
    pub(super) fn media(
        &mut self,
        local: &LocalParameters<'_>,
        media_type: &str,
        pts: &[u8],
        mid: Option<&str>,
        setup: &str,
    ) {
        let default = local.candidates.first();
        let port = default.map_or(9, SocketAddr::port);
        let pts: Vec<String> = pts.iter().map(u8::to_string).collect();
        self.line(format_args!(
            "m={media_type} {port} UDP/TLS/RTP/SAVPF {}",
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

    /// Writes the credentials and all candidates; an ICE-lite agent knows them from the start (RFC
    /// 8839 §4, RFC 8445 §5.1.2).
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

    /// Writes the attributes of a payload type; `parameters` can be empty.
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

    /// Writes stream, track and SSRCs of the sent stream (RFC 8830, RFC 5576).
    pub(super) fn outgoing(&mut self, outgoing: &OutgoingStream, has_rtx: bool) {
        let OutgoingStream {
            ssrc,
            rtx_ssrc,
            stream,
            track,
        } = outgoing;
        self.line(format_args!("a=msid:{stream} {track}"));
        if has_rtx {
            self.line(format_args!("a=ssrc-group:FID {} {}", ssrc.0, rtx_ssrc.0));
        }
        // One CNAME per stream: receivers synchronize SSRCs with the same CNAME (RFC 8834 §4.9).
        self.line(format_args!("a=ssrc:{} cname:{stream}", ssrc.0));
        self.line(format_args!("a=ssrc:{} msid:{stream} {track}", ssrc.0));
        if has_rtx {
            self.line(format_args!("a=ssrc:{} cname:{stream}", rtx_ssrc.0));
            self.line(format_args!("a=ssrc:{} msid:{stream} {track}", rtx_ssrc.0));
        }
    }

    /// Writes a rejected m-section (RFC 3264 §6).
    pub(super) fn reject(&mut self, media: &MediaSection) {
        self.line(format_args!(
            "m={} 0 {} {}",
            media.media_type, media.protocol, media.formats
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

/// Type preference of UDP host candidates, recommended by RFC 8445 §5.1.2.2.
const UDP_HOST_PREFERENCE: u32 = 126;

/// Type preference of TCP host candidates: below UDP, so that TCP is used only if UDP is blocked
/// (RFC 6544 §4.2).
const TCP_HOST_PREFERENCE: u32 = 90;

/// Direction preference of a passive host candidate, 4, in the upper three bits of the local
/// preference (RFC 6544 §4.2).
const TCP_PASSIVE: u32 = 4 << 13;

/// Candidate priority of component 1 (RFC 8445 §5.1.2.1).
fn priority(type_preference: u32, local_preference: u32) -> u32 {
    type_preference << 24 | local_preference << 8 | (256 - 1)
}
