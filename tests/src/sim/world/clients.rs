//! Clients: each does one thing after another, at one node for a while and then at another.

use task_queue_raft::driver::{Consistency, Input, SubmitError};

use super::{Event, World};
use crate::sim::history::{Kind, OpId, Outcome};
use crate::sim::machine::command_of;
use crate::sim::planted::Planted;

/// After so many operations in a run, clients take their time: what happens then is no longer new.
const MANY: usize = 1500;

/// A client between two operations or in one.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    home: usize,
}

impl World {
    /// A client begins its next operation.
    pub(super) fn client_acts(&mut self, client: usize) {
        if self.calm {
            return;
        }
        if self.client_rng.chance(200) {
            self.clients[client].home = self.client_rng.place(self.nodes.len());
        }
        let node = self.clients[client].home;
        if self.nodes[node].live.is_none() {
            // Connection refused: it looks for another.
            self.clients[client].home = self.client_rng.place(self.nodes.len());
            let pause = self.client_rng.millis(5, 50);
            return self.schedule(pause, Event::Client { client });
        }
        let kind = match self.client_rng.below(1000) {
            draw if draw >= self.profile.reads_per_mille => Kind::Append,
            _ if self.client_rng.chance(200) => Kind::StaleRead,
            _ => Kind::Read,
        };
        let patience = self.client_rng.pick(&[50, 400, 3000]);
        let forward = self.client_rng.chance(900);
        self.begin(client, node, kind, patience, forward);
    }

    pub(super) fn begin(
        &mut self,
        client: usize,
        node: usize,
        kind: Kind,
        patience_ms: u64,
        forward: bool,
    ) -> OpId {
        let op = self.history.begin(self.now, kind, client, node);
        let end = self.now + std::time::Duration::from_millis(patience_ms);
        let deadline = self.nodes[node].clock(end);
        self.trace.note(self.now, node, op, || {
            format!("op {op}: {kind:?} of client {client}, until {deadline:?}")
        });
        let consistency = match kind {
            Kind::Read if self.planted != Some(Planted::ReadsAreStale) => Consistency::Linearizable,
            _ => Consistency::Stale,
        };
        let input = match kind {
            Kind::Append => {
                let padding = self
                    .client_rng
                    .place(usize::try_from(self.profile.padding_max).unwrap_or(0) + 1);
                Input::Propose {
                    data: command_of(op, padding),
                    deadline,
                    forward,
                    waiter: op,
                }
            }
            Kind::Read | Kind::StaleRead => Input::Query {
                query: (),
                consistency,
                deadline,
                asker: op,
            },
        };
        self.put(node, input);
        op
    }

    /// An operation ends.
    pub(super) fn client_hears(&mut self, op: OpId, outcome: Result<Outcome, SubmitError>) {
        let liar = self.planted == Some(Planted::TimeoutToldAsRefusal);
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(SubmitError::TimedOut) if liar => Outcome::Refused,
            Err(SubmitError::TimedOut | SubmitError::Stopped) => Outcome::Unknown,
            Err(
                SubmitError::NotLeader { .. }
                | SubmitError::NoLeader
                | SubmitError::Overloaded { .. }
                | SubmitError::DiskFull
                | SubmitError::TooLarge { .. },
            ) => Outcome::Refused,
        };
        self.end(op, outcome);
    }

    /// The node is gone, and with it every connection.
    pub(super) fn clients_lose(&mut self, node: usize) {
        let lost: Vec<OpId> = self
            .history
            .open()
            .filter(|(_, op)| op.node == node)
            .map(|(id, _)| id)
            .collect();
        for op in lost {
            self.end(op, Outcome::Unknown);
        }
    }

    fn end(&mut self, id: OpId, outcome: Outcome) {
        let Some(op) = self.history.end(self.now, id, outcome) else {
            return;
        };
        self.trace.note(self.now, op.node, id, || {
            format!("op {id} ends: {outcome:?}")
        });
        if !self.calm {
            let tired = if self.history.len() > MANY { 100 } else { 0 };
            let pause = self
                .client_rng
                .millis(tired, self.profile.think_max_ms.max(tired));
            self.schedule(pause, Event::Client { client: op.client });
        }
    }
}
