//! What `oarlock bench` prints.

use std::fmt::Write;

use oarlock_client::load::tally::{LoadErrorKind, LoadTally};
use oarlock_client::{Endpoint, NodeInfo};
use serde_json::{Map, Value, json};

use super::disk::{APPEND_BYTES, DiskFigures};
use super::load::LoadPlan;
use crate::command::print_safely;
use crate::exit::Failure;

/// The quantiles that are shown, with their names in the table and in JSON.
const QUANTILES: [(f64, &str, &str); 4] = [
    (0.5, "p50", "p50"),
    (0.95, "p95", "p95"),
    (0.99, "p99", "p99"),
    (0.999, "p99.9", "p999"),
];

/// A measurement that is complete.
#[derive(Debug)]
pub(super) struct Report {
    module: String,
    plan: LoadPlan,
    tally: LoadTally,
    disk: Option<DiskFigures>,
}

impl Report {
    /// Of a plan and what its load counted.
    pub(super) fn new(
        plan: &LoadPlan,
        status: &NodeInfo,
        tally: LoadTally,
        disk: Option<DiskFigures>,
    ) -> Self {
        let module = &status.state_machine;
        let module = format!("{} v{}", print_safely(&module.name), module.version);
        Self {
            module,
            plan: plan.clone(),
            tally,
            disk,
        }
    }

    fn what(&self) -> &'static str {
        if self.plan.query {
            "queries"
        } else {
            "commands"
        }
    }

    /// Requests carried out in a second.
    fn rate(&self) -> f64 {
        self.tally.rate()
    }

    fn quantile(&self, quantile: f64) -> u64 {
        self.tally.latencies.quantile_us(quantile)
    }

    /// For people.
    pub(super) fn as_text(&self) -> String {
        let LoadPlan {
            clients,
            duration,
            size,
            endpoints,
            ..
        } = &self.plan;
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{} of {} to {} over {clients} connections for {} s, payload {size} bytes",
            self.what(),
            self.module,
            names(endpoints).join(", "),
            duration.as_secs()
        );
        let _ = writeln!(
            text,
            "throughput  {:>10.0} /s   ({} in all)",
            self.rate(),
            self.tally.done()
        );
        for (quantile, name, _) in QUANTILES {
            let _ = writeln!(
                text,
                "{name:<10}  {:>10} ms",
                milliseconds(self.quantile(quantile))
            );
        }
        let _ = writeln!(
            text,
            "max         {:>10} ms",
            milliseconds(self.tally.latencies.max_us())
        );
        let _ = writeln!(text, "errors      {:>10}", self.tally.failed());
        for (kind, count) in &self.tally.errors {
            let _ = writeln!(text, "  {:<10}{count:>10}", kind.name());
        }
        if let Some(example) = &self.tally.example {
            let _ = writeln!(text, "  the first: {}", print_safely(example));
        }
        if let Some(disk) = &self.disk {
            let _ = writeln!(
                text,
                "disk        {:>10} ms p50, {} ms p99: append {APPEND_BYTES} bytes + fdatasync in {}, {} times, before",
                milliseconds(disk.p50_us),
                milliseconds(disk.p99_us),
                disk.dir,
                disk.writes
            );
        }
        text
    }

    /// For programs: one line. Latencies are in microseconds.
    pub(super) fn as_json(&self) -> String {
        let errors: Map<String, Value> = self
            .tally
            .errors
            .iter()
            .map(|(kind, count)| (kind.name().to_owned(), (*count).into()))
            .collect();
        let mut latency = Map::new();
        for (quantile, _, name) in QUANTILES {
            latency.insert(name.to_owned(), self.quantile(quantile).into());
        }
        latency.insert("max".to_owned(), self.tally.latencies.max_us().into());
        latency.insert("mean".to_owned(), self.tally.latencies.mean_us().into());
        let disk = self.disk.as_ref().map(|disk| {
            json!({
                "dir": disk.dir, "append_bytes": APPEND_BYTES, "writes": disk.writes,
                "fdatasync_p50_us": disk.p50_us, "fdatasync_p99_us": disk.p99_us,
            })
        });
        let report = json!({
            "what": self.what(),
            "module": self.module,
            "endpoints": names(&self.plan.endpoints),
            "clients": self.plan.clients,
            "duration_s": self.plan.duration.as_secs(),
            "payload_bytes": self.plan.size,
            "done": self.tally.done(),
            "throughput_per_s": self.rate(),
            "latency_us": latency,
            "failed": self.tally.failed(),
            "errors": errors,
            "disk": disk,
        });
        format!("{report}\n")
    }

    /// Whether it measured anything.
    ///
    /// # Errors
    /// Not one request was carried out.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.tally.done() > 0 {
            return Ok(());
        }
        let why = self
            .tally
            .example
            .as_deref()
            .unwrap_or("no response came within the measured time");
        let why = print_safely(why);
        let message = format!("not one request was carried out: {why}");
        let is_unreachable = |kind: &LoadErrorKind| {
            use LoadErrorKind::{Connection, NoLeader, TimedOut};
            matches!(kind, NoLeader | Connection | TimedOut)
        };
        Err(if self.tally.errors.keys().all(is_unreachable) {
            Failure::unreachable(message)
        } else {
            Failure::failed(message)
        })
    }
}

fn names(endpoints: &[Endpoint]) -> Vec<&str> {
    endpoints.iter().map(Endpoint::as_str).collect()
}

fn milliseconds(us: u64) -> String {
    format!("{:.2}", us as f64 / 1000.0)
}
