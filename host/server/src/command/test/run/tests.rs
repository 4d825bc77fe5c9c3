use std::path::Path;
use std::time::Duration;

use oarlock_wasm::{GuestEngine, GuestSemantics, MachineLimits};

use super::*;

const COUNTER: &[u8] = include_bytes!("../../../../../../examples-wasm/dist/counter.wasm");
const QUEUE: &[u8] = include_bytes!("../../../../../../examples-wasm/dist/queue.wasm");
const COUNTER_2: &[u8] = include_bytes!("../../../../../../tests/guests/counter-2.wasm");
const FAULTY: &[u8] = include_bytes!("../../../../../../tests/guests/faulty.wasm");

fn module(bytes: &'static [u8]) -> GuestModule {
    let limits = MachineLimits {
        semantics: GuestSemantics::LATEST,
        ..MachineLimits::default()
    };
    GuestModule::load(&GuestEngine::new().expect("an engine"), bytes, &limits).expect("valid")
}

fn report(bytes: &'static [u8], from: Option<&'static [u8]>, suite: &str) -> String {
    let suite = Suite::parse(suite).expect("a valid suite");
    let from = from.map(module);
    let report = run(&module(bytes), from.as_ref(), &suite).expect("the guest starts");
    let text = report.as_text(Path::new("suite.json"), Duration::ZERO);
    assert_eq!(
        report.failed_steps() == 0,
        text.contains("passed"),
        "{text}"
    );
    assert_eq!(
        report.as_json(Path::new("s"))["ok"],
        text.contains("passed")
    );
    text
}

fn passes(bytes: &'static [u8], suite: &str) {
    let text = report(bytes, None, suite);
    assert!(text.contains("passed"), "{text}");
}

#[test]
fn replies_refusals_failures_events_and_wakes_are_as_expected() {
    passes(
        FAULTY,
        r#"{"steps": [
            {"send": {"add": {"by": 5}}, "reply": {"value": 5}, "events": []},
            {"send": {"add": {"by": 1}}, "key": "once", "reply": {"value": 6}},
            {"send": {"add": {"by": 1}}, "key": "once", "reply": {"value": 6}},
            {"send": {"add": {"by": 2}}, "key": "once", "fails": "key_reused"},
            {"send": {"refuse": {}}, "refused": "refused"},
            {"send": {"refuse": {}}, "refused": {"code": "refused"}},
            {"send": {"refuse": {}}, "refused": true},
            {"send_text": "?", "refused": "bad_command"},
            {"send": {"half": {"by": 7}}, "fails": "trap"},
            {"send": {"spin": {}}, "fails": "out_of_fuel", "fails_with": "too much work"},
            {"query": {"get": {}}, "response": {"value": 6}},
            {"query": {"get": {}}, "response_has": {}},
            {"query": {"get": {}}, "response_text": "{\"value\":6}"},
            {"query": {"trap": {}}, "fails": "trap"},
            {"send": {"emit": {"topic": "t", "payload": "p"}},
             "events": [{"topic": "t", "payload_text": "p"}]},
            {"send": {"wake_at": {"time_ms": 1577836805000}}},
            {"advance_ms": 4999},
            {"query": {"get": {}}, "response": {"value": 6}},
            {"advance_ms": 1},
            {"query": {"get": {}}, "response": {"value": 7}},
            {"send": {"draw": {"length": 8}}}
        ]}"#,
    );
}

#[test]
fn each_difference_is_shown_with_its_line() {
    let text = report(
        FAULTY,
        None,
        r#"{"steps": [
            {"send": {"add": {"by": 5}}, "reply": {"value": 6}},
            {"send": {"refuse": {}}},
            {"send": {"add": {"by": 5}}, "refused": "full"},
            {"send": {"emit": {"topic": "t", "payload": "p"}}, "events": []},
            {"send": {"trap": {}}, "fails": "out_of_memory"},
            {"send": {"add": {"by": 5}}, "deferred": "a", "completes": [{"deferred": "a"}]}
        ]}"#,
    );
    for expected in [
        "suite.json:2: step 1: send {\"add\": {\"by\": 5}}\n  outcome, on the copy: live\n  expected  reply {\"value\":6}\n  got       reply {\"value\":5}\n",
        "suite.json:3: step 2: ",
        "expected  a reply\n  got       refusal {\"error\":{\"code\":\"refused\"",
        "expected  refusal JSON with {\"error\":{\"code\":\"full\"}}\n",
        "events, on the copy: live\n  expected  none\n  got       \"t\" p\n",
        "expected  failure out_of_memory\n  got       failure trap: ",
        "expected  deferred as \"a\"\n",
        "completions, on the copy: live\n  expected  \"a\" reply anything\n  got       none\n",
    ] {
        assert!(text.contains(expected), "{expected}\n---\n{text}");
    }
}

#[test]
fn a_suite_of_the_task_queue_advances_its_leases() {
    passes(
        QUEUE,
        r#"{"steps": [
            {"query": {"stats": {}}},
            {"advance_ms": 86400000},
            {"query": {"stats": {}}}
        ]}"#,
    );
}

#[test]
fn copies_that_begin_with_an_earlier_module_are_upgraded_before_each_step() {
    let suite = r#"{"steps": [
        {"send": {"add": {"by": 5}}, "reply_has": {"value": 5}},
        {"send": {"add": {"by": 5}}, "reply_has": {"value": 10}},
        {"query": {"get": {}}, "response_has": {"value": 10}}
    ]}"#;
    let text = report(COUNTER_2, Some(COUNTER), suite);
    assert!(
        text.contains("upgraded from counter version 1 before each of the steps 1 to 3"),
        "{text}"
    );
    assert!(text.contains("passed"), "{text}");
    // It counts the additions since the upgrade.
    let all = suite.replace("\"reply_has\": {", "\"reply_has\": {\"adds\": 1, ");
    let text = report(COUNTER_2, Some(COUNTER), &all);
    assert!(text.contains("step 2"), "{text}");
    // A step that only the new module knows ends the points of the upgrade.
    let new = suite.replacen("\"by\": 5}}, ", "\"by\": 5}}, \"new\": true, ", 1);
    let text = report(COUNTER_2, Some(COUNTER), &new);
    assert!(text.contains("steps 1 to 1"), "{text}");
}

#[test]
fn a_module_that_refuses_the_earlier_state_is_reported() {
    let suite = r#"{"steps": [{"advance_ms": 1}]}"#;
    let text = report(QUEUE, Some(COUNTER), suite);
    assert!(
        text.contains("upgraded from counter version 1 before step 1") && text.contains("stopped"),
        "{text}"
    );
    let text = report(COUNTER, Some(COUNTER_2), suite);
    assert!(text.contains("stopped"), "{text}");
}
