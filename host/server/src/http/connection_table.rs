//! The open connections of clients: what waits for each of them to read it, and which are closed when that is too much.
//!
//! A reply, a frame of a stream or a chunk of a body *waits* from the moment it exists until the socket has taken it. A client
//! that does not read makes it wait. Three limits bound this memory:
//!
//! | limit | at the limit |
//! |---|---|
//! | bytes that wait for one connection | from a quarter on, it begins no further request; past the limit it is closed |
//! | bytes that wait for all connections | the connection whose bytes have waited longest without progress is closed |
//! | time without progress | the connection is closed |
//!
//! A new connection past the limit of connections takes the place of one that is idle: see [`OpenConnections::for_new`].

mod open_connections;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::settings::WaitingLimits;
pub(crate) use open_connections::ClientNetwork;
use open_connections::{ConnectionPlace, OpenConnections};

/// Why the node closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// Its client has read nothing for [`WaitingLimits::stall_timeout`].
    Stalled,
    /// More than [`WaitingLimits::connection_bytes`] wait for it.
    OwnBytes,
    /// More than [`WaitingLimits::total_bytes`] wait for all connections, and for this one without progress for longest.
    TotalBytes,
    /// It was idle, and another client needs its place.
    Idle,
}

impl CloseReason {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Stalled, Self::OwnBytes, Self::TotalBytes, Self::Idle];

    /// The value of the label `reason` of a metric.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::OwnBytes => "connection_bytes",
            Self::TotalBytes => "total_bytes",
            Self::Idle => "idle",
        }
    }
}

/// All open connections.
#[derive(Debug)]
pub(crate) struct ConnectionTable {
    limits: WaitingLimits,
    started: Instant,
    next_id: AtomicU64,
    /// Bytes that wait for connections that are not closed.
    waiting: AtomicU64,
    open: Mutex<OpenConnections<ConnectionAccount>>,
    /// Closed connections, by position in [`CloseReason::ALL`].
    closed: [AtomicU64; CloseReason::ALL.len()],
}

/// One connection.
#[derive(Debug)]
pub(crate) struct ConnectionAccount {
    id: u64,
    /// The address of the client.
    network: ClientNetwork,
    table: Arc<ConnectionTable>,
    /// What its queries usually cost; [`NO_QUERY`] before the first one.
    query_cost: AtomicU64,
    bytes: Mutex<WaitingBytes>,
    /// Little waits for the client, so a further request may begin. Changes under the lock of `bytes`.
    has_room: AtomicBool,
    /// Requests in flight, and streams.
    active: AtomicU64,
    /// Requests that have begun.
    begun: AtomicU64,
    /// When the last request in flight ended, or else the connection began, in milliseconds since the start of the table.
    idle_since_ms: AtomicU64,
    /// A request has ended.
    is_used: AtomicBool,
    is_closed: AtomicBool,
    /// The connection is closed without sending what the socket still has.
    is_reset: AtomicBool,
    /// The connection is to be closed.
    close: Notify,
    /// A further request may begin.
    room: Notify,
}

#[derive(Debug)]
struct WaitingBytes {
    waiting: u64,
    /// When bytes began to wait, or when the socket took some.
    progressed: Instant,
    is_closed: bool,
}

/// The cost of queries of a connection that has sent none.
const NO_QUERY: u64 = u64::MAX;

/// Keeps a connection in its table, until dropped.
#[derive(Debug)]
pub(crate) struct TrackedConnection {
    account: Arc<ConnectionAccount>,
}

impl Drop for TrackedConnection {
    fn drop(&mut self) {
        self.account.table.lock().remove(&self.account);
        // What still waits is dropped with the connection.
        self.account.settle();
        self.account.announce_end();
    }
}

impl TrackedConnection {
    /// The account of the connection.
    pub(crate) fn account(&self) -> &Arc<ConnectionAccount> {
        &self.account
    }
}

impl ConnectionTable {
    /// A table without connections.
    pub(crate) fn new(limits: WaitingLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            started: Instant::now(),
            next_id: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            open: Mutex::default(),
            closed: Default::default(),
        })
    }

    /// Adds a connection from this address.
    pub(crate) fn open(self: &Arc<Self>, remote: IpAddr) -> TrackedConnection {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let account = Arc::new(ConnectionAccount {
            id,
            network: remote.into(),
            query_cost: AtomicU64::new(NO_QUERY),
            table: Arc::clone(self),
            bytes: Mutex::new(WaitingBytes {
                waiting: 0,
                progressed: Instant::now(),
                is_closed: false,
            }),
            has_room: AtomicBool::new(true),
            active: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            idle_since_ms: AtomicU64::new(self.now_ms()),
            is_used: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_reset: AtomicBool::new(false),
            close: Notify::new(),
            room: Notify::new(),
        });
        self.lock().insert(&account);
        TrackedConnection { account }
    }

    /// Bytes that wait for all connections.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many connections this node has closed for this reason.
    pub(crate) fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize].load(Ordering::Relaxed)
    }

    /// Closes an idle connection, to make place for a new one from this address. Returns whether there was one.
    pub(crate) fn make_place(&self, remote: IpAddr) -> bool {
        let now_ms = self.now_ms();
        let open = self.lock();
        let kept_ms = u64::try_from(self.limits.place_kept.as_millis()).unwrap_or(u64::MAX);
        let idlest = open.for_new(remote.into(), now_ms, kept_ms);
        idlest.is_some_and(|idlest| idlest.close(CloseReason::Idle))
    }

    /// Closes the connections whose clients have read nothing for too long.
    pub(crate) fn close_stalled(&self) {
        let timeout = self.limits.stall_timeout;
        for account in self.lock().values() {
            let stalled = account
                .waits_since()
                .is_some_and(|(_, since)| since.elapsed() >= timeout);
            if stalled {
                account.close(CloseReason::Stalled);
            }
        }
    }

    /// Closes connections until what waits is within the limit: first those whose bytes have waited longest without progress.
    fn close_slowest(&self) {
        let open = self.lock();
        // A little more than needed, because the search takes long with many connections.
        let enough = self.limits.total_bytes - self.limits.total_bytes / 8;
        let mut slowest: Vec<_> = open
            .values()
            .filter_map(|account| Some((account.waits_since()?.1, account)))
            .collect();
        slowest.sort_unstable_by_key(|(since, _)| *since);
        for (_, account) in slowest {
            // Another thread may have closed some.
            if self.waiting() <= enough {
                return;
            }
            account.close(CloseReason::TotalBytes);
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A panic under the lock leaves the table consistent.
    fn lock(&self) -> MutexGuard<'_, OpenConnections<ConnectionAccount>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionAccount {
    /// The number of the connection. Later ones have larger numbers.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The address of the client.
    pub(crate) fn network(&self) -> ClientNetwork {
        self.network
    }

    /// What the queries of this connection usually cost. `None` before the first one has ended.
    pub(crate) fn usual_query_cost(&self) -> Option<u64> {
        let cost = self.query_cost.load(Ordering::Relaxed);
        (cost != NO_QUERY).then_some(cost)
    }

    /// A query has ended, at this cost. A larger cost than usual counts at once, a smaller one by and by.
    pub(crate) fn note_query_cost(&self, cost: u64) {
        let cost = match self.usual_query_cost() {
            Some(usual) if cost < usual => usual - (usual - cost).div_ceil(4),
            _ => cost.min(NO_QUERY - 1),
        };
        self.query_cost.store(cost, Ordering::Relaxed);
    }

    /// Counts bytes that wait for this connection, until the share is dropped.
    pub(crate) fn wait_for(self: &Arc<Self>, bytes: u64) -> WaitingShare {
        let mut share = WaitingShare::of(self);
        share.add(bytes);
        share
    }

    /// Completes when the node closes the connection.
    pub(crate) async fn closed(&self) {
        loop {
            // Created before the check, so that no notification is missed.
            let notified = self.close.notified();
            if self.is_closed.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }

    /// Whether the node has closed the connection because its client does not read: then the operating system must not
    /// keep what was not sent.
    pub(crate) fn is_reset(&self) -> bool {
        self.is_reset.load(Ordering::Acquire)
    }

    /// Whether a further request may begin: little waits for the client.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room.load(Ordering::Acquire)
    }

    /// Notes whether there is room. Returns it.
    fn note_room(&self, bytes: &WaitingBytes) -> bool {
        let has_room = bytes.waiting <= self.table.limits.connection_bytes / 4;
        if self.has_room() != has_room {
            self.has_room.store(has_room, Ordering::Release);
        }
        has_room
    }

    /// Waits until [`Self::has_room`].
    pub(crate) async fn room(&self) {
        loop {
            // Created before the check, so that no notification is missed.
            let notified = self.room.notified();
            if self.has_room() {
                return;
            }
            notified.await;
        }
    }

    /// Counts a request or a stream until the result is dropped.
    pub(crate) fn begin_request(self: &Arc<Self>) -> ActiveRequest {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
        ActiveRequest(Arc::clone(self))
    }

    /// Sets the number of requests in flight. Only one task may do so, while no [`ActiveRequest`] exists.
    pub(crate) fn set_active(&self, requests: usize) {
        let before = self.active.load(Ordering::Relaxed);
        if before == requests as u64 {
            return;
        }
        self.active.store(requests as u64, Ordering::Relaxed);
        if requests == 0 {
            self.note_idle();
        }
    }

    /// Whether no request is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.active.load(Ordering::Relaxed) == 0 && !self.is_closed.load(Ordering::Acquire)
    }

    /// Requests that have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn note_idle(&self) {
        self.idle_since_ms
            .store(self.table.now_ms(), Ordering::Relaxed);
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// The bytes that wait, and since when without progress. `None` if there are none.
    fn waits_since(&self) -> Option<(u64, Instant)> {
        let bytes = self.lock();
        (bytes.waiting > 0).then_some((bytes.waiting, bytes.progressed))
    }

    /// Returns whether the connection was open.
    fn close(&self, reason: CloseReason) -> bool {
        if !self.settle() {
            return false;
        }
        self.table.closed[reason as usize].fetch_add(1, Ordering::Relaxed);
        self.is_reset
            .store(reason != CloseReason::Idle, Ordering::Release);
        self.announce_end();
        true
    }

    /// Wakes all that wait for this connection: it ends.
    fn announce_end(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.close.notify_waiters();
        self.room.notify_waiters();
    }

    /// What waits is about to be dropped and no longer counts. Returns whether it counted.
    fn settle(&self) -> bool {
        let mut bytes = self.lock();
        if bytes.is_closed {
            return false;
        }
        bytes.is_closed = true;
        let waiting = std::mem::take(&mut bytes.waiting);
        self.note_room(&bytes);
        self.table.waiting.fetch_sub(waiting, Ordering::Relaxed);
        true
    }

    /// A panic under the lock leaves the account consistent.
    fn lock(&self) -> MutexGuard<'_, WaitingBytes> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPlace for ConnectionAccount {
    fn id(&self) -> u64 {
        self.id
    }

    fn network(&self) -> ClientNetwork {
        self.network
    }

    fn is_idle(&self) -> bool {
        self.is_idle()
    }

    fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    fn idle_since_ms(&self) -> u64 {
        self.idle_since_ms.load(Ordering::Relaxed)
    }
}

/// A request in flight, or a stream, until dropped.
#[derive(Debug)]
pub(crate) struct ActiveRequest(Arc<ConnectionAccount>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.note_idle();
        }
    }
}

/// Bytes that wait for a connection. Dropped, they have left or are no longer needed.
#[derive(Debug)]
pub(crate) struct WaitingShare {
    account: Arc<ConnectionAccount>,
    bytes: u64,
}

impl WaitingShare {
    /// A share without bytes.
    pub(crate) fn of(account: &Arc<ConnectionAccount>) -> Self {
        Self {
            account: Arc::clone(account),
            bytes: 0,
        }
    }

    /// Bytes of this share.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds bytes. Past a limit, this or another connection is closed.
    pub(crate) fn add(&mut self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let (account, table) = (&self.account, &self.account.table);
        let limits = &table.limits;
        let mut own = account.lock();
        if own.is_closed {
            return;
        }
        if own.waiting == 0 {
            own.progressed = Instant::now();
        }
        // A single reply may be larger than the limit.
        let is_too_much = own.waiting > 0 && own.waiting + bytes > limits.connection_bytes;
        own.waiting += bytes;
        self.bytes += bytes;
        account.note_room(&own);
        // Under the lock, so that `settle` can't subtract them before.
        let all = table.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        drop(own);
        if is_too_much {
            account.close(CloseReason::OwnBytes);
        } else if all > limits.total_bytes {
            table.close_slowest();
        }
    }

    /// Moves bytes into a share of their own, which may be dropped earlier.
    pub(crate) fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            account: Arc::clone(&self.account),
            bytes,
        }
    }

    /// Takes over the bytes of another share of the same connection.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.account, &other.account));
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Adds bytes until there are as many. Past a limit, this or another connection is closed.
    pub(crate) fn add_up_to(&mut self, bytes: u64) {
        self.add(bytes.saturating_sub(self.bytes));
    }

    /// The socket has taken these bytes.
    pub(crate) fn release(&mut self, bytes: u64) {
        if self.bytes > 0 {
            drop(self.split(bytes));
        }
    }

    /// Nothing of this share waits any longer.
    pub(crate) fn release_all(&mut self) {
        self.release(self.bytes);
    }
}

impl Drop for WaitingShare {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let (account, table) = (&self.account, &self.account.table);
        let mut own = account.lock();
        if own.is_closed {
            return;
        }
        own.waiting -= self.bytes;
        own.progressed = Instant::now();
        let has_room = !account.has_room() && account.note_room(&own);
        // Under the lock, so that `settle` takes off each byte once.
        table.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
        drop(own);
        if has_room {
            account.room.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
