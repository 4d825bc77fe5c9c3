use std::time::Duration;

use super::*;

const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn table(connection_bytes: u64, total_bytes: u64) -> Arc<ConnectionTable> {
    ConnectionTable::new(WaitingLimits {
        connection_bytes,
        total_bytes,
        stall_timeout: Duration::ZERO,
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
    assert!(table.close_idlest());
    assert_eq!((is_closed(&first), is_closed(&second)), (false, true));
    assert!(!second.account().is_reset(), "nothing waits for it");
    assert!(table.close_idlest());
    assert!(!table.close_idlest(), "only the busy one is left");
    assert_eq!(table.closed(CloseReason::Idle), 2);
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
