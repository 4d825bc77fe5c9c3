use std::time::Duration;

use crate::disk::DiskTask;
use crate::driver::{
    Applied, Consistency, Driver, DriverLimits, Environment, Input, MachineTask, SubmitError,
};
use crate::ids::{Index, Lineage, LogId, NodeId, Term};
use crate::message::{AdminError, AppendEntries, Message, RaftRequest};
use crate::raft::fault::CoreFault;
use crate::raft::ready::IdentityChange;
use crate::raft::{Core, CoreConfig, Limits};
use crate::state_machine::MemoryStateMachine;
use crate::storage::StoredState;
use bytes::Bytes;

const NOW: Duration = Duration::ZERO;

/// An environment that keeps only the ids of the read-index requests.
#[derive(Default)]
struct ReadIds(Vec<u64>);

impl Environment<MemoryStateMachine> for ReadIds {
    type CommandClient = ();
    type QueryClient = ();
    type Operator = ();

    fn disk(&mut self, _: DiskTask) {}
    fn machine(&mut self, _: MachineTask<MemoryStateMachine, ()>) {}
    fn send(&mut self, _: &NodeId, message: Message) {
        if let Message::Request(RaftRequest::ReadIndex(read)) = message {
            self.0.push(read.id);
        }
    }
    fn reply(&mut self, (): (), _: Result<Applied<Bytes>, SubmitError>) {}
    fn reject_query(&mut self, (): (), _: SubmitError) {}
    fn complete(&mut self, (): (), _: Result<Index, AdminError>) {}
    fn set_identity(&mut self, _: IdentityChange) {}

    fn fail(&mut self, fault: CoreFault) {
        panic!("{fault}");
    }

    fn set_peers(&mut self, _: std::collections::BTreeMap<NodeId, String>) {}
    fn wall_ms(&mut self) -> u64 {
        0
    }
}

/// A follower of `b`, in a run of its own.
fn follower(session: u64) -> Driver<MemoryStateMachine, ReadIds> {
    let config = CoreConfig {
        id: "a".into(),
        voters: ["a", "b"].map(NodeId::from).into(),
        addresses: std::collections::BTreeMap::new(),
        election_timeout_min: Duration::from_millis(1000),
        election_timeout_max: Duration::from_millis(2000),
        heartbeat_interval: Duration::from_millis(300),
        max_log_entries: 100,
        snapshot_threshold: 10,
        lease_drift_percent: None,
        max_clock_skew: None,
        limits: Limits::default(),
        seed: 1,
        initial_settings: Bytes::new(),
        known_level: 0,
        new_lineage: Lineage::NONE,
    };
    let core = Core::new(config, &StoredState::default(), None, 0, NOW);
    let mut driver = Driver::new(core, ReadIds::default(), DriverLimits::default(), session);
    let heartbeat = RaftRequest::AppendEntries(AppendEntries {
        term: Term(1),
        leader_id: "b".into(),
        previous: LogId::default(),
        entries: Vec::new(),
        leader_commit: Index::ZERO,
        round: 1,
    });
    driver.handle(NOW, Input::Message("b".into(), Message::Request(heartbeat)));
    driver
}

fn requested_ids(session: u64) -> Vec<u64> {
    let mut driver = follower(session);
    for query in 0..2 {
        let (consistency, deadline) = (Consistency::Linearizable, Duration::from_secs(9));
        driver.handle(
            NOW,
            Input::Query {
                query,
                consistency,
                deadline,
                client: (),
            },
        );
    }
    driver.turn();
    driver.env().0.clone()
}

#[test]
fn a_response_to_an_earlier_run_confirms_no_query_of_this_run() {
    let (former, this) = (requested_ids(0x51), requested_ids(u64::MAX));
    assert_eq!((former.len(), this.len()), (2, 2));
    assert!(
        this.iter().all(|number| !former.contains(number)),
        "{former:?} {this:?}"
    );
}
