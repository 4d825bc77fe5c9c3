//! Who has sent a command or a query.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// Who has sent a command or a query: the owner of a certificate or of a token. See
/// [`Apply::caller`](crate::Apply::caller).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    name: String,
    scopes: BTreeMap<String, BTreeSet<String>>,
}

impl Caller {
    /// A caller without scopes, for tests.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            scopes: BTreeMap::new(),
        }
    }

    /// The same caller, limited to these values of a scope.
    #[must_use]
    pub fn with_scope<V: Into<String>>(
        mut self,
        scope: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.scopes.insert(scope.into(), values);
        self
    }

    /// The name in the certificate or the token. A certificate of a node has `node/` and the id of the node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The values of a scope of the token (`oarlock token create NAME --scope queues=a,b`). `None`: the caller is not limited in
    /// it. A certificate has no scopes.
    pub fn scope(&self, scope: &str) -> Option<&BTreeSet<String>> {
        self.scopes.get(scope)
    }

    /// Whether the caller may use this value of a scope: it is not limited in the scope, or the value is in it.
    pub fn may_use(&self, scope: &str, value: &str) -> bool {
        self.scope(scope)
            .is_none_or(|values| values.contains(value))
    }
}

/// Whether commands of a batch have callers. The host is asked once, so that a cluster without certificates pays for one call
/// of the host in each batch, and not for one in each command.
#[derive(Debug, Default)]
pub(crate) struct BatchCallers(Cell<Option<bool>>);

impl BatchCallers {
    pub(crate) fn exist(&self, ask: impl FnOnce() -> bool) -> bool {
        let exist = self.0.get().unwrap_or_else(ask);
        self.0.set(Some(exist));
        exist
    }
}

/// Asks the host whether any command of the batch has a caller.
#[cfg(target_family = "wasm")]
pub(crate) fn imported_any() -> bool {
    crate::bindings::oarlock::state_machine::callers::has_callers()
}

/// Asks the host.
#[cfg(target_family = "wasm")]
pub(crate) fn imported(command: u32) -> Option<Caller> {
    use crate::bindings::oarlock::state_machine::callers;

    let caller = callers::caller_of(command)?;
    let scopes = caller.scopes.into_iter();
    Some(Caller {
        name: caller.name,
        scopes: scopes
            .map(|scope| (scope.name, scope.values.into_iter().collect()))
            .collect(),
    })
}
