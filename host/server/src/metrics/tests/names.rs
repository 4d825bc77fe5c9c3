//! The names of metrics in queries, and the files that are made from tables.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const UPDATE: &str = "OARLOCK_UPDATE_DOCS";

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name)
}

/// The metrics of the page, which a test compares with the response of a node.
fn known() -> BTreeSet<String> {
    let page = std::fs::read_to_string(docs("metrics.md")).expect("the page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split(['`', '{']).next());
    names.map(str::to_owned).collect()
}

/// The metrics that a query in PromQL reads.
fn names_in(query: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = query.split(|c| !is_part(c));
    names
        .filter(|name| name.starts_with("oarlock_"))
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned())
        .collect()
}

/// Panics if a query reads a metric that no node has.
#[track_caller]
pub(super) fn check_query(query: &str) {
    let known = known();
    let names = names_in(query);
    assert!(!names.is_empty(), "{query}");
    for name in names {
        assert!(known.contains(&name), "{query}: no metric {name}");
    }
}

/// Compares a file of `host/docs` with what the table gives, or writes it.
#[track_caller]
pub(super) fn compare(name: &str, wanted: &str) {
    let path = docs(name);
    if std::env::var_os(UPDATE).is_some() {
        return std::fs::write(&path, wanted).expect("writable");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == wanted,
        "host/docs/{name} differs from the table in host/server/src/metrics/tests: run this test with {UPDATE}=1"
    );
}

#[test]
fn a_metric_that_no_node_has_is_found_in_a_query() {
    assert_eq!(
        names_in("sum(rate(oarlock_a_total[5m])) by (le, peer) / oarlock_b_seconds_bucket"),
        BTreeSet::from(["oarlock_a_total".to_owned(), "oarlock_b_seconds".to_owned()])
    );
    check_query("oarlock_ready == 0");
    let wrong = std::panic::catch_unwind(|| check_query("oarlock_no_such == 0"));
    assert!(wrong.is_err());
}
