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
        match (scheme(own), scheme(theirs)) {
            (Some(own), Some(theirs)) if own != theirs => None,
            _ => Some(own == theirs),
        }
    }
}

/// How a fingerprint was made: the part before the first colon, if there is one. Two ways can't be compared.
fn scheme(fingerprint: &str) -> Option<&str> {
    fingerprint.split_once(':').map(|(scheme, _)| scheme)
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
