//! Takes enums of messages apart: the name and the type of each command, and the type of its reply.

use serde_json::{Map, Value, json};

/// How a reference to a named type begins.
pub(super) const REFERENCE: &str = "#/$defs/";

/// The key that names on a variant of a reply the commands that it belongs to.
const FOR: &str = "x-for";

/// The types of the messages do not fit.
#[derive(Debug, thiserror::Error)]
pub(super) enum SchemaError {
    #[error(
        "`{0}` is not an enum whose variants are the messages, tagged by serde in its default way; write the schema by hand, or use such an enum"
    )]
    NotAnEnum(&'static str),
    #[error(
        "a variant of `{0}` has no `x-for`, but others have one; name the messages that it belongs to"
    )]
    WithoutFor(&'static str),
    #[error(
        "`x-for` on a variant of `{0}` is not a list of names, as in extend(\"x-for\" = [\"put\"])"
    )]
    BadFor(&'static str),
    #[error("`x-for` on a variant of `{enumeration}` names {name:?}, but there is no such message")]
    UnknownName {
        enumeration: &'static str,
        name: String,
    },
    #[error("no variant of `{enumeration}` belongs to {name:?}; add it to an `x-for`")]
    NothingFor {
        enumeration: &'static str,
        name: String,
    },
}

/// The commands or queries: the type of the arguments, by name.
pub(super) fn requests(
    enumeration: &'static str,
    schema: &Value,
    defs: &Map<String, Value>,
) -> Result<Map<String, Value>, SchemaError> {
    let schema = resolved(schema, defs);
    // An enum without variants, and the type `()`: a guest without queries.
    if *schema == Value::Bool(false) || schema["type"] == "null" {
        return Ok(Map::new());
    }
    let whole = std::slice::from_ref(schema);
    let mut found = Map::new();
    for variant in variants(schema).map_or(whole, Vec::as_slice) {
        let added = request(variant).ok_or(SchemaError::NotAnEnum(enumeration))?;
        found.extend(added);
    }
    Ok(found)
}

/// The messages of a variant: several, where variants without arguments share a list.
fn request(variant: &Value) -> Option<Vec<(String, Value)>> {
    if variant["type"] == "string" {
        let listed = variant["enum"].as_array().cloned();
        let names = listed.unwrap_or_else(|| vec![variant["const"].clone()]);
        let unit = |name: Value| {
            let schema = described(json!({"type": "null"}), variant);
            Some((name.as_str()?.to_owned(), schema))
        };
        return names.into_iter().map(unit).collect();
    }
    let mut properties = variant["properties"].as_object()?.iter();
    let (Some((name, schema)), None) = (properties.next(), properties.next()) else {
        return None;
    };
    let is_tag = variant["required"] == json!([name]);
    is_tag.then(|| vec![(name.clone(), described(schema.clone(), variant))])
}

/// The schema with the description of the variant, if it has none of its own.
fn described(mut schema: Value, variant: &Value) -> Value {
    if let (Some(fields), Some(text)) = (schema.as_object_mut(), variant.get("description")) {
        fields.entry("description").or_insert_with(|| text.clone());
    }
    schema
}

/// The replies or responses: the type, by the name of the command or query.
pub(super) fn results(
    enumeration: &'static str,
    schema: &Value,
    requests: &Map<String, Value>,
    defs: &Map<String, Value>,
) -> Result<Map<String, Value>, SchemaError> {
    let marked = |variant: &Value| variant.get(FOR).is_some();
    let variants = match variants(resolved(schema, defs)) {
        Some(variants) if variants.iter().any(marked) => variants,
        // One type for all.
        _ => {
            let same = requests.keys().map(|name| (name.clone(), schema.clone()));
            return Ok(same.collect());
        }
    };
    let mut found: Map<String, Value> = Map::new();
    for variant in variants {
        let names = variant
            .get(FOR)
            .ok_or(SchemaError::WithoutFor(enumeration))?;
        let names = names.as_array().ok_or(SchemaError::BadFor(enumeration))?;
        let mut plain = variant.clone();
        plain.as_object_mut().and_then(|fields| fields.remove(FOR));
        for name in names {
            let name = name
                .as_str()
                .ok_or(SchemaError::BadFor(enumeration))?
                .to_owned();
            if !requests.contains_key(&name) {
                return Err(SchemaError::UnknownName { enumeration, name });
            }
            let all = found.entry(name).or_insert_with(|| json!([]));
            if let Some(all) = all.as_array_mut() {
                all.push(plain.clone());
            }
        }
    }
    if let Some(name) = requests.keys().find(|name| !found.contains_key(*name)) {
        let name = name.clone();
        return Err(SchemaError::NothingFor { enumeration, name });
    }
    Ok(found
        .into_iter()
        .map(|(name, all)| (name, alternatives(all)))
        .collect())
}

/// The only schema of a list, or the choice between several.
fn alternatives(all: Value) -> Value {
    match all.as_array().map(Vec::as_slice) {
        Some([one]) => one.clone(),
        _ => json!({"anyOf": all}),
    }
}

fn variants(schema: &Value) -> Option<&Vec<Value>> {
    ["oneOf", "anyOf"]
        .iter()
        .find_map(|key| schema.get(*key)?.as_array())
}

/// The schema itself, or the named type that it refers to.
fn resolved<'a>(schema: &'a Value, defs: &'a Map<String, Value>) -> &'a Value {
    let reference = schema.get("$ref").and_then(Value::as_str);
    let named = reference.and_then(|text| defs.get(text.strip_prefix(REFERENCE)?));
    named.unwrap_or(schema)
}
