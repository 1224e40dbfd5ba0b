//! A histogram of the server's `/metrics`: how long its commits take.
//!
//! Guarantees: the difference of two readings is a histogram of what happened between them.
//! It is no more exact than the server's buckets: inside one, a quantile is interpolated.

use crate::http::Connection;

/// The histogram of the log's commits.
const COMMITS: &str = "tidings_log_commit_seconds";

/// Upper bounds in seconds, each with how many were at most that.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Histogram {
    buckets: Vec<(f64, f64)>,
}

/// Reads the histogram of the server's commits; it is empty before the first.
///
/// # Errors
/// If the server does not answer.
pub fn commits(connection: &mut Connection) -> Result<Histogram, String> {
    Ok(parse(&connection.get("/metrics")?, COMMITS))
}

fn parse(text: &str, name: &str) -> Histogram {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix("_bucket{"));
    let bucket = |line: &str| {
        let (labels, count) = line.split_once("} ")?;
        let bound = labels.split(',').find_map(|label| label.strip_prefix("le=\"")?.strip_suffix('"'))?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        Some((bound, count.trim().parse().ok()?))
    };
    Histogram { buckets: lines.filter_map(bucket).collect() }
}

impl Histogram {
    /// What came after `earlier`.
    #[must_use]
    pub fn after(&self, earlier: &Self) -> Self {
        let before =
            |bound: f64| earlier.buckets.iter().find(|(other, _)| *other == bound).map_or(0.0, |found| found.1);
        Self { buckets: self.buckets.iter().map(|(bound, count)| (*bound, count - before(*bound))).collect() }
    }

    /// A quantile in milliseconds, interpolated inside its bucket; zero when nothing happened.
    #[must_use]
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let rank = share * self.buckets.last().map_or(0.0, |(_, count)| *count);
        if rank <= 0.0 {
            return 0.0;
        }
        let (mut from, mut below) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *count >= rank {
                // Of the last bucket only the beginning is known.
                let width = if bound.is_finite() { bound - from } else { 0.0 };
                return (from + width * (rank - below) / (count - below)) * 1e3;
            }
            (from, below) = (*bound, *count);
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE tidings_log_commit_seconds histogram\n\
        tidings_log_commit_seconds_bucket{le=\"0.001\"} 50\n\
        tidings_log_commit_seconds_bucket{le=\"0.002\"} 90\n\
        tidings_log_commit_seconds_bucket{le=\"+Inf\"} 100\n\
        tidings_log_commit_seconds_sum 0.2\n\
        tidings_log_batch_size_bucket{le=\"1\"} 7\n";

    #[test]
    fn quantiles_are_interpolated_inside_their_bucket() {
        let histogram = parse(TEXT, COMMITS);
        assert_eq!(histogram.buckets.len(), 3);
        assert!((histogram.quantile_ms(0.25) - 0.5).abs() < 1e-9);
        assert!((histogram.quantile_ms(0.7) - 1.5).abs() < 1e-9);
        assert!((histogram.quantile_ms(0.99) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_difference_has_only_what_came_between() {
        let late = parse(TEXT, COMMITS);
        assert_eq!(late.after(&late).quantile_ms(0.5), 0.0);
        let early = Histogram { buckets: vec![(0.001, 50.0), (0.002, 50.0), (f64::INFINITY, 50.0)] };
        let between = late.after(&early);
        assert_eq!(between.buckets, [(0.001, 0.0), (0.002, 40.0), (f64::INFINITY, 50.0)]);
        assert!((between.quantile_ms(0.4) - 1.5).abs() < 1e-9);
    }

    #[test]
    fn other_text_has_no_histogram() {
        assert_eq!(parse("up 1\n", COMMITS), Histogram::default());
        assert_eq!(Histogram::default().quantile_ms(0.5), 0.0);
    }
}
