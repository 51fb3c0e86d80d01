//! Arbitrary datagrams before any connectivity check: no path opens without the local password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tongke_plane::transport::{Output, local_ufrag_of};

fuzz_target!(|datagram: &[u8]| {
    let _ = local_ufrag_of(datagram);
    let (mut peer, now) = tongke_plane_fuzz::peer();
    let accepted = peer.handle(now, tongke_plane_fuzz::path(), datagram).is_ok();
    let mut answered = 0;
    while let Some(output) = peer.poll_output() {
        if let Output::Transmit { datagram: answer, .. } = output {
            // No amplification: an error response is at most a little longer than the shortest
            // request.
            assert!(answer.len() <= datagram.len() + 64);
            answered += 1;
        }
    }
    assert!(answered <= 1);
    assert_eq!(peer.path().is_some(), accepted);
});
