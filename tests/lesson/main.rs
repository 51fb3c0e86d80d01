//! A lesson driven from outside: the real server as a process, its clients as WebSockets, media by
//! WebRTC peers of another implementation. Each packet of a sender carries a mark, so that a test
//! can identify its sender.

mod client;
mod load;
mod peer;
mod server;
mod whip;

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use client::{TestClient, find};
use peer::{Kind, Peer};
use server::Server;

/// A client with a camera and a receiving peer.
struct Room {
    client: TestClient,
    camera: Peer,
    receiver: Peer,
}

impl Room {
    /// Joins, receives, and sends packets with `mark`.
    async fn enter(server: &Server, visitor: &server::Visitor, mark: &[u8; 4]) -> Room {
        let mut client = TestClient::open(server, visitor).await;
        let receiver = receive(&mut client).await;
        let camera = publish(&mut client, mark).await;
        Room {
            client,
            camera,
            receiver,
        }
    }

    /// Answers offers until the slots show `who` with that kind.
    async fn shows(&mut self, who: &str, kind: &str) {
        let shows = |message: &Value| {
            let slots = message["slots"].as_array().expect("a list");
            slots
                .iter()
                .any(|s| s["source"]["participant"] == who && s["source"]["kind"] == kind)
        };
        self.client.expect_that("slots", shows).await;
    }
}

async fn receive(client: &mut TestClient) -> Peer {
    let offer = client.expect("offer").await;
    assert_eq!(offer["fresh"], true);
    let receiver = Peer::receiver().await;
    let answer = receiver.answer(offer["sdp"].as_str().expect("SDP")).await;
    client
        .send(json!({ "type": "answer", "offer": offer["offer"], "sdp": answer }))
        .await;
    receiver.connected().await;
    receiver
}

async fn publish(client: &mut TestClient, mark: &[u8; 4]) -> Peer {
    let camera = Peer::sender(mark).await;
    let reference = client
        .send(json!({ "type": "publish", "purpose": "camera", "sdp": camera.offer().await }))
        .await;
    let published = client
        .expect_that("published", |m| m["ref"] == reference)
        .await;
    camera.accept(published["sdp"].as_str().expect("SDP")).await;
    camera.connected().await;
    camera
}

fn sources(document: &Value, id: &str) -> usize {
    find(document, id).map_or(0, |p| p["sources"].as_array().expect("a list").len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_and_two_listening_rooms_exchange_audio_and_video() {
    let server = Server::start().await;
    let (wang, liulin, shiqiao) = tokio::join!(
        server.person("wangxuemei"),
        server.room("柳林"),
        server.room("石桥")
    );
    let mut lead = Room::enter(&server, &wang, b"wang").await;
    let mut liulin = Room::enter(&server, &liulin, b"liul").await;
    let shiqiao = Room::enter(&server, &shiqiao, b"shiq").await;
    lead.client.send(json!({ "type": "start" })).await;
    lead.client
        .until("the lesson is live", client::MESSAGE_TIMEOUT, |d| {
            d["phase"] == "live"
        })
        .await;

    // The rooms receive the teacher; the teacher receives video of both rooms and audio of neither.
    for room in [&liulin, &shiqiao] {
        room.receiver.receives(Kind::Video, b"wang", 20).await;
        room.receiver.receives(Kind::Audio, b"wang", 20).await;
    }
    lead.receiver.receives(Kind::Video, b"liul", 20).await;
    lead.receiver.receives(Kind::Video, b"shiq", 20).await;
    assert_eq!(lead.receiver.packets(Kind::Audio, b"liul"), 0);
    assert_eq!(
        shiqiao.receiver.packets(Kind::Video, b"liul"),
        0,
        "a room in its seat is not shown to others"
    );

    // Liulin raises its hand and is called on: all participants receive its audio and video.
    let liulin_id = liulin.client.me.clone();
    liulin
        .client
        .send(json!({ "type": "hand", "raised": true }))
        .await;
    let wanted = liulin_id.clone();
    lead.client
        .until("a hand is up", client::MESSAGE_TIMEOUT, |d| {
            find(d, &wanted).is_some_and(|p| p["hand"] == true)
        })
        .await;
    lead.client
        .send(json!({ "type": "call_on", "participant": liulin_id }))
        .await;
    liulin
        .client
        .until("liulin is on stage", client::MESSAGE_TIMEOUT, |d| {
            d["on_stage"] == json!([wanted])
        })
        .await;
    lead.shows(&liulin_id, "audio").await;
    for receiver in [&lead.receiver, &shiqiao.receiver] {
        receiver.receives(Kind::Audio, b"liul", 20).await;
        receiver.receives(Kind::Video, b"liul", 20).await;
    }
    assert_eq!(
        liulin.receiver.packets(Kind::Audio, b"liul"),
        0,
        "nobody hears itself"
    );

    // Muted by the teacher: nobody receives its audio although its client still sends.
    lead.client
        .send(json!({ "type": "mute_other", "participant": liulin_id }))
        .await;
    lead.client
        .until("liulin is muted", client::MESSAGE_TIMEOUT, |d| {
            find(d, &wanted).is_some_and(|p| p["microphone"] == false)
        })
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        shiqiao
            .receiver
            .receives_nothing(Kind::Audio, b"liul")
            .await
    );

    // Dismissed from the stage: only the teacher's wall shows it.
    lead.client
        .send(json!({ "type": "send_back", "participant": liulin_id }))
        .await;
    lead.client
        .until("the stage is empty", client::MESSAGE_TIMEOUT, |d| {
            d["on_stage"] == json!([])
        })
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        shiqiao
            .receiver
            .receives_nothing(Kind::Video, b"liul")
            .await
    );
    lead.receiver.receives(Kind::Video, b"liul", 20).await;

    // All clients are notified of the end, and nobody can join any more.
    lead.client.send(json!({ "type": "end" })).await;
    assert_eq!(liulin.client.close_reason().await, "ended");
    assert_eq!(
        TestClient::try_open(&server, &wang, "").await.err(),
        Some(StatusCode::CONFLICT)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_room_is_removed_and_a_resumed_one_keeps_its_place() {
    let server = Server::start().await;
    let (wang, liulin, shiqiao) = tokio::join!(
        server.person("wangxuemei"),
        server.room("柳林"),
        server.room("石桥")
    );
    let mut lead = TestClient::open(&server, &wang).await;
    let liulin = Room::enter(&server, &liulin, b"liul").await;
    let returning = TestClient::open(&server, &shiqiao).await;
    let (liulin_id, shiqiao_id) = (liulin.client.me.clone(), returning.me.clone());
    for id in [&liulin_id, &shiqiao_id] {
        lead.send(json!({ "type": "call_on", "participant": id }))
            .await;
    }
    lead.until("both are on stage", client::MESSAGE_TIMEOUT, |d| {
        d["on_stage"] == json!([liulin_id, shiqiao_id])
    })
    .await;

    // Both connections break at once. Shiqiao resumes after a moment, with its token.
    let token = returning.resume.clone();
    returning.drop_connection();
    liulin.client.drop_connection();
    liulin.camera.drop_connection();
    liulin.receiver.drop_connection();
    let broke = Instant::now();
    lead.until("shiqiao is missed", Duration::from_secs(8), |d| {
        find(d, &shiqiao_id).is_some_and(|p| p["present"] == false)
    })
    .await;
    let back = TestClient::try_open(&server, &shiqiao, &format!("?resume={token}"))
        .await
        .expect("the client is let in");
    assert_eq!(back.me, shiqiao_id);
    lead.until("liulin has left", Duration::from_secs(12), |d| {
        find(d, &liulin_id).is_none()
    })
    .await;
    assert!(
        broke.elapsed() <= Duration::from_millis(10_500),
        "a ghost of {:?}",
        broke.elapsed()
    );
    assert_eq!(
        lead.document["on_stage"],
        json!([shiqiao_id]),
        "who returned kept its place"
    );
    assert!(find(&lead.document, &shiqiao_id).is_some_and(|p| p["present"] == true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_camera_is_removed_within_ten_seconds_while_its_client_stays() {
    let server = Server::start().await;
    let (wang, liulin) = tokio::join!(server.person("wangxuemei"), server.room("柳林"));
    let mut lead = TestClient::open(&server, &wang).await;
    let liulin = Room::enter(&server, &liulin, b"liul").await;
    let id = liulin.client.me.clone();
    lead.until("liulin is on the wall", client::MESSAGE_TIMEOUT, |d| {
        sources(d, &id) == 2
    })
    .await;
    liulin.camera.drop_connection();
    let broke = Instant::now();
    lead.until("liulin's camera is gone", Duration::from_secs(12), |d| {
        sources(d, &id) == 0
    })
    .await;
    assert!(
        broke.elapsed() <= Duration::from_millis(10_500),
        "a ghost of {:?}",
        broke.elapsed()
    );
    assert!(find(&lead.document, &id).is_some_and(|p| p["present"] == true));
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_checked_on_joining_and_for_every_message() {
    let server = Server::start().await;
    let (wang, chen, zhao, liulin, li) = tokio::join!(
        server.person("wangxuemei"),
        server.person("chenzhiyuan"),
        server.person("zhaoguodong"),
        server.room("柳林"),
        server.person("lixiaoyan")
    );
    // The lesson has one lead; another teacher has no role in it.
    let leads = |answer: Value| answer["my_role"] == "lead";
    let path = format!("/api/lessons/{}", server.lesson());
    let wang_leads = leads(server.get(&wang, &path).await.json().await.expect("JSON"));
    let (lead, stranger) = if wang_leads {
        (wang, chen)
    } else {
        (chen, wang)
    };
    assert_eq!(
        TestClient::try_open(&server, &stranger, "").await.err(),
        Some(StatusCode::FORBIDDEN)
    );
    let nobody = server::Visitor {
        cookie: "tongke_session=none".into(),
    };
    assert_eq!(
        TestClient::try_open(&server, &nobody, "").await.err(),
        Some(StatusCode::UNAUTHORIZED)
    );

    let mut lead = TestClient::open(&server, &lead).await;
    let mut observer = TestClient::open(&server, &zhao).await;
    let mut room = TestClient::open(&server, &liulin).await;
    let mut assistant = TestClient::open(&server, &li).await;
    let room_id = room.me.clone();
    for message in [
        json!({ "type": "start" }),
        json!({ "type": "call_on", "participant": room_id }),
    ] {
        for client in [&mut observer, &mut room] {
            let reference = client.send(message.clone()).await;
            assert_eq!(
                client.error_code(reference).await,
                "not_allowed",
                "{message}"
            );
        }
    }
    let reference = assistant.send(json!({ "type": "end" })).await;
    assert_eq!(assistant.error_code(reference).await, "not_allowed");
    let camera = Peer::sender(b"zhao").await;
    let reference = observer
        .send(json!({ "type": "publish", "purpose": "camera", "sdp": camera.offer().await }))
        .await;
    assert_eq!(observer.error_code(reference).await, "not_allowed");
    let observer_id = observer.me.clone();
    let reference = lead
        .send(json!({ "type": "call_on", "participant": observer_id }))
        .await;
    assert_eq!(lead.error_code(reference).await, "not_for_the_stage");
    let tokens = format!("/api/lessons/{}/tokens", server.lesson());
    let refused = server
        .post(&liulin, &tokens, &json!({ "kind": "whip", "label": "x" }))
        .await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_messages_are_answered_and_affect_no_other_client() {
    let server = Server::start().await;
    let (wang, liulin) = tokio::join!(server.person("wangxuemei"), server.room("柳林"));
    let mut lead = TestClient::open(&server, &wang).await;
    let mut room = TestClient::open(&server, &liulin).await;
    for text in [
        "",
        "{",
        "[]",
        "null",
        r#"{"type":"fly"}"#,
        r#"{"type":"chat","text":7}"#,
        r#"{"type":"hand"}"#,
        "\u{0}",
    ] {
        room.send_raw(text).await;
        assert_eq!(room.expect("error").await["code"], "unreadable", "{text:?}");
    }
    room.send_raw(r#"{"type":"fly","ref":77}"#).await;
    assert_eq!(room.error_code(77).await, "unreadable");
    for sdp in [
        "",
        "v=0",
        "hello\r\n",
        "v=0\r\no=- 1 1 IN IP4 0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
    ] {
        let reference = room
            .send(json!({ "type": "publish", "purpose": "camera", "sdp": sdp }))
            .await;
        assert!(
            room.error_code(reference).await.starts_with("sdp_"),
            "{sdp:?}"
        );
        let offer = if sdp.is_empty() {
            room.expect("offer").await["offer"].clone()
        } else {
            json!(1)
        };
        room.send(json!({ "type": "answer", "offer": offer, "sdp": sdp }))
            .await;
    }
    // Media continues in both directions.
    room.send(json!({ "type": "chat", "text": "听得到吗" }))
        .await;
    lead.expect_that("chat", |m| m["line"]["text"] == "听得到吗")
        .await;

    // Oversized messages and floods close the sender's WebSocket.
    room.send_raw(&format!(
        r#"{{"type":"chat","text":"{}"}}"#,
        "好".repeat(100_000)
    ))
    .await;
    assert_eq!(room.close_reason().await, "flood");
    let mut room = TestClient::open(&server, &liulin).await;
    for n in 0..300 {
        room.send(json!({ "type": "ping", "at": n })).await;
    }
    assert_eq!(room.close_reason().await, "flood");
    lead.send(json!({ "type": "ping", "at": 1.5 })).await;
    assert_eq!(lead.expect("pong").await["at"], 1.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_client_of_the_same_teacher_replaces_the_first() {
    let server = Server::start().await;
    let wang = server.person("wangxuemei").await;
    let first = Room::enter(&server, &wang, b"old!").await;
    let mut second = TestClient::open(&server, &wang).await;
    assert_eq!(first.client.close_reason().await, "replaced");
    assert_eq!(
        second.document["participants"].as_array().map(Vec::len),
        Some(1)
    );
    let me = second.me.clone();
    second
        .until(
            "the old client's camera is gone",
            Duration::from_secs(2),
            |d| sources(d, &me) == 0,
        )
        .await;
    second.expect("offer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_failed_connection_keeps_receiving_after_an_ice_restart() {
    let server = Server::start().await;
    let (wang, liulin) = tokio::join!(server.person("wangxuemei"), server.room("柳林"));
    let _lead = Room::enter(&server, &wang, b"wang").await;
    let mut liulin = Room::enter(&server, &liulin, b"liul").await;
    liulin.receiver.receives(Kind::Video, b"wang", 20).await;

    // ICE restart: an offer with new credentials.
    liulin
        .client
        .send(json!({ "type": "restart_subscriber" }))
        .await;
    let offer = liulin
        .client
        .expect_that("offer", |m| m["fresh"] == false)
        .await;
    let answer = liulin
        .receiver
        .answer(offer["sdp"].as_str().expect("SDP"))
        .await;
    liulin
        .client
        .send(json!({ "type": "answer", "offer": offer["offer"], "sdp": answer }))
        .await;
    liulin.receiver.receives(Kind::Video, b"wang", 20).await;

    // After a lost connection the server offers a new one.
    liulin.receiver.drop_connection();
    liulin.receiver = receive(&mut liulin.client).await;
    liulin.receiver.receives(Kind::Video, b"wang", 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_server_ends_its_lessons_first() {
    let mut server = Server::start().await;
    let (wang, liulin) = tokio::join!(server.person("wangxuemei"), server.room("柳林"));
    let mut lead = TestClient::open(&server, &wang).await;
    let room = TestClient::open(&server, &liulin).await;
    lead.send(json!({ "type": "start" })).await;
    lead.until("the lesson is live", client::MESSAGE_TIMEOUT, |d| {
        d["phase"] == "live"
    })
    .await;
    server.terminate();
    lead.until("the lesson has ended", client::MESSAGE_TIMEOUT, |d| {
        d["phase"] == "ended"
    })
    .await;
    assert_eq!(lead.close_reason().await, "ended");
    assert_eq!(room.close_reason().await, "ended");
    assert!(server.exit().await, "the server stops in good order");
}
