//! A queue that shares places fairly: first between payers, then between the connections of each payer.
//!
//! This is fair queueing by virtual time (Demers, Keshav and Shenker, 1989; Goyal, Vin and Cheng, 1996). Each payer and each
//! connection has a virtual time, which advances by what its items cost. The item of the one with the least virtual time is
//! next. The present virtual time advances by what is spent, divided by the number of those who share it. Who is new, or comes
//! back after a pause, starts at the present: it saves up nothing, and does not go before all who wait. What an item costs
//! is known only at its end: it is first charged what is expected, and the rest afterwards.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;

/// Shares of those that wait for nothing are dropped past this number.
const MAX_SPARE: usize = 1024;

/// The items that wait.
#[derive(Debug)]
pub(super) struct FairQueue<P, T> {
    payers: Shares<P>,
    of: HashMap<P, PayerItems<T>>,
}

#[derive(Debug)]
struct PayerItems<T> {
    connections: Shares<u64>,
    items: HashMap<u64, VecDeque<T>>,
}

impl<P: Clone + Ord + Hash, T> FairQueue<P, T> {
    pub(super) fn new() -> Self {
        Self {
            payers: Shares::new(),
            of: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.payers.ready.is_empty()
    }

    pub(super) fn push(&mut self, payer: &P, connection: u64, item: T) {
        self.payers.add(payer);
        let of = self.of.entry(payer.clone()).or_insert_with(|| PayerItems {
            connections: Shares::new(),
            items: HashMap::new(),
        });
        of.connections.add(&connection);
        of.items.entry(connection).or_default().push_back(item);
    }

    /// Removes the next item. `expected` is what it will cost, about.
    pub(super) fn pop(&mut self, expected: impl FnOnce(&T) -> u64) -> Option<T> {
        let payer = self.payers.first()?;
        let of = self.of.get_mut(&payer)?;
        let connection = of.connections.first()?;
        let items = of.items.get_mut(&connection)?;
        let item = items.pop_front()?;
        if items.is_empty() {
            of.items.remove(&connection);
        }
        let expected = expected(&item);
        of.connections.take(&connection, expected);
        of.connections.drop_spare();
        self.payers.take(&payer, expected);
        self.drop_spare();
        Some(item)
    }

    /// Removes the latest item of a connection that fits.
    pub(super) fn remove(
        &mut self,
        payer: &P,
        connection: u64,
        fits: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let of = self.of.get_mut(payer)?;
        let items = of.items.get_mut(&connection)?;
        let at = items.iter().rposition(fits)?;
        let item = items.remove(at);
        if items.is_empty() {
            of.items.remove(&connection);
        }
        of.connections.leave(&connection);
        self.payers.leave(payer);
        item
    }

    /// Charges what an item has cost in addition to what was expected.
    pub(super) fn charge(&mut self, payer: &P, connection: u64, cost: u64) {
        self.payers.charge(payer, cost);
        if let Some(of) = self.of.get_mut(payer) {
            of.connections.charge(&connection, cost);
        }
    }

    fn drop_spare(&mut self) {
        if self.payers.drop_spare() {
            let payers = &self.payers;
            self.of.retain(|payer, _| payers.used.contains_key(payer));
        }
    }
}

/// What some have used of something that they share.
#[derive(Debug)]
struct Shares<K> {
    used: HashMap<K, Share>,
    /// Those that wait, by their virtual time.
    ready: BTreeSet<(u64, K)>,
    /// The present virtual time.
    now: u64,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    /// Its virtual time.
    time: u64,
    /// Its items that wait.
    waiting: usize,
}

impl<K: Clone + Ord + Hash> Shares<K> {
    fn new() -> Self {
        Self {
            used: HashMap::new(),
            ready: BTreeSet::new(),
            now: 0,
        }
    }

    fn add(&mut self, key: &K) {
        let (time, waiting) = (self.now, 0);
        let share = self
            .used
            .entry(key.clone())
            .or_insert(Share { time, waiting });
        if share.waiting == 0 {
            share.time = share.time.max(self.now);
            self.ready.insert((share.time, key.clone()));
        }
        share.waiting += 1;
    }

    fn first(&self) -> Option<K> {
        self.ready.first().map(|(_, key)| key.clone())
    }

    fn take(&mut self, key: &K, cost: u64) {
        if let Some(share) = self.used.get(key) {
            self.now = self.now.max(share.time);
        }
        self.leave(key);
        self.charge(key, cost);
    }

    /// An item of this one no longer waits.
    fn leave(&mut self, key: &K) {
        let Some(share) = self.used.get_mut(key) else {
            return;
        };
        share.waiting = share.waiting.saturating_sub(1);
        if share.waiting == 0 {
            self.ready.remove(&(share.time, key.clone()));
        }
    }

    fn charge(&mut self, key: &K, cost: u64) {
        let Some(share) = self.used.get_mut(key) else {
            return;
        };
        let before = share.time;
        share.time = before.saturating_add(cost);
        let mut sharing = self.ready.len() as u64;
        if share.waiting > 0 {
            self.ready.remove(&(before, key.clone()));
            self.ready.insert((share.time, key.clone()));
        } else {
            sharing += 1;
        }
        self.now = self.now.saturating_add(cost / sharing);
    }

    /// Drops those that wait for nothing, and have used no more than others. Returns whether there were too many of them.
    fn drop_spare(&mut self) -> bool {
        let is_over = self.used.len() > 2 * self.ready.len() + MAX_SPARE;
        if is_over {
            let now = self.now;
            self.used
                .retain(|_, share| share.waiting > 0 || share.time > now);
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was served, in order: each item costs `cost_of` its connection.
    fn served(
        queue: &mut FairQueue<&'static str, (&'static str, u64)>,
        count: usize,
        cost_of: impl Fn(u64) -> u64,
    ) -> Vec<(&'static str, u64)> {
        let mut order = Vec::new();
        for _ in 0..count {
            let Some((payer, connection)) = queue.pop(|_| 1) else {
                break;
            };
            queue.charge(&payer, connection, cost_of(connection) - 1);
            order.push((payer, connection));
        }
        order
    }

    fn push(
        queue: &mut FairQueue<&'static str, (&'static str, u64)>,
        payer: &'static str,
        connection: u64,
        count: usize,
    ) {
        for _ in 0..count {
            queue.push(&payer, connection, (payer, connection));
        }
    }

    #[test]
    fn a_payer_with_many_connections_gets_no_more_than_one_with_a_single_connection() {
        let mut queue = FairQueue::new();
        for connection in 0..1000 {
            push(&mut queue, "many", connection, 4);
        }
        push(&mut queue, "one", 5000, 50);
        let order = served(&mut queue, 100, |_| 10);
        let of_one = order.iter().filter(|(payer, _)| *payer == "one").count();
        assert!((49..=50).contains(&of_one), "{of_one}");
    }

    #[test]
    fn connections_of_a_payer_get_equal_shares_of_the_cost_and_not_of_the_number() {
        let mut queue = FairQueue::new();
        push(&mut queue, "a", 1, 1000);
        push(&mut queue, "a", 2, 1000);
        let order = served(
            &mut queue,
            1100,
            |connection| {
                if connection == 1 { 100 } else { 10 }
            },
        );
        let of_costly = order
            .iter()
            .filter(|(_, connection)| *connection == 1)
            .count();
        assert!((95..=105).contains(&of_costly), "{of_costly}");
    }

    #[test]
    fn a_connection_in_debt_waits_until_the_others_have_had_as_much() {
        let mut queue = FairQueue::new();
        push(&mut queue, "a", 1, 1);
        push(&mut queue, "a", 2, 200);
        assert_eq!(served(&mut queue, 1, |_| 1000), [("a", 1)]);
        push(&mut queue, "a", 1, 1);
        let next = served(&mut queue, 101, |_| 10);
        let at = next.iter().position(|(_, connection)| *connection == 1);
        assert!(at.is_some_and(|at| at >= 99), "{at:?}");
    }

    #[test]
    fn a_connection_that_was_idle_has_saved_up_nothing() {
        let mut queue = FairQueue::new();
        push(&mut queue, "a", 1, 200);
        served(&mut queue, 100, |_| 10);
        push(&mut queue, "a", 2, 100);
        let next = served(&mut queue, 20, |_| 10);
        let of_new = next
            .iter()
            .filter(|(_, connection)| *connection == 2)
            .count();
        assert!((9..=11).contains(&of_new), "{next:?}");
    }

    #[test]
    fn new_connections_without_end_do_not_keep_one_in_debt_waiting_for_ever() {
        let mut queue = FairQueue::new();
        push(&mut queue, "a", 1, 1);
        push(&mut queue, "a", 2, 1);
        assert_eq!(served(&mut queue, 1, |_| 1000), [("a", 1)]);
        push(&mut queue, "a", 1, 1);
        let served_at = (3..2000).find(|new| {
            push(&mut queue, "a", *new, 1);
            served(&mut queue, 1, |_| 10) == [("a", 1)]
        });
        assert!(served_at.is_some_and(|at| at > 50), "{served_at:?}");
    }

    #[test]
    fn items_of_a_connection_are_served_in_order_and_the_latest_is_removed_first() {
        let mut queue = FairQueue::new();
        for item in 1..=4 {
            queue.push(&"a", 1, item);
        }
        assert_eq!(queue.remove(&"a", 1, |_| true), Some(4));
        assert_eq!(queue.remove(&"a", 1, |item| *item == 2), Some(2));
        assert_eq!(queue.remove(&"a", 2, |_| true), None);
        let mut popped = std::iter::from_fn(|| queue.pop(|_| 1));
        assert_eq!(popped.by_ref().collect::<Vec<_>>(), [1, 3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_is_kept_of_connections_that_have_gone_is_bounded() {
        let mut queue = FairQueue::new();
        for payer in 0..10_u64 {
            for connection in 0..10_000 {
                queue.push(&(payer * 10_000 + connection), connection, ());
                queue.pop(|()| 1);
            }
        }
        assert!(queue.of.len() <= MAX_SPARE + 1 && queue.payers.used.len() <= MAX_SPARE + 1);
    }
}
