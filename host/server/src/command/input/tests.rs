use std::io::{Read, empty, repeat};

use super::read;

#[test]
fn an_argument_a_file_and_standard_input_are_sent_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("command");
    std::fs::write(&path, b"from a file\n").unwrap();
    assert_eq!(read(Some("text".into()), None, empty()).unwrap(), b"text");
    assert_eq!(read(None, Some(&path), empty()).unwrap(), b"from a file\n");
    assert_eq!(
        read(Some("-".into()), None, &b"from a pipe\n"[..]).unwrap(),
        b"from a pipe\n"
    );
}

#[test]
fn a_missing_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let failure = read(None, Some(&dir.path().join("missing")), empty()).unwrap_err();
    assert!(failure.to_string().contains("missing"), "{failure}");
    assert_eq!(failure.code(), 1);
}

#[test]
fn an_endless_input_is_refused() {
    let failure = read(Some("-".into()), None, repeat(b'x').take(u64::MAX)).unwrap_err();
    assert!(failure.to_string().contains("more than"), "{failure}");
}

#[test]
fn nothing_to_send_is_wrong_usage() {
    assert_eq!(read(None, None, empty()).unwrap_err().code(), 2);
}
