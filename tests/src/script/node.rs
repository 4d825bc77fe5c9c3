//! One node of a script, and the lines that it prints.

use std::time::Duration;

use task_queue_raft::entry::Entry;
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::message::Message;
use task_queue_raft::raft::{Core, CoreConfig};
use task_queue_raft::storage::LogStore;
use task_queue_raft::storage::memory::{MemorySnapshots, MemoryStore};
use task_queue_raft::testing::{TestEvent, TestNode};

use super::print;

/// Stops a script: the stores in memory never fail, so it is a fault of the core.
fn wrong(error: impl std::fmt::Display) -> String {
    format!("a store or the machine refused: {error}")
}

pub(super) struct Node {
    pub(super) inner: TestNode,
    config: CoreConfig,
    printer: Printer,
}

impl Node {
    pub(super) fn start(
        config: CoreConfig,
        log: MemoryStore,
        snapshots: MemorySnapshots,
        now: Duration,
    ) -> Self {
        let inner = TestNode::from_stores(config.clone(), log, snapshots, 0, now);
        Self {
            printer: Printer::new(&inner.core),
            inner,
            config,
        }
    }

    /// The same node after its process ended: what its disk had not finished never happened.
    pub(super) fn restarted(&self) -> Self {
        let (log, snapshots) = (self.inner.log.clone(), self.inner.snapshots.clone());
        let mut node = Self::start(self.config.clone(), log, snapshots, self.inner.now);
        node.printer.print("starts again");
        node.set_disk_works(self.inner.disk_works);
        node
    }

    /// Otherwise tasks wait for [`Node::finish_task`].
    pub(super) fn set_disk_works(&mut self, works: bool) {
        self.inner.disk_works = works;
        self.printer.disk_works = works;
    }

    /// Otherwise the machine gets entries and never completes them.
    pub(super) fn set_machine_works(&mut self, works: bool) {
        let inner = &mut self.inner;
        inner.machine_works = works;
        if let Some(last) = inner.applied.last().filter(|_| works) {
            inner.core.applied(inner.now, last.index);
        }
    }

    /// Entries on the disk.
    pub(super) fn stored(&mut self) -> Result<Vec<Entry>, String> {
        let log = &mut self.inner.log;
        let state = log.load().map_err(wrong)?;
        if state.last == state.purged {
            return Ok(Vec::new());
        }
        let (first, last) = (state.purged.index.next(), state.last.index);
        log.read(first, last, u64::MAX).map_err(wrong)
    }

    /// Carries out what the core requests until it requests nothing more.
    pub(super) fn run(&mut self) {
        let Self { inner, printer, .. } = self;
        inner.run_observed(&mut |core, event| printer.on(core, event));
    }

    /// Lets the disk do one task. Returns whether there was one.
    pub(super) fn finish_task(&mut self) -> bool {
        let Self { inner, printer, .. } = self;
        inner.finish_task_observed(&mut |core, event| printer.on(core, event))
    }

    /// The lines since the last call.
    pub(super) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.printer.lines)
    }

    /// The messages since the last call.
    pub(super) fn take_sent(&mut self) -> Vec<(NodeId, Message)> {
        std::mem::take(&mut self.inner.sent)
    }
}

/// Turns events into lines.
struct Printer {
    id: NodeId,
    lines: Vec<String>,
    disk_works: bool,
    role: String,
    committed: Index,
    members: String,
}

impl Printer {
    fn new(core: &Core) -> Self {
        Self {
            id: core.id().clone(),
            lines: Vec::new(),
            disk_works: true,
            role: print::role(core),
            committed: core.log().committed(),
            members: print::members(core.membership()),
        }
    }

    fn print(&mut self, what: impl AsRef<str>) {
        self.lines.push(format!("{} {}", self.id, what.as_ref()));
    }

    fn on(&mut self, core: &Core, event: TestEvent<'_>) {
        match event {
            TestEvent::Ready => self.print_changes(core),
            TestEvent::Holds(held) => {
                if !self.disk_works {
                    let (to, after) = (&held.to, held.after);
                    let what = print::message(&held.message);
                    self.print(format!("will tell {to} after write {after}: {what}"));
                }
            }
            TestEvent::Sends(to, message) => {
                self.print(format!("tells {to}: {}", print::message(message)));
            }
            TestEvent::Purges(up_to) => self.print(format!("purges its log up to {up_to}")),
            TestEvent::Writes(id, batch) => {
                let batch = print::batch(batch);
                self.print(if self.disk_works {
                    format!("writes: {batch}")
                } else {
                    format!("begins write {id}: {batch}")
                });
            }
            TestEvent::HasWritten(id) => {
                if !self.disk_works {
                    self.print(format!("has done write {id}"));
                }
            }
            TestEvent::Reads(read) => {
                self.print(format!("reads {}..={} from its disk", read.from, read.to));
            }
            TestEvent::Applies(entries) => {
                self.print(format!("applies {}", print::entries(entries)));
            }
            TestEvent::DecidesRead(read) => self.print(match read.index {
                Some(index) => format!("may answer read #{} from {index}", read.id),
                None => format!("can't answer read #{}", read.id),
            }),
            TestEvent::HasTakenSnapshot(meta) => {
                self.print(format!("takes a snapshot of {}", meta.last));
            }
            TestEvent::HasRestored(meta) => {
                self.print(format!("restores the snapshot of {}", meta.last));
            }
            TestEvent::HasReceived(meta) => {
                self.print(format!("has the snapshot of {} whole", meta.last));
            }
        }
    }

    fn print_changes(&mut self, core: &Core) {
        let role = print::role(core);
        if role != self.role {
            self.print(format!("is {role}"));
            self.role = role;
        }
        let members = print::members(core.membership());
        if members != self.members {
            self.print(format!("has {members}"));
            self.members = members;
        }
        let committed = core.log().committed();
        if committed != self.committed {
            self.print(format!("commits up to {committed}"));
            self.committed = committed;
        }
    }
}
