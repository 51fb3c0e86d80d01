//! Complete lessons over a simulated network in virtual time. Each prints its seed; `TONGKE_SEED=n`
//! overrides it.

mod allocations;
mod simulation;
mod support;

use std::time::Duration;

use simulation::{LinkSpec, PAGE_INTERVAL, Simulation};
use tongke_plane::{Codec, Event, MediaKind, PeerId, Priority, TrackId};

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
fn two_rooms_on_good_links_receive_every_packet() {
    let mut sim = Simulation::new(seed(1), 1);
    let lead = sim.publish(0, Codec::H264, 1, LinkSpec::GOOD);
    let rooms = [(); 2].map(|()| sim.subscribe(0, VIDEO, LinkSpec::GOOD));
    rooms
        .iter()
        .for_each(|room| sim.show(*room, &[(lead, Priority::LeadVideo, 0)]));
    sim.run(secs(12));
    for room in rooms {
        let stream = sim.subscriber(room).stream(Codec::H264);
        stream.assert_decodable();
        let (complete, all) = stream.frames();
        assert_eq!((stream.missing(), complete), (0, all));
        assert!(complete > 25 * 10, "{complete} frames");
    }
    assert_eq!(sim.stats(0).packets_resent, 0);
}

#[test]
fn a_room_that_joins_late_sees_the_teacher_at_once() {
    let mut sim = Simulation::new(seed(2), 1);
    let lead = sim.publish(0, Codec::H264, 1, LinkSpec::GOOD);
    sim.run(secs(5));
    let room = sim.subscribe(0, VIDEO, LinkSpec::GOOD);
    sim.show(room, &[(lead, Priority::LeadVideo, 0)]);
    let opened = sim.now;
    sim.run(secs(3));
    let stream = sim.subscriber(room).stream(Codec::H264);
    stream.assert_decodable();
    let first = stream.first_at() - opened;
    println!("first packet after {first:?}");
    assert!(
        first < secs(1),
        "the first video packet arrived after {first:?}"
    );
}

#[test]
fn losses_on_both_links_are_repaired() {
    let bad = LinkSpec {
        loss: 0.05,
        jitter: Duration::from_millis(15),
        duplicates: 0.02,
        delay: Duration::from_millis(30),
        ..LinkSpec::GOOD
    };
    let mut sim = Simulation::new(seed(3), 1);
    let lead = sim.publish(0, Codec::H264, 1, bad);
    let room = sim.subscribe(0, VIDEO, bad);
    sim.show(room, &[(lead, Priority::LeadVideo, 0)]);
    sim.run(secs(30));
    let stream = sim.subscriber(room).stream(Codec::H264);
    assert_eq!(stream.conflicts, 0);
    let (complete, all) = stream.frames();
    println!(
        "{complete} of {all} frames complete, {} holes, {} resent",
        stream.missing(),
        sim.stats(0).packets_resent
    );
    assert!(complete * 100 >= all * 99, "{complete} of {all} frames");
    assert!(complete > 25 * 25, "{complete} frames in 30 s");
}

#[test]
fn layers_switch_without_a_gap_in_sequence_numbers_or_timestamps() {
    for codec in [Codec::H264, Codec::Vp8] {
        let mut sim = Simulation::new(seed(4), 1);
        let lead = sim.publish(0, codec, 3, LinkSpec::GOOD);
        let room = sim.subscribe(0, VIDEO, LinkSpec::GOOD);
        for layer in [0, 2, 1, 2, 0] {
            sim.show(room, &[(lead, Priority::LeadVideo, layer)]);
            sim.run(secs(8));
        }
        let stream = sim.subscriber(room).stream(codec);
        println!("{codec:?}: layers {:?}", stream.layers());
        stream.assert_decodable();
        assert_eq!(stream.missing(), 0);
        assert!(
            stream.layers().contains(&2) && stream.layers().len() >= 5,
            "{:?}",
            stream.layers()
        );
        let picture_ids: Vec<u16> = stream.picture_ids.values().copied().collect();
        for pair in picture_ids.windows(2) {
            let step = pair[1].wrapping_sub(pair[0]) & 0x7FFF;
            assert!(
                step <= 1,
                "picture IDs jump from {} to {}",
                pair[0],
                pair[1]
            );
        }
    }
}

#[test]
fn a_room_called_to_the_stage_replaces_the_track_in_the_same_slot() {
    let mut sim = Simulation::new(seed(5), 1);
    let first = sim.publish(0, Codec::H264, 1, LinkSpec::GOOD);
    let second = sim.publish(0, Codec::H264, 1, LinkSpec::GOOD);
    let room = sim.subscribe(0, VIDEO, LinkSpec::GOOD);
    for track in [first, second, first] {
        sim.show(room, &[(track, Priority::Stage, 0)]);
        sim.run(secs(3));
    }
    let subscriber = sim.subscriber(room);
    assert_eq!(subscriber.streams.len(), 1, "one slot is one stream");
    let stream = subscriber.stream(Codec::H264);
    stream.assert_decodable();
    assert_eq!(stream.missing(), 0);
}

#[test]
fn peers_on_two_shards_are_one_lesson() {
    let mut sim = Simulation::new(seed(6), 2);
    let lead = sim.publish(0, Codec::H264, 1, LinkSpec::GOOD);
    let audio = sim.publish(0, Codec::Opus, 1, LinkSpec::GOOD);
    let bad = LinkSpec {
        loss: 0.03,
        ..LinkSpec::GOOD
    };
    let rooms = [
        sim.subscribe(0, BOTH, LinkSpec::GOOD),
        sim.subscribe(1, BOTH, LinkSpec::GOOD),
        sim.subscribe(1, BOTH, bad),
    ];
    for room in rooms {
        sim.show(
            room,
            &[(audio, Priority::Audio, 0), (lead, Priority::LeadVideo, 0)],
        );
    }
    sim.run(secs(10));
    for room in rooms {
        let stream = sim.subscriber(room).stream(Codec::H264);
        let (complete, all) = stream.frames();
        assert!(
            complete > 25 * 8 && complete * 100 >= all * 98,
            "{room:?}: {complete} of {all} frames"
        );
        assert!(sim.subscriber(room).has_received(Codec::Opus));
    }
}

#[test]
fn a_village_school_on_a_slow_link_keeps_audio_when_video_no_longer_fits() {
    let slow = LinkSpec {
        rate: Some(150_000),
        delay: Duration::from_millis(40),
        ..LinkSpec::GOOD
    };
    let mut sim = Simulation::new(seed(7), 1);
    let audio = sim.publish(0, Codec::Opus, 1, LinkSpec::GOOD);
    let lead = sim.publish(0, Codec::H264, 3, LinkSpec::GOOD);
    let room = sim.subscribe(0, BOTH, LinkSpec::GOOD);
    sim.show(
        room,
        &[(audio, Priority::Audio, 0), (lead, Priority::LeadVideo, 2)],
    );
    sim.run(secs(15));
    assert_eq!(
        sim.subscriber(room).stream(Codec::H264).layers().last(),
        Some(&2),
        "a good link has the highest layer"
    );
    sim.set_link(room, slow);
    sim.run(secs(8));
    sim.reset_measurements(room);
    sim.run(secs(20));
    let stream = sim.subscriber(room).stream(Codec::Opus);
    let missing = stream.missing();
    println!("{} audio packets, {missing} missing", stream.packets.len());
    assert!(
        stream.packets.len() > 950 && missing <= 10,
        "{} audio packets, {missing} missing",
        stream.packets.len()
    );
}

#[test]
fn page_turns_on_a_slow_link_arrive_and_do_not_delay_audio() {
    for seed in [seed(13), 14, 15] {
        let link = LinkSpec {
            rate: Some(400_000),
            loss: 0.02,
            delay: Duration::from_millis(100),
            ..LinkSpec::GOOD
        };
        let mut sim = Simulation::new(seed, 1);
        let audio = sim.publish(0, Codec::Opus, 1, LinkSpec::GOOD);
        let lead = sim.publish(0, Codec::H264, 3, LinkSpec::GOOD);
        let screen = sim.publish_screen(0, LinkSpec::GOOD);
        let room = sim.subscribe(
            0,
            &[MediaKind::Audio, MediaKind::Video, MediaKind::Video],
            link,
        );
        sim.show(
            room,
            &[
                (audio, Priority::Audio, 0),
                (screen, Priority::Screen, 1),
                (lead, Priority::LeadVideo, 0),
            ],
        );
        sim.run(secs(20));
        sim.reset_measurements(room);
        let (from, events) = (sim.at(), sim.events.len());
        for _ in 0..5 {
            sim.run(secs(9));
            // A joining client needs a keyframe, which every subscriber receives: the page is sent
            // again.
            let late = sim.subscribe(0, VIDEO, LinkSpec::GOOD);
            sim.show(late, &[(screen, Priority::Screen, 1)]);
        }
        let paused = |event: &Event| matches!(event, Event::SlotLayer { peer, mid, layer: None, .. } if *peer == room && mid == "1");
        let pauses = sim.events[events..]
            .iter()
            .filter(|(_, event)| paused(event))
            .count();
        let room = sim.subscriber(room);
        let pages = room
            .streams
            .values()
            .find(|s| s.codec == Codec::H264 && s.packets.values().any(|(_, c, _)| c.parts >= 12));
        let pages = pages
            .expect("the screen")
            .frame_delays(sim.frame_timing(screen));
        let page_delays: Vec<Duration> = pages
            .values()
            .filter(|(_, parts)| *parts >= 12)
            .map(|(delay, _)| *delay)
            .collect();
        let mut delays: Vec<Duration> = room
            .stream(Codec::Opus)
            .frame_delays(sim.frame_timing(audio))
            .values()
            .map(|(d, _)| *d)
            .collect();
        delays.sort();
        let percentile = |share: f64| delays[(delays.len() as f64 * share) as usize];
        println!(
            "{pauses} pauses; {} pages after {page_delays:?}; audio p50 {:?} p95 {:?} p99 {:?}",
            page_delays.len(),
            percentile(0.5),
            percentile(0.95),
            percentile(0.99)
        );
        let turned = (sim.at() - from).as_secs() / PAGE_INTERVAL.as_secs();
        assert_eq!(pauses, 0, "the screen was paused");
        assert!(
            page_delays.len() as u64 + 1 >= turned,
            "{} of {turned} pages",
            page_delays.len()
        );
        assert!(
            page_delays.iter().all(|delay| *delay < secs(2)),
            "{page_delays:?}"
        );
        assert!(
            percentile(0.99) < Duration::from_millis(300),
            "the audio delay was {:?}",
            percentile(0.99)
        );
    }
}

#[test]
fn a_video_only_player_recovers_after_a_stall() {
    let mut sim = Simulation::new(seed(10), 1);
    let lead = sim.publish(0, Codec::H264, 1, LinkSpec::GOOD);
    let player = sim.subscribe(0, VIDEO, LinkSpec::GOOD);
    sim.show(player, &[(lead, Priority::LeadVideo, 0)]);
    sim.run(secs(5));
    for _ in 0..3 {
        sim.set_link(
            player,
            LinkSpec {
                rate: Some(100_000),
                ..LinkSpec::GOOD
            },
        );
        sim.run(secs(3));
        sim.set_link(
            player,
            LinkSpec {
                dead: true,
                ..LinkSpec::GOOD
            },
        );
        sim.run(secs(3));
        sim.set_link(player, LinkSpec::GOOD);
        sim.run(secs(6));
    }
    sim.reset_measurements(player);
    sim.run(secs(10));
    let (complete, _) = sim.subscriber(player).stream(Codec::H264).frames();
    assert!(complete > 25 * 9, "{complete} frames in 10 s");
}

#[test]
fn media_resumes_after_a_link_outage_of_six_seconds() {
    let slow = LinkSpec {
        rate: Some(400_000),
        loss: 0.02,
        delay: Duration::from_millis(100),
        ..LinkSpec::GOOD
    };
    let mut sim = Simulation::new(seed(11), 1);
    let audio = sim.publish(0, Codec::Opus, 1, LinkSpec::GOOD);
    let lead = sim.publish(0, Codec::H264, 3, LinkSpec::GOOD);
    let room = sim.subscribe(0, BOTH, slow);
    sim.show(
        room,
        &[(audio, Priority::Audio, 0), (lead, Priority::LeadVideo, 2)],
    );
    sim.run(secs(15));
    for link in [
        LinkSpec {
            rate: Some(150_000),
            ..slow
        },
        slow,
    ] {
        sim.set_link(room, link);
        sim.run(secs(15));
    }
    sim.set_link(room, LinkSpec { dead: true, ..slow });
    sim.run(secs(6));
    sim.set_link(room, slow);
    sim.reset_measurements(room);
    let restored = sim.now;
    sim.run(secs(20));
    let back = |codec| sim.subscriber(room).stream(codec).first_at() - restored;
    let (audio_delay, video_delay) = (back(Codec::Opus), back(Codec::H264));
    println!("audio after {audio_delay:?}, video after {video_delay:?}");
    assert!(audio_delay < secs(2), "audio resumed after {audio_delay:?}");
    assert!(video_delay < secs(8), "video resumed after {video_delay:?}");
}

#[test]
fn packets_are_forwarded_without_an_allocation() {
    let bad = LinkSpec {
        loss: 0.02,
        ..LinkSpec::GOOD
    };
    let mut sim = Simulation::new(seed(12), 1);
    let audio = sim.publish(0, Codec::Opus, 1, LinkSpec::GOOD);
    let lead = sim.publish(0, Codec::H264, 3, bad);
    for _ in 0..50 {
        let room = sim.subscribe(0, BOTH, bad);
        sim.show(
            room,
            &[(audio, Priority::Audio, 0), (lead, Priority::LeadVideo, 2)],
        );
    }
    // Warm-up: queues reach their capacity, and every subscriber has received a retransmission.
    sim.run(secs(20));
    (sim.allocations, sim.events) = (0, Vec::new());
    let before = sim.stats(0);
    sim.run(secs(10));
    let after = sim.stats(0);
    assert!(
        after.packets_forwarded - before.packets_forwarded > 50 * 10 * 140,
        "{after:?}"
    );
    assert!(
        after.packets_resent - before.packets_resent > 500,
        "{after:?}"
    );
    assert_eq!(
        sim.allocations,
        0,
        "while {} packets passed",
        after.packets_forwarded - before.packets_forwarded
    );
}

#[test]
fn peers_that_vanish_are_closed_within_ten_seconds() {
    let mut sim = Simulation::new(seed(8), 1);
    let lead = sim.publish(0, Codec::H264, 1, LinkSpec::GOOD);
    let room = sim.subscribe(0, VIDEO, LinkSpec::GOOD);
    sim.show(room, &[(lead, Priority::LeadVideo, 0)]);
    sim.run(secs(5));
    let dead = LinkSpec {
        dead: true,
        ..LinkSpec::GOOD
    };
    sim.set_link(room, dead);
    sim.set_link(PeerId(lead.0), dead);
    let cut = sim.at();
    sim.run(secs(12));
    for peer in [room, PeerId(lead.0)] {
        let gone = sim.closed_at(peer).expect("gone") - cut;
        assert!(gone <= secs(10), "{peer:?} was closed after {gone:?}");
    }
    assert_eq!(
        (
            sim.stats(0).publishers,
            sim.stats(0).subscribers,
            sim.stats(0).tracks
        ),
        (0, 0, 0)
    );
    assert_eq!(
        (sim.stats(0).ring_bytes, sim.stats(0).resends_queued),
        (0, 0),
        "an empty shard reports zero"
    );
}

#[test]
fn a_shard_reports_its_memory_and_queue_lengths() {
    let mut sim = Simulation::new(seed(11), 1);
    let lead = sim.publish(0, Codec::H264, 3, LinkSpec::GOOD);
    let lossy = LinkSpec {
        loss: 0.05,
        ..LinkSpec::GOOD
    };
    let rooms = [(); 4].map(|()| sim.subscribe(0, VIDEO, lossy));
    rooms
        .iter()
        .for_each(|room| sim.show(*room, &[(lead, Priority::LeadVideo, 2)]));
    let (mut resends, mut control) = (0, 0);
    for _ in 0..10 {
        sim.run(secs(1));
        resends = resends.max(sim.stats(0).resends_queued);
        control = control.max(sim.stats(0).control_queued);
    }
    let stats = sim.stats(0);
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
        "at most {resends} resends and {control} control datagrams were queued"
    );
}

#[test]
fn a_hundred_rooms_share_one_keyframe_request() {
    let mut sim = Simulation::new(seed(9), 1);
    let lead: TrackId = sim.publish(0, Codec::H264, 1, LinkSpec::GOOD);
    sim.run(secs(5));
    let before = sim.stats(0).keyframes_requested;
    let rooms: Vec<PeerId> = (0..100)
        .map(|_| sim.subscribe(0, VIDEO, LinkSpec::GOOD))
        .collect();
    rooms
        .iter()
        .for_each(|room| sim.show(*room, &[(lead, Priority::LeadVideo, 0)]));
    sim.run(secs(3));
    for room in &rooms {
        sim.subscriber(*room).stream(Codec::H264).assert_decodable();
    }
    let requests = sim.stats(0).keyframes_requested - before;
    assert!((1..=3).contains(&requests), "{requests} keyframe requests");
}
