//! The files of the repository, and findings in them.

use std::fmt;
use std::fs;
use std::path::Path;

use super::facts::{self, Seen};

/// Folders without sources: what builds, nodes and tools leave behind, and the history.
const NOT_SOURCES: [&str; 5] = [
    "target",
    ".git",
    "oarlock-data",
    "node_modules",
    "__pycache__",
];

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    file: String,
    line: usize,
    /// What is wrong, and what to do.
    what: String,
}

impl Finding {
    pub(crate) fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        let file = file.to_owned();
        Self {
            file,
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// A file of text.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Only tests include it.
    for_tests: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            for_tests: false,
        }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether all of it is test code: only tests include it, or its path is one of tests.
    pub(crate) fn is_test(&self) -> bool {
        let apart = ["tests", "benches", "conformance"];
        let named = |part: &str| apart.contains(&part.trim_end_matches(".rs"));
        self.for_tests || self.path.split('/').any(named)
    }

    /// The module that a Rust file is, as in `crate::raft::election`.
    pub(crate) fn module(&self) -> Vec<String> {
        let inner = self.path.rsplit_once("src/").map_or("", |(_, inner)| inner);
        let inner = match inner.trim_end_matches(".rs") {
            "lib" | "main" => "",
            inner => inner,
        };
        let parts = inner
            .split('/')
            .filter(|part| !part.is_empty() && *part != "mod");
        std::iter::once("crate")
            .chain(parts)
            .map(str::to_owned)
            .collect()
    }

    /// What the rules check in a Rust file.
    pub(crate) fn facts(&self) -> Result<Vec<Seen>, Finding> {
        facts::of(self)
    }

    /// Lines, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }
}

/// The repository.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Names at the top.
    pub(crate) top: Vec<String>,
    /// Paths of all files, also of those that are no text.
    pub(crate) paths: Vec<String>,
    pub(crate) sources: Vec<Source>,
}

impl Tree {
    pub(crate) fn of_this_repository() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let root = root
            .canonicalize()
            .expect("this package is part of the repository");
        let mut tree = Self {
            top: names(&root),
            ..Self::default()
        };
        tree.read(&root, "");
        tree.find_what_is_for_tests();
        assert!(
            tree.sources.len() > 100,
            "the tree was not found in {}",
            root.display()
        );
        tree
    }

    /// A tree of planted files.
    pub(crate) fn planted(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.paths.push((*path).to_owned());
            tree.sources.push(Source::new(path, text));
        }
        tree.find_what_is_for_tests();
        tree
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.is_rust())
    }

    pub(crate) fn source(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }

    /// Marks the files of modules that only tests include, and all files below them.
    fn find_what_is_for_tests(&mut self) {
        let declared: Vec<String> = self.rust().flat_map(test_modules).collect();
        for source in &mut self.sources {
            let is_of = |module: &String| {
                source
                    .path
                    .strip_prefix(module)
                    .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            };
            source.for_tests = declared.iter().any(is_of);
        }
    }

    fn read(&mut self, folder: &Path, prefix: &str) {
        for name in names(folder) {
            if NOT_SOURCES.contains(&name.as_str()) {
                continue;
            }
            let (path, full) = (format!("{prefix}{name}"), folder.join(&name));
            if full.is_dir() {
                self.read(&full, &format!("{path}/"));
            } else if let Ok(bytes) = fs::read(&full) {
                self.paths.push(path.clone());
                if let Ok(text) = String::from_utf8(bytes) {
                    self.sources.push(Source::new(&path, &text));
                }
            }
        }
    }
}

/// Paths, without `.rs`, of the modules that a file declares and only tests include.
fn test_modules(source: &Source) -> Vec<String> {
    let (folder, name) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let root = matches!(name, "lib.rs" | "main.rs" | "mod.rs");
    let below = if root {
        folder
    } else {
        source.path.trim_end_matches(".rs")
    };
    facts::test_modules(source)
        .into_iter()
        .map(|module| format!("{below}/{module}"))
        .collect()
}

/// Sorted, so that findings come in the same order everywhere.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder of the repository can be read");
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
