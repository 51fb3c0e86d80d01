//! Lines that rural classrooms have.

use super::simulation::{ADAPTIVE, Line, Simulation, Source};

const SEEDS: std::ops::Range<u64> = 0..8;

#[test]
fn a_line_of_300_kbits_is_found_and_not_flooded() {
    for seed in SEEDS {
        let mut lesson = Simulation::new(Line { bucket_bytes: 4_000.0, ..Line::kbps(300.0) }, ADAPTIVE, seed);
        let first = lesson.run(10.0);
        let then = lesson.run(50.0);
        println!("seed {seed}: {first:.0?}\n        {then:.0?}");
        assert!(first.longest_queue_ms < 400.0 && then.longest_queue_ms < 400.0);
        assert!((240.0..360.0).contains(&then.mean_kbps), "seed {seed}");
    }
}

#[test]
fn random_loss_of_15_percent_is_not_taken_for_congestion() {
    for seed in SEEDS {
        let line = Line { loss: 0.15, feedback_loss: 0.15, ..Line::kbps(2_000.0) };
        let mut lesson = Simulation::new(line, ADAPTIVE, seed);
        let first = lesson.run(10.0);
        let then = lesson.run(50.0);
        println!("seed {seed}: {first:.0?}\n        {then:.0?}");
        assert!(then.mean_kbps > 1_400.0 && then.longest_queue_ms < 400.0, "seed {seed}");
    }
}

#[test]
fn loss_that_sets_in_during_a_lesson_costs_a_moment_only() {
    for seed in SEEDS {
        let mut lesson = Simulation::new(Line::kbps(2_000.0), ADAPTIVE, seed);
        lesson.run(20.0);
        lesson.line.loss = 0.15;
        lesson.line.feedback_loss = 0.15;
        let onset = lesson.run(10.0);
        let then = lesson.run(30.0);
        println!("seed {seed}: {onset:.0?}\n        {then:.0?}");
        assert!(onset.mean_kbps > 1_200.0 && then.mean_kbps > 1_400.0, "seed {seed}");
    }
}

#[test]
fn a_line_that_narrows_to_a_quarter_is_relieved_within_three_seconds_and_used_when_it_widens() {
    for seed in SEEDS {
        let mut lesson = Simulation::new(Line::kbps(2_000.0), ADAPTIVE, seed);
        let before = lesson.run(20.0);
        lesson.line.kbps = 500.0;
        let drop = lesson.run(3.0);
        let narrow = lesson.run(20.0);
        lesson.line.kbps = 2_000.0;
        let rise = lesson.run(15.0);
        let wide = lesson.run(10.0);
        println!("seed {seed}: {before:.0?}\n {drop:.0?}\n {narrow:.0?}\n {rise:.0?}\n {wide:.0?}");
        assert!(before.mean_kbps > 1_300.0 && narrow.mean_kbps > 300.0 && narrow.mean_kbps < 550.0, "seed {seed}");
        assert!(narrow.longest_queue_ms < 900.0, "seed {seed}");
        assert!(wide.mean_kbps > 1_500.0, "seed {seed}");
    }
}

#[test]
fn a_policer_without_a_queue_is_found_by_its_loss() {
    for seed in SEEDS {
        let mut lesson =
            Simulation::new(Line { queue_ms: 20.0, bucket_bytes: 12_000.0, ..Line::kbps(600.0) }, ADAPTIVE, seed);
        let first = lesson.run(10.0);
        let then = lesson.run(50.0);
        println!("seed {seed}: {first:.0?}\n        {then:.0?}");
        assert!((400.0..700.0).contains(&then.mean_kbps), "seed {seed}");
    }
}

#[test]
fn jitter_of_a_radio_line_is_not_taken_for_a_queue() {
    for seed in SEEDS {
        let mut lesson = Simulation::new(Line { jitter_ms: 40.0, loss: 0.02, ..Line::kbps(2_000.0) }, ADAPTIVE, seed);
        lesson.run(10.0);
        let then = lesson.run(30.0);
        println!("seed {seed}: {then:.0?}");
        assert!(then.mean_kbps > 1_300.0, "seed {seed}");
    }
}

#[test]
fn simulcast_layers_are_reached_by_probing() {
    let layers = Source { layers_kbps: &[150.0, 500.0, 1_500.0], max_kbps: 1_700.0, pads: true };
    for seed in SEEDS {
        let mut lesson = Simulation::new(Line::kbps(3_000.0), layers, seed);
        lesson.run(10.0);
        let then = lesson.run(20.0);
        println!("seed {seed}: {then:.0?}");
        assert!(then.delivered_kbps > 1_400.0, "seed {seed}");
    }
}
