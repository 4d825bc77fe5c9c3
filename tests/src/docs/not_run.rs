//! Commands of pages that are not run as they are.

/// Commands that begin with a text, and are not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRun {
    /// How they begin.
    pub start: &'static str,
    /// Why they are not run.
    pub reason: &'static str,
    /// The tests that run the equivalent. Empty only for commands that install something.
    pub tests: &'static [&'static str],
}

impl NotRun {
    /// All of them. `--test tidy` checks that the tests exist.
    pub const ALL: [Self; 8] = [
        Self {
            start: "apt-get ",
            reason: "it installs packages",
            tests: &[],
        },
        Self {
            start: "rustup ",
            reason: "it installs a target; `require_wasm_target` checks it",
            tests: &[],
        },
        Self {
            start: "cargo xtask guests",
            reason: "the gate has built the guests",
            tests: &["every_kept_guest_is_built_from_the_sources_as_they_stand"],
        },
        Self {
            start: "oarlock queue work ",
            reason: "it runs until it is stopped",
            tests: &["exit_codes_signals_and_cancellation_decide_what_becomes_of_a_task"],
        },
        Self {
            start: "cargo test --workspace",
            reason: "the tests of this documentation are some of its tests",
            tests: &["readme"],
        },
        Self {
            start: "cargo run --release -- demo",
            reason: "it builds everything once more",
            tests: &["the_demo_runs_its_tour_and_exits_with_0"],
        },
        Self {
            start: "cargo run --release -p oarlock-tests --bin bench",
            reason: "it builds everything once more, and measures for minutes",
            tests: &["the_benchmarks_of_the_page_run"],
        },
        Self {
            start: "cargo run --release -p oarlock-tests --bin identity",
            reason: "it builds everything once more, and runs for minutes",
            tests: &["three_copies_of_the_counter_are_the_same"],
        },
    ];

    /// The entry of a command; `None` if it is run.
    pub fn of(command: &str) -> Option<&'static Self> {
        const ALL: &[NotRun] = &NotRun::ALL;
        ALL.iter().find(|entry| command.starts_with(entry.start))
    }
}
