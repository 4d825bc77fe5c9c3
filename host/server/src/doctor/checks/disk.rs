//! The disk of a node, its data directory and its log.

use super::super::check::{Check, Hit, duration, each_node, size};
use super::super::facts::{DirectoryContent, NodeFacts, SpaceFacts};
use super::super::finding::FindingSeverity::{Critical, Warning};
use super::super::view::ClusterView;

/// Less free space than both of these is little.
const LOW_PERCENT: u64 = 10;
const LOW_BYTES: u64 = 10 << 30;
/// Less is so little that writes fail soon.
const LEAST_BYTES: u64 = 256 << 20;
/// Fewer free files than this are few.
const LOW_FILES: u64 = 1_000;
/// A mean write or a single one that takes longer is slow, in microseconds.
const SLOW_MEAN_US: u64 = 50_000;
const SLOW_ONE_US: u64 = 1_000_000;
/// Permissions of group and others.
const OTHERS: u32 = 0o077;
/// The log is nearly full from this part of its limit on, in percent.
const NEARLY_FULL_PERCENT: u64 = 90;
/// A snapshot is overdue after so many thresholds.
const OVERDUE_THRESHOLDS: u64 = 3;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "disk-full",
        severity: Critical,
        condition: "The disk had no space for the log of a node.",
        why: "The node writes nothing until there is space. If a majority has full disks, commands fail with `disk_full`.",
        remedy: "Free space on the disk of the data directory. The node goes on by itself.",
        examine: disk_full,
    },
    Check {
        id: "snapshot-damaged",
        severity: Critical,
        condition: "The newest snapshot of a node is damaged on its disk, and no new one has been taken yet.",
        why: "The node still serves, and sends the snapshot to no other. Stopped now, it would refuse to start.",
        remedy: "Do not stop the node. Take a snapshot by hand: it replaces the damaged one, or shows the error. Then examine the disk.",
        examine: snapshot_damaged,
    },
    Check {
        id: "disk-space-low",
        severity: Warning,
        condition: "Little space is left on the disk of a data directory. It is critical below 256 MiB.",
        why: "A node with a full disk writes nothing.",
        remedy: "Free space, or use a larger disk. The log and the snapshots of a node need several times the size of the state.",
        examine: disk_space_low,
    },
    Check {
        id: "disk-files-low",
        severity: Warning,
        condition: "The file system of a data directory can create only a few more files.",
        why: "A node that can't create a file takes no snapshot.",
        remedy: "Remove files that are not needed, or use a file system with more inodes.",
        examine: disk_files_low,
    },
    Check {
        id: "disk-slow",
        severity: Warning,
        condition: "Durable writes take more than 50 ms on average, or one took more than a second.",
        why: "Every command waits for the disks of a majority. A leader that waits too long loses its leadership.",
        remedy: "Use a local SSD, and look for other programs that write to the disk.",
        examine: disk_slow,
    },
    Check {
        id: "data-directory-gone",
        severity: Critical,
        condition: "The data directory of a running node was removed or replaced.",
        why: "The node still writes to files that no start will find: after a restart it has lost everything.",
        remedy: "Replace the member by a new node while this one still runs.",
        examine: data_directory_gone,
    },
    Check {
        id: "data-directory-exposed",
        severity: Warning,
        condition: "Other users can read the data directory, or own it.",
        why: "The log and the snapshots contain everything that clients have sent.",
        remedy: "Set its mode to 0700 and its owner to the user of the node.",
        examine: data_directory_exposed,
    },
    Check {
        id: "log-nearly-full",
        severity: Warning,
        condition: "The log of a node is near its limit. It is critical if its reserve is in use.",
        why: "A full log accepts no commands until a snapshot makes space.",
        remedy: "If a snapshot fails, the log of the node names the reason. If a member keeps entries in the log, repair or remove it.",
        examine: log_nearly_full,
    },
    Check {
        id: "snapshot-overdue",
        severity: Warning,
        condition: "A node has applied many entries since its newest snapshot.",
        why: "Snapshots fail: the log grows, and a restart takes longer.",
        remedy: "Take a snapshot by hand: it shows the error.",
        examine: snapshot_overdue,
    },
];

fn disk_full(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        node.log.disk_full.then(|| {
            let dir = &node.disk.data_dir;
            Hit::seen(format!("the last write to {dir} failed for lack of space"))
        })
    })
}

fn snapshot_damaged(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        node.log.snapshot_damaged.then(|| {
            let dir = &node.disk.data_dir;
            Hit::seen(format!(
                "the checksum of the newest snapshot in {dir} is wrong"
            ))
        })
    })
}

fn is_low(space: SpaceFacts) -> bool {
    let percent = space.free_bytes.saturating_mul(100) / space.total_bytes.max(1);
    percent < LOW_PERCENT && space.free_bytes < LOW_BYTES || space.free_bytes < LEAST_BYTES
}

/// The disks of all nodes and of the directory, with the hit for what is found.
fn each_disk(view: &ClusterView<'_>, look: impl Fn(SpaceFacts, &str) -> Option<Hit>) -> Vec<Hit> {
    let mut hits = each_node(view, |node| look(node.disk.space?, &node.disk.data_dir));
    if let Some(dir) = &view.facts.directory {
        hits.extend(dir.space.and_then(|space| look(space, &dir.path)));
    }
    hits
}

fn disk_space_low(view: &ClusterView<'_>) -> Vec<Hit> {
    each_disk(view, |space, dir| {
        is_low(space).then(|| {
            let (free, total) = (size(space.free_bytes), size(space.total_bytes));
            let hit = Hit::seen(format!("{free} of {total} are free below {dir}"));
            if space.free_bytes < LEAST_BYTES {
                hit.severity(Critical)
            } else {
                hit
            }
        })
    })
}

fn disk_files_low(view: &ClusterView<'_>) -> Vec<Hit> {
    each_disk(view, |space, dir| {
        let files = space.free_files.filter(|files| *files < LOW_FILES)?;
        Some(Hit::seen(format!(
            "{files} more files can be created below {dir}"
        )))
    })
}

fn disk_slow(view: &ClusterView<'_>) -> Vec<Hit> {
    let mut hits = each_node(view, |node| {
        let recent = node.recent;
        let is_slow = recent.log_writes > 0
            && (recent.mean_write_us > SLOW_MEAN_US || recent.slowest_write_us > SLOW_ONE_US);
        is_slow.then(|| {
            Hit::seen(format!(
                "{} writes in {}: {} on average, the slowest {}",
                recent.log_writes,
                duration(recent.window_ms),
                duration(recent.mean_write_us / 1000),
                duration(recent.slowest_write_us / 1000)
            ))
            .command(format!(
                "oarlock bench --disk {}",
                quoted(&node.disk.data_dir)
            ))
        })
    });
    if let Some(dir) = &view.facts.directory {
        let slow = dir.write_us.filter(|us| *us > SLOW_MEAN_US);
        hits.extend(slow.map(|us| {
            let took = duration(us / 1000);
            Hit::seen(format!(
                "1 of 100 durable writes of 4 KiB in {} takes {took} or longer",
                dir.path
            ))
        }));
    }
    hits
}

/// A path as an argument of a shell.
pub(super) fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

fn data_directory_gone(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let (dir, id) = (&node.disk.data_dir, &node.status.node_id);
        (!node.disk.data_dir_present).then(|| {
            Hit::seen(format!("{dir} is not the directory that the node opened"))
                .command(format!("oarlock members replace {id} NEW=HOST:PORT"))
        })
    })
}

fn data_directory_exposed(view: &ClusterView<'_>) -> Vec<Hit> {
    let mut hits = each_node(view, |node| {
        let mode = node.disk.mode.filter(|mode| mode & OTHERS != 0)?;
        Some(Hit::seen(format!(
            "{} has mode {:04o}",
            node.disk.data_dir,
            mode & 0o7777
        )))
    });
    let Some(dir) = &view.facts.directory else {
        return hits;
    };
    let is_there = !matches!(
        dir.content,
        DirectoryContent::Missing | DirectoryContent::NotADirectory
    );
    let mode = dir.mode.filter(|mode| is_there && mode & OTHERS != 0);
    hits.extend(mode.map(|mode| {
        let files = match dir.exposed_files.join(", ") {
            files if files.is_empty() => String::new(),
            files => format!(", and others can read {files} in it"),
        };
        Hit::seen(format!(
            "{} has mode {:04o}{files}",
            dir.path,
            mode & 0o7777
        ))
    }));
    if is_there && !dir.is_own {
        hits.push(Hit::seen(format!("{} belongs to another user", dir.path)));
    }
    hits
}

/// The members that keep entries in the log of a leader, with their lag.
fn pinned_by(node: &NodeFacts) -> String {
    let threshold = node.log.snapshot_threshold;
    let behind = node.peers.iter().filter(|peer| peer.lag > threshold / 2);
    let names: Vec<String> = behind
        .map(|peer| format!("{} ({} entries behind)", peer.node_id, peer.lag))
        .collect();
    match names.join(", ") {
        names if !names.is_empty() => format!("; it keeps entries for {names}"),
        _ => {
            let since = node
                .status
                .applied_index
                .saturating_sub(node.status.snapshot_index);
            format!("; the newest snapshot is {since} entries old")
        }
    }
}

fn log_nearly_full(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let (log, status) = (&node.log, &node.status);
        let entries = (status.last_log_index + 1).saturating_sub(status.first_log_index);
        let bound = log.max_entries.saturating_mul(NEARLY_FULL_PERCENT) / 100;
        (entries >= bound.max(1) || log.reserve_used > 0).then(|| {
            let seen = format!(
                "{entries} entries of at most {}{}",
                log.max_entries,
                pinned_by(node)
            );
            let hit = Hit::seen(seen).command(format!(
                "oarlock logs --node {} --level warn",
                status.node_id
            ));
            if log.reserve_used > 0 {
                hit.severity(Critical)
            } else {
                hit
            }
        })
    })
}

fn snapshot_overdue(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let status = &node.status;
        let since = status.applied_index.saturating_sub(status.snapshot_index);
        let bound = node
            .log
            .snapshot_threshold
            .saturating_mul(OVERDUE_THRESHOLDS);
        (bound > 0 && since >= bound).then(|| {
            let threshold = node.log.snapshot_threshold;
            Hit::seen(format!(
                "{since} entries since the newest snapshot; one is taken after {threshold}"
            ))
            .command("oarlock snapshot")
        })
    })
}
