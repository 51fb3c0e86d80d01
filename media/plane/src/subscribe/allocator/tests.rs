//! Classrooms on lines of every width.

use super::*;
use crate::virtual_time;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn item(key: &'static str, priority: Priority, kbps: &[u64]) -> Item<&'static str> {
    let mut item = Item::new(key, priority);
    for (slot, rate) in item.layers.iter_mut().zip(kbps) {
        *slot = Bitrate::kbps(*rate);
    }
    item
}

/// A listening room's wishes: the teacher's voice, screen and picture, a room on stage, two more on the wall.
fn lesson() -> Vec<Item<&'static str>> {
    vec![
        item("wall 1", Priority::Wall, &[90]),
        item("wall 2", Priority::Wall, &[90]),
        item("teacher", Priority::LeadVideo, &[150, 500, 1500]),
        item("voice", Priority::Voice, &[40]),
        item("stage", Priority::Stage, &[120, 450]),
        item("screen", Priority::Slides, &[200, 800]),
    ]
}

/// Layers in the order voice, screen, teacher, stage, wall 1, wall 2; −1 for a pause.
fn layers(items: &[Item<&'static str>]) -> Vec<i32> {
    let find = |key| items.iter().find(|item| item.key == key).unwrap();
    let keys = ["voice", "screen", "teacher", "stage", "wall 1", "wall 2"];
    keys.map(|key| find(key).layer().map_or(-1, i32::from))
        .to_vec()
}

fn first_decision(kbps: u64) -> Vec<i32> {
    let mut items = lesson();
    allocate(Bitrate::kbps(kbps), virtual_time::start(), &mut items);
    layers(&items)
}

#[test]
fn a_rural_classroom_on_2g_keeps_the_voice_when_the_picture_no_longer_fits() {
    assert_eq!(first_decision(30), [0, -1, -1, -1, -1, -1]);
}

#[test]
fn a_widening_line_brings_the_screen_then_the_teacher_then_the_stage_then_the_wall() {
    assert_eq!(first_decision(280), [0, 0, -1, -1, -1, -1]);
    assert_eq!(first_decision(450), [0, 0, 0, -1, -1, -1]);
    assert_eq!(first_decision(580), [0, 0, 0, 0, -1, -1]);
    assert_eq!(first_decision(790), [0, 0, 0, 0, 0, 0]);
}

#[test]
fn what_is_left_over_sharpens_the_screen_first() {
    assert_eq!(first_decision(1_500), [0, 1, 0, 0, 0, 0]);
    assert_eq!(first_decision(1_900), [0, 1, 1, 0, 0, 0]);
    assert_eq!(first_decision(2_300), [0, 1, 1, 1, 0, 0]);
    assert_eq!(first_decision(5_000), [0, 1, 2, 1, 0, 0]);
}

#[test]
fn a_screen_too_big_for_the_line_does_not_take_the_teacher_with_it() {
    let mut items = lesson();
    items[5].layers[0] = Bitrate::kbps(3_000);
    allocate(Bitrate::kbps(300), virtual_time::start(), &mut items);
    assert_eq!(layers(&items), [0, -1, 0, -1, -1, -1]);
}

#[test]
fn a_small_picture_never_gets_a_layer_bigger_than_itself() {
    let mut items = lesson();
    items[2].max_layer = 1;
    let allocation = allocate(Bitrate::kbps(9_000), virtual_time::start(), &mut items);
    assert_eq!(layers(&items), [0, 1, 1, 1, 0, 0]);
    assert_eq!(allocation.used, Bitrate::kbps(40 + 800 + 500 + 450 + 180));
    assert_eq!(allocation.wanted, allocation.used.scale(HEADROOM));
}

#[test]
fn a_line_that_narrows_is_relieved_at_once_and_trusted_again_after_a_while() {
    let (mut items, start) = (lesson(), virtual_time::start());
    allocate(Bitrate::kbps(5_000), start, &mut items);
    allocate(
        Bitrate::kbps(900),
        start + Duration::from_millis(100),
        &mut items,
    );
    assert_eq!(layers(&items), [0, 0, 0, 0, 0, 0]);
    allocate(
        Bitrate::kbps(5_000),
        start + Duration::from_secs(2),
        &mut items,
    );
    assert_eq!(layers(&items), [0, 0, 0, 0, 0, 0], "on hold");
    allocate(
        Bitrate::kbps(5_000),
        start + Duration::from_secs(9),
        &mut items,
    );
    assert_eq!(layers(&items), [0, 1, 2, 1, 0, 0]);
}

#[test]
fn a_layer_that_its_publisher_stops_is_left_at_once() {
    let (mut items, start) = (lesson(), virtual_time::start());
    allocate(Bitrate::kbps(5_000), start, &mut items);
    items[2].layers[2] = Bitrate::ZERO;
    items[4].layers = [Bitrate::ZERO; MAX_LAYERS];
    allocate(Bitrate::kbps(5_000), start, &mut items);
    assert_eq!(layers(&items), [0, 1, 1, -1, 0, 0]);
}

#[test]
fn a_page_that_is_turned_neither_pauses_the_screen_nor_takes_its_layer() {
    let (mut items, start) = (lesson(), virtual_time::start());
    let mut screen = |estimate: u64, second: u64, mean: [u64; 2], peak: [u64; 2]| {
        let kbps = |[small, full]: [u64; 2]| {
            [
                Bitrate::kbps(small),
                Bitrate::kbps(full),
                Bitrate::ZERO,
                Bitrate::ZERO,
            ]
        };
        (items[5].layers, items[5].peaks) = (kbps(mean), kbps(peak));
        allocate(
            Bitrate::kbps(estimate),
            start + Duration::from_secs(second),
            &mut items,
        );
        layers(&items)
    };
    assert_eq!(
        screen(400, 0, [5, 10], [200, 900])[1],
        0,
        "a page of the full layer would take too long"
    );
    assert_eq!(
        screen(400, 10, [120, 260], [480, 1_040])[1],
        0,
        "while a page comes"
    );
    assert_eq!(
        screen(1_400, 20, [5, 10], [480, 1_040])[1..3],
        [1, 0],
        "what a page needs is not given to the teacher"
    );
    assert_eq!(
        screen(1_400, 30, [150, 320], [480, 1_280])[1],
        1,
        "a dense page does not change the layer"
    );
    assert_eq!(
        screen(500, 40, [5, 10], [480, 1_280])[1],
        0,
        "on a line that got narrow"
    );
    assert_eq!(
        screen(400, 50, [900, 2_000], [1_100, 2_500])[1],
        -1,
        "a film does not fit at all"
    );
}

fn random_items(rng: &mut StdRng) -> Vec<Item<usize>> {
    (0..rng.random_range(1..12))
        .map(|key| {
            let mut item = Item::new(key, ORDER[rng.random_range(0..ORDER.len())]);
            let mut rate = rng.random_range(20..200);
            for layer in item
                .layers
                .iter_mut()
                .take(rng.random_range(0..=MAX_LAYERS))
            {
                *layer = Bitrate::kbps(rate);
                rate = rate * rng.random_range(15..40) / 10;
            }
            item.max_layer = rng.random_range(0..4);
            item
        })
        .collect()
}

#[test]
fn no_line_is_given_away_twice_and_no_lesser_track_takes_a_better_ones_place() {
    for seed in 0..2_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut items, mut now) = (random_items(&mut rng), virtual_time::start());
        for _ in 0..30 {
            let estimate = Bitrate::kbps(rng.random_range(30..6_000));
            now += Duration::from_millis(rng.random_range(0..9_000));
            let used = allocate(estimate, now, &mut items).used;
            let sum = items
                .iter()
                .fold(Bitrate::ZERO, |sum, item| sum + item.rate(item.layer()));
            let voices = items.iter().filter(|item| item.priority == Priority::Voice);
            let voices = voices.fold(Bitrate::ZERO, |sum, item| sum + item.rate(item.layer()));
            assert_eq!(used, sum, "seed {seed}");
            assert!(
                used <= estimate.max(voices),
                "seed {seed}: {used} of {estimate}"
            );
            for item in &items {
                assert!(
                    item.layer() <= Some(item.max_layer),
                    "seed {seed}: {item:?}"
                );
                let silenced = item.priority == Priority::Voice
                    && item.layer().is_none()
                    && item.usable().next().is_some();
                assert!(!silenced, "seed {seed}: a voice is never paused");
            }
            let starving = items
                .iter()
                .filter(|item| item.layer().is_none() && !item.is_held(now));
            for poor in starving.filter(|item| item.usable().next().is_some()) {
                let lowest = poor.rate(poor.usable().next());
                let before = items.iter().filter(|item| item.priority <= poor.priority);
                let floor = before.fold(Bitrate::ZERO, |sum, item| {
                    sum + item.rate(item.layer().and(item.usable().next()))
                });
                let reserved = items
                    .iter()
                    .filter(|item| item.is_held(now))
                    .fold(Bitrate::ZERO, |sum, item| {
                        sum + item.rate(item.usable().next())
                    });
                assert!(
                    (floor + reserved + lowest).scale(HEADROOM) > estimate,
                    "seed {seed}: {poor:?}"
                );
            }
        }
    }
}

#[test]
fn an_estimate_that_swings_by_a_tenth_never_makes_a_picture_flap() {
    let mut worst = 0;
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut items, start) = (random_items(&mut rng), virtual_time::start());
        let (mean, mut changes) = (rng.random_range(100.0..5_000.0), 0);
        let mut before: Vec<_> = items.iter().map(Item::layer).collect();
        for tick in 0..3_000u32 {
            let estimate = Bitrate::kbps((mean * rng.random_range(0.95..1.05)) as u64);
            let noisy = |rate: Bitrate, rng: &mut StdRng| rate.scale(rng.random_range(0.99..1.01));
            for item in &mut items {
                item.layers = item.layers.map(|rate| {
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
                &mut items,
            );
            let after: Vec<_> = items.iter().map(Item::layer).collect();
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
fn a_camera_that_rests_for_a_moment_is_shown_again_at_once() {
    let (mut items, start) = (
        vec![item("teacher", Priority::LeadVideo, &[150, 500, 1500])],
        virtual_time::start(),
    );
    allocate(Bitrate::kbps(5_000), start, &mut items);
    items[0].layers = [Bitrate::ZERO; MAX_LAYERS];
    allocate(
        Bitrate::kbps(5_000),
        start + Duration::from_secs(1),
        &mut items,
    );
    assert_eq!(items[0].layer(), None);
    items[0].layers[2] = Bitrate::kbps(1_500);
    allocate(
        Bitrate::kbps(5_000),
        start + Duration::from_secs(2),
        &mut items,
    );
    assert_eq!(items[0].layer(), Some(2));
}
