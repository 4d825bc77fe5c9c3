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
    let (Some(active), Some(new)) = (&active.layout, &new.layout) else {
        return false;
    };
    match (algorithm(active), algorithm(new)) {
        // Derived in two ways from what may be the same type.
        (Some(active), Some(new)) if active != new => false,
        _ => active != new,
    }
}

/// The algorithm that derived a fingerprint from a type: `serde1` of `serde1:…`. `None` if the text is the author's own, as
/// `lock-python:1`: then its parts have no meaning.
fn algorithm(fingerprint: &str) -> Option<&str> {
    let (algorithm, _) = fingerprint.split_once(':')?;
    let number = algorithm.strip_prefix("serde")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(algorithm)
}

#[cfg(test)]
mod tests;
