//! The condition of each check.

use super::healthy::{cluster, directory, node, peer};
use crate::doctor::facts::{
    CertificateFacts, ClusterFacts, DirectoryContent, DirectoryFacts, NodeAnswer, NodeFacts,
    StoredLogFacts, UpgradeFacts,
};

const DAY: i64 = 86_400;

/// A condition that one check looks for.
pub(super) struct Plant {
    pub(super) check: &'static str,
    /// Checks that find something too.
    pub(super) with: &'static [&'static str],
    /// Facts with which nothing is wrong.
    pub(super) begin: fn() -> ClusterFacts,
    pub(super) change: fn(&mut ClusterFacts),
}

/// The facts of a node, numbered from 1 on.
fn of(facts: &mut ClusterFacts, number: usize) -> &mut NodeFacts {
    match &mut facts.nodes[number - 1].answer {
        NodeAnswer::Facts(facts) => facts,
        other => panic!("{other:?}"),
    }
}

fn each(facts: &mut ClusterFacts, change: impl Fn(&mut NodeFacts)) {
    for number in 1..=facts.nodes.len() {
        if let NodeAnswer::Facts(facts) = &mut facts.nodes[number - 1].answer {
            change(facts);
        }
    }
}

fn silence(facts: &mut ClusterFacts, number: usize) {
    let refused = "Connection refused".to_owned();
    facts.nodes[number - 1].answer = NodeAnswer::Unreachable(refused);
}

fn dir(facts: &mut ClusterFacts) -> &mut DirectoryFacts {
    facts.directory.as_mut().expect("a directory")
}

fn log(facts: &mut ClusterFacts) -> &mut StoredLogFacts {
    match &mut dir(facts).content {
        DirectoryContent::Log(log) => log,
        other => panic!("{other:?}"),
    }
}

fn lose_leader(facts: &mut ClusterFacts) {
    each(facts, |node| {
        node.status.leader_id = None;
        node.status.role = "candidate".into();
        node.status.ready = false;
        node.peers.clear();
    });
}

/// Makes node3 a learner.
fn learner(facts: &mut ClusterFacts) {
    let four = node("node4");
    facts.nodes.push(four);
    each(facts, |node| {
        let mut member = node.status.members[2].clone();
        member.node_id = "node4".to_owned();
        member.voter = false;
        node.status.members.push(member);
    });
    of(facts, 1).peers.push(peer("node4"));
}

fn keep_voters(facts: &mut ClusterFacts, count: usize) {
    facts.nodes.truncate(count);
    each(facts, |node| node.status.members.truncate(count));
    of(facts, 1).peers.truncate(count.saturating_sub(1));
}

const fn online(check: &'static str, change: fn(&mut ClusterFacts)) -> Plant {
    Plant {
        check,
        with: &[],
        begin: cluster,
        change,
    }
}

const fn offline(check: &'static str, change: fn(&mut ClusterFacts)) -> Plant {
    Plant {
        check,
        with: &[],
        begin: directory,
        change,
    }
}

pub(super) const PLANTED: &[Plant] = &[
    Plant {
        with: &["node-unreachable"],
        ..online("quorum-lost", |facts| {
            lose_leader(facts);
            silence(facts, 2);
            silence(facts, 3);
        })
    },
    online("no-leader", lose_leader),
    online("other-cluster", |facts| {
        of(facts, 3).status.cluster_id = "test".to_owned();
    }),
    online("bootstrap-differs", |facts| {
        lose_leader(facts);
        let voting = &mut of(facts, 2).status.voting;
        voting.blocked_on = Some("bootstrap_mismatch".into());
        voting.nodes = vec!["node3".to_owned()];
    }),
    Plant {
        with: &["node-unreachable"],
        ..online("no-margin", |facts| silence(facts, 3))
    },
    Plant {
        with: &["no-margin"],
        ..online("node-unreachable", |facts| {
            facts.nodes[2].answer = NodeAnswer::NoAddress;
        })
    },
    online("not-examined", |facts| {
        facts.nodes[2].answer = NodeAnswer::Refused("403 forbidden".to_owned());
    }),
    online("few-voters", |facts| keep_voters(facts, 1)),
    online("few-voters", |facts| keep_voters(facts, 2)),
    online("voters-without-data", |facts| {
        of(facts, 1).status.voting.voters_without_data = vec!["node3".to_owned()];
    }),
    online("cannot-vote", |facts| {
        of(facts, 3).status.voting.blocked_on = Some("rejoin".into());
    }),
    online("waits-to-be-added", |facts| {
        facts.nodes.push(node("node4"));
        let status = &mut of(facts, 4).status;
        status.voting.blocked_on = Some("join".into());
        status.role = "learner".into();
        status.members.clear();
        status.leader_id = None;
        status.cluster_id.clear();
    }),
    online("removed-node", |facts| facts.nodes.push(node("node4"))),
    online("address-moved", |facts| {
        of(facts, 1).status.members[2].announced_addr = Some("node3:7999".to_owned());
    }),
    online("learner-stalled", |facts| {
        learner(facts);
        let peer = &mut of(facts, 1).peers[2];
        (peer.connected, peer.lag, peer.stalled_ms) = (false, 10, 20_000);
    }),
    online("voter-stalled", |facts| {
        let peer = &mut of(facts, 1).peers[1];
        (peer.lag, peer.stalled_ms) = (10, 20_000);
    }),
    online("learner-ready", learner),
    online("leader-changes", |facts| {
        of(facts, 2).recent.leader_changes = 12;
    }),
    online("not-ready", |facts| {
        of(facts, 3).status.ready = false;
    }),
    online("peers-refused", |facts| {
        of(facts, 2).recent.refused_peers = 1;
    }),
    online("quarantined", |facts| {
        let status = &mut of(facts, 3).status;
        (status.audit.quarantined, status.ready) = (true, false);
    }),
    online("quarantined", |facts| {
        let status = &mut of(facts, 3).status;
        (status.audit.given_up, status.audit.quarantined) = (true, true);
        status.ready = false;
    }),
    online("states-differ", |facts| {
        each(facts, |node| {
            node.status.audit.undecided = true;
            node.status.audit.writes_stopped = true;
        });
    }),
    online("hashes-differ", |facts| {
        of(facts, 3).status.state_hash = "cd".to_owned();
    }),
    online("complete-states-differ", |facts| {
        of(facts, 1).status.audit.states.differing = vec!["node2".to_owned()];
    }),
    online("complete-states-differ", |facts| {
        of(facts, 1).status.audit.states.not_comparable = vec!["node2".to_owned()];
    }),
    online("modules-differ", |facts| {
        of(facts, 3).status.state_machine.sha256 = "fedcba9876543210".to_owned();
    }),
    online("upgrade-waits", |facts| {
        let guest = &mut of(facts, 1).guest;
        guest.upgrade = Some(UpgradeFacts {
            sha256: "fedcba9876543210".to_owned(),
            deadline_ms: guest.log_time_ms + 60_000,
            waits_for: vec!["node3".to_owned()],
        });
    }),
    online("guest-fails", |facts| {
        each(facts, |node| node.recent.guest_failures = 3);
    }),
    online("guest-memory-low", |facts| {
        let status = &mut of(facts, 2).status;
        status.memory.bytes = 900 << 20;
        status.memory.low_nodes = vec!["node2".to_owned()];
    }),
    online("timer-overdue", |facts| {
        let guest = &mut of(facts, 1).guest;
        guest.wake_at_ms = Some(guest.log_time_ms - 60_000);
    }),
    online("deferred-old", |facts| {
        let guest = &mut of(facts, 1).guest;
        (guest.deferred, guest.oldest_deferred_ms) = (2, 900_000);
    }),
    online("apply-behind", |facts| {
        let status = &mut of(facts, 3).status;
        (status.commit_index, status.last_log_index) = (4_900, 4_900);
    }),
    online("disk-full", |facts| of(facts, 2).log.disk_full = true),
    online("snapshot-damaged", |facts| {
        of(facts, 2).log.snapshot_damaged = true;
    }),
    online("disk-space-low", |facts| {
        let space = of(facts, 2).disk.space.as_mut().expect("space");
        space.free_bytes = 1 << 30;
    }),
    offline("disk-space-low", |facts| {
        let space = dir(facts).space.as_mut().expect("space");
        space.free_bytes = 1 << 20;
    }),
    online("disk-files-low", |facts| {
        let space = of(facts, 2).disk.space.as_mut().expect("space");
        space.free_files = Some(3);
    }),
    online("disk-slow", |facts| {
        of(facts, 2).recent.mean_write_us = 80_000;
    }),
    online("disk-slow", |facts| {
        of(facts, 2).recent.slowest_write_us = 4_000_000;
    }),
    offline("disk-slow", |facts| dir(facts).write_us = Some(300_000)),
    online("data-directory-gone", |facts| {
        let disk = &mut of(facts, 2).disk;
        (disk.data_dir_present, disk.mode) = (false, None);
    }),
    online("data-directory-exposed", |facts| {
        of(facts, 2).disk.mode = Some(0o755);
    }),
    offline("data-directory-exposed", |facts| {
        dir(facts).mode = Some(0o755);
        dir(facts).exposed_files = vec!["raft.redb".to_owned()];
    }),
    offline("data-directory-exposed", |facts| dir(facts).is_own = false),
    // Pinned by a member that is far behind.
    online("log-nearly-full", |facts| {
        let leader = of(facts, 1);
        leader.peers[1].lag = 9_000;
        leader.status.last_log_index = 9_500;
    }),
    Plant {
        with: &["log-nearly-full"],
        ..online("snapshot-overdue", |facts| {
            each(facts, |node| {
                let status = &mut node.status;
                (status.applied_index, status.commit_index) = (15_000, 15_000);
                status.last_log_index = 15_000;
            });
        })
    },
    online("clock-skewed", |facts| {
        let clock = &mut of(facts, 2).status.clock;
        (clock.skewed, clock.offset_ms) = (true, Some(-90_000));
    }),
    online("clocks-apart", |facts| of(facts, 2).time_ms += 60_000),
    online("log-time-ahead", |facts| {
        of(facts, 2).status.clock.ahead_ms = 5_000;
    }),
    online("clock-unknown", |facts| {
        of(facts, 2).status.clock.offset_ms = None;
    }),
    online("certificate-expires", |facts| {
        of(facts, 2).access.certificate_seconds = Some(10 * DAY);
    }),
    offline("certificate-expires", |facts| {
        facts.certificates.push(CertificateFacts {
            file: "certs/node1/node.crt".to_owned(),
            is_authority: false,
            seconds: -5,
        });
    }),
    online("authority-expires", |facts| {
        of(facts, 2).access.authority_seconds = Some(60 * DAY);
    }),
    offline("authority-expires", |facts| {
        facts.certificates.push(CertificateFacts {
            file: "certs/node1/ca.crt".to_owned(),
            is_authority: true,
            seconds: DAY,
        });
    }),
    online("not-encrypted", |facts| {
        each(facts, |node| {
            node.access.encrypted = false;
            node.access.certificate_seconds = None;
            node.access.authority_seconds = None;
        });
    }),
    online("encryption-differs", |facts| {
        let access = &mut of(facts, 2).access;
        (access.encrypted, access.loopback_only) = (false, true);
    }),
    online("no-backup", |facts| {
        each(facts, |node| node.levels.backed_up_at_ms = None);
    }),
    online("no-backup", |facts| {
        each(facts, |node| {
            node.levels.backed_up_at_ms = Some(node.time_ms - 30 * 86_400_000);
        });
    }),
    online("process-memory-high", |facts| {
        let process = &mut of(facts, 2).process;
        process.memory_bytes = process.memory_limit_bytes;
    }),
    online("descriptors-high", |facts| {
        of(facts, 2).process.descriptors = Some(9_000);
    }),
    online("connections-high", |facts| {
        of(facts, 2).access.connections = 9_900;
    }),
    online("connections-high", |facts| {
        of(facts, 2).recent.rejected_connections = 1;
    }),
    online("clients-stall", |facts| {
        of(facts, 2).recent.stalled_clients = 1;
    }),
    online("queries-overloaded", |facts| {
        of(facts, 2).recent.overloaded_queries = 5;
    }),
    online("versions-differ", |facts| {
        of(facts, 2).status.version = "0.2.0".into();
    }),
    online("level-low", |facts| {
        each(facts, |node| node.levels.highest_level = 2);
    }),
    online("settings-differ", |facts| {
        of(facts, 2).levels.differing_flags = vec!["--fuel-per-command".to_owned()];
    }),
    offline("directory-missing", |facts| {
        dir(facts).content = DirectoryContent::Missing;
        dir(facts).mode = None;
    }),
    offline("directory-is-a-file", |facts| {
        dir(facts).content = DirectoryContent::NotADirectory;
        dir(facts).mode = Some(0o644);
    }),
    offline("directory-unreadable", |facts| {
        let denied = "Permission denied".to_owned();
        dir(facts).content = DirectoryContent::Unreadable(denied);
    }),
    offline("directory-unreadable", |facts| {
        dir(facts).unreadable_records = vec!["quarantine.json".to_owned()];
    }),
    offline("directory-corrupt", |facts| {
        let reason = "entry 17 is corrupt".to_owned();
        dir(facts).content = DirectoryContent::Corrupt(reason);
    }),
    offline("directory-empty", |facts| {
        dir(facts).content = DirectoryContent::Empty;
    }),
    offline("directory-in-use", |facts| {
        dir(facts).content = DirectoryContent::InUse;
    }),
    offline("store-incomplete", |facts| log(facts).is_complete = false),
    offline("removed-directory", |facts| {
        log(facts).is_member = Some(false);
    }),
    offline("stopped-in-quarantine", |facts| {
        dir(facts).is_quarantined = true;
    }),
    offline("stopped-without-majority", |facts| {
        dir(facts).writes_stopped = true;
    }),
    offline("decisions-pending", |facts| dir(facts).decisions = 2),
];
