//! No text that an operator reads advises what can lose acknowledged data: to empty a data directory, to restore one from
//! a copy, or to begin another cluster.

use super::tree::{Finding, Source, Tree};

/// Parts of such advice, in lower case.
const DANGEROUS: [&str; 10] = [
    "from a backup",
    "empty data directory and",
    "on an empty data directory",
    "another data directory",
    "another --data-dir",
    "restore its data",
    "restore one of their",
    "remove the data directory",
    "delete the data directory",
    "start a new cluster",
];

/// What operators read: the messages in the code, and the pages. Decision records explain what was not chosen.
fn is_read(source: &Source) -> bool {
    let path = source.path.as_str();
    let code = path.starts_with("host/") && path.ends_with(".rs") && !path.contains("tests");
    let page = path == "README.md"
        || path.starts_with("host/docs/") && path.ends_with(".md") && !path.contains("/decisions/");
    code || page
}

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let sources = tree.sources.iter().filter(|source| is_read(source));
    sources.flat_map(check_source).collect()
}

/// A message may be written over several lines, so each line is read together with the next one.
fn check_source(source: &Source) -> Vec<Finding> {
    let lines: Vec<String> = source.lines().map(|(_, text)| plain(text)).collect();
    let mut findings = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let next = lines.get(at + 1).map_or("", String::as_str);
        let both = format!("{line} {next}");
        for advice in DANGEROUS {
            // One that is in the next line alone is found there.
            if both.contains(advice) && !next.contains(advice) {
                let what = format!(
                    "`{advice}` may be advice that loses data; tell the operator to stop, and to keep the data directory"
                );
                findings.push(Finding::new(&source.path, at + 1, what));
            }
        }
    }
    findings
}

/// A line in lower case, without indentation, and without what continues a text or a comment.
fn plain(line: &str) -> String {
    let line = line.trim().trim_start_matches('/').trim_end_matches('\\');
    line.trim().to_lowercase()
}

mod tests {
    use super::*;

    fn planted(path: &str, text: &str) -> usize {
        check(&Tree::planted(&[(path, text)])).len()
    }

    #[test]
    fn advice_that_loses_data_is_found_in_messages_and_pages() {
        let text = "\"it failed; restart it on an empty data directory\"";
        assert_eq!(planted("host/server/src/x.rs", text), 1);
        let broken = "\"it failed; restore its \\\n    data directory\"";
        assert_eq!(planted("host/raft/src/x.rs", broken), 1);
        assert_eq!(planted("README.md", "Restore the files from a backup."), 1);
        assert_eq!(planted("host/docs/x.md", "Or start a new cluster."), 1);
    }

    #[test]
    fn tests_decision_records_and_other_texts_are_not_read() {
        let text = "on an empty data directory";
        assert_eq!(planted("host/server/src/x/tests.rs", text), 0);
        assert_eq!(planted("host/docs/decisions/0001-x.md", text), 0);
        assert_eq!(
            planted(
                "host/server/src/x.rs",
                "each node needs its own data directory"
            ),
            0
        );
    }
}
