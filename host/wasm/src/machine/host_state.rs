//! The section of a snapshot with the replicated state of the host that exists from cluster level 1 on, or after a
//! decision of an operator about an entry.
//!
//! ```text
//! parts    for each: u8 kind · bytes
//! kind 1   the settings, as in the log
//! kind 2   the nodes whose memory is low, for each: u64 length · the name, UTF-8; absent if there are none
//! kind 3   u64 count · for each decision: u64 index · digest of the entry's commands · u8 1 and the digest of the
//!          successor, or u8 0 and zeros
//! kind 4   u64 number of operations that began · for each that is kept: u64 index · u64 time · by, what, details: u64 length ·
//!          UTF-8 · u8 1 and u64 index · u64 time · the code of its end, as these texts; or u8 0; absent before the first
//! kind 5   the signature of the upgrade in progress, UTF-8; absent without one
//! ```
//! A node stops at a kind that it does not know, because the part may decide outcomes.

use std::io::{self, Read};

use crate::machine::decisions;
use crate::machine::memory::LowMemory;
use crate::machine::operations::Operations;
use crate::machine::state::ReplicatedState;
use crate::records::chunks::ChunkReader;
use crate::records::snapshot_error::MachineSnapshotError;
use crate::records::wire;
use crate::settings::ReplicatedSettings;

const SETTINGS: u8 = 1;
const LOW_MEMORY: u8 = 2;
const DECISIONS: u8 = 3;
const OPERATIONS: u8 = 4;
const SIGNATURE: u8 = 5;

/// Largest part, in bytes.
const MAX_PART_BYTES: u64 = 1 << 20;

/// The bytes of the section; `None` without settings and decisions.
pub(super) fn encode(replicated: &ReplicatedState) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if let Some(settings) = &replicated.settings {
        wire::put_u8(&mut bytes, SETTINGS)?;
        wire::put_bytes(&mut bytes, &settings.encode())?;
    }
    if replicated.memory.is_low() {
        let mut part = Vec::new();
        replicated.memory.write(&mut part)?;
        wire::put_u8(&mut bytes, LOW_MEMORY)?;
        wire::put_bytes(&mut bytes, &part)?;
    }
    if !replicated.decisions.is_empty() {
        let mut part = Vec::new();
        decisions::write(&mut part, &replicated.decisions)?;
        wire::put_u8(&mut bytes, DECISIONS)?;
        wire::put_bytes(&mut bytes, &part)?;
    }
    if !replicated.operations.is_empty() {
        let mut part = Vec::new();
        replicated.operations.write(&mut part)?;
        wire::put_u8(&mut bytes, OPERATIONS)?;
        wire::put_bytes(&mut bytes, &part)?;
    }
    if let Some(signature) = replicated.upgrades.signature() {
        wire::put_u8(&mut bytes, SIGNATURE)?;
        wire::put_bytes(&mut bytes, signature.as_bytes())?;
    }
    Ok((!bytes.is_empty()).then_some(bytes))
}

/// Reads what [`encode`] wrote, to the last byte.
///
/// # Errors
/// The section is corrupt, or this node does not know one of its parts.
pub(super) fn decode(
    from: &mut ChunkReader,
    replicated: &mut ReplicatedState,
) -> Result<(), MachineSnapshotError> {
    let mut kind = [0];
    while from.read(&mut kind)? == 1 {
        let [found] = kind;
        let part = wire::take_bytes(from, MAX_PART_BYTES)?;
        match found {
            SETTINGS => {
                let settings = ReplicatedSettings::decode(&part);
                replicated.settings = Some(settings.map_err(|error| {
                    let message = error.to_string();
                    MachineSnapshotError::Settings { message }
                })?);
            }
            LOW_MEMORY => replicated.memory = LowMemory::read(&part)?,
            DECISIONS => replicated.decisions = decisions::read(&mut part.as_slice())?,
            OPERATIONS => replicated.operations = Operations::read(&part)?,
            SIGNATURE => {
                let signature = String::from_utf8(part).map_err(wire::invalid)?;
                replicated.upgrades.restore_signature(signature);
            }
            found => return Err(MachineSnapshotError::HostState { found }),
        }
    }
    Ok(())
}
