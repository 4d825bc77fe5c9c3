use super::*;

fn line(text: &str) -> NodeLogLine {
    NodeLogLine {
        time_ms: 1,
        level: Severity::Info,
        source: LineSource::Guest,
        target: "guest",
        text: text.into(),
    }
}

fn log_of(count: usize) -> NodeLog {
    let log = NodeLog::new(7);
    (1..=count).for_each(|number| log.write(line(&number.to_string())));
    log
}

/// What a client reads from a position on.
fn read(log: &NodeLog, mut place: LineId) -> Vec<String> {
    let mut read = Vec::new();
    loop {
        match log.after(place) {
            NextLine::Line(at, line) => {
                read.push(line.text.to_string());
                place = at;
            }
            NextLine::Gap(at, lost) => {
                read.push(format!("gap {lost:?}"));
                place = at;
            }
            NextLine::None => return read,
        }
    }
}

#[test]
fn a_client_reads_the_lines_in_order_from_its_position() {
    let log = log_of(5);
    assert_eq!(read(&log, log.place(0)), ["1", "2", "3", "4", "5"]);
    assert_eq!(read(&log, log.place(3)), ["4", "5"]);
    assert_eq!(read(&log, log.place(5)), [""; 0]);
    let odd = |line: &NodeLogLine| line.text.parse::<u64>().is_ok_and(|number| number % 2 == 1);
    assert_eq!(log.before_last(2, odd), log.place(2));
    assert_eq!(log.before_last(9, odd), log.place(0));
    assert_eq!(log.before_last(0, odd), log.place(5));
    assert_eq!(log_of(0).before_last(1, odd), log.place(0));
}

#[test]
fn the_number_of_lines_is_bounded_and_a_slow_client_gets_a_gap() {
    let log = log_of(KEPT_LINES + 3);
    let lines = read(&log, log.place(1));
    assert_eq!(lines[..2], ["gap Some(2)", "4"]);
    assert_eq!(lines.len(), KEPT_LINES + 1);
    let counts = log.counts();
    assert_eq!((counts.written, counts.missed), (KEPT_LINES as u64 + 3, 2));
}

#[test]
fn the_bytes_of_lines_are_bounded_and_a_long_line_is_cut() {
    let log = log_of(0);
    let long = "é".repeat(TEXT_BYTES);
    for _ in 0..1_000 {
        log.write(line(&long));
    }
    let store = log.lock();
    assert!(store.bytes <= KEPT_BYTES, "{}", store.bytes);
    assert_eq!(
        store.kept.len(),
        KEPT_BYTES / (LINE_COST + TEXT_BYTES),
        "each is cut to {TEXT_BYTES} bytes"
    );
}

#[test]
fn a_position_in_the_log_of_an_earlier_process_is_a_gap() {
    let log = log_of(2);
    let earlier = LineId { log: 6, number: 1 };
    assert_eq!(read(&log, earlier), ["gap None", "1", "2"]);
    assert_eq!(read(&log, log.place(3)), ["gap None", "1", "2"]);
}

#[test]
fn a_position_is_text_and_back() {
    let id = LineId {
        log: 0x12ab,
        number: 40,
    };
    assert_eq!(id.to_string(), "00000000000012ab.40");
    assert_eq!("00000000000012ab.40".parse(), Ok(id));
    for other in [
        "",
        "1.1",
        "00000000000012ab",
        "00000000000012ab.",
        "00000000000012ab.-1",
        "+0000000000012ab.1",
        "00000000000012ab.99999999999999999999",
    ] {
        assert_eq!(other.parse::<LineId>(), Err(()), "{other}");
    }
}

#[test]
fn a_level_and_a_source_are_text_and_back() {
    let levels = ["trace", "debug", "info", "warn", "error"];
    assert_eq!(Severity::NAMES, levels);
    for name in levels {
        let level: Severity = name.parse().expect("a level");
        assert_eq!(serde_json::json!(level), name);
    }
    assert!(Severity::ALL.is_sorted_by_key(|(_, level)| *level));
    assert_eq!("loud".parse::<Severity>(), Err(()));
    for name in ["guest", "node"] {
        let source: LineSource = name.parse().expect("a source");
        assert_eq!(serde_json::json!(source), name);
    }
    assert_eq!("all".parse::<LineSource>(), Err(()));
}
