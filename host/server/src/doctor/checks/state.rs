//! The replicated state: the guest, its module, its timers, and whether nodes agree.

use std::collections::BTreeMap;

use super::super::check::{Check, Hit, duration, each_node, size};
use super::super::facts::NodeFacts;
use super::super::finding::FindingSeverity::{Critical, Notice, Warning};
use super::super::view::ClusterView;

/// How late a wake-up may be, in time of the log.
const LATE_MS: u64 = 10_000;
/// From this age on a deferred command is told.
const OLD_DEFERRED_MS: u64 = 10 * 60_000;
/// So many committed entries may wait for the guest.
const APPLY_LAG: u64 = 2_000;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "quarantined",
        severity: Critical,
        condition: "The state of a node has diverged from that of the majority.",
        why: "The node does not serve. It takes the state of the majority by itself; after several times it gives up.",
        remedy: "If it has given up, replace the node, or accept a state. Keep its directory `quarantine`: it shows what differs.",
        examine: quarantined,
    },
    Check {
        id: "states-differ",
        severity: Critical,
        condition: "The states of the nodes differ, and no majority agrees.",
        why: "No program can know which state is right, so commands are refused with `states_differ`.",
        remedy: "Find the reason, choose the node whose state is right, and accept it.",
        examine: states_differ,
    },
    Check {
        id: "hashes-differ",
        severity: Critical,
        condition: "Nodes that have applied the same entries have different state hashes.",
        why: "One of them computes something else than the others: answers depend on the node.",
        remedy: "The next audit finds the node and reinstalls it. If it stays so, look at the audit.",
        examine: hashes_differ,
    },
    Check {
        id: "complete-states-differ",
        severity: Warning,
        condition: "The complete state of a node differs from that of the majority, or can't be compared.",
        why: "The results of commands are equal so far. A guest that writes its state in different ways can't be audited completely.",
        remedy: "Write collections in a fixed order in the snapshot of the guest.",
        examine: complete_states_differ,
    },
    Check {
        id: "modules-differ",
        severity: Critical,
        condition: "Nodes that have caught up run different modules.",
        why: "They compute different results from the same commands.",
        remedy: "Upgrade the cluster with `oarlock upgrade`, never by another `--state-machine` on some nodes.",
        examine: modules_differ,
    },
    Check {
        id: "upgrade-waits",
        severity: Notice,
        condition: "An upgrade is in progress. It is a warning once its time is over.",
        why: "The new module becomes active when every voter is ready, and the upgrade is aborted at its deadline.",
        remedy: "Start the voters that are not ready, or wait until the leader aborts the upgrade.",
        examine: upgrade_waits,
    },
    Check {
        id: "guest-fails",
        severity: Warning,
        condition: "Calls of the guest failed in the last minutes.",
        why: "The commands were undone, and their clients got an error. A wake-up that fails is repeated.",
        remedy: "The log of the guest names the reason. Repair the guest and upgrade it.",
        examine: guest_fails,
    },
    Check {
        id: "guest-memory-low",
        severity: Warning,
        condition: "The memory of the guest is low on a node.",
        why: "At the limit, commands that add state fail with `state_full` or `out_of_memory`.",
        remedy: "Remove state, or raise the limit.",
        examine: guest_memory_low,
    },
    Check {
        id: "timer-overdue",
        severity: Critical,
        condition: "The time at which the guest wants to be woken is over, and the leader has not woken it.",
        why: "Delayed tasks and expired leases wait for it.",
        remedy: "Look for failures of the guest and for commands that are refused.",
        examine: timer_overdue,
    },
    Check {
        id: "deferred-old",
        severity: Notice,
        condition: "A command has waited long for the reply that the guest has deferred.",
        why: "Each of them is part of the state. If the guest never completes it, it stays for ever.",
        remedy: "Look for the reason in the guest: a lock that is never released, a task that never comes.",
        examine: deferred_old,
    },
    Check {
        id: "apply-behind",
        severity: Warning,
        condition: "Many committed entries wait for the guest of a node.",
        why: "Queries on this node wait or return old data, and its log grows.",
        remedy: "Look for expensive commands or queries, or give the node more processor time.",
        examine: apply_behind,
    },
];

fn quarantined(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let audit = &node.status.audit;
        let id = &node.status.node_id;
        let seen = if audit.given_up {
            "it has diverged too often and waits for an operator"
        } else {
            "its state has diverged; it is being reinstalled from the leader"
        };
        (audit.quarantined || audit.given_up).then(|| {
            let hit = Hit::seen(seen).command("oarlock audit show");
            if audit.given_up {
                hit.command(format!("oarlock audit accept {id}"))
                    .command(format!("oarlock members replace {id} NEW=HOST:PORT"))
            } else {
                hit
            }
        })
    })
}

fn states_differ(view: &ClusterView<'_>) -> Vec<Hit> {
    let differs = |node: &&&NodeFacts| {
        let audit = &node.status.audit;
        audit.undecided || audit.writes_stopped
    };
    let Some(node) = view.nodes.iter().find(differs) else {
        return Vec::new();
    };
    let audit = &node.status.audit;
    let index = audit.index.unwrap_or(0);
    let stopped = if audit.writes_stopped {
        "commands are refused"
    } else {
        "commands are still accepted"
    };
    let seen = format!("no majority agrees after entry {index}; {stopped}");
    vec![
        Hit::seen(seen)
            .command("oarlock audit show")
            .command("oarlock audit accept NODE"),
    ]
}

fn hashes_differ(view: &ClusterView<'_>) -> Vec<Hit> {
    let mut known: BTreeMap<u64, &NodeFacts> = BTreeMap::new();
    let mut hits = Vec::new();
    for node in &view.nodes {
        let status = &node.status;
        match known.get(&status.applied_index) {
            None => {
                known.insert(status.applied_index, node);
            }
            Some(other) if other.status.state_hash != status.state_hash => {
                let ids = [other.status.node_id.as_str(), status.node_id.as_str()];
                let seen = format!(
                    "{} have other states after entry {}",
                    ids.join(" and "),
                    status.applied_index
                );
                hits.push(Hit::seen(seen).of(ids).command("oarlock audit show"));
            }
            Some(_) => {}
        }
    }
    hits
}

fn complete_states_differ(view: &ClusterView<'_>) -> Vec<Hit> {
    let Some(authority) = view.authority else {
        return Vec::new();
    };
    let states = &authority.status.audit.states;
    let mut hits = Vec::new();
    for (nodes, what) in [
        (&states.differing, "differs from that of the majority"),
        (&states.not_comparable, "is written in different ways"),
    ] {
        if !nodes.is_empty() {
            let ids = nodes.iter().map(String::as_str);
            let seen = format!("the complete state of {} {what}", nodes.join(", "));
            hits.push(Hit::seen(seen).of(ids).command("oarlock audit show"));
        }
    }
    hits
}

fn modules_differ(view: &ClusterView<'_>) -> Vec<Hit> {
    // A node that lags may still run the module before an upgrade.
    let mut caught_up = view.nodes.iter().filter(|node| {
        let status = &node.status;
        status.ready && status.applied_index == status.commit_index
    });
    let Some(first) = caught_up.next() else {
        return Vec::new();
    };
    let own = &first.status;
    caught_up
        .filter(|node| node.status.state_machine.sha256 != own.state_machine.sha256)
        .filter(|node| node.status.applied_index == own.applied_index)
        .map(|node| {
            let (one, other) = (&own.state_machine, &node.status.state_machine);
            let ids = [own.node_id.as_str(), node.status.node_id.as_str()];
            let seen = format!(
                "{} runs {} v{} ({}), {} runs {} v{} ({})",
                ids[0],
                one.name,
                one.version,
                short(&one.sha256),
                ids[1],
                other.name,
                other.version,
                short(&other.sha256)
            );
            Hit::seen(seen).of(ids).command("oarlock upgrade --history")
        })
        .collect()
}

/// The begin of a digest.
fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

fn upgrade_waits(view: &ClusterView<'_>) -> Vec<Hit> {
    let Some(authority) = view.authority else {
        return Vec::new();
    };
    let Some(upgrade) = &authority.guest.upgrade else {
        return Vec::new();
    };
    let now = authority.guest.log_time_ms;
    let is_over = now > upgrade.deadline_ms;
    let left = match upgrade.deadline_ms.checked_sub(now) {
        Some(left) => format!("its time ends in {}", duration(left)),
        None => format!("its time ended {} ago", duration(now - upgrade.deadline_ms)),
    };
    let waits_for = match upgrade.waits_for.join(", ") {
        nodes if nodes.is_empty() => "every voter is ready".to_owned(),
        nodes => format!("it waits for {nodes}"),
    };
    let seen = format!("to {}: {waits_for}; {left}", short(&upgrade.sha256));
    let ids = upgrade.waits_for.iter().map(String::as_str);
    let hit = Hit::seen(seen).of(ids).command("oarlock upgrade --history");
    vec![if is_over { hit.severity(Warning) } else { hit }]
}

fn guest_fails(view: &ClusterView<'_>) -> Vec<Hit> {
    let most = view
        .nodes
        .iter()
        .max_by_key(|node| node.recent.guest_failures);
    let Some(recent) = most.map(|node| node.recent) else {
        return Vec::new();
    };
    if recent.guest_failures == 0 {
        return Vec::new();
    }
    let seen = format!(
        "{} failed calls in {}",
        recent.guest_failures,
        duration(recent.window_ms)
    );
    vec![Hit::seen(seen).command("oarlock logs --source guest --level warn")]
}

fn guest_memory_low(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let memory = &node.status.memory;
        let is_own = memory.low_nodes.contains(&node.status.node_id);
        let is_near = memory.bytes > 0 && memory.bytes >= memory.soft_limit_bytes;
        (is_own || is_near).then(|| {
            let seen = format!(
                "{} of {} are used",
                size(memory.bytes),
                size(memory.limit_bytes)
            );
            let more = memory.limit_bytes.saturating_mul(2);
            Hit::seen(seen).command(format!("oarlock settings set memory_bytes={more}"))
        })
    })
}

fn timer_overdue(view: &ClusterView<'_>) -> Vec<Hit> {
    let Some(leader) = view.leader() else {
        return Vec::new();
    };
    let Some(wake_at) = leader.guest.wake_at_ms else {
        return Vec::new();
    };
    let late = leader.guest.log_time_ms.saturating_sub(wake_at);
    if late < LATE_MS {
        return Vec::new();
    }
    let seen = format!("the guest should have been woken {} ago", duration(late));
    let hit = Hit::on(&leader.status.node_id, seen);
    vec![hit.command("oarlock logs --level warn")]
}

fn deferred_old(view: &ClusterView<'_>) -> Vec<Hit> {
    let oldest = view
        .nodes
        .iter()
        .max_by_key(|node| node.guest.oldest_deferred_ms);
    let Some(guest) = oldest.map(|node| &node.guest) else {
        return Vec::new();
    };
    if guest.oldest_deferred_ms < OLD_DEFERRED_MS {
        return Vec::new();
    }
    let seen = format!(
        "{} commands wait, one of them for at least {}",
        guest.deferred,
        duration(guest.oldest_deferred_ms)
    );
    vec![Hit::seen(seen)]
}

fn apply_behind(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let status = &node.status;
        let behind = status.commit_index.saturating_sub(status.applied_index);
        (behind >= APPLY_LAG).then(|| {
            let seen = format!("{behind} committed entries are not applied");
            Hit::seen(seen).command("oarlock status")
        })
    })
}
