//! A peer as a browser is one, without sockets: checks connectivity, shakes hands, seals and opens packets. Stands on `rtc-stun` and
//! `rtc-dtls`, which are not our code; only its SRTP is ours, and that is tested against `rtc-srtp` beside its source.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_crypto::{HashAlgorithm, RTCCryptoProvider};
use rtc_dtls::config::{ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use rtc_stun::textattrs::TextAttribute;
use tongke_plane::ids::Ssrc;
use tongke_plane::sdp::{
    AcceptedCodec, Codec, ExtensionIds, MediaKind, OutgoingStream, PublishedMedia, SsrcPair,
    SubscribedMedia,
};
use tongke_plane::transport::srtp::{Profile, Role, SrtpSession};
use tongke_plane::transport::{Fingerprint, IceCredentials, RemoteParameters};

/// Browsers check the path they use about this often.
const CHECK_PERIOD: Duration = Duration::from_millis(2_500);

/// The id under which every test peer sends and expects the transport-wide number.
pub const TWCC_ID: u8 = 3;

/// Any moment: virtual time needs a beginning.
#[allow(clippy::disallowed_methods)]
pub fn start_of_time() -> Instant {
    Instant::now()
}

/// A browser's end of one transport.
pub struct Client {
    pub address: SocketAddr,
    server: SocketAddr,
    local: IceCredentials,
    remote: IceCredentials,
    fingerprint: Fingerprint,
    dtls: Endpoint,
    next_check: Instant,
    /// Keys, once the handshake is complete.
    pub session: Option<Box<SrtpSession>>,
    /// Sealed packets to send with the next [`Client::poll`].
    pub pending: Vec<Vec<u8>>,
}

impl Client {
    /// A client at `address` for a transport whose credentials are `remote`.
    pub fn new(now: Instant, address: SocketAddr, remote: IceCredentials) -> Client {
        let crypto = rtc_crypto::default_provider().expect("a provider is compiled in");
        let certificate =
            Certificate::generate_self_signed(vec!["browser".into()], crypto.crypto())
                .expect("a certificate");
        let hash = crypto
            .crypto()
            .hash(HashAlgorithm::Sha256, &certificate.certificate[0])
            .expect("SHA-256");
        let fingerprint = Fingerprint(hash.as_slice().try_into().expect("32 bytes"));
        let server: SocketAddr = "10.0.0.1:8189".parse().expect("an address");
        let mut dtls = Endpoint::new(address, TransportProtocol::UDP, None);
        dtls.connect(
            now,
            server,
            Arc::new(dtls_config(crypto, certificate)),
            None,
        )
        .expect("a ClientHello");
        Client {
            address,
            server,
            local: IceCredentials {
                ufrag: "brow".into(),
                pwd: "a browser's password of 22+".into(),
            },
            remote,
            fingerprint,
            dtls,
            next_check: now,
            session: None,
            pending: vec![],
        }
    }

    /// What its description says of it.
    pub fn parameters(&self) -> RemoteParameters {
        RemoteParameters {
            ice: self.local.clone(),
            fingerprint: self.fingerprint,
        }
    }

    /// What it sends now.
    pub fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut out = std::mem::take(&mut self.pending);
        if now >= self.next_check {
            self.next_check = now
                + if self.session.is_some() {
                    CHECK_PERIOD
                } else {
                    Duration::from_millis(200)
                };
            out.push(self.check());
        }
        // Errs once it has closed: then it has nothing to retransmit.
        let _ = self.dtls.handle_timeout(self.server, now);
        out.extend(
            std::iter::from_fn(|| self.dtls.poll_transmit()).map(|sent| sent.message.to_vec()),
        );
        out
    }

    /// Takes in STUN or DTLS.
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) {
        if datagram[0] < 20 {
            return;
        }
        for event in self
            .dtls
            .read(now, self.server, None, BytesMut::from(datagram))
            .unwrap_or_default()
        {
            if matches!(event, EndpointEvent::HandshakeComplete) {
                self.session = Some(Box::new(self.keys()));
            }
        }
    }

    fn keys(&self) -> SrtpSession {
        let state = self
            .dtls
            .get_connection_state(self.server)
            .expect("a connection");
        let profile = Profile::AeadAes128Gcm;
        let material =
            state.export_keying_material("EXTRACTOR-dtls_srtp", &[], profile.keying_material_len());
        SrtpSession::from_keying_material(profile, material.expect("keys").as_ref(), Role::Client)
            .expect("the right length")
    }

    fn check(&self) -> Vec<u8> {
        let crypto = rtc_crypto::default_provider().expect("a provider is compiled in");
        let mut message = Message::new();
        message
            .build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)])
            .expect("a header");
        let username = format!("{}:{}", self.remote.ufrag, self.local.ufrag);
        TextAttribute::new(ATTR_USERNAME, username)
            .add_to(&mut message)
            .expect("a username");
        message.add(ATTR_PRIORITY, &1_845_501_695_u32.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &[7; 8]);
        message.add(ATTR_USE_CANDIDATE, &[]);
        let integrity = MessageIntegrity::new_short_term_integrity_with_provider(
            self.remote.pwd.clone(),
            crypto.crypto(),
        );
        integrity.add_to(&mut message).expect("a key");
        FINGERPRINT.add_to(&mut message).expect("room");
        message.raw
    }
}

fn dtls_config(
    crypto: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
) -> rtc_dtls::config::HandshakeConfig {
    ConfigBuilder::default()
        .with_crypto_provider(crypto)
        .with_certificates(vec![certificate])
        .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
        .with_insecure_skip_verify(true)
        .with_extended_master_secret(ExtendedMasterSecretType::Require)
        .build(true, None)
        .expect("a good configuration")
}

/// What a publisher's description would say of one m-line; layers are old-style (by SSRC) where there are several.
pub fn published(kind: MediaKind, codec: Codec, sources: &[(u32, u32)]) -> PublishedMedia {
    let pair = |(primary, rtx): &(u32, u32)| SsrcPair {
        primary: Ssrc(*primary),
        rtx: Some(Ssrc(*rtx)),
    };
    PublishedMedia {
        mid: if kind == MediaKind::Audio { "a" } else { "v" }.into(),
        mline: 0,
        kind,
        codec,
        pt: payload_type(codec),
        rtx_pt: (kind == MediaKind::Video).then_some(payload_type(codec) + 1),
        red_pt: None,
        clock_rate: codec.clock_rate(),
        extensions: ExtensionIds {
            transport_cc: Some(TWCC_ID),
            ..ExtensionIds::default()
        },
        rids: vec![],
        sources: sources.iter().map(pair).collect(),
        stream: None,
        track: None,
    }
}

/// What a subscriber's answer would say of one m-line.
pub fn subscribed(nth: usize, kind: MediaKind, outgoing: OutgoingStream) -> SubscribedMedia {
    let codecs = match kind {
        MediaKind::Audio => vec![Codec::Opus],
        MediaKind::Video => vec![Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1],
    };
    let accept = |codec: Codec| AcceptedCodec {
        codec,
        pt: payload_type(codec),
        rtx_pt: (kind == MediaKind::Video).then_some(payload_type(codec) + 1),
    };
    SubscribedMedia {
        mid: nth.to_string(),
        mline: nth,
        kind,
        codecs: codecs.into_iter().map(accept).collect(),
        red_pt: None,
        extensions: ExtensionIds {
            transport_cc: Some(TWCC_ID),
            ..ExtensionIds::default()
        },
        outgoing,
    }
}

/// The payload type under which test peers send and take a codec; its retransmissions have the next one.
pub fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 111,
        Codec::H264 => 102,
        Codec::Vp8 => 96,
        Codec::Vp9 => 98,
        Codec::Av1 => 100,
    }
}

/// One RTP packet with a transport-wide number, sealed.
pub struct Packet<'a> {
    pub payload_type: u8,
    pub ssrc: u32,
    pub seq: u64,
    pub rtp_time: u32,
    pub marker: bool,
    pub twcc: u16,
    pub payload: &'a [u8],
}

impl Packet<'_> {
    /// Header and payload, sealed by the client's keys.
    pub fn seal(&self, client: &mut Client) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        bytes[0] = 0x90;
        bytes[1] = self.payload_type | u8::from(self.marker) << 7;
        bytes[2..4].copy_from_slice(&(self.seq as u16).to_be_bytes());
        bytes[4..8].copy_from_slice(&self.rtp_time.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        let [high, low] = self.twcc.to_be_bytes();
        bytes[12..20].copy_from_slice(&[0xBE, 0xDE, 0, 1, TWCC_ID << 4 | 1, high, low, 0]);
        bytes.extend_from_slice(self.payload);
        let len = bytes.len();
        bytes.resize(len + 20, 0);
        let session = client.session.as_mut().expect("a connected client");
        let sealed = session
            .outbound
            .rtp
            .protect(&mut bytes, 20, len, (self.seq >> 16) as u32);
        bytes.truncate(sealed);
        bytes
    }
}

/// The transport-wide number of a datagram that [`tongke_plane`] built for a test subscriber; header extensions are not encrypted.
pub fn twcc_of(datagram: &[u8]) -> Option<u16> {
    let is_rtp =
        datagram.len() > 20 && datagram[0] & 0x90 == 0x90 && !(192..=223).contains(&datagram[1]);
    is_rtp.then(|| u16::from_be_bytes([datagram[17], datagram[18]]))
}
