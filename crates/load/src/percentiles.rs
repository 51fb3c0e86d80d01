//! Distributions: exact ones of what is counted in hundreds, histograms of what is counted in millions.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies beyond a minute are counted as a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Percentiles {
    /// `None` when nothing was measured.
    pub fn of(mut millis: Vec<f64>) -> Option<Percentiles> {
        if millis.is_empty() {
            return None;
        }
        millis.sort_by(f64::total_cmp);
        // The nearest rank: the smallest value that at least this share of all is not above.
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

    /// Of nanoseconds, to three digits.
    pub fn of_ns(histogram: &Histogram<u64>) -> Option<Percentiles> {
        let at = |share| round(histogram.value_at_quantile(share) as f64 / 1e6);
        (!histogram.is_empty()).then(|| Percentiles {
            p50: at(0.50),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
        })
    }
}

/// An empty histogram of latencies in nanoseconds: three digits, and nothing below a microsecond.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, LONGEST_NS, 3)
        .expect("the bounds are in order, and three digits are allowed")
}

/// To a thousandth.
pub fn round(value: f64) -> f64 {
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
        let mut histogram = latencies();
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
