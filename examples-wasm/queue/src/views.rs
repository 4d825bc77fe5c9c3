//! Queries.

use std::collections::BTreeMap;
use std::ops::Bound;

use oarlock_guest::{Read, Refusal};

use crate::access::Access;
use crate::limits::{MAX_LISTED, MAX_PAGE, MAX_SCANNED};
use crate::messages::{
    GroupInfo, KeyInfo, ListState, Query, QueueDetail, Response, ScheduleInfo, Stage, StatsInfo,
    TaskInfo, TaskLine, WorkerInfo,
};
use crate::policy::Policy;
use crate::queue::Queue;
use crate::refuse::{bad_query, check_range, too_large};
use crate::size;
use crate::state::Queues;
use crate::task::{Extra, Task};

/// Bytes of an entry of a list besides its name.
const ENTRY_BYTES: u64 = 256;

/// The attributes of a task, by name.
pub(crate) fn attributes(extra: &Extra) -> BTreeMap<String, String> {
    extra
        .attributes
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

impl<P: Policy> Queues<P> {
    pub(crate) fn respond(&self, cx: &Read<'_>, query: Query) -> Result<Response, Refusal> {
        let access = Access::of(cx.caller());
        self.check_query(&access, &query)?;
        let limit = cx.reply_limit();
        match query {
            Query::Stats { after, detail } => {
                let page = (after.as_deref(), limit);
                Ok(self.stats(&access, page, detail, cx.time_ms()))
            }
            Query::Task { id } => Ok(Response::Task {
                task: self.show(id, limit)?,
            }),
            Query::List { .. } => self.list(&query, cx.time_ms(), limit),
            Query::Workers { after } => Ok(self.list_workers(after.as_deref(), limit)),
            Query::Schedules { after } => {
                let page = (after.as_deref(), limit);
                Ok(self.list_schedules(&access, page, cx.time_ms()))
            }
            Query::Group { group } => Ok(Response::Group {
                group: self.show_group(&group),
            }),
            Query::Keys { queue, after } => self.list_keys(&queue, after.as_deref(), limit),
            Query::Stuck {} => Ok(Response::Stuck(self.stuck(&access, cx.time_ms(), limit))),
        }
    }

    /// The queues after a name, as many as fit into a response.
    fn stats(
        &self,
        access: &Access,
        (after, limit): (Option<&str>, u64),
        detail: bool,
        now_ms: u64,
    ) -> Response {
        let mut page = Page::new(limit);
        let more = if detail { size::DETAIL_BYTES } else { 0 };
        let queues = self.names.range::<str, _>(from(after));
        for (name, &number) in queues.filter(|(name, _)| access.has(name)) {
            let queue = self.queue(number);
            let settings = queue
                .config()
                .and_then(|config| config.dead_letter.as_deref())
                .map_or(0, size::text);
            let entry = || StatsInfo {
                counts: queue.counts(),
                detail: detail.then(|| self.detail(queue, now_ms)),
            };
            if !page.add(name, size::counts(name) + more + settings, entry) {
                break;
            }
        }
        let (queues, next) = page.end();
        Response::Stats { queues, next }
    }

    fn detail(&self, queue: &Queue, now_ms: u64) -> QueueDetail {
        let numbers = &queue.numbers;
        QueueDetail {
            waiting: numbers.waiting,
            bytes: numbers.bytes,
            oldest_ready_ms: self.oldest_ready_ms(queue, now_ms),
            waiters: self.waiters.count_of(&queue.name),
            paused: queue.paused,
            enqueued_a_minute: numbers.enqueued_rate.last_minute(now_ms),
            completed_a_minute: numbers.completed_rate.last_minute(now_ms),
            failed_a_minute: numbers.failed_rate.last_minute(now_ms),
            failed: numbers.failed,
            expired: numbers.expired,
            removed: numbers.removed,
            settings: queue.config().cloned(),
        }
    }

    /// Age of the oldest ready task of a queue, in milliseconds.
    pub(crate) fn oldest_ready_ms(&self, queue: &Queue, now_ms: u64) -> u64 {
        let oldest = queue.ready.oldest().and_then(|id| self.tasks.get(id));
        oldest.map_or(0, |task| task.age_ms(now_ms))
    }

    fn show(&self, id: u64, limit: u64) -> Result<Option<TaskInfo>, Refusal> {
        if let Some(task) = self.tasks.get(id) {
            return self.show_task(id, task, limit).map(Some);
        }
        Ok(self.results.get(id).map(|kept| TaskInfo {
            id,
            queue: kept.queue.to_string(),
            state: Stage::Done,
            attempt: kept.attempt,
            payload: None,
            payload_base64: None,
            errors: Vec::new(),
            failures: Vec::new(),
            died_in: None,
            result: Some(kept.result.clone()),
        }))
    }

    fn show_task(&self, id: u64, task: &Task, limit: u64) -> Result<TaskInfo, Refusal> {
        let queue = &self.queue(task.queue).name;
        let died_in = task.extra().and_then(|extra| extra.died_in.as_deref());
        let mut bytes = size::shown_alone(queue, &task.payload, &[died_in]);
        if bytes > limit {
            return Err(too_large("id", bytes, limit));
        }
        // The newest failures first. Each error is in the response twice.
        let failures = task
            .extra()
            .map(|extra| extra.failures.iter())
            .unwrap_or_default();
        let mut newest: Vec<_> = failures
            .rev()
            .take_while(|failure| {
                bytes += 128 + 2 * size::text(&failure.error) + size::text(&failure.worker);
                bytes <= limit
            })
            .cloned()
            .collect();
        newest.reverse();
        let errors = newest
            .iter()
            .map(|failure| &failure.error)
            .filter(|error| !error.is_empty());
        let (payload, payload_base64) = task.payload.to_fields();
        Ok(TaskInfo {
            id,
            queue: queue.to_string(),
            state: task.place().stage(),
            attempt: task.attempt,
            payload,
            payload_base64,
            errors: errors.cloned().collect(),
            failures: newest,
            died_in: died_in.map(str::to_owned),
            result: None,
        })
    }

    fn list(&self, query: &Query, now_ms: u64, limit: u64) -> Result<Response, Refusal> {
        let Query::List {
            queue,
            state,
            fairness_key,
            min_age_ms,
            payload,
            max,
            after,
        } = query
        else {
            return Ok(Response::List {
                tasks: Vec::new(),
                next: None,
            });
        };
        check_range("max", (*max).into(), 1, MAX_LISTED.into())?;
        let number = self.existing(queue)?;
        let queue = self.queue(number);
        let mut bytes = size::REPLY_BYTES;
        let (mut tasks, mut last, mut scanned, mut is_complete) = (Vec::new(), None, 0, true);
        for (place, id) in places(queue, *state, after.as_deref())? {
            let task = &self.tasks[id];
            let line = self.line(id, task, *payload, now_ms);
            let entry_bytes = line_bytes(&line, task, *payload);
            if tasks.len() == *max as usize
                || scanned == MAX_SCANNED
                || (bytes + entry_bytes > limit && !tasks.is_empty())
            {
                is_complete = false;
                break;
            }
            scanned += 1;
            last = Some(place);
            let has_key = fairness_key
                .as_ref()
                .is_none_or(|key| queue.keys.name(task.key) == Some(key));
            if has_key && line.age_ms >= *min_age_ms && bytes + entry_bytes <= limit {
                bytes += entry_bytes;
                tasks.push(line);
            }
        }
        Ok(Response::List {
            tasks,
            next: last.filter(|_| !is_complete),
        })
    }

    pub(crate) fn line(&self, id: u64, task: &Task, with_payload: bool, now_ms: u64) -> TaskLine {
        let (payload, payload_base64) = if with_payload {
            task.payload.to_fields()
        } else {
            (None, None)
        };
        let holder = task
            .place()
            .is_leased()
            .then(|| self.worker_of(task).to_owned());
        TaskLine {
            id,
            state: task.place().stage(),
            priority: task.priority,
            attempt: task.attempt,
            age_ms: task.age_ms(now_ms),
            timer_ms: task.timer(),
            fairness_key: self
                .queue(task.queue)
                .keys
                .name(task.key)
                .map(str::to_owned),
            worker: holder,
            error: task
                .extra()
                .and_then(|extra| extra.failures.back())
                .map(|failure| failure.error.clone()),
            payload,
            payload_base64,
        }
    }

    fn list_workers(&self, after: Option<&str>, limit: u64) -> Response {
        let mut page = Page::new(limit);
        for (name, &number) in self.workers.numbers.range::<str, _>(from(after)) {
            let Some(worker) = self.workers.get(number) else {
                continue;
            };
            let entry = || WorkerInfo {
                last_seen_ms: worker.last_seen_ms,
                leased: worker.leased,
                completed: worker.completed,
                failed: worker.failed,
            };
            if !page.add(name, ENTRY_BYTES + size::text(name), entry) {
                break;
            }
        }
        let (workers, next) = page.end();
        Response::Workers { workers, next }
    }

    fn list_schedules(
        &self,
        access: &Access,
        (after, limit): (Option<&str>, u64),
        now_ms: u64,
    ) -> Response {
        let mut page = Page::new(limit);
        for (name, schedule) in self.schedules.list.range::<str, _>(from(after)) {
            let queue = &schedule.task.queue;
            if !access.has(queue) {
                continue;
            }
            let entry = || ScheduleInfo {
                queue: queue.to_string(),
                next_ms: schedule.next_ms,
                ticks: schedule.ticks,
                failed: schedule.failed,
                paused: schedule.paused,
                cron: schedule.cron(),
            };
            let cron = schedule.expression().map_or(0, size::text);
            let bytes = ENTRY_BYTES + size::text(name) + size::text(queue) + cron;
            if !page.add(name, bytes, entry) {
                break;
            }
        }
        let (schedules, next) = page.end();
        Response::Schedules {
            schedules,
            now_ms,
            next,
        }
    }

    fn list_keys(&self, queue: &str, after: Option<&str>, limit: u64) -> Result<Response, Refusal> {
        let keys = &self.queue(self.existing(queue)?).keys;
        let mut page = Page::new(limit);
        for (name, &number) in keys.numbers.range::<str, _>(from(after)) {
            let Some(key) = keys.get(number) else {
                continue;
            };
            let entry = || KeyInfo {
                tasks: key.tasks,
                leased: key.leased,
                weight: key.weight(),
                blocked: key.is_parked(),
            };
            if !page.add(name, ENTRY_BYTES + size::text(name), entry) {
                break;
            }
        }
        let (keys, next) = page.end();
        Ok(Response::Keys { keys, next })
    }

    fn show_group(&self, name: &str) -> Option<GroupInfo> {
        let group = self.groups.get(name)?;
        Some(GroupInfo {
            open: group.is_open,
            pending: group.pending,
            dead: group.dead,
            done: group.done,
        })
    }
}

/// The names after one.
fn from(after: Option<&str>) -> (Bound<&str>, Bound<&str>) {
    (
        after.map_or(Bound::Unbounded, Bound::Excluded),
        Bound::Unbounded,
    )
}

/// Upper bound of the encoded size of a task in a list.
pub(crate) fn line_bytes(line: &TaskLine, task: &Task, with_payload: bool) -> u64 {
    let texts = [&line.fairness_key, &line.worker, &line.error];
    let texts: u64 = texts
        .into_iter()
        .flatten()
        .map(|text| size::text(text))
        .sum();
    ENTRY_BYTES
        + texts
        + if with_payload {
            task.payload.encoded_len()
        } else {
            0
        }
}

/// The tasks of a queue in one state after a place, each with its place.
fn places<'a>(
    queue: &'a Queue,
    state: ListState,
    after: Option<&str>,
) -> Result<Box<dyn Iterator<Item = (String, u64)> + 'a>, Refusal> {
    use Bound::{Excluded, Unbounded};
    let bad = || bad_query("list", "after is not the next of a response", "after");
    let numbers: Option<Vec<i128>> = after
        .map(|text| {
            text.split('.')
                .map(|part| part.parse().map_err(|_| bad()))
                .collect()
        })
        .transpose()?;
    let start = |width: usize| match &numbers {
        Some(numbers) if numbers.len() != width => Err(bad()),
        other => Ok(other.as_deref()),
    };
    let number = |numbers: &[i128], at: usize| u64::try_from(numbers[at]).map_err(|_| bad());
    Ok(match state {
        ListState::Ready => {
            let after = match start(3)? {
                Some(numbers) => {
                    let priority = i64::try_from(numbers[0]).map_err(|_| bad())?;
                    let key = u32::try_from(numbers[1]).map_err(|_| bad())?;
                    Some((priority, key, number(numbers, 2)?))
                }
                None => None,
            };
            Box::new(
                queue
                    .ready
                    .list(after)
                    .map(|(priority, key, id)| (format!("{priority}.{key}.{id}"), id)),
            )
        }
        ListState::Timed => {
            let from = match start(2)? {
                Some(numbers) => Excluded((number(numbers, 0)?, number(numbers, 1)?)),
                None => Unbounded,
            };
            Box::new(
                queue
                    .timers
                    .range((from, Unbounded))
                    .map(|&(at_ms, id)| (format!("{at_ms}.{id}"), id)),
            )
        }
        ListState::Dead => {
            let from = match start(1)? {
                Some(numbers) => Excluded(number(numbers, 0)?),
                None => Unbounded,
            };
            Box::new(
                queue
                    .dead
                    .range((from, Unbounded))
                    .map(|&id| (id.to_string(), id)),
            )
        }
    })
}

/// Entries by name, as many as fit into one response, at most [`MAX_PAGE`].
struct Page<T> {
    entries: BTreeMap<String, T>,
    bytes: u64,
    limit: u64,
    is_complete: bool,
}

impl<T> Page<T> {
    fn new(limit: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            bytes: size::REPLY_BYTES,
            limit,
            is_complete: true,
        }
    }

    /// Adds an entry if it fits. The name to continue after is in the response twice.
    fn add(&mut self, name: &str, bytes: u64, entry: impl FnOnce() -> T) -> bool {
        let is_full = self.entries.len() == MAX_PAGE;
        if is_full || self.bytes + bytes + size::text(name) > self.limit {
            self.is_complete = false;
            return false;
        }
        self.bytes += bytes;
        self.entries.insert(name.to_owned(), entry());
        true
    }

    fn end(self) -> (BTreeMap<String, T>, Option<String>) {
        let last = self.entries.keys().next_back().cloned();
        (self.entries, last.filter(|_| !self.is_complete))
    }
}
