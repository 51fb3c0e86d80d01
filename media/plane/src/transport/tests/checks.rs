//! Connectivity checks by `rtc-stun`, valid and invalid; nomination, network changes, ICE restarts.

use rtc_stun::attributes::*;
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, Setter, TransactionId};
use rtc_stun::textattrs::TextAttribute;
use rtc_stun::xoraddr::XorMappedAddress;

use super::*;

pub(super) fn build(username: &str, pwd: &str, check: Check) -> Vec<u8> {
    let crypto = crypto();
    let mut message = Message::new();
    message
        .build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)])
        .expect("a header");
    TextAttribute::new(ATTR_USERNAME, username.into())
        .add_to(&mut message)
        .expect("a username");
    if check.priority {
        message.add(ATTR_PRIORITY, &1_845_501_695_u32.to_be_bytes());
    }
    message.add(
        if check.controlled {
            ATTR_ICE_CONTROLLED
        } else {
            ATTR_ICE_CONTROLLING
        },
        &[7; 8],
    );
    if check.use_candidate {
        message.add(ATTR_USE_CANDIDATE, &[]);
    }
    if let Some(kind) = check.unknown {
        message.add(AttrType(kind), &[1, 2, 3]);
    }
    MessageIntegrity::new_short_term_integrity_with_provider(pwd.into(), crypto.crypto())
        .add_to(&mut message)
        .expect("a key");
    FINGERPRINT.add_to(&mut message).expect("room");
    message.raw
}

fn response(server: &mut Transport) -> Option<Message> {
    while let Some(output) = server.poll_output() {
        if let Output::Transmit { datagram, .. } = output {
            let mut message = Message::new();
            message
                .unmarshal_binary(&datagram)
                .expect("a well-formed answer");
            FINGERPRINT.check(&message).expect("a right fingerprint");
            return Some(message);
        }
    }
    None
}

fn error_code(server: &mut Transport) -> u16 {
    let mut code = ErrorCodeAttribute::default();
    code.get_from(&response(server).expect("an answer"))
        .expect("an error code");
    code.code.0
}

#[test]
fn a_valid_check_gets_the_mapped_address() {
    for from in ["10.0.0.9:5000", "[2001:db8::9]:5000"] {
        let mut link = Link::new(vec![GCM]);
        let path = Path::udp(address(from));
        let check = link.client.check(PLAIN);
        assert_eq!(link.server.handle(link.now, path, &check), Ok(()));
        let mut answer = response(&mut link.server).expect("an answer");
        assert_eq!(answer.typ, BINDING_SUCCESS);
        assert_eq!(answer.transaction_id.0, check[8..20]);
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&answer).expect("the mapped address");
        assert_eq!(SocketAddr::new(mapped.ip, mapped.port), path.remote);
        MessageIntegrity::check(
            &mut answer,
            link.client.remote.pwd.as_bytes(),
            crypto().crypto(),
        )
        .expect("our password");
    }
}

#[test]
fn the_shard_finds_the_peer_by_its_ufrag() {
    let link = Link::new(vec![GCM]);
    let check = link.client.check(PLAIN);
    assert_eq!(local_ufrag_of(&check), Some("first-of-the-server"));
    for len in 0..check.len() {
        assert_eq!(local_ufrag_of(&check[..len]), None);
    }
    let mut response = check.clone();
    response[0] = 1;
    assert_eq!(local_ufrag_of(&response), None);
}

#[test]
fn an_invalid_check_gets_the_error_of_the_rfc_and_opens_no_path() {
    let mut link = Link::new(vec![GCM]);
    let ours = credentials("first");
    let path = link.client.path();
    let unknown = Check {
        unknown: Some(0x7FAB),
        ..PLAIN
    };
    let cases = [
        (
            build("nobody:brow", &ours.pwd, PLAIN),
            DropReason::StunUnknownPeer,
            401,
        ),
        (
            build(&format!("{}:someone", ours.ufrag), &ours.pwd, PLAIN),
            DropReason::StunUnknownPeer,
            401,
        ),
        (
            build("no colon", &ours.pwd, PLAIN),
            DropReason::StunIncomplete,
            400,
        ),
        (
            build(&format!("{}:brow", ours.ufrag), "guessed", PLAIN),
            DropReason::StunBadIntegrity,
            401,
        ),
        (
            link.client.check(unknown),
            DropReason::StunUnknownAttribute,
            420,
        ),
        (
            link.client.check(Check {
                priority: false,
                ..PLAIN
            }),
            DropReason::StunIncomplete,
            400,
        ),
        (
            link.client.check(Check {
                controlled: true,
                ..PLAIN
            }),
            DropReason::StunRoleConflict,
            487,
        ),
    ];
    for (check, reason, code) in cases {
        assert_eq!(link.server.handle(link.now, path, &check), Err(reason));
        assert_eq!(error_code(&mut link.server), code, "{reason:?}");
        assert!(!link.server.has_path(path) && link.server.path().is_none());
    }
    let optional = Check {
        unknown: Some(0xC057),
        ..PLAIN
    };
    assert_eq!(
        link.server
            .handle(link.now, path, &link.client.check(optional)),
        Ok(()),
        "optional attributes are ignored"
    );
}

#[test]
fn damaged_stun_is_dropped_without_a_response() {
    let mut link = Link::new(vec![GCM]);
    let check = link.client.check(PLAIN);
    for at in 0..check.len() {
        let mut damaged = check.clone();
        damaged[at] ^= 0x10;
        let result = link.server.handle(link.now, link.client.path(), &damaged);
        assert!(result.is_err(), "byte {at}");
        assert!(
            response(&mut link.server).is_none(),
            "byte {at} was answered"
        );
    }
    for len in 1..check.len() {
        assert_eq!(
            link.server
                .handle(link.now, link.client.path(), &check[..len]),
            Err(DropReason::StunMalformed)
        );
    }
    assert_eq!(
        link.server.handle(link.now, link.client.path(), &[]),
        Err(DropReason::UnknownProtocol)
    );
    assert_eq!(
        link.server.handle(link.now, link.client.path(), &[128, 0]),
        Err(DropReason::UnknownProtocol)
    );
}

#[test]
fn a_nomination_after_message_integrity_is_ignored() {
    let mut link = Link::connected();
    let mut check = link.client.check(PLAIN);
    check.truncate(check.len() - 8);
    check.extend([0, 0x25, 0, 0]);
    let mut message = Message::new();
    let len = (check.len() - 20) as u16;
    check[2..4].copy_from_slice(&len.to_be_bytes());
    message.unmarshal_binary(&check).expect("well-formed");
    FINGERPRINT.add_to(&mut message).expect("room");
    let elsewhere = Path::udp(address("172.16.0.1:1"));
    assert_eq!(
        link.server.handle(link.now, elsewhere, &message.raw),
        Ok(())
    );
    assert_eq!(link.server.path(), Some(link.client.path()));
}

#[test]
fn media_follows_the_client_to_its_new_network() {
    let mut link = Link::connected();
    let home = link.client.path();
    link.client.address = address("100.64.3.4:6000");
    link.send_check(PLAIN).expect("a valid check");
    assert_eq!(
        link.server.path(),
        Some(home),
        "a check alone does not move media"
    );
    link.send_check(NOMINATE).expect("a valid check");
    assert_eq!(link.selected, [home, link.client.path()]);
    assert!(
        link.server.has_path(home),
        "late packets from the old network are still welcome"
    );
}

#[test]
fn a_check_without_the_servers_password_does_not_move_media() {
    let mut link = Link::connected();
    let home = link.server.path();
    let forged = build("first-of-the-server:brow", "not our password", NOMINATE);
    let elsewhere = Path::udp(address("172.16.0.1:1"));
    assert_eq!(
        link.server.handle(link.now, elsewhere, &forged),
        Err(DropReason::StunBadIntegrity)
    );
    assert_eq!(link.server.path(), home);
    assert!(!link.server.has_path(elsewhere));
}

#[test]
fn a_peer_that_checks_from_many_addresses_keeps_a_bounded_number_of_paths() {
    let mut link = Link::connected();
    let home = link.client.path();
    for port in 1..200 {
        link.client.address.set_port(port);
        link.now += Duration::from_millis(1);
        link.send_check(PLAIN).expect("a valid check");
    }
    assert!(
        link.server.has_path(home),
        "the selected path is never forgotten"
    );
    let known = (1..200).filter(|port| {
        let mut path = home;
        path.remote.set_port(*port);
        link.server.has_path(path)
    });
    assert_eq!(known.count(), 7);
}

#[test]
fn an_ice_restart_keeps_media_running_and_retires_the_old_credentials_at_the_first_new_check() {
    let mut link = Link::connected();
    let home = link.server.path();
    link.server.restart_ice(link.now, credentials("second"));
    link.send_check(NOMINATE)
        .expect("the old credentials are valid until the new ones are used");
    let old = (link.client.remote.clone(), link.client.local.clone());
    link.client.remote = credentials("second");
    link.client.local = IceCredentials {
        ufrag: "again".into(),
        pwd: "another password of a browser".into(),
    };
    link.server.set_remote_ice(link.client.local.clone());
    link.client.address = address("100.64.3.4:6000");
    link.send_check(PLAIN).expect("a valid check");
    assert_eq!(
        link.server.path(),
        home,
        "media stays where it is until the new path is nominated"
    );
    link.send_check(NOMINATE).expect("a valid check");
    assert_eq!(link.server.path(), Some(link.client.path()));
    let stale = build(
        &format!("{}:{}", old.0.ufrag, old.1.ufrag),
        &old.0.pwd,
        NOMINATE,
    );
    assert_eq!(
        link.server.handle(link.now, link.client.path(), &stale),
        Err(DropReason::StunUnknownPeer)
    );
    assert!(link.closed.is_none());
}

#[test]
fn fresh_credentials_have_the_alphabet_and_length_of_rfc_8839() {
    use rand::SeedableRng;
    let mut rng = rand::rngs::StdRng::seed_from_u64(1);
    let (one, two) = (
        IceCredentials::random(&mut rng),
        IceCredentials::random(&mut rng),
    );
    assert_ne!(one, two);
    assert!((4..=256).contains(&one.ufrag.len()) && (22..=256).contains(&one.pwd.len()));
    let is_ice_char = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
    assert!(one.ufrag.chars().chain(one.pwd.chars()).all(is_ice_char));
    assert!(
        !format!("{one:?}").contains(&one.pwd),
        "passwords stay out of logs"
    );
}
