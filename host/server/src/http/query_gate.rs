//! Which query is next: shares the threads for queries fairly between clients. See decision record 0059.
//!
//! Queries are of three [classes](QueryClass), which have threads of their own. Of each class a few are with the machine,
//! and the others wait here, in a [`FairQueue`]. They are shared between *payers* first: the principal of a request, or
//! else the address of the client; then between the connections of a payer. What counts is what queries cost, not their number.
//!
//! A connection whose latest queries were short is not held up by others with long ones. A new one proves it with its first
//! query, on which its further ones wait.
//!
//! Past [`MAX_WAITING`], the latest query of the connection that has most waiting is refused, of the payer that has most waiting.

mod crowd;
mod fair_queue;

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering as Memory};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use oarlock_wasm::{GuestCaller, QueryClass, QueryCost};
use tokio::sync::oneshot;

use super::connection_table::{ClientNetwork, ConnectionAccount};
use super::error::ApiError;
use crate::access::Requester;
use crate::metrics::QueryTurnCounts;
use crowd::Crowd;
use fair_queue::FairQueue;

/// Most queries that wait for their turn.
const MAX_WAITING: usize = 16_384;
/// Most short queries with the machine.
const SHORT_PLACES: usize = 512;
/// Most first queries of connections with the machine.
const NEW_PLACES: usize = 64;
/// Most long queries with the machine, for each of their threads: one runs, the others are on their way.
const LONG_PLACES_PER_THREAD: usize = 4;
/// What the first query of a connection is expected to cost.
const UNKNOWN_COST: u64 = 100_000;
/// About what a query uses in a millisecond.
const FUEL_PER_MS: u64 = 3_000_000;

/// To whom a query is charged.
#[derive(Clone, Debug)]
enum Payer {
    /// The principal of the request.
    Principal(Arc<GuestCaller>),
    /// The address of the client, which is not authenticated.
    Address(ClientNetwork),
}

impl Payer {
    fn of(caller: Option<&Requester>, account: &ConnectionAccount) -> Self {
        if let Some(principal) = caller.and_then(Requester::for_guest) {
            return Self::Principal(Arc::clone(principal));
        }
        Self::Address(account.network())
    }

    fn key(&self) -> (Option<ClientNetwork>, &str) {
        match self {
            Self::Principal(principal) => (None, principal.name()),
            Self::Address(address) => (Some(*address), ""),
        }
    }
}

impl PartialEq for Payer {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Payer {}

impl PartialOrd for Payer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Payer {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for Payer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// The gate before the threads for queries.
#[derive(Debug)]
pub(crate) struct QueryGate {
    state: Mutex<GateState>,
    refused: AtomicU64,
    abandoned: AtomicU64,
    begun_again: AtomicU64,
}

#[derive(Debug)]
struct GateState {
    classes: [ClassGate; QueryClass::ALL.len()],
    /// For each connection whose first query has not ended: its further ones.
    behind: HashMap<u64, VecDeque<Waiter>>,
    payers: Crowd<Payer>,
    connections: HashMap<Payer, Crowd<u64>>,
    waiting: usize,
    next_id: u64,
}

#[derive(Debug)]
struct ClassGate {
    places: usize,
    running: usize,
    queue: FairQueue<Payer, Waiter>,
}

/// A query that waits.
#[derive(Debug)]
struct Waiter {
    id: u64,
    client: PayingClient,
    turn: oneshot::Sender<Decision>,
}

/// What becomes of a query that waits.
#[derive(Debug)]
enum Decision {
    /// It runs in this class, and was charged this cost in advance.
    Run(QueryClass, u64),
    /// Too many wait, and its connection has most of them.
    Refused,
}

/// Who sends a query.
#[derive(Clone, Debug)]
pub(super) struct PayingClient {
    payer: Payer,
    account: Arc<ConnectionAccount>,
}

impl PayingClient {
    /// Who pays for a request of this connection.
    pub(super) fn of(caller: Option<&Requester>, account: &Arc<ConnectionAccount>) -> Self {
        Self {
            payer: Payer::of(caller, account),
            account: Arc::clone(account),
        }
    }

    fn class(&self) -> QueryClass {
        QueryClass::after(self.account.usual_query_cost())
    }

    fn expected_cost(&self) -> u64 {
        self.account.usual_query_cost().unwrap_or(UNKNOWN_COST)
    }
}

/// The turn of a query, until dropped.
#[derive(Debug)]
pub(super) struct QueryTurn<'a> {
    gate: &'a QueryGate,
    client: &'a PayingClient,
    /// The cost that was charged in advance.
    expected: u64,
    begun: Instant,
    is_finished: bool,
    /// The class in which it runs.
    pub(super) class: QueryClass,
    /// Counts what it costs.
    pub(super) cost: QueryCost,
}

impl QueryTurn<'_> {
    /// When the turn began.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// The query has ended by itself, so its cost is known.
    pub(super) fn finish(mut self) {
        self.is_finished = true;
    }
}

impl Drop for QueryTurn<'_> {
    fn drop(&mut self) {
        let mut cost = self.cost.get();
        if !self.is_finished {
            // It may still run: its client has gone before the response, and pays for the time until now.
            let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            cost = cost.max(ms.saturating_mul(FUEL_PER_MS));
        }
        if cost > 0 {
            self.client.account.note_query_cost(cost);
        }
        self.gate.end(self.class, self.client, cost, self.expected);
    }
}

/// A query that waits for its turn; no longer, when dropped.
struct Waiting<'a> {
    gate: &'a QueryGate,
    client: &'a PayingClient,
    id: u64,
    decision: oneshot::Receiver<Decision>,
    is_decided: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_decided {
            self.gate.abandon(self);
        }
    }
}

impl QueryGate {
    /// A gate before so many threads for long queries.
    pub(crate) fn new(threads: usize) -> Arc<Self> {
        let gate = |places| ClassGate {
            places,
            running: 0,
            queue: FairQueue::new(),
        };
        let long = threads.max(1) * LONG_PLACES_PER_THREAD;
        Arc::new(Self {
            state: Mutex::new(GateState {
                classes: [gate(SHORT_PLACES), gate(NEW_PLACES), gate(long)],
                behind: HashMap::new(),
                payers: Crowd::new(),
                connections: HashMap::new(),
                waiting: 0,
                next_id: 0,
            }),
            refused: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            begun_again: AtomicU64::new(0),
        })
    }

    /// How many wait, were refused, or left before their turn.
    pub(crate) fn counts(&self) -> QueryTurnCounts {
        QueryTurnCounts {
            waiting: self.lock().waiting as u64,
            refused: self.refused.load(Memory::Relaxed),
            abandoned: self.abandoned.load(Memory::Relaxed),
            begun_again: self.begun_again.load(Memory::Relaxed),
        }
    }

    /// A query needed more fuel than short ones may use.
    pub(super) fn note_begun_again(&self) {
        self.begun_again.fetch_add(1, Memory::Relaxed);
    }

    /// Waits for the turn of a query.
    ///
    /// # Errors
    /// 429 if too many wait, and this connection has most of them.
    pub(super) async fn enter<'a>(
        &'a self,
        client: &'a PayingClient,
    ) -> Result<QueryTurn<'a>, ApiError> {
        let (entered, refused) = {
            let mut state = self.lock();
            (state.enter(client), state.refuse_over_limit())
        };
        if let Some(refused) = refused {
            self.refused.fetch_add(1, Memory::Relaxed);
            // It may be this one, or have gone.
            let _ = refused.turn.send(Decision::Refused);
        }
        let decided = match entered {
            // Nothing is charged in advance.
            Entered::Runs(class) => Decision::Run(class, 0),
            Entered::Waits(id, decision) => {
                let mut waiting = Waiting {
                    gate: self,
                    client,
                    id,
                    decision,
                    is_decided: false,
                };
                let decided = (&mut waiting.decision).await;
                waiting.is_decided = true;
                decided.unwrap_or(Decision::Refused)
            }
        };
        match decided {
            Decision::Run(class, expected) => Ok(QueryTurn {
                gate: self,
                client,
                expected,
                begun: Instant::now(),
                is_finished: false,
                class,
                cost: QueryCost::default(),
            }),
            Decision::Refused => Err(ApiError::overloaded(
                "queries that wait for their turn, most of them of this client",
            )),
        }
    }

    fn end(&self, class: QueryClass, client: &PayingClient, cost: u64, expected: u64) {
        let mut state = self.lock();
        let gate = &mut state.classes[class as usize];
        gate.running -= 1;
        let more = cost.saturating_sub(expected);
        gate.queue.charge(&client.payer, client.account.id(), more);
        if class == QueryClass::New {
            state.release_behind(client.account.id());
        }
        state.begin_next();
    }

    /// The client of a waiting query has gone.
    fn abandon(&self, waiting: &mut Waiting<'_>) {
        let mut state = self.lock();
        // Under the lock, so that no decision comes meanwhile.
        match waiting.decision.try_recv() {
            Ok(Decision::Run(class, expected)) => {
                drop(state);
                self.end(class, waiting.client, 0, expected);
            }
            Ok(Decision::Refused) => return,
            Err(_) => state.remove(waiting.client, waiting.id),
        }
        self.abandoned.fetch_add(1, Memory::Relaxed);
    }

    /// A panic under the lock leaves the state consistent.
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Entered {
    Runs(QueryClass),
    Waits(u64, oneshot::Receiver<Decision>),
}

impl GateState {
    fn enter(&mut self, client: &PayingClient) -> Entered {
        let (class, connection) = (client.class(), client.account.id());
        let gate = &mut self.classes[class as usize];
        let has_place = gate.running < gate.places && gate.queue.is_empty();
        let is_first = class != QueryClass::New || !self.behind.contains_key(&connection);
        if has_place && is_first {
            gate.running += 1;
            if class == QueryClass::New {
                self.behind.insert(connection, VecDeque::new());
            }
            return Entered::Runs(class);
        }
        let (turn, decision) = oneshot::channel();
        let id = self.next_id;
        self.next_id += 1;
        self.count(client, true);
        self.place(Waiter {
            id,
            client: client.clone(),
            turn,
        });
        Entered::Waits(id, decision)
    }

    /// Queues a query that waits, in its class or behind the first one of its connection.
    fn place(&mut self, waiter: Waiter) {
        let (class, connection) = (waiter.client.class(), waiter.client.account.id());
        if class == QueryClass::New {
            if let Some(behind) = self.behind.get_mut(&connection) {
                return behind.push_back(waiter);
            }
            self.behind.insert(connection, VecDeque::new());
        }
        let payer = waiter.client.payer.clone();
        self.classes[class as usize]
            .queue
            .push(&payer, connection, waiter);
    }

    /// The first query of a connection has ended: its class is known for the further ones.
    fn release_behind(&mut self, connection: u64) {
        for waiter in self.behind.remove(&connection).unwrap_or_default() {
            self.place(waiter);
        }
    }

    /// Begins queries while there are places.
    fn begin_next(&mut self) {
        while QueryClass::ALL
            .iter()
            .any(|class| self.begin_next_of(*class))
        {}
    }

    /// Begins the next query of a class. Returns whether there was one, and a place.
    fn begin_next_of(&mut self, class: QueryClass) -> bool {
        let gate = &mut self.classes[class as usize];
        if gate.running >= gate.places {
            return false;
        }
        let Some(waiter) = gate.queue.pop(|waiter| waiter.client.expected_cost()) else {
            return false;
        };
        if class != QueryClass::New && waiter.client.class() != class {
            // An earlier query of its connection was longer or shorter than expected.
            self.place(waiter);
            return true;
        }
        gate.running += 1;
        self.count(&waiter.client, false);
        let expected = waiter.client.expected_cost();
        // The receiver exists: before it is dropped, its query leaves under the lock.
        let _ = waiter.turn.send(Decision::Run(class, expected));
        true
    }

    /// Takes a query out, if too many wait: the latest one of the connection that has most waiting.
    fn refuse_over_limit(&mut self) -> Option<Waiter> {
        if self.waiting <= MAX_WAITING {
            return None;
        }
        let payer = self.payers.most()?.clone();
        let connection = *self.connections.get(&payer)?.most()?;
        self.take_out(&payer, connection, |_| true)
    }

    fn remove(&mut self, client: &PayingClient, id: u64) {
        let connection = client.account.id();
        self.take_out(&client.payer, connection, |waiter| waiter.id == id);
        self.begin_next();
    }

    fn take_out(
        &mut self,
        payer: &Payer,
        connection: u64,
        fits: impl Fn(&Waiter) -> bool,
    ) -> Option<Waiter> {
        let mut found = self.behind.get_mut(&connection).and_then(|behind| {
            let is_it = |waiter: &Waiter| waiter.client.payer == *payer && fits(waiter);
            behind.remove(behind.iter().rposition(is_it)?)
        });
        for class in QueryClass::ALL {
            if found.is_some() {
                break;
            }
            let queue = &mut self.classes[class as usize].queue;
            found = queue.remove(payer, connection, &fits);
            if found.is_some() && class == QueryClass::New {
                // It was the first one of its connection.
                self.release_behind(connection);
            }
        }
        if let Some(waiter) = &found {
            self.count(&waiter.client, false);
        }
        found
    }

    /// Counts a query that waits, or no longer waits.
    fn count(&mut self, client: &PayingClient, waits: bool) {
        let (payer, connection) = (&client.payer, client.account.id());
        if waits {
            self.waiting += 1;
            self.payers.add(payer);
            let connections = self.connections.entry(payer.clone());
            connections.or_insert_with(Crowd::new).add(&connection);
            return;
        }
        self.waiting -= 1;
        self.payers.remove(payer);
        if let Some(connections) = self.connections.get_mut(payer) {
            connections.remove(&connection);
            if connections.is_empty() {
                self.connections.remove(payer);
            }
        }
    }
}

#[cfg(test)]
mod tests;
