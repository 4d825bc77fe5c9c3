use bytes::Bytes;
use oarlock_wasm::{Envelope, GuestEngine};
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use super::*;
use crate::identity::Language;
use crate::process::guest;

fn copies() -> Copies {
    let path = guest("counter");
    let bytes = Bytes::from(std::fs::read(&path).expect("a module"));
    let engine = GuestEngine::new().expect("an engine");
    let limits = MachineLimits::default();
    let module = GuestModule::load(&engine, bytes, &limits).expect("a guest");
    let counter = Guest {
        name: "counter".to_owned(),
        language: Language::Counter,
        path,
    };
    let plan = Plan {
        commands: 0,
        seed: 1,
    };
    Copies::new(&counter, &plan, module, limits).expect("it starts")
}

fn entry(index: u64, command: &str) -> Entry {
    Entry {
        at: Moment {
            index: Index(index),
            time_ms: index,
        },
        commands: vec![Envelope::command(None, command.as_bytes()).expect("short")],
        wakes: false,
    }
}

fn add(by: i64) -> String {
    format!(r#"{{"add":{{"by":{by}}}}}"#)
}

fn difference(result: Result<&[CommandOutcome], Difference>) -> String {
    match result {
        Err(difference @ Difference::Differ { .. }) => difference.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn copies_of_one_state_go_on_alike() {
    let mut copies = copies();
    for index in 1..=20 {
        copies.apply(entry(index, &add(5))).expect("the same");
    }
    let report = copies.end().expect("the same");
    assert_eq!((report.commands, report.accepted), (20, 20));
    assert_eq!(report.replayed, 20);
}

#[test]
fn another_reply_is_found() {
    let mut copies = copies();
    let (one, two) = (entry(1, &add(5)), entry(1, &add(6)));
    copies.live.apply(one.at, &one.commands).expect("a sum");
    copies.restored.apply(two.at, &two.commands).expect("a sum");
    let text = difference(copies.apply(entry(2, &add(1))));
    assert!(
        text.contains("restored") && text.contains("the outcomes"),
        "{text}"
    );
}

#[test]
fn another_hash_is_found_where_the_replies_are_the_same() {
    let mut copies = copies();
    let (one, two) = (entry(1, &add(5)), entry(1, &add(6)));
    copies.live.apply(one.at, &one.commands).expect("a sum");
    copies.restored.apply(two.at, &two.commands).expect("a sum");
    let text = difference(copies.apply(entry(2, "no command")));
    assert!(text.contains("the hash"), "{text}");
}

#[test]
fn a_log_that_leads_elsewhere_is_found() {
    let mut copies = copies();
    copies.apply(entry(1, &add(5))).expect("the same");
    // The disk holds another command than was applied.
    copies.log[0].0 = entry(1, &add(6));
    let text = match copies.end() {
        Err(difference @ Difference::Differ { .. }) => difference.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(text.contains("replayed"), "{text}");
}
