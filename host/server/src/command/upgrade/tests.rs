use super::*;

fn progress(received_bytes: u64, nodes: &[(&str, &str)]) -> UpgradeProgress {
    let nodes = nodes.iter().map(|(node, state)| {
        let refused = *state == "refused";
        let progress = UpgradeNodeProgress {
            state: (*state).to_owned(),
            hash: (*state == "ready").then(|| "0123456789abcdef".to_owned()),
            reason: refused.then(|| "it imports\na clock".to_owned()),
        };
        ((*node).to_owned(), progress)
    });
    UpgradeProgress {
        index: 7,
        sha256: "fedcba9876543210".to_owned(),
        by: "ann".to_owned(),
        dry_run: false,
        bytes: 100,
        received_bytes,
        deadline_ms: 1,
        nodes: nodes.collect(),
    }
}

#[test]
fn each_step_is_printed_once() {
    let steps = [
        progress(0, &[("node1", "waiting"), ("node2", "waiting")]),
        progress(100, &[("node1", "waiting"), ("node2", "waiting")]),
        progress(100, &[("node1", "ready"), ("node2", "waiting")]),
        progress(100, &[("node1", "ready"), ("node2", "refused")]),
    ];
    let mut before = None;
    let mut printed = Vec::new();
    for step in &steps {
        printed.push(changes(before, Some(step)));
        assert!(changes(Some(step), Some(step)).is_empty());
        before = Some(step);
    }
    assert_eq!(
        printed[0],
        ["upgrade began at entry 7: sending 100 bytes to every node"]
    );
    assert!(printed[1][0].contains("module received"), "{printed:?}");
    assert_eq!(printed[2], ["node1: ready (state hash 0123456789ab)"]);
    assert_eq!(printed[3].len(), 1);
    assert!(!printed[3][0].contains('\n'), "{printed:?}");
    assert!(changes(before, None).is_empty());
}

#[test]
fn the_result_names_the_entry_that_activated_the_module() {
    let upgraded = |activated_index| UpgradeDone {
        sha256: "fedcba9876543210".to_owned(),
        name: "counter".to_owned(),
        version: 2,
        layout: None,
        activated_index,
        dry_run: activated_index.is_none(),
    };
    let module = "counter version 2 (fedcba987654)";
    assert_eq!(
        summary(&upgraded(Some(9))),
        format!("{module} is active from entry 9 on")
    );
    assert!(summary(&upgraded(Some(0))).contains("since the start"));
    assert!(summary(&upgraded(None)).contains("dry run"));
}

#[test]
fn the_history_lists_activated_and_aborted_upgrades() {
    let record = |name: Option<&str>, end: &str| EndedUpgrade {
        index: 7,
        ended_index: 12,
        time_ms: 1_000,
        by: "ann".to_owned(),
        sha256: "fedcba9876543210".to_owned(),
        name: name.map(str::to_owned),
        version: name.map(|_| 2),
        end: end.to_owned(),
        message: end.to_owned(),
    };
    let upgrades = UpgradeHistory {
        revision: 3,
        state_machine: oarlock_client::ModuleInfo {
            name: "counter".to_owned(),
            version: 2,
            sha256: "fedcba9876543210".to_owned(),
            other: [("layout".to_owned(), serde_json::json!("serde1:01-02"))]
                .into_iter()
                .collect(),
        },
        upgrade: Some(progress(100, &[("node1", "ready")])),
        history: vec![
            record(None, "module_refused"),
            record(Some("counter"), "activated"),
        ],
        first_module: Some(FirstModuleInfo {
            sha256: "1111111111111111".to_owned(),
            name: Some("counter".to_owned()),
            version: Some(1),
        }),
    };
    let text = as_text(&upgrades);
    for phrase in [
        "active module: counter version 2 (fedcba9876543210)",
        "layout of its state: serde1:01-02",
        "in progress: module fedcba987654 since entry 7",
        "node1: ready",
        "counter version 2 (fedcba987654)",
        "1970-01-01T00:00:01Z",
        "module_refused",
        "counter version 1 (111111111111)",
        "the log begins with it",
    ] {
        assert!(text.contains(phrase), "{phrase}: {text}");
    }
}

#[test]
fn a_long_error_is_one_cut_line_in_the_history_and_complete_in_json() {
    let error = format!("node2: it imports\na clock {}", "and more ".repeat(20));
    let record = EndedUpgrade {
        index: 7,
        ended_index: 12,
        time_ms: 0,
        by: "ann".to_owned(),
        sha256: String::new(),
        name: None,
        version: None,
        end: "module_refused".to_owned(),
        message: error.clone(),
    };
    let table = table(std::slice::from_ref(&record), None);
    assert!(table.has_cut_cells());
    let text = table.render();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("node2: it imports a clock"), "{text}");
    assert_eq!(serde_json::to_value(&record).unwrap()["message"], error);
}

#[test]
fn times_have_the_format_of_rfc_3339() {
    assert_eq!(utc(0), "1970-01-01T00:00:00Z");
    assert_eq!(utc(1_795_544_901_347), "2026-11-24T18:28:21Z");
    assert_eq!(utc(253_402_300_799_999), "9999-12-31T23:59:59Z");
    assert_eq!(utc(253_402_300_800_000), "253402300800000 ms");
    assert_eq!(utc(u64::MAX), format!("{} ms", u64::MAX));
}
