//! The schema of a guest's messages, derived from their Rust types. It is made by a test, so nothing of it is in the
//! module but the text.

mod document;
mod messages;

use std::fs;
use std::marker::PhantomData;
use std::path::Path;

use schemars::JsonSchema;
use serde_json::Value;

use crate::guest::Guest;

/// The schema of the messages of the guest `M`: one JSON Schema document, as `host/docs/schema.md` defines it.
///
/// Derive `schemars::JsonSchema` for the types of all messages, and write this test. It fails if `src/schema.json` is not
/// current, and writes it.
///
/// ```text
/// #[state_machine(name = "counter", version = 1, schema = include_str!("schema.json"))]
/// impl StateMachine for Counter { … }
///
/// #[test]
/// fn the_schema_is_current() {
///     MessageSchema::<Counter>::derived()
///         .refusals(["overflow"])
///         .assert_is_current("src/schema.json");
/// }
/// ```
///
/// # Replies that differ by command
///
/// By default every command has the reply type `M::Reply`. If it is an enum, name on each variant the commands that it
/// replies to. The same key works for `M::Response` and the queries.
///
/// ```text
/// #[derive(Serialize, JsonSchema)]
/// #[serde(untagged)]
/// enum Reply {
///     #[schemars(extend("x-for" = ["put", "delete"]))]
///     Previous { previous: Option<String> },
///     #[schemars(extend("x-for" = ["cas"]))]
///     Swapped { swapped: bool },
/// }
/// ```
#[derive(Debug)]
pub struct MessageSchema<M> {
    document: Value,
    guest: PhantomData<M>,
}

impl<M: Guest> MessageSchema<M>
where
    M::Command: JsonSchema,
    M::Reply: JsonSchema,
    M::Query: JsonSchema,
    M::Response: JsonSchema,
    M::Refusal: JsonSchema,
{
    /// Derives the schema from the types.
    ///
    /// # Panics
    ///
    /// The types do not fit: `Command` or `Query` is no enum that serde tags externally, or an `x-for` is wrong.
    #[must_use]
    pub fn derived() -> Self {
        let document = document::derive::<M>();
        Self {
            document: document.unwrap_or_else(|error| panic!("{error}")),
            guest: PhantomData,
        }
    }
}

impl<M: Guest> MessageSchema<M> {
    /// Adds the codes of the guest's own refusals. Those of malformed messages are added too.
    ///
    /// # Panics
    ///
    /// The refusal is not [`Refusal`](crate::Refusal).
    #[must_use]
    pub fn refusals<'a>(mut self, codes: impl IntoIterator<Item = &'a str>) -> Self {
        let code = self
            .document
            .pointer_mut("/properties/refusal/properties/error/properties/code")
            .and_then(Value::as_object_mut)
            .expect("`refusals` needs `type Refusal = oarlock_guest::Refusal`");
        let mut all: Vec<&str> = codes
            .into_iter()
            .chain(["bad_command", "bad_query"])
            .collect();
        all.sort_unstable();
        all.dedup();
        code.insert("enum".to_owned(), all.into());
        self
    }

    /// The document.
    #[must_use]
    pub fn json(&self) -> String {
        document::text(&self.document)
    }

    /// Checks that the guest contains this schema. If not, it is written to `path`, from the folder of the package.
    ///
    /// # Panics
    ///
    /// The guest contains another schema. The message tells what to do.
    pub fn assert_is_current(&self, path: impl AsRef<Path>) {
        let (text, path) = (self.json(), path.as_ref());
        if M::SCHEMA == text {
            return;
        }
        let shown = path.display();
        if fs::read_to_string(path).is_ok_and(|found| found == text) {
            panic!(
                "{shown} is current, but the guest does not contain it; write `schema = include_str!(…)` in #[state_machine]"
            );
        }
        match fs::write(path, text) {
            Ok(()) => panic!(
                "{shown} was not current and has been written; run the test again, and commit the file"
            ),
            Err(error) => panic!("{shown} is not current and cannot be written: {error}"),
        }
    }
}

#[cfg(test)]
mod tests;
