//! The top level of the repository, the length of files, the numbers and headings of decisions, and links between
//! documents.

use super::tree::{Finding, Source, Tree};

/// The top level is fixed. Hidden files belong to tools.
const TOP: [&str; 11] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "examples-wasm",
    "guest-sdk",
    "host",
    "rust-toolchain.toml",
    "tests",
];
const TOP_WIT: &str = "wit";

/// Left there by builds and nodes; version control ignores them.
const LEFT_BEHIND: [&str; 2] = ["target", "oarlock-data"];
const HIDDEN: [&str; 5] = [".cargo", ".ci", ".git", ".github", ".gitignore"];

/// A longer file has more than one subject.
const MOST_LINES: usize = 800;
const MEASURED: [&str; 4] = [".rs", ".md", ".wit", ".sh"];

const CODE_MAP: &str = "host/docs/architecture.md";
const DECISIONS: &str = "host/docs/decisions/";
/// The headings of each decision.
const HEADINGS: [&str; 4] = [
    "## Problem",
    "## Choice",
    "## Alternatives",
    "## Consequences",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = top(&tree.top);
    found.extend(lengths(tree));
    found.extend(decisions(tree));
    found.extend(code_map(tree));
    found.extend(
        tree.sources
            .iter()
            .filter(|source| source.path.ends_with(".md"))
            .flat_map(|source| links(tree, source)),
    );
    found
}

fn top(names: &[String]) -> Vec<Finding> {
    let known = |name: &str| {
        TOP.contains(&name)
            || name == TOP_WIT
            || LEFT_BEHIND.contains(&name)
            || HIDDEN.contains(&name)
    };
    let strange = names.iter().filter(|name| !known(name));
    strange
        .map(|name| {
            Finding::new(
                name,
                1,
                "the top level is fixed; put it into one of the folders",
            )
        })
        .collect()
}

fn lengths(tree: &Tree) -> Vec<Finding> {
    let measured = tree
        .sources
        .iter()
        .filter(|source| MEASURED.iter().any(|end| source.path.ends_with(end)));
    let long = measured.filter_map(|source| {
        let lines = source.text.lines().count();
        let what =
            format!("the file has {lines} lines, more than {MOST_LINES}; split it by subject");
        (lines > MOST_LINES).then(|| Finding::new(&source.path, MOST_LINES + 1, what))
    });
    long.collect()
}

/// Records are numbered from 0001 without a gap and have problem, choice, alternatives and consequences.
fn decisions(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let records = tree
        .sources
        .iter()
        .filter(|source| source.path.starts_with(DECISIONS));
    let records = records.filter(|record| !record.path.ends_with("/README.md"));
    for (next, record) in (1..).zip(records) {
        let name = record.path.trim_start_matches(DECISIONS);
        let wanted = format!("{next:04}-");
        if !(name.starts_with(&wanted) && name.ends_with(".md")) {
            let what = format!(
                "the record must be called `{wanted}what-was-decided.md`: numbers have no gap and none is used twice"
            );
            found.push(Finding::new(&record.path, 1, what));
        }
        let title = format!("# {}. ", &name.get(..4).unwrap_or_default());
        if !record.text.starts_with(&title) {
            found.push(Finding::new(
                &record.path,
                1,
                format!("the record must begin with `{title}` and its title"),
            ));
        }
        for heading in HEADINGS {
            if !record.text.lines().any(|line| line == heading) {
                found.push(Finding::new(
                    &record.path,
                    1,
                    format!("the record lacks the heading `{heading}`; write it"),
                ));
            }
        }
    }
    found
}

/// Each module of the host's packages is on the code map.
fn code_map(tree: &Tree) -> Vec<Finding> {
    let map = tree
        .source(CODE_MAP)
        .map_or("", |source| source.text.as_str());
    let mut found = Vec::new();
    for source in tree.rust().filter(|source| !source.is_test()) {
        let parts: Vec<&str> = source.path.split('/').collect();
        let ["host", package, "src", file] = parts[..] else {
            continue;
        };
        let linked = map.contains(&format!("](../{package}/src/{file})"));
        let named = map.contains(&format!("`{}`", file.trim_end_matches(".rs")));
        if file != "lib.rs" && !linked && !named {
            let what = format!("the code map in {CODE_MAP} lacks it; add what the file contains");
            found.push(Finding::new(&source.path, 1, what));
        }
    }
    found
}

/// Links to files of the repository, in Markdown `[…](path)` and HTML `src="path"`.
fn links(tree: &Tree, document: &Source) -> Vec<Finding> {
    let folder = document
        .path
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    let mut in_code = false;
    for (line, text) in document.lines() {
        in_code ^= text.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        for target in targets(text) {
            if !leads_somewhere(tree, folder, target) {
                let what = format!("the link to {target} leads nowhere; correct it");
                found.push(Finding::new(&document.path, line, what));
            }
        }
    }
    found
}

fn targets(line: &str) -> impl Iterator<Item = &str> {
    [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')]
        .into_iter()
        .flat_map(move |(start, end)| {
            line.split(start)
                .skip(1)
                .filter_map(move |rest| rest.split_once(end).map(|(target, _)| target))
        })
}

fn leads_somewhere(tree: &Tree, folder: &str, target: &str) -> bool {
    let path = target.split('#').next().unwrap_or_default();
    if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
        return true;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let whole = parts.join("/");
    tree.paths.iter().any(|path| {
        *path == whole
            || path
                .strip_prefix(&whole)
                .is_some_and(|rest| rest.starts_with('/'))
    })
}

mod tests {
    use super::*;

    fn planted(path: &str, text: &str) -> Vec<String> {
        check(&Tree::planted(&[(path, text)]))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    const RECORD: &str = "# 0001. Title\n## Problem\n## Choice\n## Alternatives\n## Consequences\n";

    #[test]
    fn something_new_at_the_top_is_found() {
        let names = ["host", "notes.txt", "wit", ".git"].map(str::to_owned);
        assert_eq!(top(&names).len(), 1);
    }

    #[test]
    fn a_file_that_is_too_long_is_found() {
        assert_eq!(
            planted("tests/src/x.rs", &"//\n".repeat(MOST_LINES + 1)).len(),
            1
        );
        assert_eq!(
            planted("tests/src/x.rs", &"//\n".repeat(MOST_LINES)).len(),
            0
        );
    }

    #[test]
    fn a_record_without_its_number_or_a_heading_is_found() {
        assert_eq!(planted("host/docs/decisions/0001-a.md", RECORD), [""; 0]);
        assert_eq!(
            planted("host/docs/decisions/0002-a.md", RECORD).len(),
            2,
            "a gap, and another title"
        );
        assert_eq!(planted("host/docs/decisions/bincode.md", RECORD).len(), 2);
        let short = RECORD.replace("## Alternatives\n", "");
        assert_eq!(planted("host/docs/decisions/0001-a.md", &short).len(), 1);
        let both = [
            ("host/docs/decisions/0001-a.md", RECORD),
            ("host/docs/decisions/0001-b.md", RECORD),
        ];
        assert_eq!(check(&Tree::planted(&both)).len(), 1, "one number twice");
    }

    #[test]
    fn a_module_that_is_not_on_the_map_is_found() {
        let map = "[`a.rs`](../raft/src/a.rs) `b`";
        for (module, missing) in [("a", 0), ("b", 0), ("c", 1), ("lib", 0), ("c/d", 0)] {
            let module = format!("host/raft/src/{module}.rs");
            let files = [
                (CODE_MAP, map),
                (module.as_str(), ""),
                ("host/raft/src/a.rs", ""),
            ];
            assert_eq!(check(&Tree::planted(&files)).len(), missing, "{module}");
        }
        assert_eq!(planted("host/wasm/src/a.rs", "").len(), 1);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        assert_eq!(planted("README.md", "[a](host/docs/gone.md)").len(), 1);
        assert_eq!(
            planted("README.md", "<img src=\"host/docs/gone.svg\">").len(),
            1
        );
        assert_eq!(
            planted(
                "README.md",
                "[a](README.md#x) [b](https://example.com/x) [c](#y)"
            )
            .len(),
            0
        );
        let up = [
            ("host/docs/a.md", "[b](../../README.md) [d](..)"),
            ("README.md", ""),
        ];
        assert_eq!(check(&Tree::planted(&up)).len(), 0);
    }
}
