use super::*;
use crate::sim::trace::Hash;

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn add(history: &mut History, kind: Kind, began: u64, ended: u64, outcome: Outcome) -> OpId {
    let id = history.begin(at(began), kind, 0, 0);
    history.end(at(ended), id, outcome);
    id
}

fn seen(length: u64) -> Outcome {
    Outcome::Seen(View {
        length,
        hash: Hash::default(),
        digest: 0,
        wake_at_ms: 0,
    })
}

fn invariant(history: &History, list: &[u64]) -> Option<&'static str> {
    history
        .check(list)
        .err()
        .map(|violation| violation.invariant)
}

#[test]
fn one_thing_after_another_is_linearizable() {
    let mut history = History::default();
    add(&mut history, Kind::Append, 0, 1, Outcome::Appended(0));
    add(&mut history, Kind::Read, 2, 3, seen(1));
    add(&mut history, Kind::Append, 4, 5, Outcome::Appended(1));
    add(&mut history, Kind::Read, 6, 7, seen(2));
    assert_eq!(history.check(&[0, 2]), Ok(()));
}

#[test]
fn what_overlaps_may_stand_in_either_order() {
    let mut history = History::default();
    add(&mut history, Kind::Append, 0, 10, Outcome::Appended(1));
    add(&mut history, Kind::Append, 1, 9, Outcome::Appended(0));
    add(&mut history, Kind::Read, 2, 8, seen(0));
    assert_eq!(history.check(&[1, 0]), Ok(()));
}

#[test]
fn a_read_that_misses_an_earlier_append_is_caught() {
    let mut history = History::default();
    add(&mut history, Kind::Append, 0, 1, Outcome::Appended(0));
    add(&mut history, Kind::Read, 2, 3, seen(0));
    assert_eq!(invariant(&history, &[0]), Some(LINEARIZABLE));
}

#[test]
fn a_read_that_goes_back_behind_another_is_caught() {
    let mut history = History::default();
    let open = history.begin(at(0), Kind::Append, 0, 0);
    add(&mut history, Kind::Read, 1, 2, seen(1));
    add(&mut history, Kind::Read, 3, 4, seen(0));
    assert_eq!(invariant(&history, &[open]), Some(LINEARIZABLE));
}

#[test]
fn a_read_of_what_was_not_yet_asked_for_is_caught() {
    let mut history = History::default();
    add(&mut history, Kind::Read, 0, 1, seen(1));
    add(&mut history, Kind::Append, 2, 3, Outcome::Appended(0));
    assert_eq!(invariant(&history, &[1]), Some(LINEARIZABLE));
}

#[test]
fn appends_in_the_wrong_order_are_caught() {
    let mut history = History::default();
    add(&mut history, Kind::Append, 0, 1, Outcome::Appended(1));
    add(&mut history, Kind::Append, 2, 3, Outcome::Appended(0));
    assert_eq!(invariant(&history, &[1, 0]), Some(LINEARIZABLE));
}

#[test]
fn a_stale_read_may_be_old() {
    let mut history = History::default();
    add(&mut history, Kind::Append, 0, 1, Outcome::Appended(0));
    add(&mut history, Kind::StaleRead, 2, 3, seen(0));
    assert_eq!(history.check(&[0]), Ok(()));
}

#[test]
fn an_unknown_outcome_may_take_effect_late_or_never() {
    let mut history = History::default();
    let late = add(&mut history, Kind::Append, 0, 1, Outcome::Unknown);
    add(&mut history, Kind::Append, 0, 1, Outcome::Unknown);
    add(&mut history, Kind::Read, 2, 3, seen(0));
    let after = add(&mut history, Kind::Append, 4, 5, Outcome::Appended(0));
    assert_eq!(history.check(&[after, late]), Ok(()));
}

#[test]
fn an_unknown_outcome_takes_no_effect_before_it_began() {
    let mut history = History::default();
    let first = add(&mut history, Kind::Append, 0, 1, Outcome::Appended(1));
    let unknown = add(&mut history, Kind::Append, 2, 3, Outcome::Unknown);
    assert_eq!(invariant(&history, &[unknown, first]), Some(LINEARIZABLE));
}

#[test]
fn an_acknowledged_command_that_is_gone_is_caught() {
    let mut history = History::default();
    add(&mut history, Kind::Append, 0, 1, Outcome::Appended(0));
    assert_eq!(
        invariant(&history, &[]),
        Some("acknowledged commands are never lost")
    );
}

#[test]
fn a_refused_command_that_is_carried_out_is_caught() {
    let mut history = History::default();
    let refused = add(&mut history, Kind::Append, 0, 1, Outcome::Refused);
    assert_eq!(
        invariant(&history, &[refused]),
        Some("a refused command is not carried out")
    );
}

const A: Option<OpId> = Some(0);

#[test]
fn writes_that_return_what_they_replaced_are_a_list() {
    let mut history = History::default();
    add(&mut history, Kind::Append, 0, 1, Outcome::Replaced(None));
    add(&mut history, Kind::Append, 2, 9, Outcome::Replaced(A));
    add(&mut history, Kind::Read, 3, 4, Outcome::Found(A));
    add(&mut history, Kind::Append, 5, 6, Outcome::Kept(Some(1)));
    add(&mut history, Kind::Read, 7, 8, Outcome::Found(Some(1)));
    assert_eq!(history.check(&[0, 1]), Ok(()));
}

#[test]
fn a_read_of_a_register_that_misses_an_earlier_write_is_caught() {
    let mut history = History::default();
    add(&mut history, Kind::Append, 0, 1, Outcome::Replaced(None));
    add(&mut history, Kind::Read, 2, 3, Outcome::Found(None));
    assert_eq!(invariant(&history, &[0]), Some(LINEARIZABLE));
}

#[test]
fn a_swap_that_did_not_see_an_earlier_write_is_caught() {
    let mut history = History::default();
    add(&mut history, Kind::Append, 0, 1, Outcome::Replaced(None));
    add(&mut history, Kind::Append, 2, 3, Outcome::Replaced(A));
    add(&mut history, Kind::Append, 4, 5, Outcome::Kept(A));
    assert_eq!(invariant(&history, &[0, 1]), Some(LINEARIZABLE));
}

#[test]
fn a_write_that_returns_a_wrong_replaced_value_is_caught() {
    let mut history = History::default();
    add(&mut history, Kind::Append, 0, 9, Outcome::Replaced(None));
    add(&mut history, Kind::Append, 0, 9, Outcome::Replaced(None));
    assert_eq!(
        invariant(&history, &[0, 1]),
        Some("acknowledged commands are never lost")
    );
}

#[test]
fn a_value_that_was_never_written_is_caught() {
    let mut history = History::default();
    add(&mut history, Kind::Read, 0, 1, Outcome::Found(Some(7)));
    assert_eq!(invariant(&history, &[]), Some("what is read was written"));
}

#[test]
fn registers_are_checked_by_themselves() {
    let mut history = History::default();
    add(&mut history, Kind::Append, 0, 1, Outcome::Replaced(None));
    let other = history.begin_on(1, at(2), Kind::Read, 0, 0);
    history.end(at(3), other, Outcome::Found(None));
    assert_eq!(history.check(&[0]), Ok(()));
    assert_eq!(history.check_register(1, &[]), Ok(()));
}
