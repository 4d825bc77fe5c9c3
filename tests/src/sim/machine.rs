//! The state machines of the simulation: a list in plain Rust, and the guest `clockwork` as the product runs it.
//!
//! Both are registers whose writes form a chain. The list is one register: a command appends its number and returns its
//! place. In the guest each key is a register: a command puts its number and returns the number that it replaced. So the
//! replies to commands and queries show the order in which everything took effect.

mod guest;
mod list;
mod modules;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use oarlock_wasm::{CommandOutcome, MachineLimits, WasmMachine};
use task_queue_raft::entry::CommandClass;
use task_queue_raft::state_machine::{MachineError, Moment, ReplicatedStateMachine};

pub(crate) use guest::{COMMAND_BYTES, GuestMachine, REGISTERS, alarm_command, limits};
pub(crate) use list::ListMachine;
pub(crate) use modules::Upgrade;

use super::history::OpId;
use super::planted::Planted;
use super::trace::Hash;

/// A fingerprint of a state: how much is in it, and a hash of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) length: u64,
    pub(crate) hash: Hash,
    /// Of the state as the guest writes it; 0: not known.
    pub(crate) digest: u64,
    /// When the guest wants to be woken, in milliseconds of replicated time; 0: never.
    pub(crate) wake_at_ms: u64,
}

impl View {
    pub(crate) fn push(&mut self, number: u64) {
        self.length += 1;
        self.hash.number(number);
    }

    /// Whether the states are equal, as far as is known of both.
    pub(crate) fn agrees(self, other: Self) -> bool {
        let known = self.digest != 0 && other.digest != 0;
        (self.length, self.hash, self.wake_at_ms) == (other.length, other.hash, other.wake_at_ms)
            && (!known || self.digest == other.digest)
    }
}

/// Corrupts the memory of guests in a run.
#[derive(Debug, Default)]
pub(crate) struct GuestLever {
    /// A state was corrupted in the run.
    is_suspicious: AtomicBool,
    /// The nodes whose next command is corrupted: a bit for each.
    next: AtomicU64,
}

impl GuestLever {
    /// For a machine that is right: its state is compared with others in any case, also after entries that it has taken before the
    /// first corruption.
    pub(crate) fn of_reference() -> Self {
        let lever = Self::default();
        lever.is_suspicious.store(true, Ordering::Relaxed);
        lever
    }

    /// Corrupts the next command that the node applies.
    pub(crate) fn corrupt(&self, node: usize) {
        self.is_suspicious.store(true, Ordering::Relaxed);
        self.next.fetch_or(1 << node, Ordering::Relaxed);
    }

    /// Whether a node has been corrupted, or will be.
    pub(crate) fn is_suspicious(&self) -> bool {
        self.is_suspicious.load(Ordering::Relaxed)
    }

    /// Whether a corruption has not happened yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.next.load(Ordering::Relaxed) != 0
    }

    fn is_next(&self, node: usize) -> bool {
        let bit = 1_u64.checked_shl(u32::try_from(node).unwrap_or(u32::MAX));
        bit.is_some_and(|bit| self.next.load(Ordering::Relaxed) & bit != 0)
    }

    /// The corruption of the node has happened.
    fn release(&self, node: usize) {
        self.next.fetch_and(!(1 << node), Ordering::Relaxed);
    }
}

/// What a machine is made with.
#[derive(Clone, Debug)]
pub(crate) struct MachineSetup {
    pub(crate) kind: MachineKind,
    pub(crate) node: usize,
    pub(crate) planted: Option<Planted>,
    /// Limits of the guest, as the node's flags have them.
    pub(crate) limits: MachineLimits,
    pub(crate) lever: Arc<GuestLever>,
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
    /// Size of what the guest gets; 0 before the command is made.
    pub(crate) bytes: u64,
}

/// What a command is to do with alarms of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AlarmDeed {
    /// Sets one.
    Set {
        name: String,
        delay_ms: u64,
        /// Size of what the guest gets.
        bytes: u64,
    },
    /// Wakes the guest, if it is time.
    Ring,
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
                bytes: 0,
            }),
            Self::Guest => guest::deed_of(command),
        }
    }

    /// The new values, if the command changes settings.
    pub(crate) fn change_in(self, command: &Bytes) -> Option<BTreeMap<String, u64>> {
        match self {
            Self::List => None,
            Self::Guest => guest::change_of(command),
        }
    }

    /// What the command has to do with alarms of the guest.
    pub(crate) fn alarm_in(self, command: &Bytes) -> Option<AlarmDeed> {
        match self {
            Self::List => None,
            Self::Guest => guest::alarm_of(command),
        }
    }

    /// The limit on the size of commands in the settings that a cluster begins with.
    pub(crate) fn command_bytes_of(self, settings: &[u8]) -> Option<u64> {
        match self {
            Self::List => None,
            Self::Guest => guest::command_bytes_of(settings),
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
    /// The guest did not get it: it is larger than a setting allows.
    TooLarge,
    /// It is a record of the host.
    Record(Box<CommandOutcome>),
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
    pub(crate) fn new(setup: MachineSetup) -> Self {
        match setup.kind {
            MachineKind::List => Self::List(ListMachine::new(setup.node, setup.planted)),
            MachineKind::Guest => Self::Guest(Box::new(GuestMachine::new(setup))),
        }
    }

    /// The guest; none in a run of the list.
    pub(crate) fn guest(&self) -> Option<&GuestMachine> {
        match self {
            Self::List(_) => None,
            Self::Guest(guest) => Some(guest),
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

    /// The number of a command to the list begins with a byte that is the version of no record.
    fn class_of(command: &Bytes) -> CommandClass {
        WasmMachine::class_of(command)
    }

    fn configure(&mut self, at: Moment, level: u32, settings: &Bytes) -> Result<(), MachineError> {
        match self {
            Self::List(_) => Ok(()),
            Self::Guest(guest) => guest.configure(at, level, settings),
        }
    }

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
