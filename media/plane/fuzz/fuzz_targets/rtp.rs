//! Any bytes as an RTP packet. What is accepted is all there, and its header can be written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tongke_plane::rtp::header::{HeaderTemplate, MAX_TEMPLATE_LEN};
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
    rewrite(&packet, &found);
});

fn rewrite(packet: &RtpPacket<'_>, found: &Extensions<'_>) {
    let mid = found.mid.filter(|mid| mid.len() <= 16);
    let template = HeaderTemplate::new(packet.payload_type(), packet.ssrc(), Some(4), mid.map(|mid| (1, mid)));
    let mut space = [0xff; MAX_TEMPLATE_LEN];
    let twcc = found.transport_cc.unwrap_or(7);
    let len = template.write(&mut space, packet.marker(), packet.seq(), packet.timestamp(), twcc);
    let written = RtpPacket::parse(&space[..len]).expect("we wrote it");
    let read = Extensions::read(written.elements(), &IDS);
    assert_eq!((read.mid, read.transport_cc), (mid, Some(twcc)));
    assert_eq!((written.seq(), written.timestamp(), written.ssrc()), (packet.seq(), packet.timestamp(), packet.ssrc()));
    assert_eq!((written.marker(), written.payload_type()), (packet.marker(), packet.payload_type()));
}
