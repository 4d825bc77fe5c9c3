//! Snapshots of the replicated machine.

use std::time::Duration;

use oarlock_tests::fuzz::FuzzTarget;
use oarlock_wasm::{Envelope, GuestEngine, GuestModule, MachineLimits, WasmMachine};
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::{Moment, ReplicatedStateMachine};

use super::module::{limits, scripted};

/// The restore of a snapshot.
pub(super) struct Snapshot {
    module: GuestModule,
    limits: MachineLimits,
    machine: WasmMachine,
}

impl Snapshot {
    pub(super) fn new() -> Self {
        let engine = GuestEngine::new().expect("an engine");
        let limits = limits();
        let module = GuestModule::load(&engine, scripted(), &limits).expect("a guest");
        Self {
            machine: WasmMachine::new(module.clone(), limits, None).expect("a machine"),
            module,
            limits,
        }
    }

    fn new_machine(&self) -> WasmMachine {
        WasmMachine::new(self.module.clone(), self.limits, None).expect("a machine")
    }
}

impl FuzzTarget for Snapshot {
    fn name(&self) -> &'static str {
        "snapshot"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut machine = self.new_machine();
        let mut seeds = Vec::new();
        let commands: [&[u8]; 5] = [
            b"a",
            b"w\x09\0\0\0\0\0\0\0",
            b"d\x07\0\0\0\0\0\0\0",
            b"ex",
            b"rno",
        ];
        for (index, command) in (1..).zip(commands) {
            let at = Moment {
                index: Index(index),
                time_ms: index,
            };
            let key = format!("key{index}");
            let command = Envelope::command(Some(&key), command).expect("a valid key");
            machine.apply(at, &[command]).expect("a command");
            let mut snapshot = Vec::new();
            machine.snapshot(&mut snapshot).expect("a snapshot");
            seeds.push(snapshot);
        }
        seeds
    }

    fn run(&mut self, input: &[u8]) -> String {
        let is_kept = input.iter().fold(0_u8, |sum, byte| sum ^ byte) & 1 == 0;
        let bytes = if is_kept {
            input.to_vec()
        } else {
            resealed(input)
        };
        match self.machine.restore(&mut bytes.as_slice()) {
            Ok(()) => {
                // What was restored is a state that can be written.
                let mut again = Vec::new();
                self.machine.snapshot(&mut again).map_or_else(
                    |error| format!("restored, {error}"),
                    |()| "restored".to_owned(),
                )
            }
            Err(error) => {
                // A node stops here.
                self.machine = self.new_machine();
                error.to_string()
            }
        }
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// The same frames with right checksums: section, length, payload, checksum.
fn resealed(input: &[u8]) -> Vec<u8> {
    let (mut rest, mut out) = (input, Vec::new());
    for number in 0_u64.. {
        let Some((head, after)) = rest.split_first_chunk::<5>() else {
            break;
        };
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let length = (length as usize).min(after.len().saturating_sub(4));
        let (payload, after) = after.split_at(length);
        let mut frame = head.to_vec();
        frame[1..].copy_from_slice(&(length as u32).to_le_bytes());
        frame.extend_from_slice(payload);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), &frame);
        out.extend_from_slice(&frame);
        out.extend_from_slice(&checksum.to_le_bytes());
        rest = after.get(4..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}
