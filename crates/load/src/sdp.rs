//! SDP: offers of the clients, and parsing of the server's answer.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use reqwest::Url;

use super::Failure;
use super::args::MAX_LAYERS;
use super::endpoint::Credentials;
use super::h264::PROFILE_LEVEL_ID;

/// Payload types of our offers.
const H264: u8 = 96;
const H264_RTX: u8 = 97;

/// RIDs, lowest layer first, as in libwebrtc: quarter, half and full size.
pub(crate) const RIDS: [&str; MAX_LAYERS] = ["q", "h", "f"];

/// Identification tag of the only media section.
pub(crate) const MID: &str = "0";

/// RTP header extension: id in our offers, and URI.
struct Extension {
    id: u8,
    uri: &'static str,
}

const TRANSPORT_CC: Extension = Extension {
    id: 3,
    uri: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
};
/// MID (RFC 8843 §15); RID and repaired RID are of RFC 8852 §4.
const MID_EXTENSION: Extension = Extension {
    id: 4,
    uri: "urn:ietf:params:rtp-hdrext:sdes:mid",
};
const RID: Extension = Extension {
    id: 10,
    uri: "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
};
const REPAIRED_RID: Extension = Extension {
    id: 11,
    uri: "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
};

/// The server's answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub ice: Credentials,
    pub fingerprint: String,
    /// True if the server is the DTLS client.
    pub active: bool,
    /// Candidates, most likely first; never empty.
    pub candidates: Vec<SocketAddrV4>,
    /// Payload type of RTX, if accepted.
    pub rtx: Option<u8>,
    /// Id of the transport-wide sequence number extension, if accepted.
    pub transport_cc: Option<u8>,
    /// Accepted layers, lowest first; empty without simulcast.
    pub layers: Vec<usize>,
    /// Ids of the extensions that identify the layer of a packet, if accepted.
    pub mid: Option<u8>,
    pub rid: Option<u8>,
    pub repaired_rid: Option<u8>,
}

impl Answer {
    pub(crate) const PAYLOAD_TYPE: u8 = H264;
}

/// Common parts of all offers.
pub(crate) struct Offer<'a> {
    pub local: &'a Credentials,
    pub fingerprint: &'a str,
    pub candidate: SocketAddr,
}

impl Offer<'_> {
    /// Offer with one sending video section, one layer per SSRC. Simulcast is by RID (RFC 8853),
    /// without SSRCs.
    pub(crate) fn publisher(&self, ssrcs: &[u32]) -> String {
        match ssrcs {
            [ssrc] => self.write(&single_layer(*ssrc)),
            _ => self.write(&simulcast(ssrcs.len())),
        }
    }

    /// Offer with one receiving video section.
    pub(crate) fn subscriber(&self) -> String {
        self.write("a=recvonly\r\n")
    }

    fn write(&self, direction: &str) -> String {
        let (ip, port) = (self.candidate.ip(), self.candidate.port());
        let Credentials { ufrag, pwd } = self.local;
        format!(
            "v=0\r\no=- {session} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {MID}\r\na=msid-semantic: WMS *\r\n\
             m=video {port} UDP/TLS/RTP/SAVPF {H264} {H264_RTX}\r\nc=IN IP4 {ip}\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=candidate:1 1 udp 2130706431 {ip} {port} typ host\r\na=end-of-candidates\r\n\
             a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=mid:{MID}\r\n\
             {transport_cc}{direction}a=rtcp-mux\r\na=rtcp-rsize\r\n\
             a=rtpmap:{H264} H264/90000\r\na=rtcp-fb:{H264} transport-cc\r\na=rtcp-fb:{H264} nack\r\na=rtcp-fb:{H264} nack pli\r\n\
             a=rtcp-fb:{H264} ccm fir\r\na=fmtp:{H264} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={PROFILE_LEVEL_ID}\r\n\
             a=rtpmap:{H264_RTX} rtx/90000\r\na=fmtp:{H264_RTX} apt={H264}\r\n",
            session = rand::random::<u32>(),
            fingerprint = self.fingerprint,
            transport_cc = TRANSPORT_CC.line(),
        )
    }
}

impl Extension {
    fn line(&self) -> String {
        format!("a=extmap:{} {}\r\n", self.id, self.uri)
    }

    /// Id of the extension if the answer accepts it.
    fn id_in(&self, sdp: &str) -> Option<u8> {
        let takes =
            |line: &str| line.starts_with("a=extmap:") && line.trim_end().ends_with(self.uri);
        sdp.lines().any(takes).then_some(self.id)
    }
}

fn single_layer(ssrc: u32) -> String {
    let rtx = rtx_ssrc(ssrc);
    format!(
        "a=sendonly\r\na=msid:load video\r\na=ssrc-group:FID {ssrc} {rtx}\r\na=ssrc:{ssrc} cname:load\r\na=ssrc:{ssrc} msid:load video\r\n\
         a=ssrc:{rtx} cname:load\r\na=ssrc:{rtx} msid:load video\r\n"
    )
}

fn simulcast(layers: usize) -> String {
    let rids = &RIDS[RIDS.len() - layers..];
    let extensions = [MID_EXTENSION, RID, REPAIRED_RID]
        .map(|extension| extension.line())
        .concat();
    let lines: String = rids
        .iter()
        .map(|rid| format!("a=rid:{rid} send\r\n"))
        .collect();
    format!(
        "a=sendonly\r\na=msid:load video\r\n{extensions}{lines}a=simulcast:send {}\r\n",
        rids.join(";")
    )
}

/// SSRC of the RTX stream of a media stream.
pub(crate) fn rtx_ssrc(ssrc: u32) -> u32 {
    ssrc ^ 1
}

/// Parses an answer. Candidates on the host of `url` come first.
pub(crate) fn parse_answer(sdp: &str, url: &Url) -> Result<Answer, Failure> {
    let find = |prefix: &str| {
        sdp.lines()
            .find_map(|line| line.trim_end().strip_prefix(prefix))
            .map(str::to_owned)
    };
    let require = |prefix: &str| find(prefix).ok_or_else(|| format!("the answer has no {prefix}"));
    if find(&format!("a=rtpmap:{H264} ")).is_none() {
        return Err("the server does not take H264".into());
    }
    let candidates = candidates(sdp, url);
    if candidates.is_empty() {
        return Err("the answer has no UDP candidate over IPv4".into());
    }
    Ok(Answer {
        ice: Credentials {
            ufrag: require("a=ice-ufrag:")?,
            pwd: require("a=ice-pwd:")?,
        },
        fingerprint: require("a=fingerprint:sha-256 ")?,
        active: find("a=setup:").as_deref() == Some("active"),
        candidates,
        rtx: find(&format!("a=fmtp:{H264_RTX} apt=")).map(|_| H264_RTX),
        transport_cc: TRANSPORT_CC.id_in(sdp),
        layers: find("a=simulcast:recv ")
            .map(|rids| layers(&rids))
            .unwrap_or_default(),
        mid: MID_EXTENSION.id_in(sdp),
        rid: RID.id_in(sdp),
        repaired_rid: REPAIRED_RID.id_in(sdp),
    })
}

/// Parses the layers of `a=simulcast` (RFC 8853 §5.1): streams by `;`, alternatives by `,`, paused
/// ones with `~`.
fn layers(rids: &str) -> Vec<usize> {
    let is_listed = |rid: &&str| rids.split([';', ',', ' ']).any(|taken| taken == *rid);
    RIDS.iter()
        .enumerate()
        .filter(|(_, rid)| is_listed(rid))
        .map(|(layer, _)| layer)
        .collect()
}

/// UDP candidates over IPv4, those on the host of `url` first.
fn candidates(sdp: &str, url: &Url) -> Vec<SocketAddrV4> {
    let mut candidates: Vec<SocketAddrV4> = sdp.lines().filter_map(parse_candidate).collect();
    let asked: Option<Ipv4Addr> = url.host_str().and_then(|host| host.parse().ok());
    candidates.sort_by_key(|candidate| Some(*candidate.ip()) != asked);
    candidates
}

/// Parses `a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host` (RFC 8839 §5.1); `None` unless
/// it is UDP over IPv4.
fn parse_candidate(line: &str) -> Option<SocketAddrV4> {
    let fields: Vec<&str> = line
        .trim_end()
        .strip_prefix("a=candidate:")?
        .split(' ')
        .collect();
    let [_, component, transport, _, ip, port, ..] = fields[..] else {
        return None;
    };
    let usable = component == "1" && transport.eq_ignore_ascii_case("udp");
    usable.then_some(SocketAddrV4::new(ip.parse().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "a=rtpmap:96 H264/90000\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AA:BB\r\na=setup:passive\r\n\
                         a=candidate:1 1 udp 1 127.0.0.1 5 typ host\r\n";

    fn read(sdp: &str) -> Result<Answer, Failure> {
        parse_answer(sdp, &Url::parse("http://127.0.0.1/").unwrap())
    }

    #[test]
    fn candidates_on_the_requested_host_come_first() {
        let sdp = "a=candidate:1 1 tcp 9 10.0.0.1 9 typ host tcptype passive\r\na=candidate:2 1 UDP 8 10.0.0.1 8189 typ host\r\n\
                   a=candidate:3 1 udp 7 127.0.0.1 8189 typ host\r\na=candidate:4 1 udp 7 ::1 8189 typ host\r\n";
        let of = |url| {
            candidates(sdp, &Url::parse(url).unwrap())
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("http://127.0.0.1/whip"),
            ["127.0.0.1:8189", "10.0.0.1:8189"]
        );
        assert_eq!(
            of("http://school.example/whip"),
            ["10.0.0.1:8189", "127.0.0.1:8189"]
        );
    }

    #[test]
    fn an_answer_is_parsed_and_a_rejected_codec_is_an_error() {
        let answer = read(PLAIN).unwrap();
        assert_eq!(
            (answer.active, answer.rtx, answer.transport_cc, answer.rid),
            (false, None, None, None)
        );
        assert!(answer.layers.is_empty());
        assert!(read("v=0\r\n").is_err());
    }

    #[test]
    fn accepted_layers_are_parsed_from_the_answer() {
        let simulcast = "a=simulcast:recv h;~f\r\na=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n";
        let answer = read(&format!("{PLAIN}{simulcast}")).unwrap();
        assert_eq!(
            (answer.layers, answer.rid, answer.mid),
            (vec![1], Some(10), None),
            "a paused layer is not sent"
        );
    }

    #[test]
    fn one_layer_is_offered_by_ssrc_and_several_by_rid() {
        let local = Credentials {
            ufrag: "u".into(),
            pwd: "p".into(),
        };
        let offer = Offer {
            local: &local,
            fingerprint: "AA",
            candidate: "127.0.0.1:9".parse().unwrap(),
        };
        assert!(offer.publisher(&[8]).contains("a=ssrc-group:FID 8 9\r\n"));
        let two = offer.publisher(&[8, 10]);
        assert!(
            two.contains("a=rid:h send\r\na=rid:f send\r\na=simulcast:send h;f\r\n")
                && !two.contains("a=ssrc")
        );
    }
}
