//! What was measured, as a table and as JSON.

use std::fmt::Write;

use oarlock_client::load::tally::LoadTally;
use serde_json::{Value, json};

use super::Options;
use super::load::Turn;

/// What a ratio should reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// There is no target.
    None,
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Target {
    fn met(self, ratio: f64) -> Option<bool> {
        match self {
            Self::None => None,
            Self::AtLeast(least) => Some(ratio >= least),
            Self::AtMost(most) => Some(ratio <= most),
        }
    }

    fn text(self) -> String {
        match self {
            Self::None => String::new(),
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::AtMost(most) => format!("≤ {most}"),
        }
    }
}

/// One line of the table.
struct Line {
    name: String,
    unit: &'static str,
    ours: f64,
    theirs: Option<f64>,
    target: Target,
    /// Everything that was measured of a load.
    details: Value,
}

impl Line {
    fn ratio(&self) -> Option<f64> {
        self.theirs
            .filter(|theirs| *theirs > 0.0)
            .map(|theirs| self.ours / theirs)
    }

    fn verdict(&self) -> &'static str {
        match self.ratio().and_then(|ratio| self.target.met(ratio)) {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        }
    }
}

/// All lines of a run.
pub(crate) struct Report {
    seconds: u64,
    rounds: usize,
    lines: Vec<Line>,
    notes: Vec<String>,
    /// What Oarlock was compared with.
    pub(crate) other: Option<String>,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            seconds: options.seconds,
            rounds: options.rounds,
            lines: Vec::new(),
            notes: Vec::new(),
            other: None,
        }
    }

    /// A remark.
    pub(crate) fn note(&mut self, text: &str) {
        eprintln!("{text}");
        self.notes.push(text.to_owned());
    }

    /// A figure that is compared with nothing.
    pub(crate) fn line(&mut self, name: &str, ours: f64, unit: &'static str) {
        self.push(name, unit, ours, None, Target::None, Value::Null);
    }

    /// A figure and what it is held against, in the same unit.
    pub(crate) fn duel(
        &mut self,
        name: &str,
        ours: f64,
        theirs: f64,
        unit: &'static str,
        target: Target,
    ) {
        self.push(name, unit, ours, Some(theirs), target, Value::Null);
    }

    /// A figure that should reach a number.
    pub(crate) fn against(&mut self, name: &str, ours: f64, least: f64, unit: &'static str) {
        self.duel(name, ours, least, unit, Target::AtLeast(1.0));
    }

    /// A load: throughput, median and 99th percentile, each against the other side's. The ratio of throughput is the
    /// median of those of the turns that follow each other.
    pub(crate) fn load(&mut self, name: &str, ours: &[Turn], theirs: &[Turn], target: Target) {
        let (our_all, their_all) = (Turn::merged(ours), Turn::merged(theirs));
        let mut ratios: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .map(|(our, their)| our.tally.rate() / their.tally.rate())
            .collect();
        ratios.sort_by(f64::total_cmp);
        let compared = !theirs.is_empty();
        let of_them = |figure: f64| compared.then_some(figure);
        let details = json!({
            "ours": details(&our_all),
            "other": compared.then(|| details(&their_all)),
            "ratios_of_turns": ratios,
        });
        let their_p50 = their_all.tally.latencies.quantile_us(0.5) as f64;
        self.push(
            name,
            "/s",
            our_all.tally.rate(),
            of_them(their_all.tally.rate()),
            target,
            details,
        );
        for (quantile, title) in [(0.5, "p50"), (0.99, "p99")] {
            let (our, their) = (
                our_all.tally.latencies.quantile_us(quantile),
                their_all.tally.latencies.quantile_us(quantile),
            );
            self.push(
                &format!("  {title}"),
                "µs",
                our as f64,
                of_them(their as f64),
                Target::None,
                Value::Null,
            );
        }
        if matches!(target, Target::AtLeast(_)) && compared {
            let p99 = our_all.tally.latencies.quantile_us(0.99) as f64;
            self.duel(
                "  p99, against the other's p50",
                p99,
                their_p50,
                "µs",
                Target::AtMost(1.0),
            );
        }
        let cpu = |all: &Turn| all.each_us(all.node_cpu);
        self.push(
            "  processor time of the nodes, each",
            "µs",
            cpu(&our_all),
            of_them(cpu(&their_all)),
            Target::None,
            Value::Null,
        );
        for all in [&our_all, &their_all] {
            self.errors(name, &all.tally);
        }
    }

    /// Notes the errors of a load.
    pub(crate) fn errors(&mut self, name: &str, tally: &LoadTally) {
        for (kind, count) in &tally.errors {
            let example = tally.example.as_deref().unwrap_or_default();
            let kind = kind.name();
            self.note(&format!(
                "{name}: {count} × {kind}, the first error: {example}"
            ));
        }
    }

    fn push(
        &mut self,
        name: &str,
        unit: &'static str,
        ours: f64,
        theirs: Option<f64>,
        target: Target,
        details: Value,
    ) {
        let line = Line {
            name: name.to_owned(),
            unit,
            ours,
            theirs,
            target,
            details,
        };
        // A long run shows its progress; the table comes at its end.
        eprintln!("{}", row(&line));
        self.lines.push(line);
    }

    /// For people.
    pub(crate) fn as_text(&self) -> String {
        let mut text = format!(
            "{} turns of {} s each, in turn with {}\n",
            self.rounds,
            self.seconds,
            self.other.as_deref().unwrap_or("nothing else")
        );
        let heads = ["what", "oarlock", "other", "ratio", "target"];
        let _ = writeln!(
            text,
            "{:<62}{:>12}{:>12}{:>8}  {}",
            heads[0], heads[1], heads[2], heads[3], heads[4]
        );
        for line in &self.lines {
            let _ = writeln!(text, "{}", row(line));
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }

    /// For programs, and for [`super::draw`].
    pub(crate) fn as_json(&self) -> Value {
        let lines = self.lines.iter().map(|line| {
            json!({
                "name": line.name.trim(),
                "unit": line.unit,
                "ours": line.ours,
                "other": line.theirs,
                "ratio": line.ratio(),
                "target": line.target.text(),
                "verdict": line.verdict(),
                "details": line.details,
            })
        });
        json!({
            "cores": std::thread::available_parallelism().map_or(1, usize::from),
            "seconds": self.seconds,
            "rounds": self.rounds,
            "other": self.other,
            "lines": lines.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

fn row(line: &Line) -> String {
    let other = line.theirs.map_or(String::new(), figure);
    let ratio = line
        .ratio()
        .map_or(String::new(), |ratio| format!("{ratio:.2}"));
    let name = format!("{}, {}", line.name, line.unit);
    let row = format!(
        "{name:<62}{:>12}{other:>12}{ratio:>8}  {} {}",
        figure(line.ours),
        line.target.text(),
        line.verdict()
    );
    row.trim_end().to_owned()
}

/// Three digits are enough: the next ones differ from run to run.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn details(turn: &Turn) -> Value {
    let (tally, latencies) = (&turn.tally, &turn.tally.latencies);
    json!({
        "done": tally.done(),
        "failed": tally.failed(),
        "rate": tally.rate(),
        "p50_us": latencies.quantile_us(0.5),
        "p95_us": latencies.quantile_us(0.95),
        "p99_us": latencies.quantile_us(0.99),
        "p999_us": latencies.quantile_us(0.999),
        "max_us": latencies.max_us(),
        "node_cpu_us_each": turn.each_us(turn.node_cpu),
        "client_cpu_us_each": turn.each_us(turn.client_cpu),
        "log_syncs": turn.syncs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_at_its_own_number() {
        assert_eq!(Target::AtLeast(5.0).met(5.0), Some(true));
        assert_eq!(Target::AtLeast(5.0).met(4.9), Some(false));
        assert_eq!(Target::AtMost(1.0).met(1.0), Some(true));
        assert_eq!(Target::None.met(1.0), None);
    }
}
