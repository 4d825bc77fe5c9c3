//! A diverged state machine gets the leader's state.

use super::kit::*;
use crate::driver::Input;
use crate::ids::Index;
use crate::message::*;
use crate::raft::Role;
use crate::raft::reinstall::Reinstall;

/// a leads a, b, c. The state machine of c has diverged after three commands.
fn cluster() -> Cluster {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    for (client, data) in [(1, "one"), (2, "two"), (3, "three")] {
        cluster.propose("a", client, data);
    }
    // The next heartbeat carries the commit index.
    cluster.pass(HEARTBEAT);
    cluster.node("c").spoil("other");
    assert_eq!(cluster.node("c").applied(), ["other"]);
    cluster
}

/// Stops the machine of c. Returns the first entry at which a snapshot is needed.
fn stopped(cluster: &mut Cluster) -> Index {
    cluster.node("c").handle(Input::Reinstall);
    cluster.settle();
    match cluster.node("c").core().reinstalling() {
        Some(Reinstall::Wants(from)) => from,
        stage => panic!("{stage:?}"),
    }
}

fn request_snapshot(cluster: &mut Cluster, operator: u32, from: Index) {
    let request = AdminRequest::SendSnapshot("c".into(), from);
    cluster.node("c").admin(operator, request);
    // The snapshot may have to wait for a commit.
    cluster.pass(HEARTBEAT * 2);
}

fn equals_a(cluster: &mut Cluster, id: &str) -> bool {
    let a: Vec<String> = cluster
        .node("a")
        .applied()
        .into_iter()
        .map(str::to_owned)
        .collect();
    cluster.node(id).applied() == a
}

#[test]
fn it_gets_the_leaders_state_and_the_entries_after_it() {
    let mut cluster = cluster();
    let from = stopped(&mut cluster);
    let applied = cluster.node("c").core().log().applied();
    assert_eq!(from, applied.next());
    // It stores and acknowledges new entries, and applies none of them.
    cluster.propose("a", 4, "four");
    cluster.pass(HEARTBEAT);
    let last = cluster.node("a").core().log().last();
    let core = cluster.node("c").core();
    assert_eq!((core.log().last(), core.log().applied()), (last, applied));
    assert_eq!(core.log().committed(), last.index);
    assert_eq!(cluster.node("c").applied(), ["other"]);

    request_snapshot(&mut cluster, 9, from);
    assert!(matches!(cluster.node("c").completed(9), Some(Ok(index)) if *index >= from));
    assert_eq!(cluster.node("c").core().reinstalling(), None);
    assert!(equals_a(&mut cluster, "c"));
    assert_eq!(cluster.node("c").applied(), ["one", "two", "three", "four"]);
    cluster.propose("c", 5, "five");
    assert!(cluster.node("c").was_done(5, "five"));
    cluster.pass(HEARTBEAT);
    assert!(equals_a(&mut cluster, "c") && equals_a(&mut cluster, "b"));
}

/// What audits have shown of entries between the two is about the new state.
#[test]
fn a_snapshot_that_the_node_takes_afterwards_is_not_taken_for_the_installed_one() {
    let mut cluster = cluster();
    let from = stopped(&mut cluster);
    assert_eq!(cluster.node("c").core().reinstalled_at(), Index::ZERO);
    request_snapshot(&mut cluster, 9, from);
    let core = cluster.node("c").core();
    let installed = core.snapshot().map(|meta| meta.last.index);
    assert_eq!(
        (core.reinstalled(), Some(core.reinstalled_at())),
        (1, installed)
    );
    cluster.propose("a", 4, "four");
    cluster.pass(HEARTBEAT);
    cluster.node("c").handle(Input::TakeSnapshot);
    cluster.settle();
    let core = cluster.node("c").core();
    assert!(core.snapshot().map(|meta| meta.last.index) > installed);
    assert_eq!(Some(core.reinstalled_at()), installed);
}

#[test]
fn its_own_snapshot_is_set_aside_and_never_restored() {
    let mut cluster = cluster();
    let from = stopped(&mut cluster);
    let own = cluster.node("c").core().snapshot().cloned();
    assert_eq!(own.as_ref().map(|meta| meta.last.index.next()), Some(from));
    assert_eq!(cluster.node("c").set_aside(), own);
    // It takes no snapshot either.
    cluster.node("c").handle(Input::TakeSnapshot);
    cluster.settle();
    request_snapshot(&mut cluster, 9, from);
    assert!(equals_a(&mut cluster, "c"));
    assert_ne!(cluster.node("c").core().snapshot(), own.as_ref());
    cluster.node("c").restart();
    cluster.pass(HEARTBEAT * 2);
    assert!(equals_a(&mut cluster, "c"));
}

/// Two snapshots of the same entry and the same length can have the same checksum, if their parts end with checksums.
#[test]
fn a_snapshot_of_the_same_entry_is_not_mistaken_for_its_own() {
    let ends_with_its_crc = |text: &str| {
        let crc = crc32c::crc32c(text.as_bytes());
        crc32c::crc32c(&[text.as_bytes(), &crc.to_le_bytes()].concat())
    };
    assert_eq!(ends_with_its_crc("one"), ends_with_its_crc("two"));

    let mut cluster = cluster();
    let from = stopped(&mut cluster);
    let own = cluster.node("c").core().snapshot().cloned().expect("one");
    // The leader has a snapshot of the same entry, and no entry has followed.
    cluster.node("a").handle(Input::TakeSnapshot);
    cluster.settle();
    let theirs = cluster.node("a").core().snapshot().cloned().expect("one");
    assert_eq!(theirs.last, own.last);
    request_snapshot(&mut cluster, 9, from);
    cluster.pass(HEARTBEAT * 2);
    assert!(matches!(cluster.node("c").completed(9), Some(Ok(index)) if *index > own.last.index));
    assert!(equals_a(&mut cluster, "c"));
}

#[test]
fn an_older_snapshot_is_not_accepted() {
    let mut cluster = cluster();
    cluster.node("a").handle(Input::TakeSnapshot);
    cluster.settle();
    let old = cluster.node("a").core().snapshot().cloned().expect("one");
    cluster.propose("a", 4, "four");
    cluster.pass(HEARTBEAT);
    let from = stopped(&mut cluster);
    assert!(old.last.index < from);
    request_snapshot(&mut cluster, 9, from);
    let sent = cluster.node("c").completed(9).cloned();
    assert!(matches!(sent, Some(Ok(index)) if index >= from), "{sent:?}");
    assert!(equals_a(&mut cluster, "c"));
}

#[test]
fn a_leader_that_is_itself_reinstalling_sends_no_snapshot() {
    let mut cluster = cluster();
    cluster.node("a").handle(Input::Reinstall);
    let from = stopped(&mut cluster);
    request_snapshot(&mut cluster, 9, from);
    cluster.pass(HEARTBEAT * 3);
    assert_eq!(cluster.node("c").completed(9), None, "it waits");
    assert_eq!(
        cluster.node("c").core().reinstalling(),
        Some(Reinstall::Wants(from))
    );
    // Another leader has the snapshot.
    cluster
        .node("b")
        .admin(1, AdminRequest::Transfer(Some("b".into())));
    cluster.pass(MIN);
    assert_eq!(cluster.node("b").core().role(), Role::Leader);
    cluster.pass(MIN);
    assert!(matches!(cluster.node("c").completed(9), Some(Ok(_))));
    assert_eq!(cluster.node("c").applied(), ["one", "two", "three"]);
}

#[test]
fn after_a_change_of_leader_the_snapshot_is_requested_from_the_new_one() {
    let mut cluster = cluster();
    let from = stopped(&mut cluster);
    cluster.keep = |message| {
        matches!(
            message,
            Message::Request(RaftRequest::InstallSnapshot(_) | RaftRequest::InstallMembers(..))
        )
    };
    request_snapshot(&mut cluster, 9, from);
    assert!(
        matches!(cluster.node("c").completed(9), Some(Ok(_))),
        "the snapshot is in flight"
    );
    assert_eq!(
        cluster.node("c").core().reinstalling(),
        Some(Reinstall::Wants(from))
    );
    cluster.cut_off("a");
    cluster.keep = |_| false;
    cluster.elect("b");
    request_snapshot(&mut cluster, 10, from);
    assert!(matches!(cluster.node("c").completed(10), Some(Ok(_))));
    assert_eq!(cluster.node("c").applied(), ["one", "two", "three"]);
}

#[test]
fn a_reinstall_is_abandoned_when_the_log_reaches_its_limit() {
    let small = |id: &str| {
        let mut setup = setup(id, "a b c");
        setup.core.max_log_entries = 10;
        setup.core.snapshot_threshold = 5;
        setup
    };
    let mut cluster = Cluster::with(["a", "b", "c"].into_iter().map(small));
    cluster.elect("a");
    cluster.propose("a", 0, "one");
    cluster.pass(HEARTBEAT);
    cluster.node("c").spoil("other");
    stopped(&mut cluster);
    for client in 1..40 {
        cluster.propose("a", client, "more");
        cluster.pass(HEARTBEAT);
        assert!(cluster.node("c").core().log().len() <= 21);
    }
    assert_eq!(cluster.node("c").core().reinstalling(), None);
    assert_eq!(
        cluster.node("c").applied().first(),
        Some(&"other"),
        "it continues with its own state"
    );
}

#[test]
fn a_node_without_peers_continues() {
    let mut cluster = Cluster::of("a");
    cluster.propose("a", 1, "one");
    cluster.node("a").handle(Input::Reinstall);
    cluster.propose("a", 2, "two");
    assert!(cluster.node("a").was_done(2, "two"));
    assert_eq!(cluster.node("a").core().reinstalling(), None);
}
