//! Metrics that are counted elsewhere, and looked at when somebody asks for them.

use std::sync::PoisonError;

use oarlock_wasm::{MachineStatus, UpgradeSummary};
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Registry, TextEncoder};
use task_queue_raft::Status;
use task_queue_raft::disk::DiskStats;
use task_queue_raft::ids::Index;
use task_queue_raft::node::{Network, NetworkStats};

use super::{Metrics, counter, gauge, gauge_vec};
use crate::http::status::NodeStatus;

/// What a node may be, for the gauge with one of these at 1.
const ROLES: [&str; 4] = ["leader", "follower", "candidate", "learner"];

type NetworkCount = fn(&NetworkStats) -> u64;
type DiskCount = fn(&DiskStats) -> u64;

/// The network's counters: name, help, where it is counted.
const NETWORK: [(&str, &str, NetworkCount); 11] = [
    (
        "oarlock_peer_frames_received_total",
        "Messages from peers.",
        NetworkStats::frames_in,
    ),
    (
        "oarlock_peer_frames_sent_total",
        "Messages to peers.",
        NetworkStats::frames_out,
    ),
    (
        "oarlock_peer_bytes_received_total",
        "Bytes from peers.",
        NetworkStats::bytes_in,
    ),
    (
        "oarlock_peer_bytes_sent_total",
        "Bytes to peers.",
        NetworkStats::bytes_out,
    ),
    (
        "oarlock_peer_requests_dropped_total",
        "Requests to peers that found no connection or a full queue.",
        NetworkStats::dropped_requests,
    ),
    (
        "oarlock_peer_responses_dropped_total",
        "Responses to peers that found no connection or a full queue.",
        NetworkStats::dropped_responses,
    ),
    (
        "oarlock_peer_connections_refused_total",
        "Connections that were refused: another cluster, an unknown node or version, garbage.",
        NetworkStats::refused_connections,
    ),
    (
        "oarlock_peer_connections_accepted_total",
        "Connections that peers opened.",
        NetworkStats::connections_in,
    ),
    (
        "oarlock_peer_connections_opened_total",
        "Connections to peers.",
        NetworkStats::connections_out,
    ),
    (
        "oarlock_peer_dials_failed_total",
        "Connections to peers that came to nothing.",
        NetworkStats::failed_dials,
    ),
    (
        "oarlock_peer_connections_lost_total",
        "Connections with peers that broke.",
        NetworkStats::lost_connections,
    ),
];

/// The disk's counters, likewise.
const DISK: [(&str, &str, DiskCount); 3] = [
    (
        "oarlock_log_writes_total",
        "Durable writes of the log, each of them one sync.",
        DiskStats::writes,
    ),
    (
        "oarlock_log_written_entries_total",
        "Entries in durable writes of the log.",
        DiskStats::entries,
    ),
    (
        "oarlock_log_written_commands_total",
        "Commands in durable writes of the log.",
        DiskStats::commands,
    ),
];

/// Gauges and counters that are set when they are asked for.
pub(super) struct Sampled {
    build: IntGaugeVec,
    upgrade_in_progress: IntGauge,
    audit_index: IntGauge,
    differing_nodes: IntGauge,
    undecided: IntGauge,
    quarantined: IntGauge,
    given_up: IntGauge,
    reinstalls: IntCounter,
    term: IntGauge,
    role: IntGaugeVec,
    has_leader: IntGauge,
    ready: IntGauge,
    commit_index: IntGauge,
    applied_index: IntGauge,
    first_log_index: IntGauge,
    last_log_index: IntGauge,
    durable_index: IntGauge,
    disk_full: IntGauge,
    has_lease: IntGauge,
    can_vote: IntGauge,
    voters_without_data: IntGauge,
    snapshot_index: IntGauge,
    peer_lag: IntGaugeVec,
    uptime_seconds: IntGauge,
    applied: IntCounter,
    guest_memory: IntGauge,
    keys: IntGauge,
    deferred: IntGauge,
    rollbacks: IntCounter,
    last_rollback: IntGauge,
    queries_waiting: IntGauge,
    replica_queries: IntCounter,
    queries_overloaded: IntCounter,
    events: IntCounter,
    failures: IntCounter,
    network: Vec<IntCounter>,
    disk: Vec<IntCounter>,
}

impl Sampled {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| gauge(registry, name, help);
        let counter = |name, help| counter(registry, name, help);
        Ok(Self {
            build: gauge_vec(
                registry,
                "oarlock_build_info",
                "Always 1; the labels say which version runs which guest.",
                &["version", "state_machine", "sha256"],
            )?,
            upgrade_in_progress: gauge(
                "oarlock_upgrade_in_progress",
                "1 while another guest is about to take over.",
            )?,
            audit_index: gauge(
                "oarlock_audit_index",
                "The entry after which the nodes' states were compared last; 0: they were not yet.",
            )?,
            differing_nodes: gauge(
                "oarlock_audit_differing_nodes",
                "Nodes that came to another state than the majority.",
            )?,
            undecided: gauge(
                "oarlock_audit_undecided",
                "1 if nodes came to several states, and a majority to none.",
            )?,
            quarantined: gauge(
                "oarlock_quarantined",
                "1 if this node came to another state than the majority and serves nobody.",
            )?,
            given_up: gauge(
                "oarlock_quarantine_given_up",
                "1 if this node differed so often that it stays in quarantine.",
            )?,
            reinstalls: counter(
                "oarlock_reinstalls_total",
                "How often this node was given a leader's state in place of its own.",
            )?,
            term: gauge(
                "oarlock_raft_term",
                "The latest term that this node has seen.",
            )?,
            role: gauge_vec(
                registry,
                "oarlock_raft_role",
                "1 at the role that this node has.",
                &["role"],
            )?,
            has_leader: gauge(
                "oarlock_raft_has_leader",
                "1 if this node knows of a leader.",
            )?,
            ready: gauge(
                "oarlock_ready",
                "1 if this node has a leader and has caught up with it.",
            )?,
            commit_index: gauge(
                "oarlock_raft_commit_index",
                "Entries up to here are committed, as far as this node knows.",
            )?,
            applied_index: gauge(
                "oarlock_raft_applied_index",
                "Entries up to here are applied.",
            )?,
            first_log_index: gauge(
                "oarlock_raft_first_log_index",
                "First entry that the log holds.",
            )?,
            last_log_index: gauge("oarlock_raft_last_log_index", "Last entry of the log.")?,
            durable_index: gauge(
                "oarlock_raft_durable_index",
                "Entries up to here are on this node's disk.",
            )?,
            disk_full: gauge(
                "oarlock_raft_disk_full",
                "1 while the disk has no room for the log.",
            )?,
            has_lease: gauge(
                "oarlock_raft_has_lease",
                "1 at a leader that answers queries without asking a majority.",
            )?,
            can_vote: gauge(
                "oarlock_raft_can_vote",
                "1 if this node votes where it is a voter; 0 while it is new, or its store was wiped or set aside.",
            )?,
            voters_without_data: gauge(
                "oarlock_raft_voters_without_data",
                "Voters that have lost their stores and are not taken in again yet, as far as this node has heard.",
            )?,
            snapshot_index: gauge(
                "oarlock_raft_snapshot_index",
                "The newest snapshot holds the state after this entry; 0: there is none.",
            )?,
            peer_lag: gauge_vec(
                registry,
                "oarlock_raft_peer_lag_entries",
                "At the leader: entries that a peer's disk is behind.",
                &["peer"],
            )?,
            uptime_seconds: gauge(
                "oarlock_uptime_seconds",
                "How long this node has been running.",
            )?,
            applied: counter(
                "oarlock_applied_entries_total",
                "Entries that the cluster has applied since its beginning, as this node knows it.",
            )?,
            guest_memory: gauge("oarlock_guest_memory_bytes", "Linear memory of the guest.")?,
            keys: gauge(
                "oarlock_idempotency_keys",
                "Idempotency keys that are remembered.",
            )?,
            deferred: gauge(
                "oarlock_deferred_commands",
                "Commands whose answer the guest has put off.",
            )?,
            rollbacks: counter(
                "oarlock_guest_rollbacks_total",
                "How often this node undid a failure of the guest.",
            )?,
            queries_waiting: gauge(
                "oarlock_queries_waiting",
                "Queries that wait for a copy of the guest.",
            )?,
            replica_queries: counter(
                "oarlock_replica_queries_total",
                "Queries that were answered by a copy of the guest, beside apply.",
            )?,
            queries_overloaded: counter(
                "oarlock_queries_overloaded_total",
                "Queries that were refused because too many waited for a copy of the guest.",
            )?,
            last_rollback: gauge(
                "oarlock_guest_last_rollback_microseconds",
                "How long it took to undo the guest's last failure.",
            )?,
            events: counter(
                "oarlock_guest_events_total",
                "Events that the guest has published since the beginning of the log.",
            )?,
            failures: counter(
                "oarlock_guest_failures_total",
                "Commands and wake-ups at which the guest failed since the beginning of the log.",
            )?,
            network: NETWORK
                .iter()
                .map(|(name, help, _)| counter(name, help))
                .collect::<Result<_, _>>()?,
            disk: DISK
                .iter()
                .map(|(name, help, _)| counter(name, help))
                .collect::<Result<_, _>>()?,
        })
    }

    fn set(
        &self,
        status: &NodeStatus,
        raft: &Status,
        machine: &MachineStatus,
        upgrades: &UpgradeSummary,
        network: Option<&Network>,
        disk: Option<&DiskStats>,
    ) {
        self.build.reset();
        let sha256 = machine.sha256.to_string();
        self.build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), &machine.name, &sha256])
            .set(1);
        self.upgrade_in_progress
            .set(upgrades.pending.is_some().into());
        self.audit_index
            .set(number(status.audit.index.unwrap_or(0)));
        self.differing_nodes
            .set(number(status.audit.differing.len() as u64));
        self.undecided.set(status.audit.undecided.into());
        self.quarantined.set(status.audit.quarantined.into());
        self.given_up.set(status.audit.given_up.into());
        set_counter(&self.reinstalls, status.audit.reinstalls);
        self.term.set(number(status.term));
        for role in ROLES {
            self.role
                .with_label_values(&[role])
                .set((role == status.role).into());
        }
        self.has_leader.set(status.leader_id.is_some().into());
        self.ready.set(status.ready.into());
        self.commit_index.set(number(status.commit_index));
        self.applied_index.set(number(status.applied_index));
        self.first_log_index.set(number(status.first_log_index));
        self.last_log_index.set(number(status.last_log_index));
        self.durable_index.set(number(raft.stable.0));
        self.disk_full.set(raft.disk_full.into());
        self.has_lease.set(raft.has_lease.into());
        self.can_vote.set(status.voting.eligible.into());
        self.voters_without_data
            .set(number(status.voting.voters_without_data.len() as u64));
        self.snapshot_index.set(number(status.snapshot_index));
        // A node that leads no more knows nothing of its peers.
        self.peer_lag.reset();
        for (peer, matched) in &raft.matched {
            let Index(behind) = Index(raft.last.0.saturating_sub(matched.0));
            self.peer_lag
                .with_label_values(&[peer.as_str()])
                .set(number(behind));
        }
        self.uptime_seconds.set(number(status.uptime_ms / 1000));
        set_counter(&self.applied, status.applied_index);
        self.guest_memory.set(number(machine.counts.memory_bytes));
        self.keys.set(number(machine.counts.keys));
        self.deferred.set(number(machine.counts.deferred));
        set_counter(&self.rollbacks, machine.counts.rollbacks);
        self.queries_waiting.set(number(machine.queries.waiting));
        set_counter(&self.replica_queries, machine.queries.completed);
        set_counter(&self.queries_overloaded, machine.queries.overloaded);
        self.last_rollback
            .set(number(machine.counts.last_rollback_us));
        set_counter(&self.events, machine.counts.events);
        set_counter(&self.failures, machine.counts.failures);
        if let Some(network) = network {
            for (counter, (_, _, count)) in self.network.iter().zip(NETWORK) {
                set_counter(counter, count(network.stats()));
            }
        }
        if let Some(disk) = disk {
            for (counter, (_, _, count)) in self.disk.iter().zip(DISK) {
                set_counter(counter, count(disk));
            }
        }
    }
}

impl Metrics {
    /// Everything as text, as of now.
    ///
    /// # Errors
    /// A metric can't be written, which is a bug.
    pub(crate) fn sample(
        &self,
        status: &NodeStatus,
        raft: &Status,
        machine: &MachineStatus,
        upgrades: &UpgradeSummary,
        network: Option<&Network>,
        disk: Option<&DiskStats>,
    ) -> Result<String, prometheus::Error> {
        // The lock makes a sample one moment. A thread that panicked here left plain numbers.
        let sampled = self.sampled.lock().unwrap_or_else(PoisonError::into_inner);
        sampled.set(status, raft, machine, upgrades, network, disk);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Gives a counter the value that is counted elsewhere.
fn set_counter(counter: &IntCounter, value: u64) {
    counter.reset();
    counter.inc_by(value);
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
