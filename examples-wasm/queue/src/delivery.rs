//! Delivering tasks, and what happens when their time comes.

use oarlock_guest::{Apply, Refusal};

use crate::limits::{MAX_DELIVERED, MAX_QUEUES_A_RESERVE, MAX_SWEPT};
use crate::messages::{Delivered, Reply, Reserve};
use crate::refuse::{check_lease, check_name, check_range, out_of_range};
use crate::state::Queues;
use crate::task::{Delivery, Place};

impl Queues {
    /// Delivers the first tasks of the queues by (priority, age).
    pub(crate) fn reserve(
        &mut self,
        cx: &mut Apply<'_>,
        reserve: &Reserve,
    ) -> Result<Reply, Refusal> {
        if !(1..=MAX_QUEUES_A_RESERVE).contains(&reserve.queues.len()) {
            let words = format!(
                "a reserve names 1 to {MAX_QUEUES_A_RESERVE} queues, not {}",
                reserve.queues.len()
            );
            return Err(out_of_range("queues", words));
        }
        for (number, name) in reserve.queues.iter().enumerate() {
            check_name(&format!("queues[{number}]"), name)?;
        }
        check_name("worker", &reserve.worker)?;
        check_lease(reserve.lease_ms)?;
        check_range("max", reserve.max.into(), 1, MAX_DELIVERED.into())?;
        // Nothing is refused from here on.
        let lanes: Vec<u32> = reserve
            .queues
            .iter()
            .filter_map(|name| self.lane(name))
            .collect();
        let mut budget = MAX_SWEPT;
        for &lane in &lanes {
            self.sweep(lane, cx.time_ms(), &mut budget);
        }
        let mut nonces = None;
        let mut tasks = Vec::new();
        while tasks.len() < reserve.max as usize
            && let Some((_, id)) = lanes
                .iter()
                .filter_map(|&lane| self.lanes[lane as usize].first_ready())
                .min()
        {
            let nonces = nonces.get_or_insert_with(|| Nonces::draw(cx));
            tasks.push(self.deliver(cx.time_ms(), id, reserve, nonces.next(id)));
        }
        Ok(Reply::Reserved { tasks })
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

    /// Moves the tasks of a queue whose time has come, in the order of (time, id), as many as the budget allows.
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
                    task.remember(&error);
                }
                // The delivery stays: its token works until the next one.
                if was_leased && task.is_spent() {
                    Place::Dead
                } else {
                    Place::Ready
                }
            });
        }
    }

    /// Moves the tasks of every queue whose time has come, as many as one waking may.
    fn sweep_all(&mut self, now_ms: u64) {
        let mut budget = MAX_SWEPT;
        while budget > 0
            && let Some(&(at_ms, lane)) = self.alarms.first()
            && at_ms <= now_ms
        {
            self.sweep(lane, now_ms, &mut budget);
        }
    }

    /// Asks the host for the next time that matters. A waking that turns out to be for nothing costs less than
    /// asking anew at each acknowledgement, so a time that is to come and has moved away is left as it is.
    pub(crate) fn ask_to_be_woken(&mut self, cx: &mut Apply<'_>) {
        let Some(&(next_ms, _)) = self.alarms.first() else {
            return;
        };
        let is_asked = self.asked_ms > cx.time_ms() && self.asked_ms <= next_ms;
        if !is_asked {
            self.asked_ms = next_ms;
            cx.wake_at(next_ms);
        }
    }

    /// The host woke this guest: looks after what is due, and says what comes next, if anything does.
    pub(crate) fn wake(&mut self, cx: &mut Apply<'_>) {
        self.asked_ms = 0;
        cx.wake_at(0);
        self.sweep_all(cx.time_ms());
        self.ask_to_be_woken(cx);
    }
}

/// Numbers for the tokens of one reserve: SplitMix64 (Steele, Lea and Flood, 2014) from a seed of the host's.
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
