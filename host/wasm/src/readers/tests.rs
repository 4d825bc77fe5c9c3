use std::sync::mpsc;

use task_queue_raft::ids::Index;

use super::*;
use crate::machine::WasmMachine;
use crate::testing::{at, faulty, limits, op, scripted, scripted_in_memory};
use task_queue_raft::state_machine::StateMachine;

type Answer = (Index, Result<Bytes, GuestQueryError>);

/// A machine with threads for questions, fed by hand.
struct Node {
    machine: WasmMachine,
    index: u64,
    sender: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
}

impl Node {
    fn new(module: GuestModule, limits: MachineLimits, threads: usize) -> Self {
        let machine = WasmMachine::new(module, limits, None).unwrap();
        let (sender, answers) = mpsc::channel();
        Self {
            machine: machine.with_query_threads(threads).unwrap(),
            index: 0,
            sender,
            answers,
        }
    }

    fn send(&mut self, command: &[u8]) {
        self.index += 1;
        let envelope = crate::Envelope::command(None, command).unwrap();
        self.machine.apply(at(self.index), &[envelope]).unwrap();
    }

    fn ask(&mut self, request: &[u8]) {
        let sender = self.sender.clone();
        let answer = Box::new(move |index, answer| sender.send((index, answer)).unwrap());
        let request = Bytes::copy_from_slice(request);
        self.machine.query_beside(at(self.index), request, answer);
    }

    fn answer(&mut self) -> Answer {
        self.machine.rest();
        self.answers.recv().unwrap()
    }

    fn value(&mut self) -> (u64, u64) {
        self.ask(b"?");
        let (index, answer) = self.answer();
        (index.0, number(&answer.unwrap()))
    }
}

fn number(answer: &Bytes) -> u64 {
    u64::from_le_bytes(answer.as_ref().try_into().unwrap())
}

/// What makes of the scripted guest one whose queries count, as none should.
const COUNTING: (&str, &str) = (
    "(local $op i32)\n    (local.set $op (i32.load8_u (local.get $at)))\n    (i32.store8 (i32.const 32) (i32.const 0))\n    (i32.store (i32.const 36) (i32.const 0))",
    "(local $op i32)\n    (local.set $op (i32.load8_u (local.get $at)))\n    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1000)))\n    (i32.store8 (i32.const 32) (i32.const 0))\n    (i32.store (i32.const 36) (i32.const 0))",
);

#[test]
fn a_question_sees_all_that_was_applied_before_it() {
    let mut node = Node::new(scripted_in_memory(), limits(), 2);
    assert_eq!(node.value(), (0, 0));
    for count in 1..=200 {
        node.send(b"a");
        let (index, value) = node.value();
        assert_eq!((index, value), (count, count));
    }
    assert_eq!(node.machine.status().get().queries.completed, 201);
}

#[test]
fn questions_under_way_while_entries_are_applied_see_a_state_between() {
    let mut node = Node::new(scripted_in_memory(), limits(), 3);
    let mut least = Vec::new();
    for count in 1..=300 {
        node.send(b"a");
        if count % 3 == 0 {
            node.ask(b"?");
            least.push(count);
        }
    }
    for _ in &least {
        let (index, answer) = node.answer();
        let value = number(&answer.unwrap());
        assert!(
            value <= 300 && index.0 <= value + 1,
            "{value} after {index}"
        );
    }
}

#[test]
fn one_that_changes_something_changes_its_copy_alone() {
    let module = crate::testing::scripted_but_in_memory(&[COUNTING]);
    for threads in [0, 1] {
        let mut node = Node::new(module.clone(), limits(), threads);
        let mut other = Node::new(module.clone(), limits(), threads);
        for count in 1..=20 {
            node.send(b"a");
            other.send(b"a");
            assert_eq!(node.value(), (count, 1000 + count));
        }
        assert_eq!(node.machine.state_hash(), other.machine.state_hash());
    }
}

#[test]
fn without_an_image_it_changes_nothing_either() {
    let module = crate::testing::scripted_but(&[COUNTING]);
    assert_eq!(module.rollback_method().name(), "replay");
    let mut node = Node::new(module.clone(), limits(), 2);
    let mut other = Node::new(module, limits(), 2);
    for count in 1..=20 {
        node.send(b"a");
        other.send(b"a");
        // The call after the question shows that it did, and then another instance takes its place.
        assert_eq!(node.value(), (count, 1000 + count));
    }
    assert_eq!(node.machine.state_hash(), other.machine.state_hash());
}

#[test]
fn one_that_fails_costs_its_copy_and_no_rollback() {
    for module in [scripted_in_memory(), scripted()] {
        let mut node = Node::new(module, limits(), 1);
        node.send(b"a");
        for request in [b"t", b"v", b"s"] {
            node.ask(request);
            let (_, answer) = node.answer();
            assert!(
                matches!(answer, Err(GuestQueryError::Failed(_))),
                "{answer:?}"
            );
            assert_eq!(node.value(), (1, 1));
        }
        assert_eq!(node.machine.status().get().counts.rollbacks, 0);
    }
}

#[test]
fn a_copy_follows_a_memory_that_grows() {
    let mut node = Node::new(scripted_in_memory(), limits(), 1);
    for count in 1..=10 {
        node.send(&op(b'g', 3));
        node.send(b"a");
        assert_eq!(node.value(), (2 * count, count));
    }
}

#[test]
fn past_the_limit_questions_are_refused_at_once() {
    let limits = MachineLimits {
        queries_waiting: 2,
        fuel_per_query: 300_000_000,
        ..limits()
    };
    let mut node = Node::new(scripted_in_memory(), limits, 1);
    // One runs for a while, or waits as well; of five at least two find no place.
    for _ in 0..5 {
        node.ask(b"v");
    }
    let answers: Vec<_> = (0..5).map(|_| node.answer().1).collect();
    let refused = answers
        .iter()
        .filter(|answer| matches!(answer, Err(GuestQueryError::Overloaded { waiting: 2 })))
        .count();
    assert!((2..=3).contains(&refused), "{answers:?}");
    let status = node.machine.status().get().queries;
    assert_eq!(status.overloaded as usize, refused);
    assert_eq!(status.waiting, 0);
}

#[test]
fn the_limits_of_a_question_hold_on_a_copy() {
    let limits = MachineLimits {
        reply_bytes: 100,
        command_bytes: 100,
        ..limits()
    };
    let mut node = Node::new(scripted_in_memory(), limits, 1);
    for request in [op(b'z', 101), vec![b'?'; 101]] {
        node.ask(&request);
        let (_, answer) = node.answer();
        assert!(
            matches!(
                answer,
                Err(GuestQueryError::Failed(GuestFailure::TooLarge {
                    limit: 100,
                    ..
                }))
            ),
            "{answer:?}"
        );
    }
}

#[test]
fn those_that_wait_when_the_machine_goes_are_told_nothing() {
    let limits = MachineLimits {
        fuel_per_query: 300_000_000,
        ..limits()
    };
    let Node {
        mut machine,
        sender,
        answers,
        ..
    } = Node::new(scripted_in_memory(), limits, 1);
    for _ in 0..4 {
        let sender = sender.clone();
        let answer = Box::new(move |index, answer| {
            // The test may be over.
            let _ = sender.send((index, answer));
        });
        machine.query_beside(at(0), Bytes::from_static(b"v"), answer);
    }
    drop((machine, sender));
    // Each answer's end is dropped, with or without an answer.
    assert!(answers.iter().count() <= 2);
}

#[test]
fn after_a_restore_questions_are_of_the_new_state() {
    let mut node = Node::new(faulty(), limits(), 1);
    node.send(br#"{"add":{"by":5}}"#);
    let mut snapshot = Vec::new();
    node.machine.snapshot(&mut snapshot).unwrap();
    node.send(br#"{"add":{"by":5}}"#);
    node.ask(br#"{"get":{}}"#);
    assert_eq!(node.answer().1.unwrap().as_ref(), br#"{"value":10}"#);
    node.machine.restore(&mut snapshot.as_slice()).unwrap();
    node.index = 1;
    node.ask(br#"{"get":{}}"#);
    assert_eq!(node.answer().1.unwrap().as_ref(), br#"{"value":5}"#);
}
