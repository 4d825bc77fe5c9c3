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
fn each_step_is_told_once() {
    let steps = [
        progress(0, &[("node1", "waiting"), ("node2", "waiting")]),
        progress(100, &[("node1", "waiting"), ("node2", "waiting")]),
        progress(100, &[("node1", "ready"), ("node2", "waiting")]),
        progress(100, &[("node1", "ready"), ("node2", "refused")]),
    ];
    let mut before = None;
    let mut told = Vec::new();
    for step in &steps {
        told.push(news(before, Some(step)));
        assert!(news(Some(step), Some(step)).is_empty());
        before = Some(step);
    }
    assert_eq!(told[0], ["begun at entry 7: 100 bytes to every node"]);
    assert!(told[1][0].contains("has arrived"), "{told:?}");
    assert_eq!(told[2], ["node1 is ready (state 0123456789ab)"]);
    assert_eq!(told[3].len(), 1);
    assert!(!told[3][0].contains('\n'), "{told:?}");
    assert!(news(before, None).is_empty());
}

#[test]
fn the_end_says_from_where_on_the_module_runs() {
    let upgraded = |activated_index| UpgradeDone {
        sha256: "fedcba9876543210".to_owned(),
        name: "counter".to_owned(),
        version: 2,
        activated_index,
        dry_run: activated_index.is_none(),
    };
    let module = "counter version 2 (fedcba987654)";
    assert_eq!(
        words(&upgraded(Some(9))),
        format!("{module} runs from entry 9 on")
    );
    assert!(words(&upgraded(Some(0))).contains("since the beginning"));
    assert!(words(&upgraded(None)).contains("dry run"));
}

#[test]
fn the_history_names_what_ran_and_what_was_given_up() {
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
        },
        upgrade: Some(progress(100, &[("node1", "ready")])),
        history: vec![
            record(None, "refused"),
            record(Some("counter"), "activated"),
        ],
    };
    let text = shown(&upgrades);
    for words in [
        "counter version 2 (fedcba9876543210) runs",
        "under way since entry 7",
        "node1 is ready",
        "counter version 2 (fedcba987654)",
        "refused",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn times_are_those_of_a_calendar() {
    assert_eq!(time(0), "01 Jan 1970 00:00:00");
    assert_eq!(time(1_795_544_901_347), "24 Nov 2026 18:28:21");
    assert_eq!(time(253_402_300_799_999), "31 Dec 9999 23:59:59");
    assert_eq!(time(253_402_300_800_000), "253402300800000 ms");
    assert_eq!(time(u64::MAX), format!("{} ms", u64::MAX));
}
