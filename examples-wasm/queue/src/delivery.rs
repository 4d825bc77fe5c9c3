//! Delivery of tasks, and timers of delays and leases.

use oarlock_guest::{Apply, Refusal};

use crate::limits::{LOW_MEMORY_REPLY_BYTES, MAX_DELIVERED, MAX_QUEUES_A_RESERVE, MAX_SWEPT};
use crate::messages::{Delivered, Reply, Reserve};
use crate::refuse::{check_lease, check_name, check_range, out_of_range};
use crate::size;
use crate::state::Queues;
use crate::task::{Delivery, Place};

impl Queues {
    /// Delivers the first tasks of the queues by (priority, age), as many as fit into one reply.
    pub(crate) fn reserve(
        &mut self,
        cx: &mut Apply<'_>,
        reserve: &Reserve,
    ) -> Result<Reply, Refusal> {
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
        // All checks are done: nothing is refused after this line.
        let lanes: Vec<u32> = reserve
            .queues
            .iter()
            .filter_map(|name| self.lane(name))
            .collect();
        let mut budget = MAX_SWEPT;
        for &lane in &lanes {
            self.sweep(lane, cx.time_ms(), &mut budget);
        }
        let mut room = Room::new(cx);
        let mut nonces = None;
        let mut tasks = Vec::new();
        while tasks.len() < reserve.max as usize
            && let Some(id) = self.first_ready(&lanes)
        {
            match room.take(self.delivered_bytes(id)) {
                Fit::Fits => {}
                Fit::NextReply => break,
                Fit::Never if budget == 0 => break,
                Fit::Never => {
                    // The limit was lowered after the task was added. Without this it would block its queue for ever.
                    budget -= 1;
                    self.give_up(id, room.limit);
                    continue;
                }
            }
            let nonces = nonces.get_or_insert_with(|| Nonces::draw(cx));
            tasks.push(self.deliver(cx.time_ms(), id, reserve, nonces.next(id)));
        }
        Ok(Reply::Reserved { tasks })
    }

    /// The first task of these queues that is ready.
    fn first_ready(&self, lanes: &[u32]) -> Option<u64> {
        let ready = lanes
            .iter()
            .filter_map(|&lane| self.lanes[lane as usize].first_ready());
        ready.min().map(|(_, id)| id)
    }

    /// Upper bound of the encoded size of a task.
    fn delivered_bytes(&self, id: u64) -> u64 {
        let task = &self.tasks[&id];
        size::delivered(&self.lanes[task.lane as usize].name, &task.payload)
    }

    /// Makes a task dead that no reply can deliver.
    fn give_up(&mut self, id: u64, limit: u64) {
        self.change(id, |task| {
            let bytes = task.payload.as_str().len();
            task.add_error(&format!(
                "the payload takes {bytes} bytes, which a reply of {limit} bytes can't deliver"
            ));
            task.delivery = None;
            Place::Dead
        });
    }

    fn deliver(&mut self, now_ms: u64, id: u64, reserve: &Reserve, nonce: u64) -> Delivered {
        let lease_until_ms = now_ms.saturating_add(reserve.lease_ms);
        self.change(id, |task| {
            task.attempt += 1;
            task.delivery = Some(Delivery {
                nonce,
                worker: reserve.worker.clone(),
            });
            Place::Leased(lease_until_ms)
        });
        let task = &self.tasks[&id];
        Delivered {
            id,
            queue: self.lanes[task.lane as usize].name.clone(),
            payload: task.payload.clone(),
            attempt: task.attempt,
            token: task.token().expect("it was just delivered"),
            lease_until_ms,
        }
    }

    /// Fires the due timers of a queue, in the order of (time, id), up to the budget.
    fn sweep(&mut self, lane: u32, now_ms: u64, budget: &mut usize) {
        while *budget > 0
            && let Some((at_ms, id)) = self.lanes[lane as usize].first_timer()
            && at_ms <= now_ms
        {
            *budget -= 1;
            self.change(id, |task| {
                let was_leased = matches!(task.place, Place::Leased(_));
                if was_leased && let Some(delivery) = &task.delivery {
                    let error = format!("the lease of worker {} ran out", delivery.worker);
                    task.add_error(&error);
                }
                // Keep the delivery: its token is valid until the next delivery.
                if was_leased && task.is_spent() {
                    Place::Dead
                } else {
                    Place::Ready
                }
            });
        }
    }

    /// Fires the due timers of all queues, up to the limit of one wake-up.
    fn sweep_all(&mut self, now_ms: u64) {
        let mut budget = MAX_SWEPT;
        while budget > 0
            && let Some(&(at_ms, lane)) = self.alarms.first()
            && at_ms <= now_ms
        {
            self.sweep(lane, now_ms, &mut budget);
        }
    }

    /// Requests a wake-up for the first timer. A request that is too early is kept: an unneeded wake-up costs less than a
    /// new request at each acknowledgement.
    pub(crate) fn request_wake_up(&mut self, cx: &mut Apply<'_>) {
        let Some(&(next_ms, _)) = self.alarms.first() else {
            return;
        };
        let is_requested =
            self.requested_wake_ms > cx.time_ms() && self.requested_wake_ms <= next_ms;
        if !is_requested {
            self.requested_wake_ms = next_ms;
            cx.wake_at(next_ms);
        }
    }

    /// Handles a wake-up: fires the due timers and requests the next wake-up, if a timer is left.
    pub(crate) fn wake(&mut self, cx: &mut Apply<'_>) {
        self.requested_wake_ms = 0;
        cx.wake_at(0);
        self.sweep_all(cx.time_ms());
        self.request_wake_up(cx);
    }
}

/// The bytes that are left in one reply.
struct Room {
    left: u64,
    limit: u64,
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
        self.left = self.left.saturating_sub(bytes);
        Fit::Fits
    }
}

/// Nonces for the tokens of one reserve: SplitMix64 (Steele, Lea and Flood, 2014), seeded by the host.
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
        let mixed = self.state ^ id.rotate_left(32);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
