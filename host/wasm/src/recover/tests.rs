use super::*;
use crate::instance::ReplyKind;
use crate::testing::{
    at, limits, op, op_long, scripted, scripted_but_in_memory, scripted_in_memory,
};

const MIB: usize = 1 << 20;

fn guest(limits: &MachineLimits) -> RecoverableGuest {
    RecoverableGuest::start(scripted(), limits).unwrap()
}

fn anything(_: &CallOutput) -> Result<(), GuestFailure> {
    Ok(())
}

fn run(
    guest: &mut RecoverableGuest,
    index: u64,
    command: &[u8],
) -> Result<CallOutput, GuestFailure> {
    let work = StateCall::of(&[&Bytes::copy_from_slice(command)]);
    guest.run(at(index), 0, work, &anything).unwrap()
}

fn value(guest: &mut RecoverableGuest) -> u64 {
    let answer = guest.query(at(0), b"?").unwrap().unwrap();
    u64::from_le_bytes(answer.as_ref().try_into().unwrap())
}

#[test]
fn after_a_failure_the_calls_before_it_are_replayed() {
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
fn outcomes_that_the_host_does_not_accept_are_undone() {
    let mut guest = guest(&limits());
    let work = StateCall::of(&[&Bytes::from_static(b"a")]);
    let refused = guest
        .run(at(1), 0, work, &|_| Err(GuestFailure::OutOfFuel))
        .unwrap();
    assert_eq!(refused.unwrap_err(), GuestFailure::OutOfFuel);
    assert_eq!(value(&mut guest), 0);
}

#[test]
fn a_snapshot_is_a_checkpoint_and_what_follows_is_replayed_upon_it() {
    let mut guest = guest(&limits());
    run(&mut guest, 1, b"a").unwrap();
    guest.snapshot(at(1)).unwrap();
    assert!(guest.journal.records().is_empty());
    run(&mut guest, 2, b"a").unwrap();
    assert!(run(&mut guest, 3, b"t").is_err());
    assert_eq!(value(&mut guest), 2);
}

#[test]
fn a_long_journal_becomes_a_checkpoint() {
    let mut guest = guest(&limits());
    let command = vec![b'e'; MIB / 2];
    let mut most = 0;
    for index in 1..=60 {
        run(&mut guest, index, &command).unwrap();
        guest.settle(at(index)).unwrap();
        most = most.max(guest.journal.records().len());
    }
    assert!((10..20).contains(&most), "{most} records of half a MiB");
    assert!(guest.checkpoint.is_some());
}

#[test]
fn short_calls_take_no_checkpoint() {
    let mut guest = guest(&limits());
    for index in 1..=2_000 {
        run(&mut guest, index, b"a").unwrap();
        guest.settle(at(index)).unwrap();
    }
    assert!(guest.checkpoint.is_none());
}

#[test]
fn a_replay_that_took_long_makes_the_next_one_short() {
    let mut guest = guest(&limits());
    for index in 1..=4 {
        run(&mut guest, index, &vec![b'e'; MIB / 2]).unwrap();
    }
    run(&mut guest, 5, b"a").unwrap();
    for _ in 0..3 {
        assert!(run(&mut guest, 6, b"t").is_err());
        assert_eq!(value(&mut guest), 1);
    }
    assert!(guest.checkpoint.is_some());
    assert!(guest.journal.records().is_empty());
}

#[test]
fn a_guest_that_can_write_no_snapshot_goes_on_for_a_while_and_not_for_ever() {
    let limits = limits_without_room();
    goes_on_for_a_while(guest(&limits));
}

#[test]
fn a_guest_that_can_write_no_snapshot_beside_does_not_go_on_for_ever_either() {
    let limits = limits_without_room();
    let mut guest = RecoverableGuest::start(scripted_in_memory(), &limits).unwrap();
    guest.write_beside();
    goes_on_for_a_while(guest);
}

/// A snapshot of the guest is larger than it may be.
fn limits_without_room() -> MachineLimits {
    MachineLimits {
        snapshot_bytes: 1_000,
        ..limits()
    }
}

fn goes_on_for_a_while(mut guest: RecoverableGuest) {
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
fn a_replay_that_differs_is_found() {
    let mut guest = guest(&limits());
    run(&mut guest, 1, b"a").unwrap();
    let record = JournalRecord {
        at: at(2),
        number: 0,
        work: StateCall::of(&[&Bytes::from_static(b"a")]),
        checksum: 12345,
    };
    guest.journal.push(record, 0);
    assert!(run(&mut guest, 3, b"t").is_err());
    assert!(matches!(
        guest.query(at(3), b"?"),
        Err(MachineFailure::NotDeterministic { index }) if index == at(2).index
    ));
}

#[test]
fn a_replay_that_fails_is_found() {
    let mut guest = guest(&limits());
    let record = JournalRecord {
        at: at(1),
        number: 0,
        work: StateCall::of(&[&Bytes::from_static(b"t")]),
        checksum: 0,
    };
    guest.journal.push(record, 0);
    assert!(run(&mut guest, 2, b"t").is_err());
    assert!(matches!(
        guest.query(at(3), b"?"),
        Err(MachineFailure::Replay { index, .. }) if index == at(1).index
    ));
}

#[test]
fn a_replay_may_cost_more_fuel_than_the_limit() {
    let mut guest = guest(&limits());
    run(&mut guest, 1, &op_long(b'w', 5, b"")).unwrap();
    guest.limits.fuel_per_command = 1;
    guest.instance = None;
    guest.live().unwrap();
    assert_eq!(value(&mut guest), 0);
    assert_eq!(guest.rollbacks(), 1);
}

/// The same guest, undone either way.
fn both(module: &GuestModule, limits: &MachineLimits) -> [RecoverableGuest; 2] {
    [module.clone(), module.without_memory_images()]
        .map(|module| RecoverableGuest::start(module, limits).unwrap())
}

#[test]
fn with_an_image_a_failure_costs_only_the_calls_since_the_last_freeze() {
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
    assert!(replay.image.is_none());
    let calls = image.image.unwrap().calls;
    assert!(
        (1..=2_000).contains(&calls),
        "{calls} calls are in the image"
    );
}

#[test]
fn a_memory_that_grew_comes_back_as_long_as_it_was() {
    for mut guest in both(&scripted_in_memory(), &limits()) {
        run(&mut guest, 1, &op(b'g', 20)).unwrap();
        let bytes = guest.memory_bytes();
        assert!(bytes >= 25 << 16);
        guest.freeze();
        // What grows in a call that fails is gone with it.
        run(&mut guest, 2, &op(b'g', 3)).unwrap();
        let more = guest.memory_bytes();
        assert_eq!(more, bytes + (3 << 16));
        assert!(run(&mut guest, 3, b"t").is_err());
        run(&mut guest, 4, b"a").unwrap();
        assert_eq!(guest.memory_bytes(), more);
        // The limit counts as before: 12 MiB are 192 pages.
        let grown = run(&mut guest, 5, &op(b'g', 192)).unwrap();
        let ReplyKind::Accepted(told) = &grown.verdicts[0] else {
            panic!("{grown:?}");
        };
        assert_eq!(told.as_ref(), &(-1_i32).to_le_bytes());
    }
}

#[test]
fn a_freeze_that_fails_costs_the_image_and_nothing_else() {
    let mut guest = RecoverableGuest::start(scripted_in_memory(), &limits()).unwrap();
    run(&mut guest, 1, b"a").unwrap();
    // An image of another memory can't be frozen into: the freeze before ended in the middle.
    let image = &guest.image.as_ref().unwrap().subject.image;
    image.break_for_test();
    guest.freeze();
    assert!(guest.image.is_none());
    assert_eq!(value(&mut guest), 1);
    run(&mut guest, 2, b"a").unwrap();
    assert!(run(&mut guest, 3, b"t").is_err());
    assert_eq!(value(&mut guest), 2);
    assert!(guest.image.is_none());
}

#[test]
fn a_guest_that_grows_at_its_start_is_undone_by_replay() {
    // It fits by its code; that a new instance is longer than the image shows when one is made.
    let module = scripted_but_in_memory(&[(
        "(func $done ",
        "(func $begin (drop (memory.grow (i32.const 1))))\n  (start $begin)\n  (func $done ",
    )]);
    assert_eq!(*module.rollback_method(), RollbackMethod::Images);
    let mut guest = RecoverableGuest::start(module, &limits()).unwrap();
    run(&mut guest, 1, b"a").unwrap();
    assert!(run(&mut guest, 2, b"t").is_err());
    assert_eq!(value(&mut guest), 1);
    assert!(guest.image.is_none());
}

fn bytes(chunks: &SnapshotChunks) -> Vec<u8> {
    chunks.iter().flat_map(|chunk| chunk.to_vec()).collect()
}

#[test]
fn a_snapshot_that_was_caught_is_of_that_moment_whatever_comes_after() {
    for mut guest in both(&scripted_in_memory(), &limits()) {
        run(&mut guest, 1, &op(b'p', 300_000)).unwrap();
        for index in 2..=5 {
            run(&mut guest, index, b"a").unwrap();
        }
        let caught = guest.begin_snapshot(at(5)).unwrap();
        run(&mut guest, 6, b"a").unwrap();
        assert!(run(&mut guest, 7, b"t").is_err());
        run(&mut guest, 8, b"a").unwrap();
        // Even if memory is frozen meanwhile.
        guest.freeze();
        let written = caught.write().unwrap();
        let mut other = RecoverableGuest::start(scripted_in_memory(), &limits()).unwrap();
        other.restore(0, written.clone()).unwrap();
        assert_eq!((value(&mut other), value(&mut guest)), (4, 6));
        assert_eq!(bytes(&other.snapshot(at(5)).unwrap()), bytes(&written));
    }
}

#[test]
fn what_was_written_beside_becomes_the_checkpoint_for_the_calls_after_it() {
    let mut guest = RecoverableGuest::start(scripted_in_memory(), &limits()).unwrap();
    guest.write_beside();
    run(&mut guest, 1, b"a").unwrap();
    run(&mut guest, 2, b"a").unwrap();
    let caught = guest.begin_snapshot(at(2)).unwrap();
    run(&mut guest, 3, b"a").unwrap();
    caught.write().unwrap();
    guest.settle(at(3)).unwrap();
    assert!(guest.checkpoint.is_some());
    assert_eq!(guest.journal.records().len(), 1);
    // The image is good for what is left of the journal,
    assert!(run(&mut guest, 4, b"t").is_err());
    assert_eq!(value(&mut guest), 3);
    run(&mut guest, 5, b"a").unwrap();
    // and so is the checkpoint.
    guest.has_images = false;
    guest.image = None;
    assert!(run(&mut guest, 6, b"t").is_err());
    assert_eq!(value(&mut guest), 4);
}

#[test]
fn one_of_a_state_that_is_gone_is_not_taken() {
    let mut guest = RecoverableGuest::start(scripted_in_memory(), &limits()).unwrap();
    guest.write_beside();
    let first = guest.snapshot(at(0)).unwrap();
    run(&mut guest, 1, b"a").unwrap();
    let caught = guest.begin_snapshot(at(1)).unwrap();
    let late = guest.begin_snapshot(at(1)).unwrap();
    // A later checkpoint is there already.
    guest.snapshot(at(1)).unwrap();
    run(&mut guest, 2, b"a").unwrap();
    caught.write().unwrap();
    guest.settle(at(2)).unwrap();
    assert_eq!(guest.journal.records().len(), 1);
    // Another state came from elsewhere.
    guest.restore(0, first).unwrap();
    run(&mut guest, 3, b"a").unwrap();
    late.write().unwrap();
    guest.settle(at(3)).unwrap();
    assert_eq!(guest.journal.records().len(), 1);
    assert!(run(&mut guest, 4, b"t").is_err());
    assert_eq!(value(&mut guest), 1);
}

#[test]
fn a_long_journal_becomes_a_checkpoint_beside_and_stays_bounded() {
    let mut guest = RecoverableGuest::start(scripted_in_memory(), &limits()).unwrap();
    guest.write_beside();
    let command = vec![b'e'; MIB / 2];
    let mut most = 0;
    for index in 1..=200 {
        run(&mut guest, index, &command).unwrap();
        guest.settle(at(index)).unwrap();
        most = most.max(guest.journal.records().len());
    }
    // 16 of them make it due, and at twice that it is waited for.
    assert!((16..=34).contains(&most), "{most} records of half a MiB");
    assert!(guest.checkpoint.is_some());
    assert!(run(&mut guest, 201, b"t").is_err());
    run(&mut guest, 202, b"a").unwrap();
    assert_eq!(value(&mut guest), 1);
}
