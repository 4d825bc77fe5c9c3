use super::*;
use crate::guest::effects::GuestEvent;
use crate::rollback::journal::StateCall;
use crate::testing::{FUEL, at, faulty, kv, limits, op, op_long, scripted, scripted_but, start};

fn query(request: &[u8]) -> MachineQuery {
    Bytes::copy_from_slice(request).into()
}

fn batch(commands: &[&[u8]]) -> Batch {
    let commands: Vec<Bytes> = commands
        .iter()
        .map(|command| Bytes::copy_from_slice(command))
        .collect();
    let commands = commands.iter().map(|command| (command, None));
    let StateCall::Apply(batch, _) = StateCall::of(commands) else {
        unreachable!("commands make a batch");
    };
    batch
}

fn apply(instance: &mut Instance, commands: &[&[u8]]) -> Result<CallOutput, GuestCallError> {
    instance.apply(
        CallPurpose::Change,
        at(1),
        0,
        &batch(commands),
        &Callers::none(),
    )
}

fn accepted(applied: CallOutput) -> Vec<Bytes> {
    let reply = |kind| match kind {
        ReplyKind::Accepted(reply) => reply,
        other => panic!("{other:?} is not accepted"),
    };
    applied.replies.into_iter().map(reply).collect()
}

fn failure_of(result: Result<CallOutput, GuestCallError>) -> GuestFailure {
    match result {
        Err(GuestCallError::Guest(failure)) => failure,
        other => panic!("{other:?} is not a failure of the guest"),
    }
}

fn value(instance: &mut Instance) -> u64 {
    let answer = instance
        .query(at(1), &query(b"?"))
        .unwrap()
        .ended()
        .unwrap()
        .unwrap();
    u64::from_le_bytes(answer.as_ref().try_into().unwrap())
}

#[test]
fn a_batch_returns_its_outcomes_in_order() {
    let mut instance = start(&scripted(), &limits());
    let commands: &[&[u8]] = &[b"a", b"rno", &op_long(b'd', 7, b""), b"eevent", b"a"];
    let applied = apply(&mut instance, commands).unwrap();
    assert_eq!(
        applied.replies,
        [
            ReplyKind::Accepted(Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0])),
            ReplyKind::Rejected(Bytes::from_static(b"no")),
            ReplyKind::Deferred(7),
            ReplyKind::Accepted(Bytes::new()),
            ReplyKind::Accepted(Bytes::from_static(&[2, 0, 0, 0, 0, 0, 0, 0])),
        ]
    );
    let event = GuestEvent {
        topic: "t".to_owned(),
        payload: Bytes::from_static(b"event"),
    };
    assert_eq!(applied.effects.events, [event]);
    assert_eq!(value(&mut instance), 2);
}

#[test]
fn invalid_outcomes_are_a_failure_of_the_guest() {
    for (mode, message) in [
        (b"o1", "0 verdicts and 3 offsets"),
        (b"o2", "3 verdicts and 0 offsets"),
        (b"o3", "outcome 0 ends at 99999"),
        (b"o4", "1 bytes follow the last outcome"),
    ] {
        let mut instance = start(&scripted(), &limits());
        match failure_of(apply(&mut instance, &[mode, b"a", b"a"])) {
            GuestFailure::BadOutcomes { reason } => {
                assert!(reason.contains(message), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    // Results that can't be lifted are a trap.
    for mode in [b"o5", b"o6"] {
        let mut instance = start(&scripted(), &limits());
        let failure = failure_of(apply(&mut instance, &[mode, b"a"]));
        assert!(matches!(failure, GuestFailure::Trap { .. }), "{failure:?}");
    }
}

#[test]
fn a_token_has_eight_bytes() {
    let mut instance = start(&scripted(), &limits());
    let failure = failure_of(apply(&mut instance, &[b"dshort"]));
    assert!(
        matches!(&failure, GuestFailure::BadOutcomes { reason } if reason.contains("5 bytes instead of 8")),
        "{failure:?}"
    );
}

#[test]
fn each_failure_is_classified() {
    let run = |command: &[u8]| failure_of(apply(&mut start(&scripted(), &limits()), &[command]));
    assert_eq!(run(b"v"), GuestFailure::OutOfFuel);
    assert_eq!(run(b"s"), GuestFailure::StackOverflow);
    assert!(matches!(run(b"t"), GuestFailure::Trap { .. }));
    assert!(matches!(run(b"unknown: u"), GuestFailure::Trap { .. }));
    let big = vec![b'r'; 40 << 20];
    assert_eq!(run(&big), GuestFailure::OutOfMemory);
}

#[test]
fn a_deep_recursion_that_ends_is_not_an_overflow_on_any_thread() {
    // A frame takes at least 16 bytes, so the recursion needs more than the stack of this thread.
    let (endless, ends) = (
        "(i32.add (i32.const 1) (call $overflow (i32.add (local.get $depth) (i32.const 1)))))",
        "(if (result i32) (i32.eq (local.get $depth) (i32.const 300000))
          (then (i32.const 0))
          (else (i32.add (i32.const 1) (call $overflow (i32.add (local.get $depth) (i32.const 1)))))))",
    );
    let module = scripted_but(&[(endless, ends)]);
    let run = move || {
        start(&module, &limits())
            .query(at(1), &query(b"s"))
            .unwrap()
            .ended()
            .unwrap()
    };
    let small = std::thread::Builder::new().stack_size(2 << 20).spawn(run);
    assert_eq!(
        small.unwrap().join().unwrap(),
        Ok(Bytes::from_static(&[0; 8]))
    );
}

#[test]
fn a_trap_contains_the_last_error_line_of_the_guest() {
    let failure = failure_of(apply(
        &mut start(&scripted(), &limits()),
        &[b"uwhy it fell"],
    ));
    assert!(failure.to_string().contains("why it fell"), "{failure}");
    let failure = failure_of(apply(
        &mut start(&faulty(), &limits()),
        &[br#"{"trap":{}}"#],
    ));
    assert!(
        failure.to_string().contains("trapped on purpose"),
        "{failure}"
    );
}

#[test]
fn a_batch_has_the_fuel_of_all_its_commands() {
    let mut one = start(&faulty(), &limits());
    apply(&mut one, &[br#"{"add":{"by":1}}"#]).unwrap();
    let single = one.fuel_spent();
    assert!(single > 0 && single < FUEL);
    let limits = MachineLimits {
        fuel_per_command: 2 * single,
        ..limits()
    };
    let mut many = start(&faulty(), &limits);
    let commands = [br#"{"add":{"by":1}}"#.as_slice(); 50];
    assert_eq!(
        accepted(apply(&mut many, &commands).unwrap()).len(),
        commands.len()
    );
    assert!(many.fuel_spent() > limits.fuel_per_command);
}

#[test]
fn memory_grows_up_to_its_limit_and_the_guest_sees_the_refusal() {
    let mut instance = start(&scripted(), &limits());
    let before = instance.memory_bytes();
    assert_eq!(before, 5 << 16);
    let replies = accepted(apply(&mut instance, &[&op(b'g', 10), &op(b'g', 10_000)]).unwrap());
    assert_eq!(
        replies,
        [5_i32, -1].map(|pages| Bytes::copy_from_slice(&pages.to_le_bytes()))
    );
    assert_eq!(instance.memory_bytes(), before + (10 << 16));
}

#[test]
fn a_table_grows_up_to_its_limit() {
    let limits = MachineLimits {
        table_elements: 100,
        ..limits()
    };
    let mut instance = start(&scripted(), &limits);
    let replies = accepted(apply(&mut instance, &[&op(b'b', 50), &op(b'b', 50)]).unwrap());
    assert_eq!(replies[0][..], 1_i32.to_le_bytes());
    assert_eq!(replies[1][..], (-1_i32).to_le_bytes());
}

#[test]
fn a_trap_after_a_refused_growth_is_out_of_memory_only_in_the_same_call() {
    let mut instance = start(&scripted(), &limits());
    apply(&mut instance, &[&op(b'g', 10_000)]).unwrap();
    let failure = failure_of(apply(&mut instance, &[b"t"]));
    assert!(matches!(failure, GuestFailure::Trap { .. }), "{failure:?}");
}

#[test]
fn replies_and_query_responses_have_a_limit() {
    let limits = MachineLimits {
        reply_bytes: 1000,
        ..limits()
    };
    let mut instance = start(&scripted(), &limits);
    assert_eq!(
        accepted(apply(&mut instance, &[&op(b'z', 1000)]).unwrap())[0].len(),
        1000
    );
    assert_eq!(
        failure_of(apply(&mut instance, &[&op(b'z', 1001)])),
        GuestFailure::TooLarge {
            what: "the reply",
            bytes: 1001,
            limit: 1000
        }
    );
    let mut instance = start(&scripted(), &limits);
    assert!(instance.query(at(1), &query(&op(b'z', 1000))).is_ok());
    assert!(matches!(
        instance.query(at(1), &query(&op(b'z', 1001))),
        Err(GuestCallError::Guest(GuestFailure::TooLarge {
            bytes: 1001,
            ..
        }))
    ));
}

#[test]
fn events_and_completions_have_limits() {
    let limits = MachineLimits {
        events: 10,
        event_bytes: 100,
        ..limits()
    };
    let run = |commands: &[&[u8]]| apply(&mut start(&scripted(), &limits), commands);
    assert_eq!(run(&[&op(b'k', 10)]).unwrap().effects.events.len(), 10);
    assert!(matches!(
        failure_of(run(&[&op(b'k', 11)])),
        GuestFailure::TooMany { limit: 10, .. }
    ));
    let long = [b'e'; 101];
    assert!(matches!(
        failure_of(run(&[&long])),
        GuestFailure::TooLarge {
            bytes: 101,
            limit: 100,
            ..
        }
    ));
    let completion = op_long(b'c', 1, &[0; 101]);
    assert!(matches!(
        failure_of(run(&[&completion])),
        GuestFailure::TooLarge { bytes: 101, .. }
    ));
    // Two commands may have twice as much.
    assert!(run(&[&long[..60], &long[..60]]).is_ok());
}

#[test]
fn a_query_has_no_effects_and_may_be_rejected() {
    let mut instance = start(&scripted(), &limits());
    assert!(
        instance
            .query(at(1), &query(b"e"))
            .unwrap()
            .ended()
            .unwrap()
            .is_ok()
    );
    let rejected = instance
        .query(at(1), &query(b"r reason"))
        .unwrap()
        .ended()
        .unwrap();
    assert_eq!(rejected, Err(Bytes::from_static(b"r reason")));
    let applied = apply(&mut instance, &[b"a"]).unwrap();
    assert_eq!(applied.effects, Effects::default());
}

#[test]
fn a_replay_has_the_same_outcomes_regardless_of_fuel() {
    let mut first = start(&kv(), &limits());
    let put = br#"{"put":{"key":"k","value":"v"}}"#.as_slice();
    let applied = apply(&mut first, &[put; 20]).unwrap();
    let limits = MachineLimits {
        fuel_per_command: 1,
        ..limits()
    };
    let mut again = start(&kv(), &limits);
    let replayed = again
        .apply(
            CallPurpose::Replay,
            at(1),
            0,
            &batch(&[put; 20]),
            &Callers::none(),
        )
        .unwrap();
    assert_eq!(replayed.checksum, applied.checksum);
    assert_eq!(replayed.replies, applied.replies);
}

#[test]
fn another_instance_restores_a_snapshot() {
    let mut instance = start(&scripted(), &limits());
    // More than one chunk.
    apply(&mut instance, &[b"a", b"a", &op(b'p', 3_000_000)]).unwrap();
    let chunks = instance.snapshot(at(1)).unwrap().unwrap();
    assert_eq!(chunks.bytes(), 3_000_016);
    let mut other = start(&scripted(), &limits());
    assert_eq!(other.restore(3, &chunks).unwrap(), Ok(()));
    assert_eq!(value(&mut other), 2);
    let again = other.snapshot(at(1)).unwrap().unwrap();
    assert!(chunks.iter().eq(again.iter()));
}

#[test]
fn a_snapshot_has_a_limit() {
    let limits = MachineLimits {
        snapshot_bytes: 1000,
        ..limits()
    };
    let mut instance = start(&scripted(), &limits);
    apply(&mut instance, &[&op(b'p', 984)]).unwrap();
    assert_eq!(instance.snapshot(at(1)).unwrap().unwrap().bytes(), 1000);
    apply(&mut instance, &[&op(b'p', 985)]).unwrap();
    assert!(matches!(
        instance.snapshot(at(1)),
        Err(GuestCallError::Guest(GuestFailure::TooLarge {
            what: "the snapshot",
            bytes: 1001,
            limit: 1000
        }))
    ));
}

#[test]
fn a_guest_that_refuses_a_snapshot_returns_its_own_message() {
    let mut instance = start(&scripted(), &limits());
    apply(&mut instance, &[&op(b'p', 100)]).unwrap();
    let mut chunks = ChunkWriter::new(1000);
    for chunk in instance.snapshot(at(1)).unwrap().unwrap().iter() {
        chunks.write(chunk).unwrap();
    }
    chunks.write(b"one more").unwrap();
    let refused = start(&scripted(), &limits()).restore(3, &chunks.finish());
    assert_eq!(
        refused.unwrap(),
        Err("the snapshot is of another length".to_owned())
    );
}

#[test]
fn a_guest_returns_its_description() {
    let description = start(&scripted(), &limits()).describe().unwrap().unwrap();
    assert_eq!(
        description,
        Description {
            name: "scripted".to_owned(),
            version: 3,
            codec: "bytes".to_owned(),
            schema: String::new(),
            layout: None,
        }
    );
}

#[test]
fn a_long_query_has_the_whole_limit_and_gives_the_same_response() {
    let client = ClientWatch::default();
    let long = start(&scripted(), &limits());
    let response = long.query_long(at(1), &query(b"?"), &client).unwrap();
    let mut short = start(&scripted(), &limits());
    assert_eq!(short.query(at(1), &query(b"?")).unwrap().ended(), response);
    let limits = MachineLimits {
        fuel_per_query: 2 * FUEL_OF_SHORT_QUERY,
        ..limits()
    };
    let mut first = start(&scripted(), &limits);
    assert!(matches!(
        first.query(at(1), &query(b"v")),
        Ok(ShortQuery::IsLong)
    ));
    let endless = start(&scripted(), &limits);
    assert!(matches!(
        endless.query_long(at(1), &query(b"v"), &client),
        Err(GuestCallError::Guest(GuestFailure::OutOfFuel))
    ));
}

#[test]
fn a_query_within_a_small_limit_is_never_long() {
    let limits = MachineLimits {
        fuel_per_query: FUEL_OF_SHORT_QUERY,
        ..limits()
    };
    assert!(matches!(
        start(&scripted(), &limits).query(at(1), &query(b"v")),
        Err(GuestCallError::Guest(GuestFailure::OutOfFuel))
    ));
}
