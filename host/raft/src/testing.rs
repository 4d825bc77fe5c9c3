//! A node for tests, without threads, network and clock: the core, and the production disk and applier on stores in
//! memory. It needs the feature `testing`.

#![allow(
    clippy::unwrap_used,
    reason = "the stores in memory never fail, and a panic fails the test"
)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::applier::Applier;
use crate::disk::{Disk, DiskDone, DiskTask};
use crate::driver::held::HeldMessages;
use crate::entry::{Entry, SnapshotMeta};
use crate::ids::{LogId, NodeId};
use crate::message::Message;
use crate::raft::durable::WriteBatch;
use crate::raft::ready::{LogRead, OutgoingMessage, ReadState, Ready, SnapshotTask, WriteId};
use crate::raft::{Core, CoreConfig};
use crate::state_machine::MemoryStateMachine;
use crate::storage::memory::{MemorySnapshots, MemoryStore};
use crate::storage::{LogStore, Received, SnapshotStore};

/// An action of a node, reported before the node executes it.
#[derive(Debug)]
pub enum TestEvent<'a> {
    /// The core has new requests.
    Ready,
    /// A message waits for a write.
    Holds(&'a OutgoingMessage),
    /// A message is sent.
    Sends(&'a NodeId, &'a Message),
    /// The log is compacted up to this entry.
    Purges(LogId),
    /// A write begins.
    Writes(WriteId, &'a WriteBatch),
    /// A write is durable.
    HasWritten(WriteId),
    /// Entries are read back.
    Reads(&'a LogRead),
    /// Entries are applied.
    Applies(&'a [Entry]),
    /// A read may get a response, or not.
    DecidesRead(&'a ReadState),
    /// A snapshot was taken.
    HasTakenSnapshot(&'a SnapshotMeta),
    /// A snapshot was restored.
    HasRestored(&'a SnapshotMeta),
    /// All of a snapshot has been received.
    HasReceived(&'a SnapshotMeta),
}

/// A node for tests, see the module.
pub struct TestNode {
    /// The core.
    pub core: Core,
    /// The node's clock.
    pub now: Duration,
    /// Its log.
    pub log: MemoryStore,
    /// Its snapshots.
    pub snapshots: MemorySnapshots,
    /// Otherwise tasks wait for [`TestNode::finish_task`].
    pub disk_works: bool,
    /// Otherwise entries and snapshots are handed over, and the machine never completes them.
    pub machine_works: bool,
    /// Tasks of the disk that have not begun.
    pub tasks: VecDeque<DiskTask>,
    /// Handed to the machine, in order.
    pub applied: Vec<LogId>,
    /// Reads that were decided.
    pub reads: Vec<ReadState>,
    /// Snapshots that were restored.
    pub restored: Vec<LogId>,
    /// Messages that were sent.
    pub sent: Vec<(NodeId, Message)>,
    disk: Disk,
    applier: Applier<MemoryStateMachine>,
    held: HeldMessages,
}

impl TestNode {
    /// A node that starts from what its stores contain. `last_time_ms` is the time of its last entry.
    ///
    /// # Panics
    /// If a store is corrupt.
    pub fn from_stores(
        config: CoreConfig,
        mut log: MemoryStore,
        snapshots: MemorySnapshots,
        last_time_ms: u64,
        now: Duration,
    ) -> Self {
        let stored = log.load().unwrap();
        let newest = snapshots.newest().unwrap();
        let shelf: Arc<dyn SnapshotStore> = Arc::new(snapshots.clone());
        let mut applier = Applier::new(MemoryStateMachine::new(), Arc::clone(&shelf));
        if let Some(meta) = &newest {
            applier.restore(meta).unwrap();
        }
        Self {
            core: Core::new(config, &stored, newest, last_time_ms, now),
            now,
            disk: Disk::new(Box::new(log.clone()), shelf),
            log,
            snapshots,
            disk_works: true,
            machine_works: true,
            tasks: VecDeque::new(),
            applied: Vec::new(),
            reads: Vec::new(),
            restored: Vec::new(),
            sent: Vec::new(),
            applier,
            held: HeldMessages::default(),
        }
    }

    /// Carries out what the core requests until it requests nothing more.
    pub fn run(&mut self) {
        self.run_observed(&mut |_, _| {});
    }

    /// The same; reports each event.
    pub fn run_observed(&mut self, observe: &mut dyn FnMut(&Core, TestEvent<'_>)) {
        loop {
            self.core.check();
            let ready = self.core.ready();
            observe(&self.core, TestEvent::Ready);
            let idle = ready.is_empty();
            self.carry_out(ready, observe);
            let worked = self.disk_works && self.finish_task_observed(observe);
            if idle && !worked {
                break;
            }
        }
    }

    /// In the order of the driver.
    fn carry_out(&mut self, ready: Ready, observe: &mut dyn FnMut(&Core, TestEvent<'_>)) {
        for message in ready.messages {
            let held = message.clone();
            match self.held.hold(message, usize::MAX) {
                Some(message) => self.send(message, observe),
                None => observe(&self.core, TestEvent::Holds(&held)),
            }
        }
        if let Some(up_to) = ready.purge {
            observe(&self.core, TestEvent::Purges(up_to));
            self.tasks.push_back(DiskTask::Purge(up_to));
        }
        if let Some((id, batch)) = ready.write {
            observe(&self.core, TestEvent::Writes(id, &batch));
            self.tasks.push_back(DiskTask::Write(id, batch));
        }
        if ready.complete_store {
            self.tasks.push_back(DiskTask::CompleteStore);
        }
        if let Some(store_id) = ready.replace_store {
            self.tasks.push_back(DiskTask::ReplaceStore(store_id));
        }
        if let Some(met) = ready.met {
            self.tasks.push_back(DiskTask::RememberPeers(met));
        }
        if let Some(longest) = ready.lease {
            self.tasks.push_back(DiskTask::RecordLease(longest));
        }
        for read in ready.log_reads {
            observe(&self.core, TestEvent::Reads(&read));
            self.tasks.push_back(DiskTask::Read(read));
        }
        for task in ready.snapshots {
            self.snapshot_task(task, observe);
        }
        if let Some(last) = ready.apply.last().map(|entry| entry.id.index) {
            observe(&self.core, TestEvent::Applies(&ready.apply));
            self.applied
                .extend(ready.apply.iter().map(|entry| entry.id));
            self.applier.apply(1, ready.apply).unwrap();
            if self.machine_works {
                self.core.applied(self.now, last);
            }
        }
        for read in ready.reads {
            observe(&self.core, TestEvent::DecidesRead(&read));
            self.reads.push(read);
        }
    }

    fn snapshot_task(&mut self, task: SnapshotTask, observe: &mut dyn FnMut(&Core, TestEvent<'_>)) {
        let task = match task {
            SnapshotTask::Take => {
                let meta = self.applier.take_snapshot().unwrap();
                observe(&self.core, TestEvent::HasTakenSnapshot(&meta));
                return self.core.snapshot_taken(self.now, Some(meta));
            }
            SnapshotTask::Restore(meta) => {
                self.applier.restore(&meta).unwrap();
                observe(&self.core, TestEvent::HasRestored(&meta));
                self.restored.push(meta.last);
                if self.machine_works {
                    self.core.applied(self.now, meta.last.index);
                }
                return;
            }
            SnapshotTask::Check(meta) => {
                let is_sound = self.applier.snapshots().check(&meta).is_ok();
                return self.core.snapshot_checked(self.now, &meta, is_sound);
            }
            SnapshotTask::ReadChunk { to, meta, offset } => {
                DiskTask::ReadChunk { to, meta, offset }
            }
            SnapshotTask::Receive { meta, offset, data } => {
                DiskTask::Receive { meta, offset, data }
            }
            SnapshotTask::Retain(meta) => DiskTask::Retain(meta),
            SnapshotTask::SetAside(meta) => DiskTask::SetAside(meta),
        };
        self.tasks.push_back(task);
    }

    fn send(&mut self, message: OutgoingMessage, observe: &mut dyn FnMut(&Core, TestEvent<'_>)) {
        let OutgoingMessage { to, message, .. } = message;
        observe(&self.core, TestEvent::Sends(&to, &message));
        self.sent.push((to, message));
    }

    /// Lets the disk do one task. Returns whether there was one.
    pub fn finish_task(&mut self) -> bool {
        self.finish_task_observed(&mut |_, _| {})
    }

    /// The same; reports each event.
    ///
    /// # Panics
    /// If a store fails.
    pub fn finish_task_observed(&mut self, observe: &mut dyn FnMut(&Core, TestEvent<'_>)) -> bool {
        let Some(task) = self.tasks.pop_front() else {
            return false;
        };
        let now = self.now;
        match self.disk.run(task).unwrap() {
            DiskDone::Written(id) => {
                observe(&self.core, TestEvent::HasWritten(id));
                self.held.written(id);
                self.core.persisted(now, id);
                while let Some(message) = self.held.release() {
                    self.send(message, observe);
                }
            }
            DiskDone::Full(id) => self.core.write_refused(now, id),
            DiskDone::Read(reader, entries) => self.core.entries_read(now, &reader, entries),
            DiskDone::LogCopied(..) => {}
            DiskDone::Chunk {
                to,
                meta,
                offset,
                data,
            } => self.core.chunk_read(now, &to, &meta, offset, data),
            DiskDone::Received(meta, received) => {
                if received == Received::Complete {
                    observe(&self.core, TestEvent::HasReceived(&meta));
                }
                self.core.chunk_received(now, &meta, received);
            }
            DiskDone::ChunkDropped => self.core.chunk_dropped(),
            DiskDone::StoreCompleted => self.core.store_completed(now),
            DiskDone::StoreReplaced(store_id) => self.core.store_replaced(now, store_id),
            DiskDone::Retained => self.core.snapshots_retained(now),
            DiskDone::NoReply => {}
        }
        true
    }
}
