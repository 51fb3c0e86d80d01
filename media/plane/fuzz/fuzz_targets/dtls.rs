//! Datagrams from a peer that passed a connectivity check, split by two-byte lengths: ClientHello
//! assembly and rtc-dtls.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tongke_plane::transport::Output;

fuzz_target!(|data: &[u8]| {
    let (mut peer, mut now) = tongke_plane_fuzz::peer();
    peer.handle(now, tongke_plane_fuzz::path(), &tongke_plane_fuzz::check()).expect("a valid check");
    let mut rest = data;
    let mut sent = 0;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (datagram, behind) = behind.split_at(behind.len().min(usize::from(u16::from_be_bytes(*length))));
        let _ = peer.handle(now, tongke_plane_fuzz::path(), datagram);
        now += Duration::from_millis(120);
        peer.handle_timeout(now);
        while let Some(output) = peer.poll_output() {
            match output {
                Output::Transmit { datagram, .. } => sent += datagram.len(),
                Output::Handshake(step) => peer.handle_handshake(now, step.run()),
                Output::Connected(_) => panic!("no certificate has this fingerprint"),
                _ => {}
            }
        }
        rest = behind;
    }
    assert!(sent <= 1000 + 40 * data.len().max(4096), "{sent} bytes for {}", data.len());
});
