//! Queries on threads of their own.

use task_queue_raft::state_machine::WaitingClient;

use super::*;
use crate::records::query::{QueryClass, QueryCost};
use crate::testing::{at, scripted_but, scripted_but_in_memory, scripted_in_memory};

type Response = (Index, Result<Bytes, GuestQueryError>);

/// A machine with threads for queries.
struct QueryNode {
    machine: WasmMachine,
    index: u64,
    sender: mpsc::Sender<Response>,
    responses: mpsc::Receiver<Response>,
}

/// So many threads for each class.
fn threads_of(count: usize) -> QueryThreads {
    QueryThreads {
        count,
        in_background: || {},
    }
}

impl QueryNode {
    fn new(module: GuestModule, limits: MachineLimits, threads: usize) -> Self {
        let machine = WasmMachine::new(module, limits, None).unwrap();
        let (sender, responses) = mpsc::channel();
        Self {
            machine: machine.with_query_threads(threads_of(threads)).unwrap(),
            index: 0,
            sender,
            responses,
        }
    }

    fn send(&mut self, command: &[u8]) {
        self.index += 1;
        let envelope = Envelope::command(None, command).unwrap();
        self.machine.apply(at(self.index), &[envelope]).unwrap();
    }

    fn submit(&mut self, request: &[u8]) {
        let sender = self.sender.clone();
        let respond = QueryCallback::new(move |index, response| {
            sender.send((index, response)).unwrap();
        });
        let request = Bytes::copy_from_slice(request);
        self.machine
            .query_async(at(self.index), request.into(), respond);
    }

    /// Submits a query of this class, and returns what counts its cost.
    fn submit_of(&mut self, class: QueryClass, request: &[u8]) -> QueryCost {
        let sender = self.sender.clone();
        let respond = QueryCallback::new(move |index, response| {
            sender.send((index, response)).unwrap();
        });
        let query = MachineQuery {
            class,
            ..Bytes::copy_from_slice(request).into()
        };
        let cost = query.cost.clone();
        self.machine.query_async(at(self.index), query, respond);
        self.machine.on_idle();
        cost
    }

    /// Submits a query whose client may go.
    fn submit_watched(&mut self, client: ClientWatch, request: &[u8]) {
        let sender = self.sender.clone();
        let respond = QueryCallback::new(move |index, response| {
            sender.send((index, response)).unwrap();
        });
        self.machine.query_async(
            at(self.index),
            Bytes::copy_from_slice(request).into(),
            respond.for_client(client),
        );
    }

    fn response(&mut self) -> Response {
        self.machine.on_idle();
        self.responses.recv().unwrap()
    }

    fn value(&mut self) -> (u64, u64) {
        self.submit(b"?");
        let (index, response) = self.response();
        (index.0, number_in(&response.unwrap()))
    }
}

fn number_in(response: &Bytes) -> u64 {
    u64::from_le_bytes(response.as_ref().try_into().unwrap())
}

/// Makes the scripted guest count its queries, which a guest should not do.
const COUNTING: (&str, &str) = (
    "(local $op i32)\n    (local.set $op (i32.load8_u (local.get $at)))\n    (i32.store8 (i32.const 32) (i32.const 0))\n    (i32.store (i32.const 36) (i32.const 0))",
    "(local $op i32)\n    (local.set $op (i32.load8_u (local.get $at)))\n    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1000)))\n    (i32.store8 (i32.const 32) (i32.const 0))\n    (i32.store (i32.const 36) (i32.const 0))",
);

#[test]
fn a_query_observes_all_entries_applied_before_it() {
    let mut node = QueryNode::new(scripted_in_memory(), limits(), 2);
    assert_eq!(node.value(), (0, 0));
    for count in 1..=200 {
        node.send(b"a");
        let (index, value) = node.value();
        assert_eq!((index, value), (count, count));
    }
    assert_eq!(node.machine.status().get().queries.completed, 201);
}

#[test]
fn a_query_concurrent_with_entries_observes_a_state_between() {
    let mut node = QueryNode::new(scripted_in_memory(), limits(), 3);
    let mut least = Vec::new();
    for count in 1..=300 {
        node.send(b"a");
        if count % 3 == 0 {
            node.submit(b"?");
            least.push(count);
        }
    }
    for _ in &least {
        let (index, response) = node.response();
        let value = number_in(&response.unwrap());
        assert!(
            value <= 300 && index.0 <= value + 1,
            "{value} after {index}"
        );
    }
}

#[test]
fn a_query_that_changes_state_changes_only_its_replica() {
    let module = scripted_but_in_memory(&[COUNTING]);
    for threads in [0, 1] {
        let mut node = QueryNode::new(module.clone(), limits(), threads);
        let mut other = QueryNode::new(module.clone(), limits(), threads);
        for count in 1..=20 {
            node.send(b"a");
            other.send(b"a");
            assert_eq!(node.value(), (count, 1000 + count));
        }
        assert_eq!(node.machine.state_hash(), other.machine.state_hash());
    }
}

#[test]
fn without_an_image_a_query_changes_nothing_either() {
    let module = scripted_but(&[COUNTING]);
    assert_eq!(module.rollback_method().name(), "replay");
    let mut node = QueryNode::new(module.clone(), limits(), 2);
    let mut other = QueryNode::new(module, limits(), 2);
    for count in 1..=20 {
        node.send(b"a");
        other.send(b"a");
        // The replay of the next call detects the change, and the shadow is replaced.
        assert_eq!(node.value(), (count, 1000 + count));
    }
    assert_eq!(node.machine.state_hash(), other.machine.state_hash());
}

#[test]
fn a_failed_query_costs_its_replica_and_no_rollback() {
    for module in [scripted_in_memory(), scripted()] {
        let mut node = QueryNode::new(module, limits(), 1);
        node.send(b"a");
        for request in [b"t", b"v", b"s"] {
            node.submit(request);
            let (_, response) = node.response();
            assert!(
                matches!(response, Err(GuestQueryError::Failed(_))),
                "{response:?}"
            );
            assert_eq!(node.value(), (1, 1));
        }
        assert_eq!(node.machine.status().get().counts.rollbacks, 0);
    }
}

#[test]
fn a_replica_follows_a_growing_memory() {
    let mut node = QueryNode::new(scripted_in_memory(), limits(), 1);
    for count in 1..=10 {
        node.send(&op(b'g', 3));
        node.send(b"a");
        assert_eq!(node.value(), (2 * count, count));
    }
}

#[test]
fn queries_over_the_limit_are_refused_at_once() {
    let limits = MachineLimits {
        queries_waiting: 2,
        fuel_per_query: 300_000_000,
        ..limits()
    };
    let mut node = QueryNode::new(scripted_in_memory(), limits, 1);
    // The first one runs for a while, or waits as well; at least two of the five are over the limit.
    for _ in 0..5 {
        node.submit(b"v");
    }
    let responses: Vec<_> = (0..5).map(|_| node.response().1).collect();
    let refused = responses
        .iter()
        .filter(|response| matches!(response, Err(GuestQueryError::Overloaded { waiting: 2 })))
        .count();
    assert!((2..=3).contains(&refused), "{responses:?}");
    let status = node.machine.status().get().queries;
    assert_eq!(status.overloaded as usize, refused);
    assert_eq!(status.waiting, 0);
}

#[test]
fn the_limits_of_a_query_hold_on_a_replica() {
    let limits = MachineLimits {
        reply_bytes: 100,
        command_bytes: 100,
        ..limits()
    };
    let mut node = QueryNode::new(scripted_in_memory(), limits, 1);
    for request in [op(b'z', 101), vec![b'?'; 101]] {
        node.submit(&request);
        let (_, response) = node.response();
        assert!(
            matches!(
                response,
                Err(GuestQueryError::Failed(GuestFailure::TooLarge {
                    limit: 100,
                    ..
                }))
            ),
            "{response:?}"
        );
    }
}

#[test]
fn queries_that_wait_when_the_machine_is_dropped_get_no_response() {
    let limits = MachineLimits {
        fuel_per_query: 300_000_000,
        ..limits()
    };
    let QueryNode {
        mut machine,
        sender,
        responses,
        ..
    } = QueryNode::new(scripted_in_memory(), limits, 1);
    for _ in 0..4 {
        let sender = sender.clone();
        let respond = QueryCallback::new(move |index, response| {
            // The test may have ended.
            let _ = sender.send((index, response));
        });
        machine.query_async(at(0), Bytes::from_static(b"v").into(), respond);
    }
    drop((machine, sender));
    // Each sender is dropped, with or without a response.
    assert!(responses.iter().count() <= 2);
}

#[test]
fn after_a_restore_queries_observe_the_new_state() {
    let mut node = QueryNode::new(faulty(), limits(), 1);
    node.send(br#"{"add":{"by":5}}"#);
    let mut snapshot = Vec::new();
    node.machine.snapshot(&mut snapshot).unwrap();
    node.send(br#"{"add":{"by":5}}"#);
    node.submit(br#"{"get":{}}"#);
    assert_eq!(node.response().1.unwrap().as_ref(), br#"{"value":10}"#);
    node.machine.restore(&mut snapshot.as_slice()).unwrap();
    node.index = 1;
    node.submit(br#"{"get":{}}"#);
    assert_eq!(node.response().1.unwrap().as_ref(), br#"{"value":5}"#);
}

/// Limits under which an endless query would run for longer than the test may.
fn endless() -> MachineLimits {
    MachineLimits {
        fuel_per_query: u64::MAX / 2,
        ..limits()
    }
}

#[test]
fn a_running_query_is_interrupted_once_its_client_has_gone() {
    for module in [scripted_in_memory(), scripted()] {
        let mut node = QueryNode::new(module, endless(), 1);
        node.send(b"a");
        let hash = node.machine.state_hash();
        let (client, status) = (WaitingClient::default(), node.machine.status());
        let watch = client.watch();
        // Without an image the query runs on this thread, so its client goes on another one.
        let leaves = std::thread::spawn(move || {
            while status.get().queries.running == 0 {
                std::thread::yield_now();
            }
            drop(client);
        });
        node.submit_watched(watch, b"v");
        let (_, response) = node.response();
        leaves.join().unwrap();
        assert_eq!(response, Err(GuestQueryError::Abandoned));
        let queries = node.machine.status().get().queries;
        assert_eq!((queries.abandoned_running, queries.running), (1, 0));
        assert_eq!(node.value(), (1, 1));
        assert_eq!(node.machine.state_hash(), hash);
        assert_eq!(node.machine.status().get().counts.rollbacks, 0);
    }
}

#[test]
fn abandoned_queries_that_wait_take_no_place_and_never_begin() {
    let limits = MachineLimits {
        queries_waiting: 3,
        ..endless()
    };
    let mut node = QueryNode::new(scripted_in_memory(), limits, 1);
    let running = WaitingClient::default();
    node.submit_watched(running.watch(), b"v");
    node.machine.on_idle();
    while node.machine.status().get().queries.running == 0 {
        std::thread::yield_now();
    }
    for _ in 0..50 {
        // Its client has gone already.
        node.submit_watched(WaitingClient::default().watch(), b"v");
        node.machine.on_idle();
    }
    node.submit(b"?");
    node.machine.on_idle();
    assert_eq!(node.machine.status().get().queries.overloaded, 0);
    drop(running);
    assert_eq!(node.response().1, Err(GuestQueryError::Abandoned));
    assert_eq!(number_in(&node.response().1.unwrap()), 0);
    let queries = node.machine.status().get().queries;
    assert_eq!(
        (queries.abandoned_waiting, queries.abandoned_running),
        (50, 1)
    );
}

#[test]
fn short_and_new_queries_do_not_wait_for_long_ones() {
    let mut node = QueryNode::new(scripted_in_memory(), endless(), 1);
    let clients = [(); 3].map(|()| WaitingClient::default());
    for client in &clients {
        node.submit_watched(client.watch(), b"v");
    }
    node.machine.on_idle();
    for class in [QueryClass::Short, QueryClass::New, QueryClass::Short] {
        let cost = node.submit_of(class, b"?");
        assert_eq!(number_in(&node.response().1.unwrap()), 0);
        assert_eq!(QueryClass::after(Some(cost.get())), QueryClass::Short);
    }
    drop(clients);
    let mut ended = node.machine.status().get().queries;
    while ended.abandoned_running + ended.abandoned_waiting < 3 {
        std::thread::yield_now();
        ended = node.machine.status().get().queries;
    }
    assert_eq!(ended.waiting + ended.running, 0);
}

#[test]
fn a_query_that_needs_more_fuel_than_its_class_allows_must_be_sent_again_as_a_long_one() {
    let fuel = 300_000_000;
    let limits = MachineLimits {
        fuel_per_query: fuel,
        ..limits()
    };
    let mut node = QueryNode::new(scripted_in_memory(), limits, 1);
    let out_of_fuel = GuestQueryError::Failed(GuestFailure::OutOfFuel);
    for (class, error, least) in [
        (QueryClass::Short, GuestQueryError::NotShort, 1_000_000),
        (QueryClass::New, GuestQueryError::NotShort, 1_000_000),
        (QueryClass::Long, out_of_fuel.clone(), fuel),
    ] {
        let cost = node.submit_of(class, b"v");
        assert_eq!(node.response().1, Err(error));
        assert!(cost.get() >= least && cost.get() < 2 * fuel, "{cost:?}");
        assert_eq!(QueryClass::after(Some(cost.get())), QueryClass::Long);
    }
    // Where the limit of all queries is lower, it is the one that counts.
    let limits = MachineLimits {
        fuel_per_query: 100_000,
        ..limits
    };
    let mut node = QueryNode::new(scripted_in_memory(), limits, 1);
    node.submit_of(QueryClass::Short, b"v");
    assert_eq!(node.response().1, Err(out_of_fuel));
}

#[test]
fn the_bytes_of_a_response_cost_too() {
    for module in [scripted_in_memory(), scripted()] {
        let mut node = QueryNode::new(module, limits(), 1);
        let small = node.submit_of(QueryClass::Short, &op(b'z', 10));
        node.response().1.unwrap();
        let large = node.submit_of(QueryClass::Short, &op(b'z', 50_010));
        node.response().1.unwrap();
        assert!(small.get() > 0);
        assert!(
            large.get() >= small.get() + 8 * 50_000,
            "{large:?} {small:?}"
        );
    }
}
