use std::collections::BTreeMap;

use super::change::{Change, ChangeError, MemberSpec};
use super::*;

fn voters(names: &str) -> Membership {
    let ids: Vec<NodeId> = names.split_whitespace().map(NodeId::from).collect();
    Membership::of_voters(&ids, &BTreeMap::new())
}

fn add(id: &str) -> Change {
    Change::AddLearner {
        id: id.into(),
        address: format!("{id}.example:7101"),
    }
}

fn names<'a>(ids: impl Iterator<Item = &'a NodeId>) -> String {
    ids.map(NodeId::as_str).collect::<Vec<_>>().join(" ")
}

fn votes(yes: &str, no: &str) -> BTreeMap<NodeId, bool> {
    let ballots = |names: &'static str, what| {
        let ids = names.split_whitespace().map(NodeId::from);
        ids.map(move |id| (id, what))
    };
    let (yes, no) = (yes.to_owned().leak(), no.to_owned().leak());
    ballots(yes, true).chain(ballots(no, false)).collect()
}

/// From a, b, c to c, d, e; a becomes a learner.
fn joint() -> Membership {
    let mut target = voters("c d e").members().clone();
    let learner = Member {
        address: String::new(),
        store_id: StoreId::NONE,
        role: MemberRole::Learner,
    };
    target.insert("a".into(), learner);
    voters("a b c").joint_with(&Membership::new(target))
}

#[test]
fn during_a_change_old_and_new_voters_each_need_a_majority() {
    let joint = joint();
    assert!(joint.is_joint());
    for (yes, no, expected) in [
        ("a b d e", "", VoteResult::Won),
        ("a b c", "", VoteResult::Pending),
        ("c d e", "", VoteResult::Pending),
        ("c d a", "", VoteResult::Won),
        ("c d e", "a b", VoteResult::Lost),
        ("a b", "d e", VoteResult::Lost),
        ("x y z", "", VoteResult::Pending),
    ] {
        assert_eq!(joint.vote_result(&votes(yes, no)), expected, "{yes} | {no}");
    }
}

#[test]
fn during_a_change_an_index_is_reached_with_both_majorities() {
    let has = |id: &NodeId| match id.as_str() {
        "a" | "b" => 9_u64,
        "c" => 5,
        "d" => 3,
        _ => 1,
    };
    assert_eq!(voters("a b c").reached(has), 9);
    assert_eq!(joint().reached(has), 3);
    assert_eq!(joint().settled().reached(has), 3);
}

#[test]
fn a_completed_change_leaves_the_new_voters_and_demoted_learners() {
    let settled = joint().settled();
    assert!(!settled.is_joint());
    assert_eq!(names(settled.voters()), "c d e");
    assert_eq!(names(settled.learners()), "a");
}

#[test]
fn learners_neither_vote_nor_count() {
    let with_learner = add("x").apply(&voters("a b c")).unwrap();
    assert_eq!(
        with_learner.vote_result(&votes("a x", "")),
        VoteResult::Pending
    );
    assert_eq!(with_learner.vote_result(&votes("a b", "")), VoteResult::Won);
    let has = |id: &NodeId| u64::from(matches!(id.as_str(), "a" | "x"));
    assert_eq!(with_learner.reached(has), 0);
    assert!(!voters("a b c").joint_with(&with_learner).is_joint());
}

#[test]
fn without_voters_nothing_is_won_and_nothing_reached() {
    let none = Membership::default();
    assert_ne!(none.vote_result(&votes("a b c", "")), VoteResult::Won);
    assert_eq!(none.reached(|_| 7_u64), 0);
    assert!(!none.is_valid());
}

#[test]
fn every_repeated_change_is_empty() {
    let start = voters("a b c");
    let mut seats: BTreeMap<NodeId, MemberSpec> = BTreeMap::new();
    for (id, voter) in [("a", true), ("d", true), ("e", false)] {
        let address = format!("{id}.example:7101");
        seats.insert(id.into(), MemberSpec { address, voter });
    }
    for change in [
        add("d"),
        Change::AddVoter {
            id: "d".into(),
            address: "d.example:7101".to_owned(),
        },
        Change::Remove { id: "b".into() },
        Change::Promote { id: "b".into() },
        Change::Replace {
            old: "b".into(),
            new: "d".into(),
            address: "d.example:7101".to_owned(),
        },
        Change::Set(seats),
    ] {
        let once = change.apply(&start).unwrap();
        assert_eq!(change.apply(&once), Ok(once.clone()), "{change:?}");
    }
}

#[test]
fn an_invalid_change_is_refused_with_the_reason() {
    let start = voters("a");
    let node = || NodeId::from("x");
    let add_at = |id: &str, address: &str| Change::AddLearner {
        id: id.into(),
        address: address.to_owned(),
    };
    for (change, expected) in [
        (Change::Remove { id: "a".into() }, ChangeError::LastVoter),
        (
            Change::Promote { id: node() },
            ChangeError::UnknownNode { node: node() },
        ),
        (
            Change::Replace {
                old: node(),
                new: "y".into(),
                address: "y:1".to_owned(),
            },
            ChangeError::UnknownNode { node: node() },
        ),
        (
            add_at("x", "no host at all"),
            ChangeError::BadAddress {
                node: node(),
                address: "no host at all".to_owned(),
            },
        ),
        (
            add_at("x@y", "y:1"),
            ChangeError::BadId {
                node: "x@y".to_owned(),
            },
        ),
        (Change::Set(BTreeMap::new()), ChangeError::LastVoter),
    ] {
        assert_eq!(change.apply(&start), Err(expected), "{change:?}");
    }
}

#[test]
fn a_cluster_has_a_maximum_size() {
    let mut membership = voters("a");
    for number in 1..MAX_MEMBERS {
        membership = add(&format!("n{number}")).apply(&membership).unwrap();
    }
    let limit = MAX_MEMBERS;
    assert_eq!(
        add("more").apply(&membership),
        Err(ChangeError::TooMany { limit })
    );
}
