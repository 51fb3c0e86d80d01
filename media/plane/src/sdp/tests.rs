//! Negotiation with descriptions of real programs: Chromium 156 (captured), GStreamer's and OBS's
//! WHIP encoders.

use std::net::SocketAddr;

use super::*;
use crate::ids::Ssrc;
use crate::transport::{Fingerprint, IceCredentials};

mod hostile;
mod publishing;
mod subscribing;

const CAMERA: &str = include_str!("../../tests/data/sdp/chromium-camera-simulcast.sdp");
const SCREEN: &str = include_str!("../../tests/data/sdp/chromium-screen.sdp");
const PLAYER: &str = include_str!("../../tests/data/sdp/chromium-recvonly.sdp");
const DATA_CHANNEL: &str = include_str!("../../tests/data/sdp/chromium-datachannel.sdp");
const GSTREAMER: &str = include_str!("../../tests/data/sdp/gstreamer-whip.sdp");
const OBS: &str = include_str!("../../tests/data/sdp/obs-whip.sdp");
const ALL_OFFERS: [&str; 6] = [CAMERA, SCREEN, PLAYER, DATA_CHANNEL, GSTREAMER, OBS];

const PREFERENCE: [Codec; 4] = [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1];

struct Server {
    ice: IceCredentials,
    candidates: Vec<SocketAddr>,
    tcp_candidates: Vec<SocketAddr>,
}

impl Server {
    fn new() -> Server {
        Server {
            ice: IceCredentials {
                ufrag: "ourufrag".into(),
                pwd: "ourPasswordOfEnoughLength".into(),
            },
            candidates: vec![
                "192.0.2.1:8189".parse().unwrap(),
                "[2001:db8::1]:8189".parse().unwrap(),
            ],
            tcp_candidates: vec!["192.0.2.1:8443".parse().unwrap()],
        }
    }

    fn local(&self) -> LocalParameters<'_> {
        LocalParameters {
            ice: &self.ice,
            fingerprint: Fingerprint([0xAB; 32]),
            candidates: &self.candidates,
            tcp_candidates: &self.tcp_candidates,
        }
    }
}

fn outgoing(n: u32) -> OutgoingStream {
    OutgoingStream {
        ssrc: Ssrc(1000 + n),
        rtx_ssrc: Ssrc(2000 + n),
        stream: format!("room{}", n / 2),
        track: format!("track{n}"),
    }
}

/// The text of the n-th m-section.
fn section(description: &str, n: usize) -> String {
    let sections: Vec<&str> = description.split("\r\nm=").collect();
    format!("m={}\r\n", sections[n + 1].trim_end())
}

/// Checks that a foreign parser, `rtc-sdp`, accepts our description.
fn assert_rtc_sdp_parses(description: &str) {
    let mut reader = std::io::Cursor::new(description.as_bytes());
    rtc_sdp::SessionDescription::unmarshal(&mut reader).expect("a valid description");
}
