//! Lines that rural classrooms have. Each story is told with several seeds; a failure names the one.

use super::simulation::{ADAPTIVE, Line, Measured, Simulation, Source};
use super::*;

const SEEDS: std::ops::Range<u64> = 0..8;

#[test]
fn a_line_of_300_kbits_is_found_within_ten_seconds_and_never_flooded() {
    for seed in SEEDS {
        let mut lesson = Simulation::new(
            Line {
                bucket_bytes: 4_000.0,
                ..Line::kbps(300.0)
            },
            ADAPTIVE,
            seed,
        );
        for part in [lesson.run(10.0), lesson.run(10.0), lesson.run(40.0)] {
            assert!(
                part.longest_queue_ms < 400.0 && part.mean_queue_ms < 60.0,
                "seed {seed}: {part:.0?}"
            );
            assert!(
                (240.0..360.0).contains(&part.mean_kbps),
                "seed {seed}: {part:.0?}"
            );
        }
    }
}

#[test]
fn random_loss_of_15_percent_is_not_taken_for_congestion() {
    for seed in SEEDS {
        let line = Line {
            loss: 0.15,
            feedback_loss: 0.15,
            ..Line::kbps(2_000.0)
        };
        let mut lesson = Simulation::new(line, ADAPTIVE, seed);
        lesson.run(10.0);
        let then = lesson.run(50.0);
        assert!(
            then.mean_kbps > 1_600.0 && then.lowest_kbps > 900.0,
            "seed {seed}: {then:.0?}"
        );
        assert!(
            then.longest_queue_ms < 400.0 && then.mean_queue_ms < 60.0,
            "seed {seed}: {then:.0?}"
        );
        assert!(
            (0.05..0.3).contains(&lesson.estimator.loss()),
            "seed {seed}"
        );
    }
}

#[test]
fn loss_that_sets_in_during_a_lesson_costs_a_moment_only() {
    for seed in SEEDS {
        let mut lesson = Simulation::new(Line::kbps(2_000.0), ADAPTIVE, seed);
        lesson.run(20.0);
        (lesson.line.loss, lesson.line.feedback_loss) = (0.15, 0.15);
        let onset = lesson.run(10.0);
        let then = lesson.run(30.0);
        assert!(
            onset.mean_kbps > 1_100.0 && then.mean_kbps > 1_500.0,
            "seed {seed}: {onset:.0?} {then:.0?}"
        );
    }
}

#[test]
fn a_line_that_narrows_to_a_quarter_is_relieved_within_three_seconds_and_used_again_when_it_widens()
{
    for seed in SEEDS {
        let mut lesson = Simulation::new(Line::kbps(2_000.0), ADAPTIVE, seed);
        let before = lesson.run(20.0);
        assert!(before.mean_kbps > 1_400.0, "seed {seed}: {before:.0?}");
        lesson.line.kbps = 500.0;
        lesson.run(3.0);
        let narrow = lesson.run(20.0);
        assert!(
            (400.0..550.0).contains(&narrow.mean_kbps),
            "seed {seed}: {narrow:.0?}"
        );
        assert!(narrow.longest_queue_ms < 400.0, "seed {seed}: {narrow:.0?}");
        lesson.line.kbps = 2_000.0;
        lesson.run(15.0);
        let wide = lesson.run(10.0);
        assert!(wide.mean_kbps > 1_600.0, "seed {seed}: {wide:.0?}");
    }
}

#[test]
fn a_policer_that_never_delays_is_found_by_its_loss() {
    for seed in SEEDS {
        let line = Line {
            queue_ms: 20.0,
            bucket_bytes: 12_000.0,
            ..Line::kbps(600.0)
        };
        let mut lesson = Simulation::new(line, ADAPTIVE, seed);
        lesson.run(10.0);
        let then = lesson.run(50.0);
        assert!(
            (480.0..700.0).contains(&then.mean_kbps),
            "seed {seed}: {then:.0?}"
        );
    }
}

#[test]
fn loss_with_a_growing_queue_is_congestion() {
    for seed in SEEDS {
        let line = Line {
            queue_ms: 200.0,
            loss: 0.1,
            ..Line::kbps(800.0)
        };
        let mut lesson = Simulation::new(line, ADAPTIVE, seed);
        lesson.run(10.0);
        let then = lesson.run(30.0);
        assert!(
            (500.0..960.0).contains(&then.mean_kbps) && then.mean_queue_ms < 80.0,
            "seed {seed}: {then:.0?}"
        );
    }
}

#[test]
fn the_jitter_of_a_radio_line_is_not_taken_for_a_queue() {
    for seed in SEEDS {
        let mut lesson = Simulation::new(
            Line {
                jitter_ms: 40.0,
                loss: 0.02,
                ..Line::kbps(2_000.0)
            },
            ADAPTIVE,
            seed,
        );
        lesson.run(10.0);
        let then = lesson.run(30.0);
        assert!(then.mean_kbps > 1_500.0, "seed {seed}: {then:.0?}");
    }
}

#[test]
fn a_receiver_short_of_processor_time_is_not_taken_for_a_narrow_line() {
    for absent_ms in [100.0, 200.0, 400.0] {
        for seed in SEEDS {
            let mut lesson = Simulation::new(
                Line {
                    absent_ms,
                    ..Line::kbps(3_000.0)
                },
                ADAPTIVE,
                seed,
            );
            lesson.run(10.0);
            let then = lesson.run(50.0);
            assert!(
                then.lowest_kbps > 800.0,
                "absent {absent_ms} ms, seed {seed}: {then:.0?}"
            );
        }
    }
}

#[test]
fn a_moment_of_bad_luck_is_not_taken_for_a_narrow_line_by_who_sends_little() {
    for (late_ms, for_s) in [(80.0, 0.1), (120.0, 0.15), (350.0, 0.05)] {
        for seed in SEEDS {
            let mut lesson = Simulation::new(
                Line::kbps(3_000.0),
                Source {
                    max_kbps: 250.0,
                    ..ADAPTIVE
                },
                seed,
            );
            lesson.run(10.0);
            for _ in 0..10 {
                lesson.line.delay_ms += late_ms;
                let late = lesson.run(for_s);
                lesson.line.delay_ms -= late_ms;
                let then = lesson.run(3.0 + 0.01 * seed as f64);
                let lowest = late.lowest_kbps.min(then.lowest_kbps);
                assert!(
                    lowest > 300.0,
                    "{late_ms} ms late for {for_s} s, seed {seed}: {lowest:.0} kbit/s"
                );
            }
        }
    }
}

#[test]
fn a_line_that_narrows_while_little_is_sent_is_relieved_all_the_same() {
    for seed in SEEDS {
        let mut lesson = Simulation::new(
            Line::kbps(3_000.0),
            Source {
                max_kbps: 700.0,
                ..ADAPTIVE
            },
            seed,
        );
        lesson.run(20.0);
        lesson.line.kbps = 300.0;
        let onset = lesson.run(3.0);
        let narrow = lesson.run(20.0);
        assert!(onset.longest_queue_ms < 900.0, "seed {seed}: {onset:.0?}");
        assert!(
            (200.0..350.0).contains(&narrow.mean_kbps) && narrow.longest_queue_ms < 400.0,
            "seed {seed}: {narrow:.0?}"
        );
    }
}

#[test]
fn a_longer_route_and_a_clock_that_drifts_are_not_taken_for_a_queue() {
    for seed in SEEDS {
        let mut lesson = Simulation::new(
            Line {
                drift_ppm: 200.0,
                ..Line::kbps(1_000.0)
            },
            ADAPTIVE,
            seed,
        );
        let before = lesson.run(60.0);
        lesson.line.delay_ms += 120.0;
        lesson.run(15.0);
        let after = lesson.run(20.0);
        assert!(
            before.mean_kbps > 800.0 && after.mean_kbps > 750.0,
            "seed {seed}: {before:.0?} {after:.0?}"
        );
        assert!(after.longest_queue_ms < 400.0, "seed {seed}: {after:.0?}");
    }
}

#[test]
fn lines_of_every_kind_are_used_well() {
    for (kbps, delay_ms, jitter_ms, loss) in [
        (64.0, 40.0, 0.0, 0.0),
        (100.0, 40.0, 30.0, 0.05),
        (200.0, 150.0, 80.0, 0.15),
        (500.0, 15.0, 80.0, 0.15),
        (500.0, 250.0, 0.0, 0.0),
        (1_000.0, 150.0, 30.0, 0.2),
        (2_500.0, 15.0, 0.0, 0.25),
    ] {
        for seed in SEEDS {
            let line = Line {
                delay_ms,
                jitter_ms,
                loss,
                feedback_loss: loss,
                ..Line::kbps(kbps)
            };
            let mut lesson = Simulation::new(line, ADAPTIVE, seed);
            lesson.run(15.0);
            let then = lesson.run(45.0);
            let used = then.mean_kbps / kbps;
            assert!(
                (0.65..1.2).contains(&used) && then.mean_queue_ms < 120.0,
                "seed {seed}: {line:?} {then:.0?}"
            );
        }
    }
}

/// Runs a camera with simulcast layers, as the allocator would choose them.
fn with_layers(line: Line, pads: bool, seed: u64) -> Measured {
    let layers = &[150.0, 500.0, 1_500.0];
    let source = Source {
        layers_kbps: layers,
        max_kbps: 1_700.0,
        pads,
        ..ADAPTIVE
    };
    let mut lesson = Simulation::new(line, source, seed);
    lesson.run(12.0);
    lesson.run(40.0)
}

#[test]
fn the_sharpest_layer_is_reached_by_probing_and_only_by_probing() {
    for seed in SEEDS {
        let (probed, unprobed) = (
            with_layers(Line::kbps(3_000.0), true, seed),
            with_layers(Line::kbps(3_000.0), false, seed),
        );
        assert!(probed.delivered_kbps > 1_400.0, "seed {seed}: {probed:.0?}");
        assert!(
            unprobed.delivered_kbps < 700.0,
            "seed {seed}: {unprobed:.0?}"
        );
    }
}

#[test]
fn what_does_not_fit_between_two_layers_is_not_probed_for_again_and_again() {
    for seed in SEEDS {
        let between = with_layers(Line::kbps(900.0), true, seed);
        assert!(
            (450.0..620.0).contains(&between.delivered_kbps),
            "seed {seed}: {between:.0?}"
        );
        assert!(between.mean_queue_ms < 30.0, "seed {seed}: {between:.0?}");
    }
}

#[test]
fn a_probe_that_finds_the_line_full_does_not_cost_the_layer_that_fits() {
    for seed in SEEDS {
        let tight = with_layers(Line::kbps(1_900.0), true, seed);
        assert!(
            tight.delivered_kbps > 1_400.0 && tight.lowest_kbps > 1_650.0,
            "seed {seed}: {tight:.0?}"
        );
        assert!(tight.longest_queue_ms < 250.0, "seed {seed}: {tight:.0?}");
    }
}

#[test]
fn a_line_that_is_cut_and_comes_back_is_trusted_anew() {
    for seed in SEEDS {
        let mut lesson = Simulation::new(Line::kbps(1_000.0), ADAPTIVE, seed);
        lesson.run(20.0);
        (lesson.line.loss, lesson.line.feedback_loss) = (1.0, 1.0);
        lesson.run(6.0);
        assert!(
            lesson.estimator.estimate() < Bitrate::kbps(150),
            "seed {seed}: {}",
            lesson.estimator.estimate()
        );
        (lesson.line.loss, lesson.line.feedback_loss) = (0.0, 0.0);
        lesson.run(12.0);
        let after = lesson.run(10.0);
        assert!(
            after.mean_kbps > 750.0 && after.longest_queue_ms < 400.0,
            "seed {seed}: {after:.0?}"
        );
    }
}

#[test]
fn a_player_that_only_sends_receiver_reports_is_served_too() {
    let player = Source {
        pads: false,
        reports_every_packet: false,
        ..ADAPTIVE
    };
    for seed in SEEDS {
        let narrow = Line {
            queue_ms: 500.0,
            ..Line::kbps(400.0)
        };
        for (line, expected) in [
            (narrow, 200.0..480.0),
            (
                Line {
                    loss: 0.15,
                    ..Line::kbps(2_000.0)
                },
                1_200.0..2_400.0,
            ),
        ] {
            let mut lesson = Simulation::new(line, player, seed);
            lesson.run(30.0);
            let then = lesson.run(60.0);
            assert!(
                expected.contains(&then.mean_kbps) && then.mean_queue_ms < 200.0,
                "seed {seed}: {then:.0?}"
            );
        }
    }
}

#[test]
fn a_receivers_own_estimate_is_an_upper_bound() {
    let mut lesson = Simulation::new(Line::kbps(2_000.0), ADAPTIVE, 0);
    lesson
        .estimator
        .remb(Bitrate::kbps(350), crate::virtual_time::start());
    lesson.run(1.0);
    let then = lesson.run(4.0);
    assert!(
        (300.0..=350.0).contains(&then.mean_kbps) && then.delivered_kbps < 380.0,
        "{then:.0?}"
    );
    lesson.run(15.0);
    let forgotten = lesson.run(10.0);
    assert!(forgotten.mean_kbps > 1_200.0, "{forgotten:.0?}");
}

#[test]
fn the_estimate_stays_within_its_bounds_and_the_round_trip_is_known() {
    let mut lesson = Simulation::new(
        Line {
            loss: 0.9,
            ..Line::kbps(10.0)
        },
        ADAPTIVE,
        0,
    );
    assert_eq!(lesson.estimator.rtt(), None);
    let then = lesson.run(60.0);
    assert!(then.lowest_kbps >= 30.0, "{then:.0?}");
    let mut lesson = Simulation::new(Line::kbps(1_000.0), ADAPTIVE, 0);
    lesson.run(20.0);
    let rtt = lesson.estimator.rtt().unwrap();
    assert!((80..200).contains(&rtt.as_millis()), "{rtt:?}");
}
