//! The layout of a state: which fields and variants its type has, in which order and of which types.
//!
//! A snapshot's encoding does not describe itself: bytes that were written for one type may decode as another one, with
//! wrong values and without an error. So every snapshot contains a fingerprint of the layout, and so does the module.
//!
//! The type is explored through its `Deserialize`, so its author does nothing. A deserializer without input gives it
//! made-up values and notes what it asks for. The result is a text, for example
//! `{names:[string],last:option<<Open,Closed{at_ms:u64}>>}`, and the fingerprint is a hash over it.
//!
//! | counts | does not count |
//! |---|---|
//! | names and order of fields and variants | names of types |
//! | types of values, of elements, keys and entries | which collection it is, if serde treats both alike (`Vec`, `BTreeSet`) |
//! | the length of arrays and tuples | `Box`, `Rc`, and structs with one field and no name for it |
//!
//! | module | what it does |
//! |---|---|
//! | [`trace`] | the deserializer |
//! | [`graph`] | the types found so far, and what to explore next |
//! | [`text`] | the text and the fingerprint |

mod graph;
mod text;
mod trace;

use serde::de::DeserializeOwned;

pub(crate) use text::Fingerprint;
pub(crate) use trace::TraceError;

/// The fingerprint of a type.
///
/// # Errors
///
/// The type refuses all made-up values, or the encoding of snapshots does not support it.
pub(crate) fn of<T: DeserializeOwned>() -> Result<Fingerprint, TraceError> {
    trace::explore::<T>()?.fingerprint()
}

#[cfg(test)]
mod tests;
