//! Assembles the document: the four kinds of messages, the refusal, and the named types that they refer to.

use std::collections::{BTreeMap, BTreeSet};

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::messages::{self, REFERENCE, SchemaError};
use crate::guest::Guest;

/// Derives the document from the types of the guest.
pub(super) fn derive<M: Guest>() -> Result<Value, SchemaError>
where
    M::Command: JsonSchema,
    M::Reply: JsonSchema,
    M::Query: JsonSchema,
    M::Response: JsonSchema,
    M::Refusal: JsonSchema,
{
    let settings = SchemaSettings::draft2020_12;
    let mut read = settings().for_deserialize().into_generator();
    let [command, query] = [of::<M::Command>(&mut read), of::<M::Query>(&mut read)];
    let mut defs = read.take_definitions(true);

    // What the guest writes can have other fields than what it reads, so it is derived apart.
    let mut written = settings().for_serialize().into_generator();
    let mut outputs = [
        of::<M::Reply>(&mut written),
        of::<M::Response>(&mut written),
        of::<M::Refusal>(&mut written),
    ];
    let mut written_defs = written.take_definitions(true);
    rename_differing(&defs, &mut written_defs, &mut outputs);
    defs.append(&mut written_defs);
    let [reply, response, refusal] = outputs;

    let commands = messages::requests("Command", &command, &defs)?;
    let queries = messages::requests("Query", &query, &defs)?;
    let mut document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": M::NAME,
        "type": "object",
        "properties": {
            "reply": {
                "type": "object",
                "properties": messages::results("Reply", &reply, &commands, &defs)?,
            },
            "response": {
                "type": "object",
                "properties": messages::results("Response", &response, &queries, &defs)?,
            },
            "command": one_of(commands),
            "query": one_of(queries),
            "refusal": refusal,
        },
    });
    let used = reachable(&document, &defs);
    defs.retain(|name, _| used.contains(name));
    document["$defs"] = Value::Object(defs);
    Ok(document)
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// The schema of a whole message: an object whose one key is its name.
fn one_of(messages: Map<String, Value>) -> Value {
    json!({
        "type": "object",
        "properties": messages,
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
    })
}

/// Renames written types that differ from read types of the same name, by themselves or by what they refer to.
fn rename_differing(
    read: &Map<String, Value>,
    written: &mut Map<String, Value>,
    roots: &mut [Value],
) {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let refers = |schema: &Value| {
            references(schema)
                .iter()
                .any(|name| names.contains_key(name))
        };
        let differs = |(name, schema): (&String, &Value)| {
            let other = read.get(name)?;
            let is_new = !names.contains_key(name) && (other != schema || refers(schema));
            is_new.then(|| name.clone())
        };
        let Some(name) = written.iter().find_map(differs) else {
            break;
        };
        let mut new = format!("{name}Written");
        while read.contains_key(&new) || written.contains_key(&new) {
            new.push('_');
        }
        names.insert(name, new);
    }
    for (name, new) in &names {
        if let Some(schema) = written.remove(name) {
            written.insert(new.clone(), schema);
        }
    }
    for schema in written.values_mut().chain(roots) {
        rename(schema, &names);
    }
}

fn rename(schema: &mut Value, names: &BTreeMap<String, String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref")
                && let Some(new) = reference
                    .strip_prefix(REFERENCE)
                    .and_then(|name| names.get(name))
            {
                *reference = format!("{REFERENCE}{new}");
            }
            fields.values_mut().for_each(|field| rename(field, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        _ => {}
    }
}

/// Names of the types that a schema refers to.
fn references(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![schema];
    while let Some(schema) = open.pop() {
        match schema {
            Value::Object(fields) => {
                let reference = fields.get("$ref").and_then(Value::as_str);
                found.extend(
                    reference
                        .and_then(|text| text.strip_prefix(REFERENCE))
                        .map(str::to_owned),
                );
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    found
}

/// Names of all types that a schema needs, also indirectly.
fn reachable(schema: &Value, defs: &Map<String, Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![schema];
    while let Some(schema) = open.pop() {
        for name in references(schema) {
            if !found.contains(&name) {
                open.extend(defs.get(&name));
                found.insert(name);
            }
        }
    }
    found
}

/// The text of a document: keys in the order of the alphabet, whatever the features of `serde_json` are.
pub(super) fn text(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(&sorted(document)).expect("JSON always encodes");
    text.push('\n');
    text
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, &Value> = fields.iter().collect();
            let fields = fields
                .into_iter()
                .map(|(name, field)| (name.clone(), sorted(field)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}
