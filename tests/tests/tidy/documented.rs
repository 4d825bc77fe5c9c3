//! Whatever is public says what it is for; and so do each file and each package.

use super::facts::Fact;
use super::tree::{Finding, Source, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = packages(tree);
    for source in tree
        .rust()
        .filter(|source| !source.is_test() || is_library_of_tests(source))
    {
        if !source.text.trim_start().starts_with("//!")
            && source.path.contains("/src/")
            && !is_suite(source)
        {
            found.push(Finding::new(
                &source.path,
                1,
                "the file doesn't say what it is for; begin it with `//!`",
            ));
        }
        match source.facts() {
            Ok(facts) => {
                for seen in facts {
                    if let Fact::Undocumented(what) = seen.fact {
                        let what =
                            format!("the public {what} has no docstring; say what it is for");
                        found.push(Finding::new(&source.path, seen.line, what));
                    }
                }
            }
            Err(finding) => found.push(finding),
        }
    }
    found
}

/// Packages whose manifest does not describe them.
fn packages(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in tree
        .sources
        .iter()
        .filter(|source| source.path.ends_with("/Cargo.toml"))
    {
        let says = |line: &str| {
            let text = line.strip_prefix("description = ");
            text.is_some_and(|text| text.trim_matches('"').split_whitespace().count() > 2)
        };
        if !source.lines().any(|(_, line)| says(line)) {
            let what = "the package has no `description` in one sentence; say what it is for";
            found.push(Finding::new(&source.path, 1, what));
        }
    }
    found
}

/// What the tests share is read by whoever writes one.
fn is_library_of_tests(source: &Source) -> bool {
    source.path.starts_with("tests/") && source.path.contains("/src/") && !is_suite(source)
}

/// The tests of a module, in their own file.
fn is_suite(source: &Source) -> bool {
    let inner = source
        .path
        .split_once("/src/")
        .map_or("", |(_, inner)| inner);
    inner
        .split('/')
        .any(|part| part.trim_end_matches(".rs") == "tests")
}

mod tests {
    use super::*;

    fn planted(path: &str, text: &str) -> Vec<String> {
        check(&Tree::planted(&[(path, text)]))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn whatever_is_public_and_says_nothing_is_found() {
        for item in [
            "pub fn f() {}",
            "pub struct S;",
            "pub(crate) struct T;\n/// Yes.\npub struct S { pub field: u8 }",
            "/// Yes.\npub enum E { Variant }",
            "/// Yes.\npub trait T { fn method(&self); }",
            "/// Yes.\npub struct S;\nimpl S { pub fn new() {} }",
            "pub const C: u8 = 1;",
            "pub type T = u8;",
        ] {
            let found = planted("host/raft/src/x.rs", &format!("//! A file.\n{item}"));
            assert_eq!(found.len(), 1, "{item}: {found:?}");
        }
        assert_eq!(
            planted("host/raft/src/x.rs", "//! A file.\n\npub fn f() {}").len(),
            1
        );
        assert!(planted("host/raft/src/x.rs", "//! A file.\n\npub fn f() {}")[0].contains(":3: "));
    }

    #[test]
    fn a_file_that_says_nothing_is_found() {
        assert_eq!(planted("host/raft/src/x.rs", "fn f() {}").len(), 1);
        assert!(planted("host/raft/src/x/tests.rs", "fn f() {}").is_empty());
    }

    #[test]
    fn a_package_that_says_nothing_is_found() {
        assert_eq!(
            planted("host/x/Cargo.toml", "description = \"TBD\"\n").len(),
            1
        );
        assert_eq!(planted("host/x/Cargo.toml", "[package]\n").len(), 1);
        let told = "description = \"Keeps things in order\"\n";
        assert_eq!(planted("host/x/Cargo.toml", told).len(), 0);
    }

    #[test]
    fn what_is_private_or_says_something_is_not_found() {
        let text = "//! A file.\n/// Yes.\npub fn f() {}\npub(crate) fn g() {}\nstruct S;\nimpl S { pub fn h() {} }\n\
                    impl Clone for S { fn clone(&self) -> Self { S } }\npub use a::b;";
        assert_eq!(planted("host/raft/src/x.rs", text), [""; 0]);
    }
}
