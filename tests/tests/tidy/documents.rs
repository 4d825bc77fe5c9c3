//! Every command that a page shows is run: a fenced block with `oarlock …` or `curl …` is one of `sh`, in a page that a test in
//! `tests/long` names.

use oarlock_tests::docs::blocks;

use super::tree::{Finding, Tree};

const RUNNERS: &str = "tests/long/";
const RUNNER: &str = "tests/long/docs.rs";

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
        let none = "```sh\ncargo doc\n```\n```json\n{\"oarlock\": 1}\n```\n";
        assert_eq!(planted("host/docs/b.md", none), 0);
    }
}
