//! Parses types: JSON Schema to [`DataType`]. Objects without a name get one from their place.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fault::SchemaFault;
use super::model::{DataType, NamedType, TypeField};
use super::tagged;

/// Deepest nesting of types.
const MAX_DEPTH: usize = 32;
/// Most members of an object or list of the document.
const MAX_MEMBERS: usize = 1_000;
/// Most types with names, those without a name in the document included.
const MAX_TYPES: usize = 10_000;
/// Longest description that is kept, in characters.
const MAX_DESCRIPTION_CHARS: usize = 2_000;
/// Longest name of a message, field or type, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// The types with names, while the document is parsed.
pub(super) struct Types<'a> {
    defs: &'a Map<String, Value>,
    /// Positions of `$defs`, by name: the first ones of `types`.
    positions: BTreeMap<&'a str, usize>,
    types: Vec<NamedType>,
}

impl<'a> Types<'a> {
    /// Begins with the names of `$defs`.
    pub(super) fn new(defs: &'a Map<String, Value>) -> Result<Self, SchemaFault> {
        let positions = defs
            .keys()
            .enumerate()
            .map(|(at, name)| (name.as_str(), at));
        let named = |(name, schema): (&String, &Value)| NamedType {
            name: name.clone(),
            description: description(schema),
            shape: DataType::Any,
        };
        let mut types = Self {
            defs,
            positions: positions.collect(),
            types: defs.iter().map(named).collect(),
        };
        for (at, (name, schema)) in defs.iter().enumerate() {
            let place = format!("$defs.{name}");
            types.types[at].shape = types.shape(schema, name, &place, 0)?;
        }
        Ok(types)
    }

    /// All types, after the last [`Types::data_type`].
    pub(super) fn finish(self) -> Result<Vec<NamedType>, SchemaFault> {
        for at in 0..self.defs.len() {
            if self.is_circle(at) {
                let place = format!("$defs.{}", self.types[at].name);
                return Err(SchemaFault::Circle { place });
            }
        }
        Ok(self.types)
    }

    /// Whether a type is defined by itself, through aliases only.
    fn is_circle(&self, start: usize) -> bool {
        let mut open = vec![&self.types[start].shape];
        let mut seen = vec![false; self.types.len()];
        while let Some(shape) = open.pop() {
            match shape {
                DataType::Named(at) if *at == start => return true,
                DataType::Named(at) if !seen[*at] => {
                    seen[*at] = true;
                    open.push(&self.types[*at].shape);
                }
                DataType::OneOf(types) => open.extend(types),
                _ => {}
            }
        }
        false
    }

    /// The type of a schema, in which no object is inline. `name`: of the object, if it has none.
    pub(super) fn data_type(
        &mut self,
        schema: &Value,
        name: &str,
        place: &str,
        depth: usize,
    ) -> Result<DataType, SchemaFault> {
        let shape = self.shape(schema, name, place, depth)?;
        self.named(shape, name, description(schema))
    }

    /// The type itself, or for an object its new name.
    fn named(
        &mut self,
        shape: DataType,
        name: &str,
        description: String,
    ) -> Result<DataType, SchemaFault> {
        if !matches!(shape, DataType::Object(_)) {
            return Ok(shape);
        }
        if self.types.len() >= MAX_TYPES {
            let place = "$".to_owned();
            let (count, limit) = (self.types.len() + 1, MAX_TYPES);
            return Err(SchemaFault::TooMany {
                place,
                count,
                limit,
            });
        }
        let end = name.floor_char_boundary(MAX_NAME_BYTES);
        self.types.push(NamedType {
            name: name[..end].to_owned(),
            description,
            shape,
        });
        Ok(DataType::Named(self.types.len() - 1))
    }

    /// The type of a schema, which may be an object.
    fn shape(
        &mut self,
        schema: &Value,
        name: &str,
        place: &str,
        depth: usize,
    ) -> Result<DataType, SchemaFault> {
        if depth >= MAX_DEPTH {
            let (place, limit) = (place.to_owned(), MAX_DEPTH);
            return Err(SchemaFault::TooDeep { place, limit });
        }
        let fields = match schema {
            Value::Bool(_) => return Ok(DataType::Any),
            Value::Object(fields) => fields,
            _ => return Err(wrong(place, "a schema: an object, true or false")),
        };
        if let Some(reference) = fields.get("$ref") {
            return self.reference(reference, place);
        }
        if let Some(value) = fields.get("const") {
            return Ok(literals(std::slice::from_ref(value)));
        }
        if let Some(values) = fields.get("enum") {
            return Ok(literals(list(values, &format!("{place}.enum"))?));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(choices) = fields.get(key) {
                let place = format!("{place}.{key}");
                if let Some(merged) = tagged::merged(choices) {
                    return self.shape(&merged, name, &place, depth + 1);
                }
                let mut types = Vec::new();
                for (at, choice) in list(choices, &place)?.iter().enumerate() {
                    let name = format!("{name} {}", at + 1);
                    types.push(self.data_type(
                        choice,
                        &name,
                        &format!("{place}[{at}]"),
                        depth + 1,
                    )?);
                }
                return Ok(one_of(types));
            }
        }
        if let Some(all) = fields.get("allOf") {
            let place = format!("{place}.allOf");
            return match list(all, &place)? {
                [one] => self.shape(one, name, &place, depth + 1),
                _ => Ok(DataType::Any),
            };
        }
        match fields.get("type") {
            None => Ok(DataType::Any),
            Some(Value::String(kind)) => self.simple(kind, fields, name, place, depth),
            Some(kinds) => {
                let kinds_place = format!("{place}.type");
                let mut types = Vec::new();
                let kinds = list(kinds, &kinds_place)?;
                for (at, kind) in kinds
                    .iter()
                    .enumerate()
                    .filter(|(at, kind)| !kinds[..*at].contains(kind))
                {
                    let kind = kind
                        .as_str()
                        .ok_or_else(|| wrong(&kinds_place, "a list of types"))?;
                    let shape = self.simple(kind, fields, name, place, depth)?;
                    let description = description(schema);
                    types.push(self.named(shape, &format!("{name} {}", at + 1), description)?);
                }
                Ok(one_of(types))
            }
        }
    }

    fn reference(&self, reference: &Value, place: &str) -> Result<DataType, SchemaFault> {
        let text = reference.as_str().unwrap_or_default();
        let position = text
            .strip_prefix("#/$defs/")
            .and_then(|name| self.positions.get(name));
        position
            .map(|at| DataType::Named(*at))
            .ok_or_else(|| SchemaFault::Reference {
                place: place.to_owned(),
                reference: text.chars().take(MAX_NAME_BYTES).collect(),
            })
    }

    /// The type of a schema with one `type`.
    fn simple(
        &mut self,
        kind: &str,
        fields: &Map<String, Value>,
        name: &str,
        place: &str,
        depth: usize,
    ) -> Result<DataType, SchemaFault> {
        Ok(match kind {
            "null" => DataType::Null,
            "boolean" => DataType::Bool,
            "integer" => {
                let format = fields
                    .get("format")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let least = fields.get("minimum").and_then(Value::as_f64);
                DataType::Integer {
                    is_wide: matches!(
                        format,
                        "int64" | "uint64" | "int" | "uint" | "int128" | "uint128"
                    ),
                    is_signed: least.is_none_or(|least| least < 0.0),
                }
            }
            "number" => DataType::Number,
            "string" => DataType::Text,
            "array" => self.array(fields, name, place, depth)?,
            "object" => self.object(fields, name, place, depth)?,
            _ => return Err(wrong(&format!("{place}.type"), "a type of JSON Schema")),
        })
    }

    fn array(
        &mut self,
        fields: &Map<String, Value>,
        name: &str,
        place: &str,
        depth: usize,
    ) -> Result<DataType, SchemaFault> {
        if let Some(prefix) = fields.get("prefixItems") {
            let place = format!("{place}.prefixItems");
            let mut items = Vec::new();
            for (at, item) in list(prefix, &place)?.iter().enumerate() {
                let name = format!("{name} {}", at + 1);
                items.push(self.data_type(item, &name, &format!("{place}[{at}]"), depth + 1)?);
            }
            return Ok(DataType::Tuple(items));
        }
        let item = match fields.get("items") {
            None => DataType::Any,
            Some(items) => {
                let name = format!("{name} item");
                self.data_type(items, &name, &format!("{place}.items"), depth + 1)?
            }
        };
        Ok(DataType::List(Box::new(item)))
    }

    fn object(
        &mut self,
        fields: &Map<String, Value>,
        name: &str,
        place: &str,
        depth: usize,
    ) -> Result<DataType, SchemaFault> {
        let nothing = Map::new();
        let properties = match fields.get("properties") {
            None => &nothing,
            Some(properties) => members(properties, &format!("{place}.properties"))?,
        };
        let more = fields
            .get("additionalProperties")
            .filter(|more| **more != Value::Bool(false));
        if let (true, Some(more)) = (properties.is_empty(), more) {
            let (name, place) = (
                format!("{name} value"),
                format!("{place}.additionalProperties"),
            );
            let value = self.data_type(more, &name, &place, depth + 1)?;
            return Ok(DataType::Map(Box::new(value)));
        }
        let required = match fields.get("required") {
            None => &[],
            Some(required) => list(required, &format!("{place}.required"))?,
        };
        let mut parsed = Vec::new();
        for (field, schema) in properties {
            let place = format!("{place}.properties.{field}");
            parsed.push(TypeField {
                data_type: self.data_type(schema, &format!("{name} {field}"), &place, depth + 1)?,
                description: description(schema),
                is_required: required.iter().any(|name| name == field),
                name: field.clone(),
            });
        }
        parsed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(DataType::Object(parsed))
    }
}

/// A type of fixed texts; any JSON if a value is something else.
fn literals(values: &[Value]) -> DataType {
    let mut texts: Vec<String> = Vec::new();
    let mut has_null = false;
    for value in values {
        match value {
            Value::String(text) if !texts.contains(text) => texts.push(text.clone()),
            Value::String(_) => {}
            Value::Null => has_null = true,
            _ => return DataType::Any,
        }
    }
    match (texts.is_empty(), has_null) {
        (true, true) => DataType::Null,
        (true, false) => DataType::Any,
        (false, true) => DataType::OneOf(vec![DataType::Literals(texts), DataType::Null]),
        (false, false) => DataType::Literals(texts),
    }
}

/// A choice of types. Choices in it are merged, and so are fixed texts.
fn one_of(types: Vec<DataType>) -> DataType {
    let (mut found, mut texts, mut has_null) = (Vec::new(), Vec::new(), false);
    let flat = types.into_iter().flat_map(|one| match one {
        DataType::OneOf(types) => types,
        other => vec![other],
    });
    for one in flat {
        match one {
            DataType::Any => return DataType::Any,
            DataType::Null => has_null = true,
            DataType::Literals(more) => texts.extend(more),
            other if found.contains(&other) => {}
            other => found.push(other),
        }
    }
    if !texts.is_empty() {
        found.push(DataType::Literals(texts));
    }
    if has_null {
        found.push(DataType::Null);
    }
    match found.len() {
        0 => DataType::Any,
        1 => found.remove(0),
        _ => DataType::OneOf(found),
    }
}

/// The description of a schema, bounded.
pub(super) fn description(schema: &Value) -> String {
    let text = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    text.chars().take(MAX_DESCRIPTION_CHARS).collect()
}

/// The members of an object, which are not too many.
pub(super) fn members<'a>(
    value: &'a Value,
    place: &str,
) -> Result<&'a Map<String, Value>, SchemaFault> {
    let members = value.as_object().ok_or_else(|| wrong(place, "an object"))?;
    limited(members.len(), place)?;
    if members.keys().any(|name| name.len() > MAX_NAME_BYTES) {
        let (place, limit) = (place.to_owned(), MAX_NAME_BYTES);
        return Err(SchemaFault::LongName { place, limit });
    }
    Ok(members)
}

fn list<'a>(value: &'a Value, place: &str) -> Result<&'a [Value], SchemaFault> {
    let list = value.as_array().ok_or_else(|| wrong(place, "a list"))?;
    limited(list.len(), place)?;
    Ok(list)
}

/// Checks the number of members.
pub(super) fn limited(count: usize, place: &str) -> Result<(), SchemaFault> {
    if count <= MAX_MEMBERS {
        return Ok(());
    }
    let (place, limit) = (place.to_owned(), MAX_MEMBERS);
    Err(SchemaFault::TooMany {
        place,
        count,
        limit,
    })
}

fn wrong(place: &str, expected: &'static str) -> SchemaFault {
    let place = place.chars().take(MAX_NAME_BYTES).collect();
    SchemaFault::Wrong { place, expected }
}
