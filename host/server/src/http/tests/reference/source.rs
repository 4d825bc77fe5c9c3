//! The table and the source: each code is produced somewhere, belongs to a route, and has a test with a real response.

use std::collections::BTreeSet;
use std::path::Path;

use super::GENERAL;
use crate::http::error_code::{ErrorCode, RetryClass};
use crate::http::routes;

/// Codes that no test of a node can produce cheaply, with the test that has them.
const WITHOUT_A_NODE: [(ErrorCode, &str); 17] = [
    (
        ErrorCode::NoQueries,
        "guests without queries: `oarlock-wasm`",
    ),
    (ErrorCode::ChangeUnderWay, "`members::tests`"),
    (ErrorCode::NotCaughtUp, "`tests/tests/members.rs`"),
    (ErrorCode::TooManyMembers, "`members::tests`"),
    (ErrorCode::TransferUnderWay, "`members::tests`"),
    (ErrorCode::TransferFailed, "`members::tests`"),
    (ErrorCode::UnknownLevel, "`members::tests`"),
    (ErrorCode::LevelTooLow, "`tests/tests/settings.rs`"),
    (ErrorCode::Compacted, "`tests/tests/archive.rs`"),
    (ErrorCode::ModuleUnsigned, "`tests/tests/signers.rs`"),
    (ErrorCode::UpgradeStatesDiffer, "`upgrade::tests`"),
    (ErrorCode::UpgradeAbandoned, "`upgrade::tests`"),
    (ErrorCode::GuestUnavailable, "`error::tests`"),
    (ErrorCode::SnapshotFailed, "`tests/tests/snapshots.rs`"),
    (ErrorCode::Internal, "a bug"),
    (
        ErrorCode::DiskFull,
        "`error::tests`, `tests/long/faults.rs`",
    ),
    (
        ErrorCode::StateFull,
        "`error::tests`, `machine::tests::memory` of `oarlock-wasm`",
    ),
];

/// The texts of all Rust files below a directory of this package.
fn sources(below: &Path, texts: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(below).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, texts);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).expect("text");
            texts.push((path.to_string_lossy().replace('\\', "/"), text));
        }
    }
}

fn package() -> Vec<(String, String)> {
    let mut texts = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut texts,
    );
    texts
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Whether the text names a variant, and not only one that begins with its name.
fn names(text: &str, variant: &str) -> bool {
    let start = format!("ErrorCode::{variant}");
    text.match_indices(&start).any(|(at, _)| {
        let next = text[at + start.len()..].chars().next();
        !next.is_some_and(|next| next.is_alphanumeric() || next == '_')
    })
}

#[test]
fn every_code_is_produced_somewhere() {
    let texts = package();
    for code in ErrorCode::ALL {
        let produced = texts
            .iter()
            .filter(|(path, _)| !is_test(path))
            .any(|(_, text)| names(text, code.variant()));
        assert!(produced, "no error has the code {code:?}; remove it");
    }
}

#[test]
fn every_code_belongs_to_a_route_and_no_route_has_one_twice() {
    let mut used: BTreeSet<ErrorCode> = GENERAL.into();
    for route in routes::all() {
        let own: BTreeSet<ErrorCode> = route.errors.iter().copied().collect();
        assert_eq!(own.len(), route.errors.len(), "{}", route.path);
        assert!(
            route.errors.is_sorted(),
            "the errors of {} are not in the order of the table",
            route.path
        );
        used.extend(own);
    }
    let all: BTreeSet<ErrorCode> = ErrorCode::ALL.iter().copied().collect();
    assert_eq!(used, all);
}

#[test]
fn a_code_has_a_valid_status_and_no_two_are_equal() {
    let mut seen = BTreeSet::new();
    for code in ErrorCode::ALL {
        let status = code.status().as_u16();
        assert!((400..600).contains(&status), "{code:?}");
        assert!(seen.insert((code.as_str(), status)), "{code:?}");
        let unknown = code.retry() == RetryClass::OutcomeUnknown;
        assert_eq!(unknown, status == 504, "{code:?}");
        if code.retry() == RetryClass::AfterPause {
            assert!(code.has_retry_after(), "{code:?}");
        }
    }
    let statuses: Vec<u16> = ErrorCode::ALL
        .iter()
        .map(|code| code.status().as_u16())
        .collect();
    assert!(statuses.is_sorted(), "the table is ordered by status");
}

#[test]
fn every_code_has_a_test_with_a_response_of_a_node() {
    let tests: String = package()
        .into_iter()
        .filter(|(path, _)| path.contains("/http/tests/"))
        .map(|(_, text)| text.split_whitespace().collect::<Vec<_>>().join(""))
        .collect();
    for code in ErrorCode::ALL {
        let (status, name) = (code.status().as_u16(), code.as_str());
        let tested = tests.contains(&format!("assert_error({status},\"{name}\""))
            || tests.contains(&format!("{status},\"{name}\""));
        let excused = WITHOUT_A_NODE.iter().any(|(excused, _)| excused == code);
        assert_ne!(tested, excused, "{code:?}");
    }
}

#[test]
fn the_router_gets_its_routes_from_the_table_only() {
    for (path, text) in package() {
        if !is_test(&path) && text.contains(".route(\"") {
            panic!(
                "{path} adds a route to the router; make it a row of the table in http/routes.rs"
            );
        }
    }
}

#[test]
fn the_metrics_have_a_label_for_each_path() {
    let labels: BTreeSet<&str> = crate::metrics::ROUTES.into_iter().collect();
    let paths: BTreeSet<&str> = routes::all()
        .map(|route| route.path)
        .chain(["other"])
        .collect();
    assert_eq!(labels, paths);
}
