use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::http::connection_table::{ConnectionTable, TrackedConnection};
use crate::settings::WaitingLimits;

/// Costs of a short and of a long query.
const SHORT: u64 = 10_000;
const LONG: u64 = 50_000_000;

type Entering = Pin<Box<dyn Future<Output = Result<QueryTurn<'static>, ApiError>>>>;

/// Connections from one address.
struct Clients {
    /// Lives for ever, so that turns may borrow it.
    gate: &'static Arc<QueryGate>,
    table: Arc<ConnectionTable>,
    open: Vec<TrackedConnection>,
}

impl Clients {
    fn new() -> Self {
        Self {
            gate: Box::leak(Box::new(QueryGate::new(1))),
            table: ConnectionTable::new(WaitingLimits::default()),
            open: Vec::new(),
        }
    }

    /// Opens a connection whose queries have had this cost, if it has sent any.
    fn connect(&mut self, address: u8, usual_cost: Option<u64>) -> PayingClient {
        let address = Ipv4Addr::new(10, 0, 0, address).into();
        let connection = self.table.open(address);
        usual_cost.inspect(|cost| connection.account().note_query_cost(*cost));
        let client = PayingClient::of(None, connection.account());
        self.open.push(connection);
        client
    }

    fn enter(&self, client: &PayingClient) -> Entering {
        let client: &'static PayingClient = Box::leak(Box::new(client.clone()));
        Box::pin(self.gate.enter(client))
    }

    /// Sends a query. Returns it, and its turn if it has one at once.
    fn send(&self, client: &PayingClient) -> (Entering, Option<QueryTurn<'static>>) {
        let mut entering = self.enter(client);
        let turn = poll(&mut entering);
        (entering, turn.map(|turn| turn.expect("not refused")))
    }

    /// Sends a query that has its turn at once.
    fn run(&self, client: &PayingClient) -> QueryTurn<'static> {
        self.send(client).1.expect("it has its turn at once")
    }

    /// Sends a query that waits.
    fn wait(&self, client: &PayingClient) -> Entering {
        let (entering, turn) = self.send(client);
        assert!(turn.is_none(), "it waits");
        entering
    }

    fn waiting(&self) -> u64 {
        self.gate.counts().waiting
    }
}

fn poll(entering: &mut Entering) -> Option<Result<QueryTurn<'static>, ApiError>> {
    let mut context = Context::from_waker(Waker::noop());
    match entering.as_mut().poll(&mut context) {
        Poll::Ready(entered) => Some(entered),
        Poll::Pending => None,
    }
}

/// Ends a query with a cost.
fn end(turn: QueryTurn<'_>, gate_cost: u64) {
    turn.cost.add(gate_cost, 0);
    turn.finish();
}

#[test]
fn short_queries_do_not_wait_for_long_ones_nor_for_those_of_new_connections() {
    let mut clients = Clients::new();
    let (short, long) = (
        clients.connect(1, Some(SHORT)),
        clients.connect(1, Some(LONG)),
    );
    let mut running: Vec<_> = (0..LONG_PLACES_PER_THREAD)
        .map(|_| clients.run(&long))
        .collect();
    let _waits = clients.wait(&long);
    for _ in 0..NEW_PLACES {
        let new = clients.connect(1, None);
        running.push(clients.run(&new));
    }
    let new = clients.connect(1, None);
    let _waits_too = clients.wait(&new);
    for _ in 0..100 {
        end(clients.run(&short), SHORT);
    }
    assert_eq!(clients.waiting(), 2);
    drop(running);
}

#[test]
fn further_queries_of_a_new_connection_wait_until_its_first_has_shown_its_class() {
    let mut clients = Clients::new();
    for (cost, class) in [(SHORT, QueryClass::Short), (LONG, QueryClass::Long)] {
        let client = clients.connect(1, None);
        let first = clients.run(&client);
        assert_eq!(first.class, QueryClass::New);
        let mut further: Vec<_> = (0..3).map(|_| clients.wait(&client)).collect();
        end(first, cost);
        for entering in &mut further {
            let turn = poll(entering).expect("its turn").expect("not refused");
            assert_eq!(turn.class, class);
            end(turn, cost);
        }
        assert_eq!(clients.waiting(), 0);
    }
}

#[test]
fn a_first_query_that_leaves_makes_the_next_one_the_first() {
    let mut clients = Clients::new();
    let client = clients.connect(1, None);
    let first = clients.run(&client);
    let mut second = clients.wait(&client);
    let third = clients.wait(&client);
    drop(third);
    // It may be too fast to cost anything.
    drop(first);
    let turn = poll(&mut second).expect("its turn").expect("not refused");
    end(turn, SHORT);
    assert_eq!(clients.gate.counts().abandoned, 1);
    assert_eq!(clients.run(&client).class, QueryClass::Short);
    assert!(clients.gate.lock().behind.is_empty());
}

#[test]
fn the_long_queries_of_one_address_do_not_hold_up_another_one() {
    let mut clients = Clients::new();
    let mut waiting = Vec::new();
    let mut running = Vec::new();
    for _ in 0..100 {
        let hostile = clients.connect(1, Some(LONG));
        for _ in 0..4 {
            let (entering, turn) = clients.send(&hostile);
            waiting.push(entering);
            running.extend(turn);
        }
    }
    let other = clients.connect(2, Some(LONG));
    let mut entering = clients.wait(&other);
    end(running.pop().expect("it runs"), LONG);
    let turn = poll(&mut entering)
        .expect("the next turn")
        .expect("not refused");
    end(turn, LONG);
    drop(running);
}

#[test]
fn over_the_limit_the_query_of_the_client_with_most_waiting_is_refused() {
    let mut clients = Clients::new();
    let crowd = clients.connect(1, Some(LONG));
    let _running: Vec<_> = (0..LONG_PLACES_PER_THREAD)
        .map(|_| clients.run(&crowd))
        .collect();
    let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| clients.wait(&crowd)).collect();
    let error = clients.send_refused(&crowd);
    assert_eq!(error.code(), "overloaded");
    let mut others = Vec::new();
    for (refused, address) in [(1, 1), (2, 2)] {
        let other = clients.connect(address, Some(LONG));
        others.push(clients.wait(&other));
        let last = waiting.len() - refused;
        let error = poll(&mut waiting[last])
            .expect("refused")
            .expect_err("refused");
        assert_eq!(error.code(), "overloaded");
        assert_eq!(clients.gate.counts().refused, 1 + refused as u64);
        assert_eq!(clients.waiting(), MAX_WAITING as u64);
    }
}

impl Clients {
    /// Sends a query that is refused at once.
    fn send_refused(&self, client: &PayingClient) -> ApiError {
        let mut entering = self.enter(client);
        poll(&mut entering).expect("at once").expect_err("refused")
    }
}

#[test]
fn a_query_whose_client_leaves_gives_its_place_to_the_next_one() {
    let mut clients = Clients::new();
    let client = clients.connect(1, Some(LONG));
    let running: Vec<_> = (0..LONG_PLACES_PER_THREAD)
        .map(|_| clients.run(&client))
        .collect();
    let (first, mut second) = (clients.wait(&client), clients.wait(&client));
    drop(running);
    // The first one has its turn, and its client leaves before it learns this.
    drop(first);
    let turn = poll(&mut second).expect("its turn").expect("not refused");
    end(turn, LONG);
    let counts = clients.gate.counts();
    assert_eq!((counts.waiting, counts.abandoned), (0, 1));
    let state = clients.gate.lock();
    assert!(state.classes.iter().all(|gate| gate.running == 0));
    assert!(state.payers.is_empty() && state.connections.is_empty());
}

#[test]
fn queries_are_charged_to_the_principal_or_else_to_the_address() {
    let table = ConnectionTable::new(WaitingLimits::default());
    let payer = |address: &str| {
        let connection = table.open(address.parse().expect("an address"));
        PayingClient::of(Some(&Requester::Anyone), connection.account()).payer
    };
    assert_eq!(payer("10.0.0.1"), payer("10.0.0.1"));
    assert_ne!(payer("10.0.0.1"), payer("10.0.0.2"));
    assert_eq!(payer("2001:db8::1"), payer("2001:db8::ffff:1"));
    assert_ne!(payer("2001:db8::1"), payer("2001:db8:0:1::1"));
    let known = |name: &str, address: &str| {
        let principal = crate::access::Principal::new(
            name.to_owned(),
            crate::access::RoleSet::default(),
            std::collections::BTreeMap::new(),
        );
        let requester = Requester::Known(Arc::new(principal.expect("a principal")));
        let connection = table.open(address.parse().expect("an address"));
        PayingClient::of(Some(&requester), connection.account()).payer
    };
    assert_eq!(known("ann", "10.0.0.1"), known("ann", "10.0.0.2"));
    assert_ne!(known("ann", "10.0.0.1"), known("bob", "10.0.0.1"));
}
