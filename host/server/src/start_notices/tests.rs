//! The difference between `--cluster` and the log.

use super::*;
use task_queue_raft::raft::membership::{Member, MemberRole};

fn members(of: &[(&str, &str)]) -> Membership {
    let member = |(id, address): &(&str, &str)| {
        let member = Member {
            address: (*address).to_owned(),
            store_id: task_queue_raft::ids::StoreId(1),
            role: MemberRole::Voter,
        };
        ((*id).into(), member)
    };
    Membership::new(of.iter().map(member).collect())
}

#[test]
fn a_grown_cluster_and_a_moved_address_are_named() {
    let listed: ClusterSpec = "n1=h:1,n2=h:2,n3=h:3".parse().expect("a list");
    let same = members(&[("n1", ""), ("n2", "h:2"), ("n3", "")]);
    assert_eq!(difference(&listed, &same), None);
    let other = members(&[("n1", ""), ("n2", "h:9"), ("n4", "h:4")]);
    let text = difference(&listed, &other).expect("they differ");
    for part in [
        "n2 is at h:9 in the log, not at h:2",
        "n3 is not a member",
        "the member n4 is not in --cluster",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
}
