use std::time::Duration;

use super::*;

const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn table(connection_bytes: u64, total_bytes: u64) -> Arc<ConnectionTable> {
    ConnectionTable::new(WaitingLimits {
        connection_bytes,
        total_bytes,
        stall_timeout: Duration::ZERO,
        place_kept: Duration::ZERO,
    })
}

fn is_closed(connection: &TrackedConnection) -> bool {
    connection.account.is_closed.load(Ordering::Relaxed)
}

#[test]
fn a_connection_over_its_own_limit_is_closed_and_one_large_reply_is_not() {
    let table = table(100, 1000);
    let (large, many) = (table.open(LOCALHOST), table.open(LOCALHOST));
    let share = large.account().wait_for(500);
    assert!(!is_closed(&large), "a single reply may be larger");
    let shares = [60, 41].map(|bytes| many.account().wait_for(bytes));
    assert!(is_closed(&many) && many.account().is_reset());
    assert_eq!(table.closed(CloseReason::OwnBytes), 1);
    // What a closed connection has no longer counts, and is not taken off twice.
    assert_eq!(table.waiting(), 500);
    drop(shares);
    assert_eq!(table.waiting(), 500);
    drop(many.account().wait_for(7));
    drop(share);
    assert_eq!(table.waiting(), 0);
}

#[test]
fn over_the_limit_of_all_the_connections_without_progress_for_longest_are_closed() {
    let table = table(1000, 160);
    let connections: Vec<_> = (0..4).map(|_| table.open(LOCALHOST)).collect();
    let mut shares: Vec<_> = connections
        .iter()
        .map(|connection| connection.account().wait_for(40))
        .collect();
    // An eighth of the limit is free afterwards. The first one makes progress, so the second one is the slowest.
    shares[0].release(1);
    drop(connections[3].account().wait_for(10));
    let closed: Vec<_> = connections.iter().map(is_closed).collect();
    assert_eq!(closed, [false, true, false, false]);
    drop(connections[3].account().wait_for(60));
    let closed: Vec<_> = connections.iter().map(is_closed).collect();
    assert_eq!(closed, [false, true, true, false]);
    assert_eq!(table.closed(CloseReason::TotalBytes), 2);
    assert_eq!(table.waiting(), 79);
    drop(shares);
    assert_eq!(table.waiting(), 0);
}

#[test]
fn only_a_connection_for_which_bytes_wait_is_stalled() {
    let table = table(100, 100);
    let (idle, stalled) = (table.open(LOCALHOST), table.open(LOCALHOST));
    let _share = stalled.account().wait_for(1);
    table.close_stalled();
    assert_eq!((is_closed(&idle), is_closed(&stalled)), (false, true));
    assert_eq!(table.closed(CloseReason::Stalled), 1);
}

#[test]
fn the_place_of_the_longest_idle_connection_is_given_away_and_no_busy_one() {
    let table = table(100, 100);
    let (busy, first, second) = (
        table.open(LOCALHOST),
        table.open(LOCALHOST),
        table.open(LOCALHOST),
    );
    let _request = busy.account().begin_request();
    second.account().idle_since_ms.store(7, Ordering::Relaxed);
    first.account().idle_since_ms.store(8, Ordering::Relaxed);
    assert!(table.make_place(LOCALHOST));
    assert_eq!((is_closed(&first), is_closed(&second)), (false, true));
    assert!(!second.account().is_reset(), "nothing waits for it");
    assert!(table.make_place(LOCALHOST));
    assert!(!table.make_place(LOCALHOST), "only the busy one is left");
    assert_eq!(table.closed(CloseReason::Idle), 2);
}

/// A connection that has served a request, and has been idle for this long at `NOW_MS`.
fn used(table: &Arc<ConnectionTable>, address: IpAddr, idle_ms: u64) -> TrackedConnection {
    let connection = table.open(address);
    connection.account().set_active(1);
    connection.account().set_active(0);
    let since = NOW_MS - idle_ms;
    connection
        .account()
        .idle_since_ms
        .store(since, Ordering::Relaxed);
    connection
}

/// A time of the table.
const NOW_MS: u64 = 100_000;
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

/// The id of the connection that gives its place to a new one from this address.
fn displaced(table: &ConnectionTable, new: IpAddr) -> Option<u64> {
    let open = table.lock();
    open.for_new(new.into(), NOW_MS, 1000)
        .map(ConnectionAccount::id)
}

#[test]
fn a_crowd_of_new_connections_does_not_displace_those_that_others_use() {
    let table = table(100, 100);
    let in_use = used(&table, OTHER, 29_999);
    let crowd: Vec<_> = (0..9).map(|_| table.open(LOCALHOST)).collect();
    let _requests: Vec<_> = crowd
        .iter()
        .map(|connection| connection.account().begin_request())
        .collect();
    // All of the crowd are busy, and a further one comes.
    assert_eq!(displaced(&table, LOCALHOST), None);
    // A client makes place for itself.
    assert_eq!(displaced(&table, OTHER), Some(in_use.account().id()));
    let long = used(&table, OTHER, 30_000);
    assert_eq!(displaced(&table, LOCALHOST), Some(long.account().id()));
    drop((in_use, long));
}

#[test]
fn a_client_with_many_idle_connections_makes_place_for_one_with_few() {
    let table = table(100, 100);
    let crowd: Vec<_> = [999, 1000, 1001]
        .map(|idle_ms| used(&table, LOCALHOST, idle_ms))
        .into();
    for new in [OTHER, LOCALHOST] {
        assert_eq!(displaced(&table, new), Some(crowd[2].account().id()));
    }
    let unused = table.open(OTHER);
    unused
        .account()
        .idle_since_ms
        .store(NOW_MS, Ordering::Relaxed);
    drop(crowd);
    assert_eq!(displaced(&table, LOCALHOST), Some(unused.account().id()));
}

#[test]
fn a_client_has_the_first_64_bits_of_an_ipv6_address() {
    let network = |text: &str| ClientNetwork::from(text.parse::<IpAddr>().expect("an address"));
    assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
    assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
}

#[test]
fn a_split_share_counts_its_bytes_once() {
    let table = table(100, 1000);
    let connection = table.open(LOCALHOST);
    let mut share = connection.account().wait_for(90);
    let part = share.split(40);
    assert_eq!((share.bytes(), part.bytes(), table.waiting()), (50, 40, 90));
    drop(part);
    assert_eq!(table.waiting(), 50);
    share.absorb(connection.account().wait_for(5));
    assert_eq!((share.bytes(), table.waiting()), (55, 55));
    share.release(1000);
    assert_eq!(table.waiting(), 0);
}

#[tokio::test]
async fn a_request_waits_for_room_and_a_closed_connection_lets_none_wait() {
    let table = table(100, 1000);
    let connection = table.open(LOCALHOST);
    let share = connection.account().wait_for(26);
    assert!(!connection.account().has_room());
    let account = Arc::clone(connection.account());
    let waits = tokio::spawn(async move { account.room().await });
    tokio::task::yield_now().await;
    assert!(!waits.is_finished());
    drop(share);
    waits.await.expect("there is room");

    let _share = connection.account().wait_for(26);
    let account = Arc::clone(connection.account());
    let waits = tokio::spawn(async move {
        account.room().await;
        account.closed().await;
    });
    tokio::task::yield_now().await;
    drop(connection);
    waits.await.expect("the connection has ended");
}

#[test]
fn a_costly_query_counts_at_once_and_cheap_ones_by_and_by() {
    let table = table(100, 100);
    let connection = table.open(LOCALHOST);
    let account = connection.account();
    assert_eq!(account.usual_query_cost(), None);
    account.note_query_cost(100);
    assert_eq!(account.usual_query_cost(), Some(100));
    account.note_query_cost(1100);
    assert_eq!(account.usual_query_cost(), Some(1100));
    account.note_query_cost(100);
    assert_eq!(account.usual_query_cost(), Some(850));
    for _ in 0..30 {
        account.note_query_cost(100);
    }
    assert_eq!(account.usual_query_cost(), Some(100));
    account.note_query_cost(u64::MAX);
    assert_eq!(account.usual_query_cost(), Some(u64::MAX - 1));
}
