//! One node of a script: the real core, with the production disk and applier on stores in memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use task_queue_raft::MemoryStateMachine;
use task_queue_raft::applier::Applier;
use task_queue_raft::disk::{Disk, DiskDone, DiskTask};
use task_queue_raft::entry::Entry;
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::message::Message;
use task_queue_raft::raft::ready::{OutgoingMessage, Ready, SnapshotTask, WriteId};
use task_queue_raft::raft::{Core, CoreConfig};
use task_queue_raft::storage::memory::{MemorySnapshots, MemoryStore};
use task_queue_raft::storage::{LogStore, Received, SnapshotStore};

use super::print;

/// Stops a script: the stores in memory never fail, so it is a fault of the core.
fn wrong(error: impl std::fmt::Display) -> String {
    format!("a store or the machine refused: {error}")
}

pub(super) struct Node {
    pub(super) core: Core,
    pub(super) now: Duration,
    /// Otherwise tasks wait for [`Node::finish_task`].
    pub(super) disk_is_fast: bool,
    /// What it did, to be printed.
    pub(super) lines: Vec<String>,
    /// What it sent, to be put on the network.
    pub(super) sent: Vec<(NodeId, Message)>,
    config: CoreConfig,
    log: MemoryStore,
    snapshots: MemorySnapshots,
    disk: Disk,
    applier: Applier<MemoryStateMachine>,
    tasks: VecDeque<DiskTask>,
    durable: WriteId,
    held: Vec<OutgoingMessage>,
    role: String,
    committed: Index,
    members: String,
}

impl Node {
    pub(super) fn start(
        config: CoreConfig,
        mut log: MemoryStore,
        snapshots: MemorySnapshots,
        now: Duration,
    ) -> Result<Self, String> {
        let stored = log.load().map_err(wrong)?;
        let newest = snapshots.newest().map_err(wrong)?;
        let shelf: Arc<dyn SnapshotStore> = Arc::new(snapshots.clone());
        let mut applier = Applier::new(MemoryStateMachine::new(), Arc::clone(&shelf));
        if let Some(meta) = &newest {
            applier.restore(meta).map_err(wrong)?;
        }
        let core = Core::new(config.clone(), &stored, newest, 0, now);
        Ok(Self {
            role: print::role(&core),
            committed: core.log().committed(),
            members: print::members(core.membership()),
            core,
            now,
            disk_is_fast: true,
            lines: Vec::new(),
            sent: Vec::new(),
            config,
            disk: Disk::new(Box::new(log.clone()), shelf),
            log,
            snapshots,
            applier,
            tasks: VecDeque::new(),
            durable: 0,
            held: Vec::new(),
        })
    }

    /// The same node after its process ended: what its disk had not finished never happened.
    pub(super) fn restarted(&self) -> Result<Self, String> {
        let (log, snapshots) = (self.log.clone(), self.snapshots.clone());
        let mut node = Self::start(self.config.clone(), log, snapshots, self.now)?;
        node.print("starts again");
        node.disk_is_fast = self.disk_is_fast;
        Ok(node)
    }

    /// Entries on the disk.
    pub(super) fn stored(&mut self) -> Result<Vec<Entry>, String> {
        let state = self.log.load().map_err(wrong)?;
        if state.last == state.purged {
            return Ok(Vec::new());
        }
        let (first, last) = (state.purged.index.next(), state.last.index);
        self.log.read(first, last, u64::MAX).map_err(wrong)
    }

    fn print(&mut self, what: impl AsRef<str>) {
        self.lines
            .push(format!("{} {}", self.config.id, what.as_ref()));
    }

    /// Does what the core wants until it wants nothing more.
    pub(super) fn run(&mut self) -> Result<(), String> {
        loop {
            self.core.check();
            let ready = self.core.ready();
            self.tell_changes();
            let idle = ready.is_empty();
            self.carry_out(ready)?;
            let worked = self.disk_is_fast && self.finish_task()?;
            if idle && !worked {
                return Ok(());
            }
        }
    }

    fn tell_changes(&mut self) {
        let role = print::role(&self.core);
        if role != self.role {
            self.print(format!("is {role}"));
            self.role = role;
        }
        let members = print::members(self.core.membership());
        if members != self.members {
            self.print(format!("has {members}"));
            self.members = members;
        }
        let committed = self.core.log().committed();
        if committed != self.committed {
            self.print(format!("commits up to {committed}"));
            self.committed = committed;
        }
    }

    /// In the driver's order: what is held back waits for its write.
    fn carry_out(&mut self, ready: Ready) -> Result<(), String> {
        for envelope in ready.messages {
            if envelope.after > self.durable && !self.disk_is_fast {
                let what = print::message(&envelope.message);
                self.print(format!(
                    "will tell {} after write {}: {what}",
                    envelope.to, envelope.after
                ));
            }
            self.held.push(envelope);
        }
        self.release();
        if let Some(up_to) = ready.purge {
            self.print(format!("purges its log up to {up_to}"));
            self.tasks.push_back(DiskTask::Purge(up_to));
        }
        if let Some((id, batch)) = ready.write {
            let verb = if self.disk_is_fast {
                "writes"
            } else {
                "begins write"
            };
            let number = if self.disk_is_fast {
                String::new()
            } else {
                format!(" {id}")
            };
            self.print(format!("{verb}{number}: {}", print::batch(&batch)));
            self.tasks.push_back(DiskTask::Write(id, batch));
        }
        if ready.complete_store {
            self.tasks.push_back(DiskTask::CompleteStore);
        }
        for read in ready.log_reads {
            self.print(format!("reads {}..={} from its disk", read.from, read.to));
            self.tasks.push_back(DiskTask::Read(read));
        }
        for task in ready.snapshots {
            self.snapshot_task(task)?;
        }
        if let Some(last) = ready.apply.last().map(|entry| entry.id.index) {
            self.print(format!("applies {}", print::entries(&ready.apply)));
            self.applier.apply(1, ready.apply).map_err(wrong)?;
            self.core.applied(self.now, last);
        }
        for read in ready.reads {
            self.print(match read.index {
                Some(index) => format!("may answer read #{} from {index}", read.id),
                None => format!("can't answer read #{}", read.id),
            });
        }
        Ok(())
    }

    fn snapshot_task(&mut self, task: SnapshotTask) -> Result<(), String> {
        match task {
            SnapshotTask::Take => {
                let meta = self.applier.take_snapshot().map_err(wrong)?;
                self.print(format!("takes a snapshot of {}", meta.last));
                self.core.snapshot_taken(self.now, Some(meta));
            }
            SnapshotTask::Restore(meta) => {
                self.applier.restore(&meta).map_err(wrong)?;
                self.print(format!("restores the snapshot of {}", meta.last));
                self.core.applied(self.now, meta.last.index);
            }
            SnapshotTask::ReadChunk { to, meta, offset } => {
                let task = DiskTask::ReadChunk { to, meta, offset };
                self.tasks.push_back(task);
            }
            SnapshotTask::Receive { meta, offset, data } => {
                let task = DiskTask::Receive { meta, offset, data };
                self.tasks.push_back(task);
            }
            SnapshotTask::Retain(meta) => self.tasks.push_back(DiskTask::Retain(meta)),
            SnapshotTask::SetAside(meta) => self.tasks.push_back(DiskTask::SetAside(meta)),
        }
        Ok(())
    }

    fn release(&mut self) {
        let durable = self.durable;
        let released: Vec<_> = self
            .held
            .extract_if(.., |envelope| envelope.after <= durable)
            .collect();
        for envelope in released {
            let what = print::message(&envelope.message);
            self.print(format!("tells {}: {what}", envelope.to));
            self.sent.push((envelope.to, envelope.message));
        }
    }

    /// Lets the disk do one task. Returns whether there was one.
    pub(super) fn finish_task(&mut self) -> Result<bool, String> {
        let Some(task) = self.tasks.pop_front() else {
            return Ok(false);
        };
        let now = self.now;
        match self.disk.run(task).map_err(wrong)? {
            DiskDone::Written(id) => {
                if !self.disk_is_fast {
                    self.print(format!("has done write {id}"));
                }
                self.durable = id;
                self.core.persisted(now, id);
                self.release();
            }
            DiskDone::Full(id) => self.core.write_refused(now, id),
            DiskDone::Read(reader, entries) => self.core.entries_read(now, &reader, entries),
            DiskDone::Chunk {
                to,
                meta,
                offset,
                data,
            } => self.core.chunk_read(now, &to, &meta, offset, data),
            DiskDone::Received(meta, received) => {
                if received == Received::Complete {
                    self.print(format!("has the snapshot of {} whole", meta.last));
                }
                self.core.chunk_received(now, &meta, received);
            }
            DiskDone::StoreCompleted => self.core.store_completed(self.now),
            DiskDone::NoReply => {}
        }
        Ok(true)
    }
}
