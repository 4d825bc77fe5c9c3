//! Why a document is not the schema of a guest.

use thiserror::Error;

/// A document is not valid. `place` is a path in it, such as `properties.command`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum SchemaFault {
    #[error("it has {bytes} bytes, more than the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("it is not JSON: {0}")]
    NotJson(String),
    #[error("`{place}` is not {expected}")]
    Wrong {
        place: String,
        expected: &'static str,
    },
    #[error(
        "`{place}` refers to {reference:?}, which is not `#/$defs/NAME` of a type in the document"
    )]
    Reference { place: String, reference: String },
    #[error("`{place}` refers to itself without an object or a list in between")]
    Circle { place: String },
    #[error("`{place}` is nested deeper than {limit} types")]
    TooDeep { place: String, limit: usize },
    #[error("`{place}` has {count} members, more than the limit of {limit}")]
    TooMany {
        place: String,
        count: usize,
        limit: usize,
    },
    #[error("`{place}` has a name of more than {limit} bytes")]
    LongName { place: String, limit: usize },
    #[error("`{place}` has no type for {name:?}")]
    NoResult { place: &'static str, name: String },
    #[error("`{place}` has a type for {name:?}, which does not exist")]
    Unexpected { place: &'static str, name: String },
}
