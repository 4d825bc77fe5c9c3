use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;

use super::*;
use crate::guest::engine::GuestEngine;
use crate::guest::module::GuestModule;
use crate::testing::{COUNTER, limits, start};

/// Keeps all bytes, and counts writes.
#[derive(Default)]
struct MemoryStore {
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
    writes: Mutex<u32>,
}

// SAFETY: only the tests below write to the store, and they run no forged code.
#[allow(unsafe_code, reason = "as every store")]
unsafe impl CompiledStore for MemoryStore {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.kept.lock().unwrap().get(name).cloned()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        *self.writes.lock().unwrap() += 1;
        self.kept
            .lock()
            .unwrap()
            .insert(name.to_owned(), bytes.to_vec());
    }

    fn discard(&self, name: &str) {
        self.kept.lock().unwrap().remove(name);
    }
}

impl MemoryStore {
    fn writes(&self) -> u32 {
        *self.writes.lock().unwrap()
    }
}

/// Loads the counter with a new engine, like a node that restarts.
fn load(store: &Arc<MemoryStore>) -> GuestModule {
    let engine = GuestEngine::new()
        .unwrap()
        .with_store(Arc::clone(store) as _);
    GuestModule::load(&engine, Bytes::from_static(COUNTER), &limits()).unwrap()
}

fn works(module: &GuestModule) {
    let mut instance = start(module, &limits());
    let answer = instance.query(
        crate::testing::at(1),
        &Bytes::from_static(br#"{"get":{}}"#).into(),
    );
    assert_eq!(
        &answer.unwrap().ended().unwrap().unwrap()[..],
        br#"{"value":0}"#
    );
}

#[test]
fn a_module_is_compiled_once_and_then_found() {
    let store = Arc::new(MemoryStore::default());
    let first = load(&store);
    assert_eq!(store.writes(), 1);
    let again = load(&store);
    assert_eq!(store.writes(), 1, "it was found");
    assert_eq!(first.sha256(), again.sha256());
    assert_eq!(first.description(), again.description());
    assert_eq!(first.imports(), again.imports());
    works(&again);
}

#[test]
fn a_module_in_use_is_not_compiled_again() {
    let store = Arc::new(MemoryStore::default());
    let engine = GuestEngine::new()
        .unwrap()
        .with_store(Arc::clone(&store) as _);
    let load = || GuestModule::load(&engine, Bytes::from_static(COUNTER), &limits()).unwrap();
    let first = load();
    store.kept.lock().unwrap().clear();
    works(&load());
    assert_eq!(store.writes(), 1, "its code is in use");
    drop(first);
    works(&load());
    assert_eq!(store.writes(), 2);
}

#[test]
fn corrupt_code_is_discarded_and_the_module_compiled_again() {
    let store = Arc::new(MemoryStore::default());
    load(&store);
    let name = store.kept.lock().unwrap().keys().next().unwrap().clone();
    let complete = store.read(&name).unwrap();
    let length = complete.len();
    let cuts = [0, 7, 8, 39, 40, length / 2, length - 1].map(|end| complete[..end].to_vec());
    let flips = [0, 8, 39, 40, 41, length / 3, length / 2, length - 1].map(|at| {
        let mut flipped = complete.clone();
        flipped[at] ^= 1;
        flipped
    });
    let mut longer = complete.clone();
    longer.push(0);
    for (count, corrupt) in cuts.into_iter().chain(flips).chain([longer]).enumerate() {
        store.write(&name, &corrupt);
        works(&load(&store));
        assert_eq!(
            store.writes(),
            3 + 2 * count as u32,
            "it was compiled again"
        );
        assert_eq!(store.read(&name).unwrap().len(), length);
    }
}

#[test]
fn intact_bytes_that_are_not_compiled_code_are_refused_by_the_engine() {
    let store = Arc::new(MemoryStore::default());
    load(&store);
    let name = store.kept.lock().unwrap().keys().next().unwrap().clone();
    store.write(&name, &seal(b"not compiled code"));
    works(&load(&store));
    assert_eq!(store.writes(), 3);
}

#[test]
fn a_refused_module_is_not_stored() {
    let store = Arc::new(MemoryStore::default());
    let engine = GuestEngine::new()
        .unwrap()
        .with_store(Arc::clone(&store) as _);
    let component = b"\0asm\x0d\0\x01\0";
    GuestModule::load(&engine, Bytes::from_static(component), &limits()).unwrap_err();
    assert_eq!(store.writes(), 0);
}

#[test]
fn other_settings_have_another_fingerprint() {
    let ours = GuestEngine::new().unwrap();
    assert_eq!(
        fingerprint(ours.wasmtime()),
        fingerprint(GuestEngine::new().unwrap().wasmtime())
    );
    let mut config = wasmtime::Config::new();
    config.consume_fuel(true);
    let other = Engine::new(&config).unwrap();
    assert_ne!(fingerprint(ours.wasmtime()), fingerprint(&other));
}
