//! Every command that a page shows is run: a fenced block with `oarlock …`, `curl …` or `cargo run …` is one of `sh`, in a page that
//! a test in `tests/long` names. What is not run has a test that runs the equivalent, and exists.

use oarlock_tests::docs::{NotRun, blocks};

use super::acceptance;
use super::tree::{Finding, Tree};

const RUNNERS: &str = "tests/long/";
const RUNNER: &str = "tests/long/docs.rs";
const LIST: &str = "tests/src/docs/not_run.rs";
/// What a text within a sentence begins with, if it is such a command.
const INLINE: &str = "`cargo run ";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let runners: Vec<&str> = tree
        .rust()
        .filter(|source| source.path.starts_with(RUNNERS))
        .map(|source| source.text.as_str())
        .collect();
    let pages = tree.sources.iter().filter(|source| is_page(&source.path));
    let mut found = Vec::new();
    for page in pages {
        let named = [format!("/{}\"", page.path), format!("\"{}\"", page.path)];
        let followed = runners
            .iter()
            .any(|text| named.iter().any(|name| text.contains(name)));
        for block in blocks(&page.text) {
            if !block.has_commands() {
                continue;
            }
            let what = match (block.language.as_str(), followed) {
                ("sh", true) => continue,
                ("sh", false) => format!("no test runs these commands; add the page to {RUNNER}"),
                _ => "no test runs these commands; make the block one of `sh`".to_owned(),
            };
            found.push(Finding::new(&page.path, block.line, what));
        }
        for (line, text) in page.lines() {
            let commands = text.match_indices(INLINE).map(|(at, _)| &text[at + 1..]);
            if commands
                .filter(|command| NotRun::of(command).is_none())
                .count()
                > 0
            {
                let what = format!("no test runs this command; name one that does in {LIST}");
                found.push(Finding::new(&page.path, line, what));
            }
        }
    }
    found
}

/// The tests that the list of commands which are not run names.
pub(crate) fn check_not_run(tree: &Tree, list: &[NotRun]) -> Vec<Finding> {
    let mut found = Vec::new();
    for entry in list {
        let start = entry.start;
        let installs = ["apt-get ", "rustup "].contains(&start);
        if entry.tests.is_empty() && !installs {
            let what = format!("no test runs the equivalent of {start:?}; name one");
            found.push(Finding::new(LIST, 1, what));
        }
        for name in entry.tests {
            if !acceptance::exists(tree, name) {
                let what = format!("there is no test {name}; correct the entry of {start:?}");
                found.push(Finding::new(LIST, 1, what));
            }
        }
    }
    found
}

fn is_page(path: &str) -> bool {
    let documented = ["host/docs/", "examples-wasm/", "guest-sdk/"];
    path.ends_with(".md")
        && (path == "README.md" || documented.iter().any(|start| path.starts_with(start)))
}

mod tests {
    use super::*;

    fn planted(path: &str, block: &str) -> usize {
        let files = [
            (path, block),
            (RUNNER, "follow(\"README.md\"); follow(\"host/docs/a.md\");"),
        ];
        check(&Tree::planted(&files)).len()
    }

    #[test]
    fn commands_that_no_test_runs_are_found() {
        let commands = "```sh\noarlock status\n```\n";
        assert_eq!(planted("README.md", commands), 0);
        assert_eq!(planted("host/docs/a.md", commands), 0);
        assert_eq!(planted("host/docs/b.md", commands), 1);
        assert_eq!(planted("tests/notes.md", commands), 0, "not documentation");
        for other in [
            "```\noarlock status\n```\n",
            "```text\nID=1; oarlock serve\n```\n",
            "```console\ncurl 127.0.0.1:8101\n```\n",
        ] {
            assert_eq!(planted("README.md", other), 1, "{other}");
        }
        let tested =
            "```sh\ncargo run --release -- demo\n```\n`cargo run --release -- demo` shows it\n";
        assert_eq!(planted("host/docs/b.md", tested), 0);
        let untested = "```sh\ncargo run --bin other\n```\n`cargo run --bin other` shows it\n";
        assert_eq!(planted("host/docs/b.md", untested), 2);
        let none = "```sh\ncargo doc\n```\n```json\n{\"oarlock\": 1}\n```\n";
        assert_eq!(planted("host/docs/b.md", none), 0);
    }

    #[test]
    fn an_entry_without_a_test_that_exists_is_found() {
        let tree = Tree::planted(&[("tests/tests/a.rs", "#[test]\nfn it_runs() {}\n")]);
        let found = |start: &'static str, tests: &'static [&'static str]| {
            let entry = NotRun {
                start,
                reason: "it takes long",
                tests,
            };
            check_not_run(&tree, &[entry]).len()
        };
        assert_eq!(found("cargo run -- demo", &["it_runs"]), 0);
        assert_eq!(found("cargo run -- demo", &["it_runs", "it_is_gone"]), 1);
        assert_eq!(found("cargo run -- demo", &[]), 1);
        assert_eq!(found("apt-get ", &[]), 0);
    }
}
