//! The client in TypeScript: `fetch` only. Types are interfaces, so messages stay plain values.

use super::fill::fill;
use super::names::{Identifiers, braced_escape, camel, comment, literal, one_line, pascal};
use crate::schema::{DataType, GuestMessages, MessagePair, NamedType};

const TEMPLATE: &str = include_str!("templates/typescript.txt");

/// Names that types of the module must not have: of the template, and of the language that it uses.
const TYPES: [&str; 40] = [
    "AbortController",
    "AbortSignal",
    "Access",
    "Array",
    "AsyncGenerator",
    "BigInt",
    "Boolean",
    "CallOptions",
    "Date",
    "Error",
    "Failed",
    "Function",
    "GuestEvent",
    "Int64",
    "Int8",
    "JSON",
    "Map",
    "Math",
    "Number",
    "Object",
    "OutcomeUnknown",
    "Promise",
    "Record",
    "RefusalCode",
    "Refused",
    "RegExp",
    "Result",
    "Set",
    "String",
    "Symbol",
    "TextDecoder",
    "TypeError",
    "URL",
    "Uint8Array",
    "Unavailable",
    "Infinity",
    "NaN",
    "Iterator",
    "Event",
    "Headers",
];
/// Names that methods must not have. A class with a method `then` could not be awaited.
const METHODS: [&str; 3] = ["constructor", "events", "then"];

/// The source of the client.
pub(super) fn generate(messages: &GuestMessages) -> String {
    let mut names = Identifiers::reserving(&TYPES);
    let client = names.take(&format!("{}Client", pascal(&messages.title)));
    let types = messages
        .types
        .iter()
        .map(|named| names.take(&pascal(&named.name)));
    let types = types.collect();
    let script = TypeScript { messages, types };
    let mut blocks: Vec<String> = (messages.types.iter().zip(&script.types))
        .map(|(named, name)| script.definition(named, name))
        .collect();
    blocks.push(refusal_code(&messages.refusal_codes));
    fill(
        TEMPLATE,
        &[
            ("title", &one_line(&messages.title)),
            ("client", &client),
            ("types", &blocks.join("\n\n")),
            ("methods", &script.methods().join("\n\n")),
        ],
    )
}

/// Other codes are possible: a later version of the guest may have more.
fn refusal_code(codes: &[String]) -> String {
    let mut all: Vec<String> = codes.iter().map(|code| text(code)).collect();
    all.push("(string & {})".to_owned());
    format!(
        "/** The code of a refusal. */\nexport type RefusalCode = {};",
        all.join(" | ")
    )
}

struct TypeScript<'a> {
    messages: &'a GuestMessages,
    /// Names of the types.
    types: Vec<String>,
}

impl TypeScript<'_> {
    fn definition(&self, named: &NamedType, name: &str) -> String {
        let mut lines = Vec::new();
        let description = one_line(&named.description);
        if !description.is_empty() {
            lines.push(format!("/** {description} */"));
        }
        let DataType::Object(fields) = &named.shape else {
            lines.push(format!(
                "export type {name} = {};",
                self.type_of(&named.shape)
            ));
            return lines.join("\n");
        };
        if fields.is_empty() {
            lines.push(format!("export interface {name} {{}}"));
            return lines.join("\n");
        }
        lines.push(format!("export interface {name} {{"));
        for field in fields {
            let optional = if field.is_required { "" } else { "?" };
            let (key, kind) = (key(&field.name), self.type_of(&field.data_type));
            let line = format!("  {key}{optional}: {kind};");
            lines.push(match one_line(&field.description) {
                empty if empty.is_empty() => line,
                description => format!("{line} // {description}"),
            });
        }
        lines.push("}".to_owned());
        lines.join("\n")
    }

    fn type_of(&self, of: &DataType) -> String {
        match of {
            DataType::Any => "unknown".to_owned(),
            DataType::Null => "null".to_owned(),
            DataType::Bool => "boolean".to_owned(),
            DataType::Integer { is_wide: true, .. } => "Int64".to_owned(),
            DataType::Integer { .. } | DataType::Number => "number".to_owned(),
            DataType::Text => "string".to_owned(),
            DataType::Literals(texts) => {
                let texts: Vec<String> = texts.iter().map(|one| text(one)).collect();
                texts.join(" | ")
            }
            DataType::List(item) => format!("({})[]", self.type_of(item)),
            DataType::Tuple(items) => {
                let items: Vec<String> = items.iter().map(|item| self.type_of(item)).collect();
                format!("[{}]", items.join(", "))
            }
            DataType::Map(value) => format!("Record<string, {}>", self.type_of(value)),
            DataType::Object(_) => "Record<string, unknown>".to_owned(),
            DataType::OneOf(types) => {
                let types: Vec<String> = types.iter().map(|one| self.type_of(one)).collect();
                types.join(" | ")
            }
            DataType::Named(at) => self.types[*at].clone(),
        }
    }

    fn methods(&self) -> Vec<String> {
        let mut names = Identifiers::reserving(&METHODS);
        let commands = self.messages.commands.iter().map(|pair| (pair, "apply"));
        let queries = self.messages.queries.iter().map(|pair| (pair, "query"));
        let methods = commands.chain(queries).map(|(pair, route)| {
            let name = names.take(&camel(&pair.name));
            self.method(pair, route, &name)
        });
        methods.collect()
    }

    fn method(&self, pair: &MessagePair, route: &str, name: &str) -> String {
        let mut lines = Vec::new();
        match &comment(&pair.description)[..] {
            [] => {}
            [one] => lines.push(format!("  /** {one} */")),
            several => {
                lines.push("  /**".to_owned());
                lines.extend(
                    several
                        .iter()
                        .map(|line| format!("   * {line}").trim_end().to_owned()),
                );
                lines.push("   */".to_owned());
            }
        }
        let result = self.type_of(&pair.result);
        let fields = self.messages.fields(&pair.arguments);
        let (parameter, argument) = match fields {
            Some([]) => (String::new(), "{}"),
            Some(fields) if fields.iter().all(|field| !field.is_required) => (
                format!("args?: {}, ", self.type_of(&pair.arguments)),
                "args ?? {}",
            ),
            _ if pair.arguments == DataType::Null => (String::new(), "null"),
            _ => (format!("args: {}, ", self.type_of(&pair.arguments)), "args"),
        };
        lines.push(format!(
            "  {name}({parameter}options?: CallOptions): Promise<{result}> {{ \
             return this.#send(\"{route}\", {}, {argument}, options); }}",
            text(&pair.name)
        ));
        lines.join("\n")
    }
}

/// The key of a member: itself if it is an identifier.
fn key(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_plain {
        name.to_owned()
    } else {
        text(name)
    }
}

fn text(text: &str) -> String {
    literal(text, braced_escape)
}
