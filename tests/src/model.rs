//! Model check: explores every order of events of three real cores, within small bounds.
//!
//! A state contains three [`Core`](task_queue_raft::raft::Core)s, the content of their disks, and the messages in flight
//! between them. From each state every possible event is tried: a node's election timeout passes, a leader without a
//! majority steps down, a client proposes, a disk finishes a write, any one message in flight arrives, a node crashes
//! before or after its write is done. A message that never arrives is a lost one, so that each history with losses is the
//! beginning of one that is explored.
//!
//! Clocks are left out of it: in an event, time passes as far as the event needs. So each decision that depends on a
//! clock is a choice of events here, as if every clock ran at any speed. Pre-votes always succeed: they decide only
//! whether a node campaigns, and here it may do so at any time. Snapshots, reads and membership are not in this model.
//!
//! What must hold in each state:
//!
//! | property | meaning |
//! |---|---|
//! | election safety | at most one leader in a term (Raft paper §5.2) |
//! | log matching | logs that contain the same entry contain the same entries before it (§5.3) |
//! | leader completeness | a leader has all entries that were committed in earlier terms (§5.4) |
//! | state machine safety | no two nodes apply different entries at one index (§5.4.3) |
//! | committed never lost | a committed entry is on a majority's disks, and no node commits another entry at its index |

mod node;
mod properties;
mod state;

use stateright::{Checker, DiscoveryClassification, HasDiscoveries, Model};

pub use state::{Event, State};

/// How far the model goes.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// No node campaigns for a later term.
    pub terms: u64,
    /// No client proposes once a leader's log has so many entries; a new leader's own may still come behind them.
    pub entries: u64,
    /// So many crashes, of all nodes together.
    pub crashes: u8,
    /// So many heartbeats, of all leaders together.
    pub heartbeats: u8,
    /// A leader without contact to a majority may step down.
    pub steps_down: bool,
    /// A write takes time, in which anything else can happen; otherwise it is done at once.
    pub slow_disks: bool,
    /// A message that has arrived may arrive again.
    pub duplicates: bool,
    /// A fault, to see that it is found.
    pub planted: Option<Planted>,
}

/// Faults planted on purpose, outside the core, to prove that the model finds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A crash loses term and vote (Raft paper, Figure 2: persistent state).
    VoteForgotten,
    /// A denied vote arrives as a granted one (§5.2, §5.4.1).
    DenialBecomesGrant,
    /// A follower acknowledges an entry more than it has (§5.3).
    AcknowledgesTooMuch,
}

impl Bounds {
    /// Three entries in two terms, on disks that are done at once.
    #[must_use]
    pub fn small() -> Self {
        Self {
            terms: 2,
            entries: 3,
            crashes: 0,
            heartbeats: 0,
            steps_down: false,
            slow_disks: false,
            duplicates: false,
            planted: None,
        }
    }
}

/// What was explored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Events tried.
    pub events: usize,
    /// Events on the longest of the shortest ways to a state.
    pub depth: usize,
    /// Whether nothing is left to explore within the bounds.
    pub exhausted: bool,
    /// For each property that does not hold, its name and the shortest way found to where it does not.
    pub broken: Vec<(String, Vec<String>)>,
    /// Sights that prove that the model gets somewhere: their names.
    pub seen: Vec<String>,
}

/// Explores, breadth first, until nothing is left or about `most` states were generated.
#[must_use]
pub fn explore(bounds: Bounds, most: usize) -> Report {
    let checker = bounds
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(most)
        .spawn_bfs()
        .join();
    let mut report = Report {
        states: checker.unique_state_count(),
        events: checker.state_count(),
        depth: checker.max_depth(),
        exhausted: checker.is_done() && checker.state_count() < most,
        ..Report::default()
    };
    for (name, path) in checker.discoveries() {
        match checker.discovery_classification(name) {
            DiscoveryClassification::Counterexample => {
                let events = path.into_actions();
                let way = events.iter().map(|event| format!("{event:?}"));
                report.broken.push((name.to_owned(), way.collect()));
            }
            DiscoveryClassification::Example => report.seen.push(name.to_owned()),
        }
    }
    report.broken.sort();
    report.seen.sort();
    report
}
