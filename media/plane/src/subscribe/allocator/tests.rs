//! Allocations for classrooms with links of every bandwidth.

use super::*;
use crate::virtual_time;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn track(key: &'static str, priority: Priority, kbps: &[u64]) -> TrackAllocation<&'static str> {
    let mut track = TrackAllocation::new(key, priority);
    for (slot, rate) in track.layers.iter_mut().zip(kbps) {
        *slot = Bitrate::kbps(*rate);
    }
    track
}

/// Tracks of a listening room: audio, screen and camera of the teacher, a room on stage, two rooms
/// on the wall.
fn lesson() -> Vec<TrackAllocation<&'static str>> {
    vec![
        track("wall 1", Priority::Wall, &[90]),
        track("wall 2", Priority::Wall, &[90]),
        track("teacher", Priority::LeadVideo, &[150, 500, 1500]),
        track("audio", Priority::Audio, &[40]),
        track("stage", Priority::Stage, &[120, 450]),
        track("screen", Priority::Screen, &[200, 800]),
    ]
}

/// Layers in the order audio, screen, teacher, stage, wall 1, wall 2; −1 for a pause.
fn layers(tracks: &[TrackAllocation<&'static str>]) -> Vec<i32> {
    let find = |key| tracks.iter().find(|track| track.key == key).unwrap();
    let keys = ["audio", "screen", "teacher", "stage", "wall 1", "wall 2"];
    keys.map(|key| find(key).layer().map_or(-1, i32::from))
        .to_vec()
}

fn first_allocation(kbps: u64) -> Vec<i32> {
    let mut tracks = lesson();
    allocate(Bitrate::kbps(kbps), virtual_time::start(), &mut tracks);
    layers(&tracks)
}

#[test]
fn a_rural_classroom_on_2g_keeps_audio_when_video_no_longer_fits() {
    assert_eq!(first_allocation(30), [0, -1, -1, -1, -1, -1]);
}

#[test]
fn more_bandwidth_adds_the_screen_then_the_teacher_then_the_stage_then_the_wall() {
    assert_eq!(first_allocation(280), [0, 0, -1, -1, -1, -1]);
    assert_eq!(first_allocation(450), [0, 0, 0, -1, -1, -1]);
    assert_eq!(first_allocation(580), [0, 0, 0, 0, -1, -1]);
    assert_eq!(first_allocation(790), [0, 0, 0, 0, 0, 0]);
}

#[test]
fn remaining_bandwidth_upgrades_the_screen_first() {
    assert_eq!(first_allocation(1_500), [0, 1, 0, 0, 0, 0]);
    assert_eq!(first_allocation(1_900), [0, 1, 1, 0, 0, 0]);
    assert_eq!(first_allocation(2_300), [0, 1, 1, 1, 0, 0]);
    assert_eq!(first_allocation(5_000), [0, 1, 2, 1, 0, 0]);
}

#[test]
fn a_screen_that_exceeds_the_bandwidth_does_not_pause_the_teacher() {
    let mut tracks = lesson();
    tracks[5].layers[0] = Bitrate::kbps(3_000);
    allocate(Bitrate::kbps(300), virtual_time::start(), &mut tracks);
    assert_eq!(layers(&tracks), [0, -1, 0, -1, -1, -1]);
}

#[test]
fn a_thumbnail_never_gets_a_layer_above_its_maximum() {
    let mut tracks = lesson();
    tracks[2].max_layer = 1;
    let allocation = allocate(Bitrate::kbps(9_000), virtual_time::start(), &mut tracks);
    assert_eq!(layers(&tracks), [0, 1, 1, 1, 0, 0]);
    assert_eq!(allocation.used, Bitrate::kbps(40 + 800 + 500 + 450 + 180));
    assert_eq!(allocation.wanted, allocation.used.scale(HEADROOM));
}

#[test]
fn a_bandwidth_drop_downgrades_at_once_and_upgrades_follow_the_hold_time() {
    let (mut tracks, start) = (lesson(), virtual_time::start());
    allocate(Bitrate::kbps(5_000), start, &mut tracks);
    allocate(
        Bitrate::kbps(900),
        start + Duration::from_millis(100),
        &mut tracks,
    );
    assert_eq!(layers(&tracks), [0, 0, 0, 0, 0, 0]);
    allocate(
        Bitrate::kbps(5_000),
        start + Duration::from_secs(2),
        &mut tracks,
    );
    assert_eq!(layers(&tracks), [0, 0, 0, 0, 0, 0], "on hold");
    allocate(
        Bitrate::kbps(5_000),
        start + Duration::from_secs(9),
        &mut tracks,
    );
    assert_eq!(layers(&tracks), [0, 1, 2, 1, 0, 0]);
}

#[test]
fn a_layer_that_its_publisher_stops_is_replaced_at_once() {
    let (mut tracks, start) = (lesson(), virtual_time::start());
    allocate(Bitrate::kbps(5_000), start, &mut tracks);
    tracks[2].layers[2] = Bitrate::ZERO;
    tracks[4].layers = [Bitrate::ZERO; MAX_LAYERS];
    allocate(Bitrate::kbps(5_000), start, &mut tracks);
    assert_eq!(layers(&tracks), [0, 1, 1, -1, 0, 0]);
}

#[test]
fn a_page_turn_neither_pauses_nor_downgrades_the_screen() {
    let (mut tracks, start) = (lesson(), virtual_time::start());
    let mut screen = |estimate: u64, second: u64, mean: [u64; 2], peak: [u64; 2]| {
        let kbps = |[small, full]: [u64; 2]| {
            [
                Bitrate::kbps(small),
                Bitrate::kbps(full),
                Bitrate::ZERO,
                Bitrate::ZERO,
            ]
        };
        (tracks[5].layers, tracks[5].peaks) = (kbps(mean), kbps(peak));
        allocate(
            Bitrate::kbps(estimate),
            start + Duration::from_secs(second),
            &mut tracks,
        );
        layers(&tracks)
    };
    assert_eq!(
        screen(400, 0, [5, 10], [200, 900])[1],
        0,
        "a page of the full layer would take too long"
    );
    assert_eq!(
        screen(400, 10, [120, 260], [480, 1_040])[1],
        0,
        "while a page is sent"
    );
    assert_eq!(
        screen(1_400, 20, [5, 10], [480, 1_040])[1..3],
        [1, 0],
        "the rate of a page is not allocated to the teacher"
    );
    assert_eq!(
        screen(1_400, 30, [150, 320], [480, 1_280])[1],
        1,
        "a dense page does not change the layer"
    );
    assert_eq!(
        screen(500, 40, [5, 10], [480, 1_280])[1],
        0,
        "after a bandwidth drop"
    );
    assert_eq!(
        screen(400, 50, [900, 2_000], [1_100, 2_500])[1],
        -1,
        "a film does not fit at all"
    );
}

fn random_tracks(rng: &mut StdRng) -> Vec<TrackAllocation<usize>> {
    (0..rng.random_range(1..12))
        .map(|key| {
            let mut track = TrackAllocation::new(
                key,
                ALLOCATION_ORDER[rng.random_range(0..ALLOCATION_ORDER.len())],
            );
            let mut rate = rng.random_range(20..200);
            for layer in track
                .layers
                .iter_mut()
                .take(rng.random_range(0..=MAX_LAYERS))
            {
                *layer = Bitrate::kbps(rate);
                rate = rate * rng.random_range(15..40) / 10;
            }
            track.max_layer = rng.random_range(0..4);
            track
        })
        .collect()
}

#[test]
fn allocations_never_exceed_the_estimate_and_respect_the_priorities() {
    for seed in 0..2_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut tracks, mut now) = (random_tracks(&mut rng), virtual_time::start());
        for _ in 0..30 {
            let estimate = Bitrate::kbps(rng.random_range(30..6_000));
            now += Duration::from_millis(rng.random_range(0..9_000));
            let used = allocate(estimate, now, &mut tracks).used;
            let sum = tracks
                .iter()
                .fold(Bitrate::ZERO, |sum, track| sum + track.rate(track.layer()));
            let audio = tracks
                .iter()
                .filter(|track| track.priority == Priority::Audio);
            let audio = audio.fold(Bitrate::ZERO, |sum, track| sum + track.rate(track.layer()));
            assert_eq!(used, sum, "seed {seed}");
            assert!(
                used <= estimate.max(audio),
                "seed {seed}: {used} of {estimate}"
            );
            for track in &tracks {
                assert!(
                    track.layer() <= Some(track.max_layer),
                    "seed {seed}: {track:?}"
                );
                let is_paused_audio = track.priority == Priority::Audio
                    && track.layer().is_none()
                    && track.usable_layers().next().is_some();
                assert!(!is_paused_audio, "seed {seed}: audio is never paused");
            }
            let paused = tracks
                .iter()
                .filter(|track| track.layer().is_none() && !track.is_on_hold(now));
            for paused_track in paused.filter(|track| track.usable_layers().next().is_some()) {
                let lowest = paused_track.rate(paused_track.usable_layers().next());
                let before = tracks
                    .iter()
                    .filter(|track| track.priority <= paused_track.priority);
                let floor = before.fold(Bitrate::ZERO, |sum, track| {
                    sum + track.rate(track.layer().and(track.usable_layers().next()))
                });
                let reserved = tracks
                    .iter()
                    .filter(|track| track.is_on_hold(now))
                    .fold(Bitrate::ZERO, |sum, track| {
                        sum + track.rate(track.usable_layers().next())
                    });
                assert!(
                    (floor + reserved + lowest).scale(HEADROOM) > estimate,
                    "seed {seed}: {paused_track:?}"
                );
            }
        }
    }
}

#[test]
fn an_estimate_that_varies_by_a_tenth_never_makes_layers_flap() {
    let mut worst = 0;
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut tracks, start) = (random_tracks(&mut rng), virtual_time::start());
        let (mean, mut changes) = (rng.random_range(100.0..5_000.0), 0);
        let mut before: Vec<_> = tracks.iter().map(TrackAllocation::layer).collect();
        for tick in 0..3_000u32 {
            let estimate = Bitrate::kbps((mean * rng.random_range(0.95..1.05)) as u64);
            let noisy = |rate: Bitrate, rng: &mut StdRng| rate.scale(rng.random_range(0.99..1.01));
            for track in &mut tracks {
                track.layers = track.layers.map(|rate| {
                    if tick == 0 {
                        noisy(rate, &mut rng)
                    } else {
                        rate
                    }
                });
            }
            allocate(
                estimate,
                start + Duration::from_millis(100) * tick,
                &mut tracks,
            );
            let after: Vec<_> = tracks.iter().map(TrackAllocation::layer).collect();
            changes += usize::from(tick > 50 && after != before);
            before = after;
        }
        worst = worst.max(changes);
        assert!(
            changes <= 12,
            "seed {seed}: {changes} changes in five minutes"
        );
    }
    println!("at most {worst} changes in five minutes");
}

#[test]
fn a_camera_that_pauses_for_a_moment_resumes_at_once() {
    let (mut tracks, start) = (
        vec![track("teacher", Priority::LeadVideo, &[150, 500, 1500])],
        virtual_time::start(),
    );
    allocate(Bitrate::kbps(5_000), start, &mut tracks);
    tracks[0].layers = [Bitrate::ZERO; MAX_LAYERS];
    allocate(
        Bitrate::kbps(5_000),
        start + Duration::from_secs(1),
        &mut tracks,
    );
    assert_eq!(tracks[0].layer(), None);
    tracks[0].layers[2] = Bitrate::kbps(1_500);
    allocate(
        Bitrate::kbps(5_000),
        start + Duration::from_secs(2),
        &mut tracks,
    );
    assert_eq!(tracks[0].layer(), Some(2));
}
