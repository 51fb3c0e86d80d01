//! WebRTC client without sockets: connectivity checks, DTLS handshake, SRTP. STUN and DTLS are the
//! foreign `rtc-stun` and `rtc-dtls`; SRTP is ours, tested against `rtc-srtp` beside its source.

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

/// Interval of consent checks, as in browsers.
const CHECK_PERIOD: Duration = Duration::from_millis(2_500);

/// Negotiated ID of the transport-wide sequence number extension.
pub(crate) const TWCC_ID: u8 = 3;

/// Returns the start of virtual time.
#[allow(clippy::disallowed_methods)]
pub(crate) fn start_of_time() -> Instant {
    Instant::now()
}

/// The client's end of one transport.
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    server: SocketAddr,
    local: IceCredentials,
    remote: IceCredentials,
    fingerprint: Fingerprint,
    dtls: Endpoint,
    next_check: Instant,
    /// SRTP keys; present after the handshake.
    pub(crate) session: Option<Box<SrtpSession>>,
    /// Protected packets, sent by the next [`Client::poll`].
    pub(crate) pending: Vec<Vec<u8>>,
}

impl Client {
    /// Creates a client at `address` for a transport with the credentials `remote`.
    pub(crate) fn new(now: Instant, address: SocketAddr, remote: IceCredentials) -> Client {
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

    /// ICE credentials and fingerprint, as in the client's description.
    pub(crate) fn parameters(&self) -> RemoteParameters {
        RemoteParameters {
            ice: self.local.clone(),
            fingerprint: self.fingerprint,
        }
    }

    /// Returns the datagrams to send now.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut out = std::mem::take(&mut self.pending);
        if now >= self.next_check {
            self.next_check = now
                + if self.session.is_some() {
                    CHECK_PERIOD
                } else {
                    Duration::from_millis(200)
                };
            out.push(self.connectivity_check());
        }
        // Fails after close_notify; nothing is retransmitted then.
        let _ = self.dtls.handle_timeout(self.server, now);
        out.extend(
            std::iter::from_fn(|| self.dtls.poll_transmit()).map(|sent| sent.message.to_vec()),
        );
        out
    }

    /// Processes a STUN or DTLS datagram.
    pub(crate) fn handle(&mut self, now: Instant, datagram: &[u8]) {
        if datagram[0] < 20 {
            return;
        }
        for event in self
            .dtls
            .read(now, self.server, None, BytesMut::from(datagram))
            .unwrap_or_default()
        {
            if matches!(event, EndpointEvent::HandshakeComplete) {
                self.session = Some(Box::new(self.export_keys()));
            }
        }
    }

    fn export_keys(&self) -> SrtpSession {
        let state = self
            .dtls
            .get_connection_state(self.server)
            .expect("a connection");
        let profile = Profile::AeadAes128Gcm;
        let material =
            state.export_keying_material("EXTRACTOR-dtls_srtp", &[], profile.keying_material_len());
        SrtpSession::from_keying_material(profile, material.expect("keys").as_ref(), Role::Client)
            .expect("valid key material")
    }

    fn connectivity_check(&self) -> Vec<u8> {
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

/// One m-section of a publisher; several layers are announced by SSRC without RIDs.
pub(crate) fn published(kind: MediaKind, codec: Codec, sources: &[(u32, u32)]) -> PublishedMedia {
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

/// One m-section of a subscriber's answer.
pub(crate) fn subscribed(nth: usize, kind: MediaKind, outgoing: OutgoingStream) -> SubscribedMedia {
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

/// Payload type of a codec; its RTX payload type is the next number.
pub(crate) fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 111,
        Codec::H264 => 102,
        Codec::Vp8 => 96,
        Codec::Vp9 => 98,
        Codec::Av1 => 100,
    }
}

/// RTP packet with a transport-wide sequence number.
pub(crate) struct Packet<'a> {
    pub(crate) payload_type: u8,
    pub(crate) ssrc: u32,
    pub(crate) seq: u64,
    pub(crate) rtp_time: u32,
    pub(crate) marker: bool,
    pub(crate) twcc: u16,
    pub(crate) payload: &'a [u8],
}

impl Packet<'_> {
    /// Returns the packet, protected with the client's keys.
    pub(crate) fn seal(&self, client: &mut Client) -> Vec<u8> {
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

/// Returns the transport-wide sequence number of a datagram for a test subscriber; SRTP does not
/// encrypt header extensions.
pub(crate) fn twcc_of(datagram: &[u8]) -> Option<u16> {
    let is_rtp =
        datagram.len() > 20 && datagram[0] & 0x90 == 0x90 && !(192..=223).contains(&datagram[1]);
    is_rtp.then(|| u16::from_be_bytes([datagram[17], datagram[18]]))
}
