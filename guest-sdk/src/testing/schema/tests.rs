use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::{Apply, Read, Refusal, StateMachine, state_machine};

/// The state does not matter here.
#[derive(Default, Serialize, Deserialize)]
struct Shelf;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "only the types matter")]
enum Command {
    /// Puts a book.
    Put {
        book: Book,
        at: Option<u64>,
    },
    /// Lends a book.
    Lend(Loan),
    Clear,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only the types matter")]
struct Loan {
    title: String,
    #[serde(default)]
    days: u32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Book {
    title: String,
    #[serde(default)]
    pages: u32,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only the types matter")]
enum Reply {
    #[schemars(extend("x-for" = ["put", "clear"]))]
    Number { books: u64 },
    #[schemars(extend("x-for" = ["lend"]))]
    Lent { book: Book },
    #[schemars(extend("x-for" = ["lend"]))]
    Missing { missing: bool },
}

#[state_machine(name = "shelf", version = 1)]
impl StateMachine for Shelf {
    type Command = Command;
    type Reply = Reply;
    type Query = ();
    type Response = ();
    type Refusal = Refusal;

    fn apply(&mut self, _: &mut Apply<'_>, _: Command) -> Result<Reply, Refusal> {
        Ok(Reply::Number { books: 0 })
    }

    fn query(&self, _: &Read<'_>, (): ()) -> Result<(), Refusal> {
        Ok(())
    }
}

fn document() -> Value {
    let schema = MessageSchema::<Shelf>::derived().refusals(["full"]);
    serde_json::from_str(&schema.json()).expect("JSON")
}

#[test]
fn every_command_has_its_arguments_and_its_reply() {
    let document = document();
    let of = |path: &str| document.pointer(path).unwrap_or(&Value::Null).clone();
    assert_eq!(of("/title"), "shelf");
    let put = of("/properties/command/properties/put");
    assert_eq!(put["description"], "Puts a book.");
    assert_eq!(
        put["required"],
        json!(["book"]),
        "an optional field is not required"
    );
    let lend = of("/properties/command/properties/lend");
    assert_eq!(
        lend,
        json!({"$ref": "#/$defs/Loan", "description": "Lends a book."})
    );
    assert_eq!(
        of("/properties/command/properties/clear"),
        json!({"type": "null"})
    );
    assert_eq!(of("/properties/query/properties"), json!({}));
    let number = of("/properties/reply/properties/put");
    assert_eq!(number["properties"]["books"]["format"], "uint64");
    assert_eq!(number.get("x-for"), None);
    assert_eq!(of("/properties/reply/properties/clear"), number);
    let lent = of("/properties/reply/properties/lend/anyOf");
    assert_eq!(lent.as_array().map(Vec::len), Some(2));
    assert_eq!(
        of("/properties/refusal/properties/error/properties/code/enum"),
        json!(["bad_command", "bad_query", "full"])
    );
}

#[test]
fn a_type_that_is_read_with_other_fields_than_it_is_written_has_two_names() {
    let document = document();
    let named = document["$defs"].as_object().expect("an object");
    let names: Vec<&String> = named.keys().collect();
    assert_eq!(
        names,
        ["Book", "BookWritten", "Loan"],
        "no enum of all messages is kept"
    );
    assert_eq!(named["Book"]["required"], json!(["title"]));
    assert_eq!(named["BookWritten"]["required"], json!(["title", "pages"]));
}

/// Schemas of types that do not fit, and the error.
#[test]
fn types_that_do_not_fit_are_refused() {
    let requests = |schema: Value| messages::requests("Command", &schema, &serde_json::Map::new());
    for wrong in [
        json!({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a", "b"]}),
        json!({"type": "object", "properties": {"a": {}}}),
        json!({"type": "integer"}),
        json!({"oneOf": [{"type": "string", "const": "a"}, {"type": "integer"}]}),
    ] {
        let error = requests(wrong).expect_err("it does not fit");
        assert!(
            error.to_string().starts_with("`Command` is not an enum"),
            "{error}"
        );
    }
    let put = requests(json!({"type": "string", "const": "put"})).expect("a command");
    let results = |schema: Value| {
        let of = messages::results("Reply", &schema, &put, &serde_json::Map::new());
        of.expect_err("it does not fit").to_string()
    };
    let marked = |names: Value| json!({"type": "null", "x-for": names});
    assert!(results(json!({"anyOf": [marked(json!(["pat"]))]})).contains("names \"pat\""));
    assert!(results(json!({"anyOf": [marked(json!([]))]})).contains("belongs to \"put\""));
    assert!(results(json!({"anyOf": [marked(json!("put"))]})).contains("not a list of names"));
    let mixed = json!({"anyOf": [marked(json!(["put"])), {"type": "null"}]});
    assert!(results(mixed).contains("has no `x-for`"));
}

#[test]
fn a_schema_that_is_not_current_is_written_and_fails() {
    let folder = std::env::temp_dir().join(format!("oarlock-schema-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("schema.json");
    let schema = MessageSchema::<Shelf>::derived();
    let check = || {
        let checked = std::panic::catch_unwind(|| schema.assert_is_current(&path));
        *checked
            .expect_err("the guest has no schema")
            .downcast::<String>()
            .expect("a text")
    };
    assert!(check().contains("has been written"));
    assert_eq!(fs::read_to_string(&path).expect("written"), schema.json());
    assert!(check().contains("does not contain it"));
    fs::remove_dir_all(&folder).expect("ours");
}
