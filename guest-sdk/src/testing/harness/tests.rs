use std::cell::Cell;

use serde::{Deserialize, Serialize};

use super::*;
use crate::testing::assert_live_and_restored_agree;
use crate::{Apply, Refusal, StateMachine, state_machine};

thread_local! {
    /// State outside of the state: forbidden for a guest.
    static ELSEWHERE: Cell<u64> = const { Cell::new(0) };
}

/// A guest that breaks the rules on command.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Rogue {
    total: u64,
    #[serde(skip)]
    forgotten: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    Add { by: u64 },
    HalfDone {},
    Forget {},
    Draw {},
    Elsewhere {},
}

#[state_machine(name = "rogue", version = 1)]
impl StateMachine for Rogue {
    type Command = Command;
    type Reply = Vec<u64>;
    type Query = ();
    type Response = u64;
    type Refusal = Refusal;

    fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Vec<u64>, Refusal> {
        match command {
            Command::Add { by } => self.total += by,
            Command::HalfDone {} => {
                self.total += 1;
                return Err(Refusal::new("half_done", "too late"));
            }
            Command::Forget {} => {
                self.forgotten += 1;
                return Ok(vec![self.forgotten]);
            }
            Command::Draw {} => return Ok(cx.random(12).into_iter().map(u64::from).collect()),
            Command::Elsewhere {} => self.total = ELSEWHERE.replace(ELSEWHERE.get() + 1),
        }
        Ok(vec![self.total])
    }

    fn query(&self, _cx: &Read<'_>, (): ()) -> Result<u64, Refusal> {
        Ok(self.total)
    }
}

#[test]
fn commands_are_typed_or_encoded() {
    let mut rogue = Harness::<Rogue>::new();
    assert_eq!(rogue.apply(Command::Add { by: 2 }), Ok(vec![2]));
    assert_eq!(rogue.send(r#"{"add":{"by":3}}"#).text(), "[5]");
    assert_eq!(rogue.query(()), Ok(5));
    assert_eq!(rogue.send_query("null").text(), "5");
    assert_eq!(rogue.index(), 2);
    assert_eq!(Harness::<Rogue>::encoded(&vec![5]), b"[5]");
    let wrong = rogue.send(r#"{"add":{}}"#);
    assert!(
        !wrong.accepted && wrong.text().contains(r#""field":"by""#),
        "{wrong:?}"
    );
}

#[test]
fn commands_of_a_batch_share_an_entry() {
    let mut rogue = Harness::<Rogue>::new();
    let outcomes = rogue.send_batch(&[r#"{"add":{"by":2}}"#, r#"{"add":{"by":3}}"#]);
    assert_eq!((outcomes[1].text(), rogue.index()), ("[5]", 1));
}

#[test]
fn random_bytes_follow_from_the_index() {
    let drawn = |entries: usize| {
        let mut rogue = Harness::<Rogue>::new();
        (0..entries)
            .map(|_| rogue.apply(Command::Draw {}).unwrap())
            .collect::<Vec<_>>()
    };
    let three = drawn(3);
    assert_eq!(three, drawn(3));
    assert_ne!(three[0], three[1]);
    assert_eq!(three[0].len(), 12);
}

#[test]
#[should_panic(expected = "was refused but changed the state of rogue")]
fn a_refusal_that_changed_something_fails_the_test() {
    let _ = Harness::<Rogue>::new().apply(Command::HalfDone {});
}

#[test]
#[should_panic(expected = "was refused but changed the state of rogue")]
fn a_refusal_of_an_encoded_command_that_changed_something_fails_the_test() {
    Harness::<Rogue>::new().send(r#"{"half_done":{}}"#);
}

#[test]
fn the_check_of_refusals_can_be_disabled() {
    let mut rogue = Harness::<Rogue>::new().without_refusal_check();
    assert!(rogue.apply(Command::HalfDone {}).is_err());
}

#[test]
fn a_restored_harness_has_the_same_position_and_state() {
    let mut rogue = Harness::<Rogue>::new();
    rogue.advance_ms(5).apply(Command::Add { by: 2 }).unwrap();
    let copy = rogue.restored();
    assert_eq!(
        (copy.index(), copy.time_ms(), copy.query(())),
        (1, START_MS + 5, Ok(2))
    );
    assert_eq!(copy.state().total, rogue.state().total);
}

#[test]
fn a_refused_snapshot_does_not_change_the_state() {
    let mut rogue = Harness::<Rogue>::new();
    rogue.apply(Command::Add { by: 2 }).unwrap();
    let mut corrupt = rogue.snapshot();
    corrupt[16] ^= 1;
    rogue.restore(&corrupt).unwrap_err();
    assert_eq!(rogue.query(()), Ok(2));
}

#[test]
fn replicas_of_a_deterministic_run_agree() {
    assert_live_and_restored_agree::<Rogue>([
        (0, r#"{"add":{"by":2}}"#),
        (7, r#"{"draw":{}}"#),
        (0, "nonsense"),
    ]);
}

#[test]
#[should_panic(expected = "live and restored reply differently at entry 2: {\"forget\":{}}")]
fn state_that_is_not_in_the_snapshot_is_detected() {
    assert_live_and_restored_agree::<Rogue>([r#"{"forget":{}}"#, r#"{"forget":{}}"#]);
}

#[test]
#[should_panic(expected = "live and restored reply differently at entry 1")]
fn state_outside_the_state_is_detected() {
    assert_live_and_restored_agree::<Rogue>([r#"{"elsewhere":{}}"#]);
}
