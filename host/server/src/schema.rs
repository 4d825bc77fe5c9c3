//! The schema of a guest's messages: the types of commands, replies, queries and responses. The document is defined in
//! `host/docs/schema.md`. It comes from a module or a node, so it is not trusted.

mod fault;
mod model;
mod parse;
mod tagged;
mod types;

pub(crate) use fault::SchemaFault;
pub(crate) use model::{DataType, GuestMessages, MessagePair, NamedType, TypeField};
pub(crate) use parse::parse;

#[cfg(test)]
mod tests;
