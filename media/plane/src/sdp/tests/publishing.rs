//! Publishers: selected codecs and layers, and the answer.

use super::*;

#[test]
fn a_camera_with_three_layers_sends_h264_and_opus_with_red() {
    let server = Server::new();
    let offer = parse(CAMERA).expect("Chromium's offer");
    let (answer, media) = answer_publisher(&offer, &server.local(), &PREFERENCE).expect("usable");
    assert_rtc_sdp_parses(&answer);
    let [audio, video] = media.as_slice() else {
        panic!("{media:?}")
    };
    assert_eq!(
        (audio.codec, audio.pt, audio.red_pt, audio.rtx_pt),
        (Codec::Opus, 111, Some(63), None)
    );
    assert_eq!(
        (audio.mid.as_str(), audio.mline, audio.clock_rate),
        ("0", 0, 48_000)
    );
    assert_eq!(
        (audio.extensions.audio_level, audio.extensions.transport_cc),
        (Some(1), Some(3))
    );
    assert_eq!(
        audio.sources,
        [SsrcPair {
            primary: Ssrc(1_877_617_868),
            rtx: None
        }]
    );
    assert_eq!(
        (video.codec, video.pt, video.rtx_pt),
        (Codec::H264, 108, Some(109)),
        "42e01f before 42001f"
    );
    assert_eq!(video.rids, ["q", "h", "f"]);
    assert_eq!(
        (
            video.extensions.mid,
            video.extensions.rid,
            video.extensions.repaired_rid
        ),
        (Some(4), Some(10), Some(11))
    );
    assert_eq!(
        video.extensions.abs_send_time, None,
        "not needed with transport-wide sequence numbers"
    );
    assert_eq!(
        video.stream.as_deref(),
        Some("e3766676-755c-4ea5-a39d-30e5d37c499d")
    );

    let answered = section(&answer, 1);
    for line in [
        "m=video 8189 UDP/TLS/RTP/SAVPF 108 109",
        "a=mid:1",
        "a=setup:passive",
        "a=rtcp-mux",
        "a=recvonly",
        "a=rtpmap:108 H264/90000",
        "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        "a=rtcp-fb:108 nack pli",
        "a=rtcp-fb:108 transport-cc",
        "a=fmtp:109 apt=108",
        "a=rid:h recv",
        "a=simulcast:recv q;h;f",
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host",
        "a=candidate:3 1 tcp 1520435199 192.0.2.1 8443 typ host tcptype passive",
        "a=end-of-candidates",
    ] {
        assert!(
            answered.contains(&format!("{line}\r\n")),
            "{line} is missing in\n{answered}"
        );
    }
    assert!(
        !answered.contains("msid") && !answered.contains("ssrc") && !answered.contains("goog-remb")
    );
    assert!(answer.contains("a=ice-lite\r\n") && answer.contains("a=group:BUNDLE 0 1\r\n"));
    let audio = section(&answer, 0);
    assert!(
        audio.starts_with("m=audio 8189 UDP/TLS/RTP/SAVPF 63 111\r\n"),
        "RED stands first: {audio}"
    );
    assert!(audio.contains("a=fmtp:63 111/111\r\n") && audio.contains("useinbandfec=1"));
}

#[test]
fn the_codec_preference_decides_the_publishers_codec() {
    let server = Server::new();
    let offer = parse(SCREEN).expect("Chromium's offer");
    for (codec, pt) in [
        (Codec::H264, 108),
        (Codec::Vp8, 96),
        (Codec::Vp9, 98),
        (Codec::Av1, 45),
    ] {
        let (answer, media) = answer_publisher(&offer, &server.local(), &[codec]).expect("usable");
        assert_rtc_sdp_parses(&answer);
        assert_eq!(
            (media[0].codec, media[0].pt, media[0].rtx_pt),
            (codec, pt, Some(pt + 1))
        );
        assert!(media[0].rids.is_empty());
        assert_eq!(media[0].sources.len(), 1);
        assert!(
            media[0].sources[0].rtx.is_some(),
            "the FID group has the retransmission SSRC"
        );
    }
    assert_eq!(
        answer_publisher(&offer, &server.local(), &[]),
        Err(NegotiationError::NothingUsable)
    );
}

#[test]
fn a_data_channel_is_rejected_in_its_m_section() {
    let server = Server::new();
    let offer = parse(DATA_CHANNEL).expect("Chromium's offer");
    let (answer, media) = answer_publisher(&offer, &server.local(), &PREFERENCE).expect("usable");
    assert_rtc_sdp_parses(&answer);
    assert_eq!(answer.matches("\r\nm=").count(), offer.mlines());
    let place = offer
        .media
        .iter()
        .position(|media| media.media_type == "application")
        .expect("a data channel");
    assert!(
        section(&answer, place).starts_with("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n")
    );
    assert!(media.iter().all(|media| media.mline != place));
}

#[test]
fn gstreamer_joins_by_whip_with_its_own_ids_and_a_bundle_only_section() {
    let server = Server::new();
    let offer = parse(GSTREAMER).expect("GStreamer's offer");
    let (answer, media) = answer_publisher(&offer, &server.local(), &PREFERENCE).expect("usable");
    assert_rtc_sdp_parses(&answer);
    let [video, audio] = media.as_slice() else {
        panic!("{media:?}")
    };
    assert_eq!(
        (video.mid.as_str(), video.codec, video.pt, video.rtx_pt),
        ("video0", Codec::H264, 97, Some(100))
    );
    assert_eq!(
        video.sources,
        [SsrcPair {
            primary: Ssrc(1_046_093_480),
            rtx: Some(Ssrc(1_914_373_014))
        }]
    );
    assert_eq!(
        video.extensions,
        ExtensionIds {
            transport_cc: Some(1),
            ..ExtensionIds::default()
        }
    );
    assert_eq!(
        (audio.mid.as_str(), audio.codec, audio.pt, audio.red_pt),
        ("audio1", Codec::Opus, 101, None)
    );
    assert!(answer.contains("a=group:BUNDLE video0 audio1\r\n"));
    assert!(
        section(&answer, 1).starts_with("m=audio 8189 "),
        "a bundle-only m-section is accepted with the port of the others"
    );
}

#[test]
fn obs_joins_by_whip_with_transport_attributes_on_session_level() {
    let server = Server::new();
    let offer = parse(OBS).expect("OBS's offer");
    assert_eq!(offer.remote().ice.ufrag, "jsfj");
    let (answer, media) = answer_publisher(&offer, &server.local(), &PREFERENCE).expect("usable");
    assert_rtc_sdp_parses(&answer);
    let [audio, video] = media.as_slice() else {
        panic!("{media:?}")
    };
    assert_eq!(
        (video.codec, video.pt, video.rtx_pt),
        (Codec::H264, 96, None)
    );
    assert_eq!(
        video.sources,
        [SsrcPair {
            primary: Ssrc(1_377_361_618),
            rtx: None
        }]
    );
    assert_eq!(audio.track.as_deref(), Some("9Rz0pVbJkN4yXa2L-audio"));
    assert!(
        section(&answer, 0).contains("stereo=1"),
        "a music lesson keeps stereo"
    );
}

#[test]
fn ssrc_simulcast_has_its_layers_in_the_order_of_the_sim_group() {
    let offer = OBS.replace(
        "a=ssrc:1377361618 cname:kQ5o3Xbg7Mc2ZtWH\r\n",
        "a=ssrc-group:SIM 11 12 13\r\na=ssrc-group:FID 12 22\r\na=ssrc:13 cname:x\r\na=ssrc:22 cname:x\r\n",
    );
    let server = Server::new();
    let (_, media) = answer_publisher(&parse(&offer).expect("good"), &server.local(), &PREFERENCE)
        .expect("usable");
    let pair = |primary, rtx: Option<u32>| SsrcPair {
        primary: Ssrc(primary),
        rtx: rtx.map(Ssrc),
    };
    assert_eq!(
        media[1].sources,
        [pair(11, None), pair(12, Some(22)), pair(13, None)]
    );
}

#[test]
fn an_m_section_outside_the_bundle_is_rejected() {
    let server = Server::new();
    let unbundled = CAMERA.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0");
    let (answer, media) = answer_publisher(
        &parse(&unbundled).expect("good"),
        &server.local(),
        &PREFERENCE,
    )
    .expect("usable");
    assert_eq!(media.len(), 1);
    assert!(section(&answer, 1).starts_with("m=video 0 "));
    let no_group = CAMERA.replace("a=group:BUNDLE 0 1\r\n", "");
    let (answer, media) = answer_publisher(
        &parse(&no_group).expect("good"),
        &server.local(),
        &PREFERENCE,
    )
    .expect("usable");
    assert_eq!(media.len(), 1);
    assert!(!answer.contains("BUNDLE"));
}

#[test]
fn only_baseline_h264_in_packetization_mode_1_is_accepted() {
    let server = Server::new();
    let with = |parameters: &str| {
        let text = OBS.replace(
            "profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1",
            parameters,
        );
        answer_publisher(&parse(&text).expect("good"), &server.local(), &PREFERENCE)
            .map(|(_, media)| media.len())
    };
    for taken in [
        "packetization-mode=1;profile-level-id=42001f",
        "PACKETIZATION-MODE=1; profile-level-id=42C015",
        "packetization-mode=1",
    ] {
        assert_eq!(with(taken), Ok(2), "{taken}");
    }
    for refused in [
        "profile-level-id=42e01f",
        "packetization-mode=1;profile-level-id=64001f",
        "packetization-mode=1;profile-level-id=42",
    ] {
        assert_eq!(with(refused), Ok(1), "{refused}: only the audio is left");
    }
}

#[test]
fn an_unusable_offer_fails_with_its_error_code() {
    let server = Server::new();
    let outcome = |text: &str| match parse(text) {
        Ok(offer) => answer_publisher(&offer, &server.local(), &PREFERENCE).map(|_| ()),
        Err(error) => Err(error),
    };
    let cases = [
        (
            OBS.replace("a=setup:actpass", "a=setup:passive"),
            "sdp_setup_conflict",
        ),
        (OBS.replace("a=rtcp-mux\r\n", ""), "sdp_no_rtcp_mux"),
        (
            OBS.replace("sha-256", "sha-1"),
            "sdp_unsupported_fingerprint",
        ),
        (
            OBS.replace("a=fingerprint", "a=fingertip"),
            "sdp_no_fingerprint",
        ),
        (OBS.replace("C5:2E", "C52E"), "sdp_bad_fingerprint"),
        (
            OBS.replace("a=ice-pwd", "a=ice-pot"),
            "sdp_no_ice_credentials",
        ),
        (OBS.replace("a=mid:1", "a=mid:0"), "sdp_duplicate_mid"),
        (OBS.replace("sendonly", "recvonly"), "sdp_nothing_usable"),
        (
            OBS.replace("m=audio 52421", "m=audio many"),
            "sdp_malformed",
        ),
        (OBS.replace("v=0", "v=1"), "sdp_malformed"),
        (String::new(), "sdp_no_media"),
        ("v=0\r\n".into(), "sdp_no_media"),
        ("{\"sdp\":\"v=0\"}".into(), "sdp_malformed"),
        (
            format!(
                "{OBS}{}",
                "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(MAX_MLINES)
            ),
            "sdp_too_many_media",
        ),
        ("a".repeat(MAX_DESCRIPTION_BYTES + 1), "sdp_too_long"),
    ];
    for (text, code) in cases {
        assert_eq!(outcome(&text).map_err(|error| error.code()), Err(code));
    }
    assert_eq!(
        outcome(&OBS.replace("\r\n", "\n")),
        Ok(()),
        "LF line endings are accepted"
    );
    assert_eq!(
        outcome(&OBS.replace("a=setup:actpass", "a=setup:active")),
        Ok(())
    );
}
