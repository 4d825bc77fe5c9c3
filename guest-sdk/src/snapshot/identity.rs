//! Which guest wrote a state.

use std::fmt;

/// Name, version and state layout of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestIdentity {
    /// Its name; `None` if an SDK before format 2 wrote the snapshot.
    pub name: Option<String>,
    /// Its version.
    pub version: u32,
    /// Fingerprint of the layout of its state; `None` if it is unknown.
    pub layout: Option<String>,
}

impl GuestIdentity {
    /// Whether both names are known and differ.
    pub(crate) fn has_another_name_than(&self, other: &Self) -> bool {
        matches!((&self.name, &other.name), (Some(own), Some(theirs)) if own != theirs)
    }

    /// Whether the layouts are equal; `None` if they cannot be compared.
    pub(crate) fn has_layout_of(&self, other: &Self) -> Option<bool> {
        let (own, theirs) = (self.layout.as_deref()?, other.layout.as_deref()?);
        match (algorithm(own), algorithm(theirs)) {
            // Derived in two ways from what may be the same type.
            (Some(own), Some(theirs)) if own != theirs => None,
            _ => Some(own == theirs),
        }
    }
}

/// The algorithm that derived a fingerprint from a type: `serde1` of `serde1:…`. `None` if the text is the author's own, as
/// `lock-python:1`.
fn algorithm(fingerprint: &str) -> Option<&str> {
    let (algorithm, _) = fingerprint.split_once(':')?;
    let number = algorithm.strip_prefix("serde")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(algorithm)
}

/// For messages: `counter version 1 (layout …)`.
impl fmt::Display for GuestIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name} ")?;
        }
        write!(f, "version {}", self.version)?;
        match &self.layout {
            Some(layout) => write!(f, " (layout {layout})"),
            None => Ok(()),
        }
    }
}

/// The two guests of a refused restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestPair {
    /// The guest that wrote the snapshot.
    pub written_by: GuestIdentity,
    /// The guest that was asked to read it.
    pub read_by: GuestIdentity,
}
