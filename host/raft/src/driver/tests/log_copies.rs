//! Copies of applied entries, for an archive.

use std::sync::mpsc;

use super::kit::*;
use crate::disk::DiskTask;
use crate::driver::*;
use crate::entry::Entry;
use crate::ids::Index;

/// Requests a copy; the receiver has it once it is there.
fn request(node: &mut Node, from: u64, max_bytes: u64) -> mpsc::Receiver<LogCopy> {
    let (sender, receiver) = mpsc::channel();
    node.handle(Input::CopyLog(CopyRequest {
        from: Index(from),
        max_bytes,
        respond: Box::new(move |copy| sender.send(copy).unwrap()),
    }));
    receiver
}

fn copied(node: &mut Node, from: u64, max_bytes: u64) -> CopiedEntries {
    let receiver = request(node, from, max_bytes);
    node.run();
    match receiver.try_recv().unwrap() {
        LogCopy::Entries(copied) => copied,
        LogCopy::Compacted { first } => panic!("the log begins with {first}"),
    }
}

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.id.index.0).collect()
}

/// a leads a, b, c, and has the entries 1 to 5: one of its own and four commands. `cache_bytes`: what of it stays in memory.
fn cluster(cache_bytes: u64) -> Cluster {
    let mut cluster = Cluster::with(["a", "b", "c"].into_iter().map(|id| {
        let mut setup = setup(id, "a b c");
        setup.core.limits.cache_bytes = cache_bytes;
        // A snapshot of entry 5 keeps two entries in the log.
        (setup.core.max_log_entries, setup.core.snapshot_threshold) = (8, 6);
        setup
    }));
    cluster.elect("a");
    for (client, data) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
        cluster.propose("a", client, data);
    }
    cluster.pass(HEARTBEAT);
    cluster
}

#[test]
fn applied_entries_are_copied_from_memory_or_from_the_disk() {
    for cache_bytes in [u64::MAX, 0] {
        let mut cluster = cluster(cache_bytes);
        for id in ["a", "b"] {
            let node = cluster.node(id);
            let last = node.core().log().applied().0;
            let all = copied(node, 1, u64::MAX);
            assert_eq!(indexes(&all.entries), (1..=last).collect::<Vec<_>>());
            assert_eq!(
                (all.applied.0, all.term_before.map(|term| term.0)),
                (last, Some(0))
            );
            // The first one always, then as many as fit.
            assert_eq!(indexes(&copied(node, 2, 0).entries), [2]);
            let rest = copied(node, 3, u64::MAX);
            assert_eq!(rest.entries, all.entries[2..]);
            assert_eq!(rest.term_before, Some(all.entries[1].id.term));
            // Not applied yet.
            let none = copied(node, last + 1, u64::MAX);
            assert_eq!((none.entries, none.applied.0), (Vec::new(), last));
        }
    }
}

#[test]
fn no_entry_is_copied_before_it_is_applied() {
    let mut cluster = cluster(u64::MAX);
    cluster.node("a").machine_works = false;
    cluster.propose("a", 5, "five");
    cluster.pass(HEARTBEAT);
    let node = cluster.node("a");
    let (applied, committed) = (node.core().log().applied(), node.core().log().committed());
    assert!(applied < committed);
    assert_eq!(copied(node, committed.0, u64::MAX).entries, []);
    assert_eq!(
        indexes(&copied(node, 1, u64::MAX).entries).last(),
        Some(&applied.0)
    );
}

#[test]
fn a_compacted_entry_is_named_also_if_that_happens_while_the_disk_reads() {
    let mut cluster = cluster(0);
    let node = cluster.node("a");
    node.disk_works = false;
    let reading = request(node, 1, u64::MAX);
    assert!(
        node.driver
            .env()
            .disk
            .iter()
            .any(|task| matches!(task, DiskTask::CopyLog { .. }))
    );
    // The task is run after a purge.
    let task = node.driver.env_mut().disk.pop_back().unwrap();
    node.handle(Input::TakeSnapshot);
    node.disk_works = true;
    node.run();
    node.driver.env_mut().disk.push_back(task);
    node.run();
    let first = node.core().log().purged().index.next();
    assert!(first > Index(1));
    assert_eq!(reading.try_recv().unwrap(), LogCopy::Compacted { first });
    let later = request(node, first.0 - 1, u64::MAX);
    node.run();
    assert_eq!(later.try_recv().unwrap(), LogCopy::Compacted { first });
    assert_eq!(
        copied(node, first.0, u64::MAX).applied,
        node.core().log().applied()
    );
}

#[test]
fn a_node_that_stops_drops_requests() {
    let mut cluster = cluster(0);
    let node = cluster.node("a");
    node.disk_works = false;
    let reading = request(node, 1, u64::MAX);
    node.driver.stop();
    assert_eq!(reading.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}
