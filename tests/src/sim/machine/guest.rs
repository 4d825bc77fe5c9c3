//! The example guest `kv`, as the product runs it: compiled from its wasm, in the machine that keeps idempotency keys
//! and the running hash.

use std::io::{Read, Write};
use std::sync::OnceLock;

use bytes::Bytes;
use oarlock_wasm::{
    CommandOutcome, Envelope, GuestEngine, GuestModule, MachineLimits, WasmMachine,
};
use serde_json::{Value, json};
use task_queue_raft::state_machine::{MachineError, Moment, ReplicatedStateMachine};

use super::{Deed, Told, View};
use crate::sim::history::OpId;
use crate::sim::planted::Planted;
use crate::sim::trace::Hash;

const KV: &[u8] = include_bytes!("../../../../examples-wasm/dist/kv.wasm");

/// Keys of the guest that clients use: few, so that they meet.
pub(crate) const REGISTERS: u8 = 3;

/// How long an idempotency key is kept.
const KEY_TTL_MS: u64 = 600_000;
/// With the planted fault, each entry lets so much time pass in the machine.
const FAST_MS: u64 = 60_000;

fn limits(keys_expire: bool) -> MachineLimits {
    MachineLimits {
        memory_bytes: 64 << 20,
        // Longer than a run and its retries. Some clocks of the simulation jump by more.
        key_ttl_ms: if keys_expire {
            KEY_TTL_MS
        } else {
            u64::MAX / 4
        },
        ..MachineLimits::default()
    }
}

/// Compiled once for all runs.
fn module() -> GuestModule {
    static MODULE: OnceLock<GuestModule> = OnceLock::new();
    let compile = || {
        let engine = GuestEngine::new().unwrap_or_else(|error| panic!("{error}"));
        GuestModule::load(&engine, KV, &limits(true)).unwrap_or_else(|error| panic!("{error}"))
    };
    MODULE.get_or_init(compile).clone()
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
    let Ok(Envelope::Command { key, body }) = Envelope::decode(command) else {
        return None;
    };
    let body: Value = serde_json::from_slice(&body).ok()?;
    let (inner, expect) = match (body.get("put"), body.get("cas")) {
        (Some(put), _) => (put, None),
        (_, Some(cas)) => (cas, Some(number_in(cas.get("expect")?)?)),
        _ => return None,
    };
    let register = inner.get("key")?.as_str()?.strip_prefix("register-")?;
    Some(Deed {
        number: number_in(inner.get("value")?)??,
        register: register.parse().ok()?,
        keyed: key.is_some(),
        expect,
    })
}

/// The number that a value of the guest is; none for `null`.
fn number_in(value: &Value) -> Option<Option<OpId>> {
    match value {
        Value::Null => Some(None),
        value => Some(Some(value.as_str()?.parse().ok()?)),
    }
}

/// A guest with what the product puts around it.
pub(crate) struct GuestMachine {
    machine: WasmMachine,
    node: usize,
    planted: Option<Planted>,
    /// It has restored a snapshot.
    restored: bool,
}

impl GuestMachine {
    pub(super) fn new(node: usize, planted: Option<Planted>, keys_expire: bool) -> Self {
        let machine = WasmMachine::new(module(), limits(keys_expire), None);
        Self {
            machine: machine.unwrap_or_else(|error| panic!("{error}")),
            node,
            planted,
            restored: false,
        }
    }

    /// The running hash represents the whole state.
    pub(super) fn view(&self) -> View {
        let hash = self.machine.state_hash().0;
        let first = hash
            .first_chunk()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes));
        View {
            length: 0,
            hash: Hash(first),
        }
    }

    pub(super) fn apply(
        &mut self,
        at: Moment,
        commands: &[Bytes],
    ) -> Result<Vec<Told>, MachineError> {
        let at = self.time_of(at);
        let outcomes = if self.forgets_keys() {
            let commands: Vec<_> = commands.iter().map(without_key).collect();
            self.machine.apply(at, &commands)?
        } else {
            self.machine.apply(at, commands)?
        };
        let told = commands.iter().zip(&outcomes);
        Ok(told
            .map(|(command, outcome)| tell(command, outcome))
            .collect())
    }

    /// The machine's time: that of the log, unless a fault is planted.
    fn time_of(&self, at: Moment) -> Moment {
        if self.planted != Some(Planted::KeysExpireEarly) {
            return at;
        }
        Moment {
            time_ms: at.time_ms + at.index.0 * FAST_MS,
            ..at
        }
    }

    /// Whether a command that comes again is new to it: no, unless a fault is planted.
    fn forgets_keys(&self) -> bool {
        match self.planted {
            Some(Planted::KeysForgotten) => true,
            Some(Planted::OneNodeForgetsKeys) => self.node == 1,
            Some(Planted::RestoreForgetsKeys) => self.restored,
            _ => false,
        }
    }

    pub(super) fn get(&mut self, at: Moment, register: u8) -> Result<Option<OpId>, String> {
        let query = json!({"get": {"key": name_of(register)}}).to_string();
        let answer = self.machine.query(at, query.into());
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
        self.machine.restore(from)
    }
}

fn without_key(command: &Bytes) -> Bytes {
    match Envelope::decode(command) {
        Ok(Envelope::Command { key: Some(_), body }) => {
            Envelope::command(None, &body).unwrap_or_else(|_| command.clone())
        }
        _ => command.clone(),
    }
}

/// The client's view of a command's outcome.
fn tell(command: &Bytes, outcome: &CommandOutcome) -> Told {
    let told = match outcome {
        CommandOutcome::Accepted(reply) => understood(command, reply),
        _ => None,
    };
    told.unwrap_or_else(|| Told::Nonsense(format!("{outcome:?}")))
}

fn understood(command: &Bytes, reply: &[u8]) -> Option<Told> {
    let deed = deed_of(command)?;
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
