//! A choice between objects with one field each, as serde writes an enum: one object in which one field is present.

use serde_json::{Map, Value, json};

/// One object for several objects with one required field each, whose names differ; nothing for another choice.
pub(super) fn merged(choices: &Value) -> Option<Value> {
    let choices = choices.as_array().filter(|choices| choices.len() > 1)?;
    let mut fields = Map::new();
    for choice in choices {
        let (name, schema) = only_field(choice)?;
        let mut schema = schema.clone();
        if let (Some(inner), Some(text)) = (schema.as_object_mut(), choice.get("description")) {
            inner.entry("description").or_insert_with(|| text.clone());
        }
        if fields.insert(name.clone(), schema).is_some() {
            return None;
        }
    }
    Some(json!({"type": "object", "properties": fields}))
}

/// The field of an object that has only this one, and requires it.
fn only_field(choice: &Value) -> Option<(&String, &Value)> {
    let mut properties = choice.get("properties")?.as_object()?.iter();
    let field = properties.next().filter(|_| properties.next().is_none())?;
    let is_required = choice.get("required") == Some(&json!([field.0]));
    (choice.get("type")? == "object" && is_required).then_some(field)
}
