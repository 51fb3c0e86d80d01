//! Hostile and damaged descriptions: the result is an answer or an error, never a panic or an
//! injected line.

use super::*;
use crate::index::MAX_LAYERS;

/// Runs the complete negotiation on a text.
fn negotiate(text: &str) {
    let server = Server::new();
    let _ = parse_fragment(text);
    let Ok(description) = parse(text) else { return };
    let sent: Vec<_> = (0..description.mlines() as u32).map(outgoing).collect();
    let answers = [
        answer_publisher(&description, &server.local(), &PREFERENCE).map(|(answer, _)| answer),
        answer_subscriber(&description, &server.local(), &sent).map(|(answer, _)| answer),
    ];
    for answer in answers.into_iter().flatten() {
        assert_eq!(answer.matches("\r\nm=").count(), description.mlines());
        parse(&answer).expect("our own answer is valid");
    }
    let slots = [OfferedSlot {
        kind: MediaKind::Video,
        outgoing: outgoing(1),
    }];
    let _ = parse_answer(&description, &slots);
}

#[test]
fn a_description_cut_anywhere_never_panics() {
    for text in ALL_OFFERS {
        for len in (0..text.len()).step_by(7) {
            negotiate(&text[..len]);
        }
    }
}

#[test]
fn a_description_with_any_line_missing_or_doubled_never_panics() {
    for text in ALL_OFFERS {
        let lines: Vec<&str> = text.split("\r\n").collect();
        for at in 0..lines.len() {
            let mut fewer = lines.clone();
            fewer.remove(at);
            negotiate(&fewer.join("\r\n"));
            let mut more = lines.clone();
            more.insert(at, lines[lines.len() - 1 - at]);
            negotiate(&more.join("\r\n"));
        }
    }
}

#[test]
fn a_description_with_any_byte_changed_never_panics() {
    use rand::{Rng, SeedableRng};
    let mut rng = rand::rngs::StdRng::seed_from_u64(2);
    for text in ALL_OFFERS {
        for _ in 0..400 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = *b"09 :/;=\n\raz-~"
                    .get(rng.random_range(0..13))
                    .expect("13 characters");
            }
            negotiate(&String::from_utf8(bytes).expect("ASCII"));
        }
    }
}

#[test]
fn an_offer_cannot_inject_a_line_into_the_answer() {
    let server = Server::new();
    let evil = OBS.replace(
        "a=fmtp:96 profile-level-id",
        "a=fmtp:96 x=\u{b}a=fingerprint:sha-256 00;profile-level-id",
    );
    assert!(
        matches!(parse(&evil), Err(NegotiationError::Malformed { .. })),
        "control characters are rejected"
    );
    let evil = OBS.replace("a=mid:1", "a=mid:1 a=setup:active");
    assert!(parse(&evil).is_err());
    let evil = OBS.replace("useinbandfec=1", "useinbandfec=1\r\ra=ice-lite");
    assert!(parse(&evil).is_err());
    let (answer, _) =
        answer_publisher(&parse(OBS).expect("good"), &server.local(), &PREFERENCE).expect("usable");
    assert!(answer.lines().all(|line| line.as_bytes()[1] == b'='));
}

#[test]
fn ssrcs_and_rids_beyond_the_limits_are_ignored() {
    let mut text = OBS.to_owned();
    for n in 0..3000 {
        text.push_str(&format!(
            "a=ssrc:{n} cname:x\r\na=rid:r{n} send\r\na=ssrc-group:FID {n} {}\r\n",
            n + 1
        ));
    }
    let (_, media) = answer_publisher(
        &parse(&text).expect("good"),
        &Server::new().local(),
        &PREFERENCE,
    )
    .expect("usable");
    assert_eq!(
        (media[1].rids.len(), media[1].sources.len()),
        (MAX_LAYERS, 1)
    );
}
