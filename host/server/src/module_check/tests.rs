use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// A check by a shell script instead of this program.
fn by_script(script: &str, processor_seconds: u64) -> (TempDir, ChildCheck) {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("program");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("a mode");
    let budget = CheckBudget {
        memory_bytes: 64 << 20,
        processor_seconds,
    };
    let settings = CheckSettings {
        program,
        budget,
        in_background: true,
    };
    (dir, ChildCheck::new(settings, None))
}

/// The error of a check by this script.
fn refusal(script: &str) -> String {
    refusal_of(script, 3600)
}

fn refusal_of(script: &str, processor_seconds: u64) -> String {
    let (_dir, check) = by_script(script, processor_seconds);
    let refused = check.check(b"module", &MachineLimits::default());
    refused.expect_err("a refusal").to_string()
}

#[test]
fn an_empty_list_of_reasons_accepts_the_module() {
    let (_dir, check) = by_script("cat >/dev/null; echo '[]'", 3600);
    assert_eq!(check.check(b"module", &MachineLimits::default()), Ok(()));
}

#[test]
fn the_reasons_of_the_child_are_those_of_the_check() {
    let (_dir, check) = by_script(r#"cat >/dev/null; echo '["one","two"]'"#, 3600);
    let refused = check.check(b"module", &MachineLimits::default());
    let reported = |message: &str| CheckReason::Reported {
        message: message.to_owned(),
    };
    let reasons = vec![reported("one"), reported("two")];
    assert_eq!(refused, Err(CheckError { reasons }));
}

#[test]
fn the_child_gets_the_limits_and_the_module_and_no_environment() {
    let script = r#"
        words=$(tail -c 6)
        printf '["%s %s %s"]' "$words" "$1" "${CARGO_MANIFEST_DIR-no environment}""#;
    let refused = refusal(script);
    assert!(
        refused.ends_with("module check-module no environment"),
        "{refused}"
    );
}

#[test]
fn a_child_that_reads_nothing_is_not_waited_for() {
    let (_dir, check) = by_script("echo '[]'", 3600);
    let module = vec![0; 4 << 20];
    assert_eq!(check.check(&module, &MachineLimits::default()), Ok(()));
}

#[test]
fn a_child_that_fails_refuses_the_module_with_the_cause() {
    let memory = "echo 'memory allocation of 100 bytes failed' >&2; kill -ABRT $$";
    assert!(refusal(memory).ends_with(
        "its check needs more than 64 MiB of memory; make the module smaller, or raise --module-check-memory-mib"
    ));
    assert!(refusal("kill -XCPU $$").ends_with(
        "its check takes more than 3600 s of processor time; make the module smaller, or raise --module-check-seconds"
    ));
    let overflow = "echo 'thread has overflowed its stack' >&2; kill -ABRT $$";
    let refused = refusal(overflow);
    assert!(refused.contains("signal: 6"), "{refused}");
    assert!(
        refused.ends_with("thread has overflowed its stack"),
        "{refused}"
    );
    let refused = refusal("echo '[]'; exit 3");
    assert!(
        refused.contains("its check ended with exit status: 3"),
        "{refused}"
    );
    let refused = refusal("echo 'not JSON'");
    assert!(
        refused.contains("its check ended with exit status: 0"),
        "{refused}"
    );
}

#[test]
fn a_reason_that_tells_of_memory_names_the_limit() {
    let script = r#"cat >/dev/null; echo '["it does not start: no memory (os error 12)"]'"#;
    assert!(refusal(script).contains("more than 64 MiB"));
}

#[test]
fn a_child_that_does_not_end_is_ended() {
    let refused = refusal_of("exec sleep 100000", 0);
    assert!(refused.contains("takes more than 0 s"), "{refused}");
}

#[test]
fn a_program_that_can_not_be_started_refuses_the_module() {
    let settings = CheckSettings {
        program: "/nothing/here".into(),
        budget: CheckBudget::default(),
        in_background: true,
    };
    let check = ChildCheck::new(settings, None);
    let refused = check.check(b"module", &MachineLimits::default());
    let refused = refused.expect_err("a refusal").to_string();
    assert!(refused.contains("can't be started"), "{refused}");
}
