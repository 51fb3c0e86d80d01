//! SRTP with AES-GCM is on the forwarding path and must not allocate.

mod allocations;

use tongke_plane::transport::srtp::{MAX_TRAILER, Profile, Role, SrtpSession};

#[test]
fn a_packet_is_sealed_and_opened_without_an_allocation() {
    let material = vec![9; Profile::AeadAes128Gcm.keying_material_len()];
    let session = |role| {
        SrtpSession::from_keying_material(Profile::AeadAes128Gcm, &material, role).expect("good")
    };
    let (mut client, mut server) = (session(Role::Client), session(Role::Server));
    let mut buffer = [0_u8; 1200 + MAX_TRAILER];
    let mut all = 0;
    for seq in 0..1000_u16 {
        buffer[..12].copy_from_slice(&[0x80, 96, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
        buffer[2..4].copy_from_slice(&seq.to_be_bytes());
        let ((), made) = allocations::during(|| {
            let len = server.outbound.rtp.protect(&mut buffer, 12, 1200, 0);
            client
                .inbound
                .unprotect_rtp(&mut buffer[..len])
                .expect("authentic");
            buffer[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 2]);
            let len = server
                .outbound
                .rtcp
                .protect(&mut buffer, 100)
                .expect("a fresh key");
            client
                .inbound
                .unprotect_rtcp(&mut buffer[..len])
                .expect("authentic");
        });
        // The first packet allocates the state of its SSRC.
        if seq > 0 {
            all += made;
        }
    }
    assert_eq!(all, 0);
}
