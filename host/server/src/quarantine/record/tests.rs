use tempfile::TempDir;

use super::*;

const HOUR_MS: u64 = 3_600_000;

#[test]
fn a_node_that_never_diverged_has_no_record() {
    let dir = TempDir::new().expect("a directory");
    let record = QuarantineRecord::read(dir.path()).expect("no file");
    assert!(!record.is_quarantined() && !record.is_given_up());
}

#[test]
fn a_quarantine_survives_a_restart_until_it_ends() {
    let dir = TempDir::new().expect("a directory");
    let mut record = QuarantineRecord::read(dir.path()).expect("no file");
    record.enter(HOUR_MS);
    let mut record = QuarantineRecord::read(dir.path()).expect("the stored record");
    assert!(record.is_quarantined());
    record.leave();
    let record = QuarantineRecord::read(dir.path()).expect("the stored record");
    assert!(!record.is_quarantined());
    assert_eq!(
        record.content.since_ms,
        [HOUR_MS],
        "a past quarantine still counts"
    );
}

#[test]
fn a_node_that_diverges_too_often_is_given_up_also_after_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let mut record = QuarantineRecord::read(dir.path()).expect("no file");
    for time in 1..=3 {
        record.enter(time * 1000);
        assert!(!record.is_given_up(), "{time}");
        record.leave();
    }
    record.enter(4000);
    assert!(record.is_given_up());
    let record = QuarantineRecord::read(dir.path()).expect("the stored record");
    assert!(record.is_quarantined() && record.is_given_up());
}

#[test]
fn quarantines_before_the_window_do_not_count() {
    let dir = TempDir::new().expect("a directory");
    let mut record = QuarantineRecord::read(dir.path()).expect("no file");
    for time in 0..20 {
        record.enter(time * HOUR_MS / 2);
        record.leave();
        assert!(
            !record.is_given_up() && record.content.since_ms.len() <= 3,
            "{record:?}"
        );
    }
}

#[test]
fn a_corrupt_record_is_an_error() {
    let dir = TempDir::new().expect("a directory");
    for text in [
        "",
        "{}",
        r#"{"quarantined":"no"}"#,
        r#"{"quarantined":false,"since_ms":[1],"more":1}"#,
    ] {
        fs::write(dir.path().join(FILE), text).expect("written");
        let error = QuarantineRecord::read(dir.path())
            .expect_err(text)
            .to_string();
        assert!(
            error.contains(FILE) && error.contains(r#"{"quarantined":true,"since_ms":[]}"#),
            "{error}"
        );
    }
}
