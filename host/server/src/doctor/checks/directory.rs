//! The data directory of a node that does not run.

use super::super::check::{Check, Hit};
use super::super::facts::{DirectoryContent, DirectoryFacts, StoredLogFacts};
use super::super::finding::FindingSeverity::{Critical, Notice, Warning};
use super::super::view::ClusterView;
use super::disk::quoted;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "directory-missing",
        severity: Critical,
        condition: "The data directory does not exist.",
        why: "A node that is started on it begins with an empty store, and does not vote before it has rejoined its cluster.",
        remedy: "Correct the path, or mount the disk. If the disk is lost, start the node there: it rejoins.",
        examine: directory_missing,
    },
    Check {
        id: "directory-is-a-file",
        severity: Critical,
        condition: "The path of the data directory is not a directory.",
        why: "No node can be started on it.",
        remedy: "Correct the path.",
        examine: directory_is_a_file,
    },
    Check {
        id: "directory-unreadable",
        severity: Critical,
        condition: "The data directory or a record in it can't be read.",
        why: "The node does not start.",
        remedy: "Give the user of the node the right to read and write it, and check the disk.",
        examine: directory_unreadable,
    },
    Check {
        id: "directory-corrupt",
        severity: Critical,
        condition: "A record of the data directory is corrupt.",
        why: "The node does not start: it must not vote or serve with it.",
        remedy: "Start the node with `--repair`: it keeps the corrupt files aside and rejoins. Replace a disk that does this again.",
        examine: directory_corrupt,
    },
    Check {
        id: "directory-empty",
        severity: Notice,
        condition: "The data directory contains no log.",
        why: "A node that is started on it has an empty store.",
        remedy: "Correct the path if this node has run before.",
        examine: directory_empty,
    },
    Check {
        id: "directory-in-use",
        severity: Notice,
        condition: "A running process uses the data directory.",
        why: "Its files can't be checked while they change.",
        remedy: "Examine the running node by its address.",
        examine: directory_in_use,
    },
    Check {
        id: "store-incomplete",
        severity: Warning,
        condition: "The store lacks what the node has acknowledged before.",
        why: "The node does not vote until the leader has readmitted it.",
        remedy: "Start it: it rejoins as soon as there is a leader.",
        examine: store_incomplete,
    },
    Check {
        id: "removed-directory",
        severity: Warning,
        condition: "The node is no member in its own log.",
        why: "It was removed from its cluster, and replicates nothing when it is started.",
        remedy: "Use a new id for a new node on this machine.",
        examine: removed_directory,
    },
    Check {
        id: "stopped-in-quarantine",
        severity: Warning,
        condition: "The node was in quarantine when it stopped.",
        why: "Its state has diverged. It serves once it has installed a snapshot of the leader.",
        remedy: "Start it while the cluster has a leader.",
        examine: stopped_in_quarantine,
    },
    Check {
        id: "stopped-without-majority",
        severity: Warning,
        condition: "The cluster refused commands when the node stopped, because states differ and no majority agrees.",
        why: "It goes on to refuse them after the start.",
        remedy: "Start the nodes, compare their states and accept one.",
        examine: stopped_without_majority,
    },
    Check {
        id: "decisions-pending",
        severity: Notice,
        condition: "The node follows decisions about entries at its start.",
        why: "Every node must have the same decisions, or their states differ.",
        remedy: "Compare the decisions of all nodes.",
        examine: decisions_pending,
    },
];

/// A hit if `look` finds something in the directory.
fn look(view: &ClusterView<'_>, look: impl Fn(&DirectoryFacts) -> Option<Hit>) -> Vec<Hit> {
    let found = view.facts.directory.as_ref().and_then(look);
    found.into_iter().collect()
}

/// The same for its log.
fn look_at_log(
    view: &ClusterView<'_>,
    find: impl Fn(&StoredLogFacts, &str) -> Option<Hit>,
) -> Vec<Hit> {
    look(view, |dir| match &dir.content {
        DirectoryContent::Log(log) => {
            find(log, &quoted(&dir.path)).map(|hit| hit.of([log.node_id.as_str()]))
        }
        _ => None,
    })
}

fn directory_missing(view: &ClusterView<'_>) -> Vec<Hit> {
    look(view, |dir| {
        (dir.content == DirectoryContent::Missing)
            .then(|| Hit::seen(format!("{} does not exist", dir.path)))
    })
}

fn directory_is_a_file(view: &ClusterView<'_>) -> Vec<Hit> {
    look(view, |dir| {
        (dir.content == DirectoryContent::NotADirectory)
            .then(|| Hit::seen(format!("{} is a file", dir.path)))
    })
}

fn directory_unreadable(view: &ClusterView<'_>) -> Vec<Hit> {
    look(view, |dir| {
        let mut reasons = dir.unreadable_records.clone();
        if let DirectoryContent::Unreadable(reason) = &dir.content {
            reasons.insert(0, reason.clone());
        }
        (!reasons.is_empty()).then(|| Hit::seen(reasons.join("; ")))
    })
}

fn directory_corrupt(view: &ClusterView<'_>) -> Vec<Hit> {
    look(view, |dir| match &dir.content {
        DirectoryContent::Corrupt(reason) => {
            let verify = format!("oarlock verify --data-dir {}", quoted(&dir.path));
            Some(Hit::seen(reason.clone()).command(verify))
        }
        _ => None,
    })
}

fn directory_empty(view: &ClusterView<'_>) -> Vec<Hit> {
    look(view, |dir| {
        (dir.content == DirectoryContent::Empty)
            .then(|| Hit::seen(format!("{} contains no log", dir.path)))
    })
}

fn directory_in_use(view: &ClusterView<'_>) -> Vec<Hit> {
    look(view, |dir| {
        (dir.content == DirectoryContent::InUse).then(|| {
            Hit::seen(format!("a node runs on {}", dir.path))
                .command("oarlock doctor --endpoints HOST:PORT")
        })
    })
}

fn store_incomplete(view: &ClusterView<'_>) -> Vec<Hit> {
    look_at_log(view, |log, _| {
        (!log.is_complete).then(|| Hit::seen("its store was replaced, repaired or copied"))
    })
}

fn removed_directory(view: &ClusterView<'_>) -> Vec<Hit> {
    look_at_log(view, |log, _| {
        (log.is_member == Some(false)).then(|| {
            Hit::seen(format!("entry {} has members without it", log.last_index))
                .command("oarlock members list")
        })
    })
}

fn stopped_in_quarantine(view: &ClusterView<'_>) -> Vec<Hit> {
    look(view, |dir| {
        dir.is_quarantined.then(|| {
            Hit::seen("quarantine.json records a divergence").command("oarlock audit show")
        })
    })
}

fn stopped_without_majority(view: &ClusterView<'_>) -> Vec<Hit> {
    look(view, |dir| {
        dir.writes_stopped.then(|| {
            Hit::seen("the file writes-stopped exists")
                .command("oarlock audit show")
                .command("oarlock audit accept NODE")
        })
    })
}

fn decisions_pending(view: &ClusterView<'_>) -> Vec<Hit> {
    look(view, |dir| {
        (dir.decisions > 0).then(|| {
            let show = format!("oarlock recover --data-dir {}", quoted(&dir.path));
            Hit::seen(format!("{} decisions in decisions.json", dir.decisions)).command(show)
        })
    })
}
