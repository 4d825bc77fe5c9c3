use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::json_text::JsonText;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    Add { by: i64, note: Option<String> },
    Reserve { queues: Vec<String>, lease_ms: u64 },
    Place { at: Point, payload: JsonText },
    Mode { to: Mode },
    Stop {},
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Point {
    x: u32,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Slow,
    Fast,
}

fn refusal_of(text: &str) -> Refusal {
    decode::<Command>(MessageKind::Command, text.as_bytes()).unwrap_err()
}

#[track_caller]
fn assert_blames(text: &str, field: &str, expected: &str) {
    let refusal = refusal_of(text);
    assert_eq!(refusal.code(), "bad_command");
    assert_eq!(refusal.named_field(), Some(field), "{text}: {refusal}");
    assert!(
        refusal.message().contains(expected),
        "{refusal} does not contain {expected:?}"
    );
}

#[track_caller]
fn assert_blames_no_field(text: &str, expected: &str) {
    let refusal = refusal_of(text);
    assert_eq!(refusal.code(), "bad_command");
    assert_eq!(refusal.named_field(), None, "{text}: {refusal}");
    assert!(
        refusal.message().contains(expected),
        "{refusal} does not contain {expected:?}"
    );
}

#[test]
fn a_missing_field_is_named() {
    assert_blames(r#"{"add":{}}"#, "by", "command `add`: missing field `by`");
    assert_blames(
        r#"{"place":{"at":{},"payload":1}}"#,
        "at.x",
        "missing field `x`",
    );
}

#[test]
fn a_wrong_type_is_named_with_its_path() {
    assert_blames(
        r#"{"add":{"by":"5"}}"#,
        "by",
        "command `add`: `by`: invalid type: string \"5\", expected i64",
    );
    assert_blames(
        r#"{"add":{"by":5.0}}"#,
        "by",
        "invalid type: floating point",
    );
    assert_blames(r#"{"add":{"by":null}}"#, "by", "invalid type: null");
    assert_blames(
        r#"{"add":{"by":18446744073709551615}}"#,
        "by",
        "invalid value",
    );
    assert_blames(
        r#"{"add":{"by":1,"note":7}}"#,
        "note",
        "invalid type: integer `7`",
    );
    assert_blames(
        r#"{"reserve":{"queues":["a",2],"lease_ms":1}}"#,
        "queues[1]",
        "expected a string",
    );
    assert_blames(
        r#"{"place":{"at":{"x":-1},"payload":1}}"#,
        "at.x",
        "integer `-1`, expected u32",
    );
}

#[test]
fn a_negative_number_in_an_unsigned_field_is_named() {
    assert_blames(
        r#"{"reserve":{"queues":[],"lease_ms":-5}}"#,
        "lease_ms",
        "integer `-5`, expected u64",
    );
}

#[test]
fn an_unknown_or_repeated_field_is_named() {
    assert_blames(
        r#"{"add":{"by":1,"bye":2}}"#,
        "bye",
        "unknown field `bye`, expected `by` or `note`",
    );
    assert_blames(
        r#"{"place":{"at":{"x":1,"y":2},"payload":1}}"#,
        "at.y",
        "unknown field `y`",
    );
    assert_blames(r#"{"stop":{"now":true}}"#, "now", "unknown field `now`");
    assert_blames(r#"{"add":{"by":1,"by":2}}"#, "by", "duplicate field `by`");
}

#[test]
fn an_unknown_command_is_named() {
    assert_blames(
        r#"{"subtract":{"by":1}}"#,
        "subtract",
        "there is no command `subtract`, expected one of `add`, `reserve`",
    );
    assert_blames(
        r#""subtract""#,
        "subtract",
        "there is no command `subtract`",
    );
    let refusal = decode::<Command>(MessageKind::Query, br#"{"see":{}}"#).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.named_field()),
        ("bad_query", Some("see"))
    );
}

#[test]
fn an_unknown_variant_inside_a_command_blames_its_field() {
    assert_blames(
        r#"{"mode":{"to":"medium"}}"#,
        "to",
        "unknown variant `medium`, expected `slow` or `fast`",
    );
}

#[test]
fn a_command_that_is_not_an_object_is_refused() {
    for text in ["null", "5", "[]", "{}"] {
        assert_blames_no_field(text, "the command has the wrong shape");
    }
    for text in [r#"{"add":null}"#, r#"{"add":5}"#, r#""add""#] {
        assert_blames_no_field(text, "command `add`: ");
    }
}

#[test]
fn two_commands_in_one_message_are_refused() {
    assert_blames_no_field(
        r#"{"add":{"by":1},"stop":{}}"#,
        "send an object whose one key is its name",
    );
}

#[test]
fn text_that_is_not_json_is_refused() {
    for text in [
        "",
        "hello",
        r#"{"add":{"by":1}"#,
        r#"{"add":{"by":1}} x"#,
        "{\"add\":{\"by\":1}}}",
        "\u{feff}{}",
    ] {
        assert_blames_no_field(text, "the command is not JSON: ");
    }
    let refusal = decode::<Command>(
        MessageKind::Command,
        b"{\"add\":{\"note\":\"\xff\",\"by\":1}}",
    )
    .unwrap_err();
    assert_eq!(refusal.code(), "bad_command");
}

#[test]
fn a_long_text_of_a_client_is_cut_in_the_refusal() {
    let name = "ü".repeat(5000);
    for text in [
        format!("{{\"{name}\":{{}}}}"),
        format!("{{\"add\":{{\"{name}\":1}}}}"),
        format!("{{\"add\":{{\"by\":\"{name}\"}}}}"),
    ] {
        let refusal = refusal_of(&text);
        assert!(
            refusal.to_json().len() < 700,
            "{} bytes",
            refusal.to_json().len()
        );
    }
}

#[test]
fn the_place_is_found_behind_lines_escapes_and_nested_values() {
    assert_blames(
        "{\n \"place\": {\n  \"payload\": [\"}\\\"{\", {\"x\": [1, 2]}],\n  \"at\": {\"x\": \"é\"}\n }\n}",
        "at.x",
        "command `place`: `at.x`: invalid type: string \"é\", expected u32",
    );
    assert_blames(
        r#"{"reserve":{"queues":["a","b\\","c",[]],"lease_ms":1}}"#,
        "queues[3]",
        "invalid type: sequence, expected a string",
    );
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert_blames(
        &format!(r#"{{"place":{{"payload":{deep},"at":{{"x":true}}}}}}"#),
        "at.x",
        "invalid type: boolean",
    );
}

#[test]
fn a_command_that_is_a_struct_has_no_name() {
    let refusal = decode::<Point>(MessageKind::Command, br#"{"x":[1]}"#).unwrap_err();
    assert_eq!(refusal.named_field(), Some("x"));
    assert!(
        refusal
            .message()
            .starts_with("the command has the wrong shape: `x`: invalid type: sequence"),
        "{refusal}"
    );
    let refusal = decode::<Point>(MessageKind::Command, br#"{"y":1}"#).unwrap_err();
    assert_eq!(refusal.named_field(), Some("y"));
}

#[test]
fn json_text_inside_a_command_keeps_its_bytes() {
    let payload = r#"{"z": 1.50, "a": [1e400, "é\u00e9"],  "z":null}"#;
    let text = format!(r#"{{"place":{{"at":{{"x":1}},"payload":{payload}}}}}"#);
    let Command::Place { payload: kept, .. } =
        decode(MessageKind::Command, text.as_bytes()).unwrap()
    else {
        panic!("not a place");
    };
    assert_eq!(kept.as_str(), payload);
    assert_eq!(serde_json::to_string(&kept).unwrap(), payload);
    assert_eq!(
        postcard::from_bytes::<JsonText>(&postcard::to_allocvec(&kept).unwrap()).unwrap(),
        kept
    );
}

#[test]
fn a_refusal_has_the_json_shape_of_host_errors() {
    let value: Value = serde_json::from_str(&refusal_of(r#"{"add":{}}"#).to_json()).unwrap();
    assert_eq!(
        value,
        json!({"error": {"code": "bad_command", "message": "command `add`: missing field `by`", "field": "by"}})
    );
}
