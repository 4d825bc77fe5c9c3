//! Metrics whose values are counted elsewhere. They are updated for each request of `GET /metrics`.

use oarlock_wasm::{MachineStatus, UpgradeSummary};
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Registry};
use task_queue_raft::Status;
use task_queue_raft::disk::DiskStats;
use task_queue_raft::ids::Index;
use task_queue_raft::node::{Network, NetworkStats};
use task_queue_raft::storage::SegmentStats;

use super::register::{counter, gauge, gauge_vec};
use crate::node_log::LineCounts;
use crate::status::NodeStatus;

/// Values of the label `role`. One of them has the value 1.
const ROLES: [&str; 4] = ["leader", "follower", "candidate", "learner"];

type NetworkCount = fn(&NetworkStats) -> u64;
type DiskCount = fn(&DiskStats) -> u64;
type SegmentCount = fn(&SegmentStats) -> u64;

/// Counters of the network: name, help text, source.
const NETWORK: [(&str, &str, NetworkCount); 11] = [
    (
        "oarlock_peer_frames_received_total",
        "Messages received from peers.",
        NetworkStats::frames_in,
    ),
    (
        "oarlock_peer_frames_sent_total",
        "Messages sent to peers.",
        NetworkStats::frames_out,
    ),
    (
        "oarlock_peer_bytes_received_total",
        "Bytes received from peers.",
        NetworkStats::bytes_in,
    ),
    (
        "oarlock_peer_bytes_sent_total",
        "Bytes sent to peers.",
        NetworkStats::bytes_out,
    ),
    (
        "oarlock_peer_requests_dropped_total",
        "Requests to peers that were dropped: no connection, or a full queue.",
        NetworkStats::dropped_requests,
    ),
    (
        "oarlock_peer_responses_dropped_total",
        "Responses to peers that were dropped: no connection, or a full queue.",
        NetworkStats::dropped_responses,
    ),
    (
        "oarlock_peer_connections_refused_total",
        "Incoming peer connections that were refused: another cluster, an unknown node or version, or invalid data.",
        NetworkStats::refused_connections,
    ),
    (
        "oarlock_peer_connections_accepted_total",
        "Connections that were accepted from peers.",
        NetworkStats::connections_in,
    ),
    (
        "oarlock_peer_connections_opened_total",
        "Connections that were opened to peers.",
        NetworkStats::connections_out,
    ),
    (
        "oarlock_peer_dials_failed_total",
        "Failed attempts to connect to a peer.",
        NetworkStats::failed_dials,
    ),
    (
        "oarlock_peer_connections_lost_total",
        "Connections with peers that failed.",
        NetworkStats::lost_connections,
    ),
];

/// Counters of the disk: name, help text, source.
const DISK: [(&str, &str, DiskCount); 4] = [
    (
        "oarlock_log_writes_total",
        "Durable writes of the log. Each is one sync.",
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
    (
        "oarlock_log_write_microseconds_total",
        "Duration of durable writes of the log, all together, in microseconds.",
        DiskStats::write_us,
    ),
];

/// Counters of the files of the log: name, help text, source.
const SEGMENTS: [(&str, &str, SegmentCount); 3] = [
    (
        "oarlock_log_segments_begun_total",
        "Files of the log that this process has begun to write to.",
        SegmentStats::begun,
    ),
    (
        "oarlock_log_segments_created_total",
        "Files of the log that were created because there was none to use again.",
        SegmentStats::created,
    ),
    (
        "oarlock_log_segment_waits_total",
        "Writes of the log that waited because the next file was not ready.",
        SegmentStats::waited,
    ),
];

/// The values from which the metrics are updated.
pub(crate) struct Sample<'a> {
    pub(crate) status: &'a NodeStatus,
    pub(crate) raft: &'a Status,
    pub(crate) machine: &'a MachineStatus,
    pub(crate) upgrades: &'a UpgradeSummary,
    /// `None` before the node is started.
    pub(crate) network: Option<&'a Network>,
    pub(crate) disk: Option<&'a DiskStats>,
    pub(crate) log: LineCounts,
    pub(crate) turns: QueryTurnCounts,
}

/// Queries before their turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryTurnCounts {
    /// Queries that wait for it.
    pub(crate) waiting: u64,
    /// Queries that were refused because too many waited.
    pub(crate) refused: u64,
    /// Queries whose clients have gone before it.
    pub(crate) abandoned: u64,
    /// Queries that needed more fuel than short ones may use, and began again as long ones.
    pub(crate) begun_again: u64,
}

/// The metrics.
pub(super) struct Sampled {
    build: IntGaugeVec,
    upgrade_in_progress: IntGauge,
    audit_index: IntGauge,
    state_audit_index: IntGauge,
    states_differing: IntGauge,
    states_not_comparable: IntGauge,
    differing_nodes: IntGauge,
    undecided: IntGauge,
    writes_stopped: IntGauge,
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
    snapshot_damaged: IntGauge,
    reserve_used: IntGauge,
    has_lease: IntGauge,
    clock_offset: IntGauge,
    clock_skewed: IntGauge,
    log_time_ahead: IntGauge,
    can_vote: IntGauge,
    voters_without_data: IntGauge,
    snapshot_index: IntGauge,
    peer_lag: IntGaugeVec,
    uptime_seconds: IntGauge,
    applied: IntCounter,
    guest_memory: IntGauge,
    guest_memory_limit: IntGauge,
    guest_memory_low: IntGauge,
    keys: IntGauge,
    deferred: IntGauge,
    operations: IntCounter,
    rollbacks: IntCounter,
    last_rollback: IntGauge,
    queries_waiting: IntGauge,
    replica_queries: IntCounter,
    queries_overloaded: IntCounter,
    queries_refused: IntCounter,
    queries_begun_again: IntCounter,
    queries_running: IntGauge,
    queries_abandoned: IntCounter,
    queries_interrupted: IntCounter,
    events: IntCounter,
    failures: IntCounter,
    log_lines: IntCounter,
    log_lines_missed: IntCounter,
    network: Vec<IntCounter>,
    disk: Vec<IntCounter>,
    segments: Vec<IntCounter>,
    segments_used: IntGauge,
    segments_spare: IntGauge,
}

impl Sampled {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| gauge(registry, name, help);
        let counter = |name, help| counter(registry, name, help);
        Ok(Self {
            build: gauge_vec(
                registry,
                "oarlock_build_info",
                "Always 1. The labels are the version of this program, and the name and digest of the active module.",
                &["version", "state_machine", "sha256"],
            )?,
            upgrade_in_progress: gauge(
                "oarlock_upgrade_in_progress",
                "1 while an upgrade of the guest is in progress.",
            )?,
            state_audit_index: gauge(
                "oarlock_state_audit_index",
                "The entry after which the latest audit compared the complete states; 0 before the first audit.",
            )?,
            states_differing: gauge(
                "oarlock_state_audit_differing_nodes",
                "Nodes whose complete state differs from that of the majority.",
            )?,
            states_not_comparable: gauge(
                "oarlock_state_audit_not_comparable_nodes",
                "Nodes whose guest writes the same state in different ways, so that complete states can't be compared.",
            )?,
            audit_index: gauge(
                "oarlock_audit_index",
                "The entry after which the latest audit compared the state hashes; 0 before the first audit.",
            )?,
            differing_nodes: gauge(
                "oarlock_audit_differing_nodes",
                "Nodes whose state differs from the majority.",
            )?,
            undecided: gauge(
                "oarlock_audit_undecided",
                "1 if the states of the nodes differ and no state is that of a majority.",
            )?,
            writes_stopped: gauge(
                "oarlock_writes_stopped",
                "1 while commands are refused because the states differ and no majority agrees.",
            )?,
            quarantined: gauge(
                "oarlock_quarantined",
                "1 while this node is in quarantine: its state differs from the majority, so it serves no requests.",
            )?,
            given_up: gauge(
                "oarlock_quarantine_given_up",
                "1 if this node has diverged too often and stays in quarantine.",
            )?,
            reinstalls: counter(
                "oarlock_reinstalls_total",
                "Snapshots of the leader that this node installed to leave quarantine.",
            )?,
            term: gauge("oarlock_raft_term", "The current term of this node.")?,
            role: gauge_vec(
                registry,
                "oarlock_raft_role",
                "1 for the current role of this node, 0 for the others.",
                &["role"],
            )?,
            has_leader: gauge("oarlock_raft_has_leader", "1 if this node has a leader.")?,
            ready: gauge(
                "oarlock_ready",
                "1 if this node has a leader and has caught up with it.",
            )?,
            commit_index: gauge(
                "oarlock_raft_commit_index",
                "The last entry that this node knows to be committed.",
            )?,
            applied_index: gauge("oarlock_raft_applied_index", "The last applied entry.")?,
            first_log_index: gauge(
                "oarlock_raft_first_log_index",
                "The first entry of the log.",
            )?,
            last_log_index: gauge("oarlock_raft_last_log_index", "The last entry of the log.")?,
            durable_index: gauge(
                "oarlock_raft_durable_index",
                "The last entry that is durable on this node's disk.",
            )?,
            reserve_used: gauge(
                "oarlock_raft_log_reserve_used_entries",
                "Entries in the log above --max-log-entries: the reserve for control records that is in use.",
            )?,
            disk_full: gauge(
                "oarlock_raft_disk_full",
                "1 while the disk of this node is too full to write its log.",
            )?,
            snapshot_damaged: gauge(
                "oarlock_raft_snapshot_damaged",
                "1 while the newest snapshot of this node is damaged on its disk and not yet replaced.",
            )?,
            has_lease: gauge(
                "oarlock_raft_has_lease",
                "1 if this node is the leader and holds a lease, so that linearizable queries need no messages.",
            )?,
            clock_offset: gauge(
                "oarlock_clock_offset_milliseconds",
                "This node's clock minus the clocks of the majority; 0 while that is not known.",
            )?,
            clock_skewed: gauge(
                "oarlock_clock_skewed",
                "1 if this node's clock differs from the majority by more than --max-clock-skew-ms. An alarm.",
            )?,
            log_time_ahead: gauge(
                "oarlock_log_time_ahead_milliseconds",
                "How far the time of the log is ahead of the clocks of the majority; 0 within --max-clock-skew-ms. An alarm.",
            )?,
            can_vote: gauge(
                "oarlock_raft_can_vote",
                "1 if this node is eligible to vote; 0 while it waits for a bootstrap, to be added, or to rejoin with a new store.",
            )?,
            voters_without_data: gauge(
                "oarlock_raft_voters_without_data",
                "Voters whose stores were lost and that have not rejoined, as far as this node knows.",
            )?,
            snapshot_index: gauge(
                "oarlock_raft_snapshot_index",
                "The last entry in the newest snapshot; 0 without a snapshot.",
            )?,
            peer_lag: gauge_vec(
                registry,
                "oarlock_raft_peer_lag_entries",
                "On the leader: entries that are not durable on the peer's disk yet.",
                &["peer"],
            )?,
            uptime_seconds: gauge(
                "oarlock_uptime_seconds",
                "Seconds since this node was started.",
            )?,
            applied: counter(
                "oarlock_applied_entries_total",
                "Entries applied since the beginning of the log.",
            )?,
            guest_memory_limit: gauge(
                "oarlock_guest_memory_limit_bytes",
                "Limit of the linear memory of the guest, in bytes.",
            )?,
            guest_memory_low: gauge(
                "oarlock_guest_memory_low",
                "1 while the guest sees memory pressure: a node has reported that its memory is at 80 % of the limit.",
            )?,
            guest_memory: gauge(
                "oarlock_guest_memory_bytes",
                "Linear memory of the guest, in bytes; 0 while the guest is being rebuilt.",
            )?,
            keys: gauge("oarlock_idempotency_keys", "Stored idempotency keys.")?,
            deferred: gauge(
                "oarlock_deferred_commands",
                "Commands whose reply the guest has deferred.",
            )?,
            operations: counter(
                "oarlock_operations_total",
                "Requests of operators and upgraders since the beginning of the log.",
            )?,
            rollbacks: counter(
                "oarlock_guest_rollbacks_total",
                "Rollbacks of the guest's state on this node, each after a failure of the guest.",
            )?,
            queries_waiting: gauge(
                "oarlock_queries_waiting",
                "Queries that wait for their turn, or for a replica of the guest.",
            )?,
            replica_queries: counter(
                "oarlock_replica_queries_total",
                "Queries that a replica of the guest answered, concurrently with apply.",
            )?,
            queries_overloaded: counter(
                "oarlock_queries_overloaded_total",
                "Queries that were rejected because too many waited for a replica of the guest.",
            )?,
            queries_refused: counter(
                "oarlock_queries_refused_total",
                "Queries that were refused because too many waited for their turn, most of them of the same client.",
            )?,
            queries_begun_again: counter(
                "oarlock_queries_begun_again_total",
                "Queries that were expected to be short, needed more fuel, and began again as long ones.",
            )?,
            queries_running: gauge("oarlock_queries_running", "Queries that run now.")?,
            queries_abandoned: counter(
                "oarlock_queries_abandoned_total",
                "Queries that were dropped before they began, because their client had gone.",
            )?,
            queries_interrupted: counter(
                "oarlock_queries_interrupted_total",
                "Queries that were interrupted, because their client had gone.",
            )?,
            last_rollback: gauge(
                "oarlock_guest_last_rollback_microseconds",
                "Duration of the latest rollback, in microseconds; 0 before the first one.",
            )?,
            events: counter(
                "oarlock_guest_events_total",
                "Events that the guest published since the beginning of the log.",
            )?,
            failures: counter(
                "oarlock_guest_failures_total",
                "Commands and wake-ups on which the guest failed since the beginning of the log.",
            )?,
            log_lines: counter(
                "oarlock_log_lines_total",
                "Lines that this process has stored for GET /v1/logs.",
            )?,
            log_lines_missed: counter(
                "oarlock_log_lines_missed_total",
                "Lines that were dropped before a client of GET /v1/logs had read them.",
            )?,
            network: NETWORK
                .iter()
                .map(|(name, help, _)| counter(name, help))
                .collect::<Result<_, _>>()?,
            disk: DISK
                .iter()
                .map(|(name, help, _)| counter(name, help))
                .collect::<Result<_, _>>()?,
            segments: SEGMENTS
                .iter()
                .map(|(name, help, _)| counter(name, help))
                .collect::<Result<_, _>>()?,
            segments_used: gauge(
                "oarlock_log_segments_used",
                "Files that contain the log, or are prepared for the next entries.",
            )?,
            segments_spare: gauge(
                "oarlock_log_segments_spare",
                "Files of the log that contain nothing and can be used again.",
            )?,
        })
    }

    /// Updates all metrics.
    pub(super) fn set(&self, sample: &Sample<'_>) {
        let Sample {
            status,
            raft,
            machine,
            upgrades,
            network,
            disk,
            log,
            turns,
        } = *sample;
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
        self.writes_stopped.set(status.audit.writes_stopped.into());
        let states = &status.audit.states;
        self.state_audit_index
            .set(number(states.index.unwrap_or(0)));
        self.states_differing
            .set(number(states.differing.len() as u64));
        self.states_not_comparable
            .set(number(states.not_comparable.len() as u64));
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
        self.snapshot_damaged.set(raft.snapshot_damaged.into());
        self.reserve_used.set(number(raft.reserve_used));
        self.has_lease.set(raft.has_lease.into());
        self.clock_offset.set(status.clock.offset_ms.unwrap_or(0));
        self.clock_skewed.set(status.clock.skewed.into());
        self.log_time_ahead.set(number(status.clock.ahead_ms));
        self.can_vote.set(status.voting.eligible.into());
        self.voters_without_data
            .set(number(status.voting.voters_without_data.len() as u64));
        self.snapshot_index.set(number(status.snapshot_index));
        // Only a leader knows the progress of its peers.
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
        self.guest_memory_limit
            .set(number(machine.counts.memory_limit_bytes));
        self.guest_memory_low
            .set(machine.counts.memory_is_low.into());
        self.keys.set(number(machine.counts.keys));
        self.deferred.set(number(machine.counts.deferred));
        set_counter(&self.operations, machine.counts.operations);
        set_counter(&self.rollbacks, machine.counts.rollbacks);
        self.queries_waiting
            .set(number(machine.queries.waiting + turns.waiting));
        set_counter(&self.queries_refused, turns.refused);
        set_counter(&self.queries_begun_again, turns.begun_again);
        set_counter(&self.replica_queries, machine.queries.completed);
        set_counter(&self.queries_overloaded, machine.queries.overloaded);
        self.queries_running.set(number(machine.queries.running));
        let abandoned = machine.queries.abandoned_waiting + turns.abandoned;
        set_counter(&self.queries_abandoned, abandoned);
        set_counter(&self.queries_interrupted, machine.queries.abandoned_running);
        self.last_rollback
            .set(number(machine.counts.last_rollback_us));
        set_counter(&self.events, machine.counts.events);
        set_counter(&self.failures, machine.counts.failures);
        set_counter(&self.log_lines, log.written);
        set_counter(&self.log_lines_missed, log.missed);
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
        if let Some(segments) = disk.and_then(DiskStats::segments) {
            for (counter, (_, _, count)) in self.segments.iter().zip(SEGMENTS) {
                set_counter(counter, count(segments));
            }
            self.segments_used.set(number(segments.used()));
            self.segments_spare.set(number(segments.spare()));
        }
    }
}

/// Sets a counter to a value that is counted elsewhere.
fn set_counter(counter: &IntCounter, value: u64) {
    counter.reset();
    counter.inc_by(value);
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
