//! The modules of the simulation, compiled once for all runs.

use std::sync::LazyLock;

use bytes::Bytes;
use oarlock_wasm::{GuestEngine, GuestModule, MachineLimits, ReplicatedSettings, Sha256};

const CLOCKWORK: &[u8] = include_bytes!("../../../guests/clockwork.wasm");
const COUNTER: &[u8] = include_bytes!("../../../../examples-wasm/dist/counter.wasm");
/// A custom section, which changes the digest of a module and nothing of what it does.
const SECTION: &[u8] = b"\0\x05\x04next";

/// Which module an operator upgrades to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// The module that every node is started with.
    Clockwork,
    /// Another build of the same guest.
    Next,
    /// A guest that can't restore the state of the others, so every node refuses it.
    Counter,
}

/// A module under the rules of both cluster levels. It stays loaded, so no run compiles anything.
struct Loaded {
    bytes: Bytes,
    module: GuestModule,
    _raised: GuestModule,
}

impl Loaded {
    fn new(bytes: Bytes) -> Self {
        static ENGINE: LazyLock<GuestEngine> =
            LazyLock::new(|| GuestEngine::new().unwrap_or_else(|error| panic!("{error}")));
        let own = limits();
        let replicated = ReplicatedSettings::proposed(&own).limits_on(&own);
        let module = GuestModule::load(&ENGINE, bytes.clone(), &own);
        let module = module.unwrap_or_else(|error| panic!("{error}"));
        let raised = module.under(&replicated);
        Self {
            bytes,
            _raised: raised.unwrap_or_else(|error| panic!("{error}")),
            module,
        }
    }
}

static CLOCKWORK_LOADED: LazyLock<Loaded> =
    LazyLock::new(|| Loaded::new(Bytes::from_static(CLOCKWORK)));
static NEXT_LOADED: LazyLock<Loaded> =
    LazyLock::new(|| Loaded::new(Bytes::from([CLOCKWORK, SECTION].concat())));
static COUNTER_LOADED: LazyLock<Loaded> =
    LazyLock::new(|| Loaded::new(Bytes::from_static(COUNTER)));

/// The limits of every node, as far as they concern modules.
pub(super) fn limits() -> MachineLimits {
    MachineLimits {
        memory_bytes: 64 << 20,
        ..MachineLimits::default()
    }
}

/// The module that every node is started with.
pub(super) fn clockwork() -> GuestModule {
    CLOCKWORK_LOADED.module.clone()
}

impl Upgrade {
    fn loaded(self) -> &'static Loaded {
        match self {
            Self::Clockwork => &CLOCKWORK_LOADED,
            Self::Next => &NEXT_LOADED,
            Self::Counter => &COUNTER_LOADED,
        }
    }

    /// The bytes of the module.
    pub(crate) fn bytes(self) -> Bytes {
        self.loaded().bytes.clone()
    }

    /// The digest of the module.
    pub(crate) fn sha256(self) -> Sha256 {
        self.loaded().module.sha256()
    }
}
