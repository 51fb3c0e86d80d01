//! Arbitrary text as an offer, an answer and a fragment. Our answer must parse and have as many
//! m-sections as the offer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tongke_plane::ids::Ssrc;
use tongke_plane::sdp::{self, Codec, LocalParameters, MediaKind, OfferedSlot, OutgoingStream};
use tongke_plane::transport::{Fingerprint, IceCredentials};

fn outgoing(n: usize) -> OutgoingStream {
    let n = n as u32;
    OutgoingStream { ssrc: Ssrc(n), rtx_ssrc: Ssrc(n + 100), stream: "stream".into(), track: format!("track{n}") }
}

fuzz_target!(|text: &str| {
    let _ = sdp::parse_fragment(text);
    let Ok(description) = sdp::parse(text) else { return };
    let ice = IceCredentials { ufrag: "ours".into(), pwd: "ourPasswordOfEnoughLength".into() };
    let candidates = ["192.0.2.1:8189".parse().expect("a good address")];
    let local = LocalParameters {
        ice: &ice,
        fingerprint: Fingerprint([1; 32]),
        candidates: &candidates,
        tcp_candidates: &candidates,
    };
    let codecs = [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1];
    let sent: Vec<OutgoingStream> = (0..description.mlines()).map(outgoing).collect();
    let answers = [
        sdp::answer_publisher(&description, &local, &codecs).map(|(answer, _)| answer),
        sdp::answer_subscriber(&description, &local, &sent).map(|(answer, _)| answer),
    ];
    for answer in answers.into_iter().flatten() {
        let read = sdp::parse(&answer).expect("our own answer is valid");
        assert_eq!(read.mlines(), description.mlines());
    }
    let slots: Vec<OfferedSlot> =
        (0..description.mlines()).map(|n| OfferedSlot { kind: MediaKind::Video, outgoing: outgoing(n) }).collect();
    let _ = sdp::parse_answer(&description, &slots);
});
