//! A live, a restored and a replayed copy of each example guest are the same; `--bin identity` runs a million commands.

use oarlock_tests::identity::{self, Guest, Language, Plan, Report};
use oarlock_tests::process::guest;

const COMMANDS: u64 = 4000;

fn example(name: &str, language: Language) -> Guest {
    Guest {
        name: name.to_owned(),
        language,
        path: guest(name),
    }
}

fn run(name: &str, language: Language) -> Report {
    let plan = Plan {
        commands: COMMANDS,
        seed: 7,
    };
    let report = identity::run(&example(name, language), &plan);
    let report = report.unwrap_or_else(|difference| panic!("{difference}"));
    println!("{report:?}");
    assert_eq!(report.commands, COMMANDS);
    assert!(report.accepted > COMMANDS / 10 && report.refused > COMMANDS / 20);
    assert!(report.others > 0, "no key was spent on other bytes");
    assert!(report.restores > 5 && report.snapshots >= 2);
    assert_eq!(
        report.replayed, report.entries,
        "all of the log was replayed"
    );
    report
}

#[test]
fn three_copies_of_the_counter_are_the_same() {
    run("counter", Language::Counter);
}

#[test]
fn three_copies_of_the_key_value_store_are_the_same() {
    run("kv", Language::Kv);
}

#[test]
fn three_copies_of_the_queue_are_the_same() {
    let report = run("queue", Language::Queue);
    assert!(report.wake_ups > 10, "{report:?}");
}
