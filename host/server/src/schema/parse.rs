//! Parses the document.

use serde_json::{Map, Value};

use super::fault::SchemaFault;
use super::model::{DataType, GuestMessages, MessagePair};
use super::types::{Types, description, members};

/// Longest document, in bytes. The description of a module has the same limit.
const MAX_BYTES: usize = 1 << 20;
/// Longest name of a guest that is kept, in characters.
const MAX_TITLE_CHARS: usize = 128;

const COMMAND: &str = "properties.command";
const REPLY: &str = "properties.reply";
const QUERY: &str = "properties.query";
const RESPONSE: &str = "properties.response";

/// Parses the schema of a guest.
///
/// # Errors
/// The document has another shape, or exceeds a limit.
pub(crate) fn parse(text: &str) -> Result<GuestMessages, SchemaFault> {
    if text.len() > MAX_BYTES {
        let (bytes, limit) = (text.len(), MAX_BYTES);
        return Err(SchemaFault::TooLarge { bytes, limit });
    }
    let document: Value =
        serde_json::from_str(text).map_err(|error| SchemaFault::NotJson(error.to_string()))?;
    let root = document
        .as_object()
        .ok_or_else(|| wrong("$", "an object"))?;
    let title = root.get("title").and_then(Value::as_str);
    let title = title.ok_or_else(|| wrong("title", "a text, the name of the guest"))?;
    let parts = object(root, "properties", "properties")?;
    let nothing = Map::new();
    let defs = match root.get("$defs") {
        None => &nothing,
        Some(_) => object(root, "$defs", "$defs")?,
    };
    let mut types = Types::new(defs)?;
    let commands = pairs(&mut types, parts, [COMMAND, REPLY], ["Arguments", "Reply"])?;
    let queries = pairs(&mut types, parts, [QUERY, RESPONSE], ["Query", "Response"])?;
    Ok(GuestMessages {
        title: title.chars().take(MAX_TITLE_CHARS).collect(),
        commands,
        queries,
        refusal_codes: refusal_codes(parts)?,
        types: types.finish()?,
    })
}

/// Commands with their replies, or queries with their responses.
fn pairs(
    types: &mut Types<'_>,
    parts: &Map<String, Value>,
    places: [&'static str; 2],
    suffixes: [&str; 2],
) -> Result<Vec<MessagePair>, SchemaFault> {
    let nothing = Map::new();
    let requests = named(parts, places[0])?.unwrap_or(&nothing);
    let results = named(parts, places[1])?.unwrap_or(&nothing);
    if let Some(name) = results.keys().find(|name| !requests.contains_key(*name)) {
        let (place, name) = (places[1], name.clone());
        return Err(SchemaFault::Unexpected { place, name });
    }
    let mut pairs = Vec::new();
    for (name, schema) in requests {
        let result = results.get(name).ok_or_else(|| SchemaFault::NoResult {
            place: places[1],
            name: name.clone(),
        })?;
        let mut typed =
            |schema: &Value, place: &str, suffix: &str| -> Result<DataType, SchemaFault> {
                let place = format!("{place}.properties.{name}");
                types.data_type(schema, &format!("{name} {suffix}"), &place, 0)
            };
        pairs.push(MessagePair {
            arguments: typed(schema, places[0], suffixes[0])?,
            result: typed(result, places[1], suffixes[1])?,
            description: description(schema),
            name: name.clone(),
        });
    }
    pairs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(pairs)
}

/// The properties of `properties.PART`. A guest without queries may leave the part out.
fn named<'a>(
    parts: &'a Map<String, Value>,
    place: &'static str,
) -> Result<Option<&'a Map<String, Value>>, SchemaFault> {
    let key = place.trim_start_matches("properties.");
    let Some(part) = parts.get(key) else {
        return Ok(None);
    };
    let part = part.as_object().ok_or_else(|| wrong(place, "an object"))?;
    let properties = part.get("properties");
    let place = format!("{place}.properties");
    properties
        .map(|properties| members(properties, &place))
        .transpose()
}

fn refusal_codes(parts: &Map<String, Value>) -> Result<Vec<String>, SchemaFault> {
    const CODES: &str = "/refusal/properties/error/properties/code/enum";
    let root = Value::Object(parts.clone());
    let Some(codes) = root.pointer(CODES) else {
        return Ok(Vec::new());
    };
    let place = "properties.refusal.properties.error.properties.code.enum";
    let codes = codes
        .as_array()
        .ok_or_else(|| wrong(place, "a list of texts"))?;
    super::types::limited(codes.len(), place)?;
    let text = |code: &Value| code.as_str().map(str::to_owned);
    let mut codes = codes
        .iter()
        .map(text)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| wrong(place, "a list of texts"))?;
    codes.sort();
    codes.dedup();
    Ok(codes)
}

fn object<'a>(
    of: &'a Map<String, Value>,
    key: &str,
    place: &str,
) -> Result<&'a Map<String, Value>, SchemaFault> {
    let value = of.get(key).ok_or_else(|| wrong(place, "an object"))?;
    members(value, place)
}

fn wrong(place: &str, expected: &'static str) -> SchemaFault {
    let place = place.to_owned();
    SchemaFault::Wrong { place, expected }
}
