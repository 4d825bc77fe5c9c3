//! Questions that are answered beside apply: on threads of their own, each with a copy of the guest.
//!
//! A copy is an instance over the image of the serving guest's memory ([`crate::images`]), so it costs next to nothing to
//! make, and whatever a question does to it nobody else sees. It is brought up to date between two questions, by
//! throwing back what it has written. A question that fails costs the copy.
//!
//! **What a question sees** is the image as it is when it is begun. Whoever asks has frozen the guest before
//! ([`crate::recover`]), so that is the state after the entry at which it was asked, or a later one. A part of the next
//! entry's commands may be in it: they are as good as all others, only not answered yet.

use std::collections::VecDeque;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use task_queue_raft::state_machine::{Answering, Moment};

use crate::engine::THREAD_STACK_BYTES;
use crate::failure::{GuestCallError, GuestFailure};
use crate::guest_log::GuestLog;
use crate::images::map::{HeldClone, Image};
use crate::instance::{Instance, InstantiateError};
use crate::limits::MachineLimits;
use crate::module::GuestModule;
use crate::outcome::GuestQueryError;

/// How often a copy is made anew because the guest's memory grows all the time.
const MOST_STARTS: u32 = 8;

/// What can be asked: a guest's state as it was when it was last frozen.
pub(crate) struct FrozenGuest {
    pub(crate) module: GuestModule,
    pub(crate) limits: MachineLimits,
    pub(crate) log: Arc<GuestLog>,
    pub(crate) image: Arc<Image>,
}

impl FrozenGuest {
    /// An instance in the state of the image, which it keeps as long as it is held.
    pub(crate) fn copy(&self) -> Result<(Instance, HeldClone), InstantiateError> {
        for _ in 0..MOST_STARTS {
            let mut copy = self.start()?;
            if let Some(held) = copy.hold(&self.image).map_err(InstantiateError::Image)? {
                return Ok((copy, held));
            }
        }
        Err(self.restless())
    }

    fn start(&self) -> Result<Instance, InstantiateError> {
        Instance::start_at(&self.module, &self.limits, &self.log, &self.image)
    }

    fn restless(&self) -> InstantiateError {
        InstantiateError::Image(io::Error::other("the guest's memory grows all the time"))
    }
}

/// A copy of a guest for one question after the other.
#[derive(Default)]
pub(crate) struct QueryReplica {
    of: Option<Arc<FrozenGuest>>,
    instance: Option<Instance>,
}

impl QueryReplica {
    /// Asks, and says at which moment.
    pub(crate) fn ask(
        &mut self,
        subject: &Arc<FrozenGuest>,
        request: &[u8],
    ) -> Result<(Moment, Result<Bytes, GuestQueryError>), InstantiateError> {
        if self.is_of_another(Some(subject)) {
            *self = Self {
                of: Some(Arc::clone(subject)),
                instance: None,
            };
        }
        for _ in 0..MOST_STARTS {
            let mut instance = match self.instance.take() {
                Some(instance) => instance,
                None => subject.start()?,
            };
            let Some(held) = instance
                .hold(&subject.image)
                .map_err(InstantiateError::Image)?
            else {
                continue;
            };
            instance.limit_growth(subject.limits.memory_per_query);
            let answered = instance.query(held.at(), request);
            // It is thrown back once it is not held any more and the image has moved on.
            if answered.is_ok() {
                self.instance = Some(instance);
            }
            return Ok((held.at(), answer(answered)));
        }
        Err(subject.restless())
    }

    fn is_of_another(&self, subject: Option<&Arc<FrozenGuest>>) -> bool {
        match (&self.of, subject) {
            (Some(own), Some(subject)) => !Arc::ptr_eq(own, subject),
            (own, subject) => own.is_some() != subject.is_some(),
        }
    }
}

/// What a client is told of the guest's answer.
pub(crate) fn answer(
    answered: Result<Option<Result<Bytes, Bytes>>, GuestCallError>,
) -> Result<Bytes, GuestQueryError> {
    match answered {
        Ok(Some(answer)) => answer.map_err(GuestQueryError::Refused),
        Ok(None) => Err(GuestQueryError::NotSupported),
        Err(GuestCallError::Guest(failure)) => Err(GuestQueryError::Failed(failure)),
        Err(error @ GuestCallError::NodeOutOfMemory) => Err(unavailable(&error)),
    }
}

pub(crate) fn unavailable(error: &dyn std::error::Error) -> GuestQueryError {
    tracing::error!(%error, "the guest could not be asked");
    GuestQueryError::Unavailable {
        reason: error.to_string(),
    }
}

/// A question, and who wants to know.
pub(crate) struct ReplicaQuery {
    pub(crate) subject: Arc<FrozenGuest>,
    pub(crate) at: Moment,
    pub(crate) request: Bytes,
    pub(crate) answer: Answering<Result<Bytes, GuestQueryError>>,
}

/// Counts of a pool, which others read.
#[derive(Debug, Default)]
pub(crate) struct QueryCounts {
    pub(crate) waiting: AtomicU64,
    pub(crate) answered: AtomicU64,
    pub(crate) overloaded: AtomicU64,
}

/// Threads that answer.
pub(crate) struct QueryPool {
    shared: Arc<PoolShared>,
}

struct PoolShared {
    queue: Mutex<QueryQueue>,
    news: Condvar,
    counts: Arc<QueryCounts>,
}

#[derive(Default)]
struct QueryQueue {
    questions: VecDeque<ReplicaQuery>,
    /// What was asked last: copies of anything else are of no use.
    subject: Option<Arc<FrozenGuest>>,
    closed: bool,
}

impl Drop for QueryPool {
    /// Threads end with the question that they are at; those that wait have no answer.
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        let waiting = std::mem::take(&mut queue.questions);
        drop(queue);
        drop(waiting);
        self.shared.news.notify_all();
    }
}

impl QueryPool {
    /// So many threads.
    ///
    /// # Errors
    /// The system has none.
    pub(crate) fn start(threads: usize, counts: Arc<QueryCounts>) -> io::Result<Self> {
        let readers = Self {
            shared: Arc::new(PoolShared {
                queue: Mutex::default(),
                news: Condvar::new(),
                counts,
            }),
        };
        for _ in 0..threads {
            let shared = Arc::clone(&readers.shared);
            // Nobody waits for it: a question may take long, and what it answers then nobody wants to know.
            std::thread::Builder::new()
                .name("oarlock-query".to_owned())
                .stack_size(THREAD_STACK_BYTES)
                .spawn(move || shared.run())?;
        }
        Ok(readers)
    }

    /// Has a question answered. Past the limit it is refused at once.
    pub(crate) fn ask(&self, question: ReplicaQuery) {
        let limit = question.subject.limits.queries_waiting;
        let mut queue = self.shared.lock();
        let waiting = queue.questions.len() as u64;
        if waiting >= limit {
            drop(queue);
            self.shared
                .counts
                .overloaded
                .fetch_add(1, Ordering::Relaxed);
            let index = question.at.index;
            return (question.answer)(index, Err(GuestQueryError::Overloaded { waiting }));
        }
        queue.see(Some(&question.subject), &self.shared.news);
        queue.questions.push_back(question);
        self.shared
            .counts
            .waiting
            .store(waiting + 1, Ordering::Relaxed);
        drop(queue);
        self.shared.news.notify_one();
    }

    /// Nothing of what was asked is there any more.
    pub(crate) fn forget(&self) {
        self.shared.lock().see(None, &self.shared.news);
    }
}

impl QueryQueue {
    fn see(&mut self, subject: Option<&Arc<FrozenGuest>>, news: &Condvar) {
        let same = match (&self.subject, subject) {
            (Some(known), Some(subject)) => Arc::ptr_eq(known, subject),
            (known, subject) => known.is_none() && subject.is_none(),
        };
        if !same {
            self.subject = subject.cloned();
            // Copies of the old one hold on to its memory.
            news.notify_all();
        }
    }
}

/// What a thread is to do next.
enum ReaderStep {
    Answer(ReplicaQuery),
    /// Its copy is of no use any more.
    LetGo,
    End,
}

impl PoolShared {
    fn run(&self) {
        let mut copy = QueryReplica::default();
        loop {
            match self.next(&copy) {
                ReaderStep::Answer(question) => self.answer(&mut copy, question),
                ReaderStep::LetGo => copy = QueryReplica::default(),
                ReaderStep::End => return,
            }
        }
    }

    fn next(&self, copy: &QueryReplica) -> ReaderStep {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return ReaderStep::End;
            }
            if let Some(question) = queue.questions.pop_front() {
                let waiting = queue.questions.len() as u64;
                self.counts.waiting.store(waiting, Ordering::Relaxed);
                return ReaderStep::Answer(question);
            }
            if copy.of.is_some() && copy.is_of_another(queue.subject.as_ref()) {
                return ReaderStep::LetGo;
            }
            queue = self
                .news
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn answer(&self, copy: &mut QueryReplica, question: ReplicaQuery) {
        let ReplicaQuery {
            subject,
            at,
            request,
            answer,
        } = question;
        let asked = AssertUnwindSafe(|| copy.ask(&subject, &request));
        let (at, answered) = match panic::catch_unwind(asked) {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => (at, Err(unavailable(&error))),
            Err(_) => {
                // Whoever comes next gets another copy.
                *copy = QueryReplica::default();
                let error = io::Error::other("answering panicked, which is a bug");
                (at, Err(unavailable(&error)))
            }
        };
        self.counts.answered.fetch_add(1, Ordering::Relaxed);
        answer(at.index, answered);
    }

    /// What is in the queue is whole at any time.
    fn lock(&self) -> MutexGuard<'_, QueryQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request over the limit of one.
pub(crate) fn too_large(request: &[u8], limits: &MachineLimits) -> Option<GuestQueryError> {
    let bytes = request.len() as u64;
    (bytes > limits.command_bytes).then_some(GuestQueryError::Failed(GuestFailure::TooLarge {
        what: "the query",
        bytes,
        limit: limits.command_bytes,
    }))
}

#[cfg(test)]
mod tests;
