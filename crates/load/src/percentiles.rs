//! Percentiles: exact for hundreds of values, by histogram for millions.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies above one minute count as one minute.
const MAX_LATENCY_NS: u64 = 60_000_000_000;

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Percentiles {
    /// Computes exact percentiles of milliseconds; `None` without any value.
    pub(crate) fn of(mut millis: Vec<f64>) -> Option<Percentiles> {
        if millis.is_empty() {
            return None;
        }
        millis.sort_by(f64::total_cmp);
        // Nearest-rank method.
        let at = |share: f64| {
            let rank = (share * millis.len() as f64).ceil() as usize;
            round(millis[rank.clamp(1, millis.len()) - 1])
        };
        Some(Percentiles {
            p50: at(0.50),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
        })
    }

    /// Percentiles of a histogram of nanoseconds, to three digits.
    pub(crate) fn of_ns(histogram: &Histogram<u64>) -> Option<Percentiles> {
        let at = |share| round(histogram.value_at_quantile(share) as f64 / 1e6);
        (!histogram.is_empty()).then(|| Percentiles {
            p50: at(0.50),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
        })
    }
}

/// Creates a histogram of latencies in nanoseconds: three digits, at least a microsecond.
pub(crate) fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, MAX_LATENCY_NS, 3)
        .expect("the bounds are in order, and three digits are allowed")
}

/// Rounds to a thousandth.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(
            Percentiles::of(hundred),
            Some(Percentiles {
                p50: 50.0,
                p95: 95.0,
                p99: 99.0,
                p999: 100.0
            })
        );
        assert_eq!(
            Percentiles::of(vec![7.0]),
            Some(Percentiles {
                p50: 7.0,
                p95: 7.0,
                p99: 7.0,
                p999: 7.0
            })
        );
        assert_eq!(Percentiles::of(vec![]), None);
    }

    #[test]
    fn a_histogram_agrees_with_the_exact_percentiles_to_three_digits() {
        let mut histogram = latency_histogram();
        assert_eq!(Percentiles::of_ns(&histogram), None);
        let values: Vec<u64> = (1..=10_000).map(|n| n * n * 7).collect();
        values
            .iter()
            .for_each(|ns| histogram.saturating_record(*ns));
        let exact = Percentiles::of(values.iter().map(|ns| *ns as f64 / 1e6).collect()).unwrap();
        let found = Percentiles::of_ns(&histogram).unwrap();
        for (found, exact) in [
            (found.p50, exact.p50),
            (found.p99, exact.p99),
            (found.p999, exact.p999),
        ] {
            assert!(
                (found / exact - 1.0).abs() < 0.002,
                "{found} beside {exact}"
            );
        }
    }
}
