//! What the log contains: commands in their envelopes, and the records of the log store.

use bytes::Bytes;
use oarlock_tests::fuzz::FuzzTarget;
use oarlock_wasm::{Envelope, Sha256, WasmMachine};
use task_queue_raft::state_machine::ReplicatedStateMachine;
use task_queue_raft::storage::decoding;

/// A command of the log.
pub(super) struct EnvelopeBytes;

impl FuzzTarget for EnvelopeBytes {
    fn name(&self) -> &'static str {
        "envelope"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let command = |key| Envelope::command(key, b"body").expect("a valid key");
        let mut seeds = vec![
            command(None),
            command(Some("key")),
            Envelope::wake(),
            Envelope::runs(Sha256::of(b"module")),
        ];
        // Each kind of each version, with zeros.
        for version in 0..4 {
            for kind in 0..24 {
                let mut bytes = vec![0; 40];
                (bytes[0], bytes[1]) = (version, kind);
                seeds.push(bytes.into());
            }
        }
        seeds.iter().map(|seed| seed.to_vec()).collect()
    }

    fn run(&mut self, input: &[u8]) -> String {
        let bytes = Bytes::copy_from_slice(input);
        let class = WasmMachine::class_of(&bytes);
        match Envelope::decode(&bytes) {
            Ok(envelope) => {
                let text = format!("{envelope:?}");
                let kind: String = text.chars().take(24).collect();
                format!("{class:?} {kind}")
            }
            Err(error) => format!("{class:?} {error}"),
        }
    }
}

/// A record of the log store, or the header of a snapshot file.
pub(super) struct LogRecord;

impl FuzzTarget for LogRecord {
    fn name(&self) -> &'static str {
        "record"
    }

    /// The first byte selects the kind.
    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        for (kind, record) in decoding::examples() {
            seeds.push([&[kind], &record[..]].concat());
        }
        for kind in 0..decoding::KINDS {
            seeds.push([&[kind, 1][..], &[0; 60]].concat());
        }
        seeds
    }

    fn run(&mut self, input: &[u8]) -> String {
        let Some((kind, record)) = input.split_first() else {
            return "empty".to_owned();
        };
        let kind = kind % decoding::KINDS;
        let is_sealed = record.iter().fold(0_u8, |sum, byte| sum ^ byte) & 1 == 0;
        let record = if is_sealed {
            record.to_vec()
        } else {
            decoding::sealed(kind, record)
        };
        format!("{kind} {}", decoding::decode(kind, &record))
    }
}
