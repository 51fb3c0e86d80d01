//! A lesson, driven from outside: the real server as a process of its own, its pages as WebSockets, its media by peers of a foreign
//! WebRTC implementation. Every packet of a sender carries a mark, so that a test knows not only that media came but whose.

mod load;
mod page;
mod peer;
mod server;
mod whip;

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use page::{Page, find};
use peer::{Kind, Peer};
use server::Server;

/// A page with a camera and a receiver.
struct Room {
    page: Page,
    camera: Peer,
    receiver: Peer,
}

impl Room {
    /// Comes in, receives, and sends packets that carry `mark`.
    async fn enter(server: &Server, visitor: &server::Visitor, mark: &[u8; 4]) -> Room {
        let mut page = Page::open(server, visitor).await;
        let receiver = receive(&mut page).await;
        let camera = publish(&mut page, mark).await;
        Room {
            page,
            camera,
            receiver,
        }
    }

    /// Answers offers for more slots until the slots show `who` with that kind.
    async fn shows(&mut self, who: &str, kind: &str) {
        let shows = |message: &Value| {
            let slots = message["slots"].as_array().expect("a list");
            slots
                .iter()
                .any(|s| s["source"]["participant"] == who && s["source"]["kind"] == kind)
        };
        self.page.expect_that("slots", shows).await;
    }
}

async fn receive(page: &mut Page) -> Peer {
    let offer = page.expect("offer").await;
    assert_eq!(offer["fresh"], true);
    let receiver = Peer::receiver().await;
    let answer = receiver.answer(offer["sdp"].as_str().expect("SDP")).await;
    page.say(json!({ "type": "answer", "offer": offer["offer"], "sdp": answer }))
        .await;
    receiver.connected().await;
    receiver
}

async fn publish(page: &mut Page, mark: &[u8; 4]) -> Peer {
    let camera = Peer::sender(mark).await;
    let reference = page
        .say(json!({ "type": "publish", "purpose": "camera", "sdp": camera.offer().await }))
        .await;
    let published = page
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
async fn a_lead_and_two_listening_rooms_see_and_hear_each_other_as_a_class_does() {
    let server = Server::start().await;
    let (wang, liulin, shiqiao) = tokio::join!(
        server.person("wangxuemei"),
        server.room("柳林"),
        server.room("石桥")
    );
    let mut lead = Room::enter(&server, &wang, b"wang").await;
    let mut liulin = Room::enter(&server, &liulin, b"liul").await;
    let shiqiao = Room::enter(&server, &shiqiao, b"shiq").await;
    lead.page.say(json!({ "type": "start" })).await;
    lead.page
        .until("the lesson is live", page::PATIENCE, |d| {
            d["phase"] == "live"
        })
        .await;

    // The rooms see and hear the teacher; the teacher sees both rooms and hears neither.
    for room in [&liulin, &shiqiao] {
        room.receiver.hears(Kind::Video, b"wang", 20).await;
        room.receiver.hears(Kind::Audio, b"wang", 20).await;
    }
    lead.receiver.hears(Kind::Video, b"liul", 20).await;
    lead.receiver.hears(Kind::Video, b"shiq", 20).await;
    assert_eq!(lead.receiver.heard(Kind::Audio, b"liul"), 0);
    assert_eq!(
        shiqiao.receiver.heard(Kind::Video, b"liul"),
        0,
        "a room in its seat is not shown to others"
    );

    // Liulin raises its hand and is called on: everybody sees and hears it.
    let liulin_id = liulin.page.me.clone();
    liulin
        .page
        .say(json!({ "type": "hand", "raised": true }))
        .await;
    let wanted = liulin_id.clone();
    lead.page
        .until("a hand is up", page::PATIENCE, |d| {
            find(d, &wanted).is_some_and(|p| p["hand"] == true)
        })
        .await;
    lead.page
        .say(json!({ "type": "call_on", "participant": liulin_id }))
        .await;
    liulin
        .page
        .until("liulin is on stage", page::PATIENCE, |d| {
            d["on_stage"] == json!([wanted])
        })
        .await;
    lead.shows(&liulin_id, "audio").await;
    for receiver in [&lead.receiver, &shiqiao.receiver] {
        receiver.hears(Kind::Audio, b"liul", 20).await;
        receiver.hears(Kind::Video, b"liul", 20).await;
    }
    assert_eq!(
        liulin.receiver.heard(Kind::Audio, b"liul"),
        0,
        "nobody hears itself"
    );

    // Muted by the teacher, it goes silent everywhere although its page still sends.
    lead.page
        .say(json!({ "type": "mute_other", "participant": liulin_id }))
        .await;
    lead.page
        .until("liulin is muted", page::PATIENCE, |d| {
            find(d, &wanted).is_some_and(|p| p["microphone"] == false)
        })
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(shiqiao.receiver.is_deaf_to(Kind::Audio, b"liul").await);

    // Back in its seat, it is on the teacher's wall and nowhere else.
    lead.page
        .say(json!({ "type": "send_back", "participant": liulin_id }))
        .await;
    lead.page
        .until("the stage is empty", page::PATIENCE, |d| {
            d["on_stage"] == json!([])
        })
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(shiqiao.receiver.is_deaf_to(Kind::Video, b"liul").await);
    lead.receiver.hears(Kind::Video, b"liul", 20).await;

    // The end is told to everybody, and the lesson takes nobody in any more.
    lead.page.say(json!({ "type": "end" })).await;
    assert_eq!(liulin.page.farewell().await, "ended");
    assert_eq!(
        Page::try_open(&server, &wang, "").await.err(),
        Some(StatusCode::CONFLICT)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_vanishes_leaves_no_ghost_and_one_that_returns_keeps_its_place() {
    let server = Server::start().await;
    let (wang, liulin, shiqiao) = tokio::join!(
        server.person("wangxuemei"),
        server.room("柳林"),
        server.room("石桥")
    );
    let mut lead = Page::open(&server, &wang).await;
    let liulin = Room::enter(&server, &liulin, b"liul").await;
    let returning = Page::open(&server, &shiqiao).await;
    let (liulin_id, shiqiao_id) = (liulin.page.me.clone(), returning.me.clone());
    for id in [&liulin_id, &shiqiao_id] {
        lead.say(json!({ "type": "call_on", "participant": id }))
            .await;
    }
    lead.until("both are on stage", page::PATIENCE, |d| {
        d["on_stage"] == json!([liulin_id, shiqiao_id])
    })
    .await;

    // Both lines break at once. Shiqiao is back after a moment, with its token.
    let token = returning.resume.clone();
    returning.vanish();
    liulin.page.vanish();
    liulin.camera.vanish();
    liulin.receiver.vanish();
    let broke = Instant::now();
    lead.until("shiqiao is missed", Duration::from_secs(8), |d| {
        find(d, &shiqiao_id).is_some_and(|p| p["present"] == false)
    })
    .await;
    let back = Page::try_open(&server, &shiqiao, &format!("?resume={token}"))
        .await
        .expect("the page is let in");
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
async fn a_camera_that_dies_is_dark_within_ten_seconds_while_its_page_stays() {
    let server = Server::start().await;
    let (wang, liulin) = tokio::join!(server.person("wangxuemei"), server.room("柳林"));
    let mut lead = Page::open(&server, &wang).await;
    let liulin = Room::enter(&server, &liulin, b"liul").await;
    let id = liulin.page.me.clone();
    lead.until("liulin is on the wall", page::PATIENCE, |d| {
        sources(d, &id) == 2
    })
    .await;
    liulin.camera.vanish();
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
async fn roles_are_kept_at_the_door_and_at_every_message() {
    let server = Server::start().await;
    let (wang, chen, zhao, liulin, li) = tokio::join!(
        server.person("wangxuemei"),
        server.person("chenzhiyuan"),
        server.person("zhaoguodong"),
        server.room("柳林"),
        server.person("lixiaoyan")
    );
    // The lesson has one lead: the other teacher has no part in it.
    let leads = |answer: Value| answer["my_role"] == "lead";
    let path = format!("/api/lessons/{}", server.lesson());
    let wang_leads = leads(server.get(&wang, &path).await.json().await.expect("JSON"));
    let (lead, stranger) = if wang_leads {
        (wang, chen)
    } else {
        (chen, wang)
    };
    assert_eq!(
        Page::try_open(&server, &stranger, "").await.err(),
        Some(StatusCode::FORBIDDEN)
    );
    let nobody = server::Visitor {
        cookie: "tongke_session=none".into(),
    };
    assert_eq!(
        Page::try_open(&server, &nobody, "").await.err(),
        Some(StatusCode::UNAUTHORIZED)
    );

    let mut lead = Page::open(&server, &lead).await;
    let mut observer = Page::open(&server, &zhao).await;
    let mut room = Page::open(&server, &liulin).await;
    let mut assistant = Page::open(&server, &li).await;
    let room_id = room.me.clone();
    for message in [
        json!({ "type": "start" }),
        json!({ "type": "call_on", "participant": room_id }),
    ] {
        for page in [&mut observer, &mut room] {
            let reference = page.say(message.clone()).await;
            assert_eq!(page.refusal(reference).await, "not_allowed", "{message}");
        }
    }
    let reference = assistant.say(json!({ "type": "end" })).await;
    assert_eq!(assistant.refusal(reference).await, "not_allowed");
    let camera = Peer::sender(b"zhao").await;
    let reference = observer
        .say(json!({ "type": "publish", "purpose": "camera", "sdp": camera.offer().await }))
        .await;
    assert_eq!(observer.refusal(reference).await, "not_allowed");
    let observer_id = observer.me.clone();
    let reference = lead
        .say(json!({ "type": "call_on", "participant": observer_id }))
        .await;
    assert_eq!(lead.refusal(reference).await, "not_for_the_stage");
    let tokens = format!("/api/lessons/{}/tokens", server.lesson());
    let refused = server
        .post(&liulin, &tokens, &json!({ "kind": "whip", "label": "x" }))
        .await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_answered_and_hurts_nobody() {
    let server = Server::start().await;
    let (wang, liulin) = tokio::join!(server.person("wangxuemei"), server.room("柳林"));
    let mut lead = Page::open(&server, &wang).await;
    let mut room = Page::open(&server, &liulin).await;
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
        room.say_raw(text).await;
        assert_eq!(room.expect("error").await["code"], "unreadable", "{text:?}");
    }
    room.say_raw(r#"{"type":"fly","ref":77}"#).await;
    assert_eq!(room.refusal(77).await, "unreadable");
    for sdp in [
        "",
        "v=0",
        "hello\r\n",
        "v=0\r\no=- 1 1 IN IP4 0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
    ] {
        let reference = room
            .say(json!({ "type": "publish", "purpose": "camera", "sdp": sdp }))
            .await;
        assert!(room.refusal(reference).await.starts_with("sdp_"), "{sdp:?}");
        let offer = if sdp.is_empty() {
            room.expect("offer").await["offer"].clone()
        } else {
            json!(1)
        };
        room.say(json!({ "type": "answer", "offer": offer, "sdp": sdp }))
            .await;
    }
    // The lesson goes on, in both directions.
    room.say(json!({ "type": "chat", "text": "听得到吗" }))
        .await;
    lead.expect_that("chat", |m| m["line"]["text"] == "听得到吗")
        .await;

    // Too large, and too many, end the socket of the one who sent them.
    room.say_raw(&format!(
        r#"{{"type":"chat","text":"{}"}}"#,
        "好".repeat(100_000)
    ))
    .await;
    assert_eq!(room.farewell().await, "flood");
    let mut room = Page::open(&server, &liulin).await;
    for n in 0..300 {
        room.say(json!({ "type": "ping", "at": n })).await;
    }
    assert_eq!(room.farewell().await, "flood");
    lead.say(json!({ "type": "ping", "at": 1.5 })).await;
    assert_eq!(lead.expect("pong").await["at"], 1.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_page_of_the_same_teacher_takes_over() {
    let server = Server::start().await;
    let wang = server.person("wangxuemei").await;
    let first = Room::enter(&server, &wang, b"old!").await;
    let mut second = Page::open(&server, &wang).await;
    assert_eq!(first.page.farewell().await, "replaced");
    assert_eq!(
        second.document["participants"].as_array().map(Vec::len),
        Some(1)
    );
    let me = second.me.clone();
    second
        .until(
            "the old page's camera is gone",
            Duration::from_secs(2),
            |d| sources(d, &me) == 0,
        )
        .await;
    second.expect("offer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_connection_failed_gets_another_path_and_goes_on_watching() {
    let server = Server::start().await;
    let (wang, liulin) = tokio::join!(server.person("wangxuemei"), server.room("柳林"));
    let _lead = Room::enter(&server, &wang, b"wang").await;
    let mut liulin = Room::enter(&server, &liulin, b"liul").await;
    liulin.receiver.hears(Kind::Video, b"wang", 20).await;

    // The same connection over another path: an offer with fresh ICE credentials.
    liulin
        .page
        .say(json!({ "type": "restart_subscriber" }))
        .await;
    let offer = liulin
        .page
        .expect_that("offer", |m| m["fresh"] == false)
        .await;
    let answer = liulin
        .receiver
        .answer(offer["sdp"].as_str().expect("SDP"))
        .await;
    liulin
        .page
        .say(json!({ "type": "answer", "offer": offer["offer"], "sdp": answer }))
        .await;
    liulin.receiver.hears(Kind::Video, b"wang", 20).await;

    // The connection is lost for good: once the server has noticed, it offers another by itself.
    liulin.receiver.vanish();
    liulin.receiver = receive(&mut liulin.page).await;
    liulin.receiver.hears(Kind::Video, b"wang", 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_ends_its_lessons_first() {
    let mut server = Server::start().await;
    let (wang, liulin) = tokio::join!(server.person("wangxuemei"), server.room("柳林"));
    let mut lead = Page::open(&server, &wang).await;
    let room = Page::open(&server, &liulin).await;
    lead.say(json!({ "type": "start" })).await;
    lead.until("the lesson is live", page::PATIENCE, |d| {
        d["phase"] == "live"
    })
    .await;
    server.terminate();
    lead.until("the lesson has ended", page::PATIENCE, |d| {
        d["phase"] == "ended"
    })
    .await;
    assert_eq!(lead.farewell().await, "ended");
    assert_eq!(room.farewell().await, "ended");
    assert!(server.exit().await, "the server stops in good order");
}
