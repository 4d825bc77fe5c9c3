use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::guest::check::EXPORTS;
use crate::guest::host::IMPORTS;
use crate::guest::limits::LimitsError;
use crate::guest::semantics::GuestSemantics;
use crate::testing::{self, COUNTER, SCRIPTED, core_module, embedded_wit, engine, limits};

fn reasons_of(bytes: impl Into<Bytes>) -> Vec<CheckReason> {
    let loaded = GuestModule::load(engine(), bytes, &limits());
    let refused = loaded.expect_err("the module is refused");
    for reason in &refused.reasons {
        assert!(refused.to_string().contains(&reason.to_string()));
    }
    refused.reasons
}

/// The only reason.
fn reason_of(bytes: impl Into<Bytes>) -> CheckReason {
    let mut reasons = reasons_of(bytes);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    reasons.remove(0)
}

/// The scripted guest with a part of its text replaced.
fn scripted_with(old: &str, new: &str) -> Vec<u8> {
    assert!(SCRIPTED.contains(old), "{old} is in the text");
    core_module(&SCRIPTED.replace(old, new))
}

fn component_of(core: &[u8]) -> Vec<u8> {
    encoder::encode(core).unwrap()
}

#[test]
fn a_guest_built_against_the_first_wit_is_accepted() {
    /// The custom sections of a guest that was built before `memory-pressure`, `reply-limit`, `caller-of` and
    /// `layout`.
    const WIT: &[u8] = include_bytes!("../../../testdata/wit-0.1.0-first.bin");
    let text: Vec<&str> = SCRIPTED.lines().collect();
    let is_new = |line: &&&str| {
        let new = [
            "\"memory-pressure\"",
            "\"reply-limit\"",
            "\"caller-of\"",
            "#fingerprint\"",
        ];
        new.iter().any(|new| line.contains(new))
    };
    assert_eq!(text.iter().filter(is_new).count(), 4);
    let old: Vec<&str> = text.into_iter().filter(|line| !is_new(&line)).collect();
    let old = old
        .join("\n")
        .replace("(call $memory_pressure)", "(i32.const 0)")
        .replace("(call $reply_limit)", "(i64.const 0)")
        .replace(
            "(call $caller_of (i32.load (i32.const 96)) (i32.const 64))",
            "",
        );
    let mut module = wat::parse_str(old).unwrap();
    module.extend_from_slice(WIT);
    let module = GuestModule::load(engine(), module, &limits()).unwrap();
    assert_eq!(module.description().name, "scripted");
    assert_eq!(module.description().layout, None);
}

#[test]
fn the_guests_of_this_repository_are_accepted() {
    for (module, name, version) in [
        (testing::counter(), "counter", 1),
        (testing::kv(), "kv", 1),
        (testing::queue(), "task-queue", 2),
        (testing::faulty(), "faulty", 1),
    ] {
        assert_eq!(module.description().name, name);
        assert_eq!(module.description().version, version);
        assert_eq!(module.description().codec, "json");
        assert!(module.has_queries() && module.has_timers());
        assert_eq!(module.exports(), EXPORTS.map(|(name, _)| name));
        assert!(
            module
                .imports()
                .iter()
                .all(|name| { IMPORTS.iter().any(|(known, _)| known == name) })
        );
    }
}

#[test]
fn the_digest_covers_the_bytes_of_the_file() {
    let module = testing::counter();
    assert_eq!(module.sha256(), Sha256::of(COUNTER));
    assert_eq!(module.bytes()[..], *COUNTER);
}

#[test]
fn a_component_is_accepted_and_is_the_same_guest() {
    let component = component_of(COUNTER);
    assert_eq!(component[4..8], *COMPONENT);
    let module = GuestModule::load(engine(), component.clone(), &limits()).unwrap();
    assert_eq!(module.description(), testing::counter().description());
    assert_eq!(module.exports(), testing::counter().exports());
    assert_eq!(module.sha256(), Sha256::of(&component));
}

#[test]
fn a_core_module_for_wasi_0_1_is_accepted() {
    let before = "(module\n";
    assert_eq!(SCRIPTED.matches(before).count(), 1);
    let import = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#;
    let module = GuestModule::load(
        engine(),
        core_module(&SCRIPTED.replace(before, import)),
        &limits(),
    )
    .unwrap();
    assert_eq!(module.description().name, "scripted");
    assert!(module.uses_wasi(), "{:?}", module.imports());
    assert!(!testing::scripted().uses_wasi());
    let unknown = import.replace("fd_write", "fd_unknown");
    let reason = reason_of(core_module(&SCRIPTED.replace(before, &unknown)));
    assert!(
        matches!(&reason, CheckReason::NotComponent { message } if message.contains("fd_unknown")),
        "{reason:?}"
    );
}

#[test]
fn a_module_knows_whether_it_uses_wasi() {
    assert!(testing::curious().uses_wasi());
    assert!(!testing::counter().uses_wasi());
}

#[test]
fn text_is_accepted() {
    let mut text = SCRIPTED.trim_end().strip_suffix(')').unwrap().to_owned();
    for (name, payload) in embedded_wit() {
        write!(text, "(@custom \"{name}\" \"").unwrap();
        for byte in payload {
            write!(text, "\\{byte:02x}").unwrap();
        }
        text.push_str("\")\n");
    }
    text.push(')');
    let module = GuestModule::load(engine(), text.clone(), &limits()).unwrap();
    assert_eq!(module.description().name, "scripted");
    assert_eq!(module.sha256(), Sha256::of(text.as_bytes()));
}

#[test]
fn bytes_that_are_not_wasm_are_refused() {
    assert_eq!(reason_of(""), CheckReason::Empty);
    for bytes in [
        b"hello".as_slice(),
        b"(module",
        b"\x7fELF\x02\x01\x01",
        &[0xff; 100],
        b"(component (import \"x\"",
    ] {
        let reason = reason_of(bytes.to_vec());
        assert!(matches!(reason, CheckReason::NotWasm { .. }), "{reason:?}");
    }
}

#[test]
fn a_module_over_the_limit_is_refused() {
    let limits = MachineLimits {
        module_bytes: 1000,
        ..limits()
    };
    let refused = GuestModule::load(engine(), COUNTER, &limits).unwrap_err();
    assert_eq!(
        refused.reasons,
        [CheckReason::TooLarge {
            bytes: COUNTER.len() as u64,
            limit: 1000
        }]
    );
}

#[test]
fn invalid_limits_are_refused() {
    let limits = MachineLimits {
        fuel_per_command: 0,
        ..limits()
    };
    let refused = GuestModule::load(engine(), COUNTER, &limits).unwrap_err();
    assert_eq!(
        refused.reasons,
        [CheckReason::Limits(LimitsError::Zero {
            name: "fuel_per_command"
        })]
    );
}

#[test]
fn a_truncated_or_corrupt_module_is_refused() {
    for length in [4, 7, 8, 20, 1000, COUNTER.len() / 2, COUNTER.len() - 1] {
        reason_of(COUNTER[..length].to_vec());
    }
    let component = component_of(COUNTER);
    for length in [8, 9, 1000, component.len() - 1] {
        reasons_of(component[..length].to_vec());
    }
    let mut corrupt = COUNTER.to_vec();
    corrupt[8] = 0x77;
    reason_of(corrupt);
}

#[test]
fn a_core_module_without_wit_is_refused() {
    let reason = reason_of("(module (func (export \"run\")))");
    let CheckReason::MissingExport { name } = &reason else {
        panic!("{reason:?}");
    };
    assert_eq!(name, "oarlock:state-machine/machine@0.1.0");
    let reason = reason_of("(module (import \"env\" \"now\" (func (result i64))))");
    assert!(
        matches!(&reason, CheckReason::NotComponent { message } if message.contains("env")),
        "{reason:?}"
    );
}

#[test]
fn a_core_module_without_a_required_function_is_refused_by_name() {
    let reason = reason_of(scripted_with(
        "machine@0.1.0#restore",
        "machine@0.1.0#renamed",
    ));
    assert!(
        matches!(&reason, CheckReason::NotComponent { message } if message.contains("restore")),
        "{reason:?}"
    );
}

#[test]
fn a_core_module_with_an_unknown_import_is_refused_by_name() {
    for (module, function) in [
        ("wasi_snapshot_preview1", "clock_time_get"),
        ("oarlock:state-machine/host@0.1.0", "now"),
    ] {
        let import = format!("(module (import \"{module}\" \"{function}\" (func (result i64)))");
        let reason = reason_of(scripted_with("(module\n", &import));
        assert!(
            matches!(&reason, CheckReason::NotComponent { message } if message.contains(function)),
            "{reason:?}"
        );
    }
}

#[test]
fn a_component_is_refused_with_all_reasons_at_once() {
    let reasons = reasons_of(
        r#"(component
            (import "wasi:http/outgoing-handler@0.2.0" (instance (export "handle" (func))))
            (import "wasi:cli/environment@0.2.0" (instance (export "set-environment" (func))))
            (import "oarlock:state-machine/host@0.1.0" (instance
                (export "now" (func))
                (export "wake-at" (func (param "time-ms" u64)))))
            (import "launch" (func)))"#,
    );
    let unknown = |name: &str| CheckReason::UnknownImport {
        name: name.to_owned(),
    };
    assert_eq!(
        reasons,
        [
            unknown("wasi:http/outgoing-handler@0.2.0"),
            unknown("wasi:cli/environment@0.2.0#set-environment"),
            unknown("oarlock:state-machine/host@0.1.0#now"),
            unknown("launch"),
            CheckReason::MissingExport {
                name: "oarlock:state-machine/machine@0.1.0".to_owned()
            },
        ]
    );
}

#[test]
fn an_import_of_another_version_is_unknown() {
    for version in ["0.2.0", "1.0.0", "0.1.0-rc"] {
        let name = format!("oarlock:state-machine/host@{version}");
        let text = format!("(component (import \"{name}\" (instance)))");
        assert_eq!(reasons_of(text)[0], CheckReason::UnknownImport { name });
    }
}

/// A component that exports an instance as `machine`, made of a core module.
fn machine_of(functions: &str) -> String {
    format!(
        r#"(component
            (core module $core (func (export "f")))
            (core instance $core (instantiate $core))
            (func $f (canon lift (core func $core "f")))
            (instance $machine {functions})
            (export "oarlock:state-machine/machine@0.1.0" (instance $machine)))"#
    )
}

#[test]
fn a_component_without_required_functions_is_refused_with_all_their_names() {
    let missing = |function: &str| CheckReason::MissingExport {
        name: format!("oarlock:state-machine/machine@0.1.0#{function}"),
    };
    assert_eq!(
        reasons_of(machine_of(r#"(export "snapshot" (func $f))"#)),
        [missing("apply"), missing("restore")]
    );
}

#[test]
fn a_component_whose_functions_have_other_types_is_refused() {
    let functions =
        r#"(export "apply" (func $f)) (export "snapshot" (func $f)) (export "restore" (func $f))"#;
    let reason = reason_of(machine_of(functions));
    assert!(
        matches!(reason, CheckReason::WrongType { .. }),
        "{reason:?}"
    );
}

#[test]
fn an_import_with_another_type_is_refused() {
    let text = machine_of(
        r#"(export "apply" (func $f)) (export "snapshot" (func $f)) (export "restore" (func $f))"#,
    )
    .replacen(
        "(component",
        r#"(component
            (import "oarlock:state-machine/host@0.1.0" (instance
                (export "wake-at" (func (param "time-ms" string)))))"#,
        1,
    );
    let reason = reason_of(text);
    assert!(
        matches!(&reason, CheckReason::WrongImport { message } if message.contains("wake-at")),
        "{reason:?}"
    );
}

/// Features whose results differ between nodes are refused, in components and in core modules.
#[test]
fn threads_and_relaxed_simd_are_refused() {
    for (body, feature) in [
        ("(memory 1 1 shared)", "shared"),
        (
            "(memory 1) (func (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1))))",
            "threads",
        ),
        ("(memory 1) (func (atomic.fence))", "threads"),
        (
            "(memory 1) (func (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))",
            "threads",
        ),
        (
            "(func (param v128 v128) (result v128)
                (i32x4.relaxed_trunc_f32x4_s (local.get 0)))",
            "relaxed",
        ),
    ] {
        let component = reasons_of(format!("(component (core module {body}))"));
        let core = reasons_of(format!("(module {body})"));
        for reason in [&component[0], &core[0]] {
            assert!(matches!(reason, CheckReason::Invalid { .. }), "{reason:?}");
            assert!(reason.to_string().contains(feature), "{reason:?}");
        }
    }
}

#[test]
fn a_guest_that_fails_at_its_start_is_refused() {
    let reason = reason_of(scripted_with(
        "(table $table",
        "(func $fall unreachable) (start $fall) (table $table",
    ));
    assert!(
        matches!(reason, CheckReason::DoesNotStart { .. }),
        "{reason:?}"
    );
    let reason = reason_of(scripted_with(
        "(table $table",
        "(func $hang (loop $again (br $again))) (start $hang) (table $table",
    ));
    assert!(
        matches!(&reason, CheckReason::DoesNotStart { message } if message.contains("fuel")),
        "{reason:?}"
    );
    let reason = reason_of(scripted_with("\"memory\") 5)", "\"memory\") 60000)"));
    assert!(
        matches!(&reason, CheckReason::DoesNotStart { message } if message.contains("memory")),
        "{reason:?}"
    );
    let reason = reason_of(scripted_with("(table $table 1", "(table $table 9000000"));
    assert!(
        matches!(reason, CheckReason::DoesNotStart { .. }),
        "{reason:?}"
    );
}

#[test]
fn a_guest_with_a_failing_or_invalid_description_is_refused() {
    let start = "#describe\") (result i32)";
    let reason = reason_of(scripted_with(start, &format!("{start} unreachable")));
    assert!(
        matches!(reason, CheckReason::DescribeFailed { .. }),
        "{reason:?}"
    );
    let name_of = |bytes: usize| {
        scripted_with(
            "(i32.store (i32.const 36) (i32.const 8))\n    (i32.store (i32.const 40) (i32.const 3))",
            &format!(
                "(i32.store (i32.const 36) (i32.const {bytes}))\n    (i32.store (i32.const 40) (i32.const 3))"
            ),
        )
    };
    for bytes in [0, 129] {
        assert_eq!(
            reason_of(name_of(bytes)),
            CheckReason::BadDescription {
                field: "name",
                bytes,
                limit: 128
            }
        );
    }
    assert!(GuestModule::load(engine(), name_of(128), &limits()).is_ok());
}

#[test]
fn a_guest_tells_the_layout_of_its_state() {
    let start = "#fingerprint\") (result i32)";
    let reason = reason_of(scripted_with(start, &format!("{start} unreachable")));
    assert!(
        matches!(reason, CheckReason::LayoutFailed { .. }),
        "{reason:?}"
    );
    let layout_of = |bytes: usize| {
        let length = "(i32.store (i32.const 36) (i32.const 8)) (i32.const 32))";
        let other = format!("(i32.store (i32.const 36) (i32.const {bytes})) (i32.const 32))");
        scripted_with(length, &other)
    };
    // After 47 bytes of text there are zeros.
    for bytes in [48, 129] {
        assert_eq!(
            reason_of(layout_of(bytes)),
            CheckReason::BadLayout { bytes }
        );
    }
    for (bytes, layout) in [(0, None), (3, Some("scr")), (8, Some("scripted"))] {
        let module = GuestModule::load(engine(), layout_of(bytes), &limits()).unwrap();
        assert_eq!(module.description().layout.as_deref(), layout);
    }
}

#[test]
fn a_guest_that_can_not_restore_a_snapshot_of_its_initial_state_is_refused() {
    let start =
        "#snapshot\") (param $sink i32) (result i32)\n    (local $left i32) (local $now i32)";
    let reason = reason_of(scripted_with(start, &format!("{start} unreachable")));
    assert!(
        matches!(reason, CheckReason::SnapshotFails { .. }),
        "{reason:?}"
    );
    // It rejects the snapshot that it wrote.
    let reason = reason_of(scripted_with(
        "(i32.ne (local.get $total) (i32.load (i32.const 8)))",
        "(i32.const 1)",
    ));
    assert_eq!(
        reason,
        CheckReason::SnapshotFails {
            message: "the snapshot is of another length".to_owned()
        }
    );
}

/// Counts the modules that it checks, and refuses the empty component.
#[derive(Default)]
struct CountingCheck {
    checked: AtomicUsize,
}

impl ModuleCheck for CountingCheck {
    fn check(&self, bytes: &[u8], _: &MachineLimits) -> Result<(), CheckError> {
        self.checked.fetch_add(1, Ordering::Relaxed);
        if bytes.len() > 8 {
            return Ok(());
        }
        let message = "it is empty".to_owned();
        Err(CheckReason::Reported { message }.into())
    }
}

#[test]
fn a_module_is_checked_elsewhere_once_before_it_is_parsed() {
    let check = Arc::new(CountingCheck::default());
    let engine = GuestEngine::new()
        .unwrap()
        .with_check(Arc::clone(&check) as _);
    let checked = || check.checked.load(Ordering::Relaxed);

    let refused = GuestModule::load(&engine, &b"\0asm\x0d\0\x01\0"[..], &limits());
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the host refuses this module: it is empty"
    );
    assert_eq!(checked(), 1);

    let module = GuestModule::load(&engine, COUNTER, &limits()).unwrap();
    assert_eq!(checked(), 2);
    let again = module.load_another(COUNTER, &limits());
    assert!(again.is_ok());
    assert_eq!(checked(), 2, "the code is in use");
    let bounded = MachineLimits {
        semantics: GuestSemantics::LATEST,
        ..limits()
    };
    assert!(module.under(&bounded).is_ok());
    assert_eq!(checked(), 2, "other rules for the same bytes");
}
