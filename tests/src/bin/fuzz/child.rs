//! The process that runs a target. Its parent limits its memory.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oarlock_tests::fuzz::{FuzzFinding, FuzzRunner, quiet_panics, to_hex};

use super::{Options, targets};

/// How many times its limit an execution may take before the process ends.
const PATIENCE: u32 = 20;

/// Runs a target. Returns whether nothing was found.
pub(super) fn run(options: &Options, name: &str) -> bool {
    quiet_panics();
    let mut target = targets::target(name);
    let clock = Clock::start(target.time_limit() * PATIENCE);
    let mut trace = options.trace.as_ref().map(|path| {
        File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    });
    let mut runner = FuzzRunner::new(target.as_mut()).before(|input| {
        clock.begin();
        if let Some(file) = &mut trace {
            // Without a buffer: the process may end with this input.
            writeln!(file, "{}", to_hex(input)).expect("a file that can be written");
        }
    });
    if let Some(replay) = &options.replay {
        return match runner.run_once(&replay.0) {
            Ok((outcome, took)) => {
                println!("{name}: {outcome} ({took:?})");
                true
            }
            Err(finding) => {
                report(name, &finding);
                false
            }
        };
    }
    let report_of_run = runner.run(options.plan());
    let seconds = report_of_run.took.as_secs_f64().max(1e-9);
    println!(
        "{name}: {} executions in {seconds:.1} s, {:.0}/s, {} outcomes, slowest {:?}",
        report_of_run.executions,
        report_of_run.executions as f64 / seconds,
        report_of_run.outcomes,
        report_of_run.slowest
    );
    if let Some(finding) = &report_of_run.finding {
        report(name, finding);
    }
    report_of_run.finding.is_none()
}

/// Prints a finding and how to run it again.
pub(super) fn report(name: &str, finding: &FuzzFinding) {
    let input = to_hex(&finding.input);
    println!("{name}: FOUND: {}", finding.what);
    println!("  input: {input}");
    println!("  again: fuzz {name} --replay {input}");
}

/// Ends the process if an execution never ends.
struct Clock {
    started: Instant,
    /// When the execution began, in milliseconds since `started`.
    begun_ms: Arc<AtomicU64>,
}

impl Clock {
    fn start(limit: Duration) -> Self {
        let (started, begun_ms) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let seen = Arc::clone(&begun_ms);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                let begun = Duration::from_millis(seen.load(Ordering::Relaxed));
                if started.elapsed().saturating_sub(begun) > limit {
                    eprintln!("an execution does not end");
                    std::process::abort();
                }
            }
        });
        Self { started, begun_ms }
    }

    fn begin(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.begun_ms.store(now, Ordering::Relaxed);
    }
}
