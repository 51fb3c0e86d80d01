//! Arbitrary bytes as an RTP packet. The parts of an accepted packet add up to its length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tongke_plane::rtp::packet::{self, RtpPacket};
use tongke_plane::rtp::{Extensions, is_rtcp};
use tongke_plane::sdp::ExtensionIds;

const IDS: ExtensionIds = ExtensionIds {
    mid: Some(1),
    rid: Some(2),
    repaired_rid: Some(3),
    transport_cc: Some(4),
    audio_level: Some(5),
    abs_send_time: Some(6),
    abs_capture_time: Some(7),
};

fuzz_target!(|data: &[u8]| {
    let _ = is_rtcp(data);
    let header_len = packet::header_len(data);
    let Ok(packet) = RtpPacket::parse(data) else { return };
    assert_eq!(header_len, Ok(packet.header_len()));
    assert_eq!(packet.header_len() + packet.payload().len() + packet.padding_len(), data.len());
    assert!(packet.csrcs().count() <= 15);
    let in_elements: usize = packet.elements().map(|(_, element)| element.len()).sum();
    assert!(in_elements <= packet.header_len());
    let found = Extensions::read(packet.elements(), &IDS);
    for name in [found.mid, found.rid, found.repaired_rid].into_iter().flatten() {
        assert!(!name.is_empty() && name.is_ascii());
    }
});
