//! What the log and snapshots contain, byte by byte: the lowest layer of this crate. `host/docs/formats.md` describes
//! the formats.

pub(crate) mod audit;
pub(crate) mod caller;
pub(crate) mod chunks;
pub(crate) mod digest;
pub(crate) mod envelope;
pub(crate) mod failure;
pub(crate) mod frames;
pub(crate) mod memory;
pub(crate) mod operation;
pub(crate) mod outcome;
pub(crate) mod query;
pub(crate) mod settings;
pub(crate) mod settings_outcome;
pub(crate) mod signature;
pub(crate) mod snapshot_error;
mod text;
pub(crate) mod upgrade;
pub(crate) mod wire;
