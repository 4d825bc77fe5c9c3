use std::collections::BTreeMap;

use super::*;
use crate::ids::{LogId, NodeId, Term};

fn voters(names: &str) -> Membership {
    let ids: Vec<NodeId> = names.split_whitespace().map(NodeId::from).collect();
    Membership::of_voters(&ids, &BTreeMap::new())
}

#[test]
fn after_a_truncation_the_previous_configuration_is_active_again() {
    let mut all = Configurations::new(voters("a b c"), None, &[]);
    all.append(Index(4), voters("a b"));
    all.append(Index(7), voters("a"));
    assert_eq!((all.index(), all.current()), (Index(7), &voters("a")));
    all.truncate(Index(5));
    assert_eq!((all.index(), all.current()), (Index(4), &voters("a b")));
    all.truncate(Index(4));
    assert_eq!((all.index(), all.current()), (Index(0), &voters("a b c")));
}

#[test]
fn committed_configurations_are_kept_only_while_needed() {
    let mut all = Configurations::new(voters("a b c"), None, &[]);
    for index in 1..=9 {
        all.append(Index(index), voters("a b"));
    }
    all.compact(Index(8));
    assert_eq!((all.later.len(), all.base.0), (2, Index(7)));
    all.truncate(Index(9));
    assert_eq!(all.index(), Index(8));
}

#[test]
fn the_members_in_the_store_override_the_initial_members() {
    let meta = SnapshotMeta {
        last: LogId::new(Term(1), Index(5)),
        membership: Some(voters("x y z")),
        ..SnapshotMeta::default()
    };
    let stored = [(Index(3), voters("a")), (Index(8), voters("b"))];
    let found = Configurations::new(voters("s"), Some(&meta), &stored);
    assert_eq!((found.index(), found.current()), (Index(8), &voters("b")));
    let found = Configurations::new(voters("s"), Some(&meta), &stored[..1]);
    assert_eq!(found.current(), &voters("x y z"));
    let old = SnapshotMeta {
        membership: None,
        ..meta
    };
    assert_eq!(
        Configurations::new(voters("s"), Some(&old), &[]).current(),
        &voters("s")
    );
}
