//! Replicated settings: what decides the outcomes of commands besides the guest itself.
//!
//! Entry 1 of a cluster, or the entry that raises its level, contains all of them ([`SettingsTable`]). A
//! [`SettingsChange`] is an entry that changes some of them. Settings are named, so that a later release can add one.
//!
//! ```text
//! table    u8 version, 1 · u32 semantics · u32 cost table · bytes: release · u64 count · for each: bytes: name · u64 value
//! change   u8 kind, 1 · bytes: release · bytes: name of the operator · u64 count · for each: bytes: name · u64 value
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};

use crate::records::wire;

/// Kind of a [`SettingsChange`] among the records of version 3.
pub(crate) const CHANGE: u8 = 1;

const VERSION: u8 = 1;

/// Longest name of a setting, of a release and of an operator, in bytes.
const MAX_NAME_BYTES: u64 = 256;
/// Most settings in a record.
const MAX_SETTINGS: u64 = 1024;

/// Names and values of settings.
pub(crate) type SettingValues = BTreeMap<String, u64>;

/// All settings of a cluster, as the log and snapshots contain them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettingsTable {
    /// Version of the rules by which a host executes a guest.
    pub(crate) semantics: u32,
    /// Id of the table of fuel costs.
    pub(crate) cost_table: u32,
    /// Release of the program that wrote the table.
    pub(crate) release: String,
    pub(crate) values: SettingValues,
}

impl SettingsTable {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = Vec::new();
        let written = self.write(&mut bytes);
        debug_assert!(written.is_ok(), "writing to a vector never fails");
        bytes.into()
    }

    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        wire::put_u8(to, VERSION)?;
        wire::put_u32(to, self.semantics)?;
        wire::put_u32(to, self.cost_table)?;
        wire::put_bytes(to, self.release.as_bytes())?;
        write_values(to, &self.values)
    }

    /// Reads what [`Self::encode`] wrote, to the last byte.
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut from = bytes;
        let version = wire::take_u8(&mut from)?;
        if version != VERSION {
            return Err(wire::invalid(format!(
                "the settings have version {version}, but this node supports version {VERSION}; update the node"
            )));
        }
        let table = Self {
            semantics: wire::take_u32(&mut from)?,
            cost_table: wire::take_u32(&mut from)?,
            release: wire::take_text(&mut from, MAX_NAME_BYTES)?,
            values: read_values(&mut from)?,
        };
        exhausted(from)?;
        Ok(table)
    }
}

/// An operator's change of some settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsChange {
    /// Release of the program that proposed it, for the message of a node that does not know one of the settings.
    pub release: String,
    /// Name of the operator who requested it, at most 256 bytes. May be empty.
    pub by: String,
    /// New values by name.
    pub values: BTreeMap<String, u64>,
}

impl SettingsChange {
    /// Appends kind and content.
    pub(crate) fn write(&self, to: &mut Vec<u8>) -> io::Result<()> {
        wire::put_u8(to, CHANGE)?;
        wire::put_bytes(to, self.release.as_bytes())?;
        wire::put_bytes(to, self.by.as_bytes())?;
        write_values(to, &self.values)
    }

    /// Reads the content, which follows the kind, to the last byte.
    pub(crate) fn read(mut from: &[u8]) -> io::Result<Self> {
        let change = Self {
            release: wire::take_text(&mut from, MAX_NAME_BYTES)?,
            by: wire::take_text(&mut from, MAX_NAME_BYTES)?,
            values: read_values(&mut from)?,
        };
        exhausted(from)?;
        Ok(change)
    }
}

fn write_values(to: &mut dyn Write, values: &SettingValues) -> io::Result<()> {
    wire::put_u64(to, values.len() as u64)?;
    for (name, value) in values {
        wire::put_bytes(to, name.as_bytes())?;
        wire::put_u64(to, *value)?;
    }
    Ok(())
}

fn read_values(from: &mut dyn Read) -> io::Result<SettingValues> {
    let count = wire::take_u64(from)?;
    if count > MAX_SETTINGS {
        return Err(wire::invalid(format!(
            "a record has {count} settings, but {MAX_SETTINGS} is the limit"
        )));
    }
    let mut values = SettingValues::new();
    for _ in 0..count {
        let name = wire::take_text(from, MAX_NAME_BYTES)?;
        let value = wire::take_u64(from)?;
        if values.insert(name, value).is_some() {
            return Err(wire::invalid("a record has a setting twice"));
        }
    }
    Ok(values)
}

fn exhausted(rest: &[u8]) -> io::Result<()> {
    if rest.has_remaining() {
        return Err(wire::invalid("a record of settings has trailing bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
