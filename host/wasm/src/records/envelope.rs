//! The envelope: the encoding of a command in the log.
//!
//! ```text
//! byte 0   version: 1, or 2 for upgrade and audit records, or 3 for records of cluster level 1
//! byte 1   version 1: 0 a command, 1 a command with an idempotency key, 2 a wake-up, 3 the digest of the module that a
//!          node was started with
//! kind 1   two bytes: length of the key, little-endian; then the key, UTF-8
//! kind 3   32 bytes: SHA-256 of the module
//! the rest the command's bytes, opaque; kinds 2 and 3 have none
//! ```
//!
//! Upgrade and audit records have a version of their own because a host that does not know them must stop there: it
//! would return "malformed" for them, and not switch modules where other nodes do. [`upgrade`](super::upgrade) and
//! [`audit`](super::audit) describe their bytes from byte 1 on. For the same reason a record of cluster level 1 has
//! version 3, and a host stops at a kind that it does not know: 1 a change of the settings, see
//! [`settings`](super::settings); 2 the acceptance of a node's state, and 17 and 18, see [`audit`](super::audit); 16 see
//! [`memory`](super::memory); 48 and 49 see [`operation`](super::operation); 50 see
//! [`signature`](super::signature); 32 and 33 a command with its caller:
//!
//! ```text
//! kind 32  two bytes: length of the caller, little-endian; then the caller, see [`caller`](super::caller); then the command
//! kind 33  the same with an idempotency key, as in kind 1, between caller and command
//! ```

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use task_queue_raft::entry::CommandClass;
use thiserror::Error;

use crate::records::audit::{self, AuditRecord, StateAcceptance};
use crate::records::caller::GuestCaller;
use crate::records::digest::Sha256;
use crate::records::memory::{self, MemoryRecord};
use crate::records::operation::{self, OperationRecord};
use crate::records::settings::{self, SettingsChange};
use crate::records::signature::{self, UpgradeSignature};
use crate::records::upgrade::UpgradeRecord;

/// Longest idempotency key, in bytes.
pub const MAX_KEY_BYTES: usize = 256;

const VERSION: u8 = 1;
const RECORD_VERSION: u8 = 2;
/// Version of the records that only a cluster at level 1 or higher has.
const LEVEL_1_VERSION: u8 = 3;
const PLAIN: u8 = 0;
const KEYED: u8 = 1;
const WAKE: u8 = 2;
const RUNS: u8 = 3;
/// Kinds of version 3.
const CALLED: u8 = 32;
const CALLED_KEYED: u8 = 33;

/// One proposed command, or a record of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// A command of a client.
    Command {
        /// `Idempotency-Key`, 1 to [`MAX_KEY_BYTES`] bytes.
        key: Option<String>,
        /// The command's bytes, passed to the guest.
        body: Bytes,
        /// Who has sent it. `None` if the node does not authenticate, and at cluster level 0.
        caller: Option<Arc<GuestCaller>>,
    },
    /// The leader's record that the guest's wake-up time has passed. It has no effect if the time has not passed by the
    /// entry's own clock, or if an earlier wake-up came first.
    Wake,
    /// A node's record of the module that it was started with, by digest. The first one in a log settles which module
    /// the log belongs to. A node whose module never ran this log stops.
    Runs(Sha256),
    /// A record of an upgrade to another module.
    Upgrade(UpgradeRecord),
    /// A record of the state hash audit.
    Audit(AuditRecord),
    /// A change of the replicated settings.
    Settings(SettingsChange),
    /// The state of one node is the right one.
    Accept(StateAcceptance),
    /// A record of the audit of the complete state.
    StateAudit(AuditRecord),
    /// A node's report that the memory of its guest is low, or no longer low.
    Memory(MemoryRecord),
    /// A record of what an operator does.
    Operation(OperationRecord),
    /// The signature of the module of an upgrade.
    Signature(UpgradeSignature),
}

/// Why bytes are not an envelope, or an envelope can't be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// There are fewer bytes than the envelope needs, or none.
    #[error("the envelope of a command is truncated; the log or its sender is corrupt")]
    Truncated,
    /// A later version wrote the envelope.
    #[error(
        "the envelope of a command has version {found}, but this node supports versions 1 to 3; update the node"
    )]
    Version {
        /// The version in the envelope.
        found: u8,
    },
    /// The kind is unknown.
    #[error("the envelope of a command has the unknown kind {found}; update the node")]
    Kind {
        /// The kind in the envelope.
        found: u8,
    },
    /// The idempotency key is empty or too long.
    #[error(
        "an idempotency key takes {bytes} bytes, but 1 to {MAX_KEY_BYTES} are allowed; choose another"
    )]
    KeyLength {
        /// Length in bytes.
        bytes: usize,
    },
    /// The idempotency key is not UTF-8.
    #[error("the idempotency key is not UTF-8; the log or its sender is corrupt")]
    KeyNotText,
    /// A digest has the wrong length.
    #[error("a digest takes {bytes} bytes, but 32 are needed; the log or its sender is corrupt")]
    Digest {
        /// Length in bytes.
        bytes: usize,
    },
    /// A wake-up has content.
    #[error(
        "a wake-up has {bytes} bytes of content, but must have none; the log or its sender is corrupt"
    )]
    Trailing {
        /// Length in bytes.
        bytes: usize,
    },
    /// A later version wrote the record: other nodes may know it.
    #[error("the log contains a record of the unknown kind {found}; update the node")]
    RecordKind {
        /// The kind in the record.
        found: u8,
    },
    /// The caller can't be decoded.
    #[error("the caller of a command can't be decoded; the log or its sender is corrupt")]
    Caller,
    /// A record of cluster level 1 can't be decoded.
    #[error(
        "a record of settings or of an accepted state can't be decoded; the log or its sender is corrupt"
    )]
    Settings,
    /// Another record of the host can't be decoded.
    #[error("a record of the host can't be decoded; the log or its sender is corrupt")]
    Upgrade,
}

impl Envelope {
    /// Encodes a command, with or without a key.
    ///
    /// # Errors
    /// [`EnvelopeError::KeyLength`].
    pub fn command(key: Option<&str>, body: &[u8]) -> Result<Bytes, EnvelopeError> {
        let mut bytes = BytesMut::with_capacity(4 + key.map_or(0, str::len) + body.len());
        bytes.put_slice(&[VERSION, if key.is_some() { KEYED } else { PLAIN }]);
        if let Some(key) = key {
            put_key(&mut bytes, key)?;
        }
        bytes.put_slice(body);
        Ok(bytes.freeze())
    }

    /// Encodes a command with its caller. Only a cluster of level 1 or higher may have one.
    ///
    /// # Errors
    /// [`EnvelopeError::KeyLength`].
    pub fn called(
        caller: &GuestCaller,
        key: Option<&str>,
        body: &[u8],
    ) -> Result<Bytes, EnvelopeError> {
        let length = caller.bytes();
        let mut bytes = BytesMut::with_capacity(6 + length + key.map_or(0, str::len) + body.len());
        let kind = if key.is_some() { CALLED_KEYED } else { CALLED };
        bytes.put_slice(&[LEVEL_1_VERSION, kind]);
        // A caller has a limit far below.
        bytes.put_u16_le(length as u16);
        caller.encode(&mut bytes);
        if let Some(key) = key {
            put_key(&mut bytes, key)?;
        }
        bytes.put_slice(body);
        Ok(bytes.freeze())
    }

    /// Encodes a wake-up.
    #[must_use]
    pub fn wake() -> Bytes {
        Bytes::from_static(&[VERSION, WAKE])
    }

    /// Encodes the record that a node was started with this module.
    #[must_use]
    pub fn runs(module: Sha256) -> Bytes {
        let mut bytes = BytesMut::with_capacity(2 + module.0.len());
        bytes.put_slice(&[VERSION, RUNS]);
        bytes.put_slice(&module.0);
        bytes.freeze()
    }

    /// Encodes an upgrade record.
    #[must_use]
    pub fn upgrade(record: &UpgradeRecord) -> Bytes {
        let record = record.encode();
        let mut bytes = BytesMut::with_capacity(1 + record.len());
        bytes.put_u8(RECORD_VERSION);
        bytes.put_slice(&record);
        bytes.freeze()
    }

    /// Encodes an audit record.
    #[must_use]
    pub fn audit(record: &AuditRecord) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(RECORD_VERSION);
        record.encode(&mut bytes);
        bytes.freeze()
    }

    /// Encodes a change of the settings.
    #[must_use]
    pub fn settings(change: &SettingsChange) -> Bytes {
        let mut bytes = vec![LEVEL_1_VERSION];
        let written = change.write(&mut bytes);
        debug_assert!(written.is_ok(), "writing to a vector never fails");
        bytes.into()
    }

    /// Encodes a record of the audit of the complete state. Only a cluster of level 1 or higher may have one.
    #[must_use]
    pub fn state_audit(record: &AuditRecord) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(LEVEL_1_VERSION);
        record.encode_state(&mut bytes);
        bytes.freeze()
    }

    /// Encodes a memory record. Only a cluster of level 1 or higher may have one.
    #[must_use]
    pub fn memory(record: &MemoryRecord) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(LEVEL_1_VERSION);
        record.encode(&mut bytes);
        bytes.freeze()
    }

    /// Encodes a record of what an operator does. Only a cluster of level 1 or higher may have one.
    #[must_use]
    pub fn operation(record: &OperationRecord) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(LEVEL_1_VERSION);
        record.encode(&mut bytes);
        bytes.freeze()
    }

    /// Encodes the signature of the module of an upgrade. Only a cluster of level 1 or higher may have one.
    #[must_use]
    pub fn signature(record: &UpgradeSignature) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(LEVEL_1_VERSION);
        record.encode(&mut bytes);
        bytes.freeze()
    }

    /// The class of a command in the log. A client can't choose it: its bytes follow the version and kind.
    pub(crate) fn class_of(bytes: &[u8]) -> CommandClass {
        match bytes {
            [VERSION, RUNS, ..]
            | [RECORD_VERSION, audit::REQUEST | audit::REPORT, ..]
            | [
                LEVEL_1_VERSION,
                audit::STATE_REQUEST | audit::STATE_REPORT,
                ..,
            ] => CommandClass::Report,
            [LEVEL_1_VERSION, CALLED | CALLED_KEYED, ..] => CommandClass::Client,
            [RECORD_VERSION | LEVEL_1_VERSION, ..] => CommandClass::Control,
            _ => CommandClass::Client,
        }
    }

    /// Encodes the acceptance of a node's state.
    #[must_use]
    pub fn accept(record: &StateAcceptance) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(LEVEL_1_VERSION);
        record.encode(&mut bytes);
        bytes.freeze()
    }

    /// Decodes an envelope. The body shares the buffer, it is not copied.
    ///
    /// # Errors
    /// [`EnvelopeError`] for anything that the functions above don't write.
    pub fn decode(bytes: &Bytes) -> Result<Self, EnvelopeError> {
        let &[version, ref rest @ ..] = bytes.as_ref() else {
            return Err(EnvelopeError::Truncated);
        };
        if version == RECORD_VERSION {
            let record = bytes.slice_ref(rest);
            if let Some(&(audit::REQUEST | audit::REPORT)) = record.first() {
                let record = AuditRecord::decode(&record);
                return record.map(Self::Audit).ok_or(EnvelopeError::Upgrade);
            }
            let record = UpgradeRecord::decode(record);
            // Only the kind of an error is replicated, never its text.
            return record
                .map(Self::Upgrade)
                .map_err(|_| EnvelopeError::Upgrade);
        }
        if version == LEVEL_1_VERSION {
            return decode_level_1(bytes, rest);
        }
        if version != VERSION {
            return Err(EnvelopeError::Version { found: version });
        }
        let &[kind, ref rest @ ..] = rest else {
            return Err(EnvelopeError::Truncated);
        };
        match kind {
            PLAIN => Ok(Self::Command {
                key: None,
                body: bytes.slice_ref(rest),
                caller: None,
            }),
            KEYED => {
                let (key, body) = split_key(rest)?;
                Ok(Self::Command {
                    key: Some(key.to_owned()),
                    body: bytes.slice_ref(body),
                    caller: None,
                })
            }
            WAKE if rest.is_empty() => Ok(Self::Wake),
            WAKE => Err(EnvelopeError::Trailing { bytes: rest.len() }),
            RUNS => match rest.try_into() {
                Ok(digest) => Ok(Self::Runs(Sha256(digest))),
                Err(_) => Err(EnvelopeError::Digest { bytes: rest.len() }),
            },
            found => Err(EnvelopeError::Kind { found }),
        }
    }
}

/// `record`: the part of `bytes` after the version.
fn decode_level_1(bytes: &Bytes, record: &[u8]) -> Result<Envelope, EnvelopeError> {
    let &[kind, ref content @ ..] = record else {
        return Err(EnvelopeError::Truncated);
    };
    match kind {
        settings::CHANGE => SettingsChange::read(content)
            .map(Envelope::Settings)
            .map_err(|_| EnvelopeError::Settings),
        audit::ACCEPT => StateAcceptance::decode(content)
            .map(Envelope::Accept)
            .ok_or(EnvelopeError::Settings),
        memory::MEMORY => {
            let record = MemoryRecord::decode(record);
            record.map(Envelope::Memory).ok_or(EnvelopeError::Upgrade)
        }
        signature::SIGNATURE => {
            let record = UpgradeSignature::decode(record);
            record
                .map(Envelope::Signature)
                .ok_or(EnvelopeError::Upgrade)
        }
        operation::BEGIN | operation::END => {
            let record = OperationRecord::decode(record);
            record
                .map(Envelope::Operation)
                .ok_or(EnvelopeError::Upgrade)
        }
        audit::STATE_REQUEST | audit::STATE_REPORT => {
            let record = AuditRecord::decode_state(record);
            record
                .map(Envelope::StateAudit)
                .ok_or(EnvelopeError::Upgrade)
        }
        CALLED => {
            let (caller, body) = split_caller(content)?;
            Ok(Envelope::Command {
                key: None,
                body: bytes.slice_ref(body),
                caller: Some(caller),
            })
        }
        CALLED_KEYED => {
            let (caller, rest) = split_caller(content)?;
            let (key, body) = split_key(rest)?;
            Ok(Envelope::Command {
                key: Some(key.to_owned()),
                body: bytes.slice_ref(body),
                caller: Some(caller),
            })
        }
        found => Err(EnvelopeError::RecordKind { found }),
    }
}

fn split_caller(rest: &[u8]) -> Result<(Arc<GuestCaller>, &[u8]), EnvelopeError> {
    let (length, rest) = rest.split_first_chunk().ok_or(EnvelopeError::Truncated)?;
    let length = usize::from(u16::from_le_bytes(*length));
    let (caller, rest) = rest
        .split_at_checked(length)
        .ok_or(EnvelopeError::Truncated)?;
    let caller = GuestCaller::decode(caller).ok_or(EnvelopeError::Caller)?;
    Ok((Arc::new(caller), rest))
}

fn put_key(to: &mut BytesMut, key: &str) -> Result<(), EnvelopeError> {
    check_key(key.len())?;
    // `check_key` has limited it to MAX_KEY_BYTES.
    to.put_u16_le(key.len() as u16);
    to.put_slice(key.as_bytes());
    Ok(())
}

fn split_key(rest: &[u8]) -> Result<(&str, &[u8]), EnvelopeError> {
    let (length, rest) = rest.split_first_chunk().ok_or(EnvelopeError::Truncated)?;
    let length = usize::from(u16::from_le_bytes(*length));
    check_key(length)?;
    let (key, body) = rest
        .split_at_checked(length)
        .ok_or(EnvelopeError::Truncated)?;
    let key = std::str::from_utf8(key).map_err(|_| EnvelopeError::KeyNotText)?;
    Ok((key, body))
}

fn check_key(bytes: usize) -> Result<(), EnvelopeError> {
    if bytes == 0 || bytes > MAX_KEY_BYTES {
        return Err(EnvelopeError::KeyLength { bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
