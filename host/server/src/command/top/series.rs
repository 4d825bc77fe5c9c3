//! Metrics in the text format of Prometheus, and what follows from two of them.

use std::collections::BTreeMap;

const REQUESTS: &str = "oarlock_http_requests_total";
const BUCKETS: &str = "oarlock_http_request_seconds_bucket";

/// The values of a node by name with labels, as they are in the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Series(BTreeMap<String, f64>);

/// Latencies between two measurements: cumulative counts by upper bound, in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Latency(Vec<(f64, f64)>);

impl Series {
    /// Reads a response of `GET /metrics`. Lines of another form are left out.
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(values.collect())
    }

    /// How many requests of a route have had a response with status 200.
    pub(super) fn requests(&self, route: &str) -> f64 {
        let name = format!("{REQUESTS}{{route=\"{route}\",status=\"200\"}}");
        self.0.get(&name).copied().unwrap_or(0.0)
    }

    /// The latencies of a route since an earlier measurement.
    pub(super) fn latency_since(&self, before: &Self, route: &str) -> Latency {
        let start = format!("{BUCKETS}{{route=\"{route}\",le=\"");
        let buckets = self.0.iter().filter_map(|(name, count)| {
            let bound = name.strip_prefix(&start)?.strip_suffix("\"}")?;
            let bound = match bound {
                "+Inf" => f64::INFINITY,
                bound => bound.parse().ok()?,
            };
            let earlier = before.0.get(name).copied().unwrap_or(0.0);
            Some((bound, (count - earlier).max(0.0)))
        });
        let mut buckets: Vec<(f64, f64)> = buckets.collect();
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        Latency(buckets)
    }
}

impl Latency {
    /// The latency below which this part of the requests was, in milliseconds, as Prometheus' `histogram_quantile` computes it.
    /// `None` without requests.
    pub(super) fn quantile_ms(&self, part: f64) -> Option<f64> {
        let (_, all) = *self.0.last()?;
        if all <= 0.0 {
            return None;
        }
        let wanted = all * part;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= wanted {
                // The last bucket has no upper bound.
                if bound.is_infinite() {
                    return Some(lower * 1000.0);
                }
                let share = if *count > below {
                    (wanted - below) / (count - below)
                } else {
                    1.0
                };
                return Some((lower + (bound - lower) * share) * 1000.0);
            }
            (lower, below) = (*bound, *count);
        }
        Some(lower * 1000.0)
    }
}
