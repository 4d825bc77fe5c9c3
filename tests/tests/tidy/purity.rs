//! The consensus core is a pure function of its inputs, and the driver around it is synchronous: no clock, no
//! randomness, no IO, no threads, no order of a hash map. So production and simulation run the same code. The code that
//! computes the replicated state has no clock, no randomness and no IO either: every node must compute the same.

use super::facts::Fact;
use super::tree::{Finding, Tree};

/// The core itself.
const CORE: [&str; 3] = [
    "host/raft/src/raft.rs",
    "host/raft/src/raft/",
    "host/raft/src/log.rs",
];

/// Runs in the simulation too, with another disk, network and clock.
const SIMULATED: [&str; 4] = [
    "host/raft/src/driver.rs",
    "host/raft/src/driver/",
    "host/raft/src/disk.rs",
    "host/raft/src/applier.rs",
];

/// Code that computes the replicated state.
const REPLICATED: &str = "host/wasm/src/";
/// Except these files, which do not influence that state: the guest's log reads a clock to limit its lines; memory is
/// mapped, and the duration of a freeze decides when the next one comes; queries and snapshots run on threads, each with
/// a copy, and queries end when their clients have gone.
const EXCEPT: [&str; 5] = [
    "host/wasm/src/guest/guest_log.rs",
    "host/wasm/src/images/map.rs",
    "host/wasm/src/rollback/stopwatch.rs",
    "host/wasm/src/rollback/query_pool.rs",
    "host/wasm/src/rollback/checkpoint.rs",
];

/// Differs between two runs, or reaches out of the process.
const IMPURE: [&str; 18] = [
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
    "std::time::*",
    "std::thread",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
    "std::collections::*",
    "std::hash::RandomState",
    "tokio",
    "rand",
    "getrandom",
];

/// The core, in addition, has no IO of any kind and shares nothing with another thread.
const OF_THE_CORE: [&str; 4] = ["std::io", "std::sync", "std::cell", "tracing"];

/// Modules of the library that the core must not import: they are above it.
const ABOVE: [&str; 6] = [
    "driver",
    "disk",
    "applier",
    "handle",
    "node",
    "state_machine",
];

const PRINTS: [&str; 5] = ["println", "print", "eprintln", "eprint", "dbg"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in tree.rust().filter(|source| !source.is_test()) {
        let Some(part) = part_of(&source.path) else {
            continue;
        };
        let facts = match source.facts() {
            Ok(facts) => facts,
            Err(finding) => {
                found.push(finding);
                continue;
            }
        };
        for seen in facts.into_iter().filter(|seen| !seen.in_test) {
            if let Some(what) = objection(&seen.fact, part) {
                found.push(Finding::new(&source.path, seen.line, what));
            }
        }
    }
    found
}

/// What a file belongs to, and so how pure it must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Core,
    Simulated,
    Replicated,
}

fn part_of(path: &str) -> Option<Part> {
    let within = |starts: &[&str]| starts.iter().any(|start| path.starts_with(start));
    if within(&CORE) {
        Some(Part::Core)
    } else if within(&SIMULATED) {
        Some(Part::Simulated)
    } else if path.starts_with(REPLICATED) && !EXCEPT.contains(&path) {
        Some(Part::Replicated)
    } else {
        None
    }
}

fn objection(fact: &Fact, part: Part) -> Option<String> {
    match fact {
        Fact::Path(path) => {
            let path = path.replacen("core::", "std::", usize::from(path.starts_with("core::")));
            let starts = |start: &str| {
                path.strip_prefix(start)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            // A map that is only looked up in has no order; `host/docs/determinism.md` lists them.
            let looked_up = part == Part::Replicated && path.starts_with("std::collections");
            if IMPURE.iter().any(|start| starts(start)) && !looked_up {
                return Some(format!(
                    "`{path}` differs between two runs; take it as an input, or use an ordered map"
                ));
            }
            if part == Part::Core && OF_THE_CORE.iter().any(|start| starts(start)) {
                return Some(format!(
                    "the core must not use `{path}`; request it in `Ready` and take the result as an input"
                ));
            }
            let above = ABOVE
                .iter()
                .any(|module| starts(&format!("crate::{module}")));
            (part == Part::Core && above)
                .then(|| format!("the core must not import `{path}`, which is above it"))
        }
        Fact::Macro(name) if PRINTS.contains(&name.as_str()) => Some(format!(
            "`{name}!` is output; leave it out, or log it outside the core"
        )),
        _ => None,
    }
}

mod tests {
    use super::*;

    fn planted(path: &str, text: &str) -> usize {
        check(&Tree::planted(&[(path, text)])).len()
    }

    #[test]
    fn what_is_impure_is_found_in_the_core() {
        for text in [
            "use std::time::Instant;",
            "use std::time;\nfn f() -> u64 { time::SystemTime::now().elapsed() }",
            "use std::collections::{BTreeMap, HashMap};",
            "fn f() { std::thread::yield_now() }",
            "use tokio::sync::mpsc;",
            "use std::fs as files;",
            "fn f() { println!(\"{}\", 1) }",
            "fn f() { assert!(std::env::var(\"A\").is_ok()) }",
            "use crate::storage::*;\nuse std::io::Read;",
            "use super::super::driver::Driver;",
            "use crate::node::Network;",
            "fn f() { tracing::info!(\"x\") }",
        ] {
            assert!(
                planted("host/raft/src/raft/election.rs", text) > 0,
                "{text}"
            );
        }
        assert_eq!(planted("host/raft/src/log.rs", "use rand::Rng;"), 1);
        assert_eq!(
            planted(
                "host/raft/src/raft.rs",
                "use std::collections::HashSet as Set;"
            ),
            1
        );
    }

    #[test]
    fn the_driver_may_share_memory_but_not_wait() {
        assert_eq!(planted("host/raft/src/driver.rs", "use std::sync::Arc;"), 0);
        assert_eq!(
            planted("host/raft/src/driver/queries.rs", "use tokio::time::sleep;"),
            1
        );
        assert_eq!(
            planted("host/raft/src/applier.rs", "use std::time::Instant;"),
            1
        );
    }

    #[test]
    fn what_computes_the_replicated_state_has_no_clock_either() {
        let text = "use std::time::SystemTime;";
        assert_eq!(planted("host/wasm/src/machine/entry.rs", text), 1);
        assert_eq!(
            planted("host/wasm/src/rollback/journal.rs", "use std::fs;"),
            1
        );
        assert_eq!(planted("host/wasm/src/guest/guest_log.rs", text), 0);
        let map = "use std::collections::HashMap;";
        assert_eq!(planted("host/wasm/src/machine/keys.rs", map), 0);
    }

    #[test]
    fn what_is_pure_is_not_found_and_tests_are_left_out() {
        let text = "use std::time::Duration;\nuse std::collections::BTreeMap;\n#[cfg(test)]\nmod tests { use std::fs; }";
        assert_eq!(planted("host/raft/src/raft.rs", text), 0);
        assert_eq!(
            planted(
                "host/raft/src/raft/tests/paper.rs",
                "use std::time::Instant;"
            ),
            0
        );
        assert_eq!(
            planted("host/raft/src/handle.rs", "use std::time::Instant;"),
            0
        );
    }
}
