//! A machine that came to another state than the others' gets a leader's.

use super::kit::*;
use crate::driver::Input;
use crate::ids::Index;
use crate::message::*;
use crate::raft::Role;
use crate::raft::reinstall::Reinstall;

/// a leads a, b, c; the machine of c came to another state after three commands.
fn cluster() -> Cluster {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    for (client, data) in [(1, "one"), (2, "two"), (3, "three")] {
        cluster.propose("a", client, data);
    }
    // What is committed is heard of with the next heartbeat.
    cluster.pass(HEARTBEAT);
    cluster.node("c").spoil("other");
    assert_eq!(cluster.node("c").applied(), ["other"]);
    cluster
}

/// Stops the machine of c; returns the entry from which on a snapshot would do.
fn stopped(cluster: &mut Cluster) -> Index {
    cluster.node("c").handle(Input::Reinstall);
    cluster.settle();
    match cluster.node("c").core().reinstalling() {
        Some(Reinstall::Wants(from)) => from,
        stage => panic!("{stage:?}"),
    }
}

fn ask(cluster: &mut Cluster, operator: u32, from: Index) {
    let order = AdminRequest::SendSnapshot("c".into(), from);
    cluster.node("c").order(operator, order);
    // What it waits for may have to be committed first.
    cluster.pass(HEARTBEAT * 2);
}

fn as_a_is(cluster: &mut Cluster, id: &str) -> bool {
    let a: Vec<String> = cluster
        .node("a")
        .applied()
        .into_iter()
        .map(str::to_owned)
        .collect();
    cluster.node(id).applied() == a
}

#[test]
fn it_gets_the_leaders_state_and_what_comes_after_it() {
    let mut cluster = cluster();
    let from = stopped(&mut cluster);
    let applied = cluster.node("c").core().log().applied();
    assert_eq!(from, applied.next());
    // It holds and acknowledges what comes, and applies none of it.
    cluster.propose("a", 4, "four");
    cluster.pass(HEARTBEAT);
    let last = cluster.node("a").core().log().last();
    let core = cluster.node("c").core();
    assert_eq!((core.log().last(), core.log().applied()), (last, applied));
    assert_eq!(core.log().committed(), last.index);
    assert_eq!(cluster.node("c").applied(), ["other"]);

    ask(&mut cluster, 9, from);
    assert!(matches!(cluster.node("c").concluded(9), Some(Ok(index)) if *index >= from));
    assert_eq!(cluster.node("c").core().reinstalling(), None);
    assert!(as_a_is(&mut cluster, "c"));
    assert_eq!(cluster.node("c").applied(), ["one", "two", "three", "four"]);
    cluster.propose("c", 5, "five");
    assert!(cluster.node("c").was_done(5, "five"));
    cluster.pass(HEARTBEAT);
    assert!(as_a_is(&mut cluster, "c") && as_a_is(&mut cluster, "b"));
}

#[test]
fn its_own_snapshot_is_set_aside_and_never_restored() {
    let mut cluster = cluster();
    let from = stopped(&mut cluster);
    let own = cluster.node("c").core().snapshot().cloned();
    assert_eq!(own.as_ref().map(|meta| meta.last.index.next()), Some(from));
    assert_eq!(cluster.node("c").set_aside(), own);
    // Nor is it taken once more.
    cluster.node("c").handle(Input::TakeSnapshot);
    cluster.settle();
    ask(&mut cluster, 9, from);
    assert!(as_a_is(&mut cluster, "c"));
    assert_ne!(cluster.node("c").core().snapshot(), own.as_ref());
    cluster.node("c").restart();
    cluster.pass(HEARTBEAT * 2);
    assert!(as_a_is(&mut cluster, "c"));
}

/// The checksum of a snapshot whose parts end with their own does not tell it from another one of the same length.
#[test]
fn a_snapshot_of_the_same_entry_is_not_taken_for_its_own() {
    let ends_with_its_crc = |text: &str| {
        let crc = crc32c::crc32c(text.as_bytes());
        crc32c::crc32c(&[text.as_bytes(), &crc.to_le_bytes()].concat())
    };
    assert_eq!(ends_with_its_crc("one"), ends_with_its_crc("two"));

    let mut cluster = cluster();
    let from = stopped(&mut cluster);
    let own = cluster.node("c").core().snapshot().cloned().expect("one");
    // The leader has one of that entry, and nothing has happened since.
    cluster.node("a").handle(Input::TakeSnapshot);
    cluster.settle();
    let theirs = cluster.node("a").core().snapshot().cloned().expect("one");
    assert_eq!(theirs.last, own.last);
    ask(&mut cluster, 9, from);
    cluster.pass(HEARTBEAT * 2);
    assert!(matches!(cluster.node("c").concluded(9), Some(Ok(index)) if *index > own.last.index));
    assert!(as_a_is(&mut cluster, "c"));
}

#[test]
fn a_snapshot_of_before_is_none_for_it() {
    let mut cluster = cluster();
    cluster.node("a").handle(Input::TakeSnapshot);
    cluster.settle();
    let old = cluster.node("a").core().snapshot().cloned().expect("one");
    cluster.propose("a", 4, "four");
    cluster.pass(HEARTBEAT);
    let from = stopped(&mut cluster);
    assert!(old.last.index < from);
    ask(&mut cluster, 9, from);
    let sent = cluster.node("c").concluded(9).cloned();
    assert!(matches!(sent, Some(Ok(index)) if index >= from), "{sent:?}");
    assert!(as_a_is(&mut cluster, "c"));
}

#[test]
fn a_leader_whose_own_state_is_in_doubt_gives_nobody_a_copy() {
    let mut cluster = cluster();
    cluster.node("a").handle(Input::Reinstall);
    let from = stopped(&mut cluster);
    ask(&mut cluster, 9, from);
    cluster.pass(HEARTBEAT * 3);
    assert_eq!(cluster.node("c").concluded(9), None, "it waits");
    assert_eq!(
        cluster.node("c").core().reinstalling(),
        Some(Reinstall::Wants(from))
    );
    // Another leader has what is wanted.
    cluster
        .node("b")
        .order(1, AdminRequest::Transfer(Some("b".into())));
    cluster.pass(MIN);
    assert_eq!(cluster.node("b").core().role(), Role::Leader);
    cluster.pass(MIN);
    assert!(matches!(cluster.node("c").concluded(9), Some(Ok(_))));
    assert_eq!(cluster.node("c").applied(), ["one", "two", "three"]);
}

#[test]
fn a_leader_that_goes_in_between_is_followed_by_one_that_is_asked_again() {
    let mut cluster = cluster();
    let from = stopped(&mut cluster);
    cluster.keep = |message| {
        matches!(
            message,
            Message::Request(RaftRequest::InstallSnapshot(_) | RaftRequest::InstallMembers(..))
        )
    };
    ask(&mut cluster, 9, from);
    assert!(
        matches!(cluster.node("c").concluded(9), Some(Ok(_))),
        "it is on its way"
    );
    assert_eq!(
        cluster.node("c").core().reinstalling(),
        Some(Reinstall::Wants(from))
    );
    cluster.cut_off("a");
    cluster.keep = |_| false;
    cluster.elect("b");
    ask(&mut cluster, 10, from);
    assert!(matches!(cluster.node("c").concluded(10), Some(Ok(_))));
    assert_eq!(cluster.node("c").applied(), ["one", "two", "three"]);
}

#[test]
fn it_is_given_up_where_the_log_grows_past_its_bound() {
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
        "it goes on with what it has"
    );
}

#[test]
fn a_node_that_is_alone_goes_on() {
    let mut cluster = Cluster::of("a");
    cluster.propose("a", 1, "one");
    cluster.node("a").handle(Input::Reinstall);
    cluster.propose("a", 2, "two");
    assert!(cluster.node("a").was_done(2, "two"));
    assert_eq!(cluster.node("a").core().reinstalling(), None);
}
