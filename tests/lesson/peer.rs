//! WebRTC peers of another implementation (webrtc-rs): a sender of Opus and H.264, and a receiver.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_H264, MIME_TYPE_OPUS, MediaEngine,
};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState,
};
use webrtc::runtime::default_runtime;

use crate::client::MESSAGE_TIMEOUT;

const OPUS: u8 = 111;
const H264: u8 = 102;

/// A peer connection and its received packets. It has its own runtime, which can be stopped as if
/// by a power failure.
pub struct Peer {
    connection: Arc<dyn PeerConnection>,
    events: Arc<Events>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Events {
    gathered: Notify,
    connected: Notify,
    /// Packets by mark: each sender marks its payloads.
    heard: Mutex<HashMap<(Kind, [u8; 4]), u64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Audio,
    Video,
}

struct Handler(Arc<Events>);

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.gathered.notify_one();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            self.0.connected.notify_one();
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let events = self.0.clone();
        tokio::spawn(async move {
            let kind = if track.kind().await == RtpCodecKind::Audio {
                Kind::Audio
            } else {
                Kind::Video
            };
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    events.count(kind, &packet.payload);
                }
            }
        });
    }
}

impl Events {
    /// The mark follows the first two payload bytes, which belong to the codec.
    fn count(&self, kind: Kind, payload: &[u8]) {
        if let Some(mark) = payload.get(2..6).and_then(|mark| mark.try_into().ok()) {
            *self
                .heard
                .lock()
                .expect("no holder panics")
                .entry((kind, mark))
                .or_default() += 1;
        }
    }
}

impl Peer {
    /// Sends Opus and H.264 packets with `mark` once connected.
    pub async fn sender(mark: &[u8; 4]) -> Peer {
        let mark = *mark;
        Peer::new(move |connection| async move {
            for (kind, codec) in [(Kind::Audio, opus()), (Kind::Video, h264())] {
                let track = local_track(kind, codec.rtp_codec);
                connection
                    .add_track(track.clone() as Arc<dyn TrackLocal>)
                    .await
                    .expect("a track is added");
                tokio::spawn(send(track, kind, mark));
            }
        })
        .await
    }

    /// A peer that answers the server's offers.
    pub async fn receiver() -> Peer {
        Peer::new(|_| async {}).await
    }

    /// A peer that offers to receive audio and video.
    pub async fn player() -> Peer {
        Peer::new(|connection| async move {
            for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
                let init = RTCRtpTransceiverInit {
                    direction: RTCRtpTransceiverDirection::Recvonly,
                    ..Default::default()
                };
                connection
                    .add_transceiver_from_kind(kind, Some(init))
                    .await
                    .expect("a transceiver is added");
            }
        })
        .await
    }

    async fn new<F, Fut>(prepare: F) -> Peer
    where
        F: FnOnce(Arc<dyn PeerConnection>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let events = Arc::new(Events::default());
        let theirs = events.clone();
        let made = runtime.spawn(async move {
            let connection = connect(theirs).await;
            prepare(connection.clone()).await;
            connection
        });
        Peer {
            connection: made.await.expect("the peer is made"),
            events,
            runtime: Some(runtime),
        }
    }

    /// Runs an action in the peer's runtime.
    async fn within<F, Fut, T>(&self, action: F) -> T
    where
        F: FnOnce(Arc<dyn PeerConnection>) -> Fut,
        Fut: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let runtime = self.runtime.as_ref().expect("it is taken only at the end");
        runtime
            .spawn(action(self.connection.clone()))
            .await
            .expect("a peer's action does not panic")
    }

    /// Offer with all candidates.
    pub async fn offer(&self) -> String {
        self.within(|connection| async move {
            let offer = connection.create_offer(None).await.expect("an offer");
            connection
                .set_local_description(offer)
                .await
                .expect("our own offer fits");
        })
        .await;
        self.described().await
    }

    pub async fn accept(&self, answer: &str) {
        let answer = RTCSessionDescription::answer(answer.to_owned()).expect("the answer is SDP");
        self.within(|connection| async move {
            connection
                .set_remote_description(answer)
                .await
                .expect("the answer fits")
        })
        .await;
    }

    /// Answer to an offer of the server.
    pub async fn answer(&self, offer: &str) -> String {
        let offer = RTCSessionDescription::offer(offer.to_owned()).expect("the offer is SDP");
        self.within(|connection| async move {
            connection
                .set_remote_description(offer)
                .await
                .expect("the offer fits");
            let answer = connection.create_answer(None).await.expect("an answer");
            connection
                .set_local_description(answer)
                .await
                .expect("our own answer fits");
        })
        .await;
        self.described().await
    }

    async fn described(&self) -> String {
        let _ = tokio::time::timeout(Duration::from_secs(5), self.events.gathered.notified()).await;
        self.connection
            .local_description()
            .await
            .expect("it was set")
            .sdp
    }

    pub async fn connected(&self) {
        let connected =
            tokio::time::timeout(MESSAGE_TIMEOUT, self.events.connected.notified()).await;
        assert!(connected.is_ok(), "the peer did not connect");
    }

    /// Packets received of a kind with a mark.
    pub fn packets(&self, kind: Kind, mark: &[u8; 4]) -> u64 {
        self.events
            .heard
            .lock()
            .expect("no holder panics")
            .get(&(kind, *mark))
            .copied()
            .unwrap_or(0)
    }

    /// Waits until `more` further packets of a kind with a mark have arrived.
    pub async fn receives(&self, kind: Kind, mark: &[u8; 4], more: u64) {
        let (before, deadline) = (self.packets(kind, mark), Instant::now() + MESSAGE_TIMEOUT);
        while self.packets(kind, mark) < before + more {
            let all = self.events.heard.lock().expect("no holder panics").clone();
            assert!(
                Instant::now() < deadline,
                "too little {kind:?} of {mark:?} came; heard: {all:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// True if no packet of a kind with a mark arrives for a while.
    pub async fn receives_nothing(&self, kind: Kind, mark: &[u8; 4]) -> bool {
        let before = self.packets(kind, mark);
        tokio::time::sleep(Duration::from_millis(700)).await;
        self.packets(kind, mark) == before
    }

    /// Stops without close_notify, like a power failure.
    pub fn drop_connection(self) {
        drop(self);
    }

    pub async fn close(self) {
        self.within(|connection| async move { connection.close().await.expect("it closes") })
            .await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn connect(events: Arc<Events>) -> Arc<dyn PeerConnection> {
    let mut engine = MediaEngine::default();
    engine
        .register_codec(opus(), RtpCodecKind::Audio)
        .expect("Opus registers");
    engine
        .register_codec(h264(), RtpCodecKind::Video)
        .expect("H264 registers");
    let registry =
        register_default_interceptors(Registry::new(), &mut engine).expect("interceptors register");
    // webrtc-rs answers an ICE-lite offer as DTLS server, which is the role of our server; browsers
    // answer as client.
    let settings = SettingEngineBuilder::new()
        .with_answering_dtls_role(RTCDtlsRole::Client)
        .build();
    let connection = PeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_media_engine(engine)
        .with_interceptor_registry(registry)
        .with_setting_engine(settings)
        .with_handler(Arc::new(Handler(events)))
        .with_runtime(default_runtime().expect("the tokio runtime is built in"))
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .build()
        .await
        .expect("a peer connection");
    Arc::new(connection)
}

fn opus() -> RTCRtpCodecParameters {
    let rtp_codec = RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: vec![],
    };
    RTCRtpCodecParameters {
        rtp_codec,
        payload_type: OPUS,
    }
}

fn h264() -> RTCRtpCodecParameters {
    let rtp_codec = RTCRtpCodec {
        mime_type: MIME_TYPE_H264.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
            .to_owned(),
        rtcp_feedback: vec![],
    };
    RTCRtpCodecParameters {
        rtp_codec,
        payload_type: H264,
    }
}

fn local_track(kind: Kind, codec: RTCRtpCodec) -> Arc<TrackLocalStaticRTP> {
    let (name, codec_kind) = match kind {
        Kind::Audio => ("audio", RtpCodecKind::Audio),
        Kind::Video => ("video", RtpCodecKind::Video),
    };
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(rand::random()),
            ..Default::default()
        },
        codec,
        ..Default::default()
    };
    let track = MediaStreamTrack::new(
        "camera".into(),
        name.into(),
        name.into(),
        codec_kind,
        vec![encoding],
    );
    Arc::new(TrackLocalStaticRTP::new(track))
}

/// Sends fifty packets per second. Video is a sequence of keyframes, each a single IDR slice, so
/// that a receiver can start at any of them.
async fn send(track: Arc<TrackLocalStaticRTP>, kind: Kind, mark: [u8; 4]) {
    let (first, ticks) = match kind {
        Kind::Audio => ([0xfc, 0xff], 960),
        // An IDR slice with first_mb_in_slice = 0.
        Kind::Video => ([0x65, 0x88], 1_800),
    };
    let ssrc = webrtc::media_stream::Track::ssrcs(&*track)
        .await
        .first()
        .copied()
        .expect("the track has one encoding");
    let (mut sequence_number, mut timestamp) = (rand::random::<u16>(), rand::random::<u32>());
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    loop {
        beat.tick().await;
        let header = rtp::header::Header {
            version: 2,
            marker: kind == Kind::Video,
            payload_type: if kind == Kind::Audio { OPUS } else { H264 },
            sequence_number,
            timestamp,
            ssrc,
            ..Default::default()
        };
        let payload = [&first[..], &mark, &[0x55; 60]].concat().into();
        // Fails until the peer is connected.
        let _ = track.write_rtp(rtp::Packet { header, payload }).await;
        sequence_number = sequence_number.wrapping_add(1);
        timestamp = timestamp.wrapping_add(ticks);
    }
}
