use http_body_util::BodyExt;
use tokio::sync::watch;

use super::*;
use crate::http::connection_table::ConnectionTable;
use crate::settings::WaitingLimits;

fn write(log: &NodeLog, level: Severity) {
    log.write(NodeLogLine {
        time_ms: 1,
        level,
        source: LineSource::Node,
        target: "test",
        text: "a line".into(),
    });
}

/// The errors that are stored, without following.
async fn errors(log: &Arc<NodeLog>, place: LineId) -> String {
    let source = LineFrames {
        log: Arc::clone(log),
        wanted: WantedLines {
            least: Severity::Error,
            source: None,
        },
        place,
        until: Some(log.before_last(0, |_| true)),
    };
    let (_node, open) = watch::channel(true);
    let table = ConnectionTable::new(WaitingLimits::default());
    let connection = table.open(std::net::Ipv4Addr::LOCALHOST.into());
    let client = StreamClient::of_connection(&connection);
    let response = respond(source, client, "log of the node", log.watch(), open);
    let body = response.into_body().collect().await.expect("a body");
    String::from_utf8(body.to_bytes().to_vec()).expect("text")
}

/// The position that a client has after a stream.
fn position(stream: &str) -> LineId {
    let mut lines = stream.lines().rev();
    let id = lines.find_map(|line| line.strip_prefix("id: "));
    id.expect("a position").parse().expect("an id")
}

#[tokio::test]
async fn a_filtered_reader_that_reconnects_gets_no_gap() {
    let log = Arc::new(NodeLog::new(7));
    let first = LineId { log: 7, number: 0 };
    write(&log, Severity::Error);
    let mut place = position(&errors(&log, first).await);
    // Between two connections the node drops no line that the client has not passed, but in all it drops many.
    for _ in 0..3 {
        (0..=KEPT_LINES / 2).for_each(|_| write(&log, Severity::Info));
        let stream = errors(&log, place).await;
        assert!(!stream.contains("event:"), "{stream}");
        place = position(&stream);
    }
    assert_eq!(place.number, log.counts().written);
    assert!(errors(&log, first).await.contains("event: gap"));
}

#[test]
fn each_source_has_a_name_and_other_names_are_malformed() {
    let of = |source: &str| {
        WantedLines::of(&LogsParams {
            source: Some(source.to_owned()),
            ..LogsParams::default()
        })
    };
    let sources = SOURCES.map(|name| of(name).expect("a source").source);
    assert_eq!(
        sources,
        [None, Some(LineSource::Guest), Some(LineSource::Node)]
    );
    assert_eq!(of("other").expect_err("no source").code(), "malformed");
}
