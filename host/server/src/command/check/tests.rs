use std::path::Path;

use oarlock_wasm::{GuestEngine, GuestModule, MachineLimits};

use super::{describe, facts, read, reasons, refusal};

const CURIOUS: &[u8] = include_bytes!("../../../../../tests/guests/curious.wasm");
const QUEUE: &[u8] = include_bytes!("../../../../../examples-wasm/dist/queue.wasm");

fn load(bytes: &[u8]) -> Result<GuestModule, oarlock_wasm::CheckError> {
    GuestModule::load(
        &GuestEngine::new().unwrap(),
        bytes.to_vec(),
        &MachineLimits::default(),
    )
}

#[test]
fn a_guest_is_described_by_name_version_size_digest_and_interfaces() {
    let module = load(QUEUE).unwrap();
    let facts = facts(&module, QUEUE.len());
    assert_eq!(facts["ok"], true);
    assert_eq!(facts["name"], "task-queue");
    assert_eq!(facts["size_bytes"], QUEUE.len());
    assert_eq!(facts["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(facts["optional"], serde_json::json!(["queries", "timers"]));
    assert_eq!(facts["undo"], module.rollback_method().name());
    let text = describe(Path::new("queue.wasm"), &module, QUEUE.len());
    for text_part in [
        &format!("undo by   {}", module.rollback_method()),
        "task-queue",
        facts["sha256"].as_str().unwrap(),
        "oarlock:state-machine/machine",
        "wasi      none",
        "a node accepts this module",
    ] {
        assert!(text.contains(text_part), "{text_part} is not in {text}");
    }
}

#[test]
fn a_guest_that_uses_wasi_is_described_as_such() {
    let module = load(CURIOUS).unwrap();
    assert_eq!(facts(&module, CURIOUS.len())["wasi"], true);
    let text = describe(Path::new("curious.wasm"), &module, CURIOUS.len());
    assert!(text.contains("interfaces: deterministic time"), "{text}");
    assert!(!text.contains("wasi:"), "{text}");
}

#[test]
fn an_invalid_module_is_refused_with_every_reason() {
    // It lacks the export, and its import would let it send HTTP requests.
    let error =
        load(br#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#).unwrap_err();
    assert!(error.reasons.len() >= 2, "{error}");
    let text = reasons(Path::new("empty.wat"), &error);
    assert_eq!(
        text.matches("\n  - ").count(),
        error.reasons.len(),
        "{text}"
    );
    assert!(
        text.contains("oarlock:state-machine/machine") && text.contains("wasi:http"),
        "{text}"
    );
    let json = refusal(&error);
    assert_eq!(
        (
            json["ok"].as_bool(),
            json["reasons"].as_array().unwrap().len()
        ),
        (Some(false), error.reasons.len())
    );
}

#[test]
fn a_file_is_read_one_byte_over_the_limit_and_a_missing_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.wasm");
    std::fs::write(&path, [0; 100]).unwrap();
    assert_eq!(read(&path, 10).unwrap().len(), 11);
    let failure = read(&dir.path().join("missing.wasm"), 10).unwrap_err();
    assert!(failure.to_string().contains("missing.wasm"), "{failure}");
}
