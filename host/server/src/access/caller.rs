//! Who sends a request.

use std::sync::Arc;

use super::role::{AccessRole, RoleSet};

/// Who sends the requests of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// The node does not authenticate: everyone may do everything.
    Anyone,
    /// The node authenticates, and the client has proved nothing.
    Unknown,
    /// The client has proved who it is.
    Known(Arc<Principal>),
}

/// Someone who was authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// Its name in its certificate.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) roles: RoleSet,
}

/// Why a caller may not send a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccessDenied {
    /// It has proved nothing.
    Unauthenticated,
    /// It has other roles only.
    Forbidden {
        /// The name of the principal.
        name: String,
        /// The role that it needs.
        needs: AccessRole,
    },
}

impl Caller {
    /// Checks that the caller has a role. `None`: any principal may.
    pub(crate) fn check(&self, needs: Option<AccessRole>) -> Result<(), AccessDenied> {
        match (self, needs) {
            (Self::Anyone, _) | (Self::Known(_), None) => Ok(()),
            (Self::Unknown, _) => Err(AccessDenied::Unauthenticated),
            (Self::Known(principal), Some(role)) if principal.roles.contains(role) => Ok(()),
            (Self::Known(principal), Some(needs)) => Err(AccessDenied::Forbidden {
                name: principal.name.clone(),
                needs,
            }),
        }
    }

    /// The name of the principal, if there is one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Known(principal) => Some(&principal.name),
            Self::Anyone | Self::Unknown => None,
        }
    }
}
