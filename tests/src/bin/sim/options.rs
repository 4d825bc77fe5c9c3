//! The command line.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Parser;
use oarlock_tests::sim::{Cuts, Part, Planted, SimConfig};

/// Seeds that are run unless told otherwise.
const SEEDS: Range<u64> = 0..200;
/// Seeds that a planted fault is hunted with unless told otherwise.
const HUNT: Range<u64> = 0..1000;

/// Simulates clusters under faults, and checks what must hold.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  sim --seeds 0..20000           many runs, and a table of what was exercised\n  sim --planted                  plants each fault and prints which seed catches it\n  sim --planted VoteNotSynced    runs the seeds with this fault planted\n  sim --seed 17 --trace          prints every event of one run\n  sim --queue --seeds 0..10000   many runs of the task queue alone\n  sim --forever --jobs 8         runs until Ctrl-C; each failure is a file in sim-failures"
)]
pub(crate) struct Options {
    /// Seeds from A to below B. [default: 0..200; with --planted alone 0..1000]
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// One seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// How many nodes, instead of the seed's choice.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=15))]
    nodes: Option<u8>,
    /// Ends after so many failures.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) most: u64,
    /// Plants a fault, by its name, as in `VoteNotSynced`. Without a name: each in turn, until a seed catches it.
    #[arg(long, value_name = "NAME", num_args = 0..=1, value_parser = planted)]
    pub(crate) planted: Option<Option<Planted>>,
    /// Simulates the task queue instead of clusters; with `--planted`, plants each of its faults.
    #[arg(long, conflicts_with_all = ["trace", "nodes", "clients", "storm_ms", "faults", "without"])]
    pub(crate) queue: bool,
    /// Runs seeds without an end, from a random one or the first of `--seeds`, and writes each failure to a file. Ends after `--most` failures, or
    /// with Ctrl-C.
    #[arg(long, conflicts_with_all = ["seed", "trace", "queue", "json"])]
    pub(crate) forever: bool,
    /// Directory for the failures of `--forever`.
    #[arg(
        long,
        value_name = "DIR",
        requires = "forever",
        default_value = "sim-failures"
    )]
    failures: PathBuf,
    /// Prints every event of the one seed.
    #[arg(long, requires = "seed")]
    pub(crate) trace: bool,
    /// Prints what some runs come to on every machine: the lines of `tests/tests/sim.record`.
    #[arg(long, exclusive = true)]
    pub(crate) record: bool,
    /// Prints JSON rather than tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Runs that the search for a shorter trace of a failure may take; 0 for none.
    #[arg(long, value_name = "RUNS", default_value_t = 400)]
    pub(crate) shrink: u64,
    /// Runs seeds on so many threads. [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    jobs: Option<u8>,
    /// How many clients, instead of the seed's choice.
    #[arg(long, value_name = "N")]
    clients: Option<usize>,
    /// Ends the storm of faults after so many milliseconds.
    #[arg(long, value_name = "MS")]
    storm_ms: Option<u64>,
    /// Ends the storm after so many faults.
    #[arg(long, value_name = "N")]
    faults: Option<u64>,
    /// Leaves these kinds of trouble out.
    #[arg(long, value_name = "KIND,…", value_parser = Part::of_name, value_delimiter = ',')]
    without: Vec<Part>,
}

impl Options {
    /// The seeds to be run.
    pub(crate) fn seeds(&self) -> Range<u64> {
        match (self.seed, &self.seeds) {
            (Some(seed), _) => seed..seed.saturating_add(1),
            (None, Some(seeds)) => seeds.clone(),
            (None, None) if self.planted == Some(None) => HUNT,
            (None, None) => SEEDS,
        }
    }

    /// The first seed of `--forever`.
    pub(crate) fn first_seed(&self) -> io::Result<u64> {
        match &self.seeds {
            Some(seeds) => Ok(seeds.start),
            // So small that people can write it down.
            None => getrandom::u32().map(u64::from).map_err(io::Error::other),
        }
    }

    pub(crate) fn failures_dir(&self) -> &Path {
        &self.failures
    }

    /// How many threads run seeds.
    pub(crate) fn jobs(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(2, usize::from);
        self.jobs.map_or_else(processors, usize::from)
    }

    /// The run of a seed.
    pub(crate) fn config(&self, seed: u64) -> SimConfig {
        let of_seed = SimConfig::of_seed(seed);
        SimConfig {
            nodes: self.nodes.map_or(of_seed.nodes, usize::from),
            planted: self.planted.flatten(),
            cuts: Cuts {
                clients: self.clients,
                storm_ms: self.storm_ms,
                faults: self.faults,
                without: self.without.clone(),
            },
            ..of_seed
        }
    }

    /// The only run, if there is but one.
    pub(crate) fn single(&self) -> Option<SimConfig> {
        self.seed.map(|seed| self.config(seed))
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or("write it as A..B, as in 0..1000")?;
    let number = |text: &str| {
        text.trim()
            .parse::<u64>()
            .map_err(|error| format!("{text:?} is no number: {error}"))
    };
    let (from, to) = (number(from)?, number(to)?);
    if from < to {
        Ok(from..to)
    } else {
        Err(format!(
            "from {from} to below {to} there is no seed; write the smaller number first"
        ))
    }
}

fn planted(name: &str) -> Result<Planted, String> {
    let all = Planted::ALL;
    let found = all.iter().find(|planted| format!("{planted:?}") == name);
    found
        .copied()
        .ok_or_else(|| format!("{name:?} is none of {all:?}"))
}
