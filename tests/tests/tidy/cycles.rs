//! No circle of files inside a package: a file that is imported knows nothing of the file that imports it.
//!
//! File A imports file B when code of A that is not a test names something of B's module, in a `use` or in a path. A
//! path belongs to the longest start of it that is a file: `crate::raft::Core` to `raft.rs`, a path into `lib.rs`
//! where nothing else fits. So a re-export is an import of its own, and `mod child;` alone is none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::facts::Fact;
use super::tree::{Finding, Source, Tree};

/// Where the sources of each package stand.
const PACKAGES: [&str; 7] = [
    "guest-sdk/src/",
    "guest-sdk/macros/src/",
    "host/client/src/",
    "host/project/src/",
    "host/raft/src/",
    "host/server/src/",
    "host/wasm/src/",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for package in PACKAGES {
        match Imports::of(tree, package) {
            Ok(imports) => found.extend(imports.circles()),
            Err(finding) => found.push(finding),
        }
    }
    found
}

/// What one file uses of another.
#[derive(Debug, Default)]
struct Import {
    /// The line that names it first.
    line: usize,
    names: BTreeSet<String>,
}

/// Which file of a package imports which.
#[derive(Debug, Default)]
struct Imports<'tree> {
    package: &'tree str,
    of: BTreeMap<&'tree str, BTreeMap<&'tree str, Import>>,
}

impl<'tree> Imports<'tree> {
    fn of(tree: &'tree Tree, package: &'tree str) -> Result<Self, Finding> {
        let is_code = |source: &&Source| source.path.starts_with(package) && !source.is_test();
        let sources: Vec<&Source> = tree.rust().filter(is_code).collect();
        let files: BTreeMap<String, &str> = sources
            .iter()
            .map(|source| (source.module().join("::"), source.path.as_str()))
            .collect();
        let mut imports = Self {
            package,
            ..Self::default()
        };
        for source in sources {
            for seen in source.facts()?.into_iter().filter(|seen| !seen.in_test) {
                let Fact::Path(path) = seen.fact else {
                    continue;
                };
                let Some((file, name)) = owner(&files, &path) else {
                    continue;
                };
                if file == source.path {
                    continue;
                }
                let of = imports.of.entry(source.path.as_str()).or_default();
                let import = of.entry(file).or_insert_with(|| Import {
                    line: seen.line,
                    ..Import::default()
                });
                import.names.insert(name);
            }
        }
        Ok(imports)
    }

    /// One finding for each group of files that all reach each other: the shortest circle in it.
    fn circles(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for file in self.of.keys() {
            if told.contains(file) {
                continue;
            }
            let group: Vec<&str> = (self.reached_from(file).into_iter())
                .filter(|other| self.reached_from(other).contains(file))
                .collect();
            let circles = group.iter().filter_map(|file| self.shortest_circle(file));
            if let Some(circle) = circles.min_by_key(Vec::len) {
                found.push(self.finding(&circle, group.len()));
            }
            told.extend(group);
        }
        found
    }

    fn imports(&self, file: &str) -> impl Iterator<Item = &'tree str> {
        self.of
            .get(file)
            .into_iter()
            .flat_map(|of| of.keys().copied())
    }

    fn reached_from(&self, file: &str) -> BTreeSet<&'tree str> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&str> = self.imports(file).collect();
        while let Some(file) = open.pop() {
            if reached.insert(file) {
                open.extend(self.imports(file));
            }
        }
        reached
    }

    /// The files of a shortest way from a file back to itself: it stands first and last.
    fn shortest_circle(&self, start: &'tree str) -> Option<Vec<&'tree str>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut open = VecDeque::from([start]);
        while let Some(file) = open.pop_front() {
            for next in self.imports(file) {
                if next == start {
                    let mut circle = vec![start, file];
                    while let Some(file) = before.get(circle[circle.len() - 1]) {
                        circle.push(file);
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if !before.contains_key(next) {
                    before.insert(next, file);
                    open.push_back(next);
                }
            }
        }
        None
    }

    fn finding(&self, circle: &[&'tree str], group: usize) -> Finding {
        let short = |file: &'tree str| file.trim_start_matches(self.package);
        let mut what =
            "files import each other in a circle; move what both need into a file below them"
                .to_owned();
        for pair in circle.windows(2) {
            let import = &self.of[pair[0]][pair[1]];
            let names: Vec<&str> = import.names.iter().map(String::as_str).collect();
            what += &format!(
                "\n    {} -> {}: {}",
                short(pair[0]),
                short(pair[1]),
                names.join(", ")
            );
        }
        if group > circle.len() - 1 {
            what +=
                &format!("\n    ({group} files all reach each other; this is the shortest circle)");
        }
        let line = self.of[circle[0]][circle[1]].line;
        Finding::new(circle[0], line, what)
    }
}

/// The file that a path of this package leads into, and what it names there.
fn owner<'tree>(files: &BTreeMap<String, &'tree str>, path: &str) -> Option<(&'tree str, String)> {
    let parts: Vec<&str> = path.split("::").collect();
    if parts[0] != "crate" {
        return None;
    }
    (1..=parts.len()).rev().find_map(|length| {
        let file = files.get(&parts[..length].join("::"))?;
        let rest = &parts[length..];
        let name = if rest.is_empty() {
            "self".to_owned()
        } else {
            rest.join("::")
        };
        Some((*file, name))
    })
}

mod tests {
    use super::*;

    fn planted(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<(String, &str)> = files
            .iter()
            .map(|(file, text)| (format!("host/raft/src/{file}"), *text))
            .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(file, text)| (file.as_str(), *text))
            .collect();
        check(&Tree::planted(&files))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_circle_is_found_and_told_file_by_file() {
        let found = planted(&[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            (
                "a.rs",
                "//! A.\nuse crate::b::{One, Two};\nuse crate::d::Three;",
            ),
            ("b.rs", "fn f() -> crate::c::Three { g() }"),
            ("c.rs", "use super::a;\nfn f(one: &a::Four) {}"),
            ("d.rs", "use crate::c::Five;"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("host/raft/src/a.rs:2: "), "{found:?}");
        let told: Vec<&str> = found[0].lines().skip(1).map(str::trim).collect();
        let wanted = [
            "a.rs -> b.rs: One, Two",
            "b.rs -> c.rs: Three",
            "c.rs -> a.rs: Four, self",
            "(4 files all reach each other; this is the shortest circle)",
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_parent_that_uses_a_child_that_uses_its_parent_is_a_circle() {
        let child = ("core/votes.rs", "use super::Core;\nimpl Core {}");
        for parent in [
            "mod votes;\nuse votes::Votes;\npub struct Core { votes: Votes }",
            "mod votes;\npub use self::votes::Votes;\npub struct Core;",
            "mod votes;\npub struct Core { votes: votes::Votes }",
            "mod votes;\npub struct Core;\nfn f() { assert!(votes::has(1)) }",
        ] {
            let found = planted(&[("core.rs", parent), child]);
            assert_eq!(found.len(), 1, "{parent}: {found:?}");
        }
        let parent = "mod votes;\npub struct Core;";
        assert_eq!(
            planted(&[("core.rs", parent), child]),
            [""; 0],
            "`mod` alone is no import"
        );
    }

    #[test]
    fn what_goes_through_lib_is_an_import_of_lib() {
        let lib = "mod a;\npub use a::T;";
        assert_eq!(
            planted(&[("lib.rs", lib), ("a.rs", "use crate::U;")]).len(),
            1
        );
        assert_eq!(
            planted(&[("lib.rs", lib), ("a.rs", "use crate::b::U;"), ("b.rs", "")]).len(),
            0
        );
    }

    #[test]
    fn inner_modules_are_counted_when_a_path_goes_up() {
        let inner = "mod child;\nmod inner { use super::child::T; }";
        let files = [("a.rs", inner), ("a/child.rs", "use super::U;")];
        assert_eq!(planted(&files).len(), 1);
        let files = [
            ("a.rs", "mod inner { use super::U; }"),
            ("b.rs", "use crate::a::inner;"),
        ];
        assert_eq!(planted(&files), [""; 0]);
    }

    #[test]
    fn tests_visibilities_and_other_packages_are_left_out() {
        let test = "mod child;\n#[cfg(test)]\nmod tests { use super::child::T; }";
        let files = [
            ("a.rs", test),
            ("a/child.rs", "use super::U;\npub(in crate::a) struct T;"),
        ];
        assert_eq!(planted(&files), [""; 0]);
        let other = "mod redb;\nuse ::redb::Database;";
        let files = [("a.rs", other), ("a/redb.rs", "use super::U;")];
        assert_eq!(planted(&files), [""; 0]);
        let suite = "#[cfg(test)]\nmod tests;";
        let files = [
            ("a.rs", suite),
            ("a/tests.rs", "use super::*;\nuse crate::b::T;"),
            ("b.rs", "use crate::a::U;"),
        ];
        assert_eq!(planted(&files), [""; 0]);
    }
}
