//! A guest sees who has sent a command or a query.

use serde::{Deserialize, Serialize};

use super::NoHost;
use crate::context::LogPosition;
use crate::engine::apply_batch;
use crate::live::LiveGuest;
use crate::testing::{Harness, TestCluster};
use crate::{Apply, Caller, Read, Refusal, StateMachine, Token, state_machine};

/// Replies with the name of the caller, and remembers it. A timer and a deadline overwrite it.
#[derive(Default, Serialize, Deserialize)]
struct Door {
    last: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    Open { room: String },
    Wait {},
}

fn name(caller: Option<Caller>) -> Option<String> {
    caller.map(|caller| caller.name().to_owned())
}

#[state_machine(name = "door", version = 1)]
impl StateMachine for Door {
    type Command = Command;
    type Reply = Option<String>;
    type Query = ();
    type Response = (Option<String>, Option<String>);
    type Refusal = Refusal;

    fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Option<String>, Refusal> {
        let caller = cx.caller();
        match command {
            Command::Open { room } => {
                if let Some(caller) = &caller
                    && !caller.may_use("rooms", &room)
                {
                    return Err(Refusal::new("forbidden", "another room"));
                }
            }
            Command::Wait {} => {
                cx.defer(cx.time_ms() + 10)?;
                cx.set_timer("t", cx.time_ms() + 5)?;
            }
        }
        self.last = name(caller);
        Ok(self.last.clone())
    }

    fn query(&self, cx: &Read<'_>, (): ()) -> Result<Self::Response, Refusal> {
        Ok((name(cx.caller()), self.last.clone()))
    }

    fn on_timer(&mut self, cx: &mut Apply<'_>, id: &str) {
        self.last = Some(format!("{id} {:?}", name(cx.caller())));
    }

    fn on_deadline(&mut self, cx: &mut Apply<'_>, _: Token) {
        self.last = Some(format!("deadline {:?}", name(cx.caller())));
    }
}

#[test]
fn each_command_of_a_batch_has_its_own_caller() {
    let position = LogPosition {
        index: 1,
        time_ms: 1,
    };
    let command = br#"{"open":{"room":"a"}}"#;
    let ends = [1, 2, 3].map(|count| count * command.len() as u32);
    let mut door = LiveGuest::<Door>::default();
    let outcomes = apply_batch(&mut door, &NoHost, position, &command.repeat(3), &ends);
    let data = outcomes.expect("a valid batch").data;
    assert_eq!(data, br#""caller 0"null"caller 2""#);
}

#[test]
fn a_scope_limits_its_values_and_without_it_all_are_allowed() {
    let ann = Caller::new("ann").with_scope("rooms", ["a", "b"]);
    assert!(ann.may_use("rooms", "a") && !ann.may_use("rooms", "c"));
    assert!(ann.may_use("floors", "c"));
    assert_eq!(
        ann.scope("rooms").map(std::collections::BTreeSet::len),
        Some(2)
    );
    let nothing = Caller::new("bob").with_scope("rooms", [""; 0]);
    assert!(!nothing.may_use("rooms", "a"));
}

#[test]
fn a_test_sets_the_caller_and_wake_ups_have_none() {
    let mut door = Harness::<Door>::new();
    assert_eq!(door.query(()), Ok((None, None)));
    door.set_caller(Some(Caller::new("ann").with_scope("rooms", ["a"])));
    assert_eq!(door.send(r#"{"open":{"room":"a"}}"#).text(), r#""ann""#);
    assert!(!door.send(r#"{"open":{"room":"b"}}"#).accepted);
    assert!(door.send(r#"{"wait":{}}"#).accepted);
    door.advance_ms(5);
    assert_eq!(door.state().last.as_deref(), Some("t None"));
    door.advance_ms(5);
    assert_eq!(door.state().last.as_deref(), Some("deadline None"));
    assert_eq!(door.take_replies()[0].text(), r#""ann""#);
    assert_eq!(door.query(()).map(|found| found.0), Ok(Some("ann".into())));
}

#[test]
fn all_replicas_of_a_cluster_have_the_same_caller_also_after_a_restore_and_an_upgrade() {
    let mut cluster = TestCluster::<Door>::new();
    let open = r#"{"open":{"room":"a"}}"#;
    cluster.send(open);
    cluster.set_caller(Some(&Caller::new("ann")));
    for _ in 0..2 {
        assert_eq!(cluster.send(open).text(), r#""ann""#);
    }
    let mut cluster = cluster.upgrade::<Door>().expect("the same guest");
    assert_eq!(cluster.send(open).text(), r#""ann""#);
    cluster.set_caller(None);
    assert_eq!(cluster.send(open).text(), "null");
}
