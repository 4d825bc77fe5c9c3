//! Executes the requests of the driver: disk, state machine and network, each with its own delays and in order.

use task_queue_raft::disk::{Disk, DiskDone, DiskTask};
use task_queue_raft::driver::{Input, MachineTask};
use task_queue_raft::entry::Entry;
use task_queue_raft::identity::Sender;
use task_queue_raft::ids::LogId;
use task_queue_raft::message::{Message, RaftRequest, RaftResponse};
use task_queue_raft::raft::Core;

use super::host::FIRST_PROPOSAL;
use super::node::Node;
use super::{Event, Tag, World};
use crate::sim::environment::{Output, SimInput, SimMachineTask};
use crate::sim::history::Outcome;
use crate::sim::machine::Told;
use crate::sim::network::Frame;
use crate::sim::planted::Planted;
use crate::sim::tamper::{imagined_answer, tamper};
use crate::sim::violation::Violation;

/// What became of a task of the disk.
pub(super) enum DiskStep {
    Done(DiskDone),
    /// An error that the simulation has made.
    Failed,
    /// Something is corrupt, and the store reports it.
    Damaged(String),
}

impl DiskStep {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

impl World {
    pub(super) fn do_output(&mut self, node: usize, output: Output) -> Result<(), Violation> {
        match output {
            Output::Disk(task) => self.queue_disk(node, task),
            Output::Machine(task) => self.queue_machine(node, task),
            Output::Send(to, message) => return self.send(node, &to, message),
            Output::Fault(fault) => {
                return Err(Violation {
                    invariant: "no node has another history than its leader",
                    detail: format!("n{node}: {fault}"),
                });
            }
            Output::Reply(number, outcome) if number >= FIRST_PROPOSAL => {
                let outcome = outcome.map(|applied| (applied.index, applied.reply));
                self.proposer_hears(number, outcome);
            }
            Output::Reply(op, outcome) if self.planted == Some(Planted::RepliesMixedUp) => {
                let other = self
                    .history
                    .open()
                    .map(|(id, _)| id)
                    .find(|other| *other != op)
                    .unwrap_or(op);
                self.client_hears(other, outcome.map(|applied| told(&applied.reply)));
            }
            Output::Reply(op, _) if self.planted == Some(Planted::ReplyLost) && op % 16 == 7 => {}
            Output::Reply(op, Ok(applied)) => {
                let outcome = self.leave_gate(node, op, true, told(&applied.reply))?;
                self.client_hears(op, Ok(outcome));
            }
            Output::Reply(op, Err(error)) => self.client_hears(op, Err(error)),
            Output::Refuse(op, error) => self.client_hears(op, Err(error)),
            Output::Conclude(order, outcome) => {
                return self.operator_hears(node, order, &outcome);
            }
        }
        Ok(())
    }

    // ----- the disk -----

    fn queue_disk(&mut self, node: usize, task: DiskTask) {
        self.trace.note(self.now, node, 1, || {
            short(format!("to the disk: {task:?}"))
        });
        self.writes += u64::from(matches!(task, DiskTask::Write(..)));
        if let (Some(Planted::WrittenTooEarly), DiskTask::Write(id, _)) = (self.planted, &task) {
            self.put(node, Input::Disk(DiskDone::Written(*id)));
        }
        if let Some(live) = &mut self.nodes[node].live {
            live.disk_tasks.push_back(task);
            if live.disk_tasks.len() == 1 {
                self.begin_disk(node);
            }
        }
    }

    fn begin_disk(&mut self, node: usize) {
        let latency = self.rng.micros(10, self.profile.disk_max_us);
        let state = &self.nodes[node];
        let at = state.disk_hangs_until.max(self.now) + latency;
        self.schedule_at(
            at,
            Event::Disk {
                node,
                run: state.run,
            },
        );
    }

    /// The disk is done with its first task.
    pub(super) fn disk_step(&mut self, node: usize) -> Result<(), Violation> {
        let run = self.nodes[node].run;
        if self.nodes[node].disk_hangs_until > self.now {
            // It began to hang while this was in flight.
            self.schedule_at(self.nodes[node].disk_hangs_until, Event::Disk { node, run });
            return Ok(());
        }
        let Some(mut live) = self.nodes[node].live.take() else {
            return Ok(());
        };
        let done = live
            .disk_tasks
            .pop_front()
            .map(|task| self.run_disk_task(node, &mut live.disk, task));
        let more = !live.disk_tasks.is_empty();
        self.nodes[node].live = Some(live);
        match done {
            Some(Ok(DiskStep::Done(done))) => self.tell_done(node, done),
            // A storage error ends the node.
            Some(Ok(DiskStep::Failed)) => {
                self.coverage.failed_writes += 1;
                let down = self.rng.millis(10, 1000);
                return self.crash(node, down);
            }
            Some(Ok(DiskStep::Damaged(text))) => {
                self.crash(node, std::time::Duration::ZERO)?;
                self.take_out_of_service(node, &text);
                return Ok(());
            }
            Some(Err(violation)) => return Err(violation),
            None => {}
        }
        if more {
            self.begin_disk(node);
        }
        Ok(())
    }

    fn tell_done(&mut self, node: usize, done: DiskDone) {
        self.trace
            .note(self.now, node, 2, || short(format!("disk: {done:?}")));
        let told = matches!(
            (self.planted, &done),
            (Some(Planted::WrittenTooEarly), DiskDone::Written(_))
        );
        let lost = matches!(
            (self.planted, &done),
            (Some(Planted::CompletionLost), DiskDone::Written(_)) if self.writes % 64 == 7
        );
        if !told && !lost && !matches!(done, DiskDone::NoReply) {
            self.put(node, Input::Disk(done));
        }
    }

    /// Entries are on a disk now.
    fn see_written(&mut self, node: usize, entries: &[Entry]) -> Result<(), Violation> {
        let Some(first) = entries.first() else {
            return Ok(());
        };
        let before = first.id.index.previous();
        let log = &self.nodes[node].log;
        let previous: Option<LogId> = log.durable(|durable| durable.id_at(before));
        match previous {
            Some(previous) => self.invariants.on_written(previous, entries),
            None => Ok(()),
        }
    }

    /// Does a task.
    pub(super) fn run_disk_task(
        &mut self,
        node: usize,
        disk: &mut Disk,
        task: DiskTask,
    ) -> Result<DiskStep, Violation> {
        if let DiskTask::Write(_, batch) = &task {
            let is_cluster = |entry: &Entry| entry.payload.cluster().is_some();
            self.raised |= batch.entries.iter().any(is_cluster);
            self.coverage.truncations += u64::from(batch.truncate_from.is_some());
        }
        let entries = match &task {
            DiskTask::Write(_, batch) => batch.entries.clone(),
            _ => Vec::new(),
        };
        self.invariants.on_write(&entries);
        let done = disk.run(task);
        if matches!(done, Ok(DiskDone::Written(_))) {
            self.see_written(node, &entries)?;
        }
        let log = &self.nodes[node].log;
        match done {
            Ok(DiskDone::Full(id)) if self.planted == Some(Planted::FullDiskForgotten) => {
                Ok(DiskStep::Done(DiskDone::Written(id)))
            }
            Ok(done) => {
                self.coverage.full_disks += u64::from(matches!(done, DiskDone::Full(_)));
                Ok(DiskStep::Done(done))
            }
            Err(error) if log.is_corrupt(&error) => Ok(DiskStep::Damaged(error.to_string())),
            Err(error) if log.is_injected(&error) => Ok(DiskStep::Failed),
            Err(error) => Err(Violation {
                invariant: "a sound disk takes every task",
                detail: format!("n{node}: {error}"),
            }),
        }
    }

    // ----- the state machine -----

    fn queue_machine(&mut self, node: usize, task: SimMachineTask) {
        let overtakes = match task {
            MachineTask::Query(..) => self.planted == Some(Planted::QueryOvertakesEntries),
            MachineTask::Apply(..) => self.planted == Some(Planted::EntriesOvertake),
            MachineTask::TakeSnapshot
            | MachineTask::CheckSnapshot(..)
            | MachineTask::Restore(..) => false,
        };
        let Some(live) = &mut self.nodes[node].live else {
            return;
        };
        if overtakes {
            live.machine_tasks.push_front(task);
        } else {
            live.machine_tasks.push_back(task);
        }
        if live.machine_tasks.len() == 1 {
            self.begin_machine(node);
        }
    }

    fn begin_machine(&mut self, node: usize) {
        let latency = self.rng.micros(1, self.profile.machine_max_us);
        let run = self.nodes[node].run;
        self.schedule(latency, Event::Machine { node, run });
    }

    /// The machine is done with its first task.
    pub(super) fn machine_step(&mut self, node: usize) -> Result<(), Violation> {
        let Some(live) = &mut self.nodes[node].live else {
            return Ok(());
        };
        let Some(task) = live.machine_tasks.pop_front() else {
            return Ok(());
        };
        let more = !live.machine_tasks.is_empty();
        if let Some(input) = self.run_machine_task(node, task)? {
            self.put(node, input);
        }
        if more {
            self.begin_machine(node);
        }
        Ok(())
    }

    fn run_machine_task(
        &mut self,
        node: usize,
        task: SimMachineTask,
    ) -> Result<Option<SimInput>, Violation> {
        let broken = |error| Violation {
            invariant: "a sound machine takes every task",
            detail: format!("n{node}: {error}"),
        };
        let Some(live) = &mut self.nodes[node].live else {
            return Ok(None);
        };
        let applier = &mut live.applier;
        Ok(match task {
            MachineTask::Apply(mut entries) => {
                alter_times(self.planted, node, &mut entries);
                self.invariants
                    .on_apply(node, live.driver.core().log().committed(), &entries)?;
                let replies = applier
                    .apply(live.driver.session(), entries)
                    .map_err(broken)?;
                let index = applier.last().index;
                self.trace.note(self.now, node, index.0, || {
                    format!("applied up to {index}, {} replies", replies.len())
                });
                self.invariants
                    .on_state(node, index, applier.machine().view())?;
                if self.planted == Some(Planted::AppliedLost) && index.0 % 32 == 7 {
                    return Ok(None);
                }
                Some(Input::Applied(index, replies))
            }
            MachineTask::Query(query, op) => {
                let (index, seen) = applier.query(query);
                self.invariants.on_answer(node, index, query, &seen)?;
                self.trace.note(self.now, node, op, || {
                    format!("answers op {op} as of {index}")
                });
                let outcome = match seen.register {
                    None => Outcome::Seen(seen.view),
                    Some(Ok(found)) => Outcome::Found(found),
                    Some(Err(_)) => Outcome::Nonsense,
                };
                let outcome = self.leave_gate(node, op, false, outcome)?;
                self.client_hears(op, Ok(outcome));
                None
            }
            MachineTask::TakeSnapshot if self.planted == Some(Planted::SnapshotHangs) => None,
            MachineTask::TakeSnapshot => {
                let taken = applier.take_snapshot();
                self.coverage.snapshots += u64::from(taken.is_ok());
                self.trace
                    .note(self.now, node, 3, || format!("takes a snapshot: {taken:?}"));
                Some(Input::SnapshotTaken(
                    taken.map_err(|error| error.to_string().into()),
                ))
            }
            MachineTask::CheckSnapshot(meta) => {
                let sound = applier.snapshots().check(&meta).is_ok();
                self.coverage.rotten_snapshots += u64::from(!sound);
                self.trace.note(self.now, node, 3, || {
                    format!("checks snapshot {}: sound: {sound}", meta.last)
                });
                let found = Input::SnapshotChecked(meta, sound);
                (self.planted != Some(Planted::CheckResultLost)).then_some(found)
            }
            MachineTask::Restore(meta) => {
                applier.restore(&meta).map_err(broken)?;
                self.coverage.restores += 1;
                self.trace.note(self.now, node, meta.last.index.0, || {
                    format!("restores {}", meta.last)
                });
                self.invariants
                    .on_restored(node, &meta, applier.machine().view())?;
                Some(Input::Restored(meta))
            }
        })
    }

    // ----- the network -----

    fn send(
        &mut self,
        from: usize,
        to: &task_queue_raft::ids::NodeId,
        message: Message,
    ) -> Result<(), Violation> {
        let node = &self.nodes[from];
        self.invariants
            .on_send(&node.id, to, &message, &node.disk_view())?;
        let Some(to) = self.ids.iter().position(|id| id == to) else {
            return Err(Violation {
                invariant: "messages go to members",
                detail: format!("n{from} to {to}"),
            });
        };
        if !self.passes(from, to, &message) {
            return Ok(());
        }
        let frame = Frame::encode(&message).map_err(|error| unreadable(&message, &error))?;
        let mut delays = self.network.delays(self.now, from, to, &frame);
        if self.is_lost_by_fault(from, &message) {
            delays.clear();
        }
        if self.planted == Some(Planted::HeartbeatStorm)
            && let Message::Request(RaftRequest::AppendEntries(_)) = &message
        {
            delays = delays.repeat(16);
        }
        self.trace.note(self.now, from, frame.fingerprint(), || {
            short(format!("-> n{to} after {delays:?} {message:?}"))
        });
        self.coverage.lost += u64::from(delays.is_empty());
        self.coverage.doubled += u64::from(delays.len() > 1);
        let tag = self.tag_on_link(from, to);
        for delay in delays {
            let frame = frame.clone();
            let event = Event::Arrival {
                from,
                to,
                tag,
                frame,
            };
            self.schedule(delay, event);
        }
        let answer = self.nodes[from]
            .core()
            .and_then(|core| imagined_answer(self.planted, core, &self.ids[to], &message));
        if let Some(answer) = answer {
            self.put(from, Input::Message(self.sender(to), answer));
        }
        Ok(())
    }

    /// Planted: acknowledgements or votes have no effect unless all nodes are there.
    fn is_lost_by_fault(&self, from: usize, message: &Message) -> bool {
        let voters = self.nodes[from].core().map(Core::membership);
        let is_down =
            |node: &Node| voters.is_some_and(|all| all.is_voter(&node.id)) && node.live.is_none();
        let needed = match message {
            Message::Response(RaftResponse::AppendEntries(_) | RaftResponse::LeaseGranted(..)) => {
                Planted::CommitNeedsAll
            }
            Message::Response(RaftResponse::RequestVote(_)) => Planted::ElectionNeedsAll,
            _ => return false,
        };
        self.planted == Some(needed) && self.nodes.iter().any(is_down)
    }

    /// The store and the run of a node, as its hello shows them.
    pub(super) fn tag_of(&self, node: usize) -> Tag {
        let core = self.nodes[node].core();
        core.map_or_else(Tag::default, |core| {
            (core.store_id(), core.runs().current())
        })
    }

    fn sender(&self, node: usize) -> Sender {
        let (store_id, run) = self.tag_of(node);
        Sender {
            id: self.ids[node].clone(),
            store_id,
            run,
        }
    }

    /// A process has started: it connects to all others that it reaches, and they to it.
    pub(super) fn introduce_to_all(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            for (from, to) in [(node, other), (other, node)] {
                if other != node && !self.network.is_cut(from, to) {
                    self.introduce(from, to);
                }
            }
        }
    }

    /// A connection begins: the receiver gets the hello of the process that runs now, if it has another one of it.
    fn introduce(&mut self, from: usize, to: usize) {
        let Some(core) = self.nodes[from].core() else {
            return;
        };
        let hello = self.hello(from, to, core);
        let known = self.nodes[to].live.as_mut().map(|live| &mut live.hellos);
        let is_new = known.is_some_and(|known| {
            let before = known.insert(from, hello.clone());
            before.as_ref() != Some(&hello)
        });
        if is_new {
            self.put(to, Input::PeerHello(Box::new(hello)));
        }
    }

    pub(super) fn arrive(
        &mut self,
        from: usize,
        to: usize,
        tag: Tag,
        frame: &Frame,
    ) -> Result<(), Violation> {
        if self.network.is_cut(from, to) {
            match self.network.resend() {
                Some(delay) => {
                    let frame = frame.clone();
                    self.schedule(
                        delay,
                        Event::Arrival {
                            from,
                            to,
                            tag,
                            frame,
                        },
                    );
                }
                None => self.coverage.lost += 1,
            }
            return Ok(());
        }
        let Some(core) = self.nodes[to].core() else {
            return Ok(());
        };
        let message = frame.decode().map_err(|error| unreadable(frame, &error))?;
        let arrivals = tamper(self.planted, self.nodes.len(), from, to, core, message);
        self.trace.note(self.now, to, frame.fingerprint(), || {
            short(format!(
                "<- n{from} {:?}",
                arrivals.first().map(|(_, message)| message)
            ))
        });
        if tag == self.tag_on_link(from, to) {
            self.introduce(from, to);
        }
        for (sender, message) in arrivals {
            let sender = if sender == from {
                Sender {
                    id: self.ids[from].clone(),
                    store_id: tag.0,
                    run: tag.1,
                }
            } else {
                self.sender(sender)
            };
            self.put(to, Input::Message(sender, message));
        }
        Ok(())
    }
}

/// Planted: entries with another time than they have.
fn alter_times(planted: Option<Planted>, node: usize, entries: &mut [Entry]) {
    for entry in entries {
        match planted {
            Some(Planted::TimeRunsBack) if entry.id.index.0 % 16 == 7 => entry.time_ms = 1,
            Some(Planted::OneNodeHasOtherTime) if node == 1 => entry.time_ms += 1,
            _ => {}
        }
    }
}

fn told(told: &Told) -> Outcome {
    match told {
        Told::Place(place) => Outcome::Appended(*place),
        Told::Replaced(before) => Outcome::Replaced(*before),
        Told::Kept(found) => Outcome::Kept(*found),
        Told::TooLarge => Outcome::Refused,
        Told::Record(_) | Told::Nonsense(_) => Outcome::Nonsense,
    }
}

fn unreadable(message: &impl std::fmt::Debug, error: &dyn std::error::Error) -> Violation {
    Violation {
        invariant: "every message can be written and read",
        detail: format!("{error}: {message:?}"),
    }
}

/// Text for a person to read.
fn short(mut text: String) -> String {
    const LONGEST: usize = 400;
    if text.len() > LONGEST {
        let end = (0..=LONGEST)
            .rev()
            .find(|&end| text.is_char_boundary(end))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
