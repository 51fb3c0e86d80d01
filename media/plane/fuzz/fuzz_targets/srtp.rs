//! Arbitrary packets for SRTP and SRTCP, and protected packets that were damaged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tongke_plane::transport::srtp::{MAX_TRAILER, Profile, Role, SrtpSession, rtp_header_len};

fn session(profile: Profile, role: Role) -> SrtpSession {
    let material = vec![5; profile.keying_material_len()];
    SrtpSession::from_keying_material(profile, &material, role).expect("good material")
}

fuzz_target!(|data: &[u8]| {
    let Some(([flip_at, flip], packet)) = data.split_first_chunk::<2>() else { return };
    for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmHmacSha1_80] {
        let (mut client, mut server) = (session(profile, Role::Client), session(profile, Role::Server));
        let _ = server.inbound.unprotect_rtp(&mut packet.to_vec());
        let _ = server.inbound.unprotect_rtcp(&mut packet.to_vec());
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len() + MAX_TRAILER, 0);
        if let Some(header_len) = rtp_header_len(packet) {
            let len = client.outbound.rtp.protect(&mut buffer, header_len, packet.len(), 0);
            let at = usize::from(*flip_at) % len;
            buffer[at] ^= flip;
            let opened = server.inbound.unprotect_rtp(&mut buffer[..len]);
            assert_eq!(opened.is_ok(), *flip == 0, "authentic if and only if untouched");
            if let Ok(opened) = opened {
                assert_eq!(&buffer[..opened.len], packet);
            }
        }
        if packet.len() >= 8 && packet[0] >> 6 == 2 {
            let mut buffer = packet.to_vec();
            buffer.resize(packet.len() + MAX_TRAILER, 0);
            let len = client.outbound.rtcp.protect(&mut buffer, packet.len()).expect("a fresh key");
            let at = usize::from(*flip_at) % len;
            buffer[at] ^= flip;
            assert_eq!(server.inbound.unprotect_rtcp(&mut buffer[..len]).is_ok(), *flip == 0);
        }
    }
});
