//! No test is switched off, and no test waits for a fixed time. Unfinished code (`todo!`, `dbg!`) and panics in the
//! host (`unwrap`, `expect`) are lints of the compiler.

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
        Fact::Attribute(name) if name == "ignore" => {
            Some("a test is switched off; repair it or remove it".to_owned())
        }
        Fact::Path(path) if seen.in_test && sleeps(path) && !measures(source) => Some(format!(
            "a test sleeps (`{path}`); wait for the event itself, on a channel or a watch"
        )),
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

/// A program that measures runs a load for a fixed time, and one that searches ends what takes too long.
fn measures(source: &Source) -> bool {
    let programs = [
        "tests/benches/",
        "tests/src/bin/abuse/",
        "tests/src/bin/fuzz/",
    ];
    programs
        .iter()
        .any(|program| source.path.starts_with(program))
}

mod tests {
    use super::*;

    fn planted(path: &str, text: &str) -> usize {
        check(&Tree::planted(&[(path, text)])).len()
    }

    #[test]
    fn a_test_that_is_switched_off_is_found() {
        let text = "#[test]\n#[ignore = \"slow\"]\nfn f() {}";
        assert_eq!(planted("host/raft/src/x/tests.rs", text), 1);
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
            "a benchmark is not a test"
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
    fn a_module_that_only_tests_include_is_a_test() {
        let sleeps = ("host/a/src/testing/x.rs", "use std::thread::sleep;");
        for (declared, found) in [
            ("#[cfg(test)]\npub(crate) mod testing;\n", 1),
            (
                "#[cfg(any(test, feature = \"testing\"))]\n#[allow(dead_code)]\npub mod testing;\n",
                1,
            ),
            ("#[cfg(not(test))]\npub mod testing;\n", 0),
            ("pub mod testing;\n", 0),
        ] {
            let files = [("host/a/src/lib.rs", declared), sleeps];
            assert_eq!(check(&Tree::planted(&files)).len(), found, "{declared}");
        }
    }
}
