//! How a command travels in the log.
//!
//! ```text
//! byte 0   version: 1, or 2 for the words of an upgrade and of the audit
//! byte 1   version 1: 0 a command, 1 a command with an idempotency key, 2 a wake-up, 3 the word of a node which module it
//!          was started with
//! kind 1   two bytes: length of the key, little-endian; then the key, UTF-8
//! kind 3   32 bytes: SHA-256 of the module
//! the rest the command's bytes, opaque; a wake-up and a node's word have none
//! ```
//!
//! These words have a version of their own because a host that does not know them must not go past them:
//! it would answer that they are malformed, and not switch where the others do. [`upgrade::words`](crate::upgrade) has
//! their bytes from byte 1 on, and so has [`audit`](crate::audit).

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::audit::{self, AuditRecord};
use crate::module::Sha256;
use crate::upgrade::UpgradeRecord;

/// Longest idempotency key, in bytes.
pub const MAX_KEY_BYTES: usize = 256;

const VERSION: u8 = 1;
const UPGRADE_VERSION: u8 = 2;
const PLAIN: u8 = 0;
const KEYED: u8 = 1;
const WAKE: u8 = 2;
const RUNS: u8 = 3;

/// One command as it is proposed, or a wake-up of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// A command of a client.
    Command {
        /// `Idempotency-Key`, 1 to [`MAX_KEY_BYTES`] bytes.
        key: Option<String>,
        /// What the guest gets.
        body: Bytes,
    },
    /// The leader's word that the time has come for which the guest asked. Where it has not, or another wake-up came
    /// first, nothing happens.
    Wake,
    /// A node's word that it was started with the module of this digest. The first one in a log settles which module
    /// that log is for; a node whose module the log never was for stops.
    Runs(Sha256),
    /// Something about another module that is to run.
    Upgrade(UpgradeRecord),
    /// A question for the nodes' hashes, or an answer.
    Audit(AuditRecord),
}

/// Why bytes are no envelope, or an envelope can't be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// There are fewer bytes than the envelope says, or none.
    #[error("the envelope of a command is cut short; the log or its sender is damaged")]
    CutShort,
    /// A later version wrote it.
    #[error(
        "the envelope of a command has version {found}, and this node knows versions 1 and 2; bring the node up to date"
    )]
    Version {
        /// The version that it names.
        found: u8,
    },
    /// It is of no known kind.
    #[error("the envelope of a command has the unknown kind {found}; bring the node up to date")]
    Kind {
        /// The kind that it names.
        found: u8,
    },
    /// The idempotency key is empty or too long.
    #[error(
        "an idempotency key takes {bytes} bytes, and 1 to {MAX_KEY_BYTES} are allowed; choose another"
    )]
    KeyLength {
        /// Its length.
        bytes: usize,
    },
    /// The idempotency key is not UTF-8.
    #[error("the idempotency key is not UTF-8; the log or its sender is damaged")]
    KeyNotText,
    /// A node's word holds no digest.
    #[error("a digest takes {bytes} bytes, and 32 are needed; the log or its sender is damaged")]
    Digest {
        /// How many.
        bytes: usize,
    },
    /// A wake-up carries bytes.
    #[error("a wake-up carries {bytes} bytes, and it has none; the log or its sender is damaged")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// What should be a word of an upgrade or of the audit is none.
    #[error(
        "a word of an upgrade or of the audit makes no sense; the log or its sender is damaged"
    )]
    Upgrade,
}

impl Envelope {
    /// The bytes of a command with or without a key.
    ///
    /// # Errors
    /// [`EnvelopeError::KeyLength`].
    pub fn command(key: Option<&str>, body: &[u8]) -> Result<Bytes, EnvelopeError> {
        let mut bytes = BytesMut::with_capacity(4 + key.map_or(0, str::len) + body.len());
        bytes.put_u8(VERSION);
        match key {
            None => bytes.put_u8(PLAIN),
            Some(key) => {
                check_key(key.len())?;
                bytes.put_u8(KEYED);
                // Checked: at most MAX_KEY_BYTES.
                bytes.put_u16_le(key.len() as u16);
                bytes.put_slice(key.as_bytes());
            }
        }
        bytes.put_slice(body);
        Ok(bytes.freeze())
    }

    /// The bytes of a wake-up.
    #[must_use]
    pub fn wake() -> Bytes {
        Bytes::from_static(&[VERSION, WAKE])
    }

    /// The bytes of a node's word that it runs a module.
    #[must_use]
    pub fn runs(module: Sha256) -> Bytes {
        let mut bytes = BytesMut::with_capacity(2 + module.0.len());
        bytes.put_slice(&[VERSION, RUNS]);
        bytes.put_slice(&module.0);
        bytes.freeze()
    }

    /// The bytes of a word of an upgrade.
    #[must_use]
    pub fn upgrade(word: &UpgradeRecord) -> Bytes {
        let word = word.encode();
        let mut bytes = BytesMut::with_capacity(1 + word.len());
        bytes.put_u8(UPGRADE_VERSION);
        bytes.put_slice(&word);
        bytes.freeze()
    }

    /// The bytes of a word of the audit.
    #[must_use]
    pub fn audit(word: &AuditRecord) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(UPGRADE_VERSION);
        word.encode(&mut bytes);
        bytes.freeze()
    }

    /// Reads an envelope. Bytes are shared, not copied.
    ///
    /// # Errors
    /// [`EnvelopeError`] for anything that [`Self::command`], [`Self::wake`], [`Self::runs`], [`Self::upgrade`] and
    /// [`Self::audit`] don't write.
    pub fn decode(bytes: &Bytes) -> Result<Self, EnvelopeError> {
        let &[version, ref rest @ ..] = bytes.as_ref() else {
            return Err(EnvelopeError::CutShort);
        };
        if version == UPGRADE_VERSION {
            let word = bytes.slice_ref(rest);
            if let Some(&(audit::REQUEST | audit::REPORT)) = word.first() {
                let word = AuditRecord::decode(&word);
                return word.map(Self::Audit).ok_or(EnvelopeError::Upgrade);
            }
            let word = UpgradeRecord::decode(word);
            // What the reader says is a host's error, which is never replicated.
            return word.map(Self::Upgrade).map_err(|_| EnvelopeError::Upgrade);
        }
        if version != VERSION {
            return Err(EnvelopeError::Version { found: version });
        }
        let &[kind, ref rest @ ..] = rest else {
            return Err(EnvelopeError::CutShort);
        };
        match kind {
            PLAIN => Ok(Self::Command {
                key: None,
                body: bytes.slice_ref(rest),
            }),
            KEYED => {
                let (key, body) = split_key(rest)?;
                Ok(Self::Command {
                    key: Some(key.to_owned()),
                    body: bytes.slice_ref(body),
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

fn split_key(rest: &[u8]) -> Result<(&str, &[u8]), EnvelopeError> {
    let (length, rest) = rest.split_first_chunk().ok_or(EnvelopeError::CutShort)?;
    let length = usize::from(u16::from_le_bytes(*length));
    check_key(length)?;
    let (key, body) = rest
        .split_at_checked(length)
        .ok_or(EnvelopeError::CutShort)?;
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
