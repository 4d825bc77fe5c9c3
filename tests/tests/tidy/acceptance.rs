//! The acceptance tables are correct: each test and each file in them exists, each line names one or `none yet` with a
//! reason, and every scenario script is in the table of the consensus library. The table of faults tells for each how it
//! was seen on the version before.

use super::tree::{Finding, Source, Tree};

const TABLE: &str = "host/docs/raft-acceptance.md";
const SAFETY_TABLE: &str = "host/docs/safety-acceptance.md";
const QUEUE_TABLE: &str = "host/docs/queue-acceptance.md";
const SCRIPTS: &str = "tests/scripts/";
/// Its tables have three columns: the attack, what happens, the tests that show it.
const ATTACKS: &str = "SECURITY.md";
const ATTACKS_HEADING: &str = "## Attacks";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for path in [TABLE, SAFETY_TABLE, QUEUE_TABLE] {
        match tree.source(path) {
            Some(table) => check_rows(tree, path, table, &mut found),
            None => found.push(Finding::new(path, 1, "the table is missing; write it")),
        }
    }
    match tree.source(ATTACKS) {
        Some(table) => check_attacks(tree, table, &mut found),
        None => found.push(Finding::new(ATTACKS, 1, "the table is missing; write it")),
    }
    let named = |script: &str| {
        let table = tree.source(TABLE);
        table.is_some_and(|table| table.text.contains(&format!("`{script}`")))
    };
    let scripts = tree.paths.iter().filter(|path| path.starts_with(SCRIPTS));
    for script in scripts.filter(|script| !named(script)) {
        let what = format!("no line of {TABLE} names this script; add one with what it shows");
        found.push(Finding::new(script, 1, what));
    }
    found
}

/// How the last column of the table of faults begins: the fault was seen when something ran, or by reading the code; or there
/// was none.
const SEEN: [&str; 3] = ["ran: ", "read: ", "no fault: "];

fn check_rows(tree: &Tree, path: &str, table: &Source, found: &mut Vec<Finding>) {
    let columns = if path == SAFETY_TABLE { 3 } else { 2 };
    for (line, text) in table.lines() {
        let cells: Vec<&str> = text.trim().trim_matches('|').split('|').collect();
        let is_row = text.starts_with("| ") && cells.len() == columns;
        if path == SAFETY_TABLE && text.starts_with("| ") && !is_row {
            let what = "the row must have three columns: the fault, its tests, how it was seen";
            found.push(Finding::new(path, line, what));
        }
        if !is_row || cells[1].trim().ends_with("tests") || cells[1].trim() == "script" {
            continue;
        }
        let seen = cells.get(2).map(|cell| cell.trim());
        if seen.is_some_and(|seen| !SEEN.iter().any(|how| seen.starts_with(how))) {
            let what = format!("the last column must begin with one of {SEEN:?}");
            found.push(Finding::new(path, line, what));
        }
        let names = quoted(cells[1]);
        if names.is_empty() && !cells[1].trim().starts_with("none yet") {
            let what = "the line names no test; name one, or write `none yet` and the reason";
            found.push(Finding::new(path, line, what));
        }
        for name in names.into_iter().filter(|name| !exists(tree, name)) {
            let what = format!("there is no test or file {name}; correct the line");
            found.push(Finding::new(path, line, what));
        }
    }
}

fn check_attacks(tree: &Tree, table: &Source, found: &mut Vec<Finding>) {
    let mut in_tables = false;
    let mut rows = 0;
    for (line, text) in table.lines() {
        if text.starts_with("## ") {
            in_tables = text.starts_with(ATTACKS_HEADING);
        }
        let cells: Vec<&str> = text.trim().trim_matches('|').split('|').collect();
        let is_row = in_tables && text.starts_with("| ") && !text.starts_with("| attack ");
        let Some(tests) = cells.last().filter(|_| is_row) else {
            continue;
        };
        rows += 1;
        let names = quoted(tests);
        if names.is_empty() {
            let what = "the line names no test that shows it; name one";
            found.push(Finding::new(ATTACKS, line, what));
        }
        let is_there = |name: &&str| {
            let function = format!("fn {name}(");
            let is_path = name.contains('/') && tree.paths.iter().any(|path| path == name);
            is_path || tree.rust().any(|source| source.text.contains(&function))
        };
        for name in names.into_iter().filter(|name| !is_there(name)) {
            let what = format!("there is no test or file {name}; correct the line");
            found.push(Finding::new(ATTACKS, line, what));
        }
    }
    if rows == 0 {
        found.push(Finding::new(ATTACKS, 1, "no row with an attack was found"));
    }
}

/// The texts between backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whether a test, or a file, has this name.
pub(crate) fn exists(tree: &Tree, name: &str) -> bool {
    if name.contains('/') {
        return tree.paths.iter().any(|path| path == name);
    }
    tree.rust()
        .filter(|source| source.is_test())
        .any(|source| has_function(source, name))
}

/// A test, or a part of the conformance suite that tests run.
fn has_function(source: &Source, name: &str) -> bool {
    let conformance = source.path.contains("/conformance");
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    let defines = |line: &str| {
        line.trim_start_matches("async ")
            .strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('))
    };
    lines.iter().enumerate().any(|(at, line)| {
        let mut attributes = lines[..at].iter().rev();
        let marked = attributes
            .by_ref()
            .take_while(|line| line.starts_with("#["))
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
        defines(line) && (marked || conformance)
    })
}

mod tests {
    use super::*;

    const TESTS: &str =
        "#[test]\nfn it_holds() {}\nfn helper() {}\n#[tokio::test]\nasync fn it_waits() {}\n";

    const ATTACK: &str =
        "## Attacks\n| attack | what | test |\n|---|---|---|\n| a | b | `it_holds` |\n";

    #[test]
    fn an_attack_without_a_test_that_exists_is_found() {
        let found = |row: &str| {
            let table = format!(
                "## Attacks\n| attack | what | test |\n|---|---|---|\n{row}\n## More\n| a | b | c |\n"
            );
            let files = [
                (TABLE, ""),
                (SAFETY_TABLE, ""),
                (QUEUE_TABLE, ""),
                (ATTACKS, table.as_str()),
                ("host/raft/src/x/tests.rs", TESTS),
            ];
            check(&Tree::planted(&files)).len()
        };
        assert_eq!(found("| a | b | `it_holds`, `it_waits` |"), 0);
        assert_eq!(found("| a | b | `host/raft/src/x/tests.rs` |"), 0);
        assert_eq!(found("| a | b | `it_holds`, `it_is_gone` |"), 1);
        assert_eq!(found("| a | b | surely |"), 1);
        assert_eq!(found(""), 1, "no rows");
    }

    /// The number of findings in a table at this path, while the other one is empty.
    fn found_in(path: &str, table: &str) -> usize {
        let others = [TABLE, SAFETY_TABLE, QUEUE_TABLE].into_iter();
        let mut files: Vec<(&str, &str)> = others
            .filter(|other| *other != path)
            .map(|other| (other, ""))
            .collect();
        files.extend([
            (path, table),
            (ATTACKS, ATTACK),
            ("host/raft/src/x/tests.rs", TESTS),
        ]);
        check(&Tree::planted(&files)).len()
    }

    fn planted(cell: &str) -> usize {
        let table = format!("| feature | tests |\n|---|---|\n| x | {cell} |\n");
        let faults =
            format!("| fault | tests | before |\n|---|---|---|\n| x | {cell} | ran: lost |\n");
        let found = found_in(TABLE, &table);
        assert_eq!(found_in(SAFETY_TABLE, &faults), found);
        found
    }

    #[test]
    fn a_fault_that_was_not_seen_is_found() {
        let faults = |row: &str| {
            let table = format!("| fault | tests | before |\n|---|---|---|\n{row}\n");
            found_in(SAFETY_TABLE, &table)
        };
        assert_eq!(faults("| x | `it_holds` | read: no bound |"), 0);
        assert_eq!(faults("| x | `it_holds` | surely |"), 1);
        assert_eq!(faults("| x | `it_holds` |"), 1);
    }

    #[test]
    fn a_test_that_is_not_there_is_found() {
        assert_eq!(planted("`it_holds`, `it_waits`"), 0);
        assert_eq!(planted("`host/raft/src/x/tests.rs`"), 0);
        assert_eq!(planted("`it_holds`, `it_is_gone`"), 1);
        assert_eq!(planted("`helper`"), 1, "a helper is no test");
        assert_eq!(planted("`tests/scripts/gone.txt`"), 1);
    }

    #[test]
    fn a_line_without_a_test_has_a_reason() {
        assert_eq!(planted("none yet: no disk"), 0);
        assert_eq!(planted("surely"), 1);
    }

    #[test]
    fn a_script_that_no_line_names_is_found() {
        let files = [
            (TABLE, "| feature | tests |\n"),
            (SAFETY_TABLE, "| fault | tests | before |\n"),
            (QUEUE_TABLE, "| feature | tests |\n"),
            (ATTACKS, ATTACK),
            ("host/raft/src/x/tests.rs", TESTS),
            ("tests/scripts/new.txt", "nodes 1\n"),
        ];
        assert_eq!(check(&Tree::planted(&files)).len(), 1);
    }
}
