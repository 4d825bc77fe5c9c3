use std::collections::BTreeMap;
use std::path::PathBuf;

use task_queue_raft::entry::ClusterState;
use task_queue_raft::ids::{Index, Lineage, LogId, NodeId, Term};
use task_queue_raft::raft::membership::Membership;
use task_queue_raft::storage::node_store::Identity;

use super::*;

/// A directory with this last entry. `voters` are the voters of its configuration.
fn directory(id: &str, last: (u64, u64), quarantined: bool, voters: &[&str]) -> SurvivingDir {
    let ids: Vec<NodeId> = voters.iter().map(|id| NodeId::from(*id)).collect();
    let survivor = Survivor {
        identity: Identity {
            node_id: id.into(),
            cluster_id: "prod".to_owned(),
        },
        term: Term(last.0),
        purged: Index(0),
        last: LogId::new(Term(last.0), Index(last.1)),
        snapshot: None,
        membership: Some(Membership::of_voters(ids.iter(), &BTreeMap::new())),
        cluster: ClusterState {
            level: 1,
            lineage: Lineage::at_bootstrap(7),
        },
        state: StoreState::Complete,
    };
    SurvivingDir {
        path: PathBuf::from(id),
        content: Ok(SurvivingNode {
            survivor,
            is_quarantined: quarantined,
        }),
    }
}

fn damaged(id: &str) -> SurvivingDir {
    SurvivingDir {
        path: PathBuf::from(id),
        content: Err("entry 7 is corrupt".to_owned()),
    }
}

/// A small generator: the cases are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn the_best_survivor_is_named_in_a_hundred_random_cases() {
    let mut numbers = Numbers(0x5eed);
    let voters = ["n0", "n1", "n2", "n3", "n4", "n5", "n6"];
    let mut decided = 0;
    for _ in 0..100 {
        let mut expected: Option<(bool, u64, u64)> = None;
        let mut dirs = Vec::new();
        for voter in &voters[..1 + numbers.below(5) as usize] {
            if numbers.below(5) == 0 {
                dirs.push(damaged(voter));
                continue;
            }
            let (term, index) = (1 + numbers.below(4), 1 + numbers.below(9));
            let quarantined = numbers.below(4) == 0;
            dirs.push(directory(voter, (term, index), quarantined, &voters));
            expected = expected.max(Some((!quarantined, term, index)));
        }
        let dirs = SurvivingDirs::of(dirs).expect("one cluster");
        let Some(expected) = expected else {
            assert!(dirs.best().is_err());
            continue;
        };
        let (dir, best) = dirs.best().expect("one can be used");
        let last = best.survivor.last;
        let found = (!best.is_quarantined, last.term.0, last.index.0);
        assert_eq!(found, expected);
        let text = dirs.text();
        let line = text.lines().find(|line| line.starts_with(&dir.name()));
        assert!(line.is_some_and(|line| line.contains("best")), "{text}");
        assert_eq!(text.matches("best").count(), 1, "{text}");
        decided += 1;
    }
    assert!(decided > 80, "{decided}");
}

#[test]
fn what_may_be_lost_is_told_unless_the_directories_are_a_majority() {
    let voters = ["a", "b", "c", "d", "e"];
    let dirs = |ids: &[&str]| {
        let dirs = ids.iter().map(|id| directory(id, (2, 9), false, &voters));
        SurvivingDirs::of(dirs.collect()).expect("one cluster")
    };
    let two = dirs(&["a", "b"]);
    assert!(!two.are_majority());
    let loss = two.loss();
    assert!(
        loss.contains("2 of 5") && loss.contains("after entry 9") && loss.contains("other 3"),
        "{loss}"
    );
    assert!(two.text().contains("--into"), "{}", two.text());
    let three = dirs(&["a", "b", "c"]);
    assert!(three.are_majority() && three.loss().contains("nothing is lost"));
    assert!(!three.text().contains("--into"));
    // A directory counts once, and one of no voter does not.
    assert!(!dirs(&["a", "a", "a"]).are_majority());
    assert!(!dirs(&["a", "b", "x"]).are_majority());
}

#[test]
fn directories_of_two_clusters_are_not_compared() {
    let mut other = directory("b", (9, 9), false, &["a", "b", "c"]);
    if let Ok(node) = &mut other.content {
        node.survivor.cluster.lineage = Lineage::at_bootstrap(8);
    }
    let first = directory("a", (1, 1), false, &["a", "b", "c"]);
    let error = SurvivingDirs::of(vec![first, other])
        .err()
        .expect("two clusters");
    assert!(error.to_string().contains("different clusters"), "{error}");
}

#[test]
fn where_none_can_be_used_each_reason_is_named() {
    let dirs = SurvivingDirs::of(vec![damaged("a"), damaged("b")]).expect("no two clusters");
    let error = dirs.best().err().expect("none").to_string();
    assert!(
        error.contains("a: entry 7") && error.contains("b: entry 7"),
        "{error}"
    );
}
