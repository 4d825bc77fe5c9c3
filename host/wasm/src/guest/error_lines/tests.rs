use super::*;

fn quote(text: &str) -> Option<String> {
    let mut lines = ErrorLines::default();
    for line in text.lines() {
        lines.push(line);
    }
    lines.quote()
}

#[test]
fn an_exception_in_python_has_type_text_and_line() {
    let text = "\
printed before
Traceback (most recent call last):
  File \"/0/machine.py\", line 47, in find
KeyError: 'a'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File \"/0/app.py\", line 24, in apply
  File \"/0/machine.py\", line 49, in apply
RuntimeError: outer

thread '<unnamed>' (1) panicked at runtime/src/lib.rs:1280:25:
Python function threw an unexpected exception
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
";
    let expected = "RuntimeError: outer (machine.py, line 49, in apply)";
    assert_eq!(quote(text).as_deref(), Some(expected));
    let without_frames = "Traceback (most recent call last):\nMemoryError\n";
    assert_eq!(quote(without_frames).as_deref(), Some("MemoryError"));
}

#[test]
fn an_exception_in_javascript_has_type_text_and_line() {
    let text = "\
RangeError: größe
Stack:
  apply@/tmp/votes/src/machine.js:34:27
  apply@src/app.js:33:30

Redirecting call to abort() to mozalloc_abort

";
    let expected = "RangeError: größe (machine.js:34:27, in apply)";
    assert_eq!(quote(text).as_deref(), Some(expected));
    let thrown = "\"a string\"\nRedirecting call to abort() to mozalloc_abort\n\n";
    assert_eq!(quote(thrown).as_deref(), Some("\"a string\""));
}

#[test]
fn a_panic_in_rust_has_text_and_line() {
    let expected = "panicked at src/lib.rs:37:9: no room";
    for text in [
        "panicked at src/lib.rs:37:9:\nno room",
        "thread 'main' panicked at src/lib.rs:37:9:\nno room\nnote: run with `RUST_BACKTRACE=1`",
        "panicked at src/lib.rs:37:9: no room",
    ] {
        assert_eq!(quote(text).as_deref(), Some(expected), "{text}");
    }
    // The SDK logs both lines at once.
    let mut lines = ErrorLines::default();
    lines.push("panicked at src/lib.rs:37:9:\nno room");
    assert_eq!(lines.quote().as_deref(), Some(expected));
}

#[test]
fn other_text_gives_its_last_line() {
    assert_eq!(quote("one\ntwo\n\n  \n").as_deref(), Some("two"));
    assert_eq!(quote(""), None);
    assert_eq!(quote("\n\n"), None);
}

#[test]
fn incomplete_text_is_no_error() {
    for text in [
        PYTHON_FRAMES,
        "Traceback (most recent call last):\n  File \"a",
        "Traceback (most recent call last):\n\n",
        JAVASCRIPT_FRAMES,
        "Stack:\n",
        "a\nStack:",
        "panicked at ",
        "panicked at x:",
    ] {
        assert!(
            quote(text).is_some_and(|quote| !quote.is_empty()),
            "{text:?}"
        );
    }
}

#[test]
fn lines_and_quote_have_limits() {
    let mut lines = ErrorLines::default();
    for _ in 0..1000 {
        lines.push(&"ä".repeat(1000));
    }
    assert!(lines.bytes <= MAX_BYTES && lines.lines.len() <= MAX_LINES);
    assert_eq!(lines.quote().map(|quote| quote.len()), Some(QUOTE_BYTES));
    let mut lines = ErrorLines::default();
    for number in 0..1000 {
        lines.push(&number.to_string());
    }
    assert_eq!(lines.lines.len(), MAX_LINES);
    assert_eq!(lines.quote().as_deref(), Some("999"));
}
