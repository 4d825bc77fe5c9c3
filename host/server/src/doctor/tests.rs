//! Each check finds its condition, and nothing else is found in a healthy cluster.

mod healthy;
mod page;
mod planted;

use std::collections::BTreeSet;

use clap::{CommandFactory, Parser};

use super::checks::all;
use super::examine;
use super::facts::ClusterFacts;
use super::finding::FindingSeverity;
use crate::cli::Cli;
use healthy::{cluster, directory};
use planted::{PLANTED, Plant};

fn found(facts: &ClusterFacts) -> Vec<String> {
    let findings = examine(facts);
    findings
        .iter()
        .map(|finding| finding.check.to_string())
        .collect()
}

/// The facts with a condition.
fn with(plant: &Plant) -> ClusterFacts {
    let mut facts = (plant.begin)();
    (plant.change)(&mut facts);
    facts
}

#[test]
fn nothing_is_found_in_a_healthy_cluster_and_a_sound_directory() {
    for facts in [cluster(), directory(), ClusterFacts::default()] {
        assert_eq!(found(&facts), Vec::<String>::new());
    }
}

#[test]
fn each_planted_condition_is_found() {
    for plant in PLANTED {
        let found = found(&with(plant));
        assert!(
            found.iter().any(|check| check == plant.check),
            "{}: {found:?}",
            plant.check
        );
    }
}

#[test]
fn each_check_has_a_planted_condition() {
    let planted: BTreeSet<&str> = PLANTED.iter().map(|plant| plant.check).collect();
    let checks: BTreeSet<&str> = all().map(|check| check.id).collect();
    assert_eq!(planted, checks);
    assert_eq!(checks.len(), all().count(), "a name is used twice");
    assert!(checks.len() >= 25, "{}", checks.len());
}

/// A condition that brings others with it would hide which check found it.
#[test]
fn a_planted_condition_is_the_only_one_unless_it_brings_others_with_it() {
    for plant in PLANTED {
        let found: BTreeSet<String> = found(&with(plant)).into_iter().collect();
        let mut wanted: BTreeSet<String> = plant.with.iter().map(|&check| check.into()).collect();
        wanted.insert(plant.check.to_owned());
        assert_eq!(found, wanted, "{}", plant.check);
    }
}

#[test]
fn every_command_of_a_remedy_is_one_that_oarlock_has() {
    let mut commands = 0;
    for plant in PLANTED {
        for finding in examine(&with(plant)) {
            for command in &finding.commands {
                let arguments = shlex::split(command).expect("quoted as in a shell");
                if let Err(error) = Cli::try_parse_from(arguments) {
                    panic!("{}: {command}: {error}", finding.check);
                }
                commands += 1;
            }
        }
    }
    assert!(commands > 30, "{commands}");
}

/// The long flags of a command and of those below it.
fn flags(command: &clap::Command, into: &mut BTreeSet<String>) {
    let own = command.get_arguments().filter_map(clap::Arg::get_long);
    into.extend(own.map(|flag| format!("--{flag}")));
    command
        .get_subcommands()
        .for_each(|command| flags(command, into));
}

#[test]
fn every_flag_and_command_in_a_text_exists() {
    let definition = Cli::command();
    let mut known = BTreeSet::new();
    flags(&definition, &mut known);
    let names: BTreeSet<&str> = definition
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    for check in all() {
        for text in [check.condition, check.why, check.remedy] {
            // Every second part is between backticks.
            for code in text.split('`').skip(1).step_by(2) {
                let mut words = code.split(' ');
                match words.next() {
                    Some(flag) if flag.starts_with("--") => {
                        assert!(known.contains(flag), "{}: {flag}", check.id);
                    }
                    Some("oarlock") => {
                        let name = words.next().unwrap_or_default();
                        assert!(names.contains(name), "{}: {name}", check.id);
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn the_most_urgent_findings_come_first() {
    let mut facts = cluster();
    for name in ["no-backup", "node-unreachable", "disk-full"] {
        let plant = PLANTED.iter().find(|plant| plant.check == name);
        (plant.expect("planted").change)(&mut facts);
    }
    let severities: Vec<_> = examine(&facts)
        .iter()
        .map(|finding| finding.severity)
        .collect();
    let mut sorted = severities.clone();
    sorted.sort_by_key(|severity| std::cmp::Reverse(*severity));
    assert_eq!(severities, sorted);
    assert_eq!(severities.first(), Some(&FindingSeverity::Critical));
    assert_eq!(severities.last(), Some(&FindingSeverity::Notice));
}

#[test]
fn a_node_alone_does_not_tell_that_the_others_do_not_run() {
    let mut facts = cluster();
    facts.nodes.truncate(1);
    assert_eq!(found(&facts), Vec::<String>::new());
}
