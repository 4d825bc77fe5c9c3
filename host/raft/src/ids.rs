//! Identifiers that all modules share: node, term, index, log id, store id, lineage.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Name of a node, unique in its cluster. A clone shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NodeId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for NodeId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl $name {
            /// The value before the first one.
            pub const ZERO: Self = Self(0);

            /// The next one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }

            /// The one before; zero stays zero.
            #[must_use]
            pub fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// A term, with at most one leader. Terms start at 1 (Raft paper §5.1); 0 is the time before any election.
    Term
}
counter! {
    /// Position in the log. Indexes start at 1; 0 is the position before the first entry.
    Index
}

/// Identifies an entry: two entries with the same id are equal (Log Matching, Raft paper §5.3).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogId {
    /// Term of the leader that created the entry. It is the first field, so that the order is "more up to date" (§5.4.1).
    pub term: Term,
    /// Position of the entry.
    pub index: Index,
}

impl LogId {
    /// The entry of `term` at `index`.
    #[must_use]
    pub fn new(term: Term, index: Index) -> Self {
        Self { term, index }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.term, self.index)
    }
}

/// Identifies a store. It is a random number, drawn when the store is created. A node whose disk was wiped has a new one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoreId(pub u64);

impl StoreId {
    /// A store without an id, or an unknown id.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies the history of a cluster. It is a random number, drawn when the cluster is bootstrapped or raised from level 0, and
/// part of that entry. Nodes of different lineages never exchange entries, even if their clusters have the same name.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lineage(pub u128);

impl Lineage {
    /// No lineage: a cluster at level 0, or a node that belongs to no cluster yet.
    pub const NONE: Self = Self(0);

    /// The lineage of a cluster that begins with its first entry, from a random number.
    #[must_use]
    pub fn at_bootstrap(random: u128) -> Self {
        Self(random | 1)
    }

    /// The lineage of a cluster that is raised from level 0, from a random number.
    #[must_use]
    pub fn at_raise(random: u128) -> Self {
        Self((random & !1).max(2))
    }

    /// Whether the first entry of the cluster has the lineage. Then every log of the cluster has it.
    #[must_use]
    pub fn is_from_bootstrap(self) -> bool {
        self.0 & 1 == 1
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            f.write_str("none")
        } else {
            write!(f, "{:032x}", self.0)
        }
    }
}

impl fmt::Debug for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
