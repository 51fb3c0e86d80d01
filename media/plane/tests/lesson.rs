//! Whole lessons over a simulated network in virtual time. Each prints its seed; `TONGKE_SEED=n` runs them with another.

mod allocations;
mod support;
mod world;

use std::time::Duration;

use tongke_plane::{Codec, Event, MediaKind, PeerId, Priority, TrackId};
use world::{LineSpec, PAGE, World};

const VIDEO: &[MediaKind] = &[MediaKind::Video];
const BOTH: &[MediaKind] = &[MediaKind::Audio, MediaKind::Video];

fn seed(default: u64) -> u64 {
    std::env::var("TONGKE_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn two_rooms_on_good_lines_miss_nothing() {
    let mut world = World::new(seed(1), 1);
    let lead = world.publish(0, Codec::H264, 1, LineSpec::GOOD);
    let rooms = [(); 2].map(|()| world.subscribe(0, VIDEO, LineSpec::GOOD));
    rooms
        .iter()
        .for_each(|room| world.show(*room, &[(lead, Priority::LeadVideo, 0)]));
    world.run(secs(12));
    for room in rooms {
        let stream = world.subscriber(room).stream(Codec::H264);
        stream.assert_decodable();
        let (whole, all) = stream.frames();
        assert_eq!((stream.holes(), whole), (0, all));
        assert!(whole > 25 * 10, "{whole} frames");
    }
    assert_eq!(world.stats(0).packets_resent, 0);
}

#[test]
fn a_room_that_comes_late_sees_the_teacher_at_once() {
    let mut world = World::new(seed(2), 1);
    let lead = world.publish(0, Codec::H264, 1, LineSpec::GOOD);
    world.run(secs(5));
    let room = world.subscribe(0, VIDEO, LineSpec::GOOD);
    world.show(room, &[(lead, Priority::LeadVideo, 0)]);
    let opened = world.now;
    world.run(secs(3));
    let stream = world.subscriber(room).stream(Codec::H264);
    stream.assert_decodable();
    let first = stream.first_at() - opened;
    println!("first packet after {first:?}");
    assert!(first < secs(1), "the first picture came after {first:?}");
}

#[test]
fn losses_on_both_lines_are_repaired() {
    let bad = LineSpec {
        loss: 0.05,
        jitter: Duration::from_millis(15),
        duplicates: 0.02,
        delay: Duration::from_millis(30),
        ..LineSpec::GOOD
    };
    let mut world = World::new(seed(3), 1);
    let lead = world.publish(0, Codec::H264, 1, bad);
    let room = world.subscribe(0, VIDEO, bad);
    world.show(room, &[(lead, Priority::LeadVideo, 0)]);
    world.run(secs(30));
    let stream = world.subscriber(room).stream(Codec::H264);
    assert_eq!(stream.conflicts, 0);
    let (whole, all) = stream.frames();
    println!(
        "{whole} of {all} frames whole, {} holes, {} resent",
        stream.holes(),
        world.stats(0).packets_resent
    );
    assert!(whole * 100 >= all * 99, "{whole} of {all} frames");
    assert!(whole > 25 * 25, "{whole} frames in 30 s");
}

#[test]
fn layers_change_without_a_gap_in_numbers_or_time() {
    for codec in [Codec::H264, Codec::Vp8] {
        let mut world = World::new(seed(4), 1);
        let lead = world.publish(0, codec, 3, LineSpec::GOOD);
        let room = world.subscribe(0, VIDEO, LineSpec::GOOD);
        for layer in [0, 2, 1, 2, 0] {
            world.show(room, &[(lead, Priority::LeadVideo, layer)]);
            world.run(secs(8));
        }
        let stream = world.subscriber(room).stream(codec);
        println!("{codec:?}: layers {:?}", stream.layers());
        stream.assert_decodable();
        assert_eq!(stream.holes(), 0);
        assert!(
            stream.layers().contains(&2) && stream.layers().len() >= 5,
            "{:?}",
            stream.layers()
        );
        let pictures: Vec<u16> = stream.pictures.values().copied().collect();
        for pair in pictures.windows(2) {
            let step = pair[1].wrapping_sub(pair[0]) & 0x7FFF;
            assert!(
                step <= 1,
                "picture ids jump from {} to {}",
                pair[0],
                pair[1]
            );
        }
    }
}

#[test]
fn a_room_called_to_the_stage_follows_in_the_same_slot() {
    let mut world = World::new(seed(5), 1);
    let first = world.publish(0, Codec::H264, 1, LineSpec::GOOD);
    let second = world.publish(0, Codec::H264, 1, LineSpec::GOOD);
    let room = world.subscribe(0, VIDEO, LineSpec::GOOD);
    for track in [first, second, first] {
        world.show(room, &[(track, Priority::Stage, 0)]);
        world.run(secs(3));
    }
    let subscriber = world.subscriber(room);
    assert_eq!(subscriber.streams.len(), 1, "one slot is one stream");
    let stream = subscriber.stream(Codec::H264);
    stream.assert_decodable();
    assert_eq!(stream.holes(), 0);
}

#[test]
fn peers_on_two_shards_are_one_lesson() {
    let mut world = World::new(seed(6), 2);
    let lead = world.publish(0, Codec::H264, 1, LineSpec::GOOD);
    let voice = world.publish(0, Codec::Opus, 1, LineSpec::GOOD);
    let bad = LineSpec {
        loss: 0.03,
        ..LineSpec::GOOD
    };
    let rooms = [
        world.subscribe(0, BOTH, LineSpec::GOOD),
        world.subscribe(1, BOTH, LineSpec::GOOD),
        world.subscribe(1, BOTH, bad),
    ];
    for room in rooms {
        world.show(
            room,
            &[(voice, Priority::Voice, 0), (lead, Priority::LeadVideo, 0)],
        );
    }
    world.run(secs(10));
    for room in rooms {
        let stream = world.subscriber(room).stream(Codec::H264);
        let (whole, all) = stream.frames();
        assert!(
            whole > 25 * 8 && whole * 100 >= all * 98,
            "{room:?}: {whole} of {all} frames"
        );
        assert!(world.subscriber(room).has(Codec::Opus));
    }
}

#[test]
fn a_village_on_a_narrow_line_keeps_the_voice_when_the_picture_no_longer_fits() {
    let narrow = LineSpec {
        rate: Some(150_000),
        delay: Duration::from_millis(40),
        ..LineSpec::GOOD
    };
    let mut world = World::new(seed(7), 1);
    let voice = world.publish(0, Codec::Opus, 1, LineSpec::GOOD);
    let lead = world.publish(0, Codec::H264, 3, LineSpec::GOOD);
    let room = world.subscribe(0, BOTH, LineSpec::GOOD);
    world.show(
        room,
        &[(voice, Priority::Voice, 0), (lead, Priority::LeadVideo, 2)],
    );
    world.run(secs(15));
    assert_eq!(
        world.subscriber(room).stream(Codec::H264).layers().last(),
        Some(&2),
        "a good line has the sharp picture"
    );
    world.set_line(room, narrow);
    world.run(secs(8));
    world.measure_from_now(room);
    world.run(secs(20));
    let stream = world.subscriber(room).stream(Codec::Opus);
    let missing = stream.holes();
    println!("{} voice packets, {missing} missing", stream.packets.len());
    assert!(
        stream.packets.len() > 950 && missing <= 10,
        "{} voice packets, {missing} missing",
        stream.packets.len()
    );
}

#[test]
fn pages_that_are_turned_on_a_narrow_line_arrive_and_the_voice_does_not_wait_for_them() {
    for seed in [seed(13), 14, 15] {
        let line = LineSpec {
            rate: Some(400_000),
            loss: 0.02,
            delay: Duration::from_millis(100),
            ..LineSpec::GOOD
        };
        let mut world = World::new(seed, 1);
        let voice = world.publish(0, Codec::Opus, 1, LineSpec::GOOD);
        let lead = world.publish(0, Codec::H264, 3, LineSpec::GOOD);
        let screen = world.publish_screen(0, LineSpec::GOOD);
        let room = world.subscribe(
            0,
            &[MediaKind::Audio, MediaKind::Video, MediaKind::Video],
            line,
        );
        world.show(
            room,
            &[
                (voice, Priority::Voice, 0),
                (screen, Priority::Slides, 1),
                (lead, Priority::LeadVideo, 0),
            ],
        );
        world.run(secs(20));
        world.measure_from_now(room);
        let (from, events) = (world.at(), world.events.len());
        for _ in 0..5 {
            world.run(secs(9));
            // Who joins needs a keyframe, which all get: a page once more.
            let late = world.subscribe(0, VIDEO, LineSpec::GOOD);
            world.show(late, &[(screen, Priority::Slides, 1)]);
        }
        let paused = |event: &Event| matches!(event, Event::SlotLayer { peer, mid, layer: None, .. } if *peer == room && mid == "1");
        let pauses = world.events[events..]
            .iter()
            .filter(|(_, event)| paused(event))
            .count();
        let room = world.subscriber(room);
        let pages = room
            .streams
            .values()
            .find(|s| s.codec == Codec::H264 && s.packets.values().any(|(_, c, _)| c.parts >= 12));
        let pages = pages.expect("the screen").delays(world.frames_of(screen));
        let late: Vec<Duration> = pages
            .values()
            .filter(|(_, parts)| *parts >= 12)
            .map(|(delay, _)| *delay)
            .collect();
        let mut voices: Vec<Duration> = room
            .stream(Codec::Opus)
            .delays(world.frames_of(voice))
            .values()
            .map(|(d, _)| *d)
            .collect();
        voices.sort();
        let part = |share: f64| voices[(voices.len() as f64 * share) as usize];
        println!(
            "{pauses} pauses; {} pages after {late:?}; voice p50 {:?} p95 {:?} p99 {:?}",
            late.len(),
            part(0.5),
            part(0.95),
            part(0.99)
        );
        let turned = (world.at() - from).as_secs() / PAGE.as_secs();
        assert_eq!(pauses, 0, "the screen was paused");
        assert!(
            late.len() as u64 + 1 >= turned,
            "{} of {turned} pages",
            late.len()
        );
        assert!(late.iter().all(|delay| *delay < secs(2)), "{late:?}");
        assert!(
            part(0.99) < Duration::from_millis(300),
            "a voice was under way for {:?}",
            part(0.99)
        );
    }
}

#[test]
fn a_player_that_takes_only_the_picture_has_it_back_after_a_stall() {
    let mut world = World::new(seed(10), 1);
    let lead = world.publish(0, Codec::H264, 1, LineSpec::GOOD);
    let player = world.subscribe(0, VIDEO, LineSpec::GOOD);
    world.show(player, &[(lead, Priority::LeadVideo, 0)]);
    world.run(secs(5));
    for _ in 0..3 {
        world.set_line(
            player,
            LineSpec {
                rate: Some(100_000),
                ..LineSpec::GOOD
            },
        );
        world.run(secs(3));
        world.set_line(
            player,
            LineSpec {
                dead: true,
                ..LineSpec::GOOD
            },
        );
        world.run(secs(3));
        world.set_line(player, LineSpec::GOOD);
        world.run(secs(6));
    }
    world.measure_from_now(player);
    world.run(secs(10));
    let (whole, _) = world.subscriber(player).stream(Codec::H264).frames();
    assert!(whole > 25 * 9, "{whole} frames in 10 s");
}

#[test]
fn a_line_that_is_cut_for_six_seconds_heals_by_itself() {
    let narrow = LineSpec {
        rate: Some(400_000),
        loss: 0.02,
        delay: Duration::from_millis(100),
        ..LineSpec::GOOD
    };
    let mut world = World::new(seed(11), 1);
    let voice = world.publish(0, Codec::Opus, 1, LineSpec::GOOD);
    let lead = world.publish(0, Codec::H264, 3, LineSpec::GOOD);
    let room = world.subscribe(0, BOTH, narrow);
    world.show(
        room,
        &[(voice, Priority::Voice, 0), (lead, Priority::LeadVideo, 2)],
    );
    world.run(secs(15));
    for line in [
        LineSpec {
            rate: Some(150_000),
            ..narrow
        },
        narrow,
    ] {
        world.set_line(room, line);
        world.run(secs(15));
    }
    world.set_line(
        room,
        LineSpec {
            dead: true,
            ..narrow
        },
    );
    world.run(secs(6));
    world.set_line(room, narrow);
    world.measure_from_now(room);
    let healed = world.now;
    world.run(secs(20));
    let back = |codec| world.subscriber(room).stream(codec).first_at() - healed;
    let (voice, picture) = (back(Codec::Opus), back(Codec::H264));
    println!("voice after {voice:?}, picture after {picture:?}");
    assert!(voice < secs(2), "the voice was back after {voice:?}");
    assert!(picture < secs(8), "the picture was back after {picture:?}");
}

#[test]
fn packets_pass_through_without_an_allocation() {
    let bad = LineSpec {
        loss: 0.02,
        ..LineSpec::GOOD
    };
    let mut world = World::new(seed(12), 1);
    let voice = world.publish(0, Codec::Opus, 1, LineSpec::GOOD);
    let lead = world.publish(0, Codec::H264, 3, bad);
    for _ in 0..50 {
        let room = world.subscribe(0, BOTH, bad);
        world.show(
            room,
            &[(voice, Priority::Voice, 0), (lead, Priority::LeadVideo, 2)],
        );
    }
    // Queues find their size, and every subscriber has lost something and got it again.
    world.run(secs(20));
    (world.allocations, world.events) = (0, Vec::new());
    let before = world.stats(0);
    world.run(secs(10));
    let after = world.stats(0);
    assert!(
        after.packets_forwarded - before.packets_forwarded > 50 * 10 * 140,
        "{after:?}"
    );
    assert!(
        after.packets_resent - before.packets_resent > 500,
        "{after:?}"
    );
    assert_eq!(
        world.allocations,
        0,
        "while {} packets passed",
        after.packets_forwarded - before.packets_forwarded
    );
}

#[test]
fn those_who_vanish_are_gone_within_ten_seconds() {
    let mut world = World::new(seed(8), 1);
    let lead = world.publish(0, Codec::H264, 1, LineSpec::GOOD);
    let room = world.subscribe(0, VIDEO, LineSpec::GOOD);
    world.show(room, &[(lead, Priority::LeadVideo, 0)]);
    world.run(secs(5));
    let dead = LineSpec {
        dead: true,
        ..LineSpec::GOOD
    };
    world.set_line(room, dead);
    world.set_line(PeerId(lead.0), dead);
    let cut = world.at();
    world.run(secs(12));
    for peer in [room, PeerId(lead.0)] {
        let gone = world.closed_at(peer).expect("gone") - cut;
        assert!(gone <= secs(10), "{peer:?} was there for {gone:?}");
    }
    assert_eq!(
        (
            world.stats(0).publishers,
            world.stats(0).subscribers,
            world.stats(0).tracks
        ),
        (0, 0, 0)
    );
    assert_eq!(
        (world.stats(0).ring_bytes, world.stats(0).resends_queued),
        (0, 0),
        "nothing is told of a shard that is empty"
    );
}

#[test]
fn a_shard_tells_how_much_it_holds_and_how_much_waits() {
    let mut world = World::new(seed(11), 1);
    let lead = world.publish(0, Codec::H264, 3, LineSpec::GOOD);
    let lossy = LineSpec {
        loss: 0.05,
        ..LineSpec::GOOD
    };
    let rooms = [(); 4].map(|()| world.subscribe(0, VIDEO, lossy));
    rooms
        .iter()
        .for_each(|room| world.show(*room, &[(lead, Priority::LeadVideo, 2)]));
    let (mut resends, mut control) = (0, 0);
    for _ in 0..10 {
        world.run(secs(1));
        resends = resends.max(world.stats(0).resends_queued);
        control = control.max(world.stats(0).control_queued);
    }
    let stats = world.stats(0);
    assert_eq!(
        (stats.publishers, stats.subscribers, stats.tracks),
        (1, 4, 1)
    );
    let per_layer = stats.ring_bytes / 3;
    assert!(
        (1_000_000..=2_000_000).contains(&per_layer),
        "{per_layer} bytes for each layer"
    );
    assert!(
        resends > 0 && control > 0,
        "{resends} resends and {control} control datagrams waited at most"
    );
}

#[test]
fn a_hundred_rooms_share_one_keyframe_request() {
    let mut world = World::new(seed(9), 1);
    let lead: TrackId = world.publish(0, Codec::H264, 1, LineSpec::GOOD);
    world.run(secs(5));
    let before = world.stats(0).keyframes_requested;
    let rooms: Vec<PeerId> = (0..100)
        .map(|_| world.subscribe(0, VIDEO, LineSpec::GOOD))
        .collect();
    rooms
        .iter()
        .for_each(|room| world.show(*room, &[(lead, Priority::LeadVideo, 0)]));
    world.run(secs(3));
    for room in &rooms {
        world
            .subscriber(*room)
            .stream(Codec::H264)
            .assert_decodable();
    }
    let requests = world.stats(0).keyframes_requested - before;
    assert!(
        (1..=3).contains(&requests),
        "{requests} keyframes were asked for"
    );
}
