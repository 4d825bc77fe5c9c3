//! The client in Rust, on the crate `oarlock-client`.

use std::collections::BTreeSet;

use super::fill::fill;
use super::names::{Identifiers, braced_escape, comment, literal, one_line, pascal, snake};
use crate::schema::{DataType, GuestMessages, MessagePair, NamedType, TypeField};

const TEMPLATE: &str = include_str!("templates/rust.txt");

/// Keywords, also reserved ones.
const KEYWORDS: [&str; 54] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "union", "unsafe", "unsized", "use", "virtual", "where", "while", "yield", "safe", "raw",
];
/// Names that types of the module must not have: of the template, and of the prelude.
const TYPES: [&str; 36] = [
    "AnyJson",
    "ApplyError",
    "ApplyOptions",
    "BTreeMap",
    "Box",
    "CallError",
    "Clone",
    "Copy",
    "Debug",
    "Default",
    "Deserialize",
    "DeserializeOwned",
    "Drop",
    "Duration",
    "Eq",
    "Err",
    "Fn",
    "From",
    "Into",
    "Iterator",
    "None",
    "Ok",
    "Option",
    "PartialEq",
    "QueryError",
    "QueryOptions",
    "RefusalBody",
    "RefusalCode",
    "Refused",
    "Result",
    "Self",
    "Serialize",
    "Some",
    "String",
    "ToString",
    "Vec",
];
/// Methods of the client in the template.
const METHODS: [&str; 5] = ["apply", "clone", "new", "query", "with_timeout"];

/// The source of the client.
pub(super) fn generate(messages: &GuestMessages) -> String {
    let mut names = Identifiers::reserving(&TYPES);
    let client = names.take(&format!("{}Client", pascal(&messages.title)));
    let types = messages
        .types
        .iter()
        .map(|named| names.take(&pascal(&named.name)));
    let types = types.collect();
    let rust = Rust { messages, types };
    let mut blocks: Vec<String> = (messages.types.iter().zip(&rust.types))
        .map(|(named, name)| rust.definition(named, name))
        .collect();
    blocks.push(enumeration(
        "The code of a refusal.",
        "RefusalCode",
        &messages.refusal_codes,
        true,
    ));
    fill(
        TEMPLATE,
        &[
            ("title", &one_line(&messages.title)),
            ("client", &client),
            ("types", &blocks.join("\n\n")),
            ("methods", &rust.methods().join("\n\n")),
        ],
    )
}

struct Rust<'a> {
    messages: &'a GuestMessages,
    /// Names of the types.
    types: Vec<String>,
}

impl Rust<'_> {
    fn definition(&self, named: &NamedType, name: &str) -> String {
        match &named.shape {
            DataType::Object(fields) => self.structure(named, name, fields),
            DataType::Literals(texts) => enumeration(&named.description, name, texts, false),
            // An alias of itself, also through a list, is no type in Rust.
            shape if self.is_recursive(shape, &mut BTreeSet::new()) => {
                format!("pub type {name} = AnyJson;")
            }
            shape => format!("pub type {name} = {};", self.type_of(shape)),
        }
    }

    fn structure(&self, named: &NamedType, name: &str, fields: &[TypeField]) -> String {
        let mut lines = docs("", &named.description, name);
        let has_default = fields
            .iter()
            .all(|field| self.has_default(field, &mut BTreeSet::new()));
        let default = if has_default { "Default, " } else { "" };
        lines.push(format!(
            "#[derive(Clone, Debug, {default}PartialEq, Serialize, Deserialize)]"
        ));
        lines.push(format!("pub struct {name} {{"));
        let mut names = Identifiers::reserving(&KEYWORDS);
        for field in fields {
            let member = names.take(&snake(&field.name));
            let mut kind = self.type_of(&field.data_type);
            if self.contains(&field.data_type, name, &mut BTreeSet::new()) {
                kind = format!("Box<{kind}>");
            }
            let mut serde = Vec::new();
            if member != field.name {
                serde.push(format!("rename = {}", text(&field.name)));
            }
            if !field.is_required {
                serde.extend([
                    "default".to_owned(),
                    "skip_serializing_if = \"Option::is_none\"".to_owned(),
                ]);
                if !kind.starts_with("Option<") {
                    kind = format!("Option<{kind}>");
                }
            }
            lines.extend(docs("    ", &field.description, &field.name));
            if !serde.is_empty() {
                lines.push(format!("    #[serde({})]", serde.join(", ")));
            }
            lines.push(format!("    pub {member}: {kind},"));
        }
        lines.push("}".to_owned());
        lines.join("\n")
    }

    fn type_of(&self, of: &DataType) -> String {
        match of {
            DataType::Any | DataType::Object(_) => "AnyJson".to_owned(),
            DataType::Null => "()".to_owned(),
            DataType::Bool => "bool".to_owned(),
            DataType::Integer {
                is_signed: true, ..
            } => "i64".to_owned(),
            DataType::Integer { .. } => "u64".to_owned(),
            DataType::Number => "f64".to_owned(),
            DataType::Text | DataType::Literals(_) => "String".to_owned(),
            DataType::List(item) => format!("Vec<{}>", self.type_of(item)),
            DataType::Tuple(_) => "Vec<AnyJson>".to_owned(),
            DataType::Map(value) => format!("BTreeMap<String, {}>", self.type_of(value)),
            // A choice between several types has no name of its own in the schema.
            DataType::OneOf(_) => match of.without_null() {
                (DataType::OneOf(_), _) => "AnyJson".to_owned(),
                (one, _) => format!("Option<{}>", self.type_of(&one)),
            },
            DataType::Named(at) => self.types[*at].clone(),
        }
    }

    /// Whether an alias refers to itself, in whatever way but through a structure.
    fn is_recursive(&self, shape: &DataType, seen: &mut BTreeSet<usize>) -> bool {
        match shape {
            DataType::List(item) | DataType::Map(item) => self.is_recursive(item, seen),
            DataType::OneOf(types) => types.iter().any(|one| self.is_recursive(one, seen)),
            DataType::Named(at) => {
                let inner = &self.messages.types[*at].shape;
                if matches!(inner, DataType::Object(_)) {
                    return false;
                }
                let is_new = seen.insert(*at);
                let found = !is_new || self.is_recursive(inner, seen);
                seen.remove(at);
                found
            }
            _ => false,
        }
    }

    /// Whether a value of the type contains one of the structure `name`, not in a list or map.
    fn contains(&self, of: &DataType, name: &str, seen: &mut BTreeSet<usize>) -> bool {
        match of {
            DataType::OneOf(types) => types.iter().any(|one| self.contains(one, name, seen)),
            DataType::Object(fields) => fields
                .iter()
                .any(|field| self.contains(&field.data_type, name, seen)),
            DataType::Named(at) if self.types[*at] == name => true,
            DataType::Named(at) if seen.insert(*at) => {
                self.contains(&self.messages.types[*at].shape, name, seen)
            }
            _ => false,
        }
    }

    fn has_default(&self, field: &TypeField, seen: &mut BTreeSet<usize>) -> bool {
        !field.is_required || self.type_has_default(&field.data_type, seen)
    }

    fn type_has_default(&self, of: &DataType, seen: &mut BTreeSet<usize>) -> bool {
        let DataType::Named(at) = of else {
            return true;
        };
        match &self.messages.types[*at].shape {
            DataType::Object(fields) if seen.insert(*at) => {
                fields.iter().all(|field| self.has_default(field, seen))
            }
            DataType::Literals(_) => false,
            DataType::Named(_) => self.type_has_default(&self.messages.types[*at].shape, seen),
            _ => true,
        }
    }

    fn methods(&self) -> Vec<String> {
        let mut names = Identifiers::reserving(&[&KEYWORDS[..], &METHODS].concat());
        let commands = self.messages.commands.iter().map(|pair| (pair, "apply"));
        let queries = self.messages.queries.iter().map(|pair| (pair, "query"));
        let methods = commands.chain(queries).map(|(pair, route)| {
            let name = names.take(&snake(&pair.name));
            self.method(pair, route, &name)
        });
        methods.collect()
    }

    fn method(&self, pair: &MessagePair, route: &str, name: &str) -> String {
        let mut lines = docs("    ", &pair.description, &pair.name);
        let (parameter, argument) = match self.messages.fields(&pair.arguments) {
            Some([]) => (String::new(), "&BTreeMap::<&str, ()>::new()"),
            _ if pair.arguments == DataType::Null => (String::new(), "&()"),
            _ => (
                format!(", arguments: &{}", self.type_of(&pair.arguments)),
                "arguments",
            ),
        };
        let result = self.type_of(&pair.result);
        lines.push(format!(
            "    pub async fn {name}(&self{parameter}) -> Result<{result}, CallError> {{"
        ));
        lines.push(format!(
            "        self.{route}({}, {argument}).await",
            text(&pair.name)
        ));
        lines.push("    }".to_owned());
        lines.join("\n")
    }
}

/// An enum of texts. Other texts are possible: a later version of the guest may have more.
fn enumeration(description: &str, name: &str, texts: &[String], is_only_read: bool) -> String {
    let mut lines = docs("", description, name);
    let written = if is_only_read { "" } else { "Serialize, " };
    lines.push(format!(
        "#[derive(Clone, Debug, PartialEq, Eq, {written}Deserialize)]"
    ));
    lines.push(format!("pub enum {name} {{"));
    let mut names = Identifiers::reserving(&["Other", "Self"]);
    for one in texts {
        lines.extend(docs("    ", "", one));
        lines.push(format!("    #[serde(rename = {})]", text(one)));
        lines.push(format!("    {},", names.take(&pascal(one))));
    }
    lines.push("    /// Another one.".to_owned());
    lines.push("    #[serde(untagged)]".to_owned());
    lines.push("    Other(String),".to_owned());
    lines.push("}".to_owned());
    lines.join("\n")
}

/// Lines of documentation: the description, or the name.
fn docs(indent: &str, description: &str, name: &str) -> Vec<String> {
    let mut lines = comment(description);
    if lines.is_empty() {
        lines.push(format!("`{}`.", one_line(name).replace('`', "'")));
    }
    lines
        .iter()
        .map(|line| format!("{indent}/// {line}").trim_end().to_owned())
        .collect()
}

fn text(text: &str) -> String {
    literal(text, braced_escape)
}
