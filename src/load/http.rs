//! WHIP and WHEP as a client, and the descriptions that go with them.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use reqwest::header::{self, HeaderValue};
use reqwest::{StatusCode, Url};

use super::endpoint::Credentials;
use super::picture::PROFILE_LEVEL_ID;
use super::{Args, Failure};

/// Longer than any server takes that is still worth measuring.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Payload types and the transport-wide number's id in our offers.
const H264: u8 = 96;
const H264_RTX: u8 = 97;
const TRANSPORT_CC: u8 = 3;
const TRANSPORT_CC_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// The server's side of the connection, read from its answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub ice: Credentials,
    pub fingerprint: String,
    /// The server is the DTLS client.
    pub active: bool,
    pub candidate: SocketAddrV4,
    /// Payload type of the retransmissions, when the server takes them.
    pub rtx: Option<u8>,
    /// The id of the transport-wide number, when the server takes it.
    pub transport_cc: Option<u8>,
}

impl Answer {
    pub const PAYLOAD_TYPE: u8 = H264;
}

/// A session to be deleted in the end.
pub struct Exchange {
    location: Option<Url>,
    token: Option<String>,
}

pub struct Signalling {
    client: reqwest::Client,
}

impl Signalling {
    pub fn new(args: &Args) -> Result<Signalling, Failure> {
        let builder = reqwest::Client::builder().timeout(TIMEOUT).danger_accept_invalid_certs(args.insecure);
        Ok(Signalling { client: builder.build()? })
    }

    /// Posts an offer; the session and the answer.
    pub async fn begin(&self, url: &str, token: Option<&str>, offer: String) -> Result<(Exchange, Answer), Failure> {
        let url = Url::parse(url)?;
        let mut request = self.client.post(url.clone()).header(header::CONTENT_TYPE, "application/sdp").body(offer);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
        let status = response.status();
        let location = response.headers().get(header::LOCATION).and_then(|value| join(&url, value));
        let body = response.text().await?;
        if status != StatusCode::CREATED {
            return Err(format!("{url} answered {status}: {}", body.chars().take(300).collect::<String>()).into());
        }
        let answer = read_answer(&body, &url)?;
        Ok((Exchange { location, token: token.map(str::to_owned) }, answer))
    }

    /// Ends every session (RFC 9725 §4.2). A server that does not care is no failure of the measurement.
    pub async fn leave(&self, sessions: Vec<Exchange>) {
        for Exchange { location, token } in sessions {
            let Some(url) = location else { continue };
            let mut request = self.client.delete(url);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let _ = request.send().await;
        }
    }
}

fn join(url: &Url, location: &HeaderValue) -> Option<Url> {
    url.join(location.to_str().ok()?).ok()
}

/// One video section, sent.
pub fn offer_publisher(local: &Credentials, fingerprint: &str, candidate: &SocketAddr, ssrc: u32) -> String {
    let rtx = rtx_ssrc(ssrc);
    let sources = format!(
        "a=sendonly\r\na=msid:load video\r\na=ssrc-group:FID {ssrc} {rtx}\r\na=ssrc:{ssrc} cname:load\r\na=ssrc:{ssrc} msid:load video\r\n\
         a=ssrc:{rtx} cname:load\r\na=ssrc:{rtx} msid:load video\r\n"
    );
    offer(local, fingerprint, candidate, &sources)
}

/// One video section, received.
pub fn offer_subscriber(local: &Credentials, fingerprint: &str, candidate: &SocketAddr) -> String {
    offer(local, fingerprint, candidate, "a=recvonly\r\n")
}

/// The source of a publisher's retransmissions.
pub fn rtx_ssrc(ssrc: u32) -> u32 {
    ssrc ^ 1
}

fn offer(local: &Credentials, fingerprint: &str, candidate: &SocketAddr, direction: &str) -> String {
    let (ip, port) = (candidate.ip(), candidate.port());
    let Credentials { ufrag, pwd } = local;
    format!(
        "v=0\r\no=- {session} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=msid-semantic: WMS *\r\n\
         m=video {port} UDP/TLS/RTP/SAVPF {H264} {H264_RTX}\r\nc=IN IP4 {ip}\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
         a=candidate:1 1 udp 2130706431 {ip} {port} typ host\r\na=end-of-candidates\r\n\
         a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=mid:0\r\n\
         a=extmap:{TRANSPORT_CC} {TRANSPORT_CC_URI}\r\n{direction}a=rtcp-mux\r\na=rtcp-rsize\r\n\
         a=rtpmap:{H264} H264/90000\r\na=rtcp-fb:{H264} transport-cc\r\na=rtcp-fb:{H264} nack\r\na=rtcp-fb:{H264} nack pli\r\n\
         a=rtcp-fb:{H264} ccm fir\r\na=fmtp:{H264} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={PROFILE_LEVEL_ID}\r\n\
         a=rtpmap:{H264_RTX} rtx/90000\r\na=fmtp:{H264_RTX} apt={H264}\r\n",
        session = rand::random::<u32>(),
    )
}

fn read_answer(sdp: &str, url: &Url) -> Result<Answer, Failure> {
    let line = |prefix: &str| sdp.lines().find_map(|line| line.trim_end().strip_prefix(prefix)).map(str::to_owned);
    let must = |prefix: &str| line(prefix).ok_or_else(|| format!("the answer has no {prefix}"));
    if !sdp.lines().any(|line| line.starts_with("a=rtpmap:96 ")) {
        return Err("the server does not take H264".into());
    }
    Ok(Answer {
        ice: Credentials { ufrag: must("a=ice-ufrag:")?, pwd: must("a=ice-pwd:")? },
        fingerprint: must("a=fingerprint:sha-256 ")?,
        active: line("a=setup:").as_deref() == Some("active"),
        candidate: candidate(sdp, url).ok_or("the answer has no UDP candidate over IPv4")?,
        rtx: line(&format!("a=fmtp:{H264_RTX} apt=")).map(|_| H264_RTX),
        transport_cc: sdp.lines().any(|line| line.contains(TRANSPORT_CC_URI)).then_some(TRANSPORT_CC),
    })
}

/// The candidate on the very host that we asked, else the first.
fn candidate(sdp: &str, url: &Url) -> Option<SocketAddrV4> {
    let candidates: Vec<SocketAddrV4> = sdp.lines().filter_map(read_candidate).collect();
    let asked: Option<Ipv4Addr> = url.host_str().and_then(|host| host.parse().ok());
    candidates.iter().find(|candidate| Some(*candidate.ip()) == asked).or(candidates.first()).copied()
}

/// `a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host` (RFC 8839 §5.1), if it is over UDP and IPv4.
fn read_candidate(line: &str) -> Option<SocketAddrV4> {
    let fields: Vec<&str> = line.trim_end().strip_prefix("a=candidate:")?.split(' ').collect();
    let [_, component, transport, _, ip, port, ..] = fields[..] else { return None };
    let usable = component == "1" && transport.eq_ignore_ascii_case("udp");
    usable.then_some(SocketAddrV4::new(ip.parse().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_of_the_host_that_was_asked_comes_first() {
        let sdp = "a=candidate:1 1 tcp 9 10.0.0.1 9 typ host tcptype passive\r\na=candidate:2 1 UDP 8 10.0.0.1 8189 typ host\r\n\
                   a=candidate:3 1 udp 7 127.0.0.1 8189 typ host\r\na=candidate:4 1 udp 7 ::1 8189 typ host\r\n";
        let of = |url| candidate(sdp, &Url::parse(url).unwrap()).unwrap().to_string();
        assert_eq!(of("http://127.0.0.1/whip"), "127.0.0.1:8189");
        assert_eq!(of("http://school.example/whip"), "10.0.0.1:8189");
    }

    #[test]
    fn an_answer_is_read_and_a_refused_codec_is_told() {
        let url = Url::parse("http://127.0.0.1/").unwrap();
        let sdp = "a=rtpmap:96 H264/90000\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AA:BB\r\na=setup:passive\r\n\
                   a=candidate:1 1 udp 1 127.0.0.1 5 typ host\r\n";
        let answer = read_answer(sdp, &url).unwrap();
        assert_eq!((answer.active, answer.rtx, answer.transport_cc), (false, None, None));
        assert!(read_answer("v=0\r\n", &url).is_err());
    }
}
