//! Nothing is left undone, no test is switched off, and no test waits for time to pass.

use super::facts::{Fact, Seen};
use super::tree::{Finding, Source, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in tree.rust() {
        match source.facts() {
            Ok(facts) => {
                for seen in facts {
                    if let Some(what) = objection(source, &seen) {
                        found.push(Finding::new(&source.path, seen.line, what));
                    }
                }
            }
            Err(finding) => found.push(finding),
        }
    }
    found
}

fn objection(source: &Source, seen: &Seen) -> Option<String> {
    match &seen.fact {
        Fact::Macro(name) if name == "todo" || name == "unimplemented" => Some(format!(
            "`{name}!` is left; do it, or leave out what needs it"
        )),
        Fact::Macro(name) if name == "dbg" => Some("`dbg!` is left; remove it".to_owned()),
        Fact::Attribute(name) if name == "ignore" => {
            Some("a test is switched off; repair it, or remove it".to_owned())
        }
        Fact::Path(path) if seen.in_test && sleeps(path) && !measures(source) => Some(format!(
            "a test waits for time to pass (`{path}`); wait for the event itself, by a channel or a watch"
        )),
        Fact::Method(name)
            if !seen.in_test && (name == "unwrap" || name == "expect") && ships(source) =>
        {
            Some(format!(
                "`.{name}()` ends the process for its caller; return an error, or say in `unreachable!` why it can't be"
            ))
        }
        _ => None,
    }
}

fn sleeps(path: &str) -> bool {
    [
        "thread::sleep",
        "time::sleep",
        "thread::sleep_ms",
        "time::sleep_until",
    ]
    .iter()
    .any(|end| {
        path.strip_suffix(end)
            .is_some_and(|before| before.is_empty() || before.ends_with("::"))
    })
}

/// A benchmark lets a load run for a while: there, time that passes is what is measured, and nothing is judged by it.
fn measures(source: &Source) -> bool {
    source.path.starts_with("tests/benches/")
}

/// Code of a node. A guest may panic: the host undoes what it did.
fn ships(source: &Source) -> bool {
    source.path.starts_with("host/") && !source.path.contains("/examples/")
}

mod tests {
    use super::*;

    fn planted(path: &str, text: &str) -> usize {
        check(&Tree::planted(&[(path, text)])).len()
    }

    #[test]
    fn what_is_left_undone_is_found() {
        assert_eq!(planted("host/raft/src/x.rs", "fn f() { todo!() }"), 1);
        assert_eq!(
            planted("host/raft/src/x.rs", "fn f() { assert!(unimplemented!()) }"),
            1
        );
        assert_eq!(
            planted(
                "host/raft/src/x/tests.rs",
                "#[test]\n#[ignore = \"slow\"]\nfn f() {}"
            ),
            1
        );
        assert_eq!(planted("host/raft/src/x.rs", "fn f() { dbg!(1); }"), 1);
    }

    #[test]
    fn a_test_that_sleeps_is_found() {
        let text = "use std::thread;\nfn f() { thread::sleep(ONE); }";
        assert_eq!(planted("host/raft/src/x/tests.rs", text), 1);
        assert_eq!(
            planted("tests/tests/cluster.rs", "use tokio::time::sleep;\n"),
            1
        );
        assert_eq!(
            planted("tests/benches/x/load.rs", "use tokio::time::sleep;\n"),
            0,
            "a benchmark is no test"
        );
        let inside = "#[cfg(test)]\nmod tests { async fn f() { tokio::time::sleep(ONE).await } }";
        assert_eq!(planted("host/raft/src/x.rs", inside), 1);
        assert_eq!(
            planted(
                "host/raft/src/x.rs",
                "async fn f() { tokio::time::sleep(ONE).await }"
            ),
            0
        );
    }

    #[test]
    fn what_ends_the_process_for_its_caller_is_found() {
        assert_eq!(planted("host/raft/src/x.rs", "fn f() { g().unwrap(); }"), 1);
        assert_eq!(
            planted(
                "host/raft/src/x.rs",
                "fn f() { format!(\"{}\", g().expect(\"x\")); }"
            ),
            1
        );
        assert_eq!(
            planted("host/raft/src/x.rs", "fn f() { g().unwrap_or_default(); }"),
            0
        );
        assert_eq!(
            planted("host/raft/src/x/tests.rs", "fn f() { g().unwrap(); }"),
            0
        );
        let shared = "#[cfg(test)]\npub(crate) mod testing;\n";
        let both = [
            ("host/a/src/lib.rs", shared),
            ("host/a/src/testing/x.rs", "fn f() { g().unwrap(); }"),
        ];
        assert_eq!(
            check(&Tree::planted(&both)).len(),
            0,
            "only tests include it"
        );
        assert_eq!(check(&Tree::planted(&both[1..])).len(), 1);
    }
}
