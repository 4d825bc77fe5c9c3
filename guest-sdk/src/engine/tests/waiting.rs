//! Deferred replies and timers, as a guest and its clients see them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::testing::{Harness, START_MS, TestCluster, TestReply};
use crate::{Apply, MigrateError, OldState, Read, Refusal, StateMachine, Token, state_machine};

/// A mailbox: who takes from an empty one waits.
#[derive(Default, Serialize, Deserialize)]
struct Mailbox {
    items: VecDeque<String>,
    waiting: VecDeque<Token>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    Take { wait_ms: u64 },
    Put { item: String },
    Close {},
    TakeAndPut { item: String },
    Complete { token: Token },
    Set { id: String, in_ms: u64 },
    Cancel { id: String },
    WakeIn { in_ms: u64 },
    Refuse { token: Token },
    Large { bytes: usize },
}

impl Mailbox {
    fn command(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<String, Refusal> {
        let now_ms = cx.time_ms();
        match command {
            Command::Take { wait_ms } => {
                if let Some(item) = self.items.pop_front() {
                    return Ok(item);
                }
                let token = cx.defer(now_ms + wait_ms)?;
                self.waiting.push_back(token);
                return Ok("nothing".to_owned());
            }
            Command::Put { item } => match self.waiting.pop_front() {
                Some(token) => assert!(cx.complete::<Self>(token, &item)),
                None => self.items.push_back(item),
            },
            Command::Close {} => {
                for token in self.waiting.drain(..) {
                    assert!(cx.refuse::<Self>(token, &Refusal::new("closed", "it is closed")));
                }
            }
            Command::TakeAndPut { item } => {
                let token = cx.defer(now_ms)?;
                assert_eq!(cx.defer(now_ms + 1), Ok(token), "one command, one token");
                assert!(cx.is_waiting(token));
                assert!(cx.complete::<Self>(token, &item));
                assert!(!cx.is_waiting(token) && !cx.complete::<Self>(token, &item));
            }
            Command::Complete { token } => {
                return Ok(cx
                    .complete::<Self>(token, &"completed".to_owned())
                    .to_string());
            }
            Command::Set { id, in_ms } => cx.set_timer(id, now_ms + in_ms)?,
            Command::Cancel { id } => return Ok(cx.cancel_timer(id).to_string()),
            Command::WakeIn { in_ms } => cx.wake_at(now_ms + in_ms),
            Command::Refuse { token } => {
                cx.defer(now_ms + 5)?;
                cx.set_timer("refused", now_ms + 5)?;
                cx.wake_at(now_ms + 5);
                cx.cancel_timer("a");
                cx.complete::<Self>(token, &"refused".to_owned());
                cx.emit_json("refused", &[1, 2]);
                return Err(Refusal::new("refused", "on request"));
            }
            Command::Large { bytes } => {
                cx.defer(now_ms)?;
                return Ok("x".repeat(bytes - 2));
            }
        }
        Ok("done".to_owned())
    }
}

/// The machine, in two versions.
macro_rules! mailbox {
    ($name:ident, $version:literal) => {
        #[state_machine(name = "mailbox", version = $version)]
        impl StateMachine for $name {
            type Command = Command;
            type Reply = String;
            type Query = ();
            type Response = ();
            type Refusal = Refusal;

            fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<String, Refusal> {
                self.mailbox().command(cx, command)
            }

            fn query(&self, _: &Read<'_>, (): ()) -> Result<(), Refusal> {
                Ok(())
            }

            fn on_wake(&mut self, cx: &mut Apply<'_>) {
                cx.emit("wake", cx.time_ms().to_string());
            }

            fn on_timer(&mut self, cx: &mut Apply<'_>, id: &str) {
                let at_ms = cx.time_ms() - START_MS;
                cx.emit_json("timer", &(id, at_ms));
                match id.split_once(' ') {
                    Some(("again", _)) => cx.set_timer(id, cx.time_ms()).unwrap(),
                    Some(("cancel", other)) => assert!(cx.cancel_timer(other)),
                    Some(("loud", _)) => cx.emit("loud", vec![0; 100_000]),
                    Some(("defer", _)) => {
                        let _ = cx.defer(0);
                    }
                    _ => {}
                }
            }

            fn on_deadline(&mut self, cx: &mut Apply<'_>, token: Token) {
                assert!(cx.is_waiting(token));
                cx.emit_json("deadline", &token);
                self.mailbox().waiting.retain(|waiting| *waiting != token);
                if cx.time_ms() % 2 == 1 {
                    assert!(cx.complete::<Self>(token, &"odd".to_owned()));
                }
            }

            fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
                Ok(Self::of(old.decode()?))
            }
        }
    };
}

impl Mailbox {
    fn mailbox(&mut self) -> &mut Self {
        self
    }

    fn of(mailbox: Self) -> Self {
        mailbox
    }
}

/// The next version.
#[derive(Default, Serialize, Deserialize)]
struct LargerMailbox {
    size: u64,
    mailbox: Mailbox,
}

impl LargerMailbox {
    fn mailbox(&mut self) -> &mut Mailbox {
        &mut self.mailbox
    }

    fn of(mailbox: Mailbox) -> Self {
        Self { size: 7, mailbox }
    }
}

mailbox!(Mailbox, 1);
mailbox!(LargerMailbox, 2);

const TAKE: &str = r#"{"take":{"wait_ms":100}}"#;

fn put(item: &str) -> String {
    format!(r#"{{"put":{{"item":"{item}"}}}}"#)
}

fn set(id: &str, in_ms: u64) -> String {
    format!(r#"{{"set":{{"id":"{id}","in_ms":{in_ms}}}}}"#)
}

fn with_token(name: &str, token: Token) -> String {
    format!(r#"{{"{name}":{{"token":{token}}}}}"#)
}

fn texts(replies: &[TestReply]) -> Vec<(Token, &str)> {
    let texts = replies.iter().map(|reply| (reply.token, reply.text()));
    texts.collect()
}

/// The events as `topic payload`.
fn events(cluster: &mut TestCluster<Mailbox>) -> Vec<String> {
    let events = cluster.take_events().into_iter();
    events
        .map(|event| {
            format!(
                "{} {}",
                event.topic,
                String::from_utf8_lossy(&event.payload)
            )
        })
        .collect()
}

#[test]
fn a_deferred_command_gets_its_reply_from_a_later_one() {
    let mut cluster = TestCluster::<Mailbox>::new();
    let [first, second] = [0, 1].map(|_| {
        let outcome = cluster.send(TAKE);
        assert!(outcome.accepted && outcome.body.is_empty(), "{outcome:?}");
        outcome.deferred.expect("it is deferred")
    });
    assert!(first < second);
    assert_eq!(cluster.live().waiting(), [first, second]);
    assert_eq!(cluster.take_replies(), []);
    cluster.send(put("a"));
    let replies = cluster.take_replies();
    assert_eq!(texts(&replies), [(first, r#""a""#)]);
    assert!(replies[0].accepted);
    cluster.send(r#"{"close":{}}"#);
    let replies = cluster.take_replies();
    assert!(!replies[0].accepted && replies[0].token == second);
    assert_eq!(
        replies[0].text(),
        r#"{"error":{"code":"closed","message":"it is closed"}}"#
    );
    assert_eq!(cluster.live().waiting(), []);
    assert_eq!(cluster.live().wake_at(), None, "no deadline is left");
    // Not deferred, because there is an item.
    cluster.send(put("b"));
    let outcome = cluster.send(TAKE);
    assert_eq!((outcome.deferred, outcome.text()), (None, r#""b""#));
}

#[test]
fn at_the_deadline_the_reply_is_what_apply_returned_or_what_the_guest_chooses() {
    let mut cluster = TestCluster::<Mailbox>::new();
    let first = cluster.send(TAKE).deferred.unwrap();
    let second = cluster.advance_ms(1).send(TAKE).deferred.unwrap();
    assert_eq!(cluster.live().wake_at(), Some(START_MS + 100));
    cluster.advance_ms(98);
    assert_eq!(cluster.take_replies(), []);
    cluster.advance_ms(1);
    assert_eq!(texts(&cluster.take_replies()), [(first, r#""nothing""#)]);
    assert_eq!(cluster.live().waiting(), [second]);
    assert!(cluster.advance_to_wake());
    assert_eq!(texts(&cluster.take_replies()), [(second, r#""odd""#)]);
    assert_eq!(
        events(&mut cluster),
        [format!("deadline {first}"), format!("deadline {second}")]
    );
    assert!(cluster.live().state().waiting.is_empty());
    assert!(!cluster.advance_to_wake());
}

#[test]
fn a_command_can_complete_itself() {
    let mut cluster = TestCluster::<Mailbox>::new();
    let outcome = cluster.send(r#"{"take_and_put":{"item":"x"}}"#);
    let token = outcome.deferred.unwrap();
    assert_eq!(texts(&cluster.take_replies()), [(token, r#""x""#)]);
    assert_eq!(cluster.live().waiting(), []);
    assert_eq!(cluster.live().wake_at(), None);
}

#[test]
fn an_unknown_or_completed_token_changes_nothing() {
    let mut cluster = TestCluster::<Mailbox>::new();
    let token = cluster.send(TAKE).deferred.unwrap();
    assert_eq!(
        cluster.send(with_token("complete", token)).text(),
        r#""true""#
    );
    assert_eq!(cluster.take_replies().len(), 1);
    for token in [token, Token::new(0), Token::new(u64::MAX)] {
        let reply = cluster.send(with_token("complete", token));
        assert_eq!(reply.text(), r#""false""#);
    }
    assert_eq!(cluster.take_replies(), []);
}

#[test]
fn a_refused_command_leaves_no_deferral_timer_or_completion() {
    let mut cluster = TestCluster::<Mailbox>::new();
    let token = cluster.send(TAKE).deferred.unwrap();
    cluster.send(set("a", 50));
    let snapshot = cluster.live().snapshot();
    let outcomes = cluster.send_batch(&[with_token("refuse", token), with_token("refuse", token)]);
    assert!(
        outcomes
            .iter()
            .all(|outcome| !outcome.accepted && outcome.deferred.is_none())
    );
    assert_eq!(cluster.live().snapshot(), snapshot);
    assert_eq!(
        (cluster.take_replies(), events(&mut cluster)),
        (vec![], vec![])
    );
    assert_eq!(cluster.live().wake_at(), Some(START_MS + 50));
    // The harness calls typed commands by another path.
    let mut harness = Harness::<Mailbox>::new();
    let snapshot = harness.snapshot();
    assert!(harness.apply(Command::Refuse { token }).is_err());
    assert_eq!((harness.snapshot(), harness.wake_at()), (snapshot, None));
}

#[test]
fn a_typed_command_can_be_deferred() {
    let mut harness = Harness::<Mailbox>::new();
    let reply = harness.apply(Command::Take { wait_ms: 10 }).unwrap();
    assert_eq!(reply, "nothing", "the reply at the deadline");
    let token = harness.waiting()[0];
    harness.advance_ms(10);
    assert_eq!(texts(&harness.take_replies()), [(token, r#""nothing""#)]);
}

#[test]
fn timers_fire_once_in_the_order_of_their_times_and_ids_and_never_early() {
    let mut cluster = TestCluster::<Mailbox>::new();
    for (id, in_ms) in [
        ("b", 20),
        ("late", 30),
        ("a", 20),
        ("moved", 1),
        ("gone", 5),
    ] {
        cluster.send(set(id, in_ms));
    }
    cluster.send(set("moved", 25));
    assert_eq!(
        cluster.send(r#"{"cancel":{"id":"gone"}}"#).text(),
        r#""true""#
    );
    assert_eq!(
        cluster.send(r#"{"cancel":{"id":"gone"}}"#).text(),
        r#""false""#
    );
    let index = cluster.live().index();
    cluster.advance_ms(19);
    assert_eq!(cluster.live().index(), index, "waiting adds no entry");
    cluster.advance_ms(81);
    assert_eq!(
        events(&mut cluster),
        [
            r#"timer ["a",20]"#,
            r#"timer ["b",20]"#,
            r#"timer ["moved",25]"#,
            r#"timer ["late",30]"#
        ]
    );
    assert_eq!(cluster.live().index(), index + 3, "one entry for each time");
}

#[test]
fn a_timer_can_cancel_one_that_is_due_with_it_and_one_that_is_set_again_waits() {
    let mut cluster = TestCluster::<Mailbox>::new();
    cluster.send(set("cancel x", 10));
    cluster.send(set("x", 10));
    cluster.send(set("again 1", 10));
    let index = cluster.live().index();
    for _ in 0..3 {
        assert!(cluster.advance_to_wake());
    }
    assert_eq!(cluster.live().index(), index + 3);
    let again = r#"timer ["again 1",10]"#;
    assert_eq!(
        events(&mut cluster),
        [again, r#"timer ["cancel x",10]"#, again, again]
    );
}

#[test]
fn the_wake_time_and_timers_do_not_replace_each_other() {
    let mut cluster = TestCluster::<Mailbox>::new();
    cluster.send(r#"{"wake_in":{"in_ms":30}}"#);
    cluster.send(set("a", 20));
    cluster.send(set("b", 40));
    cluster.send(r#"{"take":{"wait_ms":36}}"#);
    cluster.advance_ms(100);
    let seen = events(&mut cluster);
    assert_eq!(seen[0], r#"timer ["a",20]"#);
    assert_eq!(seen[1], format!("wake {}", START_MS + 30));
    assert!(seen[2].starts_with("deadline "));
    assert_eq!(seen[3], r#"timer ["b",40]"#);
    assert_eq!(seen.len(), 4);
}

#[test]
fn a_storm_of_timers_takes_several_wake_ups() {
    let mut harness = Harness::<Mailbox>::new().without_refusal_check();
    for number in 0..1_000 {
        harness.send(set(&format!("{number:04}"), 10));
    }
    let index = harness.index();
    harness.advance_ms(10);
    let fired: Vec<_> = harness.take_events();
    assert_eq!(fired.len(), 1_000);
    assert!(fired.is_sorted_by_key(|event| event.payload.clone()));
    assert_eq!(harness.index() - index, 4, "256 in each");
    // By bytes: the host limits what a wake-up emits.
    for number in 0..10 {
        harness.send(set(&format!("loud {number}"), 10));
    }
    let index = harness.index();
    harness.advance_ms(10);
    assert_eq!(harness.index() - index, 4, "three in each");
}

#[test]
fn a_wake_up_that_is_late_is_requested_again_with_the_next_command() {
    let mut cluster = TestCluster::<Mailbox>::new();
    cluster.send(set("a", 10));
    cluster.skip_ms(50).send(put("x"));
    assert_eq!(events(&mut cluster), [""; 0], "a command fires nothing");
    assert_eq!(cluster.live().wake_at(), Some(START_MS + 10));
    assert!(cluster.advance_to_wake());
    assert_eq!(events(&mut cluster), [r#"timer ["a",50]"#]);
}

#[test]
fn deadlines_and_timers_survive_an_upgrade() {
    let mut cluster = TestCluster::<Mailbox>::new();
    let first = cluster.send(TAKE).deferred.unwrap();
    let second = cluster.send(TAKE).deferred.unwrap();
    cluster.send(set("a", 60));
    let mut cluster = cluster
        .upgrade::<LargerMailbox>()
        .expect("it has a migrate");
    cluster.send(put("x"));
    let third = cluster
        .send(r#"{"take":{"wait_ms":300}}"#)
        .deferred
        .unwrap();
    assert!(third > second, "a token is never used again");
    cluster.advance_ms(100);
    assert_eq!(
        texts(&cluster.take_replies()),
        [(first, r#""x""#), (second, r#""nothing""#)]
    );
    let topics = cluster.take_events().into_iter().map(|event| event.topic);
    assert_eq!(topics.collect::<Vec<_>>(), ["timer", "deadline"]);
    assert_eq!(cluster.live().waiting(), [third]);
}

#[test]
#[should_panic(expected = "at its deadline has 65537 bytes; at most 65536 are possible")]
fn a_large_reply_cannot_be_kept() {
    let mut harness = Harness::<Mailbox>::new();
    assert!(harness.send(r#"{"large":{"bytes":65536}}"#).accepted);
    harness.send(r#"{"large":{"bytes":65537}}"#);
}

#[test]
#[should_panic(expected = "where no command can be deferred; call it in `apply`")]
fn a_timer_cannot_defer() {
    let mut harness = Harness::<Mailbox>::new();
    harness.send(set("defer x", 1));
    harness.advance_ms(1);
}

#[test]
#[should_panic(expected = "mailbox was woken 10000 times at one time")]
fn a_timer_that_is_always_due_is_detected() {
    let mut harness = Harness::<Mailbox>::new().without_refusal_check();
    harness.send(set("again x", 1));
    harness.advance_ms(2);
}
