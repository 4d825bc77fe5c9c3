//! Deterministic simulation: a whole cluster in one thread and in virtual time.
//!
//! The nodes are the production [`Driver`](task_queue_raft::driver::Driver), consensus core, disk task and applier;
//! only the driver's environment is simulated. The network loses, duplicates, delays and cuts off frames. The disk loses
//! unsynced writes at a power failure. Processes crash and pause, and clocks jump. Clients append to a list and read it.
//! A run begins with a phase of faults (the storm). After it, the cluster must recover.
//!
//! A run is determined by one number, the seed: the same seed gives the same run, byte for byte.
//!
//! | module | content |
//! |---|---|
//! | `world` | the queue of events; nodes, clients, faults, the time after the storm |
//! | `invariants` | what must hold at every step, one file for each property of the Raft paper |
//! | `history` | the results that clients observed, and the check that they are linearizable |
//! | `clocks` | wall clocks that are wrong |
//! | `profile`, `dimensions` | the faults and limits of a seed's run, and what its operators do |
//! | `environment`, `store`, `log_engine`, `disk`, `network`, `machine` | the simulated environment of the driver |
//! | `planted`, `tamper`, `hunt` | faults planted on purpose: the simulation must catch them |
//! | `cuts`, `shrink` | shorten a failing run to the shortest trace that still fails |
//! | `coverage` | what happened, counted |

mod clocks;
mod coverage;
mod cuts;
mod dimensions;
mod disk;
mod durable;
mod environment;
mod forger;
pub(crate) mod history;
mod hunt;
mod invariants;
mod log_engine;
pub(crate) mod machine;
mod network;
mod planted;
mod profile;
mod record;
pub(crate) mod rng;
mod shrink;
mod store;
mod tamper;
mod trace;
mod violation;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clocks::ClockKind;
pub use coverage::Coverage;
pub use cuts::{Cuts, Part};
use dimensions::Dimensions;
pub use hunt::{Hunt, hunt};
pub use planted::Planted;
pub use profile::FaultKind;
use profile::Profile;
pub use record::record;
use rng::Rng;
pub use shrink::shrink;
pub use trace::TraceLines;
pub use violation::Violation;
use world::World;

/// In one of so many seeds the memory of guests becomes corrupt again and again. It happens in some of the others, too.
const DIVERGING: u64 = 16;

/// One run.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Determines the whole run.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// The planted fault, which the run must detect.
    pub planted: Option<Planted>,
    /// Parts of the run that are omitted.
    pub cuts: Cuts,
}

impl SimConfig {
    /// The run of a seed, with 3, 5 or 7 nodes; the seed decides.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let nodes = [3, 5, 3, 7, 5, 3][usize::try_from(seed % 6).unwrap_or(0)];
        Self {
            seed,
            nodes,
            planted: None,
            cuts: Cuts::default(),
        }
    }

    /// The arguments after `--bin sim --` that run it again.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut args = vec![
            "--seed".to_owned(),
            self.seed.to_string(),
            "--nodes".to_owned(),
            self.nodes.to_string(),
        ];
        if let Some(planted) = self.planted {
            args.extend(["--planted".to_owned(), format!("{planted:?}")]);
        }
        args.extend(self.cuts.arguments());
        args
    }

    fn profile(&self) -> Profile {
        self.drawn().0
    }

    /// The run's profile, and the chance that is left for all else.
    fn drawn(&self) -> (Profile, Rng) {
        let mut rng = Rng::new(self.seed);
        let mut profile = Profile::draw(&mut rng.fork());
        profile.set_clocks(ClockKind::draw(self.seed));
        profile.dimensions = Dimensions::draw(self.seed);
        if self.seed % DIVERGING == DIVERGING - 1 {
            profile.diverge();
        }
        if let Some(planted) = self.planted {
            profile.suit(planted);
        }
        profile.fit_dimensions();
        // One to replace each node that may become corrupt.
        profile.spares = profile.spares.max(profile.damaged_max(self.nodes));
        self.cuts.apply(&mut profile);
        (profile, rng)
    }
}

/// A run in which all invariants held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many events there were.
    pub events: u64,
    /// Hash of all of them.
    pub hash: u64,
    /// What happened in it.
    pub coverage: Coverage,
    /// How long it took, in its own time.
    pub virtual_time: Duration,
}

/// A run in which an invariant was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The run.
    pub config: SimConfig,
    /// What was broken.
    pub violation: Violation,
    /// When, in virtual time.
    pub at: Duration,
    /// How many events there were until then.
    pub length: u64,
    /// Hash of all of them: a run that replays this one has the same.
    pub hash: u64,
    /// How many faults the storm had brought.
    pub faults: u64,
    /// What happened last.
    pub events: Vec<String>,
}

impl Failure {
    /// The command that runs it again, to the same byte.
    #[must_use]
    pub fn command(&self) -> String {
        let args = self.config.arguments().join(" ");
        format!("cargo run --release -p oarlock-tests --bin sim -- {args} --trace")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            writeln!(f, "    {event}")?;
        }
        let SimConfig {
            seed,
            nodes,
            planted,
            ..
        } = &self.config;
        let planted = planted.map_or_else(String::new, |planted| format!(", planted: {planted:?}"));
        writeln!(
            f,
            "seed {seed} with {nodes} nodes, at {:?}, after {} events and {} faults, hash {:016x}{planted}",
            self.at, self.length, self.faults, self.hash
        )?;
        writeln!(f, "  broken: {}", self.violation)?;
        write!(f, "  again:  {}", self.command())
    }
}

/// Runs a seed. A failure is run once more to print its last events.
///
/// # Errors
/// If an invariant is broken, or the production code panics.
pub fn run(config: &SimConfig) -> Result<Report, Box<Failure>> {
    run_once(config, TraceLines::None).map_err(told)
}

/// Runs a failure again, to print its last events.
#[must_use]
pub fn told(failure: Box<Failure>) -> Box<Failure> {
    const LAST: usize = 60;
    let again = run_once(&failure.config, TraceLines::Last(LAST));
    match again {
        Err(again) if again.hash == failure.hash => again,
        _ => {
            let detail = format!("the run failed, and not in the same way again: {failure}");
            let violation = Violation {
                invariant: "a seed replays to the same byte",
                detail,
            };
            Box::new(Failure {
                violation,
                ..*failure
            })
        }
    }
}

/// Runs a seed and keeps the requested lines of the trace.
///
/// # Errors
/// As [`run`].
pub fn run_once(config: &SimConfig, lines: TraceLines) -> Result<Report, Box<Failure>> {
    let mut world = World::new(config, lines);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match result {
        Ok(Ok(report)) => return Ok(report),
        Ok(Err(violation)) => violation,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Violation {
                invariant: "production code does not panic",
                detail: text.unwrap_or_default(),
            }
        }
    };
    Err(Box::new(Failure {
        config: config.clone(),
        violation,
        at: world.now(),
        length: world.trace.events(),
        hash: world.trace.hash(),
        faults: world.coverage().faults,
        events: world.trace.take_kept(),
    }))
}

/// Runs many configurations on as many threads as there are processors, and gives each result to `done`, in the
/// order of the configurations. Ends early once `done` returns false.
pub fn run_many(
    configs: &[SimConfig],
    done: impl FnMut(Result<Report, Box<Failure>>) -> bool + Send,
) {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    run_many_on(threads, configs, done);
}

/// The same on this number of threads.
pub fn run_many_on(
    threads: usize,
    configs: &[SimConfig],
    done: impl FnMut(Result<Report, Box<Failure>>) -> bool + Send,
) {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(InOrder {
        done,
        wanted: true,
        next: 0,
        early: BTreeMap::new(),
    });
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(config) = configs.get(number) else {
                return;
            };
            let result = run(config);
            let Ok(mut results) = results.lock() else {
                return;
            };
            if !results.take(number, result) {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..threads {
            let spawned = std::thread::Builder::new()
                .name(format!("{THREAD}{number}"))
                .spawn_scoped(scope, work);
            if spawned.is_err() && number == 0 {
                work();
            }
        }
    });
}

const THREAD: &str = "simulation-";

/// Results that arrive in any order and are returned in the order of the configurations. Few wait, because a run is bounded
/// and no thread gets far ahead.
struct InOrder<F> {
    done: F,
    wanted: bool,
    next: usize,
    early: BTreeMap<usize, Result<Report, Box<Failure>>>,
}

impl<F: FnMut(Result<Report, Box<Failure>>) -> bool> InOrder<F> {
    /// Returns whether to continue.
    fn take(&mut self, number: usize, result: Result<Report, Box<Failure>>) -> bool {
        self.early.insert(number, result);
        while let Some(result) = self.early.remove(&self.next) {
            self.wanted = self.wanted && (self.done)(result);
            self.next += 1;
        }
        self.wanted
    }
}

/// Hides panics of simulated nodes: the failure reports them. Panics of other threads are printed as usual.
pub fn quiet_panics() {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let simulated = std::thread::current()
            .name()
            .is_some_and(|name| name.starts_with(THREAD));
        if !simulated {
            show(info);
        }
    }));
}
