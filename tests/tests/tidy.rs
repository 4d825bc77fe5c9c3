//! The rules of the tree: each reads the sources and prints where a rule is broken and what to do.
//!
//! | rule | checks |
//! |---|---|
//! | `imports` | which package may import which |
//! | `cycles` | no files of a package import each other in a circle |
//! | `type_names` | no two shared types have the same name |
//! | `builders` | a setter of a builder takes one value, not a struct with defaults of its own |
//! | `purity` | the consensus core has no clock, randomness, IO or threads |
//! | `waits` | no test is switched off, and no test sleeps |
//! | `language` | the vocabulary of the old private language is rare |
//! | `advice` | no text advises to empty, restore or exchange a data directory |
//! | `machine_paths` | no path and no registry of the machine that a file was written on |
//! | `layout` | the top level, the length of files, the numbers of decisions, links |
//! | `documents` | every command that a page shows, or its equivalent, is run by a test |
//! | `acceptance` | each test that the acceptance table names exists |
//!
//! A rule is a function from texts to findings. Its own tests plant a fault and expect the finding.

#[path = "tidy"]
mod rules {
    pub(crate) mod acceptance;
    pub(crate) mod advice;
    pub(crate) mod builders;
    pub(crate) mod cycles;
    pub(crate) mod documents;
    pub(crate) mod facts;
    pub(crate) mod imports;
    pub(crate) mod language;
    pub(crate) mod layout;
    pub(crate) mod machine_paths;
    pub(crate) mod purity;
    pub(crate) mod tree;
    pub(crate) mod type_names;
    pub(crate) mod waits;
}

use oarlock_tests::docs::NotRun;
use rules::tree::{Finding, Tree};
use rules::{
    acceptance, advice, builders, cycles, documents, imports, language, layout, machine_paths,
    purity, type_names, waits,
};

/// Reads the tree, applies a rule and fails with all findings.
fn hold(rule: impl Fn(&Tree) -> Vec<Finding>) {
    let found = rule(&Tree::of_this_repository());
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn every_package_imports_only_what_the_import_table_allows() {
    hold(imports::check);
}

#[test]
fn no_setter_of_a_builder_takes_a_struct_with_defaults_of_its_own() {
    hold(builders::check);
}

#[test]
fn the_core_has_no_clock_no_randomness_no_io_and_no_threads() {
    hold(purity::check);
}

#[test]
fn no_test_is_switched_off_and_no_test_sleeps() {
    hold(waits::check);
}

#[test]
fn no_text_advises_what_can_lose_data() {
    hold(advice::check);
}

#[test]
fn no_file_names_a_path_or_a_registry_of_one_machine() {
    hold(machine_paths::check);
}

#[test]
fn the_layout_of_the_repository_is_kept() {
    hold(layout::check);
}

#[test]
fn every_test_that_the_acceptance_table_names_exists() {
    hold(acceptance::check);
}

#[test]
fn every_command_that_a_page_shows_is_run() {
    hold(documents::check);
}

#[test]
fn every_command_that_is_not_run_has_a_test_of_its_equivalent() {
    hold(|tree| documents::check_not_run(tree, &NotRun::ALL));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    hold(cycles::check);
}

#[test]
fn every_shared_type_has_a_name_of_its_own() {
    hold(type_names::check);
}

#[test]
fn the_old_vocabulary_is_rare() {
    hold(language::check);
}
