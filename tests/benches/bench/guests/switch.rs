//! How long an upgrade stops apply, by the size of the state: from the entry that activates the new module to the next
//! command.

use std::sync::mpsc;
use std::time::Instant;

use bytes::Bytes;
use oarlock_tests::process::guest;
use oarlock_wasm::{
    CheckResult, CommandOutcome, Envelope, MachineLimits, Sha256, UpgradeBegin, UpgradeOutcome,
    UpgradeRecord,
};
use task_queue_raft::ids::Index;

use super::{Driven, engine, load, micros};
use crate::report::Report;

const STATES_MIB: [u64; 4] = [1, 16, 64, 256];

/// Measures each size of the state.
pub(crate) fn measure(report: &mut Report) {
    let (engine, limits) = (engine(), MachineLimits::default());
    let module = load(&engine, "faulty", &limits);
    for mib in STATES_MIB {
        let mut driven = Driven::new(&module, &limits);
        for _ in 0..mib {
            driven.apply(&[r#"{"keep":{"mib":1}}"#]);
        }
        let (prepared, switched) = upgrade(&mut driven);
        let name = format!("upgrade with a state of {mib} MiB: apply stops for");
        report.line(&name, switched, "ms");
        report.line("  preparation", prepared, "ms");
    }
}

fn propose(driven: &mut Driven, record: &UpgradeRecord) -> UpgradeOutcome {
    let (mut outcomes, _) = driven.apply_envelopes(&[Envelope::upgrade(record)]);
    match outcomes.pop() {
        Some(CommandOutcome::Upgrade(response)) => response,
        other => panic!("{other:?} is no response to {record:?}"),
    }
}

/// Upgrades to the same guest with a custom section, which makes it another module. Returns milliseconds.
fn upgrade(driven: &mut Driven) -> (f64, f64) {
    let mut module = std::fs::read(guest("faulty")).expect("a module");
    module.extend([0, 2, 1, b'2']);
    let module = Bytes::from(module);
    let upgrade = Index(driven.index + 1);
    let begin = UpgradeRecord::Begin(UpgradeBegin {
        sha256: Sha256::of(&module),
        bytes: module.len() as u64,
        wait_ms: 1_000_000,
        dry_run: false,
        by: "bench".to_owned(),
    });
    propose(driven, &begin);
    let (changed, changes) = mpsc::channel();
    driven.machine.status().on_upgrade(move || {
        // The receiver is dropped when the measurement is complete.
        let _ = changed.send(());
    });
    // Here the new module is compiled and tested at once; a node does that while it applies entries.
    let begun = Instant::now();
    let chunk = UpgradeRecord::Chunk {
        upgrade,
        offset: 0,
        bytes: module,
    };
    propose(driven, &chunk);
    let prepared = micros(begun.elapsed()) / 1e3;
    let result = loop {
        if let Some(result) = driven.machine.status().upgrades().own_check() {
            break result.clone();
        }
        changes.recv().expect("a change");
    };
    let CheckResult::Ready { route, state, .. } = result else {
        panic!("{result:?}");
    };
    let report = UpgradeRecord::Report {
        upgrade,
        node: "node1".to_owned(),
        result,
    };
    propose(driven, &report);
    let begun = Instant::now();
    let activate = UpgradeRecord::Activate {
        upgrade,
        route,
        state,
    };
    let response = propose(driven, &activate);
    let switched = micros(begun.elapsed()) / 1e3;
    assert_eq!(response, UpgradeOutcome::Activated);
    (prepared, switched)
}
