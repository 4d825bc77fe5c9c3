//! `GET /v1/doctor`: the facts of this node, and what follows from them alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use oarlock_wasm::CheckResult;
use schemars::JsonSchema;
use serde::Serialize;
use task_queue_raft::ids::NodeId;
use task_queue_raft::{CLUSTER_LEVEL, Status};
use time::OffsetDateTime;

use super::app::App;
use super::connection_table::CloseReason;
use crate::doctor::facts::{
    AccessFacts, ClusterFacts, DiskFacts, GuestFacts, LevelFacts, LogFacts, NodeAnswer, NodeFacts,
    NodeSeen, PeerFacts, UpgradeFacts,
};
use crate::doctor::{Finding, examine};
use crate::history::{CounterSample, SAMPLE_INTERVAL};
use crate::process_facts;
use crate::status::NodeStatus;
use crate::tls::TlsHandle;
use crate::wall_clock::{self, millis};

/// Name of the operation that makes a backup.
const BACKUP: &str = "backup";

/// The response to `GET /v1/doctor`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DoctorResponse {
    /// What is wrong as far as this node can tell alone, the most urgent first. `oarlock doctor` asks all nodes.
    findings: Vec<Finding>,
    /// What this node tells about itself.
    facts: NodeFacts,
}

pub(super) async fn doctor(State(app): State<Arc<App>>) -> Json<DoctorResponse> {
    let facts = app.facts();
    let seen = NodeSeen {
        node_id: Some(facts.status.node_id.clone()),
        endpoint: None,
        asked_ms: None,
        answer: NodeAnswer::Facts(Box::new(facts.clone())),
    };
    let findings = examine(&ClusterFacts {
        nodes: vec![seen],
        ..ClusterFacts::default()
    });
    Json(DoctorResponse { findings, facts })
}

/// Notes the counters of a node from time to time, until it stops.
pub(crate) async fn note_counters(app: Arc<App>) {
    let mut again = tokio::time::interval(SAMPLE_INTERVAL);
    let mut has_directory = true;
    loop {
        again.tick().await;
        has_directory = app.observations.look_at_directory(has_directory);
        let mut sample = app.counters(&app.raft.status());
        if let Some(disk) = app.raft.disk() {
            sample.slowest_write_us = disk.take_slowest_us();
        }
        app.observations.history.add(sample);
    }
}

impl App {
    /// What this node tells about itself now.
    pub(crate) fn facts(&self) -> NodeFacts {
        let raft = self.raft.status();
        let now = self.counters(&raft);
        let status = self.status();
        NodeFacts {
            time_ms: wall_clock::now_ms(),
            log: self.log_facts(&raft),
            peers: self.peer_facts(&raft, &now),
            guest: self.guest_facts(&raft, &now),
            disk: self.disk_facts(),
            process: process_facts::of_this_process(),
            access: self.access_facts(),
            levels: self.level_facts(&raft, &status),
            recent: self.observations.history.until(&now),
            status,
        }
    }

    /// The counters now.
    fn counters(&self, raft: &Status) -> CounterSample {
        let (network, disk, machine) = (self.raft.network(), self.raft.disk(), self.machine.get());
        let stalled = [
            CloseReason::Stalled,
            CloseReason::OwnBytes,
            CloseReason::TotalBytes,
        ];
        let stalled = stalled.map(|reason| self.connections.closed(reason));
        let matched = raft.matched.iter();
        CounterSample {
            at: self.started.elapsed(),
            leader_changes: self.observations.elections(),
            refused_peers: network.map_or(0, |network| network.stats().refused_connections()),
            // Entries that are applied again after a restart, and a snapshot that is installed, are not recent.
            guest_failures: self
                .readiness
                .has_caught_up()
                .then_some(machine.counts.failures),
            overloaded_queries: machine.queries.overloaded,
            rejected_connections: self.metrics.rejected_connections.get(),
            stalled_clients: stalled.iter().sum(),
            log_writes: disk.as_ref().map_or(0, |disk| disk.writes()),
            log_write_us: disk.as_ref().map_or(0, |disk| disk.write_us()),
            slowest_write_us: disk.as_ref().map_or(0, |disk| disk.slowest_us()),
            last_index: raft.last.0,
            matched: matched
                .map(|(id, index)| (id.as_str().to_owned(), index.0))
                .collect::<BTreeMap<_, _>>(),
            lowest_deferred: machine.counts.lowest_deferred,
        }
    }

    fn log_facts(&self, raft: &Status) -> LogFacts {
        LogFacts {
            durable_index: raft.stable.0,
            max_entries: self.observations.max_log_entries,
            snapshot_threshold: self.observations.snapshot_threshold,
            reserve_used: raft.reserve_used,
            disk_full: raft.disk_full,
            snapshot_damaged: raft.snapshot_damaged,
        }
    }

    fn peer_facts(&self, raft: &Status, now: &CounterSample) -> Vec<PeerFacts> {
        let network = self.raft.network();
        let peers = raft.matched.iter().map(|(id, matched)| PeerFacts {
            node_id: id.as_str().to_owned(),
            connected: network
                .as_ref()
                .is_some_and(|network| network.is_connected(id)),
            lag: raft.last.0.saturating_sub(matched.0),
            stalled_ms: millis(self.observations.history.stalled_for(now, id.as_str())),
        });
        peers.collect()
    }

    fn guest_facts(&self, raft: &Status, now: &CounterSample) -> GuestFacts {
        let counts = self.machine.get().counts;
        let pending = self.upgrades.now().pending;
        let upgrade = pending.map(|upgrade| {
            let is_ready =
                |node: &str| matches!(upgrade.reports.get(node), Some(CheckResult::Ready { .. }));
            let voters = raft.voters.iter().map(NodeId::as_str);
            UpgradeFacts {
                sha256: upgrade.sha256.to_string(),
                deadline_ms: upgrade.deadline_ms,
                waits_for: voters
                    .filter(|voter| !is_ready(voter))
                    .map(str::to_owned)
                    .collect(),
            }
        });
        GuestFacts {
            log_time_ms: self.raft.log_time_ms(),
            wake_at_ms: (counts.wake_at_ms != 0).then_some(counts.wake_at_ms),
            deferred: counts.deferred,
            oldest_deferred_ms: millis(self.observations.history.deferred_for(now)),
            upgrade,
        }
    }

    fn disk_facts(&self) -> DiskFacts {
        let directory = &self.observations.directory;
        let (data_dir_present, mode) = directory.look();
        DiskFacts {
            data_dir: directory.path().display().to_string(),
            data_dir_present,
            mode,
            space: process_facts::space(directory.path()).ok(),
        }
    }

    fn access_facts(&self) -> AccessFacts {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let tls = self.tls.as_ref().map(TlsHandle::current);
        AccessFacts {
            connections: self.metrics.open_connections(),
            max_connections: self.http.max_connections.into(),
            encrypted: tls.is_some(),
            loopback_only: self.observations.is_loopback_only,
            certificate_seconds: tls.as_ref().map(|tls| tls.expires_at() - now),
            authority_seconds: tls.as_ref().map(|tls| tls.authorities_expire_at() - now),
        }
    }

    fn level_facts(&self, raft: &Status, status: &NodeStatus) -> LevelFacts {
        let settings = self.machine.settings();
        let differing = settings
            .filter(|_| status.ready)
            .map_or_else(Vec::new, |settings| settings.differences(&self.limits));
        let given = &self.observations.given_limits;
        let recorded = self.machine.operations();
        let recorded = recorded.iter().filter(|operation| {
            let succeeded = operation
                .end
                .as_ref()
                .is_some_and(|end| end.code.is_empty());
            operation.what == BACKUP && succeeded
        });
        let recorded = recorded.map(|operation| operation.begun.time_ms).max();
        LevelFacts {
            level: raft.cluster_level,
            highest_level: CLUSTER_LEVEL,
            differing_flags: differing
                .iter()
                .filter_map(|difference| difference.flag)
                .filter(|flag| given.contains_key(flag))
                .map(|flag| format!("--{flag}"))
                .collect(),
            backed_up_at_ms: recorded.max(self.observations.backed_up_at_ms()),
        }
    }
}
