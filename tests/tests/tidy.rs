//! The tree is read and held to the rules of the house. A finding says where, and what to do.
//!
//! | rule | says |
//! |---|---|
//! | `arrows` | who may import whom |
//! | `purity` | the consensus core is a pure function of its inputs |
//! | `documented` | whatever is public says what it is for |
//! | `words` | nothing is left undone, and no test sleeps |
//! | `machine` | no path and no host of some machine |
//! | `layout` | what stands at the top, how long a file is, how decisions are numbered, that links lead somewhere |
//! | `acceptance` | each test that the acceptance table names is there |
//! | `licences` | every package may be used, and comes from the public registry |
//!
//! Each rule is a function from texts to findings, so that its own tests can plant a fault and see it found.

#[path = "tidy"]
mod rules {
    pub(crate) mod acceptance;
    pub(crate) mod arrows;
    pub(crate) mod documented;
    pub(crate) mod facts;
    pub(crate) mod layout;
    pub(crate) mod licences;
    pub(crate) mod machine;
    pub(crate) mod purity;
    pub(crate) mod tree;
    pub(crate) mod words;
}

use rules::tree::{Finding, Tree};
use rules::{acceptance, arrows, documented, layout, licences, machine, purity, words};

/// Reads the tree, applies a rule and fails with all that it finds.
fn hold(rule: impl Fn(&Tree) -> Vec<Finding>) {
    let found = rule(&Tree::of_this_repository());
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn every_package_imports_only_what_its_arrows_allow() {
    hold(arrows::check);
}

#[test]
fn the_core_has_no_clock_no_chance_no_io_and_no_threads() {
    hold(purity::check);
}

#[test]
fn whatever_is_public_says_what_it_is_for() {
    hold(documented::check);
}

#[test]
fn nothing_is_left_undone_and_no_test_sleeps() {
    hold(words::check);
}

#[test]
fn no_file_names_a_path_or_a_host_of_some_machine() {
    hold(machine::check);
}

#[test]
fn the_layout_of_the_repository_is_kept() {
    hold(layout::check);
}

#[test]
fn every_package_may_be_used_and_comes_from_the_public_registry() {
    hold(licences::check);
}

#[test]
fn every_test_that_the_acceptance_table_names_is_there() {
    hold(acceptance::check);
}
