//! The peers of a node, and the connections to them.
pub mod address;
pub mod frame;
mod queue;
pub mod hello;
