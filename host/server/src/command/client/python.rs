//! The client in Python: the standard library only. Types are `TypedDict`s, so messages stay plain values.

use super::fill::fill;
use super::names::{Identifiers, comment, literal, one_line, pascal, snake};
use crate::schema::{DataType, GuestMessages, MessagePair, NamedType, TypeField};

const TEMPLATE: &str = include_str!("templates/python.txt");

/// Keywords.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];
/// Names that annotations use. A member of a class with such a name would hide it.
const IN_ANNOTATIONS: [&str; 12] = [
    "Any",
    "Literal",
    "NotRequired",
    "Optional",
    "Union",
    "bool",
    "dict",
    "float",
    "int",
    "list",
    "object",
    "str",
];
/// Other names of the module.
const MODULE: [&str; 28] = [
    "Event",
    "Failed",
    "Iterator",
    "NamedTuple",
    "OarlockError",
    "OutcomeUnknown",
    "Refused",
    "Sequence",
    "TypedDict",
    "Unavailable",
    "BaseException",
    "Exception",
    "LookupError",
    "OSError",
    "TypeError",
    "ValueError",
    "cast",
    "copy",
    "http",
    "json",
    "random",
    "ssl",
    "threading",
    "time",
    "urllib",
    "uuid",
    "RefusalCode",
    "self",
];
/// Members of the client that have no underscore, and a module that an annotation in it names: a method would hide it.
const MEMBERS: [&str; 3] = ["events", "ssl", "with_timeout"];

/// The source of the client.
pub(super) fn generate(messages: &GuestMessages) -> String {
    let reserved = [&KEYWORDS[..], &IN_ANNOTATIONS, &MODULE].concat();
    let mut names = Identifiers::reserving(&reserved);
    let client = names.take(&format!("{}Client", pascal(&messages.title)));
    let types = messages
        .types
        .iter()
        .map(|named| names.take(&pascal(&named.name)));
    let types: Vec<String> = types.collect();
    let python = Python { messages, types };
    let blocks = [python.types(), python.refusals(&mut names)].concat();
    fill(
        TEMPLATE,
        &[
            ("title", &one_line(&messages.title)),
            ("client", &client),
            ("types", &blocks.join("\n\n")),
            ("methods", &python.methods().join("\n\n")),
        ],
    )
}

struct Python<'a> {
    messages: &'a GuestMessages,
    /// Names of the types.
    types: Vec<String>,
}

impl Python<'_> {
    fn types(&self) -> Vec<String> {
        let named = self.messages.types.iter().zip(&self.types);
        let is_needed = |at: usize| !self.is_only_arguments(at);
        let needed = named.enumerate().filter(|(at, _)| is_needed(*at));
        needed
            .map(|(_, (named, name))| self.definition(named, name))
            .collect()
    }

    /// Whether a type is only the arguments of a message: they are parameters of a method. Types that the document names
    /// come first, and may be used elsewhere.
    fn is_only_arguments(&self, at: usize) -> bool {
        let pairs = self.messages.commands.iter().chain(&self.messages.queries);
        let is_arguments = pairs
            .clone()
            .any(|pair| pair.arguments == DataType::Named(at));
        let uses = |of: &DataType| of.uses(at);
        let mut shapes = self.messages.types.iter().map(|named| &named.shape);
        is_arguments && !shapes.any(uses) && !pairs.clone().any(|pair| uses(&pair.result))
    }

    fn definition(&self, named: &NamedType, name: &str) -> String {
        let DataType::Object(fields) = &named.shape else {
            return format!("{name} = {}", self.annotation(&named.shape, true));
        };
        if fields.iter().all(|field| self.fits_class(&field.name)) {
            return self.class(named, name, fields);
        }
        let field = |field: &TypeField| {
            let annotation = literal(&self.field_annotation(field), escape);
            format!("    {}: {annotation},", literal(&field.name, escape))
        };
        let fields: Vec<String> = fields.iter().map(field).collect();
        format!(
            "{name} = TypedDict(\n    {},\n    {{\n    {}\n    }},\n)",
            literal(name, escape),
            fields.join("\n    ")
        )
    }

    fn class(&self, named: &NamedType, name: &str, fields: &[TypeField]) -> String {
        let mut lines = vec![format!("class {name}(TypedDict):")];
        let description = one_line(&named.description);
        if !description.is_empty() {
            lines.push(format!("    \"\"\"{description}\"\"\""));
        }
        for field in fields {
            let line = format!("    {}: {}", field.name, self.field_annotation(field));
            lines.push(with_comment(line, &field.description));
        }
        if lines.len() == 1 {
            lines.push("    pass".to_owned());
        }
        lines.join("\n")
    }

    /// Whether a field can be a member of a class: it is an identifier and hides nothing.
    fn fits_class(&self, name: &str) -> bool {
        let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_plain && !KEYWORDS.contains(&name) && !IN_ANNOTATIONS.contains(&name)
    }

    fn field_annotation(&self, field: &TypeField) -> String {
        let annotation = self.annotation(&field.data_type, false);
        if field.is_required {
            annotation
        } else {
            format!("NotRequired[{annotation}]")
        }
    }

    /// An annotation. `evaluated`: it is an expression of the module, where later names need quotes.
    fn annotation(&self, of: &DataType, evaluated: bool) -> String {
        match of {
            DataType::Any => "Any".to_owned(),
            DataType::Null => "None".to_owned(),
            DataType::Bool => "bool".to_owned(),
            DataType::Integer { .. } => "int".to_owned(),
            DataType::Number => "float".to_owned(),
            DataType::Text => "str".to_owned(),
            DataType::Literals(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| literal(text, escape)).collect();
                format!("Literal[{}]", texts.join(", "))
            }
            DataType::List(item) => format!("list[{}]", self.annotation(item, evaluated)),
            DataType::Tuple(_) => "list[Any]".to_owned(),
            DataType::Map(value) => format!("dict[str, {}]", self.annotation(value, evaluated)),
            DataType::Object(_) => "dict[str, Any]".to_owned(),
            DataType::OneOf(_) => match of.without_null() {
                (one, true) if !matches!(one, DataType::OneOf(_)) => {
                    format!("Optional[{}]", self.annotation(&one, evaluated))
                }
                (DataType::OneOf(types), has_null) => {
                    let mut all: Vec<String> = types
                        .iter()
                        .map(|one| self.annotation(one, evaluated))
                        .collect();
                    all.extend(has_null.then(|| "None".to_owned()));
                    format!("Union[{}]", all.join(", "))
                }
                (one, _) => self.annotation(&one, evaluated),
            },
            DataType::Named(at) if evaluated => format!("\"{}\"", self.types[*at]),
            DataType::Named(at) => self.types[*at].clone(),
        }
    }

    fn refusals(&self, names: &mut Identifiers) -> Vec<String> {
        let (mut classes, mut table) = (Vec::new(), Vec::new());
        for code in &self.messages.refusal_codes {
            let name = names.take(&format!("{}Refused", pascal(code)));
            let text = literal(code, escape);
            classes.push(format!(
                "class {name}(Refused): \"\"\"Refused with the code {}.\"\"\"",
                one_line(code)
            ));
            table.push(format!("{text}: {name}"));
        }
        let classes = classes.join("\n");
        let table = format!(
            "_REFUSALS: dict[str, type[Refused]] = {{{}}}",
            table.join(", ")
        );
        [classes, table]
            .into_iter()
            .filter(|block| !block.is_empty())
            .collect()
    }

    fn methods(&self) -> Vec<String> {
        let mut names =
            Identifiers::reserving(&[&KEYWORDS[..], &IN_ANNOTATIONS, &MEMBERS].concat());
        let commands = self.messages.commands.iter().map(|pair| (pair, "apply"));
        let queries = self.messages.queries.iter().map(|pair| (pair, "query"));
        let methods = commands.chain(queries).map(|(pair, route)| {
            let name = names.take(&snake(&pair.name));
            self.method(pair, route, &name)
        });
        methods.collect()
    }

    fn method(&self, pair: &MessagePair, route: &str, name: &str) -> String {
        let mut parameters =
            Identifiers::reserving(&[&KEYWORDS[..], &["self", "cast", "result"]].concat());
        let (mut signature, mut docs) = (vec!["self".to_owned()], comment(&pair.description));
        let (mut required, mut optional) = (Vec::new(), Vec::new());
        let mut arguments = None;
        match self.messages.fields(&pair.arguments) {
            Some(fields) => {
                signature.extend((!fields.is_empty()).then(|| "*".to_owned()));
                let (needed, others): (Vec<_>, Vec<_>) =
                    fields.iter().partition(|field| field.is_required);
                for field in needed.into_iter().chain(others) {
                    let parameter = parameters.take(&snake(&field.name));
                    let member = format!("{}: {parameter}", literal(&field.name, escape));
                    let annotation = self.annotation(&field.data_type, false);
                    if field.is_required {
                        signature.push(format!("{parameter}: {annotation}"));
                        required.push(member);
                    } else {
                        // `None` is null, which is another thing than a field that is not sent.
                        signature.push(format!("{parameter}: {annotation} = _ABSENT"));
                        optional.push(member);
                    }
                    let text = one_line(&field.description);
                    docs.extend((!text.is_empty()).then(|| format!("`{parameter}`: {text}")));
                }
            }
            None if pair.arguments == DataType::Null => arguments = Some("None".to_owned()),
            None => {
                signature.push(format!(
                    "value: {}",
                    self.annotation(&pair.arguments, false)
                ));
                arguments = Some("value".to_owned());
            }
        }
        let arguments = arguments.unwrap_or_else(|| format!("{{{}}}", required.join(", ")));
        let result = self.annotation(&pair.result, false);
        let mut lines = vec![format!(
            "    def {name}({}) -> {result}:",
            signature.join(", ")
        )];
        if !docs.is_empty() {
            lines.push(format!("        \"\"\"{}\"\"\"", docs.join("\n        ")));
        }
        let (wire, optional) = (literal(&pair.name, escape), optional.join(", "));
        let sent = format!("self._send(\"{route}\", {wire}, {arguments}, {{{optional}}})");
        lines.push(match result.as_str() {
            "Any" => format!("        return {sent}"),
            _ => format!("        return cast({}, {sent})", literal(&result, escape)),
        });
        lines.join("\n")
    }
}

fn with_comment(line: String, description: &str) -> String {
    match one_line(description) {
        text if text.is_empty() => line,
        text => format!("{line}  # {text}"),
    }
}

fn escape(c: char) -> String {
    match u32::from(c) {
        code @ ..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}
