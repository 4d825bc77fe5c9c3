use clap::ValueEnum;
use serde_json::{Value, json};

use super::names::{Identifiers, camel, comment, literal, pascal, snake};
use super::*;

const COUNTER: &str = include_str!("../../../../../examples-wasm/counter/src/schema.json");
const KV: &str = include_str!("../../../../../examples-wasm/kv/src/schema.json");
const LOCK: &str = include_str!("../../../../../examples-wasm/lock/src/schema.json");
const QUEUE: &str = include_str!("../../../../../examples-wasm/queue/src/schema.json");

fn generated(language: ClientLanguage, schema: &str) -> String {
    generate(language, &schema::parse(schema).expect("a valid schema"))
}

#[test]
fn a_client_has_a_method_for_each_command_and_query() {
    let python = generated(ClientLanguage::Python, KV);
    assert!(python.contains("class KvClient:"), "{python}");
    assert!(
        python.contains(
            "    def cas(self, *, expect: Optional[str], key: str, value: str) -> CasReply:"
        ),
        "{python}"
    );
    assert!(
        python.contains("    def get(self, *, key: str) -> Response:"),
        "{python}"
    );
    assert!(
        python.contains("class TooLargeRefused(Refused):"),
        "{python}"
    );
    let python = generated(ClientLanguage::Python, LOCK);
    assert!(
        python.contains("    granted: NotRequired[Grant]  # The lock is held until then."),
        "{python}"
    );
    let typescript = generated(ClientLanguage::Typescript, KV);
    assert!(
        typescript
            .contains("  cas(args: CasArguments, options?: CallOptions): Promise<CasReply> {"),
        "{typescript}"
    );
    assert!(
        typescript.contains(r#"return this.#send("apply", "cas", args, options);"#),
        "{typescript}"
    );
    let rust = generated(ClientLanguage::Rust, KV);
    assert!(
        rust.contains(
            "pub async fn cas(&self, arguments: &CasArguments) -> Result<CasReply, CallError> {"
        ),
        "{rust}"
    );
}

/// A field that takes any JSON may be null, which is another thing than a field that is not sent.
#[test]
fn a_client_in_python_can_send_null() {
    let python = generated(ClientLanguage::Python, QUEUE);
    let enqueue = python.split_once("    def enqueue(").expect("a method").1;
    let (signature, body) = enqueue.split_once("return").expect("a statement");
    assert!(signature.contains("payload: Any = _ABSENT"), "{signature}");
    assert!(signature.contains("delay_ms: int = _ABSENT"), "{signature}");
    let body = body.lines().next().expect("a line");
    assert!(body.contains(r#""payload": payload"#), "{body}");
    assert!(python.contains("if value is not _ABSENT}"), "{python}");
}

/// Most lines that the messages of a schema add.
fn lines_of_messages(schema: &str) -> usize {
    let messages = schema::parse(schema).expect("a valid schema");
    let fields = |of| messages.fields(of).map_or(0, <[_]>::len);
    let types = messages
        .types
        .iter()
        .map(|named| 7 + 3 * fields(&named.shape));
    let pairs = messages.commands.iter().chain(&messages.queries);
    let pairs = pairs.map(|pair| 6 + pair.description.lines().count() + fields(&pair.arguments));
    let codes = 4 + 3 * messages.refusal_codes.len();
    types.sum::<usize>() + pairs.sum::<usize>() + codes
}

#[test]
fn a_client_fits_on_a_few_screens_and_is_filled_completely() {
    for language in ClientLanguage::value_variants() {
        let nothing = generated(*language, r#"{"title":"nothing","properties":{}}"#);
        let fixed = nothing.lines().count();
        assert!(fixed <= 240, "{language:?}: {fixed} lines:\n{nothing}");
        for (schema, most) in [(COUNTER, 260), (KV, 290), (LOCK, 300), (QUEUE, usize::MAX)] {
            let source = generated(*language, schema);
            let lines = source.lines().count();
            let most = most.min(fixed + lines_of_messages(schema));
            assert!(lines <= most, "{language:?}: {lines} lines:\n{source}");
            assert!(
                !source.contains("{{") || !source.contains("{{types}}"),
                "{source}"
            );
            assert!(
                !source
                    .lines()
                    .any(|line| line.contains("{{client}}") || line.contains("{{title}}"))
            );
        }
    }
}

/// Texts that would end a literal, a comment or a statement, in every place of a schema.
const HOSTILE: [&str; 9] = [
    "\"; import os; os.system('x') #",
    "*/ process.exit(1) /*",
    "\"\"\"\nimport os\n\"\"\"",
    "a\nb\r\nc\u{2028}d\u{85}e",
    "\\\" + evil() + \\\"",
    "{{methods}}",
    "${evil()} `evil()`",
    "\u{202e}reversed\u{2066}",
    "__proto__",
];

fn hostile_schema(text: &str) -> String {
    let fields = json!({text: {"type": "string", "description": text}, "in": {"enum": [text]}});
    let object =
        json!({"type": "object", "description": text, "properties": fields, "required": [text]});
    let document: Value = json!({
        "title": text,
        "properties": {
            "command": {"properties": {text: object, "then": {"$ref": "#/$defs/Refused"}}},
            "reply": {"properties": {text: object, "then": {"type": "null"}}},
            "query": {"properties": {text: {"type": "null", "description": text}}},
            "response": {"properties": {text: {"type": "array", "items": {"enum": [text, "b"]}}}},
            "refusal": {"properties": {"error": {"properties": {"code": {"enum": [text]}}}}},
        },
        "$defs": {"Refused": object},
    });
    document.to_string()
}

/// The code of a client without its literals and comments.
fn code_of(language: ClientLanguage, source: &str) -> String {
    let (line_comment, mut code, mut rest) = (
        if language == ClientLanguage::Python {
            "#"
        } else {
            "//"
        },
        String::new(),
        source,
    );
    while let Some(c) = rest.chars().next() {
        let ends = if let Some(text) = rest.strip_prefix("\"\"\"") {
            text.find("\"\"\"").map(|at| at + 6)
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c: char| {
                let is_end = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                is_end
            });
            end.map(|at| at + 2)
        } else if language == ClientLanguage::Typescript && rest.starts_with("/*") {
            rest.find("*/").map(|at| at + 2)
        } else if rest.starts_with(line_comment) {
            Some(rest.find('\n').unwrap_or(rest.len()))
        } else {
            None
        };
        let length = ends.unwrap_or_else(|| {
            code.push(c);
            c.len_utf8()
        });
        rest = &rest[length..];
    }
    code
}

#[test]
fn no_text_of_a_schema_becomes_code() {
    for language in ClientLanguage::value_variants() {
        for text in HOSTILE {
            let source = generated(*language, &hostile_schema(text));
            let code = code_of(*language, &source);
            for trace in [
                "evil",
                "os.system",
                "import os",
                "process.exit",
                "reversed",
                "{{",
                "\u{2028}",
                "\u{202e}",
            ] {
                let allowed = trace == "evil" || trace == "reversed";
                // As part of an identifier, a harmless word may remain.
                let found = code
                    .match_indices(trace)
                    .any(|(at, _)| !allowed || code[at + trace.len()..].starts_with("()"));
                assert!(!found, "{language:?}, {text:?}: {trace:?} in\n{code}");
            }
            assert!(
                source.chars().all(|c| c == '\n' || !c.is_control()),
                "{language:?}: {text:?}"
            );
        }
    }
}

/// Names that the templates use, as names of types, commands and queries.
#[test]
fn a_name_of_a_template_is_not_taken_twice() {
    let names = ["access", "ssl", "copy", "event", "call_options", "failed"];
    let fields = json!({"type": "object", "properties": {"ssl": {"type": "string"}, "copy": {"type": "string"}}});
    let messages = |what: &Value| {
        let pairs = names.map(|name| (name.to_owned(), what.clone()));
        json!({"properties": pairs.into_iter().collect::<serde_json::Map<_, _>>()})
    };
    let of_type = |name: &str| json!({"$ref": format!("#/$defs/{name}")});
    let replies: serde_json::Map<String, Value> = names
        .map(|name| (name.to_owned(), of_type(name)))
        .into_iter()
        .collect();
    let types: serde_json::Map<String, Value> = names
        .map(|name| (name.to_owned(), fields.clone()))
        .into_iter()
        .collect();
    let document = json!({
        "title": "access",
        "properties": {"command": messages(&fields), "reply": {"properties": replies}},
        "$defs": types,
    });
    let python = generated(ClientLanguage::Python, &document.to_string());
    for line in [
        "class Access(TypedDict):",
        "class Event2(TypedDict):",
        "    def ssl_(self, ",
        "    def copy(self, ",
    ] {
        assert_eq!(python.matches(line).count(), 1, "{line} in {python}");
    }
    let typescript = generated(ClientLanguage::Typescript, &document.to_string());
    for line in [
        "export interface Access {",
        "export interface Access2 {",
        "export interface CallOptions2 {",
        "export class Failed extends",
        "export interface Failed2 {",
        "Promise<Access2>",
    ] {
        assert_eq!(
            typescript.matches(line).count(),
            1,
            "{line} in {typescript}"
        );
    }
    assert!(!typescript.contains("export interface Failed {"));
}

#[test]
fn names_become_identifiers() {
    for (name, expected) in [
        ("lease_ms", ("lease_ms", "leaseMs", "LeaseMs")),
        ("leaseMs", ("lease_ms", "leaseMs", "LeaseMs")),
        ("task-queue", ("task_queue", "taskQueue", "TaskQueue")),
        ("2nd", ("x_2nd", "x2nd", "X2nd")),
        ("größe", ("gr_e", "grE", "GrE")),
        ("", ("x", "x", "X")),
    ] {
        let (a, b, c) = (snake(name), camel(name), pascal(name));
        assert_eq!((a.as_str(), b.as_str(), c.as_str()), expected, "{name:?}");
    }
    let mut names = Identifiers::reserving(&["in", "Event"]);
    let taken = ["in", "in", "in", "Event", "Event", "by"].map(|name| names.take(name));
    assert_eq!(taken, ["in_", "in_2", "in_3", "Event2", "Event3", "by"]);
}

#[test]
fn literals_and_comments_cannot_be_left() {
    assert_eq!(literal("a\"\\\n", names::braced_escape), r#""a\"\\\u{a}""#);
    assert_eq!(
        comment("a*/b\\\"\"\"\r\u{2028}\n\nlast\n\n"),
        ["a* /b/'''", "", "last"]
    );
    assert_eq!(comment("x\n".repeat(50).as_str()).len(), 20);
}
