//! A guest's module, checked and compiled.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sha2::Digest;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::bindings::exports::oarlock::state_machine::{about, machine, queries, timers};
use crate::check::{self, CheckError};
use crate::engine::GuestEngine;
use crate::host::HostState;
use crate::images::RollbackMethod;
use crate::limits::MachineLimits;

/// A SHA-256 digest. Displayed as 64 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a guest says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Short and stable: `task-queue`.
    pub name: String,
    /// Version of its state and commands. A snapshot names the version that wrote it.
    pub version: u32,
    /// How commands and replies are encoded: `json`, …
    pub codec: String,
    /// JSON Schema of commands and queries, or empty.
    pub schema: String,
}

impl Default for Description {
    /// That of a guest that says nothing of itself.
    fn default() -> Self {
        Self {
            name: "unnamed".to_owned(),
            version: 0,
            codec: "bytes".to_owned(),
            schema: String::new(),
        }
    }
}

/// A guest that the host accepts. Cheap to clone, and shared by machines.
#[derive(Clone)]
pub struct GuestModule {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    engine: GuestEngine,
    sha256: Sha256,
    bytes: Bytes,
    description: Description,
    exports: Vec<String>,
    imports: Vec<String>,
    linked: Linked,
    rollback_method: RollbackMethod,
}

impl GuestModule {
    /// Checks and compiles a guest: a component, a core module with embedded WIT, or the text of either.
    ///
    /// # Errors
    /// [`CheckError`] with every reason that was found.
    pub fn load(
        engine: &GuestEngine,
        bytes: impl Into<Bytes>,
        limits: &MachineLimits,
    ) -> Result<Self, CheckError> {
        check::check(engine, bytes.into(), limits)
    }

    /// The same for a guest that is to come after this one, with the same engine.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_another(
        &self,
        bytes: impl Into<Bytes>,
        limits: &MachineLimits,
    ) -> Result<Self, CheckError> {
        Self::load(&self.inner.engine, bytes, limits)
    }

    pub(crate) fn new(
        engine: GuestEngine,
        bytes: Bytes,
        sha256: Sha256,
        exports: Vec<String>,
        imports: Vec<String>,
        linked: Linked,
        rollback_method: RollbackMethod,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                engine,
                sha256,
                bytes,
                description: Description::default(),
                exports,
                imports,
                linked,
                rollback_method,
            }),
        }
    }

    pub(crate) fn with_description(self, description: Description) -> Self {
        let mut inner = Inner::clone(&self.inner);
        inner.description = description;
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The same guest without memory images, even where it fits them: to compare the two ways.
    #[must_use]
    pub fn without_memory_images(&self) -> Self {
        let mut inner = Inner::clone(&self.inner);
        inner.rollback_method = RollbackMethod::Replay {
            because: "asked for".to_owned(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Digest of the bytes as they were given.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        self.inner.sha256
    }

    /// The bytes as they were given: what is replicated, never compiled code.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.inner.bytes
    }

    /// What the guest says of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.inner.description
    }

    /// Names of the interfaces that it exports.
    #[must_use]
    pub fn exports(&self) -> &[String] {
        &self.inner.exports
    }

    /// Names of the interfaces that it imports.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.inner.imports
    }

    /// How it comes back after a call that failed.
    #[must_use]
    pub fn rollback_method(&self) -> &RollbackMethod {
        &self.inner.rollback_method
    }

    /// Whether it imports anything of WASI, of which it gets the deterministic part.
    #[must_use]
    pub fn uses_wasi(&self) -> bool {
        self.imports().iter().any(|name| name.starts_with("wasi:"))
    }

    /// Whether it answers queries.
    #[must_use]
    pub fn has_queries(&self) -> bool {
        self.inner.linked.queries.is_some()
    }

    /// Whether it can be woken.
    #[must_use]
    pub fn has_timers(&self) -> bool {
        self.inner.linked.timers.is_some()
    }

    /// What compiled it, for the module that comes after it.
    pub(crate) fn engine(&self) -> &GuestEngine {
        &self.inner.engine
    }

    pub(crate) fn linked(&self) -> &Linked {
        &self.inner.linked
    }
}

impl fmt::Debug for GuestModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestModule")
            .field("sha256", &self.inner.sha256)
            .field("description", &self.inner.description)
            .field("exports", &self.inner.exports)
            .field("imports", &self.inner.imports)
            .finish_non_exhaustive()
    }
}

/// A compiled guest whose imports are there and whose exports were looked up.
#[derive(Clone)]
pub(crate) struct Linked {
    pub(crate) pre: InstancePre<HostState>,
    machine: Arc<machine::GuestIndices>,
    queries: Option<Arc<queries::GuestIndices>>,
    timers: Option<Arc<timers::GuestIndices>>,
    about: Option<Arc<about::GuestIndices>>,
}

/// The exports of one instance.
pub(crate) struct GuestExports {
    pub(crate) machine: machine::Guest,
    pub(crate) queries: Option<queries::Guest>,
    pub(crate) timers: Option<timers::Guest>,
    pub(crate) about: Option<about::Guest>,
}

impl Linked {
    /// Looks the exports up. The optional interfaces are those that the component has.
    pub(crate) fn new(pre: InstancePre<HostState>) -> wasmtime::Result<Self> {
        let machine = Arc::new(machine::GuestIndices::new(&pre)?);
        let queries = queries::GuestIndices::new(&pre).ok().map(Arc::new);
        let timers = timers::GuestIndices::new(&pre).ok().map(Arc::new);
        let about = about::GuestIndices::new(&pre).ok().map(Arc::new);
        Ok(Self {
            pre,
            machine,
            queries,
            timers,
            about,
        })
    }

    /// The exports of an instance, with their types checked.
    pub(crate) fn load(
        &self,
        store: &mut Store<HostState>,
        instance: &Instance,
    ) -> wasmtime::Result<GuestExports> {
        let queries = self.queries.as_ref();
        let timers = self.timers.as_ref();
        let about = self.about.as_ref();
        Ok(GuestExports {
            machine: self.machine.load(&mut *store, instance)?,
            queries: queries
                .map(|found| found.load(&mut *store, instance))
                .transpose()?,
            timers: timers
                .map(|found| found.load(&mut *store, instance))
                .transpose()?,
            about: about
                .map(|found| found.load(&mut *store, instance))
                .transpose()?,
        })
    }
}
