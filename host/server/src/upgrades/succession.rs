//! Whether a module may take over the state of the active one, by name, version and layout.
//!
//! The node that gets the request decides, before a record is proposed. No record contains a layout, so nodes of earlier
//! releases take part in the upgrade.

use std::fmt;

use oarlock_wasm::{Description, GuestModule, Sha256};
use thiserror::Error;

/// Digits of a digest in messages.
const SHORT: usize = 12;

/// Name, version, digest and layout of a module, for messages: `counter version 1 (0123456789ab, layout serde1:…)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModuleIdentity {
    name: String,
    version: u32,
    sha256: Sha256,
    layout: Option<String>,
}

impl From<&GuestModule> for ModuleIdentity {
    fn from(module: &GuestModule) -> Self {
        let Description {
            name,
            version,
            layout,
            ..
        } = module.description().clone();
        Self {
            name,
            version,
            sha256: module.sha256(),
            layout,
        }
    }
}

impl fmt::Display for ModuleIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sha256 = self.sha256.to_string();
        let short = sha256.get(..SHORT).unwrap_or(&sha256);
        let layout = self.layout.as_deref().unwrap_or("unknown");
        let (name, version) = (&self.name, self.version);
        write!(f, "{name} version {version} ({short}, layout {layout})")
    }
}

/// A module may not take over the state of the active one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum SuccessionError {
    /// It has another name.
    #[error(
        "the active guest is {active}, and the new one is {new}: a guest of another name may read the state differently"
    )]
    OtherName {
        active: Box<ModuleIdentity>,
        new: Box<ModuleIdentity>,
    },
    /// It has the same name and version, and its state has another layout.
    #[error(
        "the layout of the state changed, but the version did not: the active guest is {active}, and the new one is {new}"
    )]
    OtherLayout {
        active: Box<ModuleIdentity>,
        new: Box<ModuleIdentity>,
    },
}

/// Checks that `new` may take over the state of `active`. With `replace_machine` it may have another name; then its
/// `restore` decides.
///
/// # Errors
/// See [`SuccessionError`].
pub(crate) fn check(
    active: &ModuleIdentity,
    new: &ModuleIdentity,
    replace_machine: bool,
) -> Result<(), SuccessionError> {
    let both = || (Box::new(active.clone()), Box::new(new.clone()));
    if active.name != new.name {
        if replace_machine {
            return Ok(());
        }
        let (active, new) = both();
        return Err(SuccessionError::OtherName { active, new });
    }
    if active.version == new.version && layouts_differ(active, new) {
        let (active, new) = both();
        return Err(SuccessionError::OtherLayout { active, new });
    }
    Ok(())
}

/// Whether both layouts are known and differ.
fn layouts_differ(active: &ModuleIdentity, new: &ModuleIdentity) -> bool {
    match (&active.layout, &new.layout) {
        (Some(active), Some(new)) => match (scheme(active), scheme(new)) {
            // Made in two ways, so that they can't be compared.
            (Some(active), Some(new)) if active != new => false,
            _ => active != new,
        },
        _ => false,
    }
}

/// How a fingerprint was made: the part before the first colon, if there is one.
fn scheme(fingerprint: &str) -> Option<&str> {
    fingerprint.split_once(':').map(|(scheme, _)| scheme)
}

#[cfg(test)]
mod tests;
