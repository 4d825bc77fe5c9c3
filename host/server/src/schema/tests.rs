use serde_json::{Value, json};

use super::*;

/// A document with one command `put`, whose arguments and reply are given.
fn with(arguments: &Value, reply: &Value) -> Value {
    json!({
        "title": "kv",
        "properties": {
            "command": {"properties": {"put": arguments}},
            "reply": {"properties": {"put": reply}},
        },
        "$defs": {
            "Item": {"description": "One.", "type": "object", "properties": {"next": {"$ref": "#/$defs/Item"}, "id": {"type": "integer", "format": "uint64", "minimum": 0}}, "required": ["id"]},
            "Stage": {"oneOf": [{"const": "ready"}, {"type": "string", "enum": ["dead"]}]},
        },
    })
}

fn parsed(document: &Value) -> GuestMessages {
    parse(&document.to_string()).expect("a valid schema")
}

/// The type of the reply.
fn reply(schema: &Value) -> DataType {
    parsed(&with(&json!({"type": "null"}), schema)).commands[0]
        .result
        .clone()
}

#[track_caller]
fn assert_fault(document: &Value, expected: &str) {
    let fault = parse(&document.to_string())
        .expect_err("not valid")
        .to_string();
    assert!(
        fault.contains(expected),
        "{fault:?} does not contain {expected:?}"
    );
}

#[test]
fn the_schemas_of_the_examples_are_valid() {
    for (text, commands, queries) in [
        (
            include_str!("../../../../examples-wasm/counter/src/schema.json"),
            &["add"][..],
            &["get"][..],
        ),
        (
            include_str!("../../../../examples-wasm/kv/src/schema.json"),
            &["cas", "delete", "put"],
            &["get"],
        ),
        (
            include_str!("../../../../examples-wasm/queue/src/schema.json"),
            &[
                "ack",
                "add_ticks",
                "batch",
                "cancel",
                "close_group",
                "configure",
                "configure_key",
                "delete_queue",
                "delete_schedule",
                "end_waits",
                "enqueue",
                "extend",
                "nack",
                "open_group",
                "pause",
                "pause_schedule",
                "purge",
                "redrive",
                "release",
                "reserve",
                "resume",
                "set_schedule",
                "wait_for",
            ],
            &[
                "group",
                "keys",
                "list",
                "schedules",
                "stats",
                "stuck",
                "task",
                "workers",
            ],
        ),
        (
            include_str!("../../../../examples-wasm/lock/src/schema.json"),
            &["acquire", "release", "renew"],
            &["get"],
        ),
    ] {
        let messages = parse(text).expect("valid");
        let names = |pairs: &[MessagePair]| {
            pairs
                .iter()
                .map(|pair| pair.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (names(&messages.commands), names(&messages.queries)),
            (
                commands.iter().map(|&name| name.to_owned()).collect(),
                queries.iter().map(|&name| name.to_owned()).collect()
            )
        );
        assert!(messages.refusal_codes.contains(&"bad_command".to_owned()));
    }
}

#[test]
fn an_object_gets_a_name_from_its_place() {
    let arguments = json!({
        "type": "object",
        "description": "Adds items.",
        "properties": {"items": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "boolean"}}}}},
        "required": ["items"],
    });
    let messages = parsed(&with(&arguments, &json!({"$ref": "#/$defs/Item"})));
    let put = &messages.commands[0];
    assert_eq!(put.description, "Adds items.");
    let fields = messages.fields(&put.arguments).expect("an object");
    assert_eq!(
        (fields[0].name.as_str(), fields[0].is_required),
        ("items", true)
    );
    let names: Vec<&str> = messages
        .types
        .iter()
        .map(|named| named.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["Item", "Stage", "put Arguments items item", "put Arguments"]
    );
    let item = messages.fields(&put.result).expect("an object");
    assert!(
        !item[1].is_required,
        "it refers to its own type, and may be left out"
    );
    assert_eq!(item[1].data_type, put.result);
}

#[test]
fn every_kind_of_type_is_understood() {
    let wide = DataType::Integer {
        is_wide: true,
        is_signed: false,
    };
    let optional = |one| DataType::OneOf(vec![one, DataType::Null]);
    for (schema, expected) in [
        (json!(true), DataType::Any),
        (json!({}), DataType::Any),
        (json!({"type": "null"}), DataType::Null),
        (json!({"type": "boolean"}), DataType::Bool),
        (
            json!({"type": "number", "format": "double"}),
            DataType::Number,
        ),
        (
            json!({"type": ["string", "null"]}),
            optional(DataType::Text),
        ),
        (
            json!({"type": "integer", "format": "uint64", "minimum": 0}),
            wide.clone(),
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            DataType::Integer {
                is_wide: false,
                is_signed: true,
            },
        ),
        (
            json!({"enum": ["a", "b", "a"]}),
            DataType::Literals(vec!["a".to_owned(), "b".to_owned()]),
        ),
        (json!({"enum": [1, 2]}), DataType::Any),
        (
            json!({"enum": ["a", null]}),
            optional(DataType::Literals(vec!["a".to_owned()])),
        ),
        (json!({"$ref": "#/$defs/Stage"}), DataType::Named(1)),
        (
            json!({"anyOf": [{"$ref": "#/$defs/Item"}, {"type": "null"}]}),
            optional(DataType::Named(0)),
        ),
        (json!({"anyOf": [{"type": "string"}, true]}), DataType::Any),
        (json!({"allOf": [{"type": "string"}]}), DataType::Text),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            DataType::List(Box::new(DataType::Text)),
        ),
        (
            json!({"type": "array"}),
            DataType::List(Box::new(DataType::Any)),
        ),
        (
            json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}]}),
            DataType::Tuple(vec![DataType::Text, DataType::Bool]),
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "integer", "format": "uint64", "minimum": 0}}),
            DataType::Map(Box::new(wide)),
        ),
    ] {
        assert_eq!(reply(&schema), expected, "{schema}");
    }
    let stage = &parsed(&with(&json!({}), &json!({}))).types[1];
    let texts = ["ready", "dead"].map(str::to_owned);
    assert_eq!(stage.shape, DataType::Literals(texts.to_vec()));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let null = json!({"type": "null"});
    assert_fault(&json!([]), "`$` is not an object");
    assert_fault(&json!({"properties": {}}), "`title` is not a text");
    assert_fault(&json!({"title": "x"}), "`properties` is not an object");
    let mut document = with(&null, &null);
    document["properties"]["reply"] = json!({});
    assert_fault(&document, "`properties.reply` has no type for \"put\"");
    document["properties"]["reply"] = json!({"properties": {"put": null, "pat": null}});
    assert_fault(&document, "has a type for \"pat\", which does not exist");
    assert_fault(
        &with(&json!({"$ref": "#/$defs/Gone"}), &null),
        "refers to \"#/$defs/Gone\"",
    );
    assert_fault(
        &with(&json!({"$ref": "other.json"}), &null),
        "`properties.command.properties.put` refers to",
    );
    assert_fault(
        &with(&json!({"type": "float"}), &null),
        "put.type` is not a type of JSON Schema",
    );
    assert_fault(&with(&json!(5), &null), "is not a schema");
    assert_fault(
        &with(&json!({"anyOf": {}}), &null),
        "put.anyOf` is not a list",
    );
    let mut document = with(&null, &null);
    document["$defs"]["A"] = json!({"anyOf": [{"$ref": "#/$defs/B"}, {"type": "null"}]});
    document["$defs"]["B"] = json!({"$ref": "#/$defs/A"});
    assert_fault(&document, "`$defs.A` refers to itself");
    assert!(parse("{").is_err_and(|fault| fault.to_string().starts_with("it is not JSON")));
}

#[test]
fn everything_is_limited() {
    let null = json!({"type": "null"});
    let mut deep = null.clone();
    for _ in 0..40 {
        deep = json!({"type": "array", "items": deep});
    }
    assert_fault(&with(&deep, &null), "is nested deeper than 32 types");
    let fields: serde_json::Map<String, Value> = (0..1001)
        .map(|at| (format!("f{at}"), json!(true)))
        .collect();
    assert_fault(
        &with(&json!({"type": "object", "properties": fields}), &null),
        "has 1001 members",
    );
    let long = json!({"type": "object", "properties": {"x".repeat(201): true}});
    assert_fault(&with(&long, &null), "has a name of more than 200 bytes");
    let text = format!("\"{}\"", "x".repeat(1 << 20));
    assert!(matches!(parse(&text), Err(SchemaFault::TooLarge { .. })));
    // Each level is parsed once, so that nested lists of types take no exponential time.
    let mut wide = null.clone();
    for _ in 0..20 {
        wide = json!({"type": ["object", "array", "object"], "properties": {"a": wide}, "items": true});
    }
    parsed(&with(&wide, &null));
}

#[test]
fn a_choice_between_objects_with_one_field_is_one_object() {
    let choice = |name: &str, kind: &str| json!({"type": "object", "description": name, "properties": {name: {"type": kind}}, "required": [name]});
    let messages = parsed(&with(
        &json!({"type": "null"}),
        &json!({"anyOf": [choice("granted", "string"), choice("timed_out", "boolean")]}),
    ));
    let fields = messages.fields(&messages.commands[0].result);
    let fields = fields.expect("an object");
    let field = |name: &str, data_type| TypeField {
        name: name.to_owned(),
        description: name.to_owned(),
        data_type,
        is_required: false,
    };
    assert_eq!(
        fields,
        [
            field("granted", DataType::Text),
            field("timed_out", DataType::Bool)
        ]
    );
    for other in [choice("granted", "boolean"), json!({"type": "string"})] {
        let kept = reply(&json!({"anyOf": [choice("granted", "string"), other]}));
        assert!(matches!(kept, DataType::OneOf(_)), "{kept:?}");
    }
}
