//! The result of a suite, for people and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::expect::Difference;
use super::suite::SuiteStep;
use crate::command::output::print_safely;

/// Most differences that are reported.
const MAX_REPORTED: usize = 50;

/// The result of a suite.
#[derive(Debug, Default)]
pub(crate) struct SuiteReport {
    steps: usize,
    copies: Vec<String>,
    found: Vec<FoundDifference>,
    /// Numbers of the steps with a difference.
    failed: BTreeSet<usize>,
}

#[derive(Debug)]
struct FoundDifference {
    line: usize,
    number: usize,
    shown: String,
    copy: String,
    difference: Difference,
}

impl SuiteReport {
    /// A report about a suite of this many steps.
    pub(crate) fn new(steps: usize) -> Self {
        Self {
            steps,
            ..Self::default()
        }
    }

    /// Names a copy, or a group of copies, on which the suite runs.
    pub(crate) fn add_copy(&mut self, name: impl Into<String>) {
        self.copies.push(name.into());
    }

    /// Adds a difference of step number `number`, from 0.
    pub(crate) fn add(
        &mut self,
        number: usize,
        step: &SuiteStep,
        copy: &str,
        difference: Difference,
    ) {
        self.failed.insert(number);
        if self.found.len() < MAX_REPORTED {
            self.found.push(FoundDifference {
                line: step.line,
                number: number + 1,
                shown: step.shown.clone(),
                copy: copy.to_owned(),
                difference,
            });
        }
    }

    /// Adds that a copy can't go on.
    pub(crate) fn add_stop(
        &mut self,
        number: usize,
        step: &SuiteStep,
        copy: &str,
        message: String,
    ) {
        let difference = Difference {
            what: "the copy stopped",
            expected: "the step is executed".to_owned(),
            got: message,
        };
        self.add(number, step, copy, difference);
    }

    /// Number of steps with a difference.
    pub(crate) fn failed_steps(&self) -> usize {
        self.failed.len()
    }

    /// For people.
    pub(crate) fn as_text(&self, suite: &Path, took: Duration) -> String {
        let mut text = String::new();
        for found in &self.found {
            let Difference {
                what,
                expected,
                got,
            } = &found.difference;
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "{}:{}: step {}: {}\n  {what}, on the copy: {}\n  expected  {}\n  got       {}\n",
                suite.display(),
                found.line,
                found.number,
                print_safely(&found.shown),
                print_safely(&found.copy),
                print_safely(expected),
                print_safely(got)
            );
        }
        let copies = self.copies.join(", ");
        if self.failed.is_empty() {
            let (steps, seconds) = (self.steps, took.as_secs_f64());
            let _ = writeln!(
                text,
                "{steps} steps passed in {seconds:.1} s on the copies: {copies}"
            );
        } else {
            let _ = writeln!(text, "copies: {copies}");
        }
        text
    }

    /// For programs.
    pub(crate) fn as_json(&self, suite: &Path) -> Value {
        let failures: Vec<Value> = self
            .found
            .iter()
            .map(|found| {
                json!({
                    "line": found.line,
                    "step": found.number,
                    "action": found.shown,
                    "copy": found.copy,
                    "what": found.difference.what,
                    "expected": found.difference.expected,
                    "got": found.difference.got,
                })
            })
            .collect();
        json!({
            "ok": self.failed.is_empty(),
            "suite": suite.display().to_string(),
            "steps": self.steps,
            "failed_steps": self.failed.len(),
            "copies": self.copies,
            "failures": failures,
        })
    }
}
