use super::*;

#[test]
fn a_record_is_read_as_it_was_written() {
    let entry = |name: &str| Entry {
        name: name.into(),
        module: "0a".repeat(32),
        sources: "1b".repeat(32),
    };
    let entries = [entry("counter"), entry("kv")];
    assert_eq!(read(&write(&entries)).unwrap(), entries);
}

#[test]
fn a_line_of_another_form_is_named() {
    assert_eq!(
        read("# note\n\ncounter abc def\n"),
        Err(RecordError { line: 3 })
    );
}
