use super::series::Series;
use super::show::{NodeRow, Rows};

fn metrics(requests: u64, buckets: [u64; 3]) -> Series {
    let [fast, slow, all] = buckets;
    Series::parse(&format!(
        "# HELP oarlock_http_requests_total Completed requests.\n\
         oarlock_http_requests_total{{route=\"/v1/apply\",status=\"200\"}} {requests}\n\
         oarlock_http_requests_total{{route=\"/v1/apply\",status=\"503\"}} 9\n\
         oarlock_http_request_seconds_bucket{{route=\"/v1/apply\",le=\"0.001\"}} {fast}\n\
         oarlock_http_request_seconds_bucket{{route=\"/v1/apply\",le=\"0.016\"}} {slow}\n\
         oarlock_http_request_seconds_bucket{{route=\"/v1/apply\",le=\"+Inf\"}} {all}\n\
         oarlock_http_request_seconds_bucket{{route=\"/v1/query\",le=\"+Inf\"}} 70\n\
         no value\n"
    ))
}

#[test]
fn requests_with_success_are_counted() {
    let series = metrics(12, [0, 0, 0]);
    assert_eq!(series.requests("/v1/apply"), 12.0);
    assert_eq!(series.requests("/v1/query"), 0.0);
}

#[test]
fn a_percentile_is_that_of_the_requests_between_two_measurements() {
    let before = metrics(0, [100, 100, 100]);
    let latency = metrics(0, [150, 200, 200]).latency_since(&before, "/v1/apply");
    // Half of the hundred new ones took at most 1 ms.
    assert_eq!(latency.quantile_ms(0.5), Some(1.0));
    assert_eq!(latency.quantile_ms(0.25), Some(0.5));
    assert_eq!(latency.quantile_ms(0.75), Some(8.5));
    // Beyond the last bound only that bound is known.
    let latency = metrics(0, [100, 100, 110]).latency_since(&before, "/v1/apply");
    assert_eq!(latency.quantile_ms(0.99), Some(16.0));
}

#[test]
fn without_requests_there_is_no_percentile() {
    let series = metrics(0, [100, 100, 100]);
    let latency = series.latency_since(&series, "/v1/apply");
    assert_eq!(latency.quantile_ms(0.5), None);
    let latency = series.latency_since(&series, "/v1/other");
    assert_eq!(latency.quantile_ms(0.5), None);
}

#[test]
fn a_restarted_node_has_no_negative_rate() {
    let latency = metrics(0, [1, 1, 1]).latency_since(&metrics(0, [5, 5, 5]), "/v1/apply");
    assert_eq!(latency.quantile_ms(0.5), None);
}

#[test]
fn the_table_has_a_line_for_each_node() {
    let running = NodeRow {
        node_id: Some("node1".to_owned()),
        role: Some("leader".to_owned()),
        ready: Some(true),
        term: Some(7),
        commands_per_second: Some(1234.56),
        guest_memory_bytes: Some(3 << 20),
        ..NodeRow::default()
    };
    let silent = NodeRow {
        node_id: Some("node2".to_owned()),
        error: Some("Connection refused".to_owned()),
        ..NodeRow::default()
    };
    let rows = Rows(vec![running, silent]);
    let text = anstream::adapter::strip_str(&rows.as_text()).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("NODE"), "{text}");
    let cells: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(
        cells[..5],
        ["node1", "leader", "7", "-", "1234.6"],
        "{text}"
    );
    assert!(lines[2].contains("Connection refused"), "{text}");
    let json = rows.as_json();
    assert_eq!(json["nodes"][0]["commands_per_second"], 1234.56);
    assert_eq!(json["nodes"][1]["error"], "Connection refused");
}
