use super::*;
use crate::entry::ClusterState;
use crate::ids::Term;
use crate::state_machine::MemoryStateMachine;
use crate::storage::memory::MemorySnapshots;
use std::io::{self, Read, Write};

fn command(session: u64, sequence: u64, data: &'static str) -> Command {
    Command {
        session,
        sequence,
        data: Bytes::from_static(data.as_bytes()),
    }
}

fn entry(index: u64, time_ms: u64, commands: Vec<Command>) -> Entry {
    let payload = Payload::Commands(commands);
    Entry {
        id: LogId::new(Term(1), Index(index)),
        time_ms,
        payload,
    }
}

fn noop(index: u64) -> Entry {
    Entry {
        payload: Payload::Noop,
        ..entry(index, 0, Vec::new())
    }
}

fn applier<M: ReplicatedStateMachine>(machine: M) -> Applier<M> {
    Applier::new(machine, Arc::new(MemorySnapshots::new()))
}

/// Returns a given number of replies, records the moments of its calls, and fails on "fail".
#[derive(Default)]
struct Odd {
    replies: Option<usize>,
    moments: Vec<Moment>,
    snapshots_fail: bool,
}

impl ReplicatedStateMachine for Odd {
    type Reply = ();
    type Query = ();
    type Response = Moment;

    fn apply(&mut self, at: Moment, commands: &[Bytes]) -> Result<Vec<()>, MachineError> {
        self.moments.push(at);
        if commands.iter().any(|command| command == "fail") {
            return Err(MachineError::Failed("it was told to".into()));
        }
        Ok(vec![(); self.replies.unwrap_or(commands.len())])
    }

    fn query(&mut self, at: Moment, (): ()) -> Moment {
        at
    }

    fn snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineError> {
        if self.snapshots_fail {
            return Err(io::Error::other("no room").into());
        }
        Ok(to.write_all(b"odd")?)
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), MachineError> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        if bytes == b"odd" {
            Ok(())
        } else {
            Err(MachineError::Failed("not odd".into()))
        }
    }
}

#[test]
fn only_commands_of_the_own_session_have_replies() {
    let mut applier = applier(MemoryStateMachine::new());
    let mixed = vec![command(1, 7, "a"), command(2, 7, "b"), command(1, 9, "c")];
    let replies = applier.apply(1, vec![noop(1), entry(2, 0, mixed)]).unwrap();
    let found: Vec<_> = replies
        .iter()
        .map(|reply| (reply.sequence, reply.index, &reply.reply[..]))
        .collect();
    assert_eq!(found, [(7, Index(2), &b"a"[..]), (9, Index(2), b"c")]);
    assert_eq!(applier.machine().commands().len(), 3, "all are applied");
    assert_eq!(applier.last(), LogId::new(Term(1), Index(2)));
}

#[test]
fn the_commands_of_an_entry_are_applied_in_one_call_with_its_index_and_time() {
    let mut applier = applier(Odd::default());
    let entries = vec![
        entry(1, 500, vec![command(1, 1, "a"), command(1, 2, "b")]),
        noop(2),
        entry(3, 400, vec![command(1, 3, "c")]),
    ];
    applier.apply(1, entries).unwrap();
    let moment = |index, time_ms| Moment {
        index: Index(index),
        time_ms,
    };
    assert_eq!(
        applier.machine().moments,
        [moment(1, 500), moment(3, 500)],
        "time never decreases"
    );
    assert_eq!(applier.query(()), (Index(3), moment(3, 500)));
}

#[test]
#[should_panic(expected = "in order, each once")]
fn an_entry_that_was_applied_before_stops_the_machine() {
    let mut applier = applier(Odd::default());
    let _ = applier.apply(1, vec![noop(1), noop(1)]);
}

#[test]
#[should_panic(expected = "in order, each once")]
fn a_gap_stops_the_machine() {
    let _ = applier(Odd::default()).apply(1, vec![noop(2)]);
}

#[test]
fn the_error_of_a_machine_names_the_entry() {
    let error = applier(Odd::default())
        .apply(1, vec![entry(1, 0, vec![command(1, 1, "fail")])])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "entry 1 could not be applied: the state machine failed: it was told to"
    );
}

#[test]
fn too_few_or_too_many_replies_are_an_error() {
    for replies in [0, 2] {
        let mut applier = applier(Odd {
            replies: Some(replies),
            ..Odd::default()
        });
        let error = applier
            .apply(1, vec![entry(1, 0, vec![command(1, 1, "a")])])
            .unwrap_err();
        assert!(
            matches!(error, ApplierError::Replies { commands: 1, replies: found, .. } if found == replies)
        );
    }
}

#[test]
fn a_snapshot_brings_another_machine_to_the_same_point() {
    let snapshots: Arc<dyn SnapshotStore> = Arc::new(MemorySnapshots::new());
    let mut first = Applier::new(MemoryStateMachine::new(), Arc::clone(&snapshots));
    first
        .apply(1, vec![entry(1, 77, vec![command(1, 1, "a")])])
        .unwrap();
    let meta = first.take_snapshot().unwrap();
    assert_eq!((meta.last, meta.time_ms), (first.last(), 77));

    let mut second = Applier::new(MemoryStateMachine::new(), snapshots);
    second.restore(&meta).unwrap();
    assert_eq!(
        (second.machine(), second.last()),
        (first.machine(), first.last())
    );
    second
        .apply(1, vec![entry(2, 10, vec![command(1, 2, "b")])])
        .unwrap();
    assert_eq!(second.take_snapshot().unwrap().time_ms, 77);
}

#[test]
fn a_failed_snapshot_is_not_visible_and_the_machine_continues() {
    let snapshots = Arc::new(MemorySnapshots::new());
    let machine = Odd {
        snapshots_fail: true,
        ..Odd::default()
    };
    let mut applier = Applier::new(machine, snapshots.clone());
    applier.apply(1, vec![noop(1)]).unwrap();
    assert!(matches!(
        applier.take_snapshot(),
        Err(ApplierError::Machine { .. })
    ));
    assert_eq!(snapshots.newest().unwrap(), None);
    applier.apply(1, vec![noop(2)]).unwrap();
}

#[test]
fn a_snapshot_of_another_machine_or_a_missing_one_is_an_error() {
    let snapshots: Arc<dyn SnapshotStore> = Arc::new(MemorySnapshots::new());
    let mut writer = snapshots
        .create(
            LogId::new(Term(1), Index(4)),
            0,
            None,
            ClusterState::default(),
        )
        .unwrap();
    writer.write_all(b"even").unwrap();
    let meta = writer.finish().unwrap();
    let mut applier = Applier::new(Odd::default(), snapshots);
    assert!(matches!(
        applier.restore(&meta),
        Err(ApplierError::Restore { .. })
    ));
    let gone = SnapshotMeta {
        last: LogId::new(Term(1), Index(5)),
        ..meta
    };
    assert!(matches!(
        applier.restore(&gone),
        Err(ApplierError::Storage(_))
    ));
    assert_eq!(applier.last(), LogId::default());
}
