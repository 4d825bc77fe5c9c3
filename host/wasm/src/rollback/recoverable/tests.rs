use super::*;
use crate::guest::instance::ReplyKind;
use crate::images::RollbackMethod;
use crate::testing::{
    at, limits, op, op_long, scripted, scripted_but_in_memory, scripted_in_memory,
};

const MIB: usize = 1 << 20;

fn guest(limits: &MachineLimits) -> RecoverableGuest {
    RecoverableGuest::start(scripted(), limits).unwrap()
}

fn view() -> CallView {
    CallView::NORMAL
}

fn accept_all(_: &CallOutput) -> Result<(), GuestFailure> {
    Ok(())
}

fn run(
    guest: &mut RecoverableGuest,
    index: u64,
    command: &[u8],
) -> Result<CallOutput, GuestFailure> {
    let call = StateCall::of([(&Bytes::copy_from_slice(command), None)]);
    guest.run(at(index), 0, view(), call, &accept_all).unwrap()
}

fn query(request: &'static [u8]) -> MachineQuery {
    Bytes::from_static(request).into()
}

fn value(guest: &mut RecoverableGuest) -> u64 {
    let response = guest
        .query(at(0), &query(b"?"), &ClientWatch::default())
        .unwrap()
        .unwrap();
    u64::from_le_bytes(response.as_ref().try_into().unwrap())
}

#[test]
fn a_failure_replays_the_calls_before_it() {
    let mut guest = guest(&limits());
    for index in 1..=10 {
        run(&mut guest, index, b"a").unwrap();
    }
    assert_eq!(guest.rollbacks(), 0);
    assert!(run(&mut guest, 11, b"t").is_err());
    assert_eq!(guest.memory_bytes(), 0);
    guest.live().unwrap();
    assert_eq!(value(&mut guest), 10);
    assert_eq!(guest.rollbacks(), 1);
    assert_eq!(guest.journal.records().len(), 10);
}

#[test]
fn a_call_whose_outcomes_the_host_refuses_is_rolled_back() {
    let mut guest = guest(&limits());
    let call = StateCall::of([(&Bytes::from_static(b"a"), None)]);
    let refused = guest
        .run(at(1), 0, view(), call, &|_| Err(GuestFailure::OutOfFuel))
        .unwrap();
    assert_eq!(refused.unwrap_err(), GuestFailure::OutOfFuel);
    assert_eq!(value(&mut guest), 0);
}

#[test]
fn a_snapshot_is_a_checkpoint_on_which_later_calls_are_replayed() {
    let mut guest = guest(&limits());
    run(&mut guest, 1, b"a").unwrap();
    guest.snapshot(at(1)).unwrap();
    assert!(guest.journal.records().is_empty());
    run(&mut guest, 2, b"a").unwrap();
    assert!(run(&mut guest, 3, b"t").is_err());
    assert_eq!(value(&mut guest), 2);
}

#[test]
fn a_long_journal_makes_the_guest_write_a_checkpoint() {
    let mut guest = guest(&limits());
    let command = vec![b'e'; MIB / 2];
    let mut most = 0;
    for index in 1..=60 {
        run(&mut guest, index, &command).unwrap();
        guest.settle(at(index)).unwrap();
        most = most.max(guest.journal.records().len());
    }
    assert!((10..20).contains(&most), "{most} records of half a MiB");
    assert!(guest.checkpoints.latest().is_some());
}

#[test]
fn short_calls_need_no_checkpoint() {
    let mut guest = guest(&limits());
    for index in 1..=2_000 {
        run(&mut guest, index, b"a").unwrap();
        guest.settle(at(index)).unwrap();
    }
    assert!(guest.checkpoints.latest().is_none());
}

#[test]
fn after_a_costly_replay_the_next_one_is_short() {
    let mut guest = guest(&limits());
    for index in 1..=4 {
        run(&mut guest, index, &vec![b'e'; MIB / 2]).unwrap();
    }
    run(&mut guest, 5, b"a").unwrap();
    for _ in 0..3 {
        assert!(run(&mut guest, 6, b"t").is_err());
        assert_eq!(value(&mut guest), 1);
    }
    assert!(guest.checkpoints.latest().is_some());
    assert!(guest.journal.records().is_empty());
}

#[test]
fn a_guest_that_can_not_write_a_snapshot_stops_after_a_while() {
    let limits = limits_below_the_snapshot();
    stops_after_a_while(guest(&limits));
}

#[test]
fn a_guest_that_can_not_write_a_snapshot_on_another_thread_stops_as_well() {
    let limits = limits_below_the_snapshot();
    let mut guest = RecoverableGuest::start(scripted_in_memory(), &limits).unwrap();
    guest.checkpoint_on_threads();
    stops_after_a_while(guest);
}

/// The guest's snapshot is over the limit.
fn limits_below_the_snapshot() -> MachineLimits {
    MachineLimits {
        snapshot_bytes: 1_000,
        ..limits()
    }
}

fn stops_after_a_while(mut guest: RecoverableGuest) {
    run(&mut guest, 1, &op(b'p', 10_000)).unwrap();
    let command = vec![b'e'; MIB];
    let stopped = (2..500_u64).find_map(|index| {
        run(&mut guest, index, &command).unwrap();
        guest.settle(at(index)).err()
    });
    assert!(matches!(
        stopped,
        Some(MachineFailure::GuestSnapshot { .. })
    ));
    assert!(guest.journal.records().len() > 50);
}

#[test]
fn a_replay_with_other_outcomes_is_detected() {
    let mut guest = guest(&limits());
    run(&mut guest, 1, b"a").unwrap();
    let record = JournalRecord {
        at: at(2),
        number: 0,
        view: view(),
        call: StateCall::of([(&Bytes::from_static(b"a"), None)]),
        checksum: 12345,
        limits: Arc::default(),
    };
    guest.journal.push(record, 0);
    assert!(run(&mut guest, 3, b"t").is_err());
    assert!(matches!(
        guest.query(at(3), &query(b"?"), &ClientWatch::default()),
        Err(MachineFailure::NotDeterministic { index }) if index == at(2).index
    ));
}

#[test]
fn a_replay_that_fails_is_detected() {
    let mut guest = guest(&limits());
    let record = JournalRecord {
        at: at(1),
        number: 0,
        view: view(),
        call: StateCall::of([(&Bytes::from_static(b"t"), None)]),
        checksum: 0,
        limits: Arc::default(),
    };
    guest.journal.push(record, 0);
    assert!(run(&mut guest, 2, b"t").is_err());
    assert!(matches!(
        guest.query(at(3), &query(b"?"), &ClientWatch::default()),
        Err(MachineFailure::Replay { index, .. }) if index == at(1).index
    ));
}

#[test]
fn a_replay_may_use_more_fuel_than_the_limit() {
    let mut guest = guest(&limits());
    run(&mut guest, 1, &op_long(b'w', 5, b"")).unwrap();
    Arc::make_mut(&mut guest.factory.limits).fuel_per_command = 1;
    guest.instance = None;
    guest.live().unwrap();
    assert_eq!(value(&mut guest), 0);
    assert_eq!(guest.rollbacks(), 1);
}

/// The same guest with each method of rollback.
fn both(module: &GuestModule, limits: &MachineLimits) -> [RecoverableGuest; 2] {
    [module.clone(), module.without_memory_images()]
        .map(|module| RecoverableGuest::start(module, limits).unwrap())
}

#[test]
fn with_an_image_only_the_calls_since_the_last_freeze_are_replayed() {
    let [mut image, mut replay] = both(&scripted_in_memory(), &limits());
    for guest in [&mut image, &mut replay] {
        for index in 1..=2_000 {
            run(guest, index, b"a").unwrap();
        }
        assert!(run(guest, 2_001, b"t").is_err());
        guest.live().unwrap();
        assert_eq!(value(guest), 2_000);
        assert_eq!(guest.rollbacks(), 1);
    }
    assert!(!replay.image.exists());
    let calls = image.image.calls().unwrap();
    assert!(
        (1..=2_000).contains(&calls),
        "the image contains {calls} calls"
    );
}

#[test]
fn a_rollback_restores_the_length_of_memory() {
    for mut guest in both(&scripted_in_memory(), &limits()) {
        run(&mut guest, 1, &op(b'g', 20)).unwrap();
        let bytes = guest.memory_bytes();
        assert!(bytes >= 25 << 16);
        guest.freeze();
        // Growth in a failed call is rolled back as well.
        run(&mut guest, 2, &op(b'g', 3)).unwrap();
        let more = guest.memory_bytes();
        assert_eq!(more, bytes + (3 << 16));
        assert!(run(&mut guest, 3, b"t").is_err());
        run(&mut guest, 4, b"a").unwrap();
        assert_eq!(guest.memory_bytes(), more);
        // The limit applies as before: 12 MiB are 192 pages.
        let grown = run(&mut guest, 5, &op(b'g', 192)).unwrap();
        let ReplyKind::Accepted(pages) = &grown.replies[0] else {
            panic!("{grown:?}");
        };
        assert_eq!(pages.as_ref(), &(-1_i32).to_le_bytes());
    }
}

#[test]
fn a_failed_freeze_costs_only_the_image() {
    let mut guest = RecoverableGuest::start(scripted_in_memory(), &limits()).unwrap();
    run(&mut guest, 1, b"a").unwrap();
    guest.image.guest().unwrap().image.break_for_test();
    guest.freeze();
    assert!(!guest.image.exists());
    assert_eq!(value(&mut guest), 1);
    run(&mut guest, 2, b"a").unwrap();
    assert!(run(&mut guest, 3, b"t").is_err());
    assert_eq!(value(&mut guest), 2);
    assert!(!guest.image.exists());
}

#[test]
fn a_guest_that_grows_its_memory_at_its_start_is_rolled_back_by_replay() {
    // The code allows images; only a new instance shows that its memory is longer than the image.
    let module = scripted_but_in_memory(&[(
        "(func $done ",
        "(func $begin (drop (memory.grow (i32.const 1))))\n  (start $begin)\n  (func $done ",
    )]);
    assert_eq!(*module.rollback_method(), RollbackMethod::Images);
    let mut guest = RecoverableGuest::start(module, &limits()).unwrap();
    run(&mut guest, 1, b"a").unwrap();
    assert!(run(&mut guest, 2, b"t").is_err());
    assert_eq!(value(&mut guest), 1);
    assert!(!guest.image.exists());
}

fn bytes(chunks: &SnapshotChunks) -> Vec<u8> {
    chunks.iter().flat_map(|chunk| chunk.to_vec()).collect()
}

#[test]
fn a_captured_snapshot_has_the_state_of_its_capture() {
    for mut guest in both(&scripted_in_memory(), &limits()) {
        run(&mut guest, 1, &op(b'p', 300_000)).unwrap();
        for index in 2..=5 {
            run(&mut guest, index, b"a").unwrap();
        }
        let captured = guest.begin_snapshot(at(5)).unwrap();
        run(&mut guest, 6, b"a").unwrap();
        assert!(run(&mut guest, 7, b"t").is_err());
        run(&mut guest, 8, b"a").unwrap();
        // Even if the memory is frozen again.
        guest.freeze();
        let written = captured.write().unwrap();
        let mut other = RecoverableGuest::start(scripted_in_memory(), &limits()).unwrap();
        other.restore(0, written.clone()).unwrap();
        assert_eq!((value(&mut other), value(&mut guest)), (4, 6));
        assert_eq!(bytes(&other.snapshot(at(5)).unwrap()), bytes(&written));
    }
}

#[test]
fn a_snapshot_from_another_thread_becomes_the_checkpoint() {
    let mut guest = RecoverableGuest::start(scripted_in_memory(), &limits()).unwrap();
    guest.checkpoint_on_threads();
    run(&mut guest, 1, b"a").unwrap();
    run(&mut guest, 2, b"a").unwrap();
    let captured = guest.begin_snapshot(at(2)).unwrap();
    run(&mut guest, 3, b"a").unwrap();
    captured.write().unwrap();
    guest.settle(at(3)).unwrap();
    assert!(guest.checkpoints.latest().is_some());
    assert_eq!(guest.journal.records().len(), 1);
    // The image fits the rest of the journal.
    assert!(run(&mut guest, 4, b"t").is_err());
    assert_eq!(value(&mut guest), 3);
    run(&mut guest, 5, b"a").unwrap();
    // The checkpoint does as well.
    guest.image.switch_off();
    assert!(run(&mut guest, 6, b"t").is_err());
    assert_eq!(value(&mut guest), 4);
}

#[test]
fn a_checkpoint_of_a_replaced_state_is_not_adopted() {
    let mut guest = RecoverableGuest::start(scripted_in_memory(), &limits()).unwrap();
    guest.checkpoint_on_threads();
    let first = guest.snapshot(at(0)).unwrap();
    run(&mut guest, 1, b"a").unwrap();
    let captured = guest.begin_snapshot(at(1)).unwrap();
    let late = guest.begin_snapshot(at(1)).unwrap();
    // A later checkpoint exists already.
    guest.snapshot(at(1)).unwrap();
    run(&mut guest, 2, b"a").unwrap();
    captured.write().unwrap();
    guest.settle(at(2)).unwrap();
    assert_eq!(guest.journal.records().len(), 1);
    // The state is replaced.
    guest.restore(0, first).unwrap();
    run(&mut guest, 3, b"a").unwrap();
    late.write().unwrap();
    guest.settle(at(3)).unwrap();
    assert_eq!(guest.journal.records().len(), 1);
    assert!(run(&mut guest, 4, b"t").is_err());
    assert_eq!(value(&mut guest), 1);
}

#[test]
fn with_checkpoints_on_another_thread_the_journal_stays_bounded() {
    let mut guest = RecoverableGuest::start(scripted_in_memory(), &limits()).unwrap();
    guest.checkpoint_on_threads();
    let command = vec![b'e'; MIB / 2];
    let mut most = 0;
    for index in 1..=200 {
        run(&mut guest, index, &command).unwrap();
        guest.settle(at(index)).unwrap();
        most = most.max(guest.journal.records().len());
    }
    // A checkpoint is due at 16 records, and the guest waits for it at 32.
    assert!((16..=34).contains(&most), "{most} records of half a MiB");
    assert!(guest.checkpoints.latest().is_some());
    assert!(run(&mut guest, 201, b"t").is_err());
    run(&mut guest, 202, b"a").unwrap();
    assert_eq!(value(&mut guest), 1);
}
