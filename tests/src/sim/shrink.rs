//! Looks for the shortest run that breaks the same invariant: fewer nodes, clients, faults and kinds of them, a
//! shorter storm. Each step leaves one thing more out, and is kept if the run still fails in the same way and is
//! no longer than before. It ends where no single step helps, or after so many runs.

use super::{Failure, SimConfig, TraceLines, run_once};

/// Nodes that a smaller cluster may have.
const NODES: [usize; 3] = [1, 3, 5];

/// The shortest failing run found within so many runs; the given one if there is none.
#[must_use]
pub fn shrink(failure: Box<Failure>, most_runs: u64) -> Box<Failure> {
    let mut best = failure;
    let mut runs = 0;
    while let Some(shorter) = step(&best, &mut runs, most_runs) {
        best = shorter;
    }
    best
}

/// The first single step that still fails.
fn step(best: &Failure, runs: &mut u64, most_runs: u64) -> Option<Box<Failure>> {
    candidates(best)
        .into_iter()
        .take_while(|_| {
            *runs += 1;
            *runs <= most_runs
        })
        .find_map(|config| {
            let failure = run_once(&config, TraceLines::None).err()?;
            let same = failure.violation.invariant == best.violation.invariant;
            (same && failure.length <= best.length).then_some(failure)
        })
}

fn candidates(best: &Failure) -> Vec<SimConfig> {
    let config = &best.config;
    let smaller = NODES.into_iter().filter(|nodes| *nodes < config.nodes);
    let smaller = smaller.map(|nodes| SimConfig {
        nodes,
        ..config.clone()
    });
    let further = config
        .cuts
        .further(&config.profile(), best.faults, best.at)
        .into_iter()
        .map(|cuts| SimConfig {
            cuts,
            ..config.clone()
        });
    smaller.chain(further).collect()
}
