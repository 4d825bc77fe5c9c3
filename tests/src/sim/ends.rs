//! The driver's ends in a simulation: they only write down what the driver wants done. The world does it later, or
//! crashes first.

use std::collections::{BTreeMap, BTreeSet};

use task_queue_raft::disk::DiskTask;
use task_queue_raft::driver::{Applied, Driver, Ends, Input, MachineTask, SubmitError};
use task_queue_raft::message::{Message, OrderError};
use task_queue_raft::types::{Index, NodeId};

use super::history::OpId;
use super::machine::{SimMachine, Told};

pub(crate) type SimDriver = Driver<SimMachine, SimEnds>;
pub(crate) type SimInput = Input<SimMachine, SimEnds>;
pub(crate) type SimMachineTask = MachineTask<SimMachine, OpId>;

/// Something that the driver wants done.
pub(crate) enum Output {
    Disk(DiskTask),
    Machine(SimMachineTask),
    Send(NodeId, Message),
    Reply(OpId, Result<Applied<Told>, SubmitError>),
    Refuse(OpId, SubmitError),
    Conclude(u64, Result<Index, OrderError>),
}

/// What a turn of the driver has brought, in order.
#[derive(Default)]
pub(crate) struct SimEnds {
    pub(crate) outputs: Vec<Output>,
    pub(crate) wall_ms: u64,
    /// Whom the network knows.
    contacts: BTreeSet<NodeId>,
}

impl Ends<SimMachine> for SimEnds {
    type Waiter = OpId;
    type Asker = OpId;
    type Operator = u64;

    fn disk(&mut self, task: DiskTask) {
        self.outputs.push(Output::Disk(task));
    }

    fn machine(&mut self, task: SimMachineTask) {
        self.outputs.push(Output::Machine(task));
    }

    /// Requests go only to those whom the network was told of; the answer to one goes back where it came from.
    fn send(&mut self, to: &NodeId, message: Message) {
        if matches!(message, Message::Request(_)) && !self.contacts.contains(to) {
            return;
        }
        self.outputs.push(Output::Send(to.clone(), message));
    }

    fn reply(&mut self, waiter: OpId, outcome: Result<Applied<Told>, SubmitError>) {
        self.outputs.push(Output::Reply(waiter, outcome));
    }

    fn refuse(&mut self, asker: OpId, error: SubmitError) {
        self.outputs.push(Output::Refuse(asker, error));
    }

    fn conclude(&mut self, operator: u64, outcome: Result<Index, OrderError>) {
        self.outputs.push(Output::Conclude(operator, outcome));
    }

    fn contacts(&mut self, contacts: BTreeMap<NodeId, String>) {
        self.contacts = contacts.into_keys().collect();
    }

    fn wall_ms(&mut self) -> u64 {
        self.wall_ms
    }
}
