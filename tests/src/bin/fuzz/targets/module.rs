//! Modules: what `oarlock check` and the child process of a node do with one.

use std::time::Duration;

use oarlock_tests::fuzz::FuzzTarget;
use oarlock_wasm::{GuestEngine, GuestModule, MachineLimits};

#[allow(dead_code, reason = "the unit tests of the crate use more of it")]
#[path = "../../../../../host/wasm/src/testing/core.rs"]
mod core;

const SCRIPTED: &str = include_str!("../../../../../host/wasm/src/testing/scripted.wat");

/// A guest in some kilobytes.
pub(super) fn scripted() -> Vec<u8> {
    core::core_module(SCRIPTED)
}

/// Limits that an endless start function reaches quickly.
pub(super) fn limits() -> MachineLimits {
    MachineLimits {
        fuel_per_command: 1_000_000,
        fuel_per_query: 1_000_000,
        fuel_per_snapshot: 10_000_000,
        memory_bytes: 12 << 20,
        ..MachineLimits::default()
    }
}

/// The checks of a module.
pub(super) struct Module(GuestEngine);

impl Module {
    pub(super) fn new() -> Self {
        Self(GuestEngine::new().expect("an engine"))
    }
}

impl FuzzTarget for Module {
    fn name(&self) -> &'static str {
        "module"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let texts = [
            "(module (func (export \"f\")))",
            "(module (import \"__main_module__\" \"f\" (func)))",
            "(component (core module (func (export \"f\"))))",
            "(component (import \"oarlock:state-machine/types@0.1.0\" (instance)))",
        ];
        let binary = |text: &str| wat::parse_str(text).expect("a valid text");
        let mut seeds: Vec<_> = texts.iter().map(|text| binary(text)).collect();
        seeds.extend(texts.map(|text| text.as_bytes().to_vec()));
        let guest = scripted();
        seeds.extend([core::core_module(&core::in_memory(SCRIPTED)), guest]);
        seeds
    }

    fn run(&mut self, input: &[u8]) -> String {
        match GuestModule::load(&self.0, input.to_vec(), &limits()) {
            Ok(module) => format!("a guest, {}", module.rollback_method().name()),
            Err(error) => error.to_string(),
        }
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(30)
    }
}
