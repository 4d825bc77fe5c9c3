//! Runs seeds without an end, and writes each failure to a file of its own.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use oarlock_tests::sim::{self, Failure, SimConfig};

use crate::options::Options;
use crate::print::number;
use crate::seeds::shortest;

/// Seeds that are run between two lines of progress.
const BATCH: u64 = 1000;

/// Runs seeds until `--most` failures were found. Whether it could go on, which it does until the process is ended.
pub(crate) fn run(options: &Options) -> bool {
    match forever(options) {
        Ok(()) => false,
        Err(error) => {
            eprintln!("error: {error}");
            false
        }
    }
}

/// Ends without an error once there are too many failures.
fn forever(options: &Options) -> io::Result<()> {
    let dir = options.failures_dir();
    fs::create_dir_all(dir).map_err(|error| in_dir(dir, &error))?;
    let (mut runs, mut events, mut failures) = (0_u64, 0_u64, 0_u64);
    let mut next = options.first_seed()?;
    loop {
        let seeds = next..next.saturating_add(BATCH);
        let configs: Vec<SimConfig> = seeds.map(|seed| options.config(seed)).collect();
        let mut written = Ok(());
        sim::run_many_on(options.jobs(), &configs, |result| {
            runs += 1;
            match result {
                Ok(report) => events += report.events,
                Err(failure) => {
                    failures += 1;
                    written = write(dir, &shortest(failure, options));
                }
            }
            written.is_ok() && failures < options.most
        });
        written?;
        progress(&[
            format!("{} runs, the last seed {}", number(runs), next + BATCH - 1),
            format!("{} events", number(events)),
            format!("{failures} failures"),
        ])?;
        if failures >= options.most {
            return Ok(());
        }
        next = next.saturating_add(BATCH);
    }
}

/// A reader that has gone ends the program.
fn progress(parts: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", parts.join(", "))?;
    out.flush()
}

/// Writes a failure: what was broken, the command that replays it, and the events up to it.
fn write(dir: &Path, failure: &Failure) -> io::Result<()> {
    let path = file_of(dir, failure.config.seed);
    let trace = failure.events.join("\n");
    let text = format!("{failure}\n\n{}\n\n{trace}\n", failure.command());
    fs::write(&path, text).map_err(|error| in_dir(dir, &error))?;
    progress(&[format!(
        "seed {} fails: {}",
        failure.config.seed,
        path.display()
    )])
}

fn file_of(dir: &Path, seed: u64) -> PathBuf {
    dir.join(format!("seed-{seed}.txt"))
}

fn in_dir(dir: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot write to {}: {error}", dir.display()),
    )
}
