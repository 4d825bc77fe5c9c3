//! Replicated settings: what decides outcomes besides the guest, and how it changes.
//!
//! At cluster level 0 a machine has none: each node uses its own limits. The entry that begins a cluster at level 1, or
//! raises it, contains all settings. From then on only a [`SettingsChange`] changes them, at its index. Snapshots contain
//! them.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;

use crate::guest::limits::{LimitsError, MachineLimits};
use crate::guest::metering::COST_TABLE;
use crate::guest::semantics::GuestSemantics;
use crate::records::settings::{SettingValues, SettingsTable};
use crate::records::settings_outcome::SettingsRefusal;

pub(crate) mod table;

use table::SETTINGS;

/// The release of this host, as it is written into settings.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The settings of a cluster. They are part of the replicated state, and equal on every node at the same index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicatedSettings {
    cost_table: u32,
    release: String,
    /// The rules and the limits; those of queries are the defaults, because they belong to a node.
    limits: MachineLimits,
}

/// Settings that this node can't apply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsFault {
    /// The bytes are not settings.
    #[error("the settings of the cluster can't be read: {0}; the log or a snapshot is corrupt")]
    Corrupt(String),
    /// The cluster executes guests by rules that this node does not know.
    #[error(
        "the cluster executes guests by version {found} of the rules, but this node supports versions up to {latest}; run release {release} or a later one on this node"
    )]
    Semantics {
        /// Version in the settings.
        found: u32,
        /// The latest version that this node supports.
        latest: GuestSemantics,
        /// Release that wrote the settings.
        release: String,
    },
    /// The cluster uses a table of fuel costs that this node does not have.
    #[error(
        "the cluster counts fuel by cost table {found}, but this node has table {COST_TABLE}; run release {release} or a later one on this node"
    )]
    CostTable {
        /// Table in the settings.
        found: u32,
        /// Release that wrote the settings.
        release: String,
    },
    /// The cluster has a setting that this node does not know.
    #[error(
        "the cluster has the setting `{name}`, which this node does not know; run release {release} or a later one on this node"
    )]
    Unknown {
        /// Name of the setting.
        name: String,
        /// Release that wrote the settings.
        release: String,
    },
    /// The limits are invalid.
    #[error(transparent)]
    Limits(#[from] LimitsError),
}

/// A setting whose value on this node differs from the cluster's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingDifference {
    /// Name of the setting.
    pub name: &'static str,
    /// The flag of `oarlock serve` that proposes it, if there is one, without dashes.
    pub flag: Option<&'static str>,
    /// The node's value.
    pub own: u64,
    /// The cluster's value, which applies.
    pub cluster: u64,
}

impl ReplicatedSettings {
    /// The settings that a node with these limits proposes when a cluster begins.
    #[must_use]
    pub fn proposed(limits: &MachineLimits) -> Self {
        let mut settings = Self {
            cost_table: COST_TABLE,
            release: RELEASE.to_owned(),
            limits: MachineLimits {
                semantics: GuestSemantics::LATEST,
                ..MachineLimits::default()
            },
        };
        for setting in &SETTINGS {
            (setting.set)(&mut settings.limits, (setting.get)(limits));
        }
        settings
    }

    /// The bytes in the log and in snapshots.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let values = SETTINGS
            .iter()
            .map(|setting| (setting.name.to_owned(), (setting.get)(&self.limits)));
        let table = SettingsTable {
            semantics: self.semantics().version(),
            cost_table: self.cost_table,
            release: self.release.clone(),
            values: values.collect(),
        };
        table.encode()
    }

    /// Reads what [`Self::encode`] wrote. A setting that is missing has its default: a release before it wrote them.
    ///
    /// # Errors
    /// This node can't apply the settings.
    pub fn decode(bytes: &[u8]) -> Result<Self, SettingsFault> {
        let table = SettingsTable::decode(bytes)
            .map_err(|error| SettingsFault::Corrupt(error.to_string()))?;
        let SettingsTable {
            semantics,
            cost_table,
            release,
            values,
        } = table;
        let Some(rules) = GuestSemantics::of_version(semantics) else {
            return Err(SettingsFault::Semantics {
                found: semantics,
                latest: GuestSemantics::LATEST,
                release,
            });
        };
        if cost_table != COST_TABLE {
            let found = cost_table;
            return Err(SettingsFault::CostTable { found, release });
        }
        let mut limits = MachineLimits {
            semantics: rules,
            ..MachineLimits::default()
        };
        for (name, value) in values {
            let Some(setting) = table::find(&name) else {
                return Err(SettingsFault::Unknown { name, release });
            };
            (setting.set)(&mut limits, value);
        }
        limits.validate()?;
        Ok(Self {
            cost_table,
            release,
            limits,
        })
    }

    /// Version of the rules by which guests are executed.
    #[must_use]
    pub fn semantics(&self) -> GuestSemantics {
        self.limits.semantics
    }

    /// Id of the table of fuel costs.
    #[must_use]
    pub fn cost_table(&self) -> u32 {
        self.cost_table
    }

    /// Names and values, in the order of names.
    #[must_use]
    pub fn values(&self) -> BTreeMap<&'static str, u64> {
        let value = |setting: &table::Setting| (setting.name, (setting.get)(&self.limits));
        SETTINGS.iter().map(value).collect()
    }

    /// The limits that apply on a node whose own limits are `own`: the cluster's, and the node's for queries.
    #[must_use]
    pub fn limits_on(&self, own: &MachineLimits) -> MachineLimits {
        MachineLimits {
            fuel_per_query: own.fuel_per_query,
            memory_per_query: own.memory_per_query,
            queries_waiting: own.queries_waiting,
            ..self.limits
        }
    }

    /// The settings for which a node with these limits has another value.
    #[must_use]
    pub fn differences(&self, own: &MachineLimits) -> Vec<SettingDifference> {
        let proposed = SETTINGS.iter().filter(|setting| !setting.is_derived());
        let own = proposed.map(|setting| SettingDifference {
            name: setting.name,
            flag: setting.flag,
            own: (setting.get)(own),
            cluster: (setting.get)(&self.limits),
        });
        own.filter(|setting| setting.own != setting.cluster)
            .collect()
    }

    /// Applies a change, wholly or not at all.
    ///
    /// # Errors
    /// Why the change is refused. It is refused on every node.
    pub(crate) fn change(&mut self, values: &SettingValues) -> Result<(), SettingsRefusal> {
        let mut limits = self.limits;
        for (name, &value) in values {
            let setting =
                table::find(name).ok_or_else(|| SettingsRefusal::Unknown { name: name.clone() })?;
            setting.check(value, (setting.get)(&limits))?;
            (setting.set)(&mut limits, value);
        }
        limits.restore_memory_bytes = if limits.memory_bytes < self.limits.memory_bytes {
            let before = &self.limits;
            before.restore_memory_bytes.max(before.memory_bytes)
        } else {
            self.limits.restore_memory_bytes
        };
        limits
            .validate()
            .map_err(|error| SettingsRefusal::Invalid {
                reason: error.to_string(),
            })?;
        self.limits = limits;
        Ok(())
    }

    /// These settings with the rules of the entry that raises the level. Limits stay as they are.
    pub(crate) fn with_rules_of(&self, raised: &Self) -> Self {
        Self {
            cost_table: raised.cost_table,
            release: raised.release.clone(),
            ..self.clone()
        }
        .with_semantics(raised.limits.semantics)
    }

    /// These settings with another version of the rules.
    pub(crate) fn with_semantics(mut self, semantics: GuestSemantics) -> Self {
        self.limits.semantics = semantics;
        self
    }

    /// Checks a change before it is proposed.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn check_change(&self, values: &BTreeMap<String, u64>) -> Result<(), SettingsRefusal> {
        self.clone().change(values)
    }

    /// The flags of `oarlock serve` that propose settings, without dashes.
    pub fn flags() -> impl Iterator<Item = &'static str> {
        SETTINGS.iter().filter_map(|setting| setting.flag)
    }

    /// The release that proposes changes.
    #[must_use]
    pub fn release() -> &'static str {
        RELEASE
    }
}

/// The first setting of a change that this node does not know. Another node may know it, so the outcome is not known here.
pub(crate) fn unknown_in(values: &SettingValues) -> Option<&String> {
    values.keys().find(|name| table::find(name).is_none())
}

#[cfg(test)]
mod tests;
