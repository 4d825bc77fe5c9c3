//! Runs a target on many inputs.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use super::FuzzTarget;
use super::corpus::Corpus;
use crate::sim::rng::Rng;

thread_local! {
    /// The message of the latest panic.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps panics off standard error: the runner reports them.
pub fn quiet_panics() {
    panic::set_hook(Box::new(|info| {
        PANIC.with_borrow_mut(|message| *message = info.to_string());
    }));
}

/// How many inputs are run.
#[derive(Clone, Copy, Debug)]
pub struct FuzzPlan {
    /// Executions.
    pub executions: u64,
    /// Ends earlier after this time.
    pub time: Option<Duration>,
    /// Equal seeds give equal inputs.
    pub seed: u64,
}

/// An input on which a parser fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuzzFinding {
    /// The input.
    pub input: Vec<u8>,
    /// What happened.
    pub what: String,
}

/// What happened in all executions.
#[derive(Clone, Debug)]
pub struct FuzzReport {
    /// Executions.
    pub executions: u64,
    /// How long they took.
    pub took: Duration,
    /// Different outcomes that were seen.
    pub outcomes: usize,
    /// The longest execution.
    pub slowest: Duration,
    /// The first finding, which ends the run.
    pub finding: Option<FuzzFinding>,
}

/// Is called with an input.
type BeforeInput<'a> = Box<dyn FnMut(&[u8]) + 'a>;

/// Runs a target.
pub struct FuzzRunner<'a> {
    target: &'a mut dyn FuzzTarget,
    /// Called with each input before it is run.
    before: BeforeInput<'a>,
}

impl<'a> FuzzRunner<'a> {
    /// A runner for this target.
    pub fn new(target: &'a mut dyn FuzzTarget) -> Self {
        Self {
            target,
            before: Box::new(|_| {}),
        }
    }

    /// Calls `before` with each input before it is run.
    #[must_use]
    pub fn before(mut self, before: impl FnMut(&[u8]) + 'a) -> Self {
        self.before = Box::new(before);
        self
    }

    /// Runs one input. Returns its outcome, and how long it took.
    ///
    /// # Errors
    /// It panicked, or took too long.
    pub fn run_once(&mut self, input: &[u8]) -> Result<(String, Duration), FuzzFinding> {
        (self.before)(input);
        let begun = Instant::now();
        let target = &mut *self.target;
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| target.run(input)));
        let took = begun.elapsed();
        let finding = |what: String| FuzzFinding {
            input: input.to_vec(),
            what,
        };
        let limit = self.target.time_limit();
        match outcome {
            Err(_) => Err(finding(PANIC.with_borrow(Clone::clone))),
            Ok(_) if took > limit => Err(finding(format!("it took {took:?}, more than {limit:?}"))),
            Ok(outcome) => Ok((outcome, took)),
        }
    }

    /// Runs inputs until the plan is done or one fails.
    pub fn run(&mut self, plan: FuzzPlan) -> FuzzReport {
        let begun = Instant::now();
        let mut rng = Rng::new(plan.seed);
        let mut corpus = Corpus::new(self.target.seeds());
        let (mut executions, mut slowest, mut finding) = (0, Duration::ZERO, None);
        while executions < plan.executions
            && plan.time.is_none_or(|time| begun.elapsed() < time)
            && finding.is_none()
        {
            let input = corpus.next(&mut rng);
            executions += 1;
            match self.run_once(&input) {
                Ok((outcome, took)) => {
                    slowest = slowest.max(took);
                    corpus.note(input, &outcome);
                }
                Err(found) => finding = Some(found),
            }
        }
        FuzzReport {
            executions,
            took: begun.elapsed(),
            outcomes: corpus.outcomes(),
            slowest,
            finding,
        }
    }
}
