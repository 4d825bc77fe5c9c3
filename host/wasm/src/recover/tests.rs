use super::*;
use crate::testing::{at, limits, op, op_long, scripted};

const MIB: usize = 1 << 20;

fn guest(limits: &MachineLimits) -> RecoverableGuest {
    RecoverableGuest::start(scripted(), limits).unwrap()
}

fn anything(_: &Applied) -> Result<(), GuestFailure> {
    Ok(())
}

fn run(guest: &mut RecoverableGuest, index: u64, command: &[u8]) -> Result<Applied, GuestFailure> {
    let work = Work::of(&[&Bytes::copy_from_slice(command)]);
    guest.run(at(index), 0, work, &anything).unwrap()
}

fn value(guest: &mut RecoverableGuest) -> u64 {
    let answer = guest.query(at(0), b"?").unwrap().unwrap();
    u64::from_le_bytes(answer.unwrap().unwrap().as_ref().try_into().unwrap())
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
    assert_eq!(value(&mut guest), 10);
    assert_eq!(guest.rollbacks(), 1);
    assert_eq!(guest.journal.records().len(), 10);
}

#[test]
fn outcomes_that_the_host_does_not_accept_are_undone() {
    let mut guest = guest(&limits());
    let work = Work::of(&[&Bytes::from_static(b"a")]);
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
    let limits = MachineLimits {
        snapshot_bytes: 1_000,
        ..limits()
    };
    let mut guest = guest(&limits);
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
    let record = Record {
        at: at(2),
        number: 0,
        work: Work::of(&[&Bytes::from_static(b"a")]),
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
    let record = Record {
        at: at(1),
        number: 0,
        work: Work::of(&[&Bytes::from_static(b"t")]),
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
    assert_eq!(value(&mut guest), 0);
    assert_eq!(guest.rollbacks(), 1);
}
