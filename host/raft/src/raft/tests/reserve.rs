//! The reserve of the log for control records.

use super::kit::*;
use crate::entry::CommandClass;
use crate::raft::membership::change::Change;
use crate::raft::*;

/// A leader of three whose log is full: three entries.
fn full() -> Node {
    let mut config = config("a", "a b c");
    config.max_log_entries = 3;
    config.snapshot_threshold = 3;
    config.limits.reserved_entries = 4;
    let mut node = Node::with(config, HardState::default(), &[]);
    node.lead();
    node.step("b", matched(1, 1));
    for _ in 0..2 {
        node.core.propose(node.now, 0, command("x")).unwrap();
    }
    assert!(node.core.propose(node.now, 0, command("x")).is_err());
    node
}

#[test]
fn a_full_log_accepts_reports_and_control_records_up_to_their_part_of_the_reserve() {
    let mut node = full();
    let now = node.now;
    let mut propose = |class| node.core.propose_as(class, now, 0, command("x")).is_ok();
    let reports = [0; 4].map(|_| propose(CommandClass::Report));
    assert_eq!(reports, [true, true, false, false]);
    let control = [0; 4].map(|_| propose(CommandClass::Control));
    assert_eq!(control, [true, true, false, false]);
    assert_eq!(node.core.reserve_used(), 4);
    assert!(node.core.class_with_room().is_err());
}

#[test]
fn members_can_be_changed_while_the_log_is_full() {
    let mut node = full();
    let change = Change::AddLearner {
        id: "d".into(),
        address: "d:1".to_owned(),
    };
    node.core.change_members(node.now, 0, &change).unwrap();
    assert_eq!(node.core.reserve_used(), 1);
}

#[test]
fn control_records_have_a_reserve_of_uncommitted_bytes() {
    let mut config = config("a", "a b c");
    config.limits.uncommitted_bytes = 1;
    config.limits.reserved_bytes = 100;
    let mut node = Node::with(config, HardState::default(), &[]);
    node.lead();
    let now = node.now;
    node.core.propose(now, 0, command("x")).unwrap();
    assert_eq!(node.core.class_with_room(), Ok(CommandClass::Control));
    assert!(node.core.propose(now, 0, command("x")).is_err());
    let proposed = node
        .core
        .propose_as(CommandClass::Control, now, 0, command("x"));
    assert!(proposed.is_ok());
}
