//! Corrupt files and empty directories of real nodes. Each is detected; the node neither serves nor votes from it, and its
//! peers send it the log and the state.

use std::fs;
use std::path::{Path, PathBuf};

use ::redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::kit::*;
use crate::handle::*;
use crate::ids::{NodeId, StoreId};
use crate::raft::membership::MemberRole;
use crate::raft::voting::VotingStatus;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// A part of a node's files that can be corrupt.
#[derive(Clone, Copy, Debug)]
enum Class {
    /// A page of the database in the middle of the file.
    Page,
    /// The first bytes of the database.
    Header,
    /// The end of the database is gone.
    Length,
    /// A write of the log.
    Write,
    /// The header of a segment of the log.
    SegmentHeader,
    /// The segments of the log are missing.
    MissingSegments,
    /// Term and vote.
    HardState,
    /// The identity: node and cluster.
    Identity,
    /// The store id, and whether the store is complete.
    Memory,
    /// Which log belongs to the database.
    LogName,
    /// The first bytes of the newest snapshot.
    SnapshotHeader,
    /// The state in the newest snapshot.
    SnapshotBody,
    /// The snapshot before the first entry of the log is missing.
    MissingSnapshot,
}

impl Class {
    const ALL: [Self; 13] = [
        Self::Page,
        Self::Header,
        Self::Length,
        Self::Write,
        Self::SegmentHeader,
        Self::MissingSegments,
        Self::HardState,
        Self::Identity,
        Self::Memory,
        Self::LogName,
        Self::SnapshotHeader,
        Self::SnapshotBody,
        Self::MissingSnapshot,
    ];

    /// What the error must name.
    fn names(self) -> &'static str {
        match self {
            Self::Page | Self::Header | Self::Length => "raft.redb",
            Self::Write | Self::SegmentHeader => ".segment",
            Self::MissingSegments => "no segment in use",
            Self::HardState => "hard_state",
            Self::Identity => "identity",
            Self::Memory => "memory",
            Self::LogName => "\"log\"",
            Self::SnapshotHeader | Self::SnapshotBody => ".snap",
            Self::MissingSnapshot => "the newest snapshot",
        }
    }

    fn corrupt(self, dir: &Path) {
        let database = dir.join("raft.redb");
        match self {
            Self::Page => flip_used_page(&database),
            Self::Header => flip(&database, 0),
            Self::Length => {
                let file = fs::File::options().write(true).open(&database).unwrap();
                file.set_len(fs::metadata(&database).unwrap().len() / 2)
                    .unwrap();
            }
            // The second sector is the first write of the log.
            Self::Write => flip(&first_segment(dir), 512 + 70),
            Self::SegmentHeader => flip(&first_segment(dir), 30),
            Self::MissingSegments => {
                for segment in segments(dir) {
                    fs::remove_file(segment).unwrap();
                }
            }
            Self::HardState => corrupt_meta(&database, "hard_state"),
            Self::Identity => corrupt_meta(&database, "identity"),
            Self::Memory => corrupt_meta(&database, "memory"),
            Self::LogName => corrupt_meta(&database, "log"),
            Self::SnapshotHeader => flip(&newest_snapshot(dir), 20),
            Self::SnapshotBody => {
                let file = newest_snapshot(dir);
                flip(&file, fs::metadata(&file).unwrap().len() - 1);
            }
            Self::MissingSnapshot => fs::remove_dir_all(dir.join("snapshots")).unwrap(),
        }
    }
}

fn flip(file: &Path, at: u64) {
    let mut bytes = fs::read(file).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

/// The files of the log, in order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let logs = fs::read_dir(dir.join("log")).unwrap();
    let log = logs.map(|log| log.unwrap().path()).next().unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(log)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
}

fn first_segment(dir: &Path) -> PathBuf {
    segments(dir).remove(0)
}

/// Flips a byte of the identity in the file. The checksum of the page detects it.
fn flip_used_page(database: &Path) {
    let bytes = fs::read(database).unwrap();
    let identity = identity_record(database);
    let at = bytes
        .windows(identity.len())
        .enumerate()
        .filter(|(_, window)| *window == identity.as_slice())
        .map(|(at, _)| at);
    // Freed pages may hold copies.
    for at in at.collect::<Vec<_>>() {
        flip(database, at as u64 + 3);
    }
}

fn identity_record(database: &Path) -> Vec<u8> {
    let opened = Database::open(database).unwrap();
    let transaction = opened.begin_read().unwrap();
    let table = transaction.open_table(META).unwrap();
    table.get("identity").unwrap().unwrap().value().to_vec()
}

fn corrupted(record: &[u8]) -> Vec<u8> {
    let mut record = record.to_vec();
    let middle = record.len() / 2;
    record[middle] ^= 0x10;
    record
}

fn corrupt_meta(database: &Path, key: &str) {
    let opened = Database::open(database).unwrap();
    let transaction = opened.begin_write().unwrap();
    {
        let mut table = transaction.open_table(META).unwrap();
        let record = table.get(key).unwrap().unwrap().value().to_vec();
        table.insert(key, corrupted(&record).as_slice()).unwrap();
    }
    transaction.commit().unwrap();
}

fn newest_snapshot(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("snapshots")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "snap"));
    files.sort();
    files.pop().unwrap()
}

/// Enough commands for every node to take snapshots, and to have entries after them.
async fn fill(cluster: &Cluster, from: usize, to: usize) {
    let leader = cluster.leader().await;
    for number in from..to {
        submit(cluster.node(&leader), &format!("command {number}")).await;
    }
}

/// Waits until a node has all of the log and is eligible to vote, also in the view of the leader.
async fn has_rejoined(cluster: &Cluster, id: &str, commands: usize) {
    until(cluster.node(id), |status| {
        let member = status.membership.members().get(&NodeId::from(id));
        status.voting == VotingStatus::Eligible
            && member.is_some_and(|member| member.role == MemberRole::Voter)
    })
    .await;
    let last = format!("command {}", commands - 1);
    let found = read_at(cluster.node(id), commands - 1).await;
    assert_eq!(found, Some(last.into()), "{id} serves what was lost");
}

fn set_aside(dir: &Path) -> Vec<PathBuf> {
    let places = (1..=4).map(|number| dir.join(format!("damaged-{number}")));
    places.filter(|place| place.exists()).collect()
}

/// Corrupts one class of record, on the leader or on a follower, and repairs the node.
async fn repairs(cluster: &mut Cluster, class: Class, leads: bool, commands: usize) {
    let leader = cluster.leader().await;
    let victim = if leads {
        leader.clone()
    } else {
        cluster.a_follower_of(&leader).to_owned()
    };
    let what = format!("{class:?} on {victim}, leads: {leads}");
    let dir = cluster.data_dir(&victim);
    // The node stops with a snapshot and with entries after it.
    until(cluster.node(&victim), |status| {
        status.snapshot.is_some() && status.stable == status.last && status.applied == status.commit
    })
    .await;
    cluster.stop(&victim).await;
    class.corrupt(&dir);

    let refused = cluster.try_restart(&victim, false).await;
    let error = refused.expect_err(&what).to_string();
    assert!(error.contains(class.names()), "{what}: {error}");
    assert!(error.contains("--repair"), "{what}: {error}");
    assert_eq!(set_aside(&dir), Vec::<PathBuf>::new(), "{what}");

    let started = cluster.try_restart(&victim, true).await;
    assert!(started.is_ok(), "{what}: {started:?}");
    has_rejoined(cluster, &victim, commands).await;
    let aside = set_aside(&dir);
    let reason = fs::read_to_string(aside[0].join("REASON.txt")).unwrap();
    assert!(reason.contains(class.names()), "{what}: {reason}");
    assert!(aside[0].join("raft.redb").is_file(), "{what}");
    assert!(aside[0].join("log").is_dir(), "{what}");
    // The operator has inspected the files.
    fs::remove_dir_all(&aside[0]).unwrap();
}

async fn repairs_everywhere(classes: &[Class]) {
    let mut cluster = Cluster::start_with_snapshots_after(10).await;
    let mut commands = 0;
    for class in classes {
        for leads in [false, true] {
            fill(&cluster, commands, commands + 25).await;
            commands += 25;
            repairs(&mut cluster, *class, leads, commands).await;
        }
    }
    for (id, node) in cluster.nodes() {
        let first = node.query(0, Consistency::Linearizable, AMPLE).await;
        assert_eq!(first.unwrap().1, Some("command 0".into()), "{id}");
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupt_database_pages_are_named_and_repaired_on_a_follower_and_on_the_leader() {
    repairs_everywhere(&Class::ALL[..3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_corrupt_record_of_the_log_is_named_and_repaired_on_a_follower_and_on_the_leader() {
    repairs_everywhere(&Class::ALL[3..10]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_snapshot_is_named_and_repaired_on_a_follower_and_on_the_leader() {
    repairs_everywhere(&Class::ALL[10..]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_last_write_is_corrupt_starts_without_a_flag_and_votes_again_only_with_what_was_committed()
 {
    let mut cluster = Cluster::start().await;
    let mut commands = 0;
    for leads in [false, true] {
        fill(&cluster, commands, commands + 10).await;
        commands += 10;
        let leader = cluster.leader().await;
        let victim = if leads {
            leader.clone()
        } else {
            cluster.a_follower_of(&leader).to_owned()
        };
        until(cluster.node(&victim), |status| {
            status.stable == status.last && status.applied == status.commit
        })
        .await;
        let before = counted_store(&cluster, &victim);
        cluster.stop(&victim).await;
        corrupt_last_write(&cluster.data_dir(&victim));
        cluster.try_restart(&victim, false).await.unwrap();
        has_rejoined(&cluster, &victim, commands).await;
        assert_ne!(counted_store(&cluster, &victim), before);
        assert_eq!(set_aside(&cluster.data_dir(&victim)), Vec::<PathBuf>::new());
    }
    cluster.stop_all().await;
}

/// The store of a node that the configuration names.
fn counted_store(cluster: &Cluster, id: &str) -> StoreId {
    let membership = cluster.node(id).status().membership;
    membership.store_id(&NodeId::from(id))
}

/// Flips a byte of the last write of the log: that with the highest sequence and number.
fn corrupt_last_write(dir: &Path) {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let mut newest = ((0, 0), PathBuf::new(), 0);
    for file in segments(dir) {
        let bytes = fs::read(&file).unwrap();
        for (at, sector) in bytes.chunks(512).enumerate().skip(1) {
            let tag = (number(&sector[500..504]), number(&sector[504..508]));
            if tag >= newest.0 && tag.0 > 0 {
                newest = (tag, file.clone(), at as u64 * 512 + 60);
            }
        }
    }
    flip(&newest.1, newest.2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_node_whose_last_write_is_corrupt_stops_until_the_operator_accepts_the_loss() {
    let dir = tempfile::tempdir().unwrap();
    let start = async |accept| {
        let node = Raft::builder(alone(), crate::MemoryStateMachine::new())
            .data_dir(dir.path())
            .listener(socket())
            .accept_copy(accept)
            .build();
        node.start().await.map(|()| node)
    };
    let node = start(false).await.unwrap();
    submit(&node, "command 0").await;
    node.shutdown().await;
    corrupt_last_write(dir.path());
    for _ in 0..2 {
        let refused = start(false).await.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("--accept-copy"), "{refused}");
    }
    let node = start(true).await.unwrap();
    submit(&node, "command 1").await;
    node.shutdown().await;
    let node = start(false).await.unwrap();
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partly_received_snapshot_does_no_harm() {
    let mut cluster = Cluster::start_with_snapshots_after(10).await;
    fill(&cluster, 0, 25).await;
    let leader = cluster.leader().await;
    let victim = cluster.a_follower_of(&leader).to_owned();
    cluster.stop(&victim).await;
    let part = newest_snapshot(&cluster.data_dir(&victim)).with_extension("part");
    fs::write(&part, b"half of another snapshot").unwrap();
    cluster.try_restart(&victim, false).await.unwrap();
    fill(&cluster, 25, 50).await;
    has_rejoined(&cluster, &victim, 50).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_directory_was_emptied_rejoins_by_itself_whether_it_led_or_not() {
    let mut cluster = Cluster::start_with_snapshots_after(10).await;
    let mut commands = 0;
    for leads in [false, true, true] {
        fill(&cluster, commands, commands + 25).await;
        commands += 25;
        let leader = cluster.leader().await;
        let victim = if leads {
            leader.clone()
        } else {
            cluster.a_follower_of(&leader).to_owned()
        };
        cluster.stop(&victim).await;
        fs::remove_dir_all(cluster.data_dir(&victim)).unwrap();
        cluster.restart(&victim).await;
        has_rejoined(&cluster, &victim, commands).await;
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_nodes_are_all_corrupt_elects_no_leader_and_keeps_every_file() {
    let mut cluster = Cluster::start().await;
    fill(&cluster, 0, 5).await;
    let ids: Vec<String> = cluster.nodes().map(|(id, _)| id.clone()).collect();
    for id in &ids {
        cluster.stop(id).await;
        Class::Header.corrupt(&cluster.data_dir(id));
    }
    for id in &ids {
        cluster.try_restart(id, true).await.unwrap();
    }
    for id in &ids {
        until(cluster.node(id), |status| {
            status.voting == VotingStatus::Rejoining
        })
        .await;
        let refused = cluster
            .node(id)
            .submit("command".into(), Duration::from_millis(100))
            .await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(set_aside(&cluster.data_dir(id)).len(), 1);
        assert_eq!(cluster.node(id).status().leader, None);
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_peers_does_not_set_its_data_aside() {
    let dir = tempfile::tempdir().unwrap();
    let start = async |repair, waits: bool| {
        let builder = Raft::builder(alone(), crate::MemoryStateMachine::new());
        let builder = if waits { builder.wait() } else { builder };
        let node = builder
            .data_dir(dir.path())
            .listener(socket())
            .repair(repair)
            .build();
        node.start().await.map(|()| node)
    };
    let node = start(false, false).await.unwrap();
    submit(&node, "command 0").await;
    node.shutdown().await;
    Class::Header.corrupt(dir.path());
    // The node of an operator who gives it a name and no --cluster may be the only member.
    for waits in [false, true] {
        let refused = start(true, waits).await.map(|_| ());
        assert!(
            matches!(refused, Err(StartError::NoPeersToRepairFrom(_))),
            "{refused:?}"
        );
        assert_eq!(set_aside(dir.path()), Vec::<PathBuf>::new());
    }
}
