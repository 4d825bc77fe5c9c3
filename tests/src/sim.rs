//! Deterministic simulation: a whole cluster in one thread and in virtual time.
//!
//! The nodes are the production [`Driver`](task_queue_raft::driver::Driver), consensus core, disk task and applier;
//! only what lies behind the driver's ends is simulated: a network that loses, doubles, delays and cuts off frames, a
//! disk that loses what it had not done when the power went, processes that crash and stand still, clocks that jump.
//! Clients append to a list and read it. After a storm of faults the weather is calm, and all must come right.
//!
//! Everything follows from one number, the seed: the same seed gives the same run to the last byte.
//!
//! | module | holds |
//! |---|---|
//! | `world` | the queue of events; nodes, clients, faults, the time after the storm |
//! | `invariants` | what must hold at every step, one file for each property of the Raft paper |
//! | `history` | what clients saw, and the check that it is linearizable |
//! | `profile` | what a seed's run is like |
//! | `ends`, `store`, `network`, `machine` | the simulated ends of the driver |
//! | `planted`, `tamper` | faults planted on purpose: the simulation must catch them |

mod coverage;
mod ends;
mod history;
mod invariants;
mod machine;
mod network;
mod planted;
mod profile;
mod rng;
mod store;
mod tamper;
mod trace;
mod violation;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use coverage::Coverage;
pub use planted::Planted;
pub use trace::Words;
pub use violation::Violation;
use world::World;

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct SimConfig {
    /// From which all else follows.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// A fault to be caught.
    pub planted: Option<Planted>,
}

impl SimConfig {
    /// The run of a seed: with 3, 5 or 7 nodes, as the seed has it.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let nodes = [3, 5, 3, 7, 5, 3][usize::try_from(seed % 6).unwrap_or(0)];
        Self {
            seed,
            nodes,
            planted: None,
        }
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
    /// What happened last.
    pub events: Vec<String>,
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
        } = self.config;
        writeln!(
            f,
            "seed {seed} with {nodes} nodes, at {:?}, planted: {planted:?}",
            self.at
        )?;
        writeln!(f, "  broken: {}", self.violation)?;
        write!(
            f,
            "  again:  cargo run -p oarlock-tests --bin sim -- --seed {seed} --nodes {nodes}"
        )?;
        if let Some(planted) = planted {
            write!(f, " --planted {planted:?}")?;
        }
        write!(f, " --trace")
    }
}

/// Runs a seed. A failure is run once more to tell its last events.
///
/// # Errors
/// Where an invariant is broken, or the production code panics.
pub fn run(config: &SimConfig) -> Result<Report, Box<Failure>> {
    const LAST: usize = 60;
    run_once(config, Words::None).map_err(|_| match run_once(config, Words::Last(LAST)) {
        Err(failure) => failure,
        Ok(_) => {
            let detail = "the run failed, and the same seed did not fail again".to_owned();
            let violation = Violation {
                invariant: "a seed replays to the same byte",
                detail,
            };
            Box::new(Failure {
                config: *config,
                violation,
                at: Duration::ZERO,
                events: Vec::new(),
            })
        }
    })
}

/// Runs a seed and keeps as many words as are asked for.
///
/// # Errors
/// As [`run`].
pub fn run_once(config: &SimConfig, words: Words) -> Result<Report, Box<Failure>> {
    let mut world = World::new(config, words);
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
    let at = world.now();
    Err(Box::new(Failure {
        config: *config,
        violation,
        at,
        events: world.trace.into_kept(),
    }))
}

/// Runs many configurations on as many threads as there are processors, and gives each result to `done` as it
/// comes. Ends early once `done` says that it has seen enough.
pub fn run_many(
    configs: &[SimConfig],
    done: impl FnMut(Result<Report, Box<Failure>>) -> bool + Send,
) {
    let next = AtomicU64::new(0);
    let done = Mutex::new((done, true));
    let work = || {
        while let Some(config) = usize::try_from(next.fetch_add(1, Ordering::Relaxed))
            .ok()
            .and_then(|n| configs.get(n))
        {
            let result = run(config);
            let Ok(mut guard) = done.lock() else { return };
            let (done, wanted) = &mut *guard;
            if !*wanted {
                return;
            }
            *wanted = done(result);
            if !*wanted {
                return;
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
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

/// Keeps panics of simulated nodes off the screen: a failure tells of them. Other threads' are shown as ever.
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
