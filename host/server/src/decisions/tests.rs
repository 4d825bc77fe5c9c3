use super::*;

fn skip(index: u64) -> StoredDecision {
    StoredDecision {
        index,
        commands: Sha256::of(b"commands").to_string(),
        successor: None,
    }
}

#[test]
fn decisions_are_read_as_they_were_written_one_for_each_entry() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Decisions::read(dir.path()).unwrap(), Decisions::default());
    let mut decisions = Decisions::default();
    for index in [9, 4, 9] {
        decisions.add(skip(index));
    }
    decisions.write(dir.path()).unwrap();
    let read = Decisions::read(dir.path()).unwrap();
    assert_eq!(read.entries, [skip(4), skip(9)]);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_not_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), b"{").unwrap();
    let error = Decisions::read(dir.path()).unwrap_err().to_string();
    assert!(error.contains(FILE), "{error}");
}

#[test]
fn a_digest_is_64_hexadecimal_digits() {
    let known = Sha256::of(b"commands");
    assert_eq!(digest(&known.to_string()), Some(known));
    for wrong in ["", "00", &"g".repeat(64), &"ä".repeat(32)] {
        assert_eq!(digest(wrong), None, "{wrong}");
    }
}
