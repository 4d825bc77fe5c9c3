//! Timers: delays and leases that end, tasks and results that expire, ticks of schedules.

use oarlock_guest::Apply;

use crate::limits::MAX_SWEPT;
use crate::policy::Policy;
use crate::state::Queues;
use crate::task::Place;

impl<P: Policy> Queues<P> {
    /// Fires the due timers of a queue, in the order of (time, id), up to the budget.
    pub(crate) fn sweep(&mut self, queue: u32, now_ms: u64, budget: &mut usize) {
        while *budget > 0
            && let Some(&(at_ms, id)) = self.queue(queue).timers.first()
            && at_ms <= now_ms
        {
            *budget -= 1;
            self.fire(id, now_ms);
        }
        self.queue_mut(queue).release_keys(now_ms, budget);
    }

    fn fire(&mut self, id: u64, now_ms: u64) {
        let task = &self.tasks[id];
        let expires_ms = task.expires_ms();
        match task.place() {
            Place::Leased(_) => self.expire_lease(id, now_ms),
            _ if expires_ms != 0 && expires_ms <= now_ms => self.expire(id, now_ms),
            _ => {
                self.change(id, |_| Place::Ready);
            }
        }
    }

    /// Ends a task that was not delivered in time.
    fn expire(&mut self, id: u64, now_ms: u64) {
        let task = self.tasks.get_mut(id).expect("the caller found the task");
        let number = task.queue;
        let waited_ms = task.age_ms(now_ms);
        let queue = &mut self.queues[number as usize];
        queue.numbers.expired += 1;
        if queue.config().is_some_and(|config| config.drop_expired) {
            self.remove(id, now_ms);
            return;
        }
        task.add_failure(
            now_ms,
            "",
            &format!("its time was over after {waited_ms} ms without a delivery"),
        );
        self.die(id, now_ms, false);
        // A task that is returned has all the time it needs.
        if let Some(extra) = self
            .tasks
            .get_mut(id)
            .and_then(|task| task.extra.as_deref_mut())
        {
            extra.expires_ms = 0;
        }
    }

    /// Handles a wake-up: fires what is due, up to the limit of one wake-up. Another one follows for the rest.
    pub(crate) fn wake(&mut self, cx: &mut Apply<'_>) {
        self.requested_wake_ms = 0;
        cx.wake_at(0);
        let now_ms = cx.time_ms();
        let mut budget = MAX_SWEPT;
        while budget > 0
            && let Some(&(at_ms, queue)) = self.alarms.first()
            && at_ms <= now_ms
        {
            self.sweep(queue, now_ms, &mut budget);
            // A limit may be all that was due. The alarm is set again at the end.
            self.alarms.remove(&(at_ms, queue));
            self.queue_mut(queue).alarm_ms = 0;
            self.touch(queue);
        }
        self.results.sweep(now_ms, &mut budget);
        self.tick(now_ms, &mut budget);
        for queue in std::mem::take(&mut self.unserved) {
            self.touch(queue);
        }
        self.settle(cx);
    }
}
