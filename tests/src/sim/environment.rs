//! The environment of a driver in a simulation. It only records the driver's requests. The world executes them later, or the
//! node crashes before.

use std::collections::{BTreeMap, BTreeSet};

use task_queue_raft::disk::DiskTask;
use task_queue_raft::driver::{Applied, Driver, Environment, Input, MachineTask, SubmitError};
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::message::{AdminError, Message};
use task_queue_raft::raft::fault::CoreFault;
use task_queue_raft::raft::ready::IdentityChange;

use super::history::OpId;
use super::machine::{SimMachine, Told};

pub(crate) type SimDriver = Driver<SimMachine, SimEnvironment>;
pub(crate) type SimInput = Input<SimMachine, SimEnvironment>;
pub(crate) type SimMachineTask = MachineTask<SimMachine, OpId>;

/// Something that the driver wants done.
pub(crate) enum Output {
    Disk(DiskTask),
    Machine(SimMachineTask),
    Send(NodeId, Message),
    Reply(OpId, Result<Applied<Told>, SubmitError>),
    Refuse(OpId, SubmitError),
    Conclude(u64, Result<Index, AdminError>),
    /// The core has stopped.
    Fault(CoreFault),
}

/// What a turn of the driver has brought, in order.
#[derive(Default)]
pub(crate) struct SimEnvironment {
    pub(crate) outputs: Vec<Output>,
    pub(crate) wall_ms: u64,
    /// Whom the network knows.
    contacts: BTreeSet<NodeId>,
}

impl Environment<SimMachine> for SimEnvironment {
    type CommandClient = OpId;
    type QueryClient = OpId;
    type Operator = u64;

    fn disk(&mut self, task: DiskTask) {
        self.outputs.push(Output::Disk(task));
    }

    fn machine(&mut self, task: SimMachineTask) {
        self.outputs.push(Output::Machine(task));
    }

    /// Requests are sent only to the peers that were given to the network; a response is sent to the origin of its request.
    fn send(&mut self, to: &NodeId, message: Message) {
        if matches!(message, Message::Request(_)) && !self.contacts.contains(to) {
            return;
        }
        self.outputs.push(Output::Send(to.clone(), message));
    }

    fn reply(&mut self, client: OpId, outcome: Result<Applied<Told>, SubmitError>) {
        self.outputs.push(Output::Reply(client, outcome));
    }

    fn reject_query(&mut self, client: OpId, error: SubmitError) {
        self.outputs.push(Output::Refuse(client, error));
    }

    fn complete(&mut self, operator: u64, outcome: Result<Index, AdminError>) {
        self.outputs.push(Output::Conclude(operator, outcome));
    }

    fn set_peers(&mut self, contacts: BTreeMap<NodeId, String>) {
        self.contacts = contacts.into_keys().collect();
    }

    /// The world gives each message the identity that its sender has.
    fn set_identity(&mut self, _: IdentityChange) {}

    fn fail(&mut self, fault: CoreFault) {
        self.outputs.push(Output::Fault(fault));
    }

    fn wall_ms(&mut self) -> u64 {
        self.wall_ms
    }
}
