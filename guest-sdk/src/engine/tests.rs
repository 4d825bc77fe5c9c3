mod callers;
mod waiting;

use serde::{Deserialize, Serialize};

use super::*;
use crate::codec::Bytes;
use crate::testing::Harness;
use crate::{Caller, Level, Read, Refusal, StateMachine, state_machine};

/// Appends its commands. Refuses an exclamation mark.
#[derive(Default, Serialize, Deserialize)]
struct Scroll {
    text: Vec<u8>,
}

#[state_machine(name = "scroll", version = 1, codec = "bytes")]
impl StateMachine for Scroll {
    type Command = Vec<u8>;
    type Reply = Vec<u8>;
    type Query = Vec<u8>;
    type Response = Vec<u8>;
    type Refusal = &'static [u8];

    fn apply(&mut self, cx: &mut Apply<'_>, command: Vec<u8>) -> Result<Vec<u8>, &'static [u8]> {
        cx.emit("seen", command.clone());
        cx.wake_at(cx.time_ms() + 10);
        cx.log(
            Level::Debug,
            format_args!("{} bytes at {}", command.len(), cx.index()),
        );
        if command.contains(&b'!') {
            return Err(b"quietly, please");
        }
        self.text.extend(command);
        Ok(self.text.clone())
    }

    fn query(&self, _cx: &Read<'_>, query: Vec<u8>) -> Result<Vec<u8>, &'static [u8]> {
        if query.is_empty() {
            Err(b"empty query")
        } else {
            Ok(self.text.clone())
        }
    }

    fn on_wake(&mut self, cx: &mut Apply<'_>) {
        self.text.push(b'.');
        cx.wake_at(0);
    }
}

struct NoHost;

impl Host for NoHost {
    fn log(&self, _: Level, _: &str) {}
    fn emit(&self, _: crate::Event) {}
    fn wake_at(&self, _: u64) {}
    fn complete(&self, _: crate::context::LateReply) {}
    fn random(&self, length: u32) -> Vec<u8> {
        vec![7; length as usize]
    }
    fn memory_is_low(&self) -> bool {
        false
    }
    fn reply_limit(&self) -> u64 {
        0
    }
    fn has_callers(&self) -> bool {
        true
    }
    fn caller(&self, command: u32) -> Option<Caller> {
        (command != 1).then(|| Caller::new(format!("caller {command}")))
    }
}

fn batch(data: &[u8], ends: &[u32]) -> Result<Outcomes, BatchError> {
    apply_batch(
        &mut LiveGuest::<Scroll>::default(),
        &NoHost,
        LogPosition {
            index: 1,
            time_ms: 1,
        },
        data,
        ends,
    )
}

#[test]
fn a_batch_is_split_at_its_offsets_and_outcomes_keep_the_order() {
    let outcomes = batch(b"ab!c", &[1, 3, 3, 4]).unwrap();
    let verdicts = [CommandVerdict::Accepted, CommandVerdict::Rejected];
    assert_eq!(
        outcomes.verdicts,
        [verdicts[0], verdicts[1], verdicts[0], verdicts[0]]
    );
    assert_eq!(outcomes.data, b"aquietly, pleaseaac");
    assert_eq!(outcomes.ends, [1, 16, 17, 19]);
}

#[test]
fn an_empty_batch_has_no_outcomes() {
    assert_eq!(batch(b"", &[]).unwrap(), Outcomes::default());
}

#[test]
fn offsets_that_do_not_match_are_reported_as_a_bug_of_the_host() {
    for (data, ends) in [
        (&b"abc"[..], &[4][..]),
        (b"abc", &[2, 1, 3]),
        (b"abc", &[2]),
        (b"abc", &[]),
    ] {
        let error = batch(data, ends).unwrap_err();
        assert!(
            matches!(error, BatchError::Offsets { .. }),
            "{ends:?}: {error}"
        );
        assert!(error.to_string().contains("a bug of the host"), "{error}");
    }
}

#[test]
fn effects_of_a_refused_command_are_dropped() {
    let mut scroll = Harness::<Scroll>::new();
    assert!(!scroll.send("hey!").accepted);
    assert_eq!((scroll.take_events(), scroll.wake_at()), (vec![], None));
    assert_eq!(scroll.take_log()[0].message, "4 bytes at 1");

    assert!(scroll.send("hey").accepted);
    assert_eq!(scroll.take_events()[0].payload, b"hey");
    assert_eq!(scroll.wake_at(), Some(scroll.time_ms() + 10));
    assert_eq!(scroll.apply(b"no!".to_vec()), Err(&b"quietly, please"[..]));
    assert_eq!(scroll.take_events(), []);
}

#[test]
fn a_wake_up_may_change_the_state_and_clear_the_wake_time() {
    let mut scroll = Harness::<Scroll>::new();
    scroll.send("hey");
    scroll.wake();
    assert_eq!(
        (scroll.send_query("?").body, scroll.wake_at()),
        (b"hey.".to_vec(), None)
    );
    assert!(!scroll.send_query("").accepted);
}

#[test]
fn a_codec_has_a_name() {
    assert_eq!(<Bytes as Codec<Scroll>>::NAME, "bytes");
    assert_eq!(
        (Scroll::NAME, Scroll::VERSION, Scroll::SCHEMA),
        ("scroll", 1, "")
    );
}

/// Replies with a map whose keys JSON cannot encode.
#[derive(Default, Serialize, Deserialize)]
struct Odd;

#[state_machine(name = "odd", version = 1)]
impl StateMachine for Odd {
    type Command = ();
    type Reply = std::collections::BTreeMap<Vec<u8>, u8>;
    type Query = ();
    type Response = ();
    type Refusal = Refusal;

    fn apply(&mut self, _cx: &mut Apply<'_>, (): ()) -> Result<Self::Reply, Refusal> {
        Ok([(vec![1], 1)].into())
    }

    fn query(&self, _cx: &Read<'_>, (): ()) -> Result<(), Refusal> {
        Ok(())
    }
}

#[test]
fn a_reply_that_the_codec_cannot_encode_is_an_error() {
    let position = LogPosition {
        index: 1,
        time_ms: 1,
    };
    let alone = BatchPosition {
        number: 0,
        callers: &BatchCallers::default(),
    };
    let error = apply(
        &mut LiveGuest::<Odd>::default(),
        &NoHost,
        position,
        (alone, b"null"),
        &mut Vec::new(),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the codec json cannot encode the reply: "),
        "{error}"
    );
}
