//! Segments that are not in use, and the thread that prepares the next one ahead of need.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use super::files::SegmentFiles;
use super::sector::SECTOR_BYTES;
use super::segment::{LogSegment, PAGE_SECTORS, SegmentHeader, create_segment, write_header};
use crate::storage::SegmentStats;
use crate::storage::StorageError;
use crate::storage::files::failed;

/// Sizes of segments, and how many are kept to be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRules {
    /// Length of the first segment, in bytes. Each next one is twice as long.
    pub first_bytes: u32,
    /// Length of all later segments, in bytes. Only a segment for one longer write is longer.
    pub max_bytes: u32,
    /// Segments of the maximum length that are kept although they contain nothing.
    pub spare_max: usize,
}

impl Default for SegmentRules {
    fn default() -> Self {
        Self {
            first_bytes: 1 << 20,
            max_bytes: 16 << 20,
            spare_max: 8,
        }
    }
}

impl SegmentRules {
    /// Sectors of the first segment.
    pub(super) fn first_sectors(self) -> u32 {
        whole_pages(self.first_bytes / SECTOR_BYTES as u32)
    }

    /// Sectors of the segment after one with `before` sectors, which must have space for `needed`.
    pub(super) fn next_sectors(self, before: u32, needed: u32) -> u32 {
        let grown = before.saturating_mul(2).min(self.max_sectors());
        whole_pages(grown.max(needed))
    }

    fn max_sectors(self) -> u32 {
        whole_pages(self.max_bytes / SECTOR_BYTES as u32)
    }
}

fn whole_pages(sectors: u32) -> u32 {
    sectors.div_ceil(PAGE_SECTORS).max(2) * PAGE_SECTORS
}

/// Who prepares segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentPreparation {
    /// A thread of its own, which starts with the first write.
    Thread,
    /// The caller, for a simulation.
    Inline,
}

/// The segments that are not in use.
#[derive(Debug)]
pub(super) struct SegmentPool {
    pub(super) files: Arc<dyn SegmentFiles>,
    pub(super) log_id: u64,
    pub(super) rules: SegmentRules,
    pub(super) spare: Vec<LogSegment>,
    /// The number of the next file.
    pub(super) next_file: u32,
    pub(super) stats: Arc<SegmentStats>,
}

impl SegmentPool {
    /// A segment with this sequence, empty and durable.
    fn prepare(&mut self, sequence: u32, sectors: u32) -> Result<LogSegment, StorageError> {
        let fits = |segment: &LogSegment| segment.header.sectors >= sectors;
        if let Some(position) = self.spare.iter().position(fits) {
            let segment = self.spare.swap_remove(position);
            self.note_spare();
            let header = SegmentHeader {
                sequence,
                ..segment.header
            };
            write_header(&*self.files, header, &*segment.file)?;
            return Ok(LogSegment::new(header, segment.file));
        }
        let header = SegmentHeader {
            log_id: self.log_id,
            file: self.next_file,
            sequence,
            sectors,
        };
        let segment = create_segment(&*self.files, header)?;
        self.next_file += 1;
        SegmentStats::add(&self.stats.created);
        Ok(segment)
    }

    /// Takes a segment whose entries are purged. It is kept to be used again, or removed.
    pub(super) fn release(&mut self, segment: LogSegment) -> Result<(), StorageError> {
        let fits = segment.header.sectors == self.rules.max_sectors();
        if fits && self.spare.len() < self.rules.spare_max {
            let header = SegmentHeader {
                sequence: 0,
                ..segment.header
            };
            write_header(&*self.files, header, &*segment.file)?;
            self.spare.push(LogSegment::new(header, segment.file));
            self.note_spare();
            return Ok(());
        }
        let file = segment.header.file;
        drop(segment);
        let removed = self.files.remove(file);
        removed.map_err(failed("cannot remove", &self.files.path(file)))
    }

    fn note_spare(&self) {
        SegmentStats::set(&self.stats.spare, self.spare.len());
    }
}

#[derive(Debug)]
enum PoolTask {
    Prepare { sequence: u32, sectors: u32 },
    Release(LogSegment),
}

type Prepared = Result<LogSegment, StorageError>;

/// Runs the tasks of a pool, in order.
#[derive(Debug)]
pub(super) struct Preparer {
    worker: Worker,
    /// A segment was requested, and not taken yet.
    pub(super) is_pending: bool,
}

#[derive(Debug)]
enum Worker {
    Inline(Box<SegmentPool>, VecDeque<Prepared>),
    /// Its thread starts with the first task.
    Idle(Option<Box<SegmentPool>>),
    Thread(PoolThread),
}

impl Preparer {
    pub(super) fn new(pool: SegmentPool, preparation: SegmentPreparation) -> Self {
        let pool = Box::new(pool);
        let worker = match preparation {
            SegmentPreparation::Inline => Worker::Inline(pool, VecDeque::new()),
            SegmentPreparation::Thread => Worker::Idle(Some(pool)),
        };
        Self {
            worker,
            is_pending: false,
        }
    }

    /// Requests a segment. [`Preparer::take`] returns it.
    pub(super) fn request(&mut self, sequence: u32, sectors: u32) -> Result<(), StorageError> {
        self.run(PoolTask::Prepare { sequence, sectors })?;
        self.is_pending = true;
        Ok(())
    }

    /// Gives a segment back whose entries are purged, durably.
    pub(super) fn release(&mut self, segment: LogSegment) -> Result<(), StorageError> {
        self.run(PoolTask::Release(segment))
    }

    /// The requested segment, and whether the caller had to wait for it.
    pub(super) fn take(&mut self) -> (Prepared, bool) {
        self.is_pending = false;
        match &mut self.worker {
            Worker::Inline(_, results) => (results.pop_front().unwrap_or_else(gone), false),
            Worker::Idle(_) => (gone(), false),
            Worker::Thread(thread) => match thread.results.try_recv() {
                Ok(result) => (result, false),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    let result = thread.results.recv();
                    (result.unwrap_or_else(|_| gone()), true)
                }
            },
        }
    }

    fn run(&mut self, task: PoolTask) -> Result<(), StorageError> {
        if let Worker::Idle(pool) = &mut self.worker
            && let Some(pool) = pool.take()
        {
            self.worker = Worker::Thread(PoolThread::start(*pool)?);
        }
        match &mut self.worker {
            Worker::Inline(pool, results) => {
                results.extend(perform(pool, task));
                Ok(())
            }
            Worker::Thread(thread) => thread.send(task),
            Worker::Idle(_) => gone().map(|_| ()),
        }
    }
}

/// Runs a task; returns what the log must learn.
fn perform(pool: &mut SegmentPool, task: PoolTask) -> Option<Prepared> {
    match task {
        PoolTask::Prepare { sequence, sectors } => Some(pool.prepare(sequence, sectors)),
        PoolTask::Release(segment) => {
            let released = pool.release(segment);
            released.err().map(|error| Err(error.into_final()))
        }
    }
}

fn gone() -> Prepared {
    Err(StorageError::Database {
        doing: "preparing a segment of the log",
        source: "the thread that prepares segments has ended; restart the node".into(),
    })
}

/// The thread of a pool.
#[derive(Debug)]
struct PoolThread {
    tasks: Option<Sender<PoolTask>>,
    results: Receiver<Prepared>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PoolThread {
    fn start(mut pool: SegmentPool) -> Result<Self, StorageError> {
        let (tasks, requests) = channel();
        let (outcomes, results) = channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stopping);
        let path = pool.files.path(0);
        let work = move || {
            for task in requests {
                let wanted = matches!(task, PoolTask::Release(_)) || !stops.load(Ordering::Acquire);
                let outcome = if wanted {
                    perform(&mut pool, task)
                } else {
                    None
                };
                if outcome.is_some_and(|outcome| outcomes.send(outcome).is_err()) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new()
            .name("raft-segments".to_owned())
            .spawn(work)
            .map_err(failed("cannot start the thread that prepares", &path))?;
        Ok(Self {
            tasks: Some(tasks),
            results,
            stopping,
            thread: Some(thread),
        })
    }

    fn send(&self, task: PoolTask) -> Result<(), StorageError> {
        let sent = self.tasks.as_ref().map(|tasks| tasks.send(task));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(StorageError::Io {
                doing: "cannot prepare",
                path: "the next segment of the log".into(),
                source: io::Error::other("the thread that prepares segments has ended"),
            }),
        }
    }
}

impl Drop for PoolThread {
    /// The directory may be opened again as soon as the log is dropped, so the thread must have ended.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked has ended, too.
            drop(thread.join());
        }
    }
}
