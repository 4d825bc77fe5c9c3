//! `host/docs/alerts.yml`: rules for Prometheus, made from a table.
//!
//! To write it again: `OARLOCK_UPDATE_DOCS=1 cargo test --workspace --bin oarlock -- made_from_the_table`

use std::fmt::Write;

use super::names::{check_query, compare};
use crate::doctor::check_ids;

struct Alert {
    name: &'static str,
    query: &'static str,
    /// How long the condition must hold.
    lasts: &'static str,
    severity: &'static str,
    summary: &'static str,
    /// The check of `oarlock doctor` that has the remedy.
    check: &'static str,
}

const fn alert(
    name: &'static str,
    query: &'static str,
    lasts: &'static str,
    severity: &'static str,
    summary: &'static str,
    check: &'static str,
) -> Alert {
    Alert {
        name,
        query,
        lasts,
        severity,
        summary,
        check,
    }
}

const ALERTS: [Alert; 24] = [
    alert(
        "OarlockNoLeader",
        "max(oarlock_raft_has_leader) == 0",
        "30s",
        "critical",
        "No node knows a leader, so commands fail.",
        "no-leader",
    ),
    alert(
        "OarlockNotReady",
        "oarlock_ready == 0",
        "2m",
        "warning",
        "A node has not caught up with its leader.",
        "not-ready",
    ),
    alert(
        "OarlockCannotVote",
        "oarlock_raft_can_vote == 0",
        "5m",
        "warning",
        "A node is not eligible to vote.",
        "cannot-vote",
    ),
    alert(
        "OarlockVotersWithoutData",
        "max(oarlock_raft_voters_without_data) > 0",
        "2m",
        "warning",
        "Voters have empty stores and have not rejoined.",
        "voters-without-data",
    ),
    alert(
        "OarlockLeaderChanges",
        "changes(oarlock_raft_term[15m]) >= 5",
        "0m",
        "warning",
        "Leaders change often.",
        "leader-changes",
    ),
    alert(
        "OarlockPeerLag",
        "max by (peer) (oarlock_raft_peer_lag_entries) > 5000",
        "5m",
        "warning",
        "A member is far behind the leader.",
        "voter-stalled",
    ),
    alert(
        "OarlockPeersRefused",
        "increase(oarlock_peer_connections_refused_total[15m]) > 0",
        "0m",
        "warning",
        "A node refuses connections of other nodes.",
        "peers-refused",
    ),
    alert(
        "OarlockQuarantined",
        "oarlock_quarantined == 1",
        "0m",
        "critical",
        "The state of a node has diverged from that of the majority.",
        "quarantined",
    ),
    alert(
        "OarlockQuarantineGivenUp",
        "oarlock_quarantine_given_up == 1",
        "0m",
        "critical",
        "A node has diverged too often and waits for an operator.",
        "quarantined",
    ),
    alert(
        "OarlockStatesDiffer",
        "max(oarlock_audit_undecided) == 1 or max(oarlock_writes_stopped) == 1",
        "0m",
        "critical",
        "The states of the nodes differ, and no majority agrees.",
        "states-differ",
    ),
    alert(
        "OarlockCompleteStatesDiffer",
        "max(oarlock_state_audit_differing_nodes) > 0 or max(oarlock_state_audit_not_comparable_nodes) > 0",
        "0m",
        "warning",
        "The complete states of the nodes differ, or can't be compared.",
        "complete-states-differ",
    ),
    alert(
        "OarlockGuestFails",
        "max(increase(oarlock_guest_failures_total[15m])) > 0",
        "0m",
        "warning",
        "Calls of the guest fail.",
        "guest-fails",
    ),
    alert(
        "OarlockGuestMemoryLow",
        "max(oarlock_guest_memory_low) == 1",
        "1m",
        "warning",
        "The memory of the guest is low.",
        "guest-memory-low",
    ),
    alert(
        "OarlockApplyBehind",
        "oarlock_raft_commit_index - oarlock_raft_applied_index > 2000",
        "2m",
        "warning",
        "Many committed entries wait for the guest of a node.",
        "apply-behind",
    ),
    alert(
        "OarlockDiskFull",
        "oarlock_raft_disk_full == 1",
        "0m",
        "critical",
        "The disk of a node has no space for its log.",
        "disk-full",
    ),
    alert(
        "OarlockSnapshotDamaged",
        "oarlock_raft_snapshot_damaged == 1",
        "1m",
        "critical",
        "The newest snapshot of a node is damaged and could not be replaced.",
        "snapshot-damaged",
    ),
    alert(
        "OarlockDiskSlow",
        "rate(oarlock_log_write_microseconds_total[5m]) / rate(oarlock_log_writes_total[5m]) > 50000",
        "5m",
        "warning",
        "Durable writes of a node take more than 50 ms on average.",
        "disk-slow",
    ),
    alert(
        "OarlockDataDirectoryGone",
        "oarlock_data_directory_missing == 1",
        "0m",
        "critical",
        "The data directory of a running node was removed or replaced.",
        "data-directory-gone",
    ),
    alert(
        "OarlockLogReserveUsed",
        "oarlock_raft_log_reserve_used_entries > 0",
        "1m",
        "critical",
        "The log of a node is full, and its reserve is in use.",
        "log-nearly-full",
    ),
    alert(
        "OarlockClockSkewed",
        "oarlock_clock_skewed == 1",
        "1m",
        "warning",
        "The clock of a node is wrong.",
        "clock-skewed",
    ),
    alert(
        "OarlockLogTimeAhead",
        "max(oarlock_log_time_ahead_milliseconds) > 0",
        "1m",
        "warning",
        "The time of the log is ahead of the clocks.",
        "log-time-ahead",
    ),
    alert(
        "OarlockCertificateExpires",
        "oarlock_cert_expiry_seconds{certificate=\"node\"} < 30 * 86400",
        "1h",
        "warning",
        "The certificate of a node expires within 30 days.",
        "certificate-expires",
    ),
    alert(
        "OarlockAuthorityExpires",
        "oarlock_cert_expiry_seconds{certificate=\"ca\"} < 90 * 86400",
        "1h",
        "warning",
        "An authority expires within 90 days.",
        "authority-expires",
    ),
    alert(
        "OarlockConnectionsRejected",
        "increase(oarlock_http_connections_rejected_total[15m]) > 0",
        "0m",
        "warning",
        "A node refuses connections of clients.",
        "connections-high",
    ),
];

fn file() -> String {
    let mut text = String::from(
        "# Rules for Prometheus, made from the table in host/server/src/metrics/tests/alerts.rs. `oarlock doctor` names the remedy.\n\
         groups:\n  - name: oarlock\n    rules:\n",
    );
    for alert in &ALERTS {
        let query = alert.query.replace('\'', "''");
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "      - alert: {}\n        expr: '{query}'\n        for: {}\n        labels:\n          severity: {}\n        \
             annotations:\n          summary: '{}'\n          description: 'Run `oarlock doctor`, and see the check `{}`.'\n",
            alert.name,
            alert.lasts,
            alert.severity,
            alert.summary.replace('\'', "''"),
            alert.check
        );
    }
    text
}

#[test]
fn the_rules_for_alerts_are_made_from_the_table() {
    compare("alerts.yml", &file());
}

#[test]
fn each_alert_reads_metrics_that_exist_and_names_a_check() {
    let checks: Vec<&str> = check_ids().collect();
    for alert in &ALERTS {
        check_query(alert.query);
        assert!(checks.contains(&alert.check), "{}", alert.name);
        assert!(["warning", "critical"].contains(&alert.severity));
    }
}
