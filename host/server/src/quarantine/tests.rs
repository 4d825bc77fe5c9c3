use tempfile::TempDir;

use super::*;

const HOUR_MS: u64 = 3_600_000;

#[test]
fn a_node_that_never_differed_has_no_record() {
    let dir = TempDir::new().expect("a directory");
    let record = Record::read(dir.path()).expect("none is none");
    assert!(!record.is_quarantined() && !record.is_hopeless());
}

#[test]
fn a_quarantine_is_still_one_after_a_restart_and_over_once_it_is_left() {
    let dir = TempDir::new().expect("a directory");
    let mut record = Record::read(dir.path()).expect("none");
    record.enter(HOUR_MS);
    let mut record = Record::read(dir.path()).expect("what was written");
    assert!(record.is_quarantined());
    record.leave();
    let record = Record::read(dir.path()).expect("what was written");
    assert!(!record.is_quarantined());
    assert_eq!(
        record.known.since_ms,
        [HOUR_MS],
        "it is remembered for a while"
    );
}

#[test]
fn a_node_that_differs_again_and_again_is_left_alone_also_after_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let mut record = Record::read(dir.path()).expect("none");
    for time in 1..=3 {
        record.enter(time * 1000);
        assert!(!record.is_hopeless(), "{time}");
        record.leave();
    }
    record.enter(4000);
    assert!(record.is_hopeless());
    let record = Record::read(dir.path()).expect("what was written");
    assert!(record.is_quarantined() && record.is_hopeless());
}

#[test]
fn what_was_long_ago_does_not_count() {
    let dir = TempDir::new().expect("a directory");
    let mut record = Record::read(dir.path()).expect("none");
    for time in 0..20 {
        record.enter(time * HOUR_MS / 2);
        record.leave();
        assert!(
            !record.is_hopeless() && record.known.since_ms.len() <= 3,
            "{record:?}"
        );
    }
}

#[test]
fn a_record_that_is_not_what_was_written_is_not_trusted() {
    let dir = TempDir::new().expect("a directory");
    for text in [
        "",
        "{}",
        r#"{"quarantined":"no"}"#,
        r#"{"quarantined":false,"since_ms":[1],"more":1}"#,
    ] {
        fs::write(dir.path().join(FILE), text).expect("written");
        let error = Record::read(dir.path()).expect_err(text).to_string();
        assert!(
            error.contains(FILE) && error.contains("empty data directory"),
            "{error}"
        );
    }
}
