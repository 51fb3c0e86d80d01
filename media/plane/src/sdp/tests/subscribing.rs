//! Subscribers: offers of players, and the answers of our own client.

use super::*;

fn slots(kinds: &[MediaKind]) -> Vec<OfferedSlot> {
    let slot = |(n, kind): (usize, &MediaKind)| OfferedSlot {
        kind: *kind,
        outgoing: outgoing(n as u32),
    };
    kinds.iter().enumerate().map(slot).collect()
}

#[test]
fn a_player_gets_every_common_codec_under_its_own_payload_types() {
    let server = Server::new();
    let offer = parse(PLAYER).expect("Chromium's offer");
    let sent: Vec<_> = (0..offer.mlines() as u32).map(outgoing).collect();
    let (answer, media) = answer_subscriber(&offer, &server.local(), &sent).expect("usable");
    assert_rtc_sdp_parses(&answer);
    let [video, audio] = media.as_slice() else {
        panic!("{media:?}")
    };
    let codecs: Vec<_> = video
        .codecs
        .iter()
        .map(|codec| (codec.codec, codec.pt, codec.rtx_pt))
        .collect();
    assert_eq!(
        codecs[..2],
        [(Codec::Vp8, 96, Some(97)), (Codec::Vp9, 98, Some(99))],
        "in the player's order of preference"
    );
    assert!(codecs.contains(&(Codec::H264, 108, Some(109))));
    assert_eq!(
        (video.extensions.mid, video.extensions.transport_cc),
        (Some(9), Some(4))
    );
    assert_eq!(
        (audio.codecs[0].codec, audio.codecs[0].pt, audio.red_pt),
        (Codec::Opus, 111, Some(63))
    );
    let video = section(&answer, 0);
    for line in [
        "a=sendonly",
        "a=setup:passive",
        "a=msid:room0 track0",
        "a=ssrc-group:FID 1000 2000",
        "a=ssrc:1000 cname:room0",
        "a=ssrc:2000 cname:room0",
        "a=rtpmap:108 H264/90000",
    ] {
        assert!(
            video.contains(&format!("{line}\r\n")),
            "{line} is missing in\n{video}"
        );
    }
    assert!(section(&answer, 1).contains("a=rtpmap:111 opus/48000/2\r\n"));
    assert_eq!(
        answer_subscriber(&parse(CAMERA).expect("good"), &server.local(), &sent).map(|_| ()),
        Err(NegotiationError::NothingUsable),
        "a send-only offer cannot receive"
    );
}

#[test]
fn the_offer_has_the_same_payload_types_for_all_and_grows_at_its_end() {
    let server = Server::new();
    let first = slots(&[MediaKind::Audio, MediaKind::Video]);
    let offer = offer_subscriber(&server.local(), 1, &first);
    assert_rtc_sdp_parses(&offer);
    let grown = offer_subscriber(
        &server.local(),
        2,
        &slots(&[MediaKind::Audio, MediaKind::Video, MediaKind::Video]),
    );
    for n in 0..2 {
        assert_eq!(section(&offer, n), section(&grown, n));
    }
    assert!(offer.contains("o=- 1 1 ") && grown.contains("o=- 1 2 "));
    assert!(grown.contains("a=group:BUNDLE 0 1 2\r\n"));
    let video = section(&offer, 1);
    assert!(
        video.starts_with("m=video 8189 UDP/TLS/RTP/SAVPF 102 103 96 97 98 99 45 46\r\n"),
        "{video}"
    );
    assert!(video.contains("a=setup:actpass\r\n") && video.contains("a=extmap:2 http"));
    assert!(section(&offer, 0).starts_with("m=audio 8189 UDP/TLS/RTP/SAVPF 63 111\r\n"));
}

/// Returns the client's answer, written by our own answering side.
fn answered(offer: &str) -> String {
    let page = Server::new();
    let offer = parse(&offer.replace("a=sendonly", "a=sendrecv")).expect("our own offer");
    answer_publisher(&offer, &page.local(), &PREFERENCE)
        .expect("usable")
        .0
}

#[test]
fn the_clients_answer_accepts_or_rejects_each_slot() {
    let server = Server::new();
    let slots = slots(&[MediaKind::Audio, MediaKind::Video, MediaKind::Video]);
    let offer = offer_subscriber(&server.local(), 1, &slots);
    let answer = answered(&offer).replace("a=setup:passive", "a=setup:active");
    let read = parse_answer(&parse(&answer).expect("good"), &slots).expect("it fits");
    assert_eq!(read.len(), 3);
    assert_eq!(read[0].red_pt, Some(payload_types::RED));
    assert_eq!(
        read[1].codecs,
        [AcceptedCodec {
            codec: Codec::H264,
            pt: 102,
            rtx_pt: Some(103)
        }]
    );
    assert_eq!(read[2].outgoing, slots[2].outgoing);
    assert_eq!(read[1].extensions, OFFERED_EXTENSIONS);

    let refused = answer.replacen("m=video 8189", "m=video 0", 1);
    let read = parse_answer(&parse(&refused).expect("good"), &slots).expect("it fits");
    assert!(read[1].codecs.is_empty() && !read[2].codecs.is_empty());
}

#[test]
fn an_answer_that_does_not_fit_the_offer_is_an_error() {
    let server = Server::new();
    let slots = slots(&[MediaKind::Audio, MediaKind::Video]);
    let answer = answered(&offer_subscriber(&server.local(), 1, &slots));
    let read = |text: &str, slots: &[OfferedSlot]| {
        parse_answer(&parse(text).expect("well-formed"), slots)
            .map(|_| ())
            .map_err(|error| error.code())
    };
    assert_eq!(
        read(&answer, &slots),
        Err("sdp_setup_conflict"),
        "we are the DTLS server"
    );
    let answer = answer.replace("a=setup:passive", "a=setup:active");
    assert_eq!(read(&answer, &slots), Ok(()));
    assert_eq!(read(&answer, &slots[..1]), Err("sdp_answer_mismatch"));
    let swapped = [slots[1].clone(), slots[0].clone()];
    assert_eq!(read(&answer, &swapped), Err("sdp_answer_mismatch"));
    assert_eq!(
        read(&answer.replace("a=mid:1", "a=mid:7"), &slots),
        Err("sdp_answer_mismatch")
    );
}

#[test]
fn a_codec_under_another_payload_type_is_not_used() {
    let server = Server::new();
    let slots = slots(&[MediaKind::Video]);
    let answer = answered(&offer_subscriber(&server.local(), 1, &slots))
        .replace("a=setup:passive", "a=setup:active");
    let renumbered = answer.replace("102", "110");
    let read = parse_answer(&parse(&renumbered).expect("good"), &slots).expect("it fits");
    assert!(read[0].codecs.is_empty());
}

#[test]
fn fragments_trickle_candidates_and_restart_ice() {
    let server = Server::new();
    let text = write_fragment(&server.local(), "0");
    let fragment = parse_fragment(&text).expect("our own fragment");
    assert_eq!(
        fragment,
        Fragment {
            ice: server.ice.clone(),
            candidates: 3,
            is_complete: true
        }
    );
    // Abridged example of RFC 9725 §4.3.1.
    let trickle = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n\
                   a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";
    let fragment = parse_fragment(trickle).expect("good");
    assert_eq!(
        (
            fragment.ice.ufrag.as_str(),
            fragment.candidates,
            fragment.is_complete
        ),
        ("EsAw", 1, false)
    );
    assert_eq!(
        parse_fragment("a=end-of-candidates\r\n"),
        Err(NegotiationError::NoIceCredentials)
    );
    assert!(parse_fragment("candidate").is_err());
}
