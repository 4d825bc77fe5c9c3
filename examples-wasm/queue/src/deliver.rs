//! Delivery of tasks: to a reserve, and to reserves that wait.

use oarlock_guest::{Apply, Refusal};

use crate::limits::{
    LOW_MEMORY_REPLY_BYTES, MAX_DELIVERED, MAX_QUEUES_A_RESERVE, MAX_SWEPT, MAX_WAIT_MS,
    MAX_WAITERS,
};
use crate::messages::{Delivered, Reply, Reserve};
use crate::policy::Policy;
use crate::refuse::{check_lease, check_name, check_range, out_of_range, too_many};
use crate::retry::mix;
use crate::size;
use crate::state::Queues;
use crate::task::{Delivery, Place};
use crate::waiters::Waiter;

/// Most bytes of replies to waiting workers in one command or wake-up. The others are served at the next wake-up.
const SERVED_BYTES: u64 = 16 << 20;

/// What one command or wake-up may still deliver to workers that wait.
pub(crate) struct ServeBudget {
    tasks: usize,
    bytes: u64,
}

impl Default for ServeBudget {
    fn default() -> Self {
        Self {
            tasks: MAX_SWEPT,
            bytes: SERVED_BYTES,
        }
    }
}

/// How tasks are delivered.
struct Order<'a> {
    queues: &'a [u32],
    worker: u32,
    lease_ms: u64,
    max: usize,
}

impl<P: Policy> Queues<P> {
    /// Delivers the first tasks of the queues, as many as fit into one reply. If there is none, the reserve may wait.
    pub(crate) fn reserve(
        &mut self,
        cx: &mut Apply<'_>,
        reserve: &Reserve,
    ) -> Result<Reply, Refusal> {
        self.check_reserve(reserve)?;
        let now_ms = cx.time_ms();
        let mut queues: Vec<u32> = reserve
            .queues
            .iter()
            .filter_map(|name| self.find(name))
            .collect();
        queues.sort_unstable();
        queues.dedup();
        let mut budget = MAX_SWEPT;
        for &queue in &queues {
            self.sweep(queue, now_ms, &mut budget);
        }
        // What the sweep made ready belongs to the workers that wait already.
        let mut served = ServeBudget::default();
        for &queue in &queues {
            self.serve(cx, queue, &mut served);
        }
        // `defer` refuses nothing here: `limits` permits fewer waiting commands than the SDK.
        if reserve.wait_ms > 0
            && !queues
                .iter()
                .any(|&queue| self.queue_mut(queue).peek(now_ms).is_some())
        {
            let token = cx.defer(now_ms + reserve.wait_ms)?;
            let worker = self.workers.see(&reserve.worker, now_ms);
            self.workers.wait(worker);
            let mut names: Vec<Box<str>> = reserve
                .queues
                .iter()
                .map(|name| name.as_str().into())
                .collect();
            names.sort_unstable();
            names.dedup();
            let waiter = Waiter {
                queues: names,
                worker,
                lease_ms: reserve.lease_ms,
                max: reserve.max,
            };
            self.waiters.add(token, waiter);
            queues.iter().for_each(|&queue| self.touch(queue));
            return Ok(Reply::Reserved { tasks: Vec::new() });
        }
        let worker = self.workers.see(&reserve.worker, now_ms);
        let order = Order {
            queues: &queues,
            worker,
            lease_ms: reserve.lease_ms,
            max: reserve.max as usize,
        };
        let (tasks, _) = self.deliver_some(cx, &order);
        Ok(Reply::Reserved { tasks })
    }

    /// Ends the reserves of a worker that wait.
    pub(crate) fn end_waits(&mut self, worker: &str) -> Result<Reply, Refusal> {
        check_name("worker", worker)?;
        let Some(&number) = self.workers.numbers.get(worker) else {
            return Ok(Reply::Done {});
        };
        for token in self.waiters.of_worker(number) {
            let Some(waiter) = self.waiters.remove(token) else {
                continue;
            };
            self.workers.end_wait(number);
            let tasks = Vec::new();
            self.completions.push((token, Reply::Reserved { tasks }));
            for name in &waiter.queues {
                if let Some(queue) = self.find(name) {
                    self.touch(queue);
                }
            }
        }
        Ok(Reply::Done {})
    }

    fn check_reserve(&self, reserve: &Reserve) -> Result<(), Refusal> {
        if !(1..=MAX_QUEUES_A_RESERVE).contains(&reserve.queues.len()) {
            let text = format!(
                "a reserve names 1 to {MAX_QUEUES_A_RESERVE} queues, not {}",
                reserve.queues.len()
            );
            return Err(out_of_range("queues", text));
        }
        for (number, name) in reserve.queues.iter().enumerate() {
            check_name(&format!("queues[{number}]"), name)?;
        }
        check_name("worker", &reserve.worker)?;
        check_lease(reserve.lease_ms)?;
        check_range("max", reserve.max.into(), 1, MAX_DELIVERED.into())?;
        check_range("wait_ms", reserve.wait_ms, 0, MAX_WAIT_MS)?;
        if reserve.wait_ms > 0 && self.waiters.count() >= MAX_WAITERS {
            return Err(too_many("wait_ms", "reserves that wait", MAX_WAITERS));
        }
        Ok(())
    }

    /// Serves the workers that wait for a task of this queue, in the order of their arrival.
    pub(crate) fn serve(&mut self, cx: &mut Apply<'_>, queue: u32, budget: &mut ServeBudget) {
        self.unserved.remove(&queue);
        while let Some((token, waiter)) = self.waiters.first(&self.queues[queue as usize].name) {
            if self.queues[queue as usize].peek(cx.time_ms()).is_none() {
                return;
            }
            if budget.tasks == 0 || budget.bytes == 0 {
                self.unserved.insert(queue);
                return;
            }
            let waiter = waiter.clone();
            // Of another queue that it waits for, it gets tasks only if no worker waits there for longer.
            let queues: Vec<u32> = waiter
                .queues
                .iter()
                .filter(|name| {
                    let first = self.waiters.first(name);
                    first.is_some_and(|(first, _)| first == token)
                })
                .filter_map(|name| self.find(name))
                .collect();
            let order = Order {
                queues: &queues,
                worker: waiter.worker,
                lease_ms: waiter.lease_ms,
                max: budget.tasks.min(waiter.max as usize),
            };
            let (tasks, bytes) = self.deliver_some(cx, &order);
            if tasks.is_empty() {
                // Its first task was too long for a reply, and is dead now. There may be another.
                continue;
            }
            budget.tasks -= tasks.len();
            budget.bytes = budget.bytes.saturating_sub(bytes);
            self.waiters.remove(token);
            self.workers.end_wait(waiter.worker);
            self.completions.push((token, Reply::Reserved { tasks }));
        }
    }

    /// Delivers tasks of some queues in the order of priority and age. Returns them, and a bound of their bytes.
    fn deliver_some(&mut self, cx: &mut Apply<'_>, order: &Order<'_>) -> (Vec<Delivered>, u64) {
        let now_ms = cx.time_ms();
        let mut room = Room::new(cx);
        let mut nonces = None;
        let mut tasks = Vec::new();
        let mut given_up = 0;
        while tasks.len() < order.max
            && let Some(id) = self.first(order.queues, now_ms)
        {
            match room.take(self.delivered_bytes(id)) {
                Fit::Fits => {}
                Fit::NextReply => break,
                Fit::Never if given_up == MAX_SWEPT => break,
                Fit::Never => {
                    // The limit was lowered after the task was added. Without this it would block its queue for ever.
                    given_up += 1;
                    self.give_up(id, room.limit, now_ms);
                    continue;
                }
            }
            let nonce = nonces.get_or_insert_with(|| Nonces::draw(cx)).next(id);
            tasks.push(self.deliver(id, order, nonce, now_ms));
        }
        (tasks, room.used)
    }

    /// The first task of these queues that may be delivered.
    fn first(&mut self, queues: &[u32], now_ms: u64) -> Option<u64> {
        let heads = queues
            .iter()
            .filter_map(|&queue| self.queues[queue as usize].peek(now_ms));
        heads.min().map(|(_, id)| id)
    }

    /// Upper bound of the encoded size of a task.
    fn delivered_bytes(&self, id: u64) -> u64 {
        let task = &self.tasks[id];
        let queue = self.queue(task.queue);
        size::delivered(&queue.name, queue.keys.name(task.key), task)
    }

    /// Makes a task dead that no reply can deliver.
    fn give_up(&mut self, id: u64, limit: u64, now_ms: u64) {
        let task = self.tasks.get_mut(id).expect("the caller found the task");
        let bytes = task.payload.len();
        let error = format!(
            "the payload takes {bytes} bytes, which a reply of {limit} bytes can't deliver"
        );
        task.add_failure(now_ms, "", &error);
        self.die(id, now_ms, false);
    }

    fn deliver(&mut self, id: u64, order: &Order<'_>, nonce: u64, now_ms: u64) -> Delivered {
        let lease_until_ms = now_ms.saturating_add(order.lease_ms);
        let task = &self.tasks[id];
        let (number, key) = (task.queue, task.key);
        let queue = &mut self.queues[number as usize];
        queue.take(id, task);
        queue.charge(key, now_ms);
        self.set_delivery(
            id,
            Some(Delivery {
                nonce,
                worker: order.worker,
                extended: 0,
                since_ms: now_ms,
            }),
        );
        let task = self.tasks.get_mut(id).expect("it was just found");
        task.attempt += 1;
        task.place = Place::Leased(lease_until_ms).into();
        if let Some(extra) = task.extra.as_deref_mut() {
            extra.expires_ms = 0;
        }
        self.index(id);
        self.show_delivered(id, lease_until_ms)
    }

    fn show_delivered(&self, id: u64, lease_until_ms: u64) -> Delivered {
        let task = &self.tasks[id];
        let queue = self.queue(task.queue);
        let (payload, payload_base64) = task.payload.to_fields();
        let extra = task.extra();
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Delivered {
            id,
            queue: queue.name.to_string(),
            payload,
            payload_base64,
            attempt: task.attempt,
            token: task.token().expect("it was just delivered"),
            lease_until_ms,
            content_type: owned(extra.and_then(|extra| extra.content_type.as_deref())),
            attributes: extra.map(crate::views::attributes).unwrap_or_default(),
            fairness_key: owned(queue.keys.name(task.key)),
            ordering_key: owned(task.ordering_key()),
        }
    }

    /// Sets the last delivery of a task, and counts it for its worker.
    pub(crate) fn set_delivery(&mut self, id: u64, delivery: Option<Delivery>) {
        let task = self.tasks.get_mut(id).expect("the caller found the task");
        let before = task.worker();
        task.delivery = delivery.map(Box::new);
        if let Some(worker) = task.worker() {
            self.workers.name_in_delivery(worker);
        }
        if let Some(worker) = before {
            self.workers.unname(worker);
        }
    }
}

/// The bytes that are left in one reply.
struct Room {
    left: u64,
    limit: u64,
    used: u64,
    /// A reply may be longer than `left` for its first task, up to the limit.
    has_task: bool,
}

/// Whether a task can be delivered.
enum Fit {
    Fits,
    /// In another reply.
    NextReply,
    /// In no reply: it is longer than the limit.
    Never,
}

impl Room {
    fn new(cx: &Apply<'_>) -> Self {
        let limit = cx.reply_limit().saturating_sub(size::REPLY_BYTES);
        let left = if cx.memory_is_low() {
            limit.min(LOW_MEMORY_REPLY_BYTES)
        } else {
            limit
        };
        Self {
            left,
            limit,
            used: 0,
            has_task: false,
        }
    }

    fn take(&mut self, bytes: u64) -> Fit {
        if bytes > self.limit {
            return Fit::Never;
        }
        if self.has_task && bytes > self.left {
            return Fit::NextReply;
        }
        self.has_task = true;
        self.used += bytes;
        self.left = self.left.saturating_sub(bytes);
        Fit::Fits
    }
}

/// Nonces for the tokens of one reply: SplitMix64 (Steele, Lea and Flood, 2014), seeded by the host.
struct Nonces {
    state: u64,
}

impl Nonces {
    fn draw(cx: &mut Apply<'_>) -> Self {
        let seed = cx
            .random(8)
            .into_iter()
            .fold(0, |seed, byte| seed << 8 | u64::from(byte));
        Self {
            state: seed ^ cx.index(),
        }
    }

    fn next(&mut self, id: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state ^ id.rotate_left(32))
    }
}
