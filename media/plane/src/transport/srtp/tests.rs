//! Tests of SRTP against `rtc_srtp::Context`, an independent implementation, in both directions,
//! and against invalid packets.

use rtc_srtp::context::Context;
use rtc_srtp::option::srtp_no_replay_protection;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;
use crate::drop_reason::DropReason;
use crate::units::SeqNo;

const PROFILES: [Profile; 2] = [Profile::AeadAes128Gcm, Profile::Aes128CmHmacSha1_80];

/// A session as the server, and the independent client.
struct Pair {
    ours: SrtpSession,
    client_sends: Context,
    client_receives: Context,
}

fn pair(profile: Profile) -> Pair {
    let material: Vec<u8> = (0..profile.keying_material_len())
        .map(|byte| (byte * 7 + 3) as u8)
        .collect();
    let salt_len = material.len() / 2 - 16;
    let salts = &material[32..];
    let foreign = match profile {
        Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Profile::Aes128CmHmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let provider = rtc_crypto::default_provider().expect("a provider is compiled in");
    let context = |key: &[u8], salt: &[u8]| {
        let options = Some(srtp_no_replay_protection());
        Context::new(key, salt, foreign, options, None, provider.crypto()).expect("good keys")
    };
    Pair {
        ours: SrtpSession::from_keying_material(profile, &material, Role::Server)
            .expect("good material"),
        client_sends: context(&material[..16], &salts[..salt_len]),
        client_receives: context(&material[16..32], &salts[salt_len..]),
    }
}

/// An RTP packet with one CSRC and a one-byte extension.
fn rtp(ssrc: u32, seq: u16) -> Vec<u8> {
    let mut packet = vec![0x91, 0x60];
    packet.extend(seq.to_be_bytes());
    packet.extend(90_000_u32.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(0xC0FF_EE00_u32.to_be_bytes());
    packet.extend([0xBE, 0xDE, 0, 1, 0x31, 0xAB, 0xCD, 0]);
    packet.extend((0..200).map(|byte| byte as u8));
    packet
}

/// A receiver report without report blocks.
fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
    packet
}

fn seal(session: &mut SrtpSession, plain: &[u8], rollover: u32) -> Vec<u8> {
    let header_len = rtp_header_len(plain).expect("a whole header");
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + MAX_TRAILER, 0);
    let len = session
        .outbound
        .rtp
        .protect(&mut buffer, header_len, plain.len(), rollover);
    buffer.truncate(len);
    buffer
}

#[test]
fn packets_that_we_protect_are_accepted_by_rtc_srtp() {
    for profile in PROFILES {
        let mut pair = pair(profile);
        for seq in [65_533_u16, 65_534, 65_535, 0, 1] {
            let plain = rtp(7, seq);
            let sealed = seal(&mut pair.ours, &plain, u32::from(seq < 10));
            assert_eq!(
                pair.client_receives
                    .decrypt_rtp(&sealed)
                    .expect("authentic")[..],
                plain[..]
            );
        }
        for ssrc in [7, 8, 7] {
            let plain = rtcp(ssrc);
            let mut buffer = plain.clone();
            buffer.resize(plain.len() + MAX_TRAILER, 0);
            let len = pair
                .ours
                .outbound
                .rtcp
                .protect(&mut buffer, plain.len())
                .expect("a fresh key");
            assert_eq!(
                pair.client_receives
                    .decrypt_rtcp(&buffer[..len])
                    .expect("authentic")[..],
                plain[..]
            );
        }
    }
}

#[test]
fn packets_that_rtc_srtp_protects_are_accepted_once() {
    for profile in PROFILES {
        let mut pair = pair(profile);
        let inbound = &mut pair.ours.inbound;
        let mut sealed: Vec<_> = (0..40_u32)
            .map(|n| 65_520_u32 + n)
            .map(|n| {
                pair.client_sends
                    .encrypt_rtp(&rtp(9, n as u16))
                    .expect("a good packet")
            })
            .collect();
        // The packet at the wrap is lost, its neighbours are reordered.
        sealed.drain(15..17);
        sealed[10..20].reverse();
        for packet in &sealed {
            let wire = u16::from_be_bytes([packet[2], packet[3]]);
            let mut copy = packet.to_vec();
            let opened = inbound.unprotect_rtp(&mut copy).expect("authentic");
            assert_eq!(
                opened.seq,
                SeqNo(u64::from(wire) + if wire < 100 { 65_536 } else { 0 })
            );
            assert_eq!(copy[..opened.len], rtp(9, wire)[..]);
            assert_eq!(opened.header_len, 24);
            assert_eq!(
                inbound.unprotect_rtp(&mut packet.to_vec()),
                Err(DropReason::SrtpReplay)
            );
        }
        for ssrc in [9, 10, 9] {
            let plain = rtcp(ssrc);
            let sealed = pair
                .client_sends
                .encrypt_rtcp(&plain)
                .expect("a good packet");
            let mut copy = sealed.to_vec();
            let len = inbound.unprotect_rtcp(&mut copy).expect("authentic");
            assert_eq!(copy[..len], plain[..]);
            assert_eq!(
                inbound.unprotect_rtcp(&mut sealed.to_vec()),
                Err(DropReason::SrtpReplay)
            );
        }
    }
}

#[test]
fn a_stream_that_lost_its_packets_before_the_wrap_is_accepted() {
    for profile in PROFILES {
        let mut pair = pair(profile);
        let lost = pair
            .client_sends
            .encrypt_rtp(&rtp(9, 65_535))
            .expect("a good packet");
        let first = pair
            .client_sends
            .encrypt_rtp(&rtp(9, 0))
            .expect("a good packet");
        let opened = pair
            .ours
            .inbound
            .unprotect_rtp(&mut first.to_vec())
            .expect("authentic in rollover 1");
        assert_eq!(opened.seq, SeqNo(65_536));
        // The missing packet was only late.
        let late = pair
            .ours
            .inbound
            .unprotect_rtp(&mut lost.to_vec())
            .expect("authentic in rollover 0");
        assert_eq!(late.seq, SeqNo(65_535));
    }
}

#[test]
fn a_flipped_bit_is_rejected_and_does_not_move_the_window() {
    for profile in PROFILES {
        let mut pair = pair(profile);
        let sealed = pair
            .client_sends
            .encrypt_rtp(&rtp(9, 100))
            .expect("a good packet");
        for at in 0..sealed.len() {
            let mut forged = sealed.to_vec();
            forged[at] ^= 1;
            assert!(
                pair.ours.inbound.unprotect_rtp(&mut forged).is_err(),
                "{profile:?} byte {at}"
            );
        }
        assert!(
            pair.ours
                .inbound
                .unprotect_rtp(&mut sealed.to_vec())
                .is_ok()
        );
        let sealed = pair
            .client_sends
            .encrypt_rtcp(&rtcp(9))
            .expect("a good packet");
        for at in 0..sealed.len() {
            let mut forged = sealed.to_vec();
            forged[at] ^= 1;
            assert!(
                pair.ours.inbound.unprotect_rtcp(&mut forged).is_err(),
                "{profile:?} byte {at}"
            );
        }
        assert!(
            pair.ours
                .inbound
                .unprotect_rtcp(&mut sealed.to_vec())
                .is_ok()
        );
    }
}

#[test]
fn a_truncated_packet_is_an_error_and_never_a_panic() {
    for profile in PROFILES {
        let mut pair = pair(profile);
        let sealed = pair
            .client_sends
            .encrypt_rtp(&rtp(9, 100))
            .expect("a good packet");
        let report = pair
            .client_sends
            .encrypt_rtcp(&rtcp(9))
            .expect("a good packet");
        for len in 0..sealed.len() {
            assert!(
                pair.ours
                    .inbound
                    .unprotect_rtp(&mut sealed[..len].to_vec())
                    .is_err()
            );
        }
        for len in 0..report.len() {
            assert!(
                pair.ours
                    .inbound
                    .unprotect_rtcp(&mut report[..len].to_vec())
                    .is_err()
            );
        }
    }
}

#[test]
fn a_peer_with_too_many_sources_is_limited_until_one_is_removed() {
    let mut pair = pair(Profile::AeadAes128Gcm);
    let inbound = &mut pair.ours.inbound;
    for ssrc in 0..MAX_SOURCES as u32 {
        let mut sealed = pair
            .client_sends
            .encrypt_rtp(&rtp(ssrc, 1))
            .expect("a good packet")
            .to_vec();
        inbound.unprotect_rtp(&mut sealed).expect("room for it");
    }
    let one_more = pair
        .client_sends
        .encrypt_rtp(&rtp(1000, 1))
        .expect("a good packet");
    assert_eq!(
        inbound.unprotect_rtp(&mut one_more.to_vec()),
        Err(DropReason::SrtpTooManySources)
    );
    inbound.forget(crate::ids::Ssrc(5));
    assert!(inbound.unprotect_rtp(&mut one_more.to_vec()).is_ok());
}

#[test]
fn client_and_server_sessions_are_compatible() {
    for profile in PROFILES {
        let material = vec![42; profile.keying_material_len()];
        let mut client = SrtpSession::from_keying_material(profile, &material, Role::Client)
            .expect("good material");
        let mut server = SrtpSession::from_keying_material(profile, &material, Role::Server)
            .expect("good material");
        let mut sealed = seal(&mut client, &rtp(3, 1), 0);
        let opened = server
            .inbound
            .unprotect_rtp(&mut sealed)
            .expect("authentic");
        assert_eq!(sealed[..opened.len], rtp(3, 1)[..]);
    }
}

/// RFC 7714 §16.1.1: SRTP AEAD_AES_128_GCM encryption.
#[test]
fn the_sealed_packet_of_rfc_7714_is_reproduced() {
    let key: [u8; 16] = std::array::from_fn(|n| n as u8);
    let salt = 0x5175_6964_2070_726F_2071_756F_u128.to_be_bytes()[4..]
        .try_into()
        .expect("12 bytes");
    let key = gcm::GcmKey::new(key, salt);
    let header = [
        0x80, 0x40, 0xF1, 0x7B, 0x80, 0x41, 0xF8, 0xD3, 0x55, 0x01, 0xA0, 0xB2,
    ];
    let nonce = key.rtp_nonce([0x55, 0x01, 0xA0, 0xB2], 0, [0xF1, 0x7B]);
    assert_eq!(
        nonce[..],
        0x5175_3C65_80C2_726F_2071_8414_u128.to_be_bytes()[4..]
    );
    let mut text = b"Gallia est omnis divisa in partes tres".to_vec();
    let tag = key.seal(nonce, &header, &mut text);
    assert_eq!(text[..4], [0xF2, 0x4D, 0xE3, 0xA3]);
    assert_eq!(
        tag,
        0x899D_7F27_BEB1_6A91_52CF_765E_E439_0CCE_u128.to_be_bytes()
    );
}

#[test]
fn the_key_of_the_forwarding_path_is_small() {
    // Contains ring's AES key schedule and GHASH table, the salt and a discriminant. `cargo test --
    // --nocapture` prints the size.
    println!("RtpSealer: {} bytes", size_of::<RtpSealer>());
    assert!(size_of::<RtpSealer>() <= 640);
}
