use super::*;

fn error(text: &str) -> String {
    Suite::parse(text).expect_err(text)
}

#[test]
fn a_step_knows_its_line_and_its_command_as_it_was_written() {
    let text = "{\n  \"steps\": [\n    {\"send\": {\"add\": {\"by\": 9007199254740993}}, \"reply\": null},\n\n    {\"advance_ms\": 5}\n  ]\n}\n";
    let suite = Suite::parse(text).expect("valid");
    let lines: Vec<usize> = suite.steps.iter().map(|step| step.line).collect();
    assert_eq!(lines, [3, 5]);
    let StepAction::Send {
        body, key: None, ..
    } = &suite.steps[0].action
    else {
        panic!("{:?}", suite.steps[0].action);
    };
    assert_eq!(body, r#"{"add": {"by": 9007199254740993}}"#);
    assert!(matches!(
        suite.steps[0].expected.outcome,
        Some(ExpectedOutcome::Accepted(Matcher::Exact(Value::Null)))
    ));
    assert_eq!(suite.steps[1].shown, "advance 5 ms");
}

#[test]
fn a_command_may_be_any_json_or_text() {
    let suite = Suite::parse(r#"{"steps":[{"send":null},{"send_text":"}"},{"query_text":"q"}]}"#);
    let suite = suite.expect("valid");
    assert!(matches!(&suite.steps[0].action, StepAction::Send { body, .. } if body == "null"));
    assert!(matches!(&suite.steps[1].action, StepAction::Send { body, .. } if body == "}"));
    assert!(matches!(&suite.steps[2].action, StepAction::Query(query) if query.request == "q"));
}

#[test]
fn an_invalid_suite_is_refused_with_the_line() {
    for (step, named) in [
        (r#"{"sent": {}}"#, "sent"),
        (r#"{}"#, "exactly one"),
        (r#"{"send": {}, "advance_ms": 1}"#, "exactly one"),
        (r#"{"query": {}, "key": "k"}"#, "`key`"),
        (r#"{"send": {}, "key": ""}"#, "`key`"),
        (
            r#"{"advance_ms": 1, "caller": {"name": "ann"}}"#,
            "`caller`",
        ),
        (r#"{"send": {}, "caller": {"name": ""}}"#, "0 bytes"),
        (r#"{"query": {}, "caller": {"names": "a"}}"#, "names"),
        (r#"{"send": {}, "reply": 1, "refused": "x"}"#, "keep one"),
        (r#"{"send": {}, "reply": 1, "reply_has": 1}"#, "keep one"),
        (r#"{"send": {}, "refused": 5}"#, "a code"),
        (r#"{"advance_ms": 1, "reply": 1}"#, "no reply"),
        (r#"{"advance_ms": -1}"#, "-1"),
        (r#"{"query": {}, "deferred": "a"}"#, "deferred"),
        (r#"{"advance_ms": 1, "events": [{"payload": 1}]}"#, "topic"),
        (
            r#"{"advance_ms": 1, "completes": [{"deferred": "a", "reply": 1, "refused": "b"}]}"#,
            "keep one",
        ),
    ] {
        let text = format!("{{\"steps\": [\n{{\"advance_ms\": 0}},\n{step}\n]}}");
        let error = error(&text);
        assert!(
            error.starts_with("3: ") && error.contains(named),
            "{step}: {error}"
        );
    }
    assert!(error("{\"steps\": []}").contains("0 steps"));
    assert!(error("{\"steps\": [\n}").starts_with("2: "));
    assert!(error("").starts_with("1: "));
}

#[test]
fn a_long_step_is_cut_in_reports() {
    let text = format!("{{\"steps\":[{{\"send\":\"{}\"}}]}}", "ä".repeat(1000));
    let suite = Suite::parse(&text).expect("valid");
    assert_eq!(suite.steps[0].shown.chars().count(), SHOWN_CHARS + 1);
}

#[test]
fn a_command_and_a_query_may_have_a_caller() {
    let text = r#"{"steps":[{"send":1,"caller":{"name":"ann","scopes":{"queues":["a"]}}},{"query":1,"caller":{"name":"bob"}}]}"#;
    let suite = Suite::parse(text).expect("valid");
    let StepAction::Send {
        caller: Some(ann), ..
    } = &suite.steps[0].action
    else {
        panic!("{:?}", suite.steps[0].action);
    };
    assert_eq!(ann.name(), "ann");
    assert!(ann.scopes()["queues"].contains("a"));
    let StepAction::Query(query) = &suite.steps[1].action else {
        panic!("{:?}", suite.steps[1].action);
    };
    let bob = query.caller.as_ref().expect("a caller");
    assert!(bob.name() == "bob" && bob.scopes().is_empty());
}
