//! The threads of disk and state machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use super::channels::DriverEvent;
use super::environment::QuerySender;
use super::error::FatalError;
use super::inbox::Inbox;
use super::shared_driver::panic_message;
use crate::applier::Applier;
use crate::disk::{Disk, DiskDone, DiskTask};
use crate::driver::{Input, MachineTask};
use crate::entry::SnapshotMeta;
use crate::state_machine::{QueryCallback, ReplicatedStateMachine};

/// Starts a thread. If it panics, the node stops with that as its fatal error.
pub(super) fn spawn<M: ReplicatedStateMachine>(
    name: &'static str,
    inbox: &Inbox<M>,
    run: impl FnOnce(&Inbox<M>) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let inbox = inbox.clone();
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(M::STACK_BYTES)
        .spawn(move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&inbox))) {
                inbox.notify(DriverEvent::Fatal(FatalError::Panic {
                    thread: name,
                    message: panic_message(&*panic),
                }));
            }
        })
}

/// Runs the disk's tasks in order, until the driver ends or the disk fails.
pub(super) fn run_disk<M: ReplicatedStateMachine>(
    mut disk: Disk,
    tasks: &mpsc::Receiver<DiskTask>,
    inbox: &Inbox<M>,
) {
    let stats = disk.stats();
    for task in tasks {
        let is_write = matches!(task, DiskTask::Write(..));
        let begun = Instant::now();
        let done = disk.run(task);
        if is_write {
            stats.record_time(begun.elapsed());
        }
        match done {
            Ok(DiskDone::NoReply) => {}
            Ok(done) => inbox.notify(DriverEvent::Input(Input::Disk(done), None)),
            Err(error) => {
                return inbox.notify(DriverEvent::Fatal(FatalError::Storage(Arc::new(error))));
            }
        }
    }
}

/// Runs the state machine's tasks in order, until the driver ends or the machine fails.
pub(super) fn run_machine<M: ReplicatedStateMachine>(
    mut applier: Applier<M>,
    session: u64,
    tasks: &mpsc::Receiver<MachineTask<M, QuerySender<M>>>,
    inbox: &Inbox<M>,
) {
    let (mut writer, mut checker) = (None, None);
    while let Some(task) = next_task(&mut applier, tasks) {
        let done = match task {
            MachineTask::Apply(entries) => {
                let applied = applier.apply(session, entries);
                if applied.is_ok() && applier.has_ended_waits() {
                    inbox.notify(DriverEvent::Input(Input::WaitsEnded, None));
                }
                applied.map(|replies| Input::Applied(applier.last().index, replies))
            }
            MachineTask::Query(query, client) => {
                let QuerySender {
                    outcome,
                    watch,
                    _permit: permit,
                } = client;
                let respond = move |index, response| {
                    drop(permit);
                    // An error means that the client has gone.
                    let _ = outcome.send(Ok((index, response)));
                };
                applier.query_async(query, QueryCallback::new(respond).for_client(watch));
                continue;
            }
            MachineTask::TakeSnapshot => {
                // The previous writer has finished: the core requests one snapshot at a time.
                join(writer.take());
                match spawn_snapshot_writer(&mut applier, inbox) {
                    Ok(thread) => {
                        writer = Some(thread);
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the snapshot failed");
                        Ok(Input::SnapshotTaken(Err(error.to_string().into())))
                    }
                }
            }
            MachineTask::CheckSnapshot(meta) => {
                // The previous one has finished: the core requests one check at a time.
                join(checker.take());
                match spawn_snapshot_checker(&applier, &meta, inbox) {
                    Ok(thread) => {
                        checker = Some(thread);
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the check of a snapshot could not start");
                        // Nothing speaks against it. The next check comes after the interval.
                        Ok(Input::SnapshotChecked(meta, true))
                    }
                }
            }
            MachineTask::Restore(meta) => applier.restore(&meta).map(|()| Input::Restored(meta)),
        };
        match done {
            Ok(input) => inbox.notify(DriverEvent::Input(input, None)),
            Err(error) => {
                inbox.notify(DriverEvent::Fatal(FatalError::Machine(Arc::new(error))));
                break;
            }
        }
    }
    // A stopped node writes nothing more. A check only reads: nothing waits for it.
    join(writer);
}

/// The next task; `None` when the driver has ended. Where none is queued, the machine first does what it put off.
fn next_task<M: ReplicatedStateMachine>(
    applier: &mut Applier<M>,
    tasks: &mpsc::Receiver<MachineTask<M, QuerySender<M>>>,
) -> Option<MachineTask<M, QuerySender<M>>> {
    match tasks.try_recv() {
        Ok(task) => Some(task),
        Err(mpsc::TryRecvError::Disconnected) => None,
        Err(mpsc::TryRecvError::Empty) => {
            applier.on_idle();
            tasks.recv().ok()
        }
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    // A panic of the thread was reported already.
    let _ = thread.map(JoinHandle::join);
}

/// Starts a thread that writes a snapshot of the current state, and reports when it is done.
fn spawn_snapshot_writer<M: ReplicatedStateMachine>(
    applier: &mut Applier<M>,
    inbox: &Inbox<M>,
) -> Result<JoinHandle<()>, Box<dyn std::error::Error>> {
    let snapshot = applier.begin_snapshot()?;
    let write = move |inbox: &Inbox<M>| {
        let taken = snapshot
            .run()
            .inspect_err(|error| tracing::warn!(%error, "the snapshot failed"));
        let taken = taken.map_err(|error| error.to_string().into());
        inbox.notify(DriverEvent::Input(Input::SnapshotTaken(taken), None));
    };
    Ok(spawn("raft-snapshot", inbox, write)?)
}

/// Starts a thread that reads a snapshot to its end, and reports whether it is sound.
fn spawn_snapshot_checker<M: ReplicatedStateMachine>(
    applier: &Applier<M>,
    meta: &SnapshotMeta,
    inbox: &Inbox<M>,
) -> std::io::Result<JoinHandle<()>> {
    let (snapshots, meta) = (applier.snapshots(), meta.clone());
    let check = move |inbox: &Inbox<M>| {
        let checked = snapshots.check(&meta).inspect_err(|error| {
            tracing::warn!(snapshot = %meta.last, %error, "a snapshot is not sound");
        });
        let input = Input::SnapshotChecked(meta, checked.is_ok());
        inbox.notify(DriverEvent::Input(input, None));
    };
    spawn("raft-check", inbox, check)
}
