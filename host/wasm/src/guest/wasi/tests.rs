use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use bytes::Bytes;
use wasmtime::component::Component;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Interface as Published, Resolve, WorldItem};

use super::*;
use crate::guest::call::CallPurpose;
use crate::guest::failure::GuestCallError;
use crate::guest::instance::{CallOutput, Instance, ReplyKind};
use crate::guest::limits::MachineLimits;
use crate::rollback::journal::StateCall;
use crate::testing::{at, curious, engine, limits, start};

/// The published WASI 0.2, and a component that imports each of its functions.
fn published() -> (BTreeMap<String, Published>, Vec<u8>) {
    let mut resolve = Resolve::default();
    // Marked unstable, but toolchains import them.
    resolve.features.insert("cli-exit-with-code".to_owned());
    resolve.features.insert("network-error-code".to_owned());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/wasi");
    let (package, _) = resolve.push_dir(&folder).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut interfaces = BTreeMap::new();
    let mut text = "(module\n".to_owned();
    for item in resolve.worlds[world].imports.values() {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let interface = resolve.id_of(*id).unwrap();
        for (name, function) in &resolve.interfaces[*id].functions {
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            write!(text, "(import \"{interface}\" \"{name}\" (func").unwrap();
            for (kind, types) in [("param", signature.params), ("result", signature.results)] {
                let types: Vec<_> = types.into_iter().map(core_type).collect();
                write!(text, " ({kind} {})", types.join(" ")).unwrap();
            }
            text.push_str("))\n");
        }
        interfaces.insert(interface, resolve.interfaces[*id].clone());
    }
    text.push_str(
        "(memory (export \"memory\") 1)
         (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) unreachable))",
    );
    let mut module = wat::parse_str(text).unwrap();
    wit_component::embed_component_metadata(
        &mut module,
        &resolve,
        world,
        StringEncoding::UTF8,
        false,
    )
    .unwrap();
    let mut encoder = ComponentEncoder::default();
    let component = encoder.module(&module).unwrap().validate(true).encode();
    (interfaces, component.unwrap())
}

fn core_type(wasm: WasmType) -> &'static str {
    match wasm {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
    }
}

#[test]
fn the_surface_is_the_published_one() {
    let (published, _) = published();
    let named = |name: &str| surface::INTERFACES.iter().find(|known| known.name == name);
    for (name, interface) in &published {
        let known = named(name).unwrap_or_else(|| panic!("{name} is missing"));
        for function in interface.functions.keys() {
            assert!(known.has(function), "{name}#{function} is missing");
        }
    }
    for interface in surface::INTERFACES {
        let published = &published[interface.name];
        for name in interface.names() {
            assert!(
                published.functions.contains_key(&name) || published.types.contains_key(&name),
                "{}#{name} was never published",
                interface.name
            );
        }
    }
}

#[test]
fn a_component_that_imports_all_functions_links() {
    let (_, component) = published();
    let component = Component::from_binary(engine().wasmtime(), &component).unwrap();
    let linked = engine().linker().instantiate_pre(&component);
    linked.unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn any_0_2_version_links_and_no_other() {
    let (_, component) = published();
    let text = String::from_utf8_lossy(&component).into_owned();
    assert!(text.contains("wasi:io/streams@0.2.12"));
    let with = |version: &[u8; 6]| {
        let mut component = component.clone();
        for start in 0..component.len() - 6 {
            if &component[start..start + 6] == b"0.2.12" {
                component[start..start + 6].copy_from_slice(version);
            }
        }
        let component = Component::from_binary(engine().wasmtime(), &component).unwrap();
        engine().linker().instantiate_pre(&component).map(drop)
    };
    assert!(with(b"0.2.99").is_ok());
    assert!(with(b"0.2.10").is_ok());
    assert!(with(b"0.3.12").is_err());
}

fn apply(instance: &mut Instance, index: u64, command: &str) -> Result<CallOutput, GuestCallError> {
    apply_for(instance, CallPurpose::Change, index, command)
}

fn apply_for(
    instance: &mut Instance,
    purpose: CallPurpose,
    index: u64,
    command: &str,
) -> Result<CallOutput, GuestCallError> {
    let command = Bytes::copy_from_slice(command.as_bytes());
    let StateCall::Apply(batch, callers) = StateCall::of([(&command, None)]) else {
        unreachable!("a command makes a batch");
    };
    instance.apply(purpose, at(index), 0, &batch, &callers)
}

fn reply(applied: CallOutput) -> String {
    match &applied.replies[..] {
        [ReplyKind::Accepted(reply)] => String::from_utf8(reply.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn observed(instance: &mut Instance, index: u64) -> String {
    reply(apply(instance, index, r#"{"look":{}}"#).unwrap())
}

fn trap_of(result: Result<CallOutput, GuestCallError>) -> GuestFailure {
    match result {
        Err(GuestCallError::Guest(failure)) => failure,
        other => panic!("{other:?} is not a failure of the guest"),
    }
}

#[test]
fn a_guest_observes_the_entry_and_nothing_of_the_node() {
    let mut instance = start(&curious(), &limits());
    let seen = observed(&mut instance, 1_234);
    for expected in [
        // Entries of the test helper are a second apart.
        r#""wall_seconds":1234,"wall_nanoseconds":0,"monotonic":1234000000000,"#,
        r#""environment":0,"arguments":0,"initial_cwd":null,"directories":0,"has_terminal":false,"#,
        r#""input":"closed","tcp":"access-denied","udp":"access-denied","name":"access-denied""#,
    ] {
        assert!(seen.contains(expected), "{expected} is not in {seen}");
    }
    let mut other = start(&curious(), &limits());
    assert_eq!(
        observed(&mut other, 1_234),
        seen,
        "another node observes the same"
    );
    assert_ne!(
        observed(&mut other, 1_235),
        seen,
        "another entry, another result"
    );
    assert_eq!(
        observed(&mut instance, 1_234),
        seen,
        "a replay observes the same again"
    );
}

#[test]
fn random_numbers_are_those_of_host_random() {
    use crate::guest::random::Random;
    let mut random = Random::new(7, 0);
    let seen = observed(&mut start(&curious(), &limits()), 7);
    let listed = |bytes: &[u8]| {
        let numbers: Vec<_> = bytes.iter().map(ToString::to_string).collect();
        format!("[{}]", numbers.join(","))
    };
    let first = listed(&random.bytes(8));
    assert!(seen.contains(&format!(r#""random":{first},"#)), "{seen}");
    let number = u64::from_le_bytes(random.bytes(8).try_into().unwrap());
    assert!(
        seen.contains(&format!(r#""random_number":{number},"#)),
        "{seen}"
    );
}

#[test]
fn exit_is_a_trap() {
    for (code, message) in [(0, "called `exit` with success"), (1, "with failure")] {
        let mut instance = start(&curious(), &limits());
        let command = format!(r#"{{"exit":{{"code":{code}}}}}"#);
        let failure = trap_of(apply(&mut instance, 1, &command));
        assert!(failure.to_string().contains(message), "{failure}");
    }
}

#[test]
fn a_trap_contains_the_last_line_of_standard_error() {
    let mut instance = start(&curious(), &limits());
    let command = r#"{"print_and_trap":{"text":"Traceback\nValueError: no\n\n"}}"#;
    let failure = trap_of(apply(&mut instance, 1, command));
    assert!(failure.to_string().contains("ValueError: no"), "{failure}");
}

#[test]
fn a_write_over_the_permitted_size_is_a_failure() {
    let mut instance = start(&curious(), &limits());
    let largest = r#"{"print_much":{"bytes":65536}}"#;
    apply(&mut instance, 1, largest).unwrap();
    let failure = trap_of(apply(&mut instance, 2, r#"{"print_much":{"bytes":65537}}"#));
    assert!(
        matches!(failure, GuestFailure::TooLarge { limit: 65_536, .. }),
        "{failure:?}"
    );
}

#[test]
fn the_number_of_handles_has_a_limit() {
    let mut instance = start(&curious(), &limits());
    for index in 1..=3 {
        apply(&mut instance, index, r#"{"drop":{"handles":4096}}"#).unwrap();
    }
    apply(&mut instance, 4, r#"{"hold":{"handles":4096}}"#).unwrap();
    let failure = trap_of(apply(&mut instance, 5, r#"{"hold":{"handles":1}}"#));
    assert!(
        matches!(failure, GuestFailure::TooMany { limit: 4096, .. }),
        "{failure:?}"
    );
}

#[test]
fn a_guest_with_an_open_handle_is_not_frozen() {
    let mut instance = start(&curious(), &limits());
    apply(&mut instance, 1, r#"{"hold":{"handles":3}}"#).unwrap();
    let error = instance.freeze(None, at(1)).err().unwrap().to_string();
    assert!(
        error.contains("holds") && error.contains("handles"),
        "{error}"
    );
}

#[test]
fn a_call_of_wasi_costs_fuel() {
    let spent = |command: &str| {
        let mut instance = start(&curious(), &MachineLimits::default());
        apply(&mut instance, 1, command).unwrap();
        instance.fuel_spent()
    };
    let few = spent(r#"{"drop":{"handles":10}}"#);
    let many = spent(r#"{"drop":{"handles":1010}}"#);
    assert!(many > few + 1000 * 200, "{few} and {many}");
    let short = spent(r#"{"print_much":{"bytes":10}}"#);
    let long = spent(r#"{"print_much":{"bytes":60010}}"#);
    assert!(long > short + 60_000, "{short} and {long}");
}

#[test]
fn a_query_observes_the_last_applied_entry() {
    let mut instance = start(&curious(), &limits());
    let query = |instance: &mut Instance, index| {
        instance
            .query(at(index), &Bytes::from_static(br#"{"look":{}}"#).into())
            .unwrap()
            .ended()
            .unwrap()
            .unwrap()
    };
    let response = query(&mut instance, 9);
    assert!(String::from_utf8_lossy(&response).contains(r#""wall_seconds":9,"#));
    assert_eq!(query(&mut start(&curious(), &limits()), 9), response);
}
