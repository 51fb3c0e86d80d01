//! Links of rural classrooms. Each test runs with several seeds; a failure shows the seed.

use super::simulation::{ADAPTIVE, CameraModel, Link, Measured, Simulation};
use super::*;

const SEEDS: std::ops::Range<u64> = 0..8;

#[test]
fn a_link_of_300_kbits_is_estimated_within_ten_seconds_and_never_flooded() {
    for seed in SEEDS {
        let mut sim = Simulation::new(
            Link {
                bucket_bytes: 4_000.0,
                ..Link::kbps(300.0)
            },
            ADAPTIVE,
            seed,
        );
        for part in [sim.run(10.0), sim.run(10.0), sim.run(40.0)] {
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
        let link = Link {
            loss: 0.15,
            feedback_loss: 0.15,
            ..Link::kbps(2_000.0)
        };
        let mut sim = Simulation::new(link, ADAPTIVE, seed);
        sim.run(10.0);
        let then = sim.run(50.0);
        assert!(
            then.mean_kbps > 1_600.0 && then.lowest_kbps > 900.0,
            "seed {seed}: {then:.0?}"
        );
        assert!(
            then.longest_queue_ms < 400.0 && then.mean_queue_ms < 60.0,
            "seed {seed}: {then:.0?}"
        );
        assert!((0.05..0.3).contains(&sim.estimator.loss()), "seed {seed}");
    }
}

#[test]
fn the_onset_of_random_loss_reduces_the_rate_only_briefly() {
    for seed in SEEDS {
        let mut sim = Simulation::new(Link::kbps(2_000.0), ADAPTIVE, seed);
        sim.run(20.0);
        (sim.link.loss, sim.link.feedback_loss) = (0.15, 0.15);
        let onset = sim.run(10.0);
        let then = sim.run(30.0);
        assert!(
            onset.mean_kbps > 1_100.0 && then.mean_kbps > 1_500.0,
            "seed {seed}: {onset:.0?} {then:.0?}"
        );
    }
}

#[test]
fn a_bandwidth_drop_to_a_quarter_is_followed_within_three_seconds_and_recovered() {
    for seed in SEEDS {
        let mut sim = Simulation::new(Link::kbps(2_000.0), ADAPTIVE, seed);
        let before = sim.run(20.0);
        assert!(before.mean_kbps > 1_400.0, "seed {seed}: {before:.0?}");
        sim.link.kbps = 500.0;
        sim.run(3.0);
        let slow = sim.run(20.0);
        assert!(
            (400.0..550.0).contains(&slow.mean_kbps),
            "seed {seed}: {slow:.0?}"
        );
        assert!(slow.longest_queue_ms < 400.0, "seed {seed}: {slow:.0?}");
        sim.link.kbps = 2_000.0;
        sim.run(15.0);
        let fast = sim.run(10.0);
        assert!(fast.mean_kbps > 1_600.0, "seed {seed}: {fast:.0?}");
    }
}

#[test]
fn a_policer_that_never_delays_is_found_by_its_loss() {
    for seed in SEEDS {
        let link = Link {
            max_queue_ms: 20.0,
            bucket_bytes: 12_000.0,
            ..Link::kbps(600.0)
        };
        let mut sim = Simulation::new(link, ADAPTIVE, seed);
        sim.run(10.0);
        let then = sim.run(50.0);
        assert!(
            (480.0..700.0).contains(&then.mean_kbps),
            "seed {seed}: {then:.0?}"
        );
    }
}

#[test]
fn loss_with_a_growing_queue_is_congestion() {
    for seed in SEEDS {
        let link = Link {
            max_queue_ms: 200.0,
            loss: 0.1,
            ..Link::kbps(800.0)
        };
        let mut sim = Simulation::new(link, ADAPTIVE, seed);
        sim.run(10.0);
        let then = sim.run(30.0);
        assert!(
            (500.0..960.0).contains(&then.mean_kbps) && then.mean_queue_ms < 80.0,
            "seed {seed}: {then:.0?}"
        );
    }
}

#[test]
fn the_jitter_of_a_radio_link_is_not_taken_for_a_queue() {
    for seed in SEEDS {
        let mut sim = Simulation::new(
            Link {
                jitter_ms: 40.0,
                loss: 0.02,
                ..Link::kbps(2_000.0)
            },
            ADAPTIVE,
            seed,
        );
        sim.run(10.0);
        let then = sim.run(30.0);
        assert!(then.mean_kbps > 1_500.0, "seed {seed}: {then:.0?}");
    }
}

#[test]
fn a_receiver_short_of_cpu_time_is_not_taken_for_a_slow_link() {
    for unscheduled_ms in [100.0, 200.0, 400.0] {
        for seed in SEEDS {
            let mut sim = Simulation::new(
                Link {
                    unscheduled_ms,
                    ..Link::kbps(3_000.0)
                },
                ADAPTIVE,
                seed,
            );
            sim.run(10.0);
            let then = sim.run(50.0);
            assert!(
                then.lowest_kbps > 800.0,
                "unscheduled {unscheduled_ms} ms, seed {seed}: {then:.0?}"
            );
        }
    }
}

#[test]
fn a_short_delay_of_an_application_limited_sender_is_not_taken_for_a_slow_link() {
    for (late_ms, for_s) in [(80.0, 0.1), (120.0, 0.15), (350.0, 0.05)] {
        for seed in SEEDS {
            let mut sim = Simulation::new(
                Link::kbps(3_000.0),
                CameraModel {
                    max_kbps: 250.0,
                    ..ADAPTIVE
                },
                seed,
            );
            sim.run(10.0);
            for _ in 0..10 {
                sim.link.delay_ms += late_ms;
                let late = sim.run(for_s);
                sim.link.delay_ms -= late_ms;
                let then = sim.run(3.0 + 0.01 * seed as f64);
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
fn a_bandwidth_drop_of_an_application_limited_sender_is_followed() {
    for seed in SEEDS {
        let mut sim = Simulation::new(
            Link::kbps(3_000.0),
            CameraModel {
                max_kbps: 700.0,
                ..ADAPTIVE
            },
            seed,
        );
        sim.run(20.0);
        sim.link.kbps = 300.0;
        let onset = sim.run(3.0);
        let slow = sim.run(20.0);
        assert!(onset.longest_queue_ms < 900.0, "seed {seed}: {onset:.0?}");
        assert!(
            (200.0..350.0).contains(&slow.mean_kbps) && slow.longest_queue_ms < 400.0,
            "seed {seed}: {slow:.0?}"
        );
    }
}

#[test]
fn a_longer_route_and_a_clock_that_drifts_are_not_taken_for_a_queue() {
    for seed in SEEDS {
        let mut sim = Simulation::new(
            Link {
                drift_ppm: 200.0,
                ..Link::kbps(1_000.0)
            },
            ADAPTIVE,
            seed,
        );
        let before = sim.run(60.0);
        sim.link.delay_ms += 120.0;
        sim.run(15.0);
        let after = sim.run(20.0);
        assert!(
            before.mean_kbps > 800.0 && after.mean_kbps > 750.0,
            "seed {seed}: {before:.0?} {after:.0?}"
        );
        assert!(after.longest_queue_ms < 400.0, "seed {seed}: {after:.0?}");
    }
}

#[test]
fn links_of_every_kind_are_used_well() {
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
            let link = Link {
                delay_ms,
                jitter_ms,
                loss,
                feedback_loss: loss,
                ..Link::kbps(kbps)
            };
            let mut sim = Simulation::new(link, ADAPTIVE, seed);
            sim.run(15.0);
            let then = sim.run(45.0);
            let used = then.mean_kbps / kbps;
            assert!(
                (0.65..1.2).contains(&used) && then.mean_queue_ms < 120.0,
                "seed {seed}: {link:?} {then:.0?}"
            );
        }
    }
}

/// Runs a camera with simulcast layers, selected as by the allocator.
fn with_layers(link: Link, sends_padding: bool, seed: u64) -> Measured {
    let layers = &[150.0, 500.0, 1_500.0];
    let camera = CameraModel {
        layers_kbps: layers,
        max_kbps: 1_700.0,
        sends_padding,
        ..ADAPTIVE
    };
    let mut sim = Simulation::new(link, camera, seed);
    sim.run(12.0);
    sim.run(40.0)
}

#[test]
fn the_highest_layer_is_reached_only_by_probing() {
    for seed in SEEDS {
        let (probed, unprobed) = (
            with_layers(Link::kbps(3_000.0), true, seed),
            with_layers(Link::kbps(3_000.0), false, seed),
        );
        assert!(probed.delivered_kbps > 1_400.0, "seed {seed}: {probed:.0?}");
        assert!(
            unprobed.delivered_kbps < 700.0,
            "seed {seed}: {unprobed:.0?}"
        );
    }
}

#[test]
fn a_capacity_between_two_layers_is_not_probed_repeatedly() {
    for seed in SEEDS {
        let between = with_layers(Link::kbps(900.0), true, seed);
        assert!(
            (450.0..620.0).contains(&between.delivered_kbps),
            "seed {seed}: {between:.0?}"
        );
        assert!(between.mean_queue_ms < 30.0, "seed {seed}: {between:.0?}");
    }
}

#[test]
fn a_failed_probe_does_not_downgrade_the_layer_that_fits() {
    for seed in SEEDS {
        let tight = with_layers(Link::kbps(1_900.0), true, seed);
        assert!(
            tight.delivered_kbps > 1_400.0 && tight.lowest_kbps > 1_650.0,
            "seed {seed}: {tight:.0?}"
        );
        assert!(tight.longest_queue_ms < 250.0, "seed {seed}: {tight:.0?}");
    }
}

#[test]
fn a_link_that_was_cut_is_estimated_again() {
    for seed in SEEDS {
        let mut sim = Simulation::new(Link::kbps(1_000.0), ADAPTIVE, seed);
        sim.run(20.0);
        (sim.link.loss, sim.link.feedback_loss) = (1.0, 1.0);
        sim.run(6.0);
        assert!(
            sim.estimator.estimate() < Bitrate::kbps(150),
            "seed {seed}: {}",
            sim.estimator.estimate()
        );
        (sim.link.loss, sim.link.feedback_loss) = (0.0, 0.0);
        sim.run(12.0);
        let after = sim.run(10.0);
        assert!(
            after.mean_kbps > 750.0 && after.longest_queue_ms < 400.0,
            "seed {seed}: {after:.0?}"
        );
    }
}

#[test]
fn a_player_with_receiver_reports_only_is_estimated() {
    let player = CameraModel {
        sends_padding: false,
        sends_twcc: false,
        ..ADAPTIVE
    };
    for seed in SEEDS {
        let slow = Link {
            max_queue_ms: 500.0,
            ..Link::kbps(400.0)
        };
        for (link, expected) in [
            (slow, 200.0..480.0),
            (
                Link {
                    loss: 0.15,
                    ..Link::kbps(2_000.0)
                },
                1_200.0..2_400.0,
            ),
        ] {
            let mut sim = Simulation::new(link, player, seed);
            sim.run(30.0);
            let then = sim.run(60.0);
            assert!(
                expected.contains(&then.mean_kbps) && then.mean_queue_ms < 200.0,
                "seed {seed}: {then:.0?}"
            );
        }
    }
}

#[test]
fn a_receivers_own_estimate_is_an_upper_bound() {
    let mut sim = Simulation::new(Link::kbps(2_000.0), ADAPTIVE, 0);
    sim.estimator
        .remb(Bitrate::kbps(350), crate::virtual_time::start());
    sim.run(1.0);
    let then = sim.run(4.0);
    assert!(
        (300.0..=350.0).contains(&then.mean_kbps) && then.delivered_kbps < 380.0,
        "{then:.0?}"
    );
    sim.run(15.0);
    let forgotten = sim.run(10.0);
    assert!(forgotten.mean_kbps > 1_200.0, "{forgotten:.0?}");
}

#[test]
fn the_estimate_stays_within_its_bounds_and_the_round_trip_is_known() {
    let mut sim = Simulation::new(
        Link {
            loss: 0.9,
            ..Link::kbps(10.0)
        },
        ADAPTIVE,
        0,
    );
    assert_eq!(sim.estimator.rtt(), None);
    let then = sim.run(60.0);
    assert!(then.lowest_kbps >= 30.0, "{then:.0?}");
    let mut sim = Simulation::new(Link::kbps(1_000.0), ADAPTIVE, 0);
    sim.run(20.0);
    let rtt = sim.estimator.rtt().unwrap();
    assert!((80..200).contains(&rtt.as_millis()), "{rtt:?}");
}
