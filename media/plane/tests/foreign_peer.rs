//! Complete path with a foreign WebRTC stack (`rtc`, sans-IO) in virtual time: its SDP, ICE, DTLS
//! and SRTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_VP8, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, RTCDtlsRole, RTCIceCandidate,
};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use tongke_plane::ids::Ssrc;
use tongke_plane::sdp::{
    self, Codec, LocalParameters, MediaKind, OfferedSlot, OutgoingStream, payload_types,
};
use tongke_plane::transport::srtp::MAX_TRAILER;
use tongke_plane::transport::{
    CloseReason, IceCredentials, Identity, Output, Path, SrtpSession, Transport,
};

const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
const CM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
const THEIR_SSRC: u32 = 0x1122_3344;

fn server_address() -> SocketAddr {
    "10.0.0.1:8189".parse().expect("a good address")
}

fn client_address() -> SocketAddr {
    "10.0.0.9:5000".parse().expect("a good address")
}

#[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
fn start_of_time() -> Instant {
    Instant::now()
}

fn vp8() -> RTCRtpCodecParameters {
    let rtp_codec = RTCRtpCodec {
        mime_type: MIME_TYPE_VP8.to_owned(),
        clock_rate: 90_000,
        ..Default::default()
    };
    RTCRtpCodecParameters {
        rtp_codec,
        payload_type: 96,
    }
}

/// Creates a foreign peer with one host candidate.
fn foreign(now: Instant, profiles: Vec<SrtpProtectionProfile>) -> RTCPeerConnection {
    let mut media = MediaEngine::default();
    media
        .register_codec(vp8(), RtpCodecKind::Video)
        .expect("VP8");
    // By default `rtc` answers an ICE-lite offer as the DTLS server, a role that the plane takes
    // itself; browsers never do.
    let settings = SettingEngineBuilder::new().with_srtp_protection_profiles(profiles);
    let settings = settings
        .with_answering_dtls_role(RTCDtlsRole::Client)
        .build();
    let builder = RTCPeerConnectionBuilder::new()
        .with_setting_engine(settings)
        .with_media_engine(media);
    let mut peer = builder.build(now).expect("a peer");
    let base_config = CandidateConfig {
        network: "udp".to_owned(),
        address: client_address().ip().to_string(),
        port: client_address().port(),
        component: 1,
        ..Default::default()
    };
    let candidate = CandidateHostConfig {
        base_config,
        ..Default::default()
    }
    .new_candidate_host()
    .expect("good");
    peer.add_local_candidate(RTCIceCandidate::from(&candidate).to_json().expect("JSON"))
        .expect("good");
    peer
}

fn track() -> MediaStreamTrack {
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(THEIR_SSRC),
            ..Default::default()
        },
        codec: vp8().rtp_codec,
        ..Default::default()
    };
    MediaStreamTrack::new(
        "room".into(),
        "camera".into(),
        "camera".into(),
        RtpCodecKind::Video,
        vec![encoding],
    )
}

/// Our end and the foreign peer, connected without delay.
struct Connection {
    now: Instant,
    plane: Transport,
    foreign_peer: RTCPeerConnection,
    session: Option<Box<SrtpSession>>,
    closed: Option<CloseReason>,
    /// Received SRTP and SRTCP packets, still encrypted.
    media: Vec<Vec<u8>>,
    /// RTP packets received by the foreign peer, decrypted.
    received: Vec<RTCMessage>,
}

impl Connection {
    fn run_until(&mut self, done: impl Fn(&Connection) -> bool) {
        let end = self.now + Duration::from_secs(10);
        while !done(self) {
            assert!(self.now < end, "timed out after ten seconds");
            self.step();
        }
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(5);
        self.foreign_peer
            .handle_timeout(self.now)
            .expect("timers of the foreign peer");
        if self.plane.poll_timeout().is_some_and(|due| due <= self.now) {
            self.plane.handle_timeout(self.now);
        }
        while let Some(sent) = self.foreign_peer.poll_write() {
            match sent.message[0] {
                128..=191 => self.media.push(sent.message.to_vec()),
                _ => self
                    .plane
                    .handle(self.now, Path::udp(client_address()), &sent.message)
                    .expect("a valid datagram"),
            }
        }
        while let Some(output) = self.plane.poll_output() {
            match output {
                Output::Transmit { datagram, .. } => self.send(&datagram),
                Output::Handshake(step) => self.plane.handle_handshake(self.now, step.run()),
                Output::Connected(session) => self.session = Some(session),
                Output::Closed(reason) => self.closed = Some(reason),
                _ => {}
            }
        }
        while self.foreign_peer.poll_event().is_some() {}
        while let Some(message) = self.foreign_peer.poll_read() {
            self.received.push(message.message);
        }
    }

    fn send(&mut self, datagram: &[u8]) {
        let transport = TransportContext {
            local_addr: client_address(),
            peer_addr: server_address(),
            ecn: None,
            transport_protocol: TransportProtocol::UDP,
        };
        let read = TaggedBytesMut {
            now: self.now,
            transport,
            message: BytesMut::from(datagram),
        };
        self.foreign_peer
            .handle_read(read)
            .expect("a valid datagram");
    }

    fn session(&mut self) -> &mut SrtpSession {
        self.session.as_mut().expect("connected")
    }
}

fn credentials(seed: u64) -> IceCredentials {
    IceCredentials::random(&mut rand::rngs::StdRng::seed_from_u64(seed))
}

fn write_rtp(connection: &mut Connection, sender: RTCRtpSenderId, sequence_number: u16) {
    let header = rtc::rtp::header::Header {
        version: 2,
        payload_type: 96,
        sequence_number,
        timestamp: 90_000,
        ssrc: THEIR_SSRC,
        ..Default::default()
    };
    let packet = rtc::rtp::packet::Packet {
        header,
        payload: Bytes::from_static(b"good morning"),
    };
    connection
        .foreign_peer
        .rtp_sender(sender)
        .expect("a sender")
        .write_rtp(connection.now, packet)
        .expect("the peer is connected");
}

/// Publishes from a foreign encoder's offer, across a wrap of its sequence numbers, until its
/// close_notify.
fn a_foreign_encoder_publishes(profiles: Vec<SrtpProtectionProfile>) {
    let now = start_of_time();
    let identity = Arc::new(Identity::generate().expect("a certificate"));
    let ice = credentials(1);
    let mut foreign_peer = foreign(now, profiles);
    let sender = foreign_peer.add_track(track()).expect("a track");
    let offer = foreign_peer.create_offer(None).expect("an offer");
    foreign_peer
        .set_local_description(now, offer.clone())
        .expect("their own offer");
    let candidates = [server_address()];
    let local = LocalParameters {
        ice: &ice,
        fingerprint: identity.fingerprint(),
        candidates: &candidates,
        tcp_candidates: &[],
    };
    let description = sdp::parse(&offer.sdp).expect("a valid offer");
    let (answer, media) =
        sdp::answer_publisher(&description, &local, &[Codec::Vp8]).expect("VP8 is usable");
    foreign_peer
        .set_remote_description(now, RTCSessionDescription::answer(answer).expect("SDP"))
        .expect("our answer");
    let mut plane = Transport::new(identity, ice, now);
    plane.set_remote(now, description.remote().clone());
    let mut connection = Connection {
        now,
        plane,
        foreign_peer,
        session: None,
        closed: None,
        media: vec![],
        received: vec![],
    };
    connection.run_until(|connection| connection.session.is_some());
    for _ in 0..20 {
        connection.step();
    }

    assert_eq!(
        (media[0].codec, media[0].pt, media[0].sources[0].primary),
        (Codec::Vp8, 96, Ssrc(THEIR_SSRC))
    );
    for sequence in 65_530..=65_540_u32 {
        write_rtp(&mut connection, sender, sequence as u16);
    }
    connection.run_until(|connection| {
        connection
            .media
            .iter()
            .filter(|packet| packet[1] & 0x7F == 96)
            .count()
            == 11
    });
    let packets: Vec<_> = connection
        .media
        .drain(..)
        .filter(|packet| packet[1] & 0x7F == 96)
        .collect();
    for (mut packet, sequence) in packets.into_iter().zip(65_530_u64..) {
        let opened = connection
            .session()
            .inbound
            .unprotect_rtp(&mut packet)
            .expect("authentic");
        assert_eq!(opened.seq.0, sequence);
        assert_eq!(&packet[opened.header_len..opened.len], b"good morning");
    }

    assert_eq!(connection.closed, None);
    connection.foreign_peer.close().expect("a close_notify");
    connection.run_until(|connection| connection.closed == Some(CloseReason::PeerClosed));
}

#[test]
fn a_foreign_encoder_publishes_with_gcm() {
    a_foreign_encoder_publishes(vec![CM, GCM]);
}

#[test]
fn a_foreign_encoder_publishes_with_aes_cm_only() {
    a_foreign_encoder_publishes(vec![CM]);
}

/// Subscribes with a foreign client. Its checks and its ClientHello arrive before its answer.
fn a_foreign_client_subscribes(profiles: Vec<SrtpProtectionProfile>) {
    let now = start_of_time();
    let identity = Arc::new(Identity::generate().expect("a certificate"));
    let ice = credentials(2);
    let candidates = [server_address()];
    let local = LocalParameters {
        ice: &ice,
        fingerprint: identity.fingerprint(),
        candidates: &candidates,
        tcp_candidates: &[],
    };
    let outgoing = OutgoingStream {
        ssrc: Ssrc(77),
        rtx_ssrc: Ssrc(78),
        stream: "teacher".into(),
        track: "camera".into(),
    };
    let slots = [OfferedSlot {
        kind: MediaKind::Video,
        outgoing,
    }];
    let offer = sdp::offer_subscriber(&local, 1, &slots);
    let mut foreign_peer = foreign(now, profiles);
    foreign_peer
        .set_remote_description(now, RTCSessionDescription::offer(offer).expect("SDP"))
        .expect("our offer");
    let answer = foreign_peer.create_answer(None).expect("an answer");
    foreign_peer
        .set_local_description(now, answer.clone())
        .expect("their own answer");
    let description = sdp::parse(&answer.sdp).expect("a valid answer");
    let taken = sdp::parse_answer(&description, &slots).expect("the answer fits the offer");
    assert_eq!(
        (taken[0].codecs[0].codec, taken[0].codecs[0].pt),
        (Codec::Vp8, payload_types::VP8.0)
    );

    let plane = Transport::new(identity, ice, now);
    let mut connection = Connection {
        now,
        plane,
        foreign_peer,
        session: None,
        closed: None,
        media: vec![],
        received: vec![],
    };
    for _ in 0..60 {
        connection.step();
    }
    assert!(connection.session.is_none());
    connection
        .plane
        .set_remote(connection.now, description.remote().clone());
    connection.run_until(|connection| connection.session.is_some());
    for _ in 0..20 {
        connection.step();
    }

    let mut packet = vec![
        0x80,
        0x80 | payload_types::VP8.0,
        0,
        1,
        0,
        0,
        0,
        9,
        0,
        0,
        0,
        77,
    ];
    packet.extend(b"\x10good morning");
    let len = packet.len();
    packet.resize(len + MAX_TRAILER, 0);
    let len = connection
        .session()
        .outbound
        .rtp
        .protect(&mut packet, 12, len, 0);
    connection.send(&packet[..len]);
    connection.run_until(|connection| {
        connection
            .received
            .iter()
            .any(|message| matches!(message, RTCMessage::RtpPacket(..)))
    });
}

#[test]
fn a_foreign_client_subscribes_with_gcm() {
    a_foreign_client_subscribes(vec![CM, GCM]);
}

#[test]
fn a_foreign_client_subscribes_with_aes_cm_only() {
    a_foreign_client_subscribes(vec![CM]);
}
