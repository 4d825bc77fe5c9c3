//! Outcomes of changes of the settings.

use thiserror::Error;

/// The outcome of a change of the settings. Equal on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsOutcome {
    /// The new values apply from here on.
    Changed,
    /// The change was refused, and nothing changed.
    Refused(SettingsRefusal),
}

impl SettingsOutcome {
    /// The kind as one byte, for the state hash.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Changed => 0,
            Self::Refused(_) => 1,
        }
    }
}

/// Why settings were not changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsRefusal {
    /// The cluster is at level 0: its nodes use their own flags.
    #[error(
        "the cluster is at level 0, where each node uses its own flags; run the same release on every node, then `oarlock settings raise-level`"
    )]
    NoSettings,
    /// There is no such setting.
    #[error("there is no setting `{name}`; `oarlock settings show` lists them")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The value is outside of the setting's range.
    #[error("the setting `{name}` can't be {value}; choose a value from {least} to {most}")]
    OutOfRange {
        /// Name of the setting.
        name: &'static str,
        /// The refused value.
        value: u64,
        /// Least value.
        least: u64,
        /// Largest value.
        most: u64,
    },
    /// The value is lower than the present one.
    #[error(
        "the setting `{name}` is {now} and can only be raised, because under {value} the present state might not be written or read any more; choose a higher value"
    )]
    RaiseOnly {
        /// Name of the setting.
        name: &'static str,
        /// The refused value.
        value: u64,
        /// The present value.
        now: u64,
    },
    /// The host derives the value from other settings.
    #[error("the setting `{name}` follows from others; change those")]
    Derived {
        /// Name of the setting.
        name: &'static str,
    },
    /// The values don't fit together.
    #[error("{reason}")]
    Invalid {
        /// Which value, and why.
        reason: String,
    },
}
