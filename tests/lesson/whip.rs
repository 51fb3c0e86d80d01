//! WHIP encoders and WHEP players.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{self, TestClient, find};
use crate::peer::{Kind, Peer};
use crate::server::Server;
use crate::{Room, sources};

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_publishes_by_whip_and_a_player_watches_by_whep() {
    let server = Server::start().await;
    let (whip, whep) = (
        format!("/whip/{}", server.lesson()),
        format!("/whep/{}", server.lesson()),
    );
    let ((whip_id, whip_token), (_, whep_token)) =
        (server.token("whip").await, server.token("whep").await);
    let observer = server.person("zhaoguodong").await;
    let mut watching = TestClient::open(&server, &observer).await;

    let encoder = Peer::sender(b"enco").await;
    let (status, session, answer) = server
        .offer(&whip, &whip_token, encoder.offer().await)
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert!(session.starts_with(&format!("{whip}/")));
    encoder.accept(&answer).await;
    encoder.connected().await;
    watching
        .until("the encoder is shown", client::MESSAGE_TIMEOUT, |d| {
            sources(d, &whip_id) == 2
        })
        .await;
    assert_eq!(
        watching.participant(&whip_id).map(|p| &p["kind"]),
        Some(&json!("encoder"))
    );

    let player = Peer::player().await;
    let (status, _, answer) = server.offer(&whep, &whep_token, player.offer().await).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    player.accept(&answer).await;
    player.connected().await;
    let is_counted = |d: &Value| {
        d["players"]
            .as_array()
            .is_some_and(|players| players.len() == 1)
    };
    watching
        .until("the player is counted", client::MESSAGE_TIMEOUT, is_counted)
        .await;
    player.receives(Kind::Video, b"enco", 20).await;
    player.receives(Kind::Audio, b"enco", 20).await;

    // The lead joins and becomes the main picture.
    let wang = server.person("wangxuemei").await;
    let lead = Room::enter(&server, &wang, b"wang").await;
    player.receives(Kind::Video, b"wang", 20).await;
    player.receives(Kind::Audio, b"wang", 20).await;

    // The encoder sends close_notify and is removed at once.
    let gone = server
        .program(Method::DELETE, &session, &whip_token)
        .send()
        .await
        .expect("the server answers");
    assert_eq!(gone.status(), StatusCode::OK);
    watching
        .until("the encoder has left", Duration::from_secs(2), |d| {
            find(d, &whip_id).is_none()
        })
        .await;
    let again = server
        .program(Method::DELETE, &session, &whip_token)
        .send()
        .await
        .expect("the server answers");
    assert_eq!(again.status(), StatusCode::NOT_FOUND);
    lead.camera.close().await;
    player.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whip_responds_as_rfc_9725_specifies() {
    let server = Server::start().await;
    let endpoint = format!("/whip/{}", server.lesson());
    let (token_id, token) = server.token("whip").await;
    let (_, player_token) = server.token("whep").await;
    let call = |method: Method,
                path: &str,
                token: &str,
                headers: &[(&'static str, &str)],
                body: &'static str| {
        let request = headers
            .iter()
            .fold(server.program(method, path, token), |r, (name, value)| {
                r.header(*name, *value)
            });
        async move { request.body(body).send().await.expect("the server answers") }
    };
    const SDP: (&str, &str) = ("content-type", "application/sdp");
    const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");

    let options = call(
        Method::OPTIONS,
        &endpoint,
        "",
        &[("origin", "https://player.example")],
        "",
    )
    .await;
    assert_eq!(options.status(), StatusCode::NO_CONTENT);
    assert_eq!(options.headers()["accept-post"], "application/sdp");
    assert_eq!(options.headers()["access-control-allow-origin"], "*");

    let unauthorized = call(Method::POST, &endpoint, "wrong", &[SDP], "v=0").await;
    assert_eq!(unauthorized.status(), StatusCode::UNAUTHORIZED);
    assert!(
        unauthorized.headers()["www-authenticate"]
            .to_str()
            .is_ok_and(|v| v.starts_with("Bearer"))
    );
    assert_eq!(
        unauthorized.headers()["access-control-allow-origin"],
        "*",
        "a foreign client may read why"
    );
    for (expected, headers, body) in [
        (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            &[("content-type", "text/plain")][..],
            "v=0",
        ),
        (
            StatusCode::NOT_ACCEPTABLE,
            &[SDP, ("accept", "text/html")][..],
            "v=0",
        ),
        (StatusCode::BAD_REQUEST, &[SDP][..], "hello"),
        (StatusCode::BAD_REQUEST, &[SDP][..], ""),
    ] {
        assert_eq!(
            call(Method::POST, &endpoint, &token, headers, body)
                .await
                .status(),
            expected,
            "{body:?} {headers:?}"
        );
    }
    assert_eq!(
        call(Method::POST, &endpoint, &player_token, &[SDP], "v=0")
            .await
            .status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        call(Method::GET, &endpoint, &token, &[], "").await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );

    let encoder = Peer::sender(b"enco").await;
    let offer = server
        .program(Method::POST, &endpoint, &token)
        .header(SDP.0, SDP.1)
        .body(encoder.offer().await);
    let created = offer.send().await.expect("the server answers");
    assert_eq!(created.status(), StatusCode::CREATED);
    let header = |name: &str| created.headers()[name].to_str().expect("ASCII").to_owned();
    assert_eq!(header("content-type"), "application/sdp");
    assert_eq!(header("accept-patch"), "application/trickle-ice-sdpfrag");
    let (session, etag) = (header("location"), header("etag"));
    encoder.accept(&created.text().await.expect("a body")).await;
    encoder.connected().await;

    const TRICKLE: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
                           a=candidate:1 1 udp 2130706431 192.0.2.1 61765 typ host\r\n";
    let patch = |headers: Vec<(&'static str, String)>| {
        let request = headers.iter().fold(
            server.program(Method::PATCH, &session, &token),
            |r, (name, value)| r.header(*name, value),
        );
        async move {
            request
                .body(TRICKLE)
                .send()
                .await
                .expect("the server answers")
        }
    };
    let fragment = || (FRAGMENT.0, FRAGMENT.1.to_owned());
    assert_eq!(
        patch(vec![fragment()]).await.status(),
        StatusCode::PRECONDITION_REQUIRED
    );
    assert_eq!(
        patch(vec![fragment(), ("if-match", "\"old\"".into())])
            .await
            .status(),
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(
        patch(vec![("if-match", etag.clone())]).await.status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    assert_eq!(
        patch(vec![fragment(), ("if-match", etag.clone())])
            .await
            .status(),
        StatusCode::NO_CONTENT
    );
    let restarted = patch(vec![fragment(), ("if-match", "*".into())]).await;
    assert_eq!(restarted.status(), StatusCode::OK);
    assert_eq!(restarted.headers()["content-type"], FRAGMENT.1);
    assert_ne!(restarted.headers()["etag"], etag);
    let ours = restarted.text().await.expect("a body");
    assert!(
        ours.contains("a=ice-ufrag:") && ours.contains("a=ice-pwd:"),
        "{ours}"
    );
    assert_eq!(
        patch(vec![fragment(), ("if-match", etag)]).await.status(),
        StatusCode::PRECONDITION_FAILED
    );

    // After its token is revoked the encoder is disconnected and cannot return.
    let lead = server.person("wangxuemei").await;
    let tokens = format!("/api/lessons/{}/tokens", server.lesson());
    let listed: Value = server.get(&lead, &tokens).await.json().await.expect("JSON");
    assert!(
        listed["items"]
            .as_array()
            .is_some_and(|items| items.len() == 2 && items.iter().all(|i| i.get("token").is_none()))
    );
    assert_eq!(
        server
            .delete(&lead, &format!("{tokens}/{token_id}"))
            .await
            .status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        call(Method::DELETE, &session, &token, &[], "")
            .await
            .status(),
        StatusCode::UNAUTHORIZED
    );
}
