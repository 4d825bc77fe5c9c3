//! A guest's module, checked, compiled and linked.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use wasm_encoder::{CustomSection, Section};
use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, Instance, InstancePre};

use crate::guest::bindings::exports::oarlock::state_machine::{
    about, layout, machine, queries, timers,
};
use crate::guest::engine::GuestEngine;
use crate::guest::host::HostState;
use crate::guest::loaded::LoadedCode;
use crate::guest::long_query::QueryFunction;
use crate::guest::rules::Rules;
use crate::images::RollbackMethod;
use crate::records::digest::Sha256;

/// A guest's description of itself: what `describe` returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Short and stable, for example `task-queue`. 1 to 128 bytes.
    pub name: String,
    /// Version of the guest's state and commands. A snapshot contains the version that wrote it.
    pub version: u32,
    /// Encoding of commands and replies, for example `json`. 1 to 128 bytes.
    pub codec: String,
    /// JSON Schema of commands and queries, or empty. At most 1 MiB.
    pub schema: String,
    /// Fingerprint of the layout of the state: up to 128 printable ASCII characters. `None` if the guest does not export
    /// `layout`.
    pub layout: Option<String>,
}

impl Description {
    /// The description of a guest that does not export `describe`.
    pub(crate) fn unnamed() -> Self {
        Self {
            name: "unnamed".to_owned(),
            version: 0,
            codec: "bytes".to_owned(),
            schema: String::new(),
            layout: None,
        }
    }
}

/// A guest that passed the host's checks. Cheap to clone; machines share it.
#[derive(Clone)]
pub struct GuestModule {
    inner: Arc<ModuleInner>,
}

#[derive(Clone)]
struct ModuleInner {
    engine: GuestEngine,
    sha256: Sha256,
    bytes: Bytes,
    description: Description,
    exports: Vec<String>,
    imports: Vec<String>,
    linked: Linked,
    rollback_method: RollbackMethod,
    rules: Rules,
    variants: Arc<Variants>,
}

/// The same module under other rules, while this process uses it.
#[derive(Default)]
pub(crate) struct Variants {
    known: Mutex<Vec<Weak<ModuleInner>>>,
}

impl Variants {
    /// The variant under these rules, if the process still uses it.
    pub(crate) fn find(&self, rules: Rules) -> Option<GuestModule> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = known.iter().filter_map(Weak::upgrade);
        let inner = known.find(|inner| inner.rules == rules)?;
        Some(GuestModule { inner })
    }

    /// Adds a variant, and the one that it was made from.
    pub(crate) fn add(self: &Arc<Self>, from: &GuestModule, variant: GuestModule) -> GuestModule {
        let mut inner = ModuleInner::clone(&variant.inner);
        inner.variants = Arc::clone(self);
        let inner = Arc::new(inner);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.strong_count() > 0);
        known.extend([Arc::downgrade(&from.inner), Arc::downgrade(&inner)]);
        GuestModule { inner }
    }
}

impl GuestModule {
    #[allow(clippy::too_many_arguments, reason = "each is one field")]
    pub(crate) fn new(
        engine: GuestEngine,
        bytes: Bytes,
        sha256: Sha256,
        exports: Vec<String>,
        imports: Vec<String>,
        linked: Linked,
        rollback_method: RollbackMethod,
        rules: Rules,
    ) -> Self {
        Self {
            inner: Arc::new(ModuleInner {
                engine,
                sha256,
                bytes,
                description: Description::unnamed(),
                exports,
                imports,
                linked,
                rollback_method,
                rules,
                variants: Arc::default(),
            }),
        }
    }

    pub(crate) fn with_description(self, description: Description) -> Self {
        let mut inner = ModuleInner::clone(&self.inner);
        inner.description = description;
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The same guest, rolled back by replay even if memory images are possible: for comparison.
    #[must_use]
    pub fn without_memory_images(&self) -> Self {
        let mut inner = ModuleInner::clone(&self.inner);
        inner.rollback_method = RollbackMethod::Replay {
            because: "requested".to_owned(),
        };
        inner.variants = Arc::default();
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The same guest with another digest: its file has one more custom section, or one more comment if it is text. For
    /// tests of an upgrade that must change nothing.
    #[must_use]
    pub fn labelled(&self, label: &str) -> Self {
        let mut bytes = self.inner.bytes.to_vec();
        if bytes.starts_with(b"\0asm") {
            let section = CustomSection {
                name: "oarlock-label".into(),
                data: label.as_bytes().into(),
            };
            section.append_to(&mut bytes);
        } else {
            bytes.extend(format!("\n;; {}\n", label.escape_default()).bytes());
        }
        let mut inner = ModuleInner::clone(&self.inner);
        inner.sha256 = Sha256::of(&bytes);
        inner.bytes = bytes.into();
        inner.variants = Arc::default();
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Digest of the file's bytes.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        self.inner.sha256
    }

    /// The file's bytes. These are replicated, never compiled code.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.inner.bytes
    }

    /// The guest's description of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.inner.description
    }

    /// Names of the exported interfaces.
    #[must_use]
    pub fn exports(&self) -> &[String] {
        &self.inner.exports
    }

    /// Names of the imported interfaces.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.inner.imports
    }

    /// How the guest is rolled back after a failed call.
    #[must_use]
    pub fn rollback_method(&self) -> &RollbackMethod {
        &self.inner.rollback_method
    }

    /// Whether the guest imports WASI. It gets the deterministic part of it.
    #[must_use]
    pub fn uses_wasi(&self) -> bool {
        self.imports().iter().any(|name| name.starts_with("wasi:"))
    }

    /// Whether the guest has queries.
    #[must_use]
    pub fn has_queries(&self) -> bool {
        self.inner.linked.queries.is_some()
    }

    /// Whether the guest can be woken.
    #[must_use]
    pub fn has_timers(&self) -> bool {
        self.inner.linked.timers.is_some()
    }

    /// The engine that compiled the module.
    pub(crate) fn engine(&self) -> &GuestEngine {
        &self.inner.engine
    }

    /// The rules under which the module was compiled.
    pub(crate) fn rules(&self) -> Rules {
        self.inner.rules
    }

    pub(crate) fn variants(&self) -> &Arc<Variants> {
        &self.inner.variants
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

/// A compiled guest with resolved imports and located exports.
#[derive(Clone)]
pub(crate) struct Linked {
    pub(crate) pre: InstancePre<HostState>,
    machine: Arc<machine::GuestIndices>,
    queries: Option<Arc<queries::GuestIndices>>,
    query_function: Option<ComponentExportIndex>,
    timers: Option<Arc<timers::GuestIndices>>,
    about: Option<Arc<about::GuestIndices>>,
    layout: Option<Arc<layout::GuestIndices>>,
    /// While it is used, the engine finds it.
    _code: Arc<LoadedCode>,
}

/// The exports of one instance.
pub(crate) struct InstanceExports {
    pub(crate) machine: machine::Guest,
    pub(crate) queries: Option<queries::Guest>,
    pub(crate) query_function: Option<QueryFunction>,
    pub(crate) timers: Option<timers::Guest>,
    pub(crate) about: Option<about::Guest>,
    pub(crate) layout: Option<layout::Guest>,
}

impl Linked {
    /// Locates the exports. An optional interface is `None` if the component does not export it.
    pub(crate) fn new(
        pre: InstancePre<HostState>,
        code: Arc<LoadedCode>,
    ) -> wasmtime::Result<Self> {
        let machine = Arc::new(machine::GuestIndices::new(&pre)?);
        let queries = queries::GuestIndices::new(&pre).ok().map(Arc::new);
        let query_function = queries
            .as_ref()
            .and_then(|_| query_function(pre.component()));
        let timers = timers::GuestIndices::new(&pre).ok().map(Arc::new);
        let about = about::GuestIndices::new(&pre).ok().map(Arc::new);
        let layout = layout::GuestIndices::new(&pre).ok().map(Arc::new);
        Ok(Self {
            pre,
            machine,
            queries,
            query_function,
            timers,
            about,
            layout,
            _code: code,
        })
    }

    /// Loads the exports of an instance, and checks their types.
    pub(crate) fn load(
        &self,
        store: &mut Store<HostState>,
        instance: &Instance,
    ) -> wasmtime::Result<InstanceExports> {
        let queries = self.queries.as_ref();
        let timers = self.timers.as_ref();
        let about = self.about.as_ref();
        let layout = self.layout.as_ref();
        Ok(InstanceExports {
            machine: self.machine.load(&mut *store, instance)?,
            queries: queries
                .map(|found| found.load(&mut *store, instance))
                .transpose()?,
            query_function: self
                .query_function
                .map(|found| instance.get_typed_func(&mut *store, found))
                .transpose()?,
            timers: timers
                .map(|found| found.load(&mut *store, instance))
                .transpose()?,
            about: about
                .map(|found| found.load(&mut *store, instance))
                .transpose()?,
            layout: layout
                .map(|found| found.load(&mut *store, instance))
                .transpose()?,
        })
    }
}

/// Where the function of queries is. The bindings know it too, but keep it to themselves.
fn query_function(component: &Component) -> Option<ComponentExportIndex> {
    let (_, queries) = component.get_export(None, "oarlock:state-machine/queries@0.1.0")?;
    let (_, function) = component.get_export(Some(&queries), "query")?;
    Some(function)
}
