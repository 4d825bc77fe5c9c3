//! What becomes of a node in quarantine: its machine gets a leader's state in place of its own, and it serves again. One
//! that differs again and again is left alone, for somebody to look at.
//!
//! That it is in quarantine, and how often it was lately, stands in a file beside its data: a node that is started again
//! in between serves nobody either, until it has another state.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use oarlock_wasm::WasmMachine;
use serde::{Deserialize, Serialize};
use task_queue_raft::ids::Index;
use task_queue_raft::raft::reinstall::Reinstall;
use task_queue_raft::{Leadership, Raft, Status};
use thiserror::Error;
use tokio::sync::watch;

use crate::audit::Auditor;
use crate::retry::RETRY_PAUSE;
use crate::wall_clock;

/// In the data directory.
const FILE: &str = "quarantine.json";
/// It is made under this name, and gets the other one when it is whole.
const UNFINISHED: &str = "quarantine.json.new";
/// So often a node is given another state within [`LATELY`]. After that it is left in quarantine.
const MOST_REINSTALLS: usize = 3;
/// A node that agreed for so long has nothing to answer for any more.
const LATELY: Duration = Duration::from_secs(3600);
/// How long the leader may take to have a snapshot on its way.
const ORDER_TIMEOUT: Duration = Duration::from_secs(30);
/// After so long without news, the snapshot is asked for again: its leader may be gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a node can't know whether it is in quarantine.
#[derive(Debug, Error)]
#[error(
    "{} can't be read: {source}; it says whether this node's state is the cluster's. Start the node on an empty data directory: it gets everything from the others",
    path.display()
)]
pub(crate) struct RecordError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What is known of a node's quarantines, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// It is in quarantine.
    quarantined: bool,
    /// When it came into quarantine lately, in milliseconds since 1970.
    since_ms: Vec<u64>,
}

/// The file that holds it.
#[derive(Debug)]
pub(crate) struct Record {
    dir: PathBuf,
    known: Known,
}

impl Record {
    /// What a data directory says; nothing where there is none.
    ///
    /// # Errors
    /// The file can't be read, or is not what was written.
    pub(crate) fn read(data_dir: &Path) -> Result<Self, RecordError> {
        let path = data_dir.join(FILE);
        let known = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Known::default()),
            Err(error) => Err(error),
        };
        match known {
            Ok(known) => Ok(Self {
                dir: data_dir.to_owned(),
                known,
            }),
            Err(source) => Err(RecordError { path, source }),
        }
    }

    /// Whether the node is in quarantine.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.known.quarantined
    }

    /// Whether it has been given another state as often as it may be.
    fn is_hopeless(&self) -> bool {
        self.known.since_ms.len() > MOST_REINSTALLS
    }

    /// The node is in quarantine from now on.
    fn enter(&mut self, now_ms: u64) {
        let oldest = now_ms.saturating_sub(wall_clock::millis(LATELY));
        self.known.since_ms.retain(|since| *since >= oldest);
        self.known.since_ms.push(now_ms);
        self.known.quarantined = true;
        self.keep();
    }

    /// It has another state.
    fn leave(&mut self) {
        self.known.quarantined = false;
        self.keep();
    }

    /// Where it can't be kept, it holds for as long as the process does: a difference is found again.
    fn keep(&self) {
        if let Err(error) = self.write() {
            tracing::error!(%error, file = %self.dir.join(FILE).display(), "what is known of this node's quarantine can't be written");
        }
    }

    fn write(&self) -> io::Result<()> {
        let unfinished = self.dir.join(UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(&self.known)?)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.dir.join(FILE))?;
        File::open(&self.dir)?.sync_all()
    }
}

/// Runs for as long as the node does.
pub(crate) async fn run(
    raft: Raft<WasmMachine>,
    auditor: Auditor,
    mut leadership: watch::Receiver<Leadership>,
    mut record: Record,
) {
    // One from before goes on; its time is known.
    let mut is_new = !record.is_quarantined();
    loop {
        auditor.quarantined().await;
        let kept = tokio::task::spawn_blocking(move || {
            if is_new {
                record.enter(wall_clock::now_ms());
            }
            record
        });
        match kept.await {
            Ok(kept) => record = kept,
            Err(error) => return tracing::error!(%error, "this node stays in quarantine"),
        }
        is_new = true;
        if record.is_hopeless() {
            tracing::error!(
                reinstalls = MOST_REINSTALLS,
                "this node has come to another state again and again, and stays in quarantine; look at the snapshots in \
                 `quarantine` in its data directory, remove the cause, and start it on an empty data directory"
            );
            auditor.give_up();
            return;
        }
        match replace(&raft, &auditor, &mut leadership).await {
            Some(Replaced::By(index)) => {
                record.leave();
                tracing::warn!(%index, "this node has a leader's state in place of its own, and serves again");
                auditor.lift(index);
            }
            Some(Replaced::Not) => {
                tracing::error!("no other state came in time; this node tries again");
            }
            None => return,
        }
    }
}

/// What became of an attempt.
enum Replaced {
    /// The machine has a snapshot that reaches to this entry.
    By(Index),
    /// It goes on with the state that it had.
    Not,
}

/// Gives the machine another state. `None` where the node stops first.
async fn replace(
    raft: &Raft<WasmMachine>,
    auditor: &Auditor,
    leadership: &mut watch::Receiver<Leadership>,
) -> Option<Replaced> {
    let mut status = raft.watch_status();
    let (me, before) = {
        let status = status.borrow();
        (status.node_id.clone(), status.reinstalled)
    };
    // A leader that differs hands over; until then nobody wants its state.
    let differing = auditor.findings().differing;
    let can_give = |leadership: &Leadership| {
        let leader = leadership.leader.as_ref();
        leader.is_some_and(|leader| {
            *leader != me && !differing.iter().any(|id| id == leader.as_str())
        })
    };
    leadership.wait_for(can_give).await.ok()?;
    raft.reinstall().ok()?;
    let taken_in = |now: &Status| now.reinstall.is_some() || now.reinstalled > before;
    match tokio::time::timeout(PATIENCE, status.wait_for(taken_in)).await {
        Ok(seen) => drop(seen.ok()?),
        Err(_elapsed) => return Some(Replaced::Not),
    }
    loop {
        let now = status.borrow_and_update().clone();
        match now.reinstall {
            _ if now.reinstalled > before => {
                let reached = now.snapshot.map_or(Index::ZERO, |meta| meta.last.index);
                return Some(Replaced::By(reached));
            }
            None => return Some(Replaced::Not),
            Some(Reinstall::Wants(from)) => {
                leadership.wait_for(can_give).await.ok()?;
                if let Err(error) = raft.send_me_snapshot(from, ORDER_TIMEOUT).await {
                    tracing::debug!(%error, "no snapshot is on its way yet");
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
            }
            // However long it takes: the machine is at work.
            Some(_) => {}
        }
        let news = status.wait_for(|next| next.reinstall != now.reinstall);
        if let Ok(seen) = tokio::time::timeout(PATIENCE, news).await {
            drop(seen.ok()?);
        }
    }
}

#[cfg(test)]
mod tests;
