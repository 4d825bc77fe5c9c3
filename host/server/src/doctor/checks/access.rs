//! Certificates, encryption and backups.

use super::super::check::{Check, Hit, duration, each_node};
use super::super::finding::FindingSeverity::{self, Critical, Notice, Warning};
use super::super::view::ClusterView;

const DAY_SECONDS: i64 = 86_400;
/// A certificate of a node that is valid for less time is renewed now, and one below the second limit at once.
const RENEW_SECONDS: [i64; 2] = [30 * DAY_SECONDS, 3 * DAY_SECONDS];
/// The same for an authority, whose replacement takes several steps.
const ROTATE_SECONDS: [i64; 2] = [90 * DAY_SECONDS, 14 * DAY_SECONDS];
/// A backup that is older is told.
const OLD_BACKUP_MS: u64 = 7 * 24 * 3_600_000;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "certificate-expires",
        severity: Warning,
        condition: "A certificate expires within 30 days. It is critical within 3 days, and once it has expired.",
        why: "After that, no other node and no client accepts the node.",
        remedy: "Renew it. A running node reads the new files by itself.",
        examine: certificate_expires,
    },
    Check {
        id: "authority-expires",
        severity: Warning,
        condition: "An authority in `ca.crt` expires within 90 days. It is critical within 14 days.",
        why: "After that, no certificate of this authority is accepted.",
        remedy: "Replace the authority in the steps of the page on operations.",
        examine: authority_expires,
    },
    Check {
        id: "not-encrypted",
        severity: Warning,
        condition: "A node that other machines can reach uses no certificates.",
        why: "Everyone who reaches it can read and change everything.",
        remedy: "Make certificates, and start every node with `--certs-dir`.",
        examine: not_encrypted,
    },
    Check {
        id: "encryption-differs",
        severity: Critical,
        condition: "Some nodes use certificates and others do not.",
        why: "They refuse each other.",
        remedy: "Start every node with `--certs-dir`.",
        examine: encryption_differs,
    },
    Check {
        id: "no-backup",
        severity: Notice,
        condition: "No node knows of a backup within the last 7 days.",
        why: "A replica is no backup: a wrong command is on all nodes.",
        remedy: "Make backups regularly, and check them. A node remembers backups that were made through it since its start, and those \
                 in the record of operations.",
        examine: no_backup,
    },
];

/// How urgent an expiry is; `None`: not at all.
fn urgency(seconds: i64, limits: [i64; 2]) -> Option<FindingSeverity> {
    match seconds {
        seconds if seconds < limits[1] => Some(Critical),
        seconds if seconds < limits[0] => Some(Warning),
        _ => None,
    }
}

fn expiry(what: &str, seconds: i64, limits: [i64; 2]) -> Option<Hit> {
    let severity = urgency(seconds, limits)?;
    let time = match seconds.unsigned_abs() / DAY_SECONDS.unsigned_abs() {
        0 => duration(seconds.unsigned_abs().saturating_mul(1000)),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    let seen = if seconds < 0 {
        format!("{what} expired {time} ago")
    } else {
        format!("{what} expires in {time}")
    };
    Some(Hit::seen(seen).severity(severity))
}

fn certificate_expires(view: &ClusterView<'_>) -> Vec<Hit> {
    let mut hits = each_node(view, |node| {
        let seconds = node.access.certificate_seconds?;
        let hit = expiry("its certificate", seconds, RENEW_SECONDS)?;
        let id = &node.status.node_id;
        Some(hit.command(format!("oarlock cert renew certs/{id}")))
    });
    let files = view.facts.certificates.iter();
    hits.extend(
        files
            .filter(|file| !file.is_authority)
            .filter_map(|file| expiry(&file.file, file.seconds, RENEW_SECONDS))
            .map(|hit| hit.command("oarlock cert renew DIR")),
    );
    hits
}

fn authority_expires(view: &ClusterView<'_>) -> Vec<Hit> {
    let mut hits = each_node(view, |node| {
        let seconds = node.access.authority_seconds?;
        expiry("the authority in its ca.crt", seconds, ROTATE_SECONDS)
    });
    let files = view.facts.certificates.iter();
    hits.extend(
        files
            .filter(|file| file.is_authority)
            .filter_map(|file| expiry(&file.file, file.seconds, ROTATE_SECONDS)),
    );
    hits.into_iter()
        .map(|hit| hit.command("oarlock cert ca --rotate"))
        .collect()
}

fn not_encrypted(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        (!node.access.encrypted && !node.access.loopback_only).then(|| {
            Hit::seen("it was started with --insecure")
                .command("oarlock cert ca --cluster-id NAME")
                .command(format!(
                    "oarlock cert node {} --host HOST",
                    node.status.node_id
                ))
        })
    })
}

fn encryption_differs(view: &ClusterView<'_>) -> Vec<Hit> {
    let without = view.nodes.iter().filter(|node| !node.access.encrypted);
    let ids: Vec<&str> = without.map(|node| node.status.node_id.as_str()).collect();
    if ids.is_empty() || ids.len() == view.nodes.len() {
        return Vec::new();
    }
    let seen = format!("{} has no certificates, and others have", ids.join(", "));
    vec![Hit::seen(seen).of(ids)]
}

fn no_backup(view: &ClusterView<'_>) -> Vec<Hit> {
    let Some(now) = view.nodes.iter().map(|node| node.time_ms).max() else {
        return Vec::new();
    };
    let last = view
        .nodes
        .iter()
        .filter_map(|node| node.levels.backed_up_at_ms);
    let age = last.max().map(|at| now.saturating_sub(at));
    let seen = match age {
        Some(age) if age < OLD_BACKUP_MS => return Vec::new(),
        Some(age) => format!("the last known backup is {} old", duration(age)),
        None => "no backup is known".to_owned(),
    };
    vec![
        Hit::seen(seen)
            .command("oarlock backup cluster.backup")
            .command("oarlock verify cluster.backup"),
    ]
}
