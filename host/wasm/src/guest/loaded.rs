//! The compiled code that modules of this process use. A module that is loaded again shares it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use wasmtime::component::Component;

use crate::guest::rules::Rules;
use crate::images::RollbackMethod;
use crate::records::digest::Sha256;

/// The compiled code of a module under some rules.
pub(crate) struct LoadedCode {
    /// Digest of the file's bytes.
    pub(crate) sha256: Sha256,
    pub(crate) rules: Rules,
    pub(crate) component: Component,
    /// Of the module as well, because it takes as long as all other checks of code that is compiled already.
    pub(crate) rollback: RollbackMethod,
}

/// The code that modules of an engine use. Code is forgotten with the last module that uses it.
#[derive(Default)]
pub(crate) struct LoadedModules {
    known: Mutex<Vec<Weak<LoadedCode>>>,
}

impl LoadedModules {
    /// The code of a module under these rules, if the process still uses it.
    pub(crate) fn find(&self, sha256: Sha256, rules: Rules) -> Option<Arc<LoadedCode>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = known.iter().filter_map(Weak::upgrade);
        known.find(|code| code.sha256 == sha256 && code.rules == rules)
    }

    pub(crate) fn add(&self, code: LoadedCode) -> Arc<LoadedCode> {
        let code = Arc::new(code);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.strong_count() > 0);
        known.push(Arc::downgrade(&code));
        code
    }
}
