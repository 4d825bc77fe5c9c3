//! Clients: each sends one request after another, to one node for some time and then to another. A command with an
//! idempotency key is sent again to another node if it had no outcome.

use std::time::Duration;

use bytes::Bytes;
use task_queue_raft::driver::{Consistency, Input, SubmitError};

use super::{Event, World};
use crate::sim::history::{Kind, OpId, Outcome};
use crate::sim::machine::{Deed, MachineKind, REGISTERS};
use crate::sim::planted::Planted;

/// After so many operations in a run, clients take their time: what happens then is no longer new.
const MANY: usize = 1500;
/// Most attempts of a client for one command.
const RETRIES: u32 = 4;
/// Where an operation is while its client has no connection.
const NOWHERE: usize = usize::MAX;

/// A client between two operations or in one.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    home: usize,
    /// What it saw last in each register.
    seen: [Option<OpId>; REGISTERS as usize],
}

/// How a request is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    timeout_ms: u64,
    /// The node may hand it to the leader.
    forward: bool,
    register: u8,
    /// Under an idempotency key.
    keyed: bool,
    expect: Option<Option<OpId>>,
    /// With bytes that mean nothing; then it may be larger than the cluster's limit.
    padded: bool,
}

impl Asking {
    /// As simple as can be.
    pub(super) fn probe(timeout_ms: u64) -> Self {
        Self {
            timeout_ms,
            forward: true,
            register: 0,
            keyed: false,
            expect: None,
            padded: false,
        }
    }
}

/// A command that may be sent again.
#[derive(Clone, Debug)]
pub(super) struct Retry {
    data: Bytes,
    asking: Asking,
    left: u32,
    /// An earlier try had no known outcome, so a later refusal proves nothing.
    doubtful: bool,
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
        let asking = self.think(client);
        self.begin(client, node, kind, asking);
    }

    fn think(&mut self, client: usize) -> Asking {
        let rng = &mut self.client_rng;
        let mut asking = Asking {
            timeout_ms: rng.pick(&[50, 400, 3000]),
            forward: rng.chance(900),
            register: 0,
            keyed: false,
            expect: None,
            padded: true,
        };
        if self.profile.machine == MachineKind::Guest {
            let register = rng.place(REGISTERS.into());
            asking.register = u8::try_from(register).unwrap_or(0);
            asking.keyed = rng.chance(self.profile.keyed_per_mille);
            let swaps = rng.chance(300);
            asking.expect = swaps.then(|| self.clients[client].seen[register]);
        }
        asking
    }

    pub(super) fn begin(&mut self, client: usize, node: usize, kind: Kind, asking: Asking) -> OpId {
        let op = self
            .history
            .begin_on(asking.register, self.now, kind, client, node);
        self.trace.note(self.now, node, op, || {
            format!("op {op}: {kind:?} of client {client}, {asking:?}")
        });
        let consistency = match kind {
            Kind::Append => return self.command(op, node, asking),
            Kind::Read if self.planted != Some(Planted::ReadsAreStale) => Consistency::Linearizable,
            _ => Consistency::Stale,
        };
        self.enter_gate(node, op, false);
        let input = Input::Query {
            query: asking.register,
            consistency,
            deadline: self.deadline(node, asking),
            client: op,
        };
        self.put(node, input);
        op
    }

    /// When the client stops waiting, by the node's clock.
    fn deadline(&self, node: usize, asking: Asking) -> Duration {
        let end = self.now + Duration::from_millis(asking.timeout_ms);
        self.nodes[node].clock(end)
    }

    fn command(&mut self, op: OpId, node: usize, asking: Asking) -> OpId {
        let longest = if asking.padded {
            usize::try_from(self.profile.padding_max).unwrap_or(0)
        } else {
            0
        };
        let padding = self.client_rng.place(longest + 1);
        let deed = Deed {
            number: op,
            register: asking.register,
            keyed: asking.keyed,
            expect: asking.expect,
            bytes: 0,
        };
        let data = self.profile.machine.write(&deed, padding);
        if asking.keyed {
            let retry = Retry {
                data: data.clone(),
                asking,
                left: RETRIES,
                doubtful: false,
            };
            self.retries.insert(op, retry);
        }
        self.propose(op, node, data, asking);
        op
    }

    fn propose(&mut self, op: OpId, node: usize, data: Bytes, asking: Asking) {
        if self.enter_gate(node, op, true) {
            return self.end(op, Outcome::Refused);
        }
        let again = data.clone();
        let input = Input::Propose {
            data,
            deadline: self.deadline(node, asking),
            forward: asking.forward,
            client: op,
        };
        if self.planted == Some(Planted::CommandSentTwice) && op % 16 == 7 {
            self.put(
                node,
                Input::Propose {
                    data: again,
                    deadline: self.deadline(node, asking),
                    forward: asking.forward,
                    client: op,
                },
            );
        }
        self.put(node, input);
    }

    /// An operation ends, or is begun again.
    pub(super) fn client_hears(&mut self, op: OpId, outcome: Result<Outcome, SubmitError>) {
        let liar = self.planted == Some(Planted::TimeoutToldAsRefusal);
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(SubmitError::TimedOut) if liar => Outcome::Refused,
            Err(SubmitError::TimedOut | SubmitError::OutcomeLost | SubmitError::Stopped) => {
                Outcome::Unknown
            }
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

    /// The node has crashed, so every connection to it is lost.
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

    /// Whether the client takes a command without an outcome to another node, later.
    fn comes_again(&mut self, id: OpId, outcome: Outcome) -> bool {
        let open = self
            .history
            .get(id)
            .is_some_and(|op| op.outcome == Outcome::Open);
        let Some(retry) = self.retries.get_mut(&id).filter(|_| open) else {
            return false;
        };
        retry.doubtful |= outcome == Outcome::Unknown;
        if self.calm || retry.left == 0 {
            return false;
        }
        retry.left -= 1;
        self.history.ask_again(id, NOWHERE);
        let pause = self.client_rng.millis(1, 200);
        self.schedule(pause, Event::Again { op: id });
        true
    }

    /// A client takes a command to some node once more.
    pub(super) fn ask_again(&mut self, id: OpId) {
        let node = self.client_rng.place(self.nodes.len());
        let Some(retry) = self.retries.get(&id).cloned() else {
            return;
        };
        if self.calm || self.nodes[node].live.is_none() {
            return self.end(id, Outcome::Refused);
        }
        self.coverage.retries += 1;
        self.history.ask_again(id, node);
        self.trace
            .note(self.now, node, id, || format!("op {id} comes again"));
        self.propose(id, node, retry.data, retry.asking);
    }

    fn end(&mut self, id: OpId, outcome: Outcome) {
        if matches!(outcome, Outcome::Unknown | Outcome::Refused) && self.comes_again(id, outcome) {
            return;
        }
        let doubtful = self.retries.remove(&id).is_some_and(|retry| retry.doubtful);
        let outcome = if doubtful && outcome == Outcome::Refused {
            Outcome::Unknown
        } else {
            outcome
        };
        self.gates.remove(&id);
        let Some(op) = self.history.end(self.now, id, outcome) else {
            return;
        };
        let node = if op.node == NOWHERE { 0 } else { op.node };
        self.trace
            .note(self.now, node, id, || format!("op {id} ends: {outcome:?}"));
        if self.calm {
            return;
        }
        let seen = match outcome {
            Outcome::Replaced(_) => Some(Some(id)),
            Outcome::Kept(found) | Outcome::Found(found) => Some(found),
            _ => None,
        };
        if op.client >= self.clients.len() {
            return;
        }
        if let Some(seen) = seen {
            self.clients[op.client].seen[usize::from(op.register)] = seen;
        }
        let tired = if self.history.len() > MANY { 100 } else { 0 };
        let pause = self
            .client_rng
            .millis(tired, self.profile.think_max_ms.max(tired));
        self.schedule(pause, Event::Client { client: op.client });
    }
}
