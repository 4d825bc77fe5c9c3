//! The name of a type that more than one file can use is unique in the host and the SDK.

use std::collections::BTreeMap;

use super::facts::Fact;
use super::tree::{Finding, Source, Tree};

const PACKAGES: [&str; 2] = ["host/", "guest-sdk/"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut names: BTreeMap<String, Vec<(&str, usize)>> = BTreeMap::new();
    for source in tree.rust().filter(|source| is_product(source)) {
        let facts = match source.facts() {
            Ok(facts) => facts,
            Err(finding) => {
                found.push(finding);
                continue;
            }
        };
        for seen in facts.into_iter().filter(|seen| !seen.in_test) {
            if let Fact::SharedType(name) = seen.fact {
                let places = names.entry(name).or_default();
                places.push((&source.path, seen.line));
            }
        }
    }
    for (name, places) in names {
        let ((first, line), others) = places.split_first().expect("a name has a place");
        for (file, at) in others {
            let what = format!(
                "the type name `{name}` is taken by {first}:{line}; give one of them another name"
            );
            found.push(Finding::new(file, *at, what));
        }
    }
    found
}

fn is_product(source: &Source) -> bool {
    PACKAGES.iter().any(|start| source.path.starts_with(start))
        && source.path.contains("/src/")
        && !source.is_test()
}

mod tests {
    use super::*;

    fn planted(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::planted(files))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_name_that_stands_twice_is_found_at_the_second_place() {
        let found = planted(&[
            ("guest-sdk/src/x.rs", "//! A file.\npub struct Entry;"),
            (
                "host/raft/src/x.rs",
                "mod inner {\n    pub(crate) trait Entry {}\n}",
            ),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("host/raft/src/x.rs:2: "), "{found:?}");
        assert!(found[0].contains("guest-sdk/src/x.rs:2;"), "{found:?}");
    }

    #[test]
    fn each_kind_of_type_and_of_visibility_counts() {
        let first = ("host/raft/src/a.rs", "pub struct Entry;");
        for second in [
            "pub enum Entry {}",
            "pub trait Entry {}",
            "pub union Entry { a: u8 }",
            "pub(super) struct Entry;",
            "pub(in crate::b) struct Entry;",
        ] {
            let found = planted(&[first, ("host/wasm/src/b.rs", second)]);
            assert_eq!(found.len(), 1, "{second}: {found:?}");
        }
    }

    #[test]
    fn private_types_and_tests_are_left_out() {
        let first = ("host/raft/src/a.rs", "pub struct Entry;");
        for (file, text) in [
            ("host/wasm/src/b.rs", "struct Entry;"),
            ("host/wasm/src/b.rs", "pub type Entry = u8;"),
            ("host/wasm/src/b/tests.rs", "pub struct Entry;"),
            (
                "host/wasm/src/b.rs",
                "#[cfg(test)]\nmod t { pub struct Entry; }",
            ),
            ("tests/src/b.rs", "pub struct Entry;"),
        ] {
            assert_eq!(planted(&[first, (file, text)]), [""; 0], "{file}: {text}");
        }
    }
}
