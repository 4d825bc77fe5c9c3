//! Who sends a request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oarlock_wasm::{GuestCaller, GuestCallerError};

use super::role::{AccessRole, RoleSet};

/// Who sends the requests of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Requester {
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
    /// Its name and scopes, as the guest sees them.
    guest_caller: Arc<GuestCaller>,
    /// What it may do.
    pub(crate) roles: RoleSet,
}

impl Principal {
    /// Someone with this name, these roles, and these values of each scope.
    ///
    /// # Errors
    /// The name or a scope is too long for the log.
    pub(crate) fn new(
        name: String,
        roles: RoleSet,
        scopes: BTreeMap<String, BTreeSet<String>>,
    ) -> Result<Self, GuestCallerError> {
        let guest_caller = Arc::new(GuestCaller::new(name, scopes)?);
        Ok(Self {
            guest_caller,
            roles,
        })
    }

    /// Its name in its certificate or token.
    pub(crate) fn name(&self) -> &str {
        self.guest_caller.name()
    }
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
    /// Its token has scopes, which the guest enforces and the host can't.
    Scoped {
        /// The name of the principal.
        name: String,
    },
}

impl Requester {
    /// Checks that the caller has a role. `None`: any principal may.
    pub(crate) fn check(&self, needs: Option<AccessRole>) -> Result<(), AccessDenied> {
        match (self, needs) {
            (Self::Anyone, _) | (Self::Known(_), None) => Ok(()),
            (Self::Unknown, _) => Err(AccessDenied::Unauthenticated),
            (Self::Known(principal), Some(role)) if principal.roles.contains(role) => Ok(()),
            (Self::Known(principal), Some(needs)) => Err(AccessDenied::Forbidden {
                name: principal.name().to_owned(),
                needs,
            }),
        }
    }

    /// Checks that the caller is not limited to scopes.
    pub(crate) fn check_unscoped(&self) -> Result<(), AccessDenied> {
        match self.for_guest() {
            Some(principal) if !principal.scopes().is_empty() => Err(AccessDenied::Scoped {
                name: principal.name().to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The name of the principal, if there is one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Known(principal) => Some(principal.name()),
            Self::Anyone | Self::Unknown => None,
        }
    }

    /// The principal as the guest sees it, if there is one.
    pub(crate) fn for_guest(&self) -> Option<&Arc<GuestCaller>> {
        match self {
            Self::Known(principal) => Some(&principal.guest_caller),
            Self::Anyone | Self::Unknown => None,
        }
    }
}
