use std::time::Duration;

use super::*;

#[test]
fn lines_over_the_rate_are_dropped_and_counted() {
    let log = GuestLog::new();
    let start = log.bucket.lock().unwrap().filled;
    let admitted = (0..1000).filter(|_| log.admit(start).is_some()).count();
    assert_eq!(admitted, 100);
    assert_eq!(
        log.admit(start + Duration::from_secs(1)),
        Some(900),
        "the first line after the burst reports how many were dropped"
    );
}

#[test]
fn a_long_line_is_cut_between_two_characters() {
    let message = "é".repeat(LINE_BYTES);
    assert_eq!(cut(&message).len(), LINE_BYTES);
    assert_eq!(cut(&format!("a{message}")).len(), LINE_BYTES - 1);
    assert_eq!(cut("short"), "short");
}

#[test]
fn a_guest_can_not_write_a_line_of_the_node() {
    assert_eq!(printable("plain, é, 文"), "plain, é, 文");
    assert_eq!(
        printable("done\n2026-01-01T00:00:00Z ERROR oarlock: the disk is full"),
        "done\\n2026-01-01T00:00:00Z ERROR oarlock: the disk is full"
    );
    assert_eq!(
        printable("\u{1b}[2J\r\u{9b}x\u{2028}y\u{202e}z"),
        "\\u{1b}[2J\\r\\u{9b}x\\u{2028}y\\u{202e}z"
    );
}
