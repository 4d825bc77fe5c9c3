use std::io::{self, ErrorKind, Write};

use serde_json::{Value, json};

use super::{Output, OutputClosed, print_safely, write_out, write_reply};

/// A writer that fails with one kind of error.
struct Failing(ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_not_an_error_and_a_full_disk_is() {
    assert_eq!(write_out(Failing(ErrorKind::BrokenPipe), b"text"), Ok(()));
    let failure = write_out(Failing(ErrorKind::StorageFull), b"text").unwrap_err();
    assert_eq!(failure.code(), 1);
    assert_eq!(
        Output::new(Failing(ErrorKind::BrokenPipe)).line("text"),
        Err(OutputClosed)
    );
}

#[test]
fn a_reply_is_printed_as_its_bytes_and_a_newline() {
    let mut printed = Vec::new();
    write_reply(&mut printed, "reply", 9, b"\xff{}", false).unwrap();
    assert_eq!(printed, b"\xff{}\n");
}

#[test]
fn json_output_contains_the_guests_json_or_text_or_bytes() {
    let print = |bytes: &[u8]| -> Value {
        let mut printed = Vec::new();
        write_reply(&mut printed, "reply", 9, bytes, true).unwrap();
        assert_eq!(printed.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&printed).unwrap()
    };
    assert_eq!(
        print(br#"{"id":1}"#),
        json!({"index": 9, "reply": {"id": 1}})
    );
    assert_eq!(
        print(b"not json"),
        json!({"index": 9, "reply_text": "not json"})
    );
    assert_eq!(print(b"\xff\x00"), json!({"index": 9, "reply_hex": "ff00"}));
    assert_eq!(print(b""), json!({"index": 9, "reply_text": ""}));
}

#[test]
fn text_from_the_network_cannot_move_the_cursor() {
    assert_eq!(print_safely("node1"), "node1");
    assert_eq!(print_safely("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    assert_eq!(print_safely("a\u{202e}b"), "a\u{fffd}b");
}
