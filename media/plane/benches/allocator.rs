//! The decision which layer of what a subscriber gets, while its estimate swings: as often as each subscriber's turn comes, ten times a second.
//!
//! `cargo bench -p tongke-plane --bench allocator -- [rounds] [tracks]`
//!
//! The last line is JSON, in nanoseconds of CPU per decision for so many tracks; without `tracks` for a player, a classroom and a full wall.

#![allow(clippy::disallowed_methods)]

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{arguments, begin_counting, counted, median, number, timed};
use tongke_plane::subscribe::allocator::{Item, allocate};
use tongke_plane::{Bitrate, Priority};

/// Decisions of one block.
const BLOCK: usize = 1_000;

/// A player's voice and picture; lead, screen and two rooms on stage with their voices; a wall of rooms as well.
const AUDIENCES: [usize; 3] = [2, 8, 30];

fn main() {
    let arguments = arguments();
    let rounds = number(&arguments, 0, 100);
    let audiences = match number(&arguments, 1, 0) {
        0 => AUDIENCES.to_vec(),
        tracks => vec![tracks],
    };
    begin_counting();
    let mut figures = Vec::new();
    for tracks in audiences {
        let (mut items, mut now) = (items(tracks), Instant::now());
        let mut values: Vec<f64> = (0..rounds).map(|_| block(&mut items, &mut now)).collect();
        figures.push(format!(
            r#""decision_{tracks}_ns":{:.0}"#,
            median(&mut values)
        ));
    }
    println!(
        r#"{{"bench":"allocator","decisions":{},{}}}"#,
        rounds * BLOCK,
        figures.join(",")
    );
}

/// A voice for every picture; pictures have three layers.
fn items(tracks: usize) -> Vec<Item<usize>> {
    const PICTURES: [Priority; 4] = [
        Priority::LeadVideo,
        Priority::Slides,
        Priority::Stage,
        Priority::Wall,
    ];
    let item = |n: usize| match n % 2 {
        0 => flowing(Item::new(n, Priority::Voice), &[40]),
        _ => flowing(Item::new(n, PICTURES[(n / 2).min(3)]), &[150, 500, 1_500]),
    };
    (0..tracks).map(item).collect()
}

fn flowing(mut item: Item<usize>, kbps: &[u64]) -> Item<usize> {
    item.layers
        .iter_mut()
        .zip(kbps)
        .for_each(|(layer, kbps)| *layer = Bitrate::kbps(*kbps));
    item
}

fn block(items: &mut [Item<usize>], now: &mut Instant) -> f64 {
    let mut spent = Duration::ZERO;
    let decide = || {
        for n in 0..BLOCK as u64 {
            *now += Duration::from_millis(100);
            // Between a voice alone and everything at its best, up and down.
            let estimate = Bitrate::kbps(100 + n * 37 % 400 * items.len() as u64);
            black_box(allocate(estimate, *now, items));
        }
    };
    timed(&mut spent, || counted(decide));
    spent.as_nanos() as f64 / BLOCK as f64
}
