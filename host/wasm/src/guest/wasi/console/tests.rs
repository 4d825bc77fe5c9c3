use super::*;

fn written(console: &mut Console, stream: ConsoleStream, bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    console.write(stream, bytes, |line| lines.push(line.to_owned()));
    lines
}

fn finished(console: &mut Console, stream: ConsoleStream) -> Vec<String> {
    let mut lines = Vec::new();
    console.finish(stream, |line| lines.push(line.to_owned()));
    lines
}

#[test]
fn a_line_is_logged_when_it_ends() {
    let mut console = Console::default();
    let (out, err) = (ConsoleStream::Output, ConsoleStream::Error);
    assert!(written(&mut console, out, b"one, ").is_empty());
    assert!(written(&mut console, err, b"other").is_empty());
    assert_eq!(written(&mut console, out, b"two\n\nthr"), ["one, two", ""]);
    assert_eq!(finished(&mut console, out), ["thr"]);
    assert_eq!(finished(&mut console, err), ["other"]);
    assert!(finished(&mut console, out).is_empty());
}

#[test]
fn an_unfinished_line_is_buffered_up_to_the_limit_of_one_line() {
    let mut console = Console::default();
    let mut lines = Vec::new();
    for _ in 0..100 {
        lines.extend(written(&mut console, ConsoleStream::Output, &[b'x'; 1000]));
        assert!(console.output.len() <= LINE_BYTES);
    }
    lines.extend(finished(&mut console, ConsoleStream::Output));
    assert_eq!(lines.concat().len(), 100_000, "nothing is lost");
    assert!(lines.iter().all(|line| line.len() <= LINE_BYTES));
    assert_eq!(lines.len(), 100_000_usize.div_ceil(LINE_BYTES));
}

#[test]
fn bytes_that_are_not_utf_8_are_shown_as_replacement_characters() {
    let mut console = Console::default();
    assert_eq!(
        written(&mut console, ConsoleStream::Error, b"a\xffb\n"),
        ["a\u{fffd}b"]
    );
}
