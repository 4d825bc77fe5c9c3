//! Queries to the state machine.

use bytes::Bytes;

use super::kit::*;
use crate::driver::*;
use crate::ids::*;
use crate::message::*;
use Consistency::{Linearizable, Stale};

type QueryOutcome = Result<(Index, Option<Bytes>), SubmitError>;

fn response(index: u64, command: Option<&'static str>) -> QueryOutcome {
    Ok((
        Index(index),
        command.map(|command| Bytes::from_static(command.as_bytes())),
    ))
}

fn led_by_a() -> Cluster {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.propose("a", 1, "x");
    cluster
}

impl Cluster {
    fn submit_query(&mut self, id: &str, client: u32, consistency: Consistency) {
        let now = self.now;
        let node = self.node(id);
        node.now = now;
        node.query(client, 0, consistency);
        self.settle();
    }

    fn response(&self, id: &str, client: u32) -> Option<&QueryOutcome> {
        self.nodes[id].driver.env().responses.get(&client)
    }
}

#[test]
fn every_node_responds_to_a_linearizable_query() {
    let mut cluster = led_by_a();
    for id in ["a", "b", "c"] {
        cluster.submit_query(id, 1, Linearizable);
        assert_eq!(
            cluster.response(id, 1),
            Some(&response(2, Some("x"))),
            "on {id}"
        );
    }
}

#[test]
fn a_linearizable_query_waits_until_the_machine_has_applied_the_read_index() {
    let mut cluster = led_by_a();
    cluster.node("b").machine_works = false;
    cluster.propose("a", 2, "y");
    cluster.submit_query("b", 1, Linearizable);
    assert_eq!(cluster.response("b", 1), None);
    cluster.node("b").machine_works = true;
    cluster.settle();
    assert_eq!(cluster.response("b", 1), Some(&response(3, Some("x"))));
}

#[test]
fn a_stale_query_needs_no_leader() {
    let mut cluster = led_by_a();
    cluster.cut_off("b");
    cluster.pass(MAX * 3);
    cluster.propose("a", 2, "y");
    cluster.submit_query("b", 1, Stale);
    assert_eq!(cluster.response("b", 1), Some(&response(2, Some("x"))));
}

#[test]
fn a_linearizable_query_waits_for_a_leader() {
    let mut cluster = led_by_a();
    cluster.cut_off("b");
    cluster.pass(MAX * 3);
    cluster.submit_query("b", 1, Linearizable);
    assert_eq!(cluster.response("b", 1), None);
    cluster.propose("a", 2, "y");
    cluster.heal();
    cluster.pass(MAX);
    assert_eq!(cluster.response("b", 1), Some(&response(3, Some("x"))));
}

#[test]
fn a_query_survives_a_change_of_leader() {
    let mut cluster = led_by_a();
    cluster.keep = |message| matches!(message, Message::Response(RaftResponse::ReadIndex(_)));
    cluster.submit_query("b", 1, Linearizable);
    assert_eq!(cluster.response("b", 1), None);
    cluster.keep = |_| false;
    cluster.elect("c");
    cluster.pass(HEARTBEAT);
    assert_eq!(cluster.response("b", 1), Some(&response(3, Some("x"))));
}

#[test]
fn a_read_index_whose_response_was_lost_is_requested_again() {
    let mut cluster = led_by_a();
    cluster.keep = |message| matches!(message, Message::Response(RaftResponse::ReadIndex(_)));
    cluster.submit_query("b", 1, Linearizable);
    cluster.keep = |_| false;
    cluster.pass(MIN * 2);
    assert_eq!(cluster.response("b", 1), Some(&response(2, Some("x"))));
}

#[test]
fn a_leader_without_a_majority_serves_no_linearizable_query() {
    let mut cluster = led_by_a();
    cluster.cut_off("a");
    cluster.node("a").query_for(1, 0, Linearizable, MAX * 4);
    cluster.settle();
    assert_eq!(cluster.response("a", 1), None);
    cluster.pass(MAX * 4);
    assert_eq!(cluster.response("a", 1), Some(&Err(SubmitError::NoLeader)));
}

#[test]
fn a_query_fails_at_its_deadline() {
    let mut cluster = led_by_a();
    cluster.keep = |message| matches!(message, Message::Response(RaftResponse::ReadIndex(_)));
    let now = cluster.now;
    let b = cluster.node("b");
    b.now = now;
    b.query_for(1, 0, Linearizable, MIN);
    cluster.settle();
    cluster.pass(MIN);
    assert_eq!(cluster.response("b", 1), Some(&Err(SubmitError::TimedOut)));
}

#[test]
fn queries_past_the_limit_are_refused_at_once() {
    let mut limited = setup("a", "a b c");
    limited.driver.waiting = 2;
    let mut node = Node::new(limited);
    for client in 0..3 {
        node.query(client, 0, Linearizable);
    }
    let responses = &node.driver.env().responses;
    assert_eq!(responses.len(), 1);
    assert!(matches!(responses[&2], Err(SubmitError::Overloaded { .. })));
}

#[test]
fn a_client_reads_its_own_write_on_any_node() {
    let mut cluster = led_by_a();
    for (round, writer) in ["a", "b", "c"].into_iter().enumerate() {
        cluster.propose(writer, 10, "mine");
        let position = round + 1;
        for reader in ["a", "b", "c"] {
            let client = (round * 10 + reader.len()) as u32;
            let node = cluster.node(reader);
            node.query(client, position, Linearizable);
            cluster.settle();
            let found = cluster.response(reader, client);
            assert!(
                matches!(found, Some(Ok((_, Some(found)))) if found == "mine"),
                "{found:?}"
            );
        }
    }
}

#[test]
fn a_leader_with_a_lease_serves_reads_without_peers_until_the_lease_ends() {
    let leased = |id| {
        let mut setup = setup(id, "a b c");
        setup.core.lease_drift_percent = Some(10);
        setup
    };
    let mut cluster = Cluster::with(["a", "b", "c"].into_iter().map(leased));
    cluster.elect("a");
    cluster.propose("a", 1, "x");
    cluster.pass(HEARTBEAT);
    for id in ["b", "c"] {
        cluster.cut_off(id);
    }
    cluster.submit_query("a", 1, Linearizable);
    assert_eq!(cluster.response("a", 1), Some(&response(2, Some("x"))));
    cluster.pass(MIN - Duration::from_millis(1));
    cluster.submit_query("a", 2, Linearizable);
    assert_eq!(
        cluster.response("a", 2),
        None,
        "it has to ask a majority, and can't"
    );
}
