//! Ends of connections: close_notify, silence timeout, handshake timeout.

use super::*;

#[test]
fn a_client_that_sends_close_notify_is_closed_at_once() {
    let mut link = Link::connected();
    link.client
        .dtls
        .close(link.now)
        .expect("an open connection");
    link.run_for(Duration::from_millis(50));
    assert_eq!(link.closed, Some(CloseReason::PeerClosed));
    assert_eq!(link.send_check(NOMINATE), Err(DropReason::TransportClosed));
    assert_eq!(link.server.poll_timeout(), None);
}

#[test]
fn close_notify_of_the_server_reaches_the_client() {
    let mut link = Link::connected();
    link.server.close(link.now);
    link.run_for(Duration::from_millis(50));
    assert_eq!(link.closed, Some(CloseReason::Local));
    assert!(link.client.closed);
}

/// Makes a link whose connection has become dormant during a lesson.
pub(super) fn dormant() -> Link {
    let mut link = Link::connected();
    for _ in 0..10 {
        link.run_for(Duration::from_secs(2));
        link.send_check(NOMINATE).expect("a valid check");
    }
    link
}

#[test]
fn a_dormant_connection_receives_and_sends_close_notify() {
    let mut link = dormant();
    link.client
        .dtls
        .close(link.now)
        .expect("an open connection");
    link.run_for(Duration::from_millis(50));
    assert_eq!(link.closed, Some(CloseReason::PeerClosed));
    let mut link = dormant();
    link.server.close(link.now);
    link.run_for(Duration::from_millis(50));
    assert_eq!(link.closed, Some(CloseReason::Local));
    assert!(link.client.closed);
}

#[test]
fn a_classroom_whose_cable_was_pulled_is_removed_within_ten_seconds() {
    let mut link = Link::connected();
    let last = link.now;
    link.send_check(NOMINATE).expect("a valid check");
    while link.closed.is_none() {
        link.run_for(Duration::from_millis(100));
    }
    assert_eq!(link.closed, Some(CloseReason::ConsentExpired));
    assert!(link.now - last >= SILENCE_TIMEOUT && link.now - last < Duration::from_secs(9));
}

#[test]
fn a_client_that_checks_every_two_and_a_half_seconds_may_lose_two_in_a_row() {
    let mut link = Link::connected();
    for round in 0..24 {
        link.run_for(Duration::from_millis(2500));
        if round % 3 == 0 {
            link.send_check(NOMINATE).expect("a valid check");
        }
    }
    assert_eq!(link.closed, None);
}

#[test]
fn media_covers_a_lost_check_of_an_agent_that_checks_every_six_seconds() {
    let mut link = Link::connected();
    for _ in 0..11 {
        link.run_for(Duration::from_secs(1));
        link.server.note_alive(link.now);
    }
    assert_eq!(link.closed, None);
}

#[test]
fn media_alone_does_not_renew_consent() {
    let mut link = Link::connected();
    let last = link.now;
    while link.closed.is_none() {
        link.run_for(Duration::from_secs(1));
        link.server.note_alive(link.now);
    }
    assert_eq!(link.closed, Some(CloseReason::ConsentExpired));
    assert!(link.now - last <= CONSENT_TIMEOUT + Duration::from_secs(1));
}

#[test]
fn a_peer_that_never_checks_times_out() {
    let mut link = Link::new(vec![GCM]);
    link.loses = Box::new(|| true);
    let begin = link.now;
    assert_eq!(link.server.poll_timeout(), Some(begin + HANDSHAKE_TIMEOUT));
    while link.closed.is_none() {
        link.run_for(Duration::from_millis(500));
    }
    assert_eq!(link.closed, Some(CloseReason::HandshakeTimeout));
    assert!(link.now - begin < HANDSHAKE_TIMEOUT + Duration::from_secs(1));
}

#[test]
fn a_peer_that_checks_without_a_handshake_times_out() {
    let mut link = Link::new(vec![GCM]);
    link.loses = Box::new(|| true);
    while link.closed.is_none() {
        link.send_check(NOMINATE).expect("a valid check");
        link.run_for(Duration::from_secs(1));
    }
    assert_eq!(link.closed, Some(CloseReason::HandshakeTimeout));
}
