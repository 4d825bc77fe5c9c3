//! Codecs: how commands, queries, replies, responses and refusals are encoded as bytes.
//!
//! The default is JSON. The attribute selects another one:
//! `#[state_machine(name = "…", version = 1, codec = "bytes")]`. A codec of your own is given by the path of a type that
//! implements [`Codec`]: `codec = my_crate::Borsh`.

mod api;
mod bytes;
mod json;

pub use api::{Codec, EncodeError};
pub use bytes::Bytes;
pub use json::Json;
