//! What needs attention.

use crate::access::Access;
use crate::limits::MAX_SCANNED;
use crate::messages::{StuckInfo, StuckQueue, TaskLine};
use crate::policy::Policy;
use crate::queue::Queue;
use crate::size;
use crate::state::Queues;
use crate::task::Task;
use crate::views::line_bytes;

/// Most entries of each kind.
const MAX_ENTRIES: usize = 100;

impl<P: Policy> Queues<P> {
    /// Queues with ready tasks that no worker takes, tasks with one attempt left, and leases that were extended most
    /// often. It looks at a bounded number of queues and leases.
    pub(crate) fn stuck(&self, access: &Access, now_ms: u64, limit: u64) -> StuckInfo {
        let mut found = StuckInfo::default();
        let mut bytes = size::REPLY_BYTES;
        self.find_unserved(access, now_ms, (limit, &mut bytes), &mut found);
        let mut leases = Vec::new();
        let mut scanned = 0;
        let queues = self.names.iter().filter(|(name, _)| access.has(name));
        for (_, &number) in queues {
            for &(_, id) in &self.queue(number).timers {
                scanned += 1;
                if scanned > MAX_SCANNED {
                    found.more = true;
                    break;
                }
                let task = &self.tasks[id];
                if task.attempt + 1 >= task.max_attempts && task.attempt > 0 {
                    self.add_line(
                        &mut found.last_attempt,
                        id,
                        task,
                        now_ms,
                        (limit, &mut bytes),
                    );
                }
                if let Some(delivery) = task
                    .delivery
                    .as_ref()
                    .filter(|it| task.place().is_leased() && it.extended > 0)
                {
                    leases.push((std::cmp::Reverse(delivery.extended), delivery.since_ms, id));
                }
            }
        }
        leases.sort_unstable();
        found.more |= leases.len() > MAX_ENTRIES;
        for (_, _, id) in leases.into_iter().take(MAX_ENTRIES) {
            self.add_line(
                &mut found.long_leases,
                id,
                &self.tasks[id],
                now_ms,
                (limit, &mut bytes),
            );
        }
        found
    }

    fn find_unserved(
        &self,
        access: &Access,
        now_ms: u64,
        (limit, bytes): (u64, &mut u64),
        found: &mut StuckInfo,
    ) {
        let queues = self.names.iter().filter(|(name, _)| access.has(name));
        for (scanned, (_, &number)) in queues.enumerate() {
            let queue = self.queue(number);
            let Some(reason) = self.reason(queue, now_ms) else {
                continue;
            };
            *bytes += 128 + size::text(&queue.name);
            if found.unserved.len() == MAX_ENTRIES || *bytes > limit || scanned > MAX_SCANNED {
                found.more = true;
                return;
            }
            found.unserved.push(StuckQueue {
                queue: queue.name.to_string(),
                ready: queue.ready.len(),
                oldest_ready_ms: self.oldest_ready_ms(queue, now_ms),
                reason,
            });
        }
    }

    fn reason(&self, queue: &Queue, now_ms: u64) -> Option<&'static str> {
        if queue.ready.len() == 0 {
            None
        } else if queue.paused {
            Some("paused")
        } else if queue.is_full_in_flight() || queue.blocked_until(now_ms).is_some() {
            Some("limit")
        } else {
            (queue.numbers.leased == 0 && self.waiters.count_of(&queue.name) == 0)
                .then_some("no_worker")
        }
    }

    fn add_line(
        &self,
        to: &mut Vec<TaskLine>,
        id: u64,
        task: &Task,
        now_ms: u64,
        room: (u64, &mut u64),
    ) {
        let (limit, bytes) = room;
        let line = self.line(id, task, false, now_ms);
        let line_bytes = line_bytes(&line, task, false);
        if to.len() < MAX_ENTRIES && *bytes + line_bytes <= limit {
            *bytes += line_bytes;
            to.push(line);
        }
    }
}
