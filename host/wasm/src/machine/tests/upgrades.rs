//! Another module takes over, at one entry, on every node.

use super::*;
use crate::testing::scripted_but;
use crate::upgrade::{
    AbortCause, CheckResult, MAX_SINCE_BYTES, MigrationRoute, UpgradeBegin, UpgradeEnd,
    UpgradeOutcome, UpgradeRecord, UpgradeRefusal,
};

mod journal;
mod restarts;

const CHUNK: usize = 4_000;
const ADDS_1: &str = "(i64.add (i64.load (i32.const 0)) (i64.const 1))";
const ADDS_10: &str = "(i64.add (i64.load (i32.const 0)) (i64.const 10))";
const FITS: &str =
    "(i32.store8 (i32.const 32) (i32.ne (local.get $total) (i32.load (i32.const 8))))";

/// Adds 10 where `scripted` adds 1, and is the version after it.
fn by_tens() -> GuestModule {
    scripted_but(&[
        (ADDS_1, ADDS_10),
        (
            "(i32.store (i32.const 40) (i32.const 3))",
            "(i32.store (i32.const 40) (i32.const 4))",
        ),
    ])
}

/// Takes no state with a value above this one.
fn modest(most: u64) -> GuestModule {
    let check = format!(
        "(i32.store8 (i32.const 32) (i64.gt_u (i64.load (i32.const 0)) (i64.const {most})))"
    );
    scripted_but(&[(FITS, &check)])
}

fn number(value: u64) -> CommandOutcome {
    accepted(value.to_le_bytes())
}

fn begin(module: &GuestModule) -> UpgradeBegin {
    UpgradeBegin {
        sha256: module.sha256(),
        bytes: module.bytes().len() as u64,
        wait_ms: 60_000,
        dry_run: false,
        by: "ann".to_owned(),
    }
}

fn refused(cause: AbortCause) -> UpgradeEnd {
    UpgradeEnd::because(cause)
}

impl Node {
    fn say(&mut self, word: &UpgradeRecord) -> UpgradeOutcome {
        match self.entry(&[Envelope::upgrade(word)]).remove(0) {
            CommandOutcome::Upgrade(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Steps 1 and 2: every word with which the module comes.
    fn stage(&mut self, begin: UpgradeBegin, module: &[u8]) -> Index {
        let upgrade = self.next().index;
        assert_eq!(
            self.say(&UpgradeRecord::Begin(begin)),
            UpgradeOutcome::Begun
        );
        let last = module.len().div_ceil(CHUNK) - 1;
        for (number, bytes) in module.chunks(CHUNK).enumerate() {
            let answer = self.say(&UpgradeRecord::Chunk {
                upgrade,
                offset: (number * CHUNK) as u64,
                bytes: Bytes::copy_from_slice(bytes),
            });
            if number < last {
                assert_eq!(answer, UpgradeOutcome::ChunkAdded);
            } else {
                assert_eq!(answer, UpgradeOutcome::Staged);
            }
        }
        upgrade
    }

    /// Step 3: what this node found.
    fn verdict(&self) -> CheckResult {
        loop {
            if let Some(verdict) = self.machine.status().upgrades().own_check() {
                return verdict.clone();
            }
            self.changes.recv().expect("the machine is there");
        }
    }

    /// Step 4: the report, and what the leader would make of it.
    fn report(&mut self, upgrade: Index, node: &str) -> UpgradeRecord {
        let verdict = self.verdict();
        let CheckResult::Ready { route, state, .. } = verdict else {
            panic!("{verdict:?}");
        };
        let report = UpgradeRecord::Report {
            upgrade,
            node: node.to_owned(),
            result: verdict,
        };
        assert_eq!(self.say(&report), UpgradeOutcome::ReportNoted);
        UpgradeRecord::Activate {
            upgrade,
            route,
            state,
        }
    }

    /// All steps but the last, whose word is returned.
    fn all_but_the_switch(&mut self, module: &GuestModule) -> UpgradeRecord {
        let upgrade = self.stage(begin(module), module.bytes());
        self.report(upgrade, "node1")
    }

    fn upgrade(&mut self, module: &GuestModule) {
        let activate = self.all_but_the_switch(module);
        assert_eq!(self.say(&activate), UpgradeOutcome::Activated);
    }

    /// How the latest upgrade ended.
    fn end(&self) -> UpgradeEnd {
        let upgrades = self.machine.status().upgrades();
        assert_eq!(upgrades.pending, None, "it has ended");
        upgrades.past.last().expect("there was one").end.clone()
    }

    fn runs(&self) -> Sha256 {
        let status = self.machine.status();
        assert_eq!(status.get().sha256, self.machine.module().sha256());
        status.get().sha256
    }
}

#[test]
fn the_new_module_runs_from_one_entry_on_with_the_state_of_the_old_one() {
    let (old, new) = (scripted(), by_tens());
    let mut node = Node::new(old.clone());
    node.batch(&[b"a", b"a"]);
    let activate = node.all_but_the_switch(&new);
    assert_eq!(node.send(b"a"), number(3), "until then the old one serves");
    let outcomes = node.entry(&[plain(b"a"), Envelope::upgrade(&activate), plain(b"a")]);
    assert_eq!(
        outcomes,
        [
            number(4),
            CommandOutcome::Upgrade(UpgradeOutcome::Activated),
            number(14)
        ],
        "what stands before the word is the old one's"
    );
    assert_eq!(node.runs(), new.sha256());
    assert_eq!(node.machine.status().get().version, 4);
    let upgrades = node.machine.status().upgrades();
    let past = upgrades.activated(new.sha256()).unwrap();
    assert_eq!(past.by, "ann");
    assert_eq!(past.ended, node.counts().applied);
    assert_eq!(past.module, Some(("scripted".to_owned(), 4)));

    // And back: that is an upgrade as any other.
    node.upgrade(&old);
    assert_eq!((node.runs(), node.send(b"a")), (old.sha256(), number(15)));
    assert_eq!(node.machine.status().upgrades().past.len(), 2);
    // A failure of the new one comes back to the new one.
    node.upgrade(&new);
    assert_eq!(code(&node.send(b"t")), "trap");
    assert_eq!(node.send(b"a"), number(25));
}

#[test]
fn keys_deferred_commands_the_clock_and_the_hash_chain_go_on() {
    let mut node = Node::new(scripted());
    let mut plainly = Node::new(scripted());
    for node in [&mut node, &mut plainly] {
        assert_eq!(node.send_with_key("k", b"a"), number(1));
        node.send(op_long(b'd', 7, b""));
        node.send_with_key("late", op_long(b'd', 8, b""));
        node.send(op_long(b'w', 1, b""));
    }
    node.upgrade(&by_tens());
    assert_ne!(node.machine.state_hash(), plainly.machine.state_hash());
    assert_eq!(node.send_with_key("k", b"a"), number(1), "the first answer");
    assert_eq!(code(&node.send_with_key("k", b"e")), "key_reused");
    assert_eq!(node.counts().deferred, 2);
    node.batch(&[op_long(b'c', 7, b"yes"), op_long(b'x', 8, b"no")]);
    let tokens = |node: &Node| -> Vec<u64> {
        let completions = node
            .seen()
            .into_iter()
            .flat_map(|(_, seen)| seen.completions);
        completions.map(|completion| completion.token).collect()
    };
    assert_eq!(tokens(&node), [7, 8]);
    let late = node.send_with_key("late", op_long(b'd', 8, b""));
    assert_eq!(late, CommandOutcome::Rejected(Bytes::from_static(b"no")));
    node.entry(&[Envelope::wake()]);
    assert_eq!(
        node.send(b"a"),
        number(111),
        "1, then 100 by waking, then 10"
    );
}

#[test]
fn each_word_out_of_place_is_refused_by_name_and_changes_nothing() {
    let (old, new) = (scripted(), by_tens());
    let mut node = Node::new(old.clone());
    let refusal = |node: &mut Node, word: UpgradeRecord| match node.say(&word) {
        UpgradeOutcome::Refused(refusal) => refusal,
        answer => panic!("{answer:?}"),
    };
    let size = |bytes| UpgradeBegin {
        bytes,
        ..begin(&new)
    };
    let chunk = |upgrade, offset, bytes: &[u8]| UpgradeRecord::Chunk {
        upgrade,
        offset,
        bytes: Bytes::copy_from_slice(bytes),
    };
    let activate = |upgrade| UpgradeRecord::Activate {
        upgrade,
        route: MigrationRoute::Snapshot,
        state: Sha256::default(),
    };

    let limit = node.limits.module_bytes;
    for bytes in [0, limit + 1] {
        let found = refusal(&mut node, UpgradeRecord::Begin(size(bytes)));
        assert_eq!(found, UpgradeRefusal::Size { bytes, limit });
    }
    let found = refusal(&mut node, UpgradeRecord::Begin(begin(&old)));
    let sha256 = old.sha256();
    assert_eq!(found, UpgradeRefusal::Active { sha256 });
    let nothing = Index(1);
    let not_under_way = |upgrade| UpgradeRefusal::NotInProgress { upgrade };
    for word in [chunk(nothing, 0, b"x"), activate(nothing)] {
        assert_eq!(refusal(&mut node, word), not_under_way(nothing));
    }

    let upgrade = node.next().index;
    node.say(&UpgradeRecord::Begin(begin(&new)));
    let found = refusal(&mut node, UpgradeRecord::Begin(begin(&kv())));
    let sha256 = new.sha256();
    assert_eq!(found, UpgradeRefusal::InProgress { upgrade, sha256 });
    node.say(&chunk(upgrade, 0, &new.bytes()[..10]));
    for (offset, bytes) in [
        (0, &b"x"[..]),
        (11, b"x"),
        (10, b""),
        (10, &vec![0; 1 << 20]),
    ] {
        let found = refusal(&mut node, chunk(upgrade, offset, bytes));
        assert_eq!(found, UpgradeRefusal::Offset { expected: 10 });
    }
    let not_ready = |found| matches!(found, UpgradeRefusal::NotReady { .. });
    assert!(not_ready(refusal(&mut node, activate(upgrade))));
    let early = UpgradeRecord::Report {
        upgrade,
        node: "node1".to_owned(),
        result: CheckResult::Refused {
            message: String::new(),
        },
    };
    assert!(not_ready(refusal(&mut node, early)));
    node.say(&chunk(upgrade, 10, &new.bytes()[10..]));
    assert!(
        not_ready(refusal(&mut node, activate(upgrade))),
        "nobody has reported"
    );
    assert_eq!((node.runs(), node.send(b"a")), (old.sha256(), number(1)));
}

#[test]
fn a_dry_run_does_all_but_the_switch() {
    let new = by_tens();
    let mut node = Node::new(scripted());
    let dry = UpgradeBegin {
        dry_run: true,
        ..begin(&new)
    };
    let upgrade = node.stage(dry, new.bytes());
    let activate = node.report(upgrade, "node1");
    let answer = node.say(&activate);
    assert_eq!(answer, UpgradeOutcome::Refused(UpgradeRefusal::DryRun));
    let close = UpgradeRecord::Close {
        upgrade,
        end: UpgradeEnd::DryRunPassed,
    };
    assert_eq!(node.say(&close), UpgradeOutcome::Closed);
    assert_eq!(
        (node.end(), node.send(b"a")),
        (UpgradeEnd::DryRunPassed, number(1))
    );
    node.upgrade(&new);
    assert_eq!(node.send(b"a"), number(11));
}

#[test]
fn bytes_that_are_not_those_that_were_announced_end_it() {
    let new = by_tens();
    let mut node = Node::new(scripted());
    let upgrade = node.next().index;
    node.say(&UpgradeRecord::Begin(begin(&new)));
    let mut bytes = new.bytes().to_vec();
    bytes[100] ^= 1;
    let answer = node.say(&UpgradeRecord::Chunk {
        upgrade,
        offset: 0,
        bytes: bytes.into(),
    });
    assert_eq!(answer, UpgradeOutcome::Closed);
    assert_eq!(node.end(), refused(AbortCause::ModuleCorrupt));
    node.upgrade(&new);
}

#[test]
fn what_is_no_guest_or_takes_no_state_of_this_kind_is_found_before_the_switch() {
    let mut node = Node::new(scripted());
    node.send(b"a");
    let nonsense = b"\0asm not at all".to_vec();
    let foreign = kv();
    let of_another = foreign.bytes().to_vec();
    let strict = modest(0).bytes().to_vec();
    for (module, reason) in [
        (nonsense, "refuses this module"),
        (of_another, "not a snapshot of an oarlock guest"),
        (strict, "of another length"),
    ] {
        let begin = UpgradeBegin {
            sha256: Sha256::of(&module),
            bytes: module.len() as u64,
            ..begin(&foreign)
        };
        let upgrade = node.stage(begin, &module);
        let CheckResult::Refused { message: words } = node.verdict() else {
            panic!("it was taken");
        };
        assert!(words.contains(reason), "{words}");
        let end = UpgradeEnd::Aborted {
            cause: AbortCause::NodeRefused,
            message: words,
        };
        let close = UpgradeRecord::Close {
            upgrade,
            end: end.clone(),
        };
        assert_eq!(node.say(&close), UpgradeOutcome::Closed);
        assert_eq!(node.end(), end);
    }
    assert_eq!(node.send(b"a"), number(2));
}

#[test]
fn a_state_that_can_not_be_written_or_read_at_the_switch_leaves_the_old_one() {
    let limits = MachineLimits {
        snapshot_bytes: 1_000,
        ..limits()
    };
    let mut node = Node::with_limits(scripted(), limits);
    node.send(b"a");
    let activate = node.all_but_the_switch(&by_tens());
    node.send(op(b'p', 10_000));
    assert_eq!(node.say(&activate), UpgradeOutcome::Closed);
    assert_eq!(node.end(), refused(AbortCause::OldSnapshotFailed));
    node.send(op(b'p', 0));

    let activate = node.all_but_the_switch(&modest(1));
    node.send(b"a");
    assert_eq!(node.say(&activate), UpgradeOutcome::Closed);
    assert_eq!(node.end(), refused(AbortCause::NewRestoreFailed));
    assert_eq!(
        (node.runs(), node.send(b"a")),
        (scripted().sha256(), number(3))
    );
}

#[test]
fn a_node_that_can_not_follow_stops_and_says_why() {
    let mut node = Node::new(scripted());
    node.send(b"a");
    let module = modest(0);
    let upgrade = node.stage(begin(&module), module.bytes());
    let ready = CheckResult::Ready {
        tried_at: Index(1),
        route: MigrationRoute::Snapshot,
        state: Sha256::default(),
    };
    // Another node has nothing against it.
    node.say(&UpgradeRecord::Report {
        upgrade,
        node: "node2".to_owned(),
        result: ready,
    });
    let activate = UpgradeRecord::Activate {
        upgrade,
        route: MigrationRoute::Snapshot,
        state: Sha256::default(),
    };
    let at = node.next();
    let stopped = node.machine.apply(at, &[Envelope::upgrade(&activate)]);
    let error = stopped.unwrap_err().to_string();
    assert!(error.contains("does not run on this node"), "{error}");
}

/// Overflows its stack where it writes a state with this value, or reads one.
fn recursive(at: &str, value: u64) -> GuestModule {
    let overflow = format!(
        "(if (i64.eq (i64.load (i32.const 0)) (i64.const {value})) (then (drop (call $overflow (i32.const 0))))) {at}"
    );
    scripted_but(&[(at, &overflow)])
}

#[test]
fn a_stack_that_overflows_at_the_switch_is_a_nodes_own_affair_and_no_end_for_all() {
    const WRITES: &str = "(call $write (local.get $sink) (i32.const 0) (i32.const 16))";
    const HAS_READ: &str = "(call $drop_source (local.get $source))";
    for (old, new) in [
        (recursive(WRITES, 2), by_tens()),
        (scripted(), recursive(HAS_READ, 2)),
    ] {
        let mut node = Node::new(old);
        node.send(b"a");
        let activate = node.all_but_the_switch(&new);
        node.send(b"a");
        let at = node.next();
        let stopped = node.machine.apply(at, &[Envelope::upgrade(&activate)]);
        let error = stopped.unwrap_err().to_string();
        assert!(error.contains("stack"), "{error}");
    }
    // Where it shows before, this node alone refuses, whatever the others say.
    let mut node = Node::new(recursive(WRITES, 1));
    node.send(b"a");
    node.stage(begin(&by_tens()), by_tens().bytes());
    let CheckResult::Refused { message: words } = node.verdict() else {
        panic!("it was taken");
    };
    assert!(words.contains("stack overflowed"), "{words}");
}

#[test]
fn the_new_module_is_told_which_version_wrote_the_state() {
    // Takes a state that is not the first one from version 3 alone, as one that migrates would look at it.
    let check = "(i32.store8 (i32.const 32) (i32.and (i64.ne (i64.load (i32.const 0)) (i64.const 0)) (i32.ne (local.get $by) (i32.const 3))))";
    let version = |number: u32| {
        let described = format!("(i32.store (i32.const 40) (i32.const {number}))");
        scripted_but(&[
            (FITS, check),
            ("(i32.store (i32.const 40) (i32.const 3))", &described),
        ])
    };
    let mut node = Node::new(scripted());
    node.send(b"a");
    let module = version(4);
    // It writes its copy as version 4, and never has to read that here.
    node.upgrade(&module);
    assert_eq!(node.send(b"a"), number(2));
    let upgrade = version(5);
    node.stage(begin(&upgrade), upgrade.bytes());
    let CheckResult::Refused { .. } = node.verdict() else {
        panic!("version 5 takes no state of version 4");
    };
}
