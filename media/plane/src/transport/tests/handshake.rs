//! DTLS handshakes: with loss, with every SRTP profile, and with attackers.

use super::*;

fn rtp(seq: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 111];
    packet.extend(seq.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 77, 1, 2, 3, 4, 5]);
    packet
}

fn media_flows_both_ways(link: &mut Link, profile: ProtectionProfile) {
    let (mut sends, mut receives) = link.client.srtp(profile);
    let session = link.session.as_mut().expect("connected");
    let mut packet = sends.encrypt_rtp(&rtp(5)).expect("a good packet").to_vec();
    let opened = session
        .inbound
        .unprotect_rtp(&mut packet)
        .expect("authentic");
    assert_eq!(packet[..opened.len], rtp(5)[..]);
    let mut buffer = rtp(6);
    buffer.resize(13 + 4 + srtp::MAX_TRAILER, 0);
    let len = session
        .outbound
        .rtp
        .protect(&mut buffer, 12, rtp(6).len(), 0);
    assert_eq!(
        receives.decrypt_rtp(&buffer[..len]).expect("authentic")[..],
        rtp(6)[..]
    );
}

#[test]
fn a_client_that_offers_gcm_last_gets_gcm() {
    let mut link = Link::new(vec![CM, GCM_256, GCM]);
    link.send_check(NOMINATE).expect("a valid check");
    link.run_for(Duration::from_millis(500));
    media_flows_both_ways(&mut link, ProtectionProfile::AeadAes128Gcm);
}

#[test]
fn an_encoder_that_supports_only_aes_cm_gets_it() {
    let mut link = Link::new(vec![CM]);
    link.send_check(NOMINATE).expect("a valid check");
    link.run_for(Duration::from_millis(500));
    media_flows_both_ways(&mut link, ProtectionProfile::Aes128CmHmacSha1_80);
}

#[test]
fn a_client_without_a_common_profile_fails_at_once() {
    let mut link = Link::new(vec![GCM_256]);
    link.send_check(NOMINATE).expect("a valid check");
    link.run_for(Duration::from_millis(100));
    assert_eq!(link.closed, Some(CloseReason::HandshakeFailed));
    assert!(link.session.is_none());
}

#[test]
fn the_handshake_survives_a_third_of_datagrams_lost() {
    use rand::{Rng, SeedableRng};
    for seed in 0..50 {
        let mut link = Link::new(vec![CM, GCM]);
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        link.loses = Box::new(move || rng.random_ratio(1, 3));
        while !link.client.connected {
            link.send_check(NOMINATE)
                .unwrap_or_else(|reason| panic!("seed {seed}: {reason:?}"));
            link.run_for(Duration::from_millis(500));
            link.send_to_server(link.client.flight.clone());
        }
        assert!(link.session.is_some(), "seed {seed}");
        media_flows_both_ways(&mut link, ProtectionProfile::AeadAes128Gcm);
    }
}

#[test]
fn a_client_hello_before_the_answer_is_buffered_until_the_answer() {
    let mut link = Link::before_the_answer(vec![GCM]);
    link.send_check(NOMINATE)
        .expect("its integrity is made with our password");
    link.run_for(Duration::from_millis(300));
    assert!(link.session.is_none());
    link.server.set_remote(link.now, link.client.parameters());
    link.run_for(Duration::from_millis(300));
    assert!(
        link.session.is_some(),
        "the held ClientHello was answered without a retransmission"
    );
}

#[test]
fn a_client_with_another_certificate_never_connects() {
    let mut link = Link::before_the_answer(vec![GCM]);
    let mut described = link.client.parameters();
    described.fingerprint = Fingerprint([7; 32]);
    link.server.set_remote(link.now, described);
    link.send_check(NOMINATE).expect("a valid check");
    link.run_for(Duration::from_secs(2));
    assert!(link.session.is_none());
    assert_eq!(link.closed, Some(CloseReason::HandshakeFailed));
}

#[test]
fn dtls_from_a_path_without_a_check_is_dropped() {
    let mut link = Link::new(vec![GCM]);
    let hello = link
        .client
        .dtls
        .poll_transmit()
        .expect("a ClientHello")
        .message;
    assert_eq!(
        link.server.handle(link.now, link.client.path(), &hello),
        Err(DropReason::DtlsUnknownPath)
    );
}

#[test]
fn a_flood_of_invalid_handshakes_costs_bounded_memory() {
    let mut link = Link::new(vec![GCM]);
    link.send_check(NOMINATE).expect("a valid check");
    let mut record = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0x04, 0x00];
    record.extend([1, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0x03, 0xF4]);
    record.resize(13 + 1024, 0xAA);
    let results: Vec<_> = (0..1000)
        .map(|_| link.server.handle(link.now, link.client.path(), &record))
        .collect();
    assert_eq!(results.last(), Some(&Err(DropReason::DtlsBudget)));
    assert!(results.iter().filter(|result| result.is_ok()).count() <= 48);
    assert_eq!(
        link.server
            .handle(link.now, link.client.path(), &[22, 0xFE]),
        Err(DropReason::DtlsMalformed)
    );
}

#[test]
fn unauthenticated_records_cannot_close_a_connection() {
    for link in [Link::connected(), lifetime::dormant()] {
        withstands_forgeries(link);
    }
}

fn withstands_forgeries(mut link: Link) {
    let forged: [&[u8]; 4] = [
        // An unencrypted close_notify, fatal alert, application data and ChangeCipherSpec.
        &[21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 1, 0],
        &[21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 1, 1, 0, 2, 2, 40],
        &[23, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 1, 2, 0, 2, 2, 40],
        &[20, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 1, 3, 0, 1, 1],
    ];
    for datagram in forged {
        let _ = link.server.handle(link.now, link.client.path(), datagram);
        let mut as_if_encrypted = datagram.to_vec();
        as_if_encrypted[4] = 1;
        let _ = link
            .server
            .handle(link.now, link.client.path(), &as_if_encrypted);
    }
    // A repeated ClientHello from the same address must not restart the handshake.
    let mut hello = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 2, 0, 0x00, 0x30];
    hello.extend([1, 0, 0, 0x24, 0, 0, 0, 0, 0, 0, 0, 0x24, 0xFE, 0xFD]);
    hello.resize(13 + 0x30, 3);
    for _ in 0..1000 {
        let _ = link.server.handle(link.now, link.client.path(), &hello);
    }
    link.run_for(Duration::from_millis(500));
    assert_eq!(link.closed, None);
    media_flows_both_ways(&mut link, ProtectionProfile::AeadAes128Gcm);
}
