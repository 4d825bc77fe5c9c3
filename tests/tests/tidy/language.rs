//! The words of this project's old private language stay rare. The rule counts them, because a number can't be argued
//! with: at most one in 1,000 lines of each folder, tests included.

use super::tree::{Finding, Source, Tree};

/// What is counted, as whole words and as parts of names.
const COUNTED: [&str; 9] = [
    "whoever", "somebody", "nobody", "beside", "say", "says", "said", "word", "words",
];

/// Each is measured for itself.
const FOLDERS: [&str; 6] = [
    "README.md",
    "examples-wasm/",
    "guest-sdk/",
    "host/",
    "host/docs/",
    "tests/",
];

/// What people read: code, configuration and prose.
const READ: [&str; 12] = [
    ".rs", ".md", ".toml", ".wit", ".html", ".css", ".js", ".py", ".c", ".h", ".sh", ".txt",
];

/// It has to name them.
const THIS_FILE: &str = "tests/tests/tidy/language.rs";

const LINES_FOR_EACH: usize = 1000;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    FOLDERS
        .iter()
        .flat_map(|folder| check_folder(tree, folder))
        .collect()
}

fn check_folder(tree: &Tree, folder: &str) -> Vec<Finding> {
    let is_read = |source: &&Source| {
        source.path.starts_with(folder)
            && source.path != THIS_FILE
            && READ.iter().any(|end| source.path.ends_with(end))
    };
    let mut lines = 0;
    let mut counted = Vec::new();
    for source in tree.sources.iter().filter(is_read) {
        for (line, text) in source.lines() {
            lines += 1;
            counted.extend(found_in(text).map(|word| (source, line, word)));
        }
    }
    if counted.len() * LINES_FOR_EACH <= lines {
        return Vec::new();
    }
    let (times, limit) = (counted.len(), lines / LINES_FOR_EACH);
    let finding = |(source, line, word): (&Source, usize, &str)| {
        let what =
            format!("`{word}`; {folder} has {times} of the counted words, {limit} are allowed");
        Finding::new(&source.path, line, what)
    };
    counted.into_iter().map(finding).collect()
}

/// The counted words of a line. A name in capitals or with underscores counts by its parts.
fn found_in(text: &str) -> impl Iterator<Item = &'static str> {
    text.split(|c: char| !c.is_ascii_alphabetic())
        .filter_map(|part| {
            COUNTED
                .into_iter()
                .find(|word| part.eq_ignore_ascii_case(word))
        })
}

mod tests {
    use super::*;

    fn planted(path: &str, lines: usize, text: &str) -> usize {
        let text = format!("{}{text}\n", "//\n".repeat(lines - 1));
        check(&Tree::planted(&[(path, &text)])).len()
    }

    #[test]
    fn more_than_one_in_a_thousand_lines_is_found() {
        assert_eq!(planted("host/raft/src/x.rs", 999, "// Nobody writes."), 1);
        assert_eq!(planted("host/raft/src/x.rs", 1000, "// Nobody writes."), 0);
        assert_eq!(planted("README.md", 10, "It says what somebody said."), 3);
        assert_eq!(planted("tests/src/x.rs", 10, "fn has_say() {}"), 1);
    }

    #[test]
    fn other_words_and_other_files_are_not_counted() {
        assert_eq!(
            planted("host/raft/src/x.rs", 10, "essay, keywords, besides"),
            0
        );
        assert_eq!(planted("CHANGELOG.md", 10, "what was said"), 0);
        assert_eq!(planted("host/docs/x.svg", 10, "words"), 0);
    }
}
