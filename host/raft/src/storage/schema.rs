//! The bytes of every record that a node keeps: the database, the entries of the log, and the header of a snapshot file.
//!
//! All numbers are big-endian. Every record begins with its version and ends with a checksum (CRC-32C).
//! `host/docs/formats.md` has the tables.
//!
//! | module | what it encodes |
//! |---|---|
//! | `record` | the frame of every record: version, checksum, lengths |
//! | `members` | a configuration, within an entry or a snapshot header |
//! | `entry` | a log entry |
//! | `meta` | identity, term and vote, purge position, state of the store |
//! | `origin` | the file that a log was written to |
//! | `snapshot_header` | the first bytes of a snapshot file |

mod entry;
mod members;
mod meta;
mod origin;
mod record;
mod snapshot_header;
#[cfg(test)]
mod tests;

pub(super) use self::entry::{
    MAX_ENTRY_BYTES, check_entry, check_entry_size, decode_entry, encode_entry,
};
#[cfg(any(test, feature = "testing"))]
pub(super) use self::meta::encode_log_id;
pub(super) use self::meta::{
    FORMAT, FORMAT_WITH_ENTRIES, FORMAT_WITHOUT_STORE_INIT, decode_hard_state, decode_identity,
    decode_lease, decode_log_id, decode_log_name, decode_met, decode_runs, decode_store_init,
    encode_hard_state, encode_identity, encode_lease, encode_log_name, encode_met, encode_runs,
    encode_store_init,
};
pub use self::meta::{Identity, StoreInit};
pub use self::origin::FileOrigin;
pub(super) use self::origin::{decode_origin, encode_origin};
pub(super) use self::record::RecordError;
pub(super) use self::snapshot_header::{
    MAX_SNAPSHOT_HEADER_BYTES, SNAPSHOT_HEADER_BYTES, decode_snapshot_header,
    encode_snapshot_header, snapshot_header_bytes,
};
