//! The state machines of the simulation: a list in plain Rust, and the example guest `kv` as the product runs it.
//!
//! Both are registers whose writes form a chain. The list is one register: a command appends its number and returns its
//! place. In the guest each key is a register: a command puts its number and returns the number that it replaced. So the
//! replies to commands and queries show the order in which everything took effect.

mod guest;
mod list;

use std::io::{Read, Write};

use bytes::Bytes;
use task_queue_raft::state_machine::{MachineError, Moment, ReplicatedStateMachine};

pub(crate) use guest::{GuestMachine, REGISTERS};
pub(crate) use list::ListMachine;

use super::history::OpId;
use super::planted::Planted;
use super::trace::Hash;

/// A fingerprint of a state: how much is in it, and a hash of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) length: u64,
    pub(crate) hash: Hash,
}

impl View {
    pub(crate) fn push(&mut self, number: u64) {
        self.length += 1;
        self.hash.number(number);
    }
}

/// The machine of the nodes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MachineKind {
    List,
    Guest,
}

/// What a command is to do: set its register to its number. For the list, that is to append it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) number: OpId,
    pub(crate) register: u8,
    /// It has an idempotency key, so it may be sent again.
    pub(crate) keyed: bool,
    /// Only if the register contains this number; `Some(None)`: only if it is empty.
    pub(crate) expect: Option<Option<OpId>>,
}

impl MachineKind {
    /// The bytes of a command, made longer by so many that mean nothing.
    pub(crate) fn write(self, deed: &Deed, padding: usize) -> Bytes {
        match self {
            Self::List => list::command_of(deed.number, padding),
            Self::Guest => guest::command_of(deed, padding),
        }
    }

    /// What the bytes of a command are to do.
    pub(crate) fn read(self, command: &Bytes) -> Option<Deed> {
        match self {
            Self::List => Some(Deed {
                number: list::number_of(command),
                register: 0,
                keyed: false,
                expect: None,
            }),
            Self::Guest => guest::deed_of(command),
        }
    }

    /// How many registers there are.
    pub(crate) fn registers(self) -> u8 {
        match self {
            Self::List => 1,
            Self::Guest => REGISTERS,
        }
    }
}

/// A client's view of its command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is at this place of the list.
    Place(u64),
    /// It is in its register, and replaced this value.
    Replaced(Option<OpId>),
    /// It found this value, which it did not expect.
    Kept(Option<OpId>),
    /// The machine failed at it, or returned something impossible.
    Nonsense(String),
}

/// A client's view of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) view: View,
    /// The value of the requested register; the list has none.
    pub(crate) register: Option<Result<Option<OpId>, String>>,
}

/// The machine of a simulated node.
pub(crate) enum SimMachine {
    List(ListMachine),
    Guest(Box<GuestMachine>),
}

impl SimMachine {
    pub(crate) fn new(
        kind: MachineKind,
        node: usize,
        planted: Option<Planted>,
        keys_expire: bool,
    ) -> Self {
        match kind {
            MachineKind::List => Self::List(ListMachine::new(node, planted)),
            MachineKind::Guest => {
                Self::Guest(Box::new(GuestMachine::new(node, planted, keys_expire)))
            }
        }
    }

    pub(crate) fn view(&self) -> View {
        match self {
            Self::List(list) => list.view(),
            Self::Guest(guest) => guest.view(),
        }
    }
}

impl ReplicatedStateMachine for SimMachine {
    type Reply = Told;
    /// A register.
    type Query = u8;
    type Response = Seen;

    fn apply(&mut self, at: Moment, commands: &[Bytes]) -> Result<Vec<Told>, MachineError> {
        match self {
            Self::List(list) => Ok(list.apply(commands)),
            Self::Guest(guest) => guest.apply(at, commands),
        }
    }

    fn query(&mut self, at: Moment, register: u8) -> Seen {
        let found = match self {
            Self::List(_) => None,
            Self::Guest(guest) => Some(guest.get(at, register)),
        };
        Seen {
            view: self.view(),
            register: found,
        }
    }

    fn snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineError> {
        match self {
            Self::List(list) => list.snapshot(to),
            Self::Guest(guest) => guest.snapshot(to),
        }
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), MachineError> {
        match self {
            Self::List(list) => list.restore(from),
            Self::Guest(guest) => guest.restore(from),
        }
    }
}
