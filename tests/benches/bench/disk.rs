//! The log store against a plain file: the same bytes, written and synced in turn, so that both see the same disk.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use task_queue_raft::entry::{Command, Entry, Payload};
use task_queue_raft::ids::{Index, LogId, NodeId, Term};
use task_queue_raft::storage::node_store::{Identity, NodeStore};
use task_queue_raft::storage::{LogStore, WriteBatch};

use super::Options;
use super::report::{Report, Target};

/// Bytes of the plain append that a single write is held against.
const PLAIN_BYTES: usize = 4096;
/// Commands in one entry, as a loaded leader gathers them.
const COMMANDS: [usize; 4] = [1, 64, 256, 1024];
/// Writes of each kind, and the most time that they may take.
const MOST_WRITES: usize = 400;
/// Plain appends at a time.
const PLAIN_WRITES: usize = 200;

/// Measures each size of a write, on both.
pub(crate) fn measure(options: &Options, report: &mut Report) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let alone = median(&mut plain_appends());
    report.line(
        "disk: append 4 KiB + fdatasync, p50",
        alone.as_secs_f64() * 1e6,
        "µs",
    );
    for commands in COMMANDS {
        let (ours, theirs) = turns(options, dir.path(), commands);
        let name = format!("log write of {commands} × {} B, p50", options.payload);
        report.duel(
            &name,
            ours.as_secs_f64() * 1e6,
            theirs.as_secs_f64() * 1e6,
            "µs",
            Target::None,
        );
    }
}

/// What a plain append of 4 KiB and its sync take now, several times.
pub(crate) fn plain_appends() -> Vec<Duration> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut plain = Plain::new(dir.path(), PLAIN_BYTES);
    (0..PLAIN_WRITES).map(|_| plain.write()).collect()
}

/// Medians of the store and of the plain file, in turn.
fn turns(options: &Options, dir: &Path, commands: usize) -> (Duration, Duration) {
    let identity = Identity {
        node_id: NodeId::from("node1"),
        cluster_id: "bench".to_owned(),
    };
    let store_dir = dir.join(format!("store-{commands}"));
    let mut store = NodeStore::open(&store_dir, &identity).expect("a store");
    store.load().expect("an empty store");
    let mut plain = Plain::new(dir, commands * options.payload);
    let data = Bytes::from(vec![0x5a; options.payload]);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let until = Instant::now() + options.turn();
    for index in 1..=MOST_WRITES as u64 {
        let batch = WriteBatch {
            entries: vec![entry(index, commands, &data)],
            ..WriteBatch::default()
        };
        let begun = Instant::now();
        store.write(&batch).expect("a write");
        ours.push(begun.elapsed());
        theirs.push(plain.write());
        if Instant::now() > until {
            break;
        }
    }
    (median(&mut ours), median(&mut theirs))
}

/// An entry with so many commands.
pub(crate) fn entry(index: u64, commands: usize, data: &Bytes) -> Entry {
    let command = |sequence| Command {
        session: 1,
        sequence,
        data: data.clone(),
    };
    Entry {
        id: LogId::new(Term(1), Index(index)),
        time_ms: index,
        payload: Payload::Commands((0..commands as u64).map(command).collect()),
    }
}

/// A file that grows.
struct Plain {
    file: File,
    block: Vec<u8>,
}

impl Plain {
    fn new(dir: &Path, bytes: usize) -> Self {
        Self {
            file: tempfile::tempfile_in(dir).expect("a file"),
            block: vec![0x5a; bytes],
        }
    }

    fn write(&mut self) -> Duration {
        let begun = Instant::now();
        self.file.write_all(&self.block).expect("a write");
        self.file.sync_data().expect("a sync");
        begun.elapsed()
    }
}

/// The middle one.
pub(crate) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
