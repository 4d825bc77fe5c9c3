//! The guest `clockwork`, as the product runs it: compiled from its wasm, in the machine that keeps idempotency keys,
//! wake-ups and the running hash.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use bytes::Bytes;
use oarlock_wasm::{
    AbortCause, CommandOutcome, Envelope, GuestFailure, MachineLimits, ReplicatedSettings,
    SettingsOutcome, Sha256, StatusHandle, UpgradeEnd, UpgradeRecord, WasmMachine,
};
use serde_json::{Value, json};
use task_queue_raft::state_machine::{MachineError, Moment, ReplicatedStateMachine};

use super::{AlarmDeed, Deed, MachineSetup, Told, View, modules};
use crate::sim::history::OpId;
use crate::sim::planted::Planted;
use crate::sim::trace::Hash;

/// Keys of the guest that clients use: few, so that they meet.
pub(crate) const REGISTERS: u8 = 3;

/// How long an idempotency key is kept.
const KEY_TTL_MS: u64 = 600_000;
/// With the planted fault, each entry lets so much time pass in the machine.
const FAST_MS: u64 = 60_000;
/// With the planted fault, wake-ups come by so much too early.
const EARLY_MS: u64 = 1000;

/// The limits that a node is started with. `command_bytes`: those of its flag.
pub(crate) fn limits(keys_expire: bool, command_bytes: Option<u64>) -> MachineLimits {
    let limits = modules::limits();
    MachineLimits {
        // Longer than a run and its retries. Some clocks of the simulation jump by more.
        key_ttl_ms: if keys_expire {
            KEY_TTL_MS
        } else {
            u64::MAX / 4
        },
        command_bytes: command_bytes.unwrap_or(limits.command_bytes),
        ..limits
    }
}

/// A put, or a compare-and-swap, of the deed's number. White space behind it makes it longer.
pub(super) fn command_of(deed: &Deed, padding: usize) -> Bytes {
    let (key, value) = (name_of(deed.register), deed.number.to_string());
    let body = match deed.expect {
        None => json!({"put": {"key": key, "value": value}}),
        Some(expect) => {
            let expect = expect.map(|number| number.to_string());
            json!({"cas": {"key": key, "expect": expect, "value": value}})
        }
    };
    let body = format!("{body}{}", " ".repeat(padding));
    let key = deed.keyed.then(|| format!("op-{}", deed.number));
    Envelope::command(key.as_deref(), body.as_bytes())
        .unwrap_or_else(|error| panic!("a short key: {error}"))
}

fn name_of(register: u8) -> String {
    format!("register-{register}")
}

pub(super) fn deed_of(command: &Bytes) -> Option<Deed> {
    let Ok(Envelope::Command { key, body, .. }) = Envelope::decode(command) else {
        return None;
    };
    let body_bytes = body.len();
    let body: Value = serde_json::from_slice(&body).ok()?;
    let (inner, expect) = match (body.get("put"), body.get("cas")) {
        (Some(put), _) => (put, None),
        (_, Some(cas)) => (cas, Some(number_in(cas.get("expect")?)?)),
        _ => return None,
    };
    let register = inner.get("key")?.as_str()?.strip_prefix("register-")?;
    let bytes = body_bytes as u64;
    Some(Deed {
        bytes,
        number: number_in(inner.get("value")?)??,
        register: register.parse().ok()?,
        keyed: key.is_some(),
        expect,
    })
}

/// A command that sets an alarm. `number`: no other alarm of the run has it.
pub(crate) fn alarm_command(number: u64, delay_ms: u64) -> Bytes {
    let body = json!({"alarm": {"name": format!("alarm-{number}"), "delay_ms": delay_ms}});
    Envelope::command(None, body.to_string().as_bytes())
        .unwrap_or_else(|error| panic!("no key: {error}"))
}

/// What a command has to do with alarms.
pub(super) fn alarm_of(command: &Bytes) -> Option<AlarmDeed> {
    match Envelope::decode(command) {
        Ok(Envelope::Wake) => Some(AlarmDeed::Ring),
        Ok(Envelope::Command { body, .. }) => {
            let value: Value = serde_json::from_slice(&body).ok()?;
            let alarm = value.get("alarm")?;
            Some(AlarmDeed::Set {
                name: alarm.get("name")?.as_str()?.to_owned(),
                delay_ms: alarm.get("delay_ms")?.as_u64()?,
                bytes: body.len() as u64,
            })
        }
        _ => None,
    }
}

/// The number that a value of the guest is; none for `null`.
fn number_in(value: &Value) -> Option<Option<OpId>> {
    match value {
        Value::Null => Some(None),
        value => Some(Some(value.as_str()?.parse().ok()?)),
    }
}

/// The new values of a change of the settings.
pub(super) fn change_of(command: &Bytes) -> Option<BTreeMap<String, u64>> {
    match Envelope::decode(command) {
        Ok(Envelope::Settings(change)) => Some(change.values),
        _ => None,
    }
}

/// The limit on the size of commands in settings of a cluster.
pub(super) fn command_bytes_of(settings: &[u8]) -> Option<u64> {
    let settings = ReplicatedSettings::decode(settings).ok()?;
    settings.values().get(COMMAND_BYTES).copied()
}

/// Name of the setting.
pub(crate) const COMMAND_BYTES: &str = "command_bytes";

/// A guest with what the product puts around it.
pub(crate) struct GuestMachine {
    machine: WasmMachine,
    status: StatusHandle,
    setup: MachineSetup,
    /// It has restored a snapshot.
    restored: bool,
    /// Module and settings, which the state hash does not cover.
    rules: Hash,
    /// The state as the guest writes it, while it is wanted.
    digest: u64,
}

impl GuestMachine {
    pub(super) fn new(setup: MachineSetup) -> Self {
        let machine = WasmMachine::new(modules::clockwork(), setup.limits, None);
        let machine = machine.unwrap_or_else(|error| panic!("{error}"));
        let mut guest = Self {
            status: machine.status(),
            machine: machine.following_the_log(),
            setup,
            restored: false,
            rules: Hash::default(),
            digest: 0,
        };
        guest.note_rules();
        guest
    }

    /// What other parts of the node see of it.
    pub(crate) fn status(&self) -> &StatusHandle {
        &self.status
    }

    pub(crate) fn state_hash(&self) -> Sha256 {
        self.machine.state_hash()
    }

    /// The running hash represents the whole state, except module and settings.
    pub(super) fn view(&self) -> View {
        let hash = self.machine.state_hash().0;
        let first = hash
            .first_chunk()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let mut hash = Hash(first);
        hash.number(self.rules.0);
        View {
            length: 0,
            hash,
            digest: self.digest,
            wake_at_ms: self.status.get().counts.wake_at_ms,
        }
    }

    fn note_rules(&mut self) {
        let mut hash = Hash::default();
        hash.bytes(&self.machine.module().sha256().0);
        if let Some(settings) = self.status.settings() {
            hash.number(settings.semantics().version().into());
            for (name, value) in settings.values() {
                hash.bytes(name.as_bytes());
                hash.number(value);
            }
        }
        self.rules = hash;
    }

    /// Where a state has been corrupted in the run, each state is compared as the guest writes it as well.
    fn note_digest(&mut self) -> Result<(), MachineError> {
        if self.setup.lever.is_suspicious() {
            let digest = self.machine.guest_digest();
            let digest = digest.map_err(|error| MachineError::Failed(Box::new(error)))?;
            let first = digest.0.first_chunk();
            self.digest = first.map_or(0, |bytes| u64::from_be_bytes(*bytes)) | 1;
        }
        Ok(())
    }

    pub(super) fn apply(
        &mut self,
        at: Moment,
        commands: &[Bytes],
    ) -> Result<Vec<Told>, MachineError> {
        let at = self.time_of(at, commands);
        let altered: Vec<Bytes> = commands
            .iter()
            .map(|command| self.altered(command))
            .collect();
        let outcomes = self.machine.apply(at, &altered)?;
        if outcomes.iter().any(changes_rules) {
            self.note_rules();
        }
        self.note_digest()?;
        let told = commands.iter().zip(&outcomes);
        Ok(told
            .map(|(command, outcome)| tell(command, outcome))
            .collect())
    }

    /// What the machine gets of a command: itself, unless a fault is planted or its memory is corrupt.
    fn altered(&self, command: &Bytes) -> Bytes {
        if self.forgets_keys() {
            return without_key(command);
        }
        if self.setup.lever.is_next(self.setup.node)
            && let Some(corrupt) = corrupted(command, self.setup.node)
        {
            self.setup.lever.release(self.setup.node);
            return corrupt;
        }
        if self.setup.planted.is_none() {
            return command.clone();
        }
        match (self.setup.planted, Envelope::decode(command)) {
            (
                Some(Planted::OneNodeKeepsItsModule),
                Ok(Envelope::Upgrade(UpgradeRecord::Activate { upgrade, .. })),
            ) if self.setup.node == 1 => Envelope::upgrade(&UpgradeRecord::Close {
                upgrade,
                end: UpgradeEnd::because(AbortCause::TimedOut),
            }),
            (Some(Planted::OneNodeMissesSettings), Ok(Envelope::Settings(mut change)))
                if self.setup.node == 1 =>
            {
                change.values.insert(COMMAND_BYTES.to_owned(), 1 << 19);
                Envelope::settings(&change)
            }
            _ => command.clone(),
        }
    }

    pub(super) fn configure(
        &mut self,
        at: Moment,
        level: u32,
        settings: &Bytes,
    ) -> Result<(), MachineError> {
        let own = self.setup.planted == Some(Planted::SettingsFromFlags) && self.setup.node == 1;
        let settings = if own && !settings.is_empty() {
            &ReplicatedSettings::proposed(&self.setup.limits).encode()
        } else {
            settings
        };
        self.machine.configure(at, level, settings)?;
        self.note_rules();
        self.note_digest()
    }

    /// The machine's time: that of the log, unless a fault is planted.
    fn time_of(&self, at: Moment, commands: &[Bytes]) -> Moment {
        let wakes = || {
            let mut deeds = commands.iter().filter_map(alarm_of);
            deeds.any(|deed| matches!(deed, AlarmDeed::Ring))
        };
        let ahead = match self.setup.planted {
            Some(Planted::KeysExpireEarly) => at.index.0 * FAST_MS,
            Some(Planted::WakesEarly) if wakes() => EARLY_MS,
            _ => 0,
        };
        Moment {
            time_ms: at.time_ms + ahead,
            ..at
        }
    }

    /// Whether a command that comes again is new to it: no, unless a fault is planted.
    fn forgets_keys(&self) -> bool {
        match self.setup.planted {
            Some(Planted::KeysForgotten) => true,
            Some(Planted::OneNodeForgetsKeys) => self.setup.node == 1,
            Some(Planted::RestoreForgetsKeys) => self.restored,
            _ => false,
        }
    }

    pub(super) fn get(&mut self, at: Moment, register: u8) -> Result<Option<OpId>, String> {
        let query = json!({"get": {"key": name_of(register)}}).to_string();
        let answer = self.machine.query(at, Bytes::from(query).into());
        let answer = answer.map_err(|error| error.to_string())?;
        let found: Option<Value> = serde_json::from_slice(&answer).ok();
        found
            .as_ref()
            .and_then(|answer| number_in(answer.get("value")?))
            .ok_or_else(|| String::from_utf8_lossy(&answer).into_owned())
    }

    pub(super) fn snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineError> {
        self.machine.snapshot(to)
    }

    pub(super) fn restore(&mut self, from: &mut dyn Read) -> Result<(), MachineError> {
        self.restored = true;
        self.machine.restore(from)?;
        self.note_rules();
        self.note_digest()
    }
}

fn changes_rules(outcome: &CommandOutcome) -> bool {
    matches!(
        outcome,
        CommandOutcome::Upgrade(_) | CommandOutcome::Settings(SettingsOutcome::Changed)
    )
}

/// The same command with another value: what a flipped bit in the memory of a guest may come to. It is another one on each node.
/// None for a command with an idempotency key: the host keeps a digest of it, which is not in the memory of the guest.
fn corrupted(command: &Bytes, node: usize) -> Option<Bytes> {
    let mut deed = deed_of(command).filter(|deed| !deed.keyed)?;
    deed.number ^= 1 << (40 + node);
    Some(command_of(&deed, 0))
}

fn without_key(command: &Bytes) -> Bytes {
    match Envelope::decode(command) {
        Ok(Envelope::Command {
            key: Some(_), body, ..
        }) => Envelope::command(None, &body).unwrap_or_else(|_| command.clone()),
        _ => command.clone(),
    }
}

/// The client's view of a command's outcome.
fn tell(command: &Bytes, outcome: &CommandOutcome) -> Told {
    let Some(deed) = deed_of(command) else {
        return Told::Record(Box::new(outcome.clone()));
    };
    let told = match outcome {
        CommandOutcome::Accepted(reply) => understood(&deed, reply),
        CommandOutcome::Failed(GuestFailure::TooLarge { .. }) => Some(Told::TooLarge),
        _ => None,
    };
    told.unwrap_or_else(|| Told::Nonsense(format!("{outcome:?}")))
}

fn understood(deed: &Deed, reply: &[u8]) -> Option<Told> {
    let reply: Value = serde_json::from_slice(reply).ok()?;
    let number = |field| reply.get(field).and_then(number_in);
    match (deed.expect, reply.get("swapped").and_then(Value::as_bool)) {
        (None, None) => number("previous").map(Told::Replaced),
        (Some(expect), Some(true)) if number("current") == Some(Some(deed.number)) => {
            Some(Told::Replaced(expect))
        }
        (Some(_), Some(false)) => number("current").map(Told::Kept),
        _ => None,
    }
}
