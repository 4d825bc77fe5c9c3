//! The state: all queues and their tasks, and the functions that keep their indexes.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use oarlock_guest::{Apply, Refusal, Token};
use serde::{Deserialize, Serialize};

use crate::dedupe::Dedupe;
use crate::deliver::ServeBudget;
use crate::groups::Group;
use crate::limits::MAX_QUEUES;
use crate::messages::Reply;
use crate::policy::{Plain, Policy};
use crate::queue::Queue;
use crate::refuse::{full, no_such_queue};
use crate::results::Results;
use crate::schedules::Schedules;
use crate::task::{Place, Task};
use crate::tasks::Tasks;
use crate::waiters::Waiters;
use crate::workers::Workers;

/// All queues and their tasks. `P` are the rules of a project; without one the queue follows the commands alone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Queues<P: Policy = Plain> {
    /// Id of the last task; the first is 1.
    pub(crate) last_id: u64,
    pub(crate) tasks: Tasks,
    /// Tasks that wait for a task, by its id.
    pub(crate) dependents: BTreeMap<u64, BTreeSet<u64>>,
    pub(crate) queues: Vec<Queue>,
    /// Places in `queues` of queues that were deleted.
    pub(crate) free: BTreeSet<u32>,
    /// Index in `queues`, by name of the queue.
    pub(crate) names: BTreeMap<Box<str>, u32>,
    pub(crate) dedupe: Dedupe,
    /// (time of its first timer, index in `queues`) of each queue with timers.
    pub(crate) alarms: BTreeSet<(u64, u32)>,
    /// Wake time that was last requested from the host; 0 for none.
    pub(crate) requested_wake_ms: u64,
    pub(crate) workers: Workers,
    pub(crate) waiters: Waiters,
    /// Queues whose waiting workers are served at the next wake-up, because one command serves only some.
    pub(crate) unserved: BTreeSet<u32>,
    pub(crate) results: Results,
    pub(crate) groups: BTreeMap<Box<str>, Group>,
    pub(crate) schedules: Schedules,
    /// Queues that the current command has changed. Empty between commands.
    #[serde(skip)]
    touched: Vec<u32>,
    /// Replies to commands that waited. Empty between commands.
    #[serde(skip)]
    pub(crate) completions: Vec<(Token, Reply)>,
    #[serde(skip)]
    policy: PhantomData<P>,
}

impl<P: Policy> Default for Queues<P> {
    fn default() -> Self {
        Self {
            last_id: 0,
            tasks: Tasks::default(),
            dependents: BTreeMap::new(),
            queues: Vec::new(),
            free: BTreeSet::new(),
            names: BTreeMap::new(),
            dedupe: Dedupe::default(),
            alarms: BTreeSet::new(),
            requested_wake_ms: 0,
            workers: Workers::default(),
            waiters: Waiters::default(),
            unserved: BTreeSet::new(),
            results: Results::default(),
            groups: BTreeMap::new(),
            schedules: Schedules::default(),
            touched: Vec::new(),
            completions: Vec::new(),
            policy: PhantomData,
        }
    }
}

impl<P: Policy> Queues<P> {
    /// Index of a queue, if it exists.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// Index of a queue.
    ///
    /// # Errors
    /// It does not exist.
    pub(crate) fn existing(&self, name: &str) -> Result<u32, Refusal> {
        self.find(name).ok_or_else(|| no_such_queue(name))
    }

    /// Refuses a new queue if there are too many.
    pub(crate) fn check_room_for_queue(&self, name: &str) -> Result<(), Refusal> {
        if self.find(name).is_none() && self.names.len() >= MAX_QUEUES {
            return Err(full("queues", MAX_QUEUES));
        }
        Ok(())
    }

    /// Index of a queue. It is created if it does not exist.
    pub(crate) fn open(&mut self, name: &str) -> u32 {
        if let Some(number) = self.find(name) {
            return number;
        }
        let number = self.free.pop_first().unwrap_or_else(|| {
            self.queues.push(Queue::default());
            u32::try_from(self.queues.len() - 1).expect("MAX_QUEUES fits in 32 bits")
        });
        self.queues[number as usize] = Queue::new(name);
        self.names.insert(name.into(), number);
        number
    }

    pub(crate) fn queue(&self, number: u32) -> &Queue {
        &self.queues[number as usize]
    }

    pub(crate) fn queue_mut(&mut self, number: u32) -> &mut Queue {
        &mut self.queues[number as usize]
    }

    /// Name of the worker of the last delivery.
    pub(crate) fn worker_of(&self, task: &Task) -> &str {
        task.worker().map_or("", |worker| self.workers.name(worker))
    }

    /// Adds a task to the indexes of its queue.
    pub(crate) fn index(&mut self, id: u64) {
        let task = &self.tasks[id];
        let number = task.queue;
        self.queues[number as usize].insert(id, task);
        if task.place().is_leased()
            && let Some(worker) = task.worker()
        {
            self.workers.lease(worker);
        }
        self.touch(number);
    }

    /// Removes a task from the indexes of its queue.
    pub(crate) fn unindex(&mut self, id: u64) {
        let task = &self.tasks[id];
        let number = task.queue;
        self.queues[number as usize].remove(id, task);
        if task.place().is_leased()
            && let Some(worker) = task.worker()
        {
            self.workers.end_lease(worker);
        }
        self.touch(number);
    }

    /// Moves a task that exists to the place that `change` returns. Returns that place.
    pub(crate) fn change(&mut self, id: u64, change: impl FnOnce(&mut Task) -> Place) -> Place {
        self.unindex(id);
        let task = self.tasks.get_mut(id).expect("the caller found the task");
        let place = change(task);
        task.place = place.into();
        self.index(id);
        place
    }

    /// Notes that a queue has changed: at the end of the command its waiters are served and its alarm is set.
    pub(crate) fn touch(&mut self, queue: u32) {
        if self.touched.last() != Some(&queue) {
            self.touched.push(queue);
        }
    }

    /// Ends a command: serves workers that wait, and requests the next wake-up.
    pub(crate) fn settle(&mut self, cx: &mut Apply<'_>) {
        let mut budget = ServeBudget::default();
        while let Some(queue) = self.touched.pop() {
            self.queue_mut(queue).ready.settle();
            self.serve(cx, queue, &mut budget);
            self.set_alarm(queue, cx.time_ms());
        }
        self.request_wake_up(cx);
    }

    /// Sets the alarms of all queues, for a state that was read from another version.
    pub(crate) fn set_alarms(&mut self) {
        self.touched.clear();
        for number in self.names.values().copied().collect::<Vec<_>>() {
            self.set_alarm(number, 0);
        }
    }

    /// Updates the entry of a queue in the list of alarms.
    fn set_alarm(&mut self, number: u32, now_ms: u64) {
        let has_waiters = self.waiters.has(&self.queue(number).name);
        let queue = &mut self.queues[number as usize];
        let alarm_ms = queue.next_alarm(has_waiters, now_ms).unwrap_or(0);
        if alarm_ms == queue.alarm_ms {
            return;
        }
        self.alarms.remove(&(queue.alarm_ms, number));
        queue.alarm_ms = alarm_ms;
        if alarm_ms != 0 {
            self.alarms.insert((alarm_ms, number));
        }
    }

    /// Requests a wake-up for the first timer. A request that is too early is kept: an unneeded wake-up costs less than a
    /// new request at each acknowledgement.
    fn request_wake_up(&mut self, cx: &mut Apply<'_>) {
        let alarm = self.alarms.first().map(|&(at_ms, _)| at_ms);
        let times = [
            alarm,
            self.schedules.first_tick(),
            self.results.first_expiry(),
        ];
        let unserved = (!self.unserved.is_empty()).then_some(cx.time_ms());
        let Some(next_ms) = times.into_iter().chain([unserved]).flatten().min() else {
            return;
        };
        let is_requested =
            self.requested_wake_ms > cx.time_ms() && self.requested_wake_ms <= next_ms;
        if !is_requested {
            self.requested_wake_ms = next_ms;
            cx.wake_at(next_ms);
        }
    }
}
