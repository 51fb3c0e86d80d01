//! Simulcast layer allocation for one subscriber with a changing estimate. The shard allocates ten
//! times a second per subscriber.
//!
//! `cargo bench -p tongke-plane --bench allocator -- [rounds] [tracks]`
//!
//! The last line is JSON: nanoseconds of CPU per allocation by number of tracks. Without `tracks`:
//! a player, a classroom and a full wall.

#![allow(clippy::disallowed_methods)]

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{arguments, begin_counting, counted, median, number, timed};
use tongke_plane::subscribe::allocator::{TrackAllocation, allocate};
use tongke_plane::{Bitrate, Priority};

/// Allocations of one block.
const BLOCK: usize = 1_000;

/// Tracks of a subscriber: audio and video of one publisher; lead, screen and two rooms on stage,
/// each with audio; a wall.
const TRACK_COUNTS: [usize; 3] = [2, 8, 30];

fn main() {
    let arguments = arguments();
    let rounds = number(&arguments, 0, 100);
    let track_counts = match number(&arguments, 1, 0) {
        0 => TRACK_COUNTS.to_vec(),
        tracks => vec![tracks],
    };
    begin_counting();
    let mut figures = Vec::new();
    for tracks in track_counts {
        let (mut allocations, mut now) = (allocations(tracks), Instant::now());
        let mut values: Vec<f64> = (0..rounds)
            .map(|_| block(&mut allocations, &mut now))
            .collect();
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

/// Alternates audio and video tracks; a video track has three layers.
fn allocations(tracks: usize) -> Vec<TrackAllocation<usize>> {
    const VIDEO_PRIORITIES: [Priority; 4] = [
        Priority::LeadVideo,
        Priority::Screen,
        Priority::Stage,
        Priority::Wall,
    ];
    let allocation = |n: usize| match n % 2 {
        0 => with_rates(TrackAllocation::new(n, Priority::Audio), &[40]),
        _ => with_rates(
            TrackAllocation::new(n, VIDEO_PRIORITIES[(n / 2).min(3)]),
            &[150, 500, 1_500],
        ),
    };
    (0..tracks).map(allocation).collect()
}

fn with_rates(mut allocation: TrackAllocation<usize>, kbps: &[u64]) -> TrackAllocation<usize> {
    allocation
        .layers
        .iter_mut()
        .zip(kbps)
        .for_each(|(layer, kbps)| *layer = Bitrate::kbps(*kbps));
    allocation
}

fn block(allocations: &mut [TrackAllocation<usize>], now: &mut Instant) -> f64 {
    let mut spent = Duration::ZERO;
    let run = || {
        for n in 0..BLOCK as u64 {
            *now += Duration::from_millis(100);
            // The estimate varies between audio only and all tracks at their best layer.
            let estimate = Bitrate::kbps(100 + n * 37 % 400 * allocations.len() as u64);
            black_box(allocate(estimate, *now, allocations));
        }
    };
    timed(&mut spent, || counted(run));
    spent.as_nanos() as f64 / BLOCK as f64
}
